"""Speed of sweeps: CPU seconds of a grid, and of points drawn with little in common.

    python -m benchmarks.sweeps [--network resnet8 --network vgg16-published] [--json FILE]

One process counts, on one thread; the store is a file. The grid has 1,536 machines of this
project's kind with whole filters, in 24 groups that share joins; the drawn ones are 200 of a space
of 129,024; 64 have a queue; and the grid is gone through once more for its exact front of cycles
and tables, with bounds. Some points of each are counted alone, to compare: speeds are ratios in
one run.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import accel

#: Fits every layer of the networks.
_ROOM = {
    "filter_buffer_chunks": 1 << 20,
    "filter_buffer_bytes": 1 << 24,
    "input_buffer_chunks": 1 << 22,
    "input_buffer_bytes": 1 << 28,
    "collector_width": "= min(16, units)",
}
GRID = {
    "units": [8, 64],
    "clusters": [4, 64],
    "chunk": [32, 256],
    "fifo_depth": range(1, 9),
    "filters_per_unit": [1, 2],
    "balance": ["none", "filter", "expected"],
    "broadcast_width": [8, 32],
    "dealing": ["tiles", "interleaved"],
    **_ROOM,
}
DRAWN = {
    **GRID,
    "units": accel.log2(8, 64),
    "clusters": accel.log2(1, 64),
    "chunk": accel.log2(32, 256),
    "fifo_depth": range(1, 9),
    "broadcast_width": accel.log2(1, 32),
    "filter_bus_bytes": [16, 64],
}
QUEUE = {
    **GRID,
    "units": [8, 64],
    "clusters": [4, 64],
    "chunk": 128,
    "fifo_depth": [1, 8],
    "filters_per_unit": [1, 2],
    "balance": "expected",
    "broadcast_width": [8, 32],
    "dealing": "queue",
    "filter_bus_bytes": [16, 64],
}
#: Points that are counted alone.
_ALONE = 4


def measure(network: str) -> list[dict[str, Any]]:
    """Return the rows of one network."""
    net = accel.load(network)
    # Kernels are compiled, and the trace is computed, before anything is measured.
    accel.sweep(net, {"units": [8, 16], "fifo_depth": [1, 2], "dealing": "tiles", **_ROOM})
    return [
        _measure_space(net, "grid", GRID),
        _measure_space(net, "drawn", DRAWN, search="random", trials=200),
        _measure_space(net, "queue", QUEUE),
        _measure_space(net, "front", GRID, objectives=["cycles", "lut4"], bounds=True),
    ]


def _measure_space(net: Any, name: str, space: dict[str, Any], **options: Any) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        options["store"] = Path(folder) / "sweep.sqlite"
        spent, study = _timed(lambda: accel.sweep(net, space, **options))
        again, _ = _timed(lambda: accel.sweep(net, space, **options))
    alone = 0.0
    counted = [each for each in study.found if each.status == "ok"]
    chosen = counted[:: max(1, len(counted) // _ALONE)][:_ALONE]
    for each in chosen:
        machine = each.point.load()
        # The first run of a shape compiles a kernel for it.
        alone += min(
            _timed(lambda of=machine: accel.simulate(net, of, modes=["both"]))[0] for _ in range(2)
        )
    return {
        "network": net.name,
        "space": name,
        "points": len(study),
        "counted": len(counted),
        "cpu_seconds": spent,
        "ms_a_point": 1e3 * spent / len(study),
        "ms_a_point_alone": 1e3 * alone / len(chosen),
        "times_alone": alone / len(chosen) / (spent / len(study)),
        "ms_a_point_again": 1e3 * again / len(study),
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20),
    }


def _timed(run: Callable[[], Any]) -> tuple[float, Any]:
    begun = time.process_time()
    found = run()
    return time.process_time() - begun, found


def main() -> None:
    """Measure, print a table, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", action="append", help="a shipped network; repeatable")
    parser.add_argument("--json", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    rows = [row for name in arguments.network or ["resnet8"] for row in measure(name)]
    table = Table(*rows[0])
    for row in rows:
        table.add_row(*(f"{x:.2f}" if isinstance(x, float) else str(x) for x in row.values()))
    Console().print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
