"""The generated hardware from the command line: one layer on it, and its Verilog."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

from rich.table import Table

from accel.cli import network as cli_network
from accel.cli.output import check_writable, show, status, write_whole
from golden.counters import Counters
from golden.errors import UserError
from golden.machines import registry
from golden.machines.cluster.config import AcceleratorConfig, SkipMode
from golden.machines.cluster.program import ClusterProgram
from golden.program import LayerRun, LayerTask

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from golden.config import TomlConfig
    from golden.layer import LayerShape
    from golden.network import Convolution, Network
    from rtl.sim.run import SimulatorName

    Codes = NDArray[np.int8 | np.uint8]

__all__ = ["first_rows", "verify", "verify_machine", "write"]

Ran = TypeVar("Ran")


def verify(
    name: str,
    layer: str | None,
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
    subject = _Subject.load(name, layer, simulator, images, image, rows, density)
    from accel.simulator import simulate_layer
    from rtl.sim.run import run_layers

    made = ClusterProgram.build(machine, subject.layer_run())
    hardware = registry.find(registry.DEFAULT).load_hardware()
    runs = [(subject.layer_run(), skip) for skip in skips]
    ran = subject.run(lambda: run_layers(hardware, machine, runs, subject.simulator))
    if ran is None:
        return False
    title = f"{machine.name}: {machine.clusters} x {machine.units} units"
    golden, fast = subject.codes()
    report, equal = subject.heading(title), True
    for skip, (built, counted) in zip(skips, ran, strict=True):
        simulated = simulate_layer(machine, made.workload, made.schedule, skip, fast)
        table, agrees = _compare(golden, fast, built, simulated, counted, f"Skip mode {skip.value}")
        report += [table, *_first_difference(golden, built, simulated, counted)]
        equal = equal and agrees
    show(*report, _verdict(equal))
    return equal


def verify_machine(
    name: str,
    layer: str | None,
    simulator: str,
    *,
    machine: str,
    config: TomlConfig,
    images: Path | None,
    image: int,
    rows: int | None,
    density: float | None,
) -> bool:
    """Do for another machine with hardware what ``verify`` does for a cluster."""
    hardware = registry.find(machine).load_hardware()
    subject = _Subject.load(name, layer, simulator, images, image, rows, density)
    from accel.machines import registry as models
    from rtl.sim.run import run_layers

    node = subject.node
    operands = (subject.shape, node.weights, subject.source)
    simulated = models.load(machine)(config).count_layer(*operands)  # type: ignore
    runs = [(subject.layer_run(), SkipMode.BOTH)]
    ran = subject.run(lambda: run_layers(hardware, config, runs, subject.simulator))
    if ran is None:
        return False
    ((built, counted),) = ran
    golden, fast = subject.codes()
    table, equal = _compare(golden, fast, built, simulated, counted, machine)
    differences = _first_difference(golden, built, simulated, counted)
    title = str(config.to_dict()["name"])
    show(*subject.heading(title), table, *differences, _verdict(equal))
    return equal


def _verdict(equal: bool) -> str:
    return "All equal." if equal else "Hardware and models DIFFER."


@dataclass(frozen=True, eq=False)
class _Subject:
    """What is verified: a layer, or its first rows, with the input that it really has."""

    network: Network
    node: Convolution
    image: int
    shape: LayerShape
    source: Codes
    simulator: SimulatorName

    @classmethod
    def load(
        cls,
        name: str,
        layer: str | None,
        simulator: str,
        images: Path | None,
        image: int,
        rows: int | None,
        density: float | None,
    ) -> _Subject:
        """Check the options of ``accel verify`` that any hardware needs, and load the layer."""
        try:
            from rtl.sim.run import SIMULATORS
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
        shape, source = first_rows(node.layer, _input(network, node, codes[image]), rows)
        return cls(network, node, image, shape, source, cast("SimulatorName", simulator))

    def run(self, task: Callable[[], Ran]) -> Ran | None:
        """Run the hardware; None, and a word why, where it broke its contract."""
        from rtl.host import HardwareError

        try:
            with status(f"Running {self.node.layer.name} under {self.simulator}"):
                return task()
        except HardwareError as error:
            print(f"error: {error}", file=sys.stderr)
            return None

    def layer_run(self) -> LayerRun:
        """Return the layer as hardware is given it."""
        density = self.network.channel_density.get(self.node.input)
        task = LayerTask(layer=self.shape, weights=self.node.weights, channel_density=density)
        return LayerRun(task=task, activations=self.source, requantisation=self.node.requantisation)

    def codes(self) -> tuple[Codes, Codes]:
        """Return the golden reference's codes, and the simulator's activations."""
        from accel import functional
        from golden import reference

        weights, how = self.node.weights, self.node.requantisation
        with status(f"Computing {self.node.layer.name} by the golden reference"):
            golden = reference.convolve(weights, self.source, self.shape, how)
        return golden, functional.convolve(self.shape, weights, self.source, how)

    def heading(self, machine: str) -> list[Table | str]:
        layer = self.node.layer
        return [
            f"{self.network.name}, layer {layer.name}, {self.shape.out_height} of "
            f"{layer.out_height} output rows, image {self.image}, on {machine} "
            f"under {self.simulator}",
            f"Source: {self.network.source}",
        ]


def _layer(network: Network, name: str | None) -> Convolution:
    """Return a layer by name; None is the one with the fewest multiplications."""
    if name is None:
        return min(network.convolutions, key=lambda node: node.layer.dense_macs)
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


def _compare(
    golden: Codes,
    fast: Codes,
    built: Codes,
    simulated: Counters,
    counted: Counters,
    title: str,
) -> tuple[Table, bool]:
    """Return the table of one run and whether everything in it is equal."""
    import numpy as np

    table = Table("", title=title, title_justify="left", title_style="bold")
    for column in ("golden", "simulator", "hardware", "differ"):
        table.add_column(column, justify="right")
    wrong = int(np.sum((built != golden) | (fast != golden)))
    sums = [str(int(codes.sum(dtype=np.int64))) for codes in (golden, fast, built)]
    table.add_row(f"sum of {golden.size} codes", *sums, str(wrong))
    different = wrong
    for mine, theirs in zip(simulated.tables(), counted.tables(), strict=True):
        parts = f"{mine.what.split()[-1]}s"
        for index, name in enumerate(mine.names):
            left, right = mine.counts[..., index], theirs.counts[..., index]
            wrong = int(np.sum(left != right))
            table.add_row(f"{name} of {left.size} {parts}", "", str(left.sum()), str(right.sum()),
                          str(wrong))  # fmt: skip
            different += wrong
    return table, different == 0


def _first_difference(
    golden: Codes, built: Codes, simulated: Counters, counted: Counters
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
`rtl.sim.run` of innerjoin, or `accel verify`.
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


def write_machine(name: str, machine: TomlConfig, folder: Path) -> None:
    """Write the Verilog of a machine and its side-car into a folder."""
    _need_hardware()
    from rtl.verilog.writer import write

    hardware = registry.find(name).load_hardware()
    if folder.exists():
        check_writable(folder / f"{hardware.design(machine).top}.v")
    with status(f"Writing {name}"):
        paths = write(hardware, machine, folder)
    show(*(str(path) for path in paths))


def _need_hardware() -> None:
    try:
        import rtl.verilog.writer  # noqa: F401
    except ModuleNotFoundError as error:
        raise UserError(
            f"Python package {error.name} must be installed: pip install -e '.[hardware]'"
        ) from None


def write(machine: AcceleratorConfig, folder: Path) -> None:
    """Write ``cluster.v``, ``cluster.json`` and ``bench.py`` into a folder."""
    _need_hardware()
    from rtl.verilog import writer

    hardware = registry.find(registry.DEFAULT).load_hardware()
    if folder.exists():
        check_writable(folder / "cluster.v")
    with status(f"Writing {machine.name}"):
        paths = writer.write(hardware, machine, folder)
    bench = folder / "bench.py"
    write_whole(bench, _HOOK)
    show(*(str(path) for path in [*paths, bench]))
