"""Speed of the simulator on VGG-16: beside a loop in C, and beside the tick oracle.

    python -m benchmarks.vgg16 [--network vgg16-published] [--json FILE]

Everything that is compared runs in one process, one after the other, on one thread; times are
CPU seconds, the least of several runs. The C loop (``joins.c``) does the same joins and the same
recurrence by hand for one configuration; it must find the same cycles and sums.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from accel.activations.functional import run_nodes
from accel.machines.cluster.model import count_layer
from accel.machines.cluster.packing import activation_masks, pack_filters
from accel.machines.cluster.program import LayerProgram, prepare_layer, run_layer
from golden.arithmetic import Requantisation
from golden.errors import UserError
from golden.layer import LayerShape
from golden.machines.cluster.config import AcceleratorConfig, Balance, Dealing, SkipMode
from golden.machines.cluster.schedule import make_schedule
from golden.machines.cluster.workload import LayerWorkload
from golden.network import Convolution, Network
from sw.networks import zoo

#: The machine that ``joins.c`` is written for: the project's own, one filter a unit.
CONFIG = AcceleratorConfig.preset("output-major").replace(
    name="benchmark", filters_per_unit=1, dealing=Dealing.INTERLEAVED, balance=Balance.FILTER
)
REPEATS = 7
#: Shapes of machines beside that one: units, chunk, filters of a unit.
SHAPES = (
    (4, 128, 1), (16, 128, 1), (32, 128, 1), (32, 128, 2), (32, 16, 1), (32, 256, 1),
    (33, 128, 1), (64, 128, 1), (128, 128, 1), (256, 64, 2),
)  # fmt: skip


def choose_network(name: str | None) -> Network:
    """Return the named network, or VGG-16 with real masks where it can be had."""
    if name:
        return zoo.load(name)
    try:
        return zoo.load("vgg16")
    except UserError:
        return zoo.load("vgg16-published")


def programs(name: str | None) -> tuple[str, list[LayerProgram]]:
    """Arrange all convolutions with their real activations; return their source too."""
    network = choose_network(name)
    image = zoo.images(network.name)[0]
    prepared = []
    for node, inputs, output in run_nodes(network, image):
        if not isinstance(node, Convolution) or node.layer.in_height == 1:
            continue
        layer = node.layer
        weights = pack_filters(CONFIG, layer, node.weights)
        masks = activation_masks(CONFIG, layer, inputs[0])
        schedule = make_schedule(CONFIG, layer, weights)
        prepared.append(prepare_layer(CONFIG, layer, weights, masks, schedule, output))
    return network.source, [p for p in prepared if p.layer.name.startswith("conv")]


def least_seconds(*runs: Callable[[], Any]) -> list[float]:
    """Run in turn, several times; return the least CPU seconds of each."""
    least = [float("inf")] * len(runs)
    for _ in range(REPEATS):
        for index, run in enumerate(runs):
            begun = time.process_time()
            run()
            least[index] = min(least[index], time.process_time() - begun)
    return least


# -- the loop in C ------------------------------------------------------------------------------


class _Latency(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_int32)
        for name in ("start", "release", "load", "load_free", "deliver", "collector_free", "tail")
    ]


class _Layer(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_int32)
        for name in ("clusters", "slots", "passes", "positions", "filter_chunks", "drain_cycles")
    ] + [
        (name, ctypes.c_void_p)
        for name in ("window", "masks", "broadcast_words", "filters", "load_beats")
    ]


def compile_loop(folder: Path) -> tuple[ctypes.CDLL | None, str]:
    """Compile ``joins.c``; return it, and the reason where there is none."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None, "no C compiler (cc)"
    library = folder / "joins.so"
    source = Path(__file__).with_name("joins.c")
    done = subprocess.run(
        [compiler, "-O3", "-march=native", "-shared", "-fPIC", str(source), "-o", str(library)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        return None, done.stderr.strip().splitlines()[0]
    loop = ctypes.CDLL(str(library))
    loop.run_layer.restype = ctypes.c_int64
    return loop, ""


class LoopLayer:
    """A layer in the arrays of ``joins.c``."""

    def __init__(self, loop: ctypes.CDLL, program: LayerProgram) -> None:
        config, layout = program.config, program.layout
        masks, filters = program.input_masks, program.joined_filters
        if loop.word_bits() == 32:
            masks = masks.view(np.uint32)
            filters = np.ascontiguousarray(np.moveaxis(filters, 3, 4)).view(np.uint32)
            filters = np.ascontiguousarray(np.moveaxis(filters, 4, 3))
        self.arrays: list[NDArray] = [
            program.input_chunks,
            masks,
            program.broadcast_words,
            filters,
            np.ascontiguousarray(program.load_beats[:, 0]),
        ]
        self.loop = loop
        self.layer = _Layer(
            config.clusters, config.slots, len(program.load_beats), program.layer.positions,
            layout.filter_chunks, config.units // config.collector_width,
            *(array.ctypes.data for array in self.arrays),
        )  # fmt: skip
        latency = config.LATENCY
        self.latency = _Latency(
            latency.start, latency.release, latency.load, latency.load_free, latency.deliver,
            latency.collector_free, latency.tail,
        )  # fmt: skip
        self.sums = np.zeros((3, config.units), dtype=np.int64)

    def run(self) -> int:
        """Return cycles; ``sums`` become busy, cost and sibling waits of each unit."""
        self.sums[:] = 0
        sums = ctypes.c_void_p(self.sums.ctypes.data)
        return self.loop.run_layer(ctypes.byref(self.layer), ctypes.byref(self.latency), sums)


def compare_with_c(prepared: list[LayerProgram], loop: ctypes.CDLL | None) -> list[dict[str, Any]]:
    """Time kernel and C layer by layer in mode ``both``.

    Raises
    ------
    RuntimeError
        They do not find the same cycles and sums.
    """
    rows = []
    for program in prepared:
        layer = program.layer
        joins = layer.positions * layer.out_channels * program.layout.filter_chunks
        row: dict[str, Any] = {"layer": layer.name, "joins": joins}
        if loop is None:
            (row["kernel_seconds"],) = least_seconds(lambda p=program: run_layer(p, SkipMode.BOTH))
        else:
            in_c = LoopLayer(loop, program)
            row["kernel_seconds"], row["c_seconds"] = least_seconds(
                lambda p=program: run_layer(p, SkipMode.BOTH), in_c.run
            )
            counters = run_layer(program, SkipMode.BOTH)
            busy = counters.unit("busy_cycles").sum(axis=0)
            cost = busy + counters.unit("bubble_cycles").sum(axis=0)
            siblings = counters.unit("wait_siblings_cycles").sum(axis=0)
            found = (in_c.run(), *in_c.sums.sum(axis=1).tolist())
            expected = (counters.cycles, int(busy.sum()), int(cost.sum()), int(siblings.sum()))
            if found != expected:
                raise RuntimeError(f"{layer.name}: C finds {found}, the kernel {expected}")
        rows.append(row)
    return rows


# -- the tick oracle ----------------------------------------------------------------------------


def compare_with_oracle() -> dict[str, Any]:
    """Time the tick oracle and the simulator on one small layer; both from the same workload."""
    from tests import oracle

    layer = LayerShape(
        name="small", in_channels=128, in_height=6, in_width=6, out_channels=32,
        kernel_height=3, kernel_width=3, pad_top=1, pad_left=1, pad_bottom=1, pad_right=1,
    )  # fmt: skip
    config = CONFIG.replace(clusters=1)
    random = np.random.default_rng(1)
    weights = random.integers(-127, 128, layer.weights_shape) * (
        random.random(layer.weights_shape) < 0.3
    )
    inputs = random.integers(1, 256, (6, 6, 128)) * (random.random((6, 6, 128)) < 0.4)
    requantisation = Requantisation(
        np.zeros(32, dtype=np.int64),
        np.full(32, 1 << 23, dtype=np.int64),
        np.full(32, 40, dtype=np.int64),
        0,
        255,
    )
    workload = LayerWorkload.build(
        config, layer, weights.astype(np.int8), inputs.astype(np.uint8), requantisation
    )
    schedule = make_schedule(config, layer, workload.weights)
    begun = time.process_time()
    codes, expected = oracle.run_layer(config, workload, schedule, SkipMode.BOTH)
    oracle_seconds = time.process_time() - begun
    (seconds,) = least_seconds(
        lambda: count_layer(config, workload, schedule, SkipMode.BOTH, codes)
    )
    counters = count_layer(config, workload, schedule, SkipMode.BOTH, codes)
    if difference := expected.difference(counters):
        raise RuntimeError(f"oracle and simulator differ in {difference}")
    return {
        "cycles": counters.cycles,
        "oracle_seconds": oracle_seconds,
        "simulator_seconds": seconds,
        "ratio": oracle_seconds / seconds,
    }


# -- other shapes -------------------------------------------------------------------------------


def time_shapes() -> list[dict[str, Any]]:
    """Time a layer's first run on machines of other shapes, and the least of later ones."""
    layer = LayerShape(
        name="shapes", in_channels=256, in_height=14, in_width=14, out_channels=256,
        kernel_height=3, kernel_width=3, pad_top=1, pad_left=1, pad_bottom=1, pad_right=1,
    )  # fmt: skip
    random = np.random.default_rng(1)
    weights = random.integers(1, 128, layer.weights_shape, dtype=np.int8)
    weights[random.random(weights.shape) < 0.7] = 0
    inputs = random.integers(1, 256, (14, 14, 256), dtype=np.uint8)
    inputs[random.random(inputs.shape) < 0.6] = 0
    rows = []
    for units, chunk, filters in SHAPES:
        config = CONFIG.replace(
            clusters=1, units=units, chunk=chunk, filters_per_unit=filters, collector_width=1,
            broadcast_width=16,
        )  # fmt: skip
        packed = pack_filters(config, layer, weights)
        masks = activation_masks(config, layer, inputs)
        program = prepare_layer(
            config, layer, packed, masks, make_schedule(config, layer, packed), None
        )
        begun = time.process_time()
        run_layer(program, SkipMode.BOTH)
        first = time.process_time() - begun
        (least,) = least_seconds(lambda p=program: run_layer(p, SkipMode.BOTH))
        joins = layer.positions * layer.out_channels * program.layout.filter_chunks
        rows.append(
            {
                "units": units,
                "chunk": chunk,
                "filters_per_unit": filters,
                "joins": joins,
                "first_seconds": first,
                "seconds": least,
            }
        )
    return rows


# -- the whole command --------------------------------------------------------------------------


def time_command(network: str) -> dict[str, float]:
    """Run ``accel run`` in a process of its own, twice; return the second one's cost."""
    program = "import sys; from accel.cli.app import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", program, "run", network, "--json", "-"]
    measure = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, "
        "stdout=subprocess.DEVNULL); u = resource.getrusage(resource.RUSAGE_CHILDREN); "
        "print(u.ru_utime + u.ru_stime, u.ru_maxrss)"
    )
    cost = ["0", "0"]
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", measure, *command], capture_output=True, text=True, check=True
        )
        cost = done.stdout.split()
    return {"cpu_seconds": float(cost[0]), "memory_mebibytes": int(cost[1]) / 1024}


def run(network: str | None = None) -> dict[str, Any]:
    """Run the whole benchmark."""
    source, prepared = programs(network)
    with tempfile.TemporaryDirectory() as folder:
        loop, reason = compile_loop(Path(folder))
        layers = compare_with_c(prepared, loop)
    modes = {}
    for skip in SkipMode:
        times = [least_seconds(lambda p=p, s=skip: run_layer(p, s))[0] for p in prepared]
        modes[skip.value] = sum(times)
    kernel = sum(row["kernel_seconds"] for row in layers)
    joins = sum(row["joins"] for row in layers)
    result: dict[str, Any] = {
        "source": source,
        "joins": joins,
        "kernel_seconds": kernel,
        "kernel_joins_per_second": joins / kernel,
        "kernel_seconds_by_mode": modes,
        "c_seconds": None,
        "kernel_speed_over_c": None,
        "c_missing_because": reason or None,
        "layers": layers,
        "shapes": time_shapes(),
        "oracle": compare_with_oracle(),
        "command": time_command(network or choose_network(None).name),
        "benchmark_memory_mebibytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    if loop is not None:
        result["c_seconds"] = sum(row["c_seconds"] for row in layers)
        result["kernel_speed_over_c"] = result["c_seconds"] / kernel
    return result


def show(result: dict[str, Any]) -> None:
    """Print the tables."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    table = Table("layer", title="Mode both: CPU milliseconds on one thread")
    for heading in ("M joins", "kernel", "C", "kernel's speed over C", "G joins a second"):
        table.add_column(heading, justify="right")
    total = {"layer": "total", **result}
    for row in (*result["layers"], total):
        if row is total:
            table.add_section()
        seconds, in_c = row["kernel_seconds"], row.get("c_seconds")
        table.add_row(
            row["layer"],
            f"{row['joins'] / 1e6:.1f}",
            f"{1e3 * seconds:.2f}",
            f"{1e3 * in_c:.2f}" if in_c else "",
            f"{in_c / seconds:.2f}" if in_c else "",
            f"{row['joins'] / seconds / 1e9:.2f}",
        )
    console.print(table)
    table = Table("units", title="One layer, other shapes of one cluster: CPU milliseconds")
    for heading in ("chunk", "filters a unit", "first run", "later", "G joins a second"):
        table.add_column(heading, justify="right")
    for row in result["shapes"]:
        table.add_row(
            *(str(row[name]) for name in ("units", "chunk", "filters_per_unit")),
            f"{1e3 * row['first_seconds']:.2f}",
            f"{1e3 * row['seconds']:.2f}",
            f"{row['joins'] / row['seconds'] / 1e9:.2f}",
        )
    console.print(table)
    oracle, command = result["oracle"], result["command"]
    if result["c_missing_because"]:
        console.print(f"No comparison with C: {result['c_missing_because']}", markup=False)
    modes = ", ".join(f"{k} {1e3 * v:.1f}" for k, v in result["kernel_seconds_by_mode"].items())
    console.print(f"Source: {result['source']}", soft_wrap=True)
    console.print(f"All 13 layers by mode, ms: {modes}", soft_wrap=True)
    console.print(
        f"Tick oracle, small layer: {oracle['oracle_seconds']:.2f} s, simulator "
        f"{1e3 * oracle['simulator_seconds']:.2f} ms, {oracle['ratio']:.0f} times, same counters",
        soft_wrap=True,
    )
    console.print(
        f"accel run, all four modes: {command['cpu_seconds']:.2f} s of CPU, "
        f"{command['memory_mebibytes']:.0f} MiB",
        soft_wrap=True,
    )


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.vgg16", description=__doc__)
    parser.add_argument("--network", help="a name of `accel networks` (default: vgg16)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there")
    options = parser.parse_args()
    result = run(options.network)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    show(result)


if __name__ == "__main__":
    main()
