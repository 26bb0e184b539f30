"""How near the ideal two-sided machine each way to balance comes, on VGG-16.

    python -m benchmarks.balance_study [--network vgg16-published] [--images N] [--csv FILE]

Each figure is pairs / (multipliers x cycles) of all convolutions, in percent, mode ``both``, on
32 x 32 units. *Machine*: everything counts. *Cluster*: only what units lose to one another inside a
cluster (its own cycles, not the slowest one's): filters are loaded at no cost, buses and collector
are too wide to wait for, and pipelines have no latency.
"""

from __future__ import annotations

import argparse
import csv
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from accel.activations.functional import run_nodes
from accel.machines.cluster.packing import activation_masks, pack_filters
from accel.machines.cluster.program import prepare_layer, run_layer
from benchmarks.vgg16 import choose_network
from golden.machines.cluster.config import AcceleratorConfig, Balance, Dealing, Latency, SkipMode
from golden.machines.cluster.schedule import make_schedule, window_density
from golden.network import Convolution, Network
from sw.networks import zoo

FIFO_DEPTHS = (1, 2, 4, 8)
#: Loop orders: SparTen's, and this project's.
ORDERS = {"chunk-stationary": "sparten-1k", "output-major": "output-major"}
#: Balancing, and filters a unit: chunk balancing needs two, none is also shown with one.
BALANCES = (
    (Balance.NONE, 1),
    (Balance.NONE, 2),
    (Balance.FILTER, 2),
    (Balance.EXPECTED, 2),
    (Balance.CHUNK, 2),
)

Layers = list[tuple[Convolution, NDArray, NDArray]]


class WithoutLatency(AcceleratorConfig):
    """A machine whose pipelines take no time."""

    LATENCY = Latency(**dict.fromkeys((field.name for field in fields(Latency)), 0))


def machine(
    order: str, balance: Balance, filters: int, fifo_depth: int, alone: bool
) -> AcceleratorConfig:
    """Return a machine of the study; ``alone`` takes away what lies outside the units."""
    config = AcceleratorConfig.preset(ORDERS[order]).replace(
        balance=balance, filters_per_unit=filters, fifo_depth=fifo_depth
    )
    if not alone:
        return config
    return config.replace(
        broadcast_width=config.chunk,
        collector_width=config.group_filters,
        dealing=Dealing.INTERLEAVED,
    )


def shares(
    network: Network, images: list[Layers], config: AcceleratorConfig, loads: bool
) -> tuple[int, ...]:
    """Return pairs, the machine's cycles, and the sum of its clusters' cycles.

    Without ``loads`` filters are there at no cost.
    """
    total = np.zeros(3, dtype=np.int64)
    for index, (node, _, _) in enumerate(images[0]):
        weights = pack_filters(config, node.layer, node.weights)
        density = window_density(config, node.layer, network.channel_density.get(node.input))
        schedule = make_schedule(config, node.layer, weights, density)
        for image in images:
            _, inputs, output = image[index]
            masks = activation_masks(config, node.layer, inputs)
            program = prepare_layer(config, node.layer, weights, masks, schedule, output)
            if not loads:
                program = replace(program, load_beats=np.zeros_like(program.load_beats))
            counters = run_layer(program, SkipMode.BOTH)
            pairs, cycles = counters.cluster("pairs"), counters.cluster("cycles")
            total += pairs.sum(), cycles.max(), cycles.sum()
    return tuple(total.tolist())


def study(network: Network, count: int) -> list[dict[str, Any]]:
    """Return a row for each loop order, balancing and FIFO depth."""
    images = [
        [
            (node, inputs[0], output)
            for node, inputs, output in run_nodes(network, image)
            if isinstance(node, Convolution)
        ]
        for image in zoo.images(network.name)[:count]
    ]
    points = [(o, *b, d) for o in ORDERS for b in BALANCES for d in FIFO_DEPTHS]
    rows = []
    for order, balance, filters, depth in track(
        points, console=Console(stderr=True), transient=True
    ):
        config = machine(order, balance, filters, depth, alone=False)
        pairs, cycles, _ = shares(network, images, config, loads=True)
        alone = WithoutLatency(**vars(machine(order, balance, filters, depth, alone=True)))
        _, _, cluster_cycles = shares(network, images, alone, loads=False)
        rows.append(
            {
                "order": order,
                "balance": balance.value,
                "filters_per_unit": filters,
                "fifo_depth": depth,
                "machine_share": pairs / (cycles * config.multipliers),
                "cluster_share": pairs / (cluster_cycles * config.units * config.lanes),
            }
        )
    return rows


def show(network: Network, rows: list[dict[str, Any]], count: int) -> None:
    """Print one table."""
    title = f"% of ideal two-sided, {network.name}, {count} image(s); M machine, C cluster, FIFO"
    table = Table("loop order", "balance", "filters", title=title)
    for kind in "MC":
        for depth in FIFO_DEPTHS:
            table.add_column(f"{kind} {depth}", justify="right")
    for first in range(0, len(rows), len(FIFO_DEPTHS)):
        found = rows[first : first + len(FIFO_DEPTHS)]
        cells = [
            f"{100 * row[key]:.1f}" for key in ("machine_share", "cluster_share") for row in found
        ]
        row = found[0]
        table.add_row(row["order"], row["balance"], str(row["filters_per_unit"]), *cells)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    console.print(table)
    console.print(f"Source: {network.source}", soft_wrap=True)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.balance_study", description=__doc__)
    parser.add_argument("--network", help="a name of `accel networks` (default: vgg16)")
    parser.add_argument("--images", type=int, default=1, help="images to add up (default: 1)")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write the figures there")
    options = parser.parse_args()
    network = choose_network(options.network)
    rows = study(network, options.images)
    if options.csv:
        with options.csv.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    show(network, rows, options.images)


if __name__ == "__main__":
    main()
