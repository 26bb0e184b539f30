"""A layer on the hardware beside the golden model and the simulator: same bits, same counters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from accel.activations import functional
from accel.activations.trace import Trace
from accel.machines.machine import Machine, Program
from golden import reference
from golden.counters import Counters
from golden.errors import UserError
from golden.layer import LayerShape
from golden.machines import registry
from golden.machines.cluster.config import SkipMode
from golden.network import Convolution, Network
from golden.program import Codes, LayerRun, LayerTask

if TYPE_CHECKING:
    from accel.api import LoadedNetwork

__all__ = [
    "Difference",
    "LayerCase",
    "ModeVerification",
    "Verification",
    "choose_run",
    "fast_codes",
    "first_rows",
    "load_hardware",
    "record_states",
    "verify_layer",
]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One kind of figure, as each describes it; None where it has none.

    Parameters
    ----------
    what : str
        Such as ``cycles of 2 clusters``.
    golden, simulator, hardware : int or None
        Sums over all parts.
    differ : int
        How many of the parts differ.
    """

    what: str
    golden: int | None
    simulator: int
    hardware: int
    differ: int


@dataclass(frozen=True, kw_only=True)
class ModeVerification:
    """What was compared in one skip mode.

    Parameters
    ----------
    mode : SkipMode
    rows : tuple of Difference
    first : tuple of str
        Where codes and counters differ first, in words; empty where nothing does.
    """

    mode: SkipMode
    rows: tuple[Difference, ...]
    first: tuple[str, ...]

    @property
    def equal(self) -> bool:
        return not any(row.differ for row in self.rows)


@dataclass(frozen=True, kw_only=True)
class Verification:
    """A layer, or its first rows, on hardware, simulator and golden model.

    Parameters
    ----------
    network, source, layer : str
    image : int
    out_rows, layer_rows : int
        Output rows that were run, of how many.
    machine, size, simulator : str
    modes : tuple of ModeVerification
    """

    network: str
    source: str
    layer: str
    image: int
    out_rows: int
    layer_rows: int
    machine: str
    size: str
    simulator: str
    modes: tuple[ModeVerification, ...]

    @property
    def equal(self) -> bool:
        """Whether every bit and every counter is the same."""
        return all(mode.equal for mode in self.modes)

    def __str__(self) -> str:
        from accel.report.text import verification_text

        return verification_text(self)

    __repr__ = __str__


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerCase:
    """A layer for one image, or its first rows, and what a machine must make of it.

    Parameters
    ----------
    node : Convolution
        The whole layer.
    run : LayerRun
    golden, fast : ndarray of int8 or uint8, axes p, q, k
        Codes of the golden model and of the simulator.
    program : Program
        The layer on the simulated machine.
    """

    node: Convolution
    run: LayerRun
    golden: Codes
    fast: Codes
    program: Program

    @classmethod
    def build(
        cls,
        net: LoadedNetwork,
        layer: str | None,
        machine: Machine,
        image: int = 0,
        rows: int | None = None,
    ) -> LayerCase:
        """Take a layer of a network; the smallest where its name is None, whole without rows.

        Raises
        ------
        UserError
            There is no such layer or image.
        """
        node, run = choose_run(net, layer, image, rows)
        operands = run.task.weights, run.activations, run.task.layer, run.requantisation
        return cls(
            node=node,
            run=run,
            golden=reference.convolve(*operands),
            fast=fast_codes(run),
            program=machine.prepare(run.task),
        )

    def counters(self, mode: SkipMode) -> Counters:
        """Return the counters of the machine, simulated."""
        found = self.program(self.run.activations, self.fast)(mode).counters
        assert found is not None, "a machine with hardware keeps its counters"
        return found


def choose_run(
    net: LoadedNetwork, layer: str | None, image: int, rows: int | None
) -> tuple[Convolution, LayerRun]:
    """Return a layer by name, and its run for an image; ``rows`` cuts it to its first ones.

    Raises
    ------
    UserError
        There is no such layer or image.
    """
    network = net.network
    node = find_layer(network, layer)
    if not 0 <= image < len(net.images):
        raise UserError(f"Image must be below {len(net.images)}, not {image}")
    shape, source = first_rows(node.layer, _input(network, node, net.images[image]), rows)
    task = LayerTask(
        layer=shape,
        weights=node.weights,
        channel_density=network.channel_density.get(node.input),
    )
    return node, LayerRun(task=task, activations=source, requantisation=node.requantisation)


def fast_codes(run: LayerRun) -> Codes:
    """Return the simulator's codes of a layer, axes p, q, k."""
    task = run.task
    return functional.convolve(task.layer, task.weights, run.activations, run.requantisation)


def verify_layer(
    net: LoadedNetwork,
    layer: str | None,
    machine: Machine,
    modes: Sequence[SkipMode],
    *,
    simulator: str,
    image: int = 0,
    rows: int | None = None,
    waves: Path | None = None,
    signals: Sequence[str] = (),
) -> Verification:
    """Run a layer on a machine's hardware and compare it; ``accel.api.verify`` has the rest.

    Raises
    ------
    HardwareError
        The hardware broke its contract.
    """
    case = LayerCase.build(net, layer, machine, image, rows)
    hardware = load_hardware(machine)
    from rtl.sim.run import SIMULATORS, Waves, run_layers

    if simulator not in SIMULATORS:
        raise UserError(f"Simulator must be one of {', '.join(SIMULATORS)}, not {simulator!r}")
    kept = None if waves is None else Waves(waves, tuple(signals))
    runs = [(case.run, mode) for mode in modes]
    built = run_layers(hardware, machine.config, runs, simulator, waves=kept)
    compared: list[ModeVerification] = []
    for mode, (codes, counted) in zip(modes, built, strict=True):
        simulated = case.counters(mode)
        compared.append(
            ModeVerification(
                mode=mode,
                rows=_compare(case.golden, case.fast, codes, simulated, counted),
                first=_first_differences(case.golden, codes, simulated, counted),
            )
        )
    return Verification(
        network=net.network.name,
        source=net.network.source,
        layer=case.node.layer.name,
        image=image,
        out_rows=case.run.task.layer.out_height,
        layer_rows=case.node.layer.out_height,
        machine=str(machine.config.name),
        size=machine.size,
        simulator=simulator,
        modes=tuple(compared),
    )


def load_hardware(machine: Machine) -> Any:
    """Return a machine's ``rtl.host.Hardware``.

    Raises
    ------
    ConfigError
        The machine has none.
    UserError
        A package that hardware needs is not installed.
    """
    try:
        return registry.find(machine.name).load_hardware()
    except ModuleNotFoundError as error:
        raise UserError(
            f"Python package {error.name} must be installed: pip install -e '.[hardware]'"
        ) from None


def record_states(
    machine: Machine, run: LayerRun, mode: SkipMode
) -> tuple[Counters, list[NDArray[np.uint8] | None]]:
    """Return a layer's counters, and its states as ``rtl.sim.run.record_states`` has them."""
    hardware = load_hardware(machine)
    from rtl.sim import run as simulators

    return simulators.record_states(hardware, machine.config, run, mode)


def find_layer(network: Network, name: str | None) -> Convolution:
    """Return a layer by name; None is the one with the fewest multiplications.

    Raises
    ------
    UserError
        The network has no such layer, or none at all.
    """
    if not network.convolutions:
        raise UserError(f"Network {network.name} must have a convolution or linear layer")
    if name is None:
        return min(network.convolutions, key=lambda node: node.layer.dense_macs)
    for node in network.convolutions:
        if node.layer.name == name:
            return node
    known = ", ".join(node.layer.name for node in network.convolutions)
    raise UserError(f"Layer of {network.name} must be one of {known}, not {name!r}")


def _input(network: Network, wanted: Convolution, image: Codes) -> Codes:
    """Return the codes that a convolution reads, for one image."""
    if wanted.input in network.synthetic_inputs:
        return network.synthetic_inputs[wanted.input]
    return next(step.activations for step in Trace(network, image) if step.node is wanted)


def first_rows(layer: LayerShape, source: Codes, rows: int | None) -> tuple[LayerShape, Codes]:
    """Cut a layer, and its input, to its first output rows; None keeps all."""
    if rows is None or rows >= layer.out_height:
        return layer, source
    needed = (rows - 1) * layer.stride_height + layer.kernel_height - layer.pad_top
    height = min(layer.in_height, max(1, needed))
    shape = replace(layer, in_height=height, pad_bottom=max(0, needed - height))
    return shape, source[:height]


def _compare(
    golden: Codes, fast: Codes, built: Codes, simulated: Counters, counted: Counters
) -> tuple[Difference, ...]:
    """Compare all codes, and each counter of every part."""
    golden_sum, fast_sum, built_sum = (
        int(codes.sum(dtype=np.int64)) for codes in (golden, fast, built)
    )
    rows = [
        Difference(
            what=f"sum of {golden.size} codes",
            golden=golden_sum,
            simulator=fast_sum,
            hardware=built_sum,
            differ=int(np.sum((built != golden) | (fast != golden))),
        )
    ]
    for mine, theirs in zip(simulated.tables(), counted.tables(), strict=True):
        parts = f"{mine.what.split()[-1]}s"
        for index, name in enumerate(mine.names):
            left, right = mine.counts[..., index], theirs.counts[..., index]
            rows.append(
                Difference(
                    what=f"{name} of {left.size} {parts}",
                    golden=None,
                    simulator=int(left.sum()),
                    hardware=int(right.sum()),
                    differ=int(np.sum(left != right)),
                )
            )
    return tuple(rows)


def _first_differences(
    golden: Codes, built: Codes, simulated: Counters, counted: Counters
) -> tuple[str, ...]:
    """Say where codes and counters differ first."""
    lines: list[str] = []
    if len(places := np.argwhere(golden != built)):
        p, q, k = (int(index) for index in places[0])
        lines.append(
            f"First code that differs: p {p}, q {q}, filter {k}: "
            f"golden {golden[p, q, k]}, hardware {built[p, q, k]}"
        )
    if difference := simulated.difference(counted):
        lines.append(f"First counter that differs (simulator and hardware): {difference}")
    return tuple(lines)
