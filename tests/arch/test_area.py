"""Areas: sums by hand, their labels, and that a row without its source is refused."""

from __future__ import annotations

from importlib import resources

import pytest

from accel.costs.area import AreaTable, Cells
from accel.machines.machine import AreaEstimate
from golden.errors import FormatError, UserError
from golden.machines import registry

HEAD = (
    "block,machine,multipliers,lut4,ff,ccu2c,dpr16x4,dp16kd,mult18,source,tools,date,note\n"
)  # fmt: skip
ROWS = [
    "pair,two,2,10,20,1,2,3,4,command,yosys 1,2026-01-01,left out",
    "part,,1,5,6,0,0,0,1,command,yosys 1,2026-01-01,",
]


class Two:
    """A machine with hardware."""

    name = "two"

    def __init__(self, multipliers: int) -> None:
        self.multipliers = multipliers


class Other(Two):
    """One without, that says what it would be."""

    name = "other"

    def estimate_area(self) -> AreaEstimate:
        return AreaEstimate(
            blocks={"pair": 1, "part": 3}, buffers={2048: 2, 2049: 5}, note="guessed"
        )


#: Machines whose area is that of their own hardware.
SYNTHESISED = {"innerjoin", "sparten", "extensor"}


def write(tmp_path, rows, head=HEAD):
    path = tmp_path / "area.csv"
    path.write_text(head + "\n".join(rows) + "\n")
    return path


def test_a_synthesis_is_so_many_pieces(tmp_path):
    table = AreaTable.load(write(tmp_path, ROWS))
    area = table.area(Two(6))  # type: ignore[arg-type]
    assert area is not None
    assert (area.kind, area.note) == ("synthesis", "left out")
    assert area.cells == Cells(lut4=30, ff=60, ccu2c=3, dpr16x4=6, dp16kd=9, mult18=12)
    assert table.area(Two(5)) is None  # type: ignore[arg-type]  # no half pieces


def test_an_estimate_is_the_sum_of_its_blocks_and_called_so(tmp_path):
    table = AreaTable.load(write(tmp_path, ROWS))
    area = table.area(Other(1))  # type: ignore[arg-type]
    assert area is not None
    assert (area.kind, area.note) == ("estimate", "guessed")
    # A block RAM holds 2048 bytes: two of one, five of two.
    assert area.cells == Cells(
        lut4=10 + 15, ff=20 + 18, ccu2c=1, dpr16x4=2, dp16kd=3 + 2 + 10, mult18=4 + 3
    )


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("part,,1,5,6,0,0,0,1, ,yosys 1,2026-01-01,", "line 2 must have a source, not none"),
        ("part,,1,5,6,0,0,0,1,command,,2026-01-01,", "must have a tools"),
        ("part,,1,5,6,0,0,0,1,command,yosys 1,,", "must have a date"),
        (",,1,5,6,0,0,0,1,command,yosys 1,2026-01-01,", "must have a block"),
        ("part,,1,-5,6,0,0,0,1,command,yosys 1,2026-01-01,", "lut4 must be a count, not '-5'"),
        ("part,,1,5,6.5,0,0,0,1,command,yosys 1,2026-01-01,", "ff must be a count, not '6.5'"),
        ("part,two,0,5,6,0,0,0,1,command,yosys 1,2026-01-01,", "must have multipliers, not 0"),
        ("part,,1,5,6,0,0,0,1,command,yosys 1,2026-01-01", "must have 13 fields"),
    ],
)
def test_a_row_of_unknown_origin_is_refused(tmp_path, row, words):
    with pytest.raises(FormatError, match=words):
        AreaTable.load(write(tmp_path, [row]))


def test_other_tables_are_refused(tmp_path):
    with pytest.raises(FormatError, match="must have columns block, machine"):
        AreaTable.load(write(tmp_path, ROWS, head=HEAD.replace("ff", "registers")))
    with pytest.raises(FormatError, match="each block once"):
        AreaTable.load(write(tmp_path, [ROWS[1], ROWS[1]]))
    with pytest.raises(UserError, match="can't be read"):
        AreaTable.load(tmp_path / "none.csv")
    with pytest.raises(UserError, match="Block must be one of pair, part, not 'third'"):
        AreaTable.load(write(tmp_path, ROWS)).cells("third")


def test_every_machine_has_an_area_and_only_those_with_hardware_a_synthesis():
    table = AreaTable.load()
    kinds = {}
    for name in registry.MACHINES:
        area = table.area(registry.find(name).load_model().with_multipliers(1024))
        assert area is not None, name
        assert area.kind == "synthesis" or area.note, name
        # Each multiplication has a multiplier; requantisation and addresses have more.
        assert area.cells.mult18 >= 1024, name
        kinds[name] = area.kind
    assert {name for name, kind in kinds.items() if kind == "synthesis"} == SYNTHESISED


def test_no_size_no_figure():
    table = AreaTable.load()
    for name, multipliers in (
        ("cambricon-s", 8),
        ("cambricon-x", 8),
        ("scnn", 8),
        ("innerjoin", 9),
        ("one-sided-weights", 9),
    ):
        assert table.area(registry.find(name).load_model().with_multipliers(multipliers)) is None, (
            name
        )


def test_the_shipped_rows_name_this_projects_command():
    text = (resources.files("accel.costs") / "data" / "area.csv").read_text("utf-8")
    for line in text.splitlines()[1:]:
        block = line.split(",")[0]
        name, _, preset = block.partition(" ")
        command = f"python -m rtl.synth {name}{f' --preset {preset}' if preset else ''} --seeds 0"
        assert line.split(",")[9] == command
