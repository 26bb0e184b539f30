"""Files of timelines, and what `accel trace` refuses."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

import accel as api
from accel.machines.timeline import Timeline, Track, track_of_cycles
from golden.counters import UNIT_COUNTERS


def track(name: str, states: list[int]) -> Track:
    return track_of_cycles(name, np.array(states, dtype=np.uint8))


TIMELINE = Timeline("a </script> & b", (track("unit 0", [2, 2, 0, 0, 0, 6]), track("unit 1", [6])))


def test_cycles_become_intervals():
    busy, memory, idle = (UNIT_COUNTERS[state] for state in (0, 2, 6))
    found = [(one.counter, one.start, one.end) for one in TIMELINE.tracks[0].intervals]
    assert found == [(memory, 0, 2), (busy, 2, 5), (idle, 5, 6)]
    assert TIMELINE.tracks[0].counters().tolist() == [3, 0, 2, 0, 0, 0, 1]
    assert (TIMELINE.cycles, TIMELINE.intervals) == (6, 4)
    assert track("none", []).intervals == []


def test_the_first_difference_is_told():
    other = Timeline("c", (track("unit 0", [2, 2, 0, 0, 1, 6]), track("unit 1", [6])))
    assert TIMELINE.difference(TIMELINE) == ""
    assert TIMELINE.difference(other) == (
        "unit 0: busy_cycles in cycles 2 to 4 and busy_cycles in cycles 2 to 3"
    )
    assert TIMELINE.difference(Timeline("d", TIMELINE.tracks[:1])) == "2 and 1 tracks"


def test_a_trace_is_read_by_perfettos_own_classes(tmp_path):
    proto = pytest.importorskip("perfetto.protos.perfetto.trace.perfetto_trace_pb2")
    api.write_timeline(TIMELINE, tmp_path / "x.pftrace")
    trace = proto.Trace.FromString((tmp_path / "x.pftrace").read_bytes())
    names = {
        packet.track_descriptor.uuid: packet.track_descriptor.name
        for packet in trace.packet
        if packet.HasField("track_descriptor")
    }
    assert next(iter(names.values())) == "a </script> & b (1 ns = 1 cycle)"
    slices, begun = [], {}
    for packet in trace.packet:
        if not packet.HasField("track_event"):
            continue
        event, name = packet.track_event, names[packet.track_event.track_uuid]
        if event.type == proto.TrackEvent.TYPE_SLICE_BEGIN:
            begun[name] = event.name, packet.timestamp
        else:
            slices.append((name, *begun.pop(name), packet.timestamp))
    assert not begun
    expected = [
        (one.name, interval.counter, interval.start, interval.end)
        for one in TIMELINE.tracks
        for interval in one.intervals
    ]
    assert slices == expected


def test_a_page_holds_all_and_no_title_ends_its_script(tmp_path):
    api.write_timeline(TIMELINE, tmp_path / "x.html")
    page = (tmp_path / "x.html").read_text()
    assert "http" not in re.sub(r"<!doctype.*?>", "", page)
    assert page.count("</script>") == 2
    assert "<h1>a &lt;/script&gt; &amp; b</h1>" in page
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.S)[1])
    assert data["cycles"] == 6
    assert data["tracks"][0] == {"name": "unit 0", "states": "206", "lengths": [2, 3, 1]}
    assert len(data["colours"]) == len(data["states"]) == len(UNIT_COUNTERS)


def test_a_layer_adds_up_to_its_counters(accel, tmp_path):
    found = api.timeline("lenet5", "fc2", "toy")
    counted = api.verify("lenet5", "fc2", "toy")
    sums = {row.what.split()[0]: row.hardware for row in counted.modes[0].rows}
    total = np.sum([track.counters() for track in found.tracks], axis=0)
    assert total.tolist() == [sums[name] for name in UNIT_COUNTERS]
    built = api.timeline("lenet5", "fc2", "toy", source="hardware")
    assert found.difference(built) == ""
    status, out, err = accel(
        "trace", "lenet5", "--layer", "fc2", "--preset", "toy", "-o", str(tmp_path / "x.html")
    )
    assert (status, err) == (0, "")
    assert f"{len(found.tracks)} units, {found.intervals} intervals" in " ".join(out.split())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-o", "x.json"], "Timeline x.json must end in .pftrace"),
        (["-o", "x.html", "--from", "paper"], "must be one of simulator, hardware, not 'paper'"),
        (["-o", "x.html", "--layer", "nosuch"], "Layer of lenet5 must be one of"),
        (["-o", "x.html", "--machine", "extensor"], "must be a cluster machine, not extensor"),
        (["-o", "nosuch/x.html"], "must lie in a folder that exists"),
    ],
)
def test_bad_input_is_one_line(accel, monkeypatch, tmp_path, arguments, words):
    monkeypatch.chdir(tmp_path)
    status, out, err = accel("trace", "lenet5", *arguments)
    assert (status, out) == (2, "")
    assert words in err
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
