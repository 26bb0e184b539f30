"""Cells of clusters of many sizes, for the fit of ``accel.costs.fit``.

``python -m rtl.synth.clusters accel/costs/data/clusters.csv`` measures the clusters that the file
has not yet, one after the other, and adds a row for each: stop it and start it again as you like.
"""

from __future__ import annotations

import argparse
import csv
import random
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from golden.errors import UserError
from golden.machines.cluster.config import AcceleratorConfig
from rtl.synth.blocks import machine_blocks
from rtl.synth.measure import measure

__all__ = ["CELLS", "FIELDS", "drawn", "main"]

#: Fields that differ from row to row; the rest are those of the preset ``small``.
FIELDS = (
    "units", "chunk", "fifo_depth", "filters_per_unit", "broadcast_width",
    "filter_bus_bytes", "collector_width", "filter_double_buffer", "filter_buffer_chunks",
    "filter_buffer_bytes", "input_buffer_chunks", "input_buffer_bytes",
)  # fmt: skip
#: Cells of a row, as in ``Figures``.
CELLS = ("lut4", "ff", "ccu2c", "dpr16x4", "dp16kd", "mult18")
#: What a cluster holds of its input at once (``rtl.cluster.hardware``).
_INPUT_BUFFER_BYTES = 1 << 15
#: One row of so many is not fitted, but tells how good the fit is.
_ASIDE = 4


def drawn(count: int, seed: int = 0) -> Iterator[AcceleratorConfig]:
    """Yield the clusters to measure; the same ones first, however many there are."""
    draw = random.Random(seed)
    base = AcceleratorConfig.preset("small")
    for _ in range(count):
        units, filters = draw.choice((2, 3, 4, 6, 8)), draw.choice((1, 2))
        chunk = draw.choice((32, 64, 128, 128, 256))
        outputs = units * filters
        yield base.replace(
            units=units,
            chunk=chunk,
            fifo_depth=draw.choice((1, 2, 4, 8)),
            filters_per_unit=filters,
            broadcast_width=draw.choice((4, 8, 16, 32)),
            filter_bus_bytes=draw.choice((8, 16, 32)),
            collector_width=draw.choice([w for w in (1, 2, 4, 8) if outputs % w == 0]),
            filter_double_buffer=draw.choice((True, True, False)),
            filter_buffer_chunks=draw.choice((64, 128, 256)),
            filter_buffer_bytes=draw.choice((4096, 8192, 16384)),
            input_buffer_chunks=_INPUT_BUFFER_BYTES // chunk,
            input_buffer_bytes=_INPUT_BUFFER_BYTES,
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is missing; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m rtl.synth.clusters", description=__doc__)
    parser.add_argument("file", type=Path, help="the table to complete")
    parser.add_argument("--count", type=int, default=64, help="rows that it shall have")
    options = parser.parse_args(arguments)
    block = machine_blocks()["innerjoin"]["cluster"]
    columns = [*FIELDS, *CELLS, "aside"]
    if not options.file.exists():
        options.file.write_text(",".join(columns) + "\n", encoding="utf-8")
    with options.file.open(encoding="utf-8", newline="") as table:
        known = {tuple(row[name] for name in FIELDS) for row in csv.DictReader(table)}
    for number, config in enumerate(drawn(options.count)):
        values = [int(getattr(config, name)) for name in FIELDS]
        if tuple(map(str, values)) in known:
            continue
        try:
            figures = measure("cluster", block, config, ())
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        cells = [getattr(figures, name) for name in CELLS]
        with options.file.open("a", encoding="utf-8", newline="") as table:
            csv.writer(table, lineterminator="\n").writerow(
                [*values, *cells, int(number % _ASIDE == 0)]
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
