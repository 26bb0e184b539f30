"""Synthesis of a block: its cells are those of the table of areas, and bad requests are refused."""

from __future__ import annotations

from importlib.metadata import version

import pytest

pytest.importorskip("amaranth")
pytest.importorskip("pyosys")

from accel.costs.area import AreaTable, Cells
from golden.machines.cluster.config import AcceleratorConfig
from rtl.cluster.hardware import HARDWARE
from rtl.synth.__main__ import main
from rtl.synth.blocks import machine_blocks
from rtl.synth.measure import measure

#: What counted the table's cells: another version may find others.
TOOL = "0.70"


@pytest.mark.skipif(version("pyosys") != TOOL, reason=f"cells were counted by yosys {TOOL}")
@pytest.mark.parametrize(
    "row",
    [
        "multiply-accumulate",
        pytest.param("scnn-array paper", marks=pytest.mark.slow),
        pytest.param("extensor-pe paper", marks=pytest.mark.slow),
    ],
)
def test_cells_are_those_of_the_table(row):
    block, _, preset = row.partition(" ")
    known = {name: one for blocks in machine_blocks().values() for name, one in blocks.items()}
    kind = known[block]
    found = measure(block, kind, kind.config.preset(preset or kind.preset), seeds=())
    wanted = AreaTable.load().cells(row)
    assert wanted == Cells(**{name: getattr(found, name) for name in vars(wanted)})
    assert (found.megahertz, found.table_sites) == ({}, 0)  # it was not placed


def test_a_join_by_hand():
    """Two masks of 128 bits and what is chosen of them: no RAM, no multiplier."""
    found = measure("join", HARDWARE.blocks["join"], AcceleratorConfig.preset("small"), seeds=())
    assert (found.dp16kd, found.mult18) == (0, 0)
    assert found.ff >= 2 * 128


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["adder"], "Block must be one of multiply-accumulate, join, unit"),
        (["join", "scnn-array"], "Blocks must be of one machine, not join and scnn-array"),
        (["join", "--seeds", "-1"], "--seeds must be at least 0, not -1"),
        (["join", "--jobs", "0"], "--jobs must be at least 1, not 0"),
        (["join", "--mhz", "0"], "--mhz must be at least 1, not 0"),
    ],
)
def test_bad_requests_are_refused(arguments, words, capsys):
    assert main(arguments) == 2
    assert words in capsys.readouterr().err
