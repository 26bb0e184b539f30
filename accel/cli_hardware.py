"""The generated hardware from the command line: one layer on it, and its Verilog."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from accel import cli_network
from accel.cli_output import check_writable, show, status, write_whole
from golden.config import AcceleratorConfig, SkipMode
from golden.counters import CLUSTER_COUNTERS, UNIT_COUNTERS, LayerCounters
from golden.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from golden.layer import LayerShape
    from golden.network import Convolution, Network
    from golden.schedule import Schedule
    from golden.workload import LayerWorkload

    Codes = NDArray[np.int8 | np.uint8]

__all__ = ["first_rows", "verify", "write"]


def verify(
    name: str,
    layer: str,
    simulator: str,
    *,
    machine: AcceleratorConfig,
    images: Path | None,
    image: int,
    rows: int | None,
    density: float | None,
    skips: tuple[SkipMode, ...],
) -> bool:
    """Run one layer on the hardware; print what agrees, and return whether all does.

    Codes are compared with the golden reference and with the simulator's activations, every
    counter of every unit with the simulator's.
    """
    try:
        from rtl.driver import HardwareError
        from rtl.run import SIMULATORS, run_layers
    except ModuleNotFoundError as error:
        raise UserError(
            f"Python package {error.name} must be installed: pip install -e '.[hardware]'"
        ) from None
    if simulator not in SIMULATORS:
        raise UserError(f"Simulator must be one of {', '.join(SIMULATORS)}, not {simulator!r}")
    with status(f"Loading {name}"):
        network, codes = cli_network.load(name, images, density)
    node = _layer(network, layer)
    if image >= len(codes):
        raise UserError(f"Image must be below {len(codes)}, not {image}")
    from accel import functional
    from accel.simulator import simulate_layer
    from golden import reference

    shape, source = first_rows(node.layer, _input(network, node, codes[image]), rows)
    workload, schedule = _program(machine, network, node, shape, source)
    try:
        with status(f"Running {layer} under {simulator}"):
            runs = run_layers(machine, [(workload, schedule, skip) for skip in skips], simulator)
    except HardwareError as error:
        print(f"error: {error}", file=sys.stderr)
        return False
    with status(f"Computing {layer} by the golden reference"):
        golden = reference.convolve(node.weights, source, shape, node.requantisation)
    fast = functional.convolve(shape, node.weights, source, node.requantisation)
    report: list[Table | str] = [
        f"{network.name}, layer {layer}, {shape.out_height} of {node.layer.out_height} output "
        f"rows, image {image}, on {machine.name}: "
        f"{machine.clusters} x {machine.units} units under {simulator}",
        f"Source: {network.source}",
    ]
    equal = True
    for skip, (built, counted) in zip(skips, runs, strict=True):
        simulated = simulate_layer(machine, workload, schedule, skip, fast)
        table, agrees = _compare(golden, fast, built, simulated, counted, skip)
        report += [table, *_first_difference(golden, built, simulated, counted)]
        equal = equal and agrees
    show(*report, "All equal." if equal else "Hardware and models DIFFER.")
    return equal


def _layer(network: Network, name: str) -> Convolution:
    for node in network.convolutions:
        if node.layer.name == name:
            return node
    known = ", ".join(node.layer.name for node in network.convolutions)
    raise UserError(f"Layer of {network.name} must be one of {known}, not {name!r}")


def _input(network: Network, wanted: Convolution, image: Codes) -> Codes:
    """Return the codes that a convolution reads, for one image."""
    from accel.functional import run_nodes

    if wanted.input in network.synthetic_inputs:
        return network.synthetic_inputs[wanted.input]
    return next(inputs[0] for node, inputs, _ in run_nodes(network, image) if node is wanted)


def first_rows(layer: LayerShape, source: Codes, rows: int | None) -> tuple[LayerShape, Codes]:
    """Cut a layer, and its input, to its first output rows; None keeps all."""
    if rows is None or rows >= layer.out_height:
        return layer, source
    needed = (rows - 1) * layer.stride_height + layer.kernel_height - layer.pad_top
    height = min(layer.in_height, max(1, needed))
    shape = replace(layer, in_height=height, pad_bottom=max(0, needed - height))
    return shape, source[:height]


def _program(
    machine: AcceleratorConfig,
    network: Network,
    node: Convolution,
    shape: LayerShape,
    source: Codes,
) -> tuple[LayerWorkload, Schedule]:
    """Return a layer's tensors in chunks and its schedule, balanced as in `accel run`."""
    from accel.simulator import window_density
    from golden.schedule import make_schedule
    from golden.workload import LayerWorkload

    workload = LayerWorkload.build(machine, shape, node.weights, source, node.requantisation)
    known = window_density(machine, node.layer, network.channel_density.get(node.input))
    return workload, make_schedule(machine, shape, workload.weights, known)


def _compare(
    golden: Codes,
    fast: Codes,
    built: Codes,
    simulated: LayerCounters,
    counted: LayerCounters,
    skip: SkipMode,
) -> tuple[Table, bool]:
    """Return the table of one skip mode and whether everything in it is equal."""
    import numpy as np

    table = Table("", title=f"Skip mode {skip.value}", title_justify="left", title_style="bold")
    for column in ("golden", "simulator", "hardware", "differ"):
        table.add_column(column, justify="right")
    wrong = int(np.sum((built != golden) | (fast != golden)))
    sums = [str(int(codes.sum(dtype=np.int64))) for codes in (golden, fast, built)]
    table.add_row(f"sum of {golden.size} codes", *sums, str(wrong))
    different = wrong
    counters = [(name, LayerCounters.cluster, "clusters") for name in CLUSTER_COUNTERS]
    counters += [(name, LayerCounters.unit, "units") for name in UNIT_COUNTERS]
    for name, read, what in counters:
        mine, theirs = read(simulated, name), read(counted, name)
        wrong = int(np.sum(mine != theirs))
        table.add_row(f"{name} of {mine.size} {what}", "", str(mine.sum()), str(theirs.sum()),
                      str(wrong))  # fmt: skip
        different += wrong
    return table, different == 0


def _first_difference(
    golden: Codes, built: Codes, simulated: LayerCounters, counted: LayerCounters
) -> list[str]:
    """Say where codes and counters differ first."""
    import numpy as np

    lines = []
    if len(places := np.argwhere(golden != built)):
        p, q, k = (int(index) for index in places[0])
        lines.append(
            f"First code that differs: p {p}, q {q}, filter {k}: "
            f"golden {golden[p, q, k]}, hardware {built[p, q, k]}"
        )
    if difference := simulated.difference(counted):
        lines.append(f"First counter that differs (simulator and hardware): {difference}")
    return lines


_HOOK = '''\
"""A place to begin: this runs the cluster under cocotb and reads one register.

    python bench.py [icarus | verilator]

What the registers and streams mean is in cluster.json; to run whole layers see
`rtl.driver` of innerjoin, or `accel verify`.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge

FOLDER = Path(__file__).resolve().parent
DESCRIPTION = json.loads((FOLDER / "cluster.json").read_text())


async def reset(dut):
    """Start the clock, with every input at 0, and reset."""
    for port in DESCRIPTION["ports"]:
        if port["direction"] == "input" and port["name"] != "clk":
            getattr(dut, port["name"]).value = 0
    cocotb.start_soon(Clock(dut.clk, 10, unit="ns").start())
    dut.rst.value = 1
    await ClockCycles(dut.clk, 2)
    dut.rst.value = 0
    await RisingEdge(dut.clk)


async def read(dut, register):
    """Return a register by its name."""
    dut.address.value = DESCRIPTION["registers"][register]
    await ClockCycles(dut.clk, 2)
    return int(dut.read_data.value)


@cocotb.test()
async def counts_nothing_before_start(dut):
    await reset(dut)
    assert await read(dut, "cycles") == 0


if __name__ == "__main__":
    from cocotb_tools.runner import get_runner

    simulator = sys.argv[1] if len(sys.argv) > 1 else "icarus"
    runner = get_runner(simulator)
    arguments = {
        "icarus": ["-g2012"],
        # Only ports are visible to cocotb, and -O1: with all signals public a build takes minutes.
        "verilator": ["-Wno-fatal", "--no-public-flat-rw", "--public-depth", "1", "-CFLAGS", "-O1"],
    }[simulator]
    runner.build(
        sources=[FOLDER / "cluster.v"],
        hdl_toplevel="cluster",
        build_args=arguments,
        build_dir=FOLDER / "sim",
    )
    runner.test(hdl_toplevel="cluster", test_module="bench", build_dir=FOLDER / "sim")
'''


def write(machine: AcceleratorConfig, folder: Path) -> None:
    """Write ``cluster.v``, ``cluster.json`` and ``bench.py`` into a folder."""
    try:
        from rtl.verilog import write_verilog
    except ModuleNotFoundError as error:
        raise UserError(
            f"Python package {error.name} must be installed: pip install -e '.[hardware]'"
        ) from None
    if folder.exists():
        check_writable(folder / "cluster.v")
    with status(f"Writing {machine.name}"):
        paths = list(write_verilog(machine, folder))
    bench = folder / "bench.py"
    write_whole(bench, _HOOK)
    show(*(str(path) for path in [*paths, bench]))
