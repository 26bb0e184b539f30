"""The energy model: by hand, and that a row without its source is refused."""

from __future__ import annotations

import numpy as np
import pytest

from accel.costs.energy import EnergyTable, node_names
from accel.machines.machine import Access, DramTraffic, LayerCounts
from golden.errors import FormatError, UserError

HEAD = "node,item,value_pj,bits,capacity_bytes,source,confidence\n"
ROWS = [
    "65nm,multiply,2,8,,A,read",
    "65nm,add,3,32,,A,read",
    "65nm,buffer,8,8,1000,B,read",
    "65nm,buffer,32,8,4000,B,recalled",
    "65nm,dram,100,10,,C,read",
]


def write(tmp_path, rows, head=HEAD):
    path = tmp_path / "energy.csv"
    path.write_text(head + "\n".join(rows) + "\n")
    return path


def counts(**changes):
    fields = {
        "cycles": 1,
        "pairs": 5,
        "stray_pairs": 1,
        "units": np.zeros((1, 7), dtype=np.int64),
        "additions": 4,
        "accesses": (Access(buffer="a", capacity_bytes=2000, bits=10),),
        "dram": DramTraffic(input_bytes=1, weight_bytes=2, output_bytes=2),
    }
    return LayerCounts(**{**fields, **changes})


def test_by_hand(tmp_path):
    energy = EnergyTable.load("65nm", write(tmp_path, ROWS)).energy(counts())
    assert energy.multiply_pj == 6 * 2
    assert energy.add_pj == 4 * 3
    # 1 pJ a bit at 1000 bytes, 4 at 4000: it grows as the size, so 2 at 2000.
    assert energy.buffer_pj == pytest.approx(10 * 2)
    assert energy.dram_pj == 40 * 10
    assert energy.total_pj == pytest.approx(12 + 12 + 20 + 400)
    assert (energy + energy).total_pj == pytest.approx(2 * energy.total_pj)


def test_outside_the_table_the_nearest_row_counts(tmp_path):
    table = EnergyTable.load("65nm", write(tmp_path, ROWS))
    assert table.buffer_pj_per_bit(1) == pytest.approx(1)
    assert table.buffer_pj_per_bit(1 << 30) == pytest.approx(4)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("65nm,add,3,32,,,read", "must have a source"),
        (",add,3,32,,A,read", "must have a node"),
        ("65nm,adds,3,32,,A,read", "item must be one of"),
        ("65nm,add,3,32,,A,guessed", "confidence must be one of"),
        ("65nm,add,three,32,,A,read", "must hold numbers"),
        ("65nm,add,3,,,A,read", "must hold numbers"),
        ("65nm,add,nan,32,,A,read", "positive"),
        ("65nm,add,-3,32,,A,read", "positive"),
        ("65nm,buffer,3,32,,A,read", "capacity_bytes"),
        ("65nm,add,3,32,8,A,read", "capacity_bytes"),
        ("65nm,add,3,32", "7 fields"),
    ],
)
def test_refuses_a_row(tmp_path, row, words):
    with pytest.raises(FormatError, match=words) as error:
        EnergyTable.load("65nm", write(tmp_path, [*ROWS, row]))
    assert "line 7" in str(error.value)


def test_refuses_tables(tmp_path):
    with pytest.raises(FormatError, match="columns"):
        EnergyTable.load("65nm", write(tmp_path, ROWS, head="node,item\n"))
    with pytest.raises(FormatError, match="item dram"):
        EnergyTable.load("65nm", write(tmp_path, ROWS[:-1]))
    with pytest.raises(UserError, match="one of 65nm, not '3nm'"):
        EnergyTable.load("3nm", write(tmp_path, ROWS))
    with pytest.raises(UserError, match="can't be read"):
        EnergyTable.load("65nm", tmp_path / "none.csv")


@pytest.mark.parametrize("node", node_names())
def test_shipped_nodes(node):
    table = EnergyTable.load(node)
    # A larger buffer never costs less a bit; every row names where it is from.
    energies = [table.buffer_pj_per_bit(1 << bits) for bits in range(4, 24)]
    assert energies == sorted(energies)
    assert all(len(source.split(", ", 1)[1]) > 10 for source in table.sources)
