"""`accel compare`, `accel machines` and `accel reproduce`."""

import csv
import io
import json
import re

import pytest

from accel import api
from accel.report.text import WIDTH
from accel.studies.reproduce import CLAIMS, Workbench, papers, reproduce
from golden.machines import registry

COMPARE = ["compare", "lenet5", "--machines", "dense,innerjoin", "--multipliers", "16"]


def test_machines_lists_every_one_with_its_source(accel):
    status, out, _ = accel("machines")
    assert status == 0
    assert {line.split()[0] for line in out.splitlines() if line[0] != " "} >= set(
        registry.MACHINES
    )
    assert "MICRO'19" in out
    assert out.count("yes") == len(registry.with_hardware())


def test_machines_show_their_area_and_what_it_is_from(accel):
    status, out, _ = accel("machines", "--area", "256")
    assert status == 0
    lines = [line for line in out.splitlines() if re.match(r"\d+ [a-z]", line)][:10]
    names = [line.split()[1].removesuffix("-") for line in lines]
    assert all(full.startswith(name) for name, full in zip(names, registry.MACHINES, strict=True))
    rows = {line.split()[1]: line.split()[2:] for line in lines}
    # Whatever has hardware here is a synthesis, all else is called an estimate.
    assert rows["extensor"][:2] == ["synthesis", str(256 * 13508)]
    assert rows["dense"][:4] == ["estimate", str(256 * 32), str(256 * 68), "32"]
    assert "no network that brings operands" in " ".join(out.split())
    assert max(map(len, out.splitlines())) <= WIDTH

    out = accel("machines", "--area", "24")[1]
    assert "1. Multipliers of machine dense must be a power of two, not 24." in out
    assert "not measured at this size" not in out
    assert "6. not measured at this size, and no estimate." in accel("machines", "--area", "9")[1]


def test_compare_prints_what_ran_and_where_it_comes_from(accel):
    status, out, _ = accel(*COMPARE)
    assert status == 0
    assert out.startswith("lenet5 on 2 machines of 16 multipliers; 1 image\nSource: trained on ")
    assert max(map(len, out.splitlines())) <= WIDTH
    for title in ("All layers", "Where the time went", "Times dense, by layer", "Energy: 45nm"):
        assert title in out


def test_compare_as_json_and_csv_agree(accel, tmp_path):
    path = tmp_path / "out.csv"
    status, out, _ = accel(*COMPARE, "--json", "-", "--csv", path, "--node", "7nm")
    assert status == 0
    document = json.loads(out)
    assert (document["schema"], document["version"]) == ("innerjoin.run", 2)
    assert (document["technology_node"], document["baseline"]) == ("7nm", "dense")
    assert all("Jouppi" in source for source in document["energy_sources"])
    rows = list(csv.DictReader(io.StringIO(path.read_text())))
    assert [(row["machine"], row["layer"]) for row in rows] == [
        (machine, layer)
        for machine in ("dense", "innerjoin")
        for layer in ("conv1", "conv2", "fc1", "fc2", "total")
    ]
    written = [row for one in document["machines"] for row in one["layers"] + one["total"]]
    for mine, theirs in zip(rows, written, strict=True):
        assert int(mine["cycles"]) == theirs["cycles"]
        assert float(mine["speed_up"]) == pytest.approx(theirs["speed_up"])
    # The totals are sums of the layers.
    cycles = [int(row["cycles"]) for row in rows[:5]]
    assert cycles[4] == sum(cycles[:4])


def machines_of(out):
    """Return name, registry's key and multipliers of each machine of a comparison's JSON."""
    return [
        (one["name"], one["machine"], one["multipliers"]) for one in json.loads(out)["machines"]
    ]


def test_compare_takes_machines_described_in_every_way(accel, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('name = "grid"\nmultipliers = 64\n')
    described = ("--preset", "small", "--preset", "scnn:toy", "--config", f"dense:{path}")
    _, out, _ = accel("compare", "lenet5", *described, "--json", "-")
    assert machines_of(out) == [
        ("small", "innerjoin", 8), ("scnn-toy", "scnn", 16), ("grid", "dense", 64),
    ]  # fmt: skip
    assert json.loads(out)["baseline"] == "grid"
    named = ("--machines", "sparten", "--multipliers", "32")
    _, out, _ = accel("compare", "lenet5", *named, *described[:2], "--json", "-")
    assert machines_of(out) == [("sparten", "sparten", 32), ("small", "innerjoin", 8)]


def test_set_changes_the_described_machines_of_a_comparison(accel):
    changes = ("--set", "fifo_depth=2", "--set", "units=4")
    described = ("--preset", "small", "--preset", "sparten:small")
    _, out, err = accel("compare", "lenet5", *described[:2], *changes, "--json", "-")
    assert machines_of(out) == [("small with fifo_depth=2, units=4", "innerjoin", 4)]
    # Of one configuration twice the names would be the same.
    status, _, err = accel("compare", "lenet5", *described, *changes)
    assert status == 2
    assert "each once" in err
    _, out, _ = accel("compare", "lenet5", "--machines", "dense", *changes[:2], "--json", "-")
    assert [name for name, _, _ in machines_of(out)] == [
        "dense", "output-major with fifo_depth=2",
    ]  # fmt: skip


@pytest.mark.parametrize("machine", registry.MACHINES)
def test_run_takes_any_machine(accel, machine):
    status, out, err = accel("run", "lenet5", "--machine", machine, "--json", "-")
    assert (status, err) == (0, "")
    ((name, key, multipliers),) = machines_of(out)
    model = registry.find(machine).load_model()
    config = registry.find(machine).load_config().preset(model.preset)
    assert (name, key, multipliers) == (config.name, machine, model(config).multipliers)


def test_compare_plots_one_page_that_needs_no_network(accel, tmp_path):
    path = tmp_path / "out.html"
    assert accel(*COMPARE, "--plot", path)[0] == 0
    page = path.read_text()
    assert "lenet5 on 2 machines" in page
    assert 'src="http' not in page
    assert accel(*COMPARE, "--plot", tmp_path / "again.html")[0] == 0
    assert (tmp_path / "again.html").read_text() == page


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["compare", "lenet5", "--machines", "dense,eyeriss"], ["eyeriss", "innerjoin"]),
        (["compare", "lenet5", "--machines", "dense,dense"], ["each once", "dense, dense"]),
        (["compare", "lenet5", "--multipliers", "24"], ["24", "power of two"]),
        (["compare", "lenet5", "--multipliers", "0"], ["--multipliers", "1"]),
        (["compare", "lenet5", "--node", "5nm"], ["45nm", "'5nm'"]),
        (["compare", "nonesuch"], ["nonesuch"]),
        ([*COMPARE, "--json", "-", "--csv", "-"], ["must differ"]),
        ([*COMPARE, "--plot", "/nowhere/out.html"], ["/nowhere"]),
        (["reproduce", "eyeriss"], ["eyeriss", *papers()]),
    ],
)
def test_refuses(refuses, arguments, words):
    refuses(arguments, *words)


def test_claims_are_complete():
    for claim in CLAIMS:
        assert claim.figure > 0
        assert "'" in claim.source  # venue and year
        assert claim.differs


def test_reproduce_measures_every_claim_of_a_paper_and_runs_nothing_twice(monkeypatch):
    """On a small network in place of the large ones."""
    loaded = []

    load = api.load

    def load_small(name):
        loaded.append(name)
        return load("lenet5")

    monkeypatch.setattr(api, "load", load_small)
    ran = []
    compare = api.compare
    monkeypatch.setattr(api, "compare", lambda net, names, **more: ran.append((net, *names)) or
                        compare(net, names, **more))  # fmt: skip
    bench = Workbench()
    findings = reproduce("sparten", bench)
    assert [finding.claim for finding in findings] == [
        claim for claim in CLAIMS if claim.paper == "sparten"
    ]
    # dense, one-sided-weights, scnn and sparten on two networks, each once.
    assert sorted(loaded) == ["alexnet-published", "vgg16-published"]
    assert len(ran) == len(set(ran)) == 4 * 2
    for finding in findings:
        assert finding.ratio == pytest.approx(finding.ours / finding.claim.figure)
        assert 0.01 < finding.ours < 100
