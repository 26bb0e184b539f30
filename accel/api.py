"""The public Python API: everything that the command line does, as functions.

import accel
net = accel.load("resnet8")
accel.simulate(net, "small")
accel.compare(net, ["sparten", "innerjoin"], multipliers=1024).to_dataframe()
accel.verify(net, layer="block2.conv2", machine="small", rows=2)
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from accel.loading import (
    MODELS,
    LoadedNetwork,
    check_name,
    compress,
    load,
    load_if_named,
    load_model,
    load_network,
    networks,
)
from accel.machines.choice import choose_config, machine, read_mode, read_modes
from golden.config import TomlConfig
from golden.machines import registry
from golden.machines.cluster.config import SkipMode

if TYPE_CHECKING:
    from accel.machines.machine import Machine
    from accel.machines.timeline import Timeline
    from accel.placement import Placement
    from accel.results import Run
    from accel.run import Progress
    from accel.verification.layers import Verification

__all__ = [
    "MODELS",
    "LoadedNetwork",
    "check",
    "choose_config",
    "compare",
    "compress",
    "load",
    "load_model",
    "machine",
    "networks",
    "read_modes",
    "simulate",
    "timeline",
    "verify",
]


def check(
    net: LoadedNetwork | str | os.PathLike[str],
    machine: str | TomlConfig | Machine = registry.DEFAULT,
    *,
    input_shape: tuple[int, ...] | None = None,
) -> Placement:
    """Say where each part of a network runs, what does not fit a machine, and what would.

    Neither images nor a simulation are needed; it takes seconds.

    Parameters
    ----------
    net : LoadedNetwork, str or path
        What ``load`` returned, a shipped network, or a file.
    machine : str, TomlConfig or Machine
        A name, a preset, ``machine:preset``, or a configuration.
    input_shape : tuple of int, axes as the model has them, optional
        Shape to fix where an ``.onnx`` model leaves its (first) input's open.

    Raises
    ------
    ConfigError, UserError
        There is no such network or machine, or the model can't be read or run at all.
    """
    from accel.placement import place

    chosen = _machine(machine)
    if isinstance(net, LoadedNetwork):
        return place(net.network, chosen)
    name = os.fspath(net)
    check_name(name)
    if not name.endswith(MODELS):
        return place(load_network(name, input_shape), chosen)
    from sw.onnx.check import check_model

    found = check_model(load_model(Path(name), input_shape), Path(name).stem)
    return place(found.network, chosen, found.kind)


def simulate(
    net: LoadedNetwork | str,
    machine: str | TomlConfig | Machine = registry.DEFAULT,
    *,
    modes: Iterable[SkipMode | str] | None = None,
    images: int = 1,
    technology_node: str = "45nm",
    keep_counters: bool = False,
    progress: Progress | None = None,
) -> Run:
    """Count every cycle of a network on a machine, with the activations that it really has.

    Parameters
    ----------
    net : LoadedNetwork or str
        What ``load`` returned, or a name to load.
    machine : str, TomlConfig or Machine
        A name, a preset, ``machine:preset``, or a configuration.
    modes : iterable of SkipMode, optional
        Skip modes to count in; all that the machine has where None.
    images : int
        How many of the network's images are run.
    technology_node : str
        Of the energies: ``45nm`` or ``7nm``.
    keep_counters : bool
        Keep every part's counters (``Timing.counters``, JSON).
    progress : callable, optional
        Called with what is done, what there is in all, and what is next.

    Raises
    ------
    CapacityError
        A layer does not fit the machine.
    ConfigError, UserError
        There is no such network, machine or mode.
    """
    chosen = _machine(machine)
    return _run({chosen: read_modes(chosen, modes)}, net, images, technology_node, keep_counters,
                progress)  # fmt: skip


def compare(
    net: LoadedNetwork | str,
    machines: Sequence[str | TomlConfig | Machine] | None = None,
    *,
    multipliers: int = 256,
    images: int = 1,
    technology_node: str = "45nm",
    progress: Progress | None = None,
) -> Run:
    """Run a network on several machines side by side, each in the mode that skips most.

    Parameters
    ----------
    machines : sequence of str, TomlConfig or Machine, optional
        All that there are where None. A machine that is named without a preset is scaled.
    multipliers : int
        Of each scaled machine.

    Raises
    ------
    CapacityError
        A layer does not fit a machine.
    ConfigError, UserError
        There is no such machine, one is given twice, or it can't have so many multipliers.
    """
    described = list(registry.MACHINES) if machines is None else list(machines)
    chosen = [_machine(each, multipliers) for each in described]
    return _run({each: each.modes[-1:] for each in chosen}, net, images, technology_node, False,
                progress)  # fmt: skip


def verify(
    net: LoadedNetwork | str,
    layer: str | None = None,
    machine: str | TomlConfig | Machine = registry.DEFAULT,
    *,
    simulator: str | None = None,
    image: int = 0,
    rows: int | None = None,
    modes: Iterable[SkipMode | str] | None = None,
    waves: str | os.PathLike[str] | None = None,
    signals: Sequence[str] = (),
) -> Verification:
    """Run a layer on the hardware and compare its bits and every counter.

    Parameters
    ----------
    layer : str, optional
        Its name; the smallest where None.
    machine : str, TomlConfig or Machine
        One that has hardware; small where it is named without a preset.
    simulator : str, optional
        ``amaranth``, ``icarus`` or ``verilator``; where None the first one, with waves the last.
    image : int
        Which image, from 0.
    rows : int, optional
        Only so many output rows, from the first.
    modes : iterable of SkipMode, optional
        The mode that skips most where None.
    waves : path, optional
        A ``.fst`` that the waves are written to, with set-up files of GTKWave and Surfer beside it.
    signals : sequence of str
        Blocks whose waves are kept, such as ``unit0`` or ``unit0.mac``; all where empty.

    Raises
    ------
    CapacityError, ConfigError
        The layer does not fit, or there is no such hardware.
    HardwareError
        The hardware broke its contract.
    UserError
        There is no such layer, image, simulator or block, or the waves can't be written.
    """
    from accel.verification.layers import verify_layer

    chosen = _machine(machine, hardware=True)
    return verify_layer(
        load_if_named(net), layer, chosen, read_modes(chosen, modes or chosen.modes[-1:]),
        simulator=simulator or ("amaranth" if waves is None else "verilator"), image=image,
        rows=rows, waves=None if waves is None else Path(waves), signals=signals,
    )  # fmt: skip


def timeline(
    net: LoadedNetwork | str,
    layer: str | None = None,
    machine: str | TomlConfig | Machine = registry.DEFAULT,
    *,
    source: str = "simulator",
    image: int = 0,
    rows: int | None = None,
    mode: SkipMode | str | None = None,
) -> Timeline:
    """Return what each unit does in each cycle of a layer; ``write_timeline`` makes files of it.

    Parameters
    ----------
    layer : str, optional
        Its name; the smallest where None.
    machine : str, TomlConfig or Machine
        Small where it is named without a preset.
    source : str
        ``simulator``, or ``hardware``: its states under Amaranth's simulator. They are equal.
    image : int
        Which image, from 0.
    rows : int, optional
        Only so many output rows, from the first.
    mode : SkipMode, optional
        The mode that skips most where None.

    Raises
    ------
    CapacityError, ConfigError
        The layer does not fit, or the machine has no such timeline.
    HardwareError
        The hardware broke its contract.
    UserError
        There is no such layer, image or source.
    """
    from accel.timelines.make import layer_timeline

    chosen = _machine(machine, hardware=True)
    skip = read_mode(chosen, mode)
    loaded = load_if_named(net)
    return layer_timeline(loaded, layer, chosen, skip, source=source, image=image, rows=rows)


def _run(
    machines: Mapping[Machine, Sequence[SkipMode]],
    net: LoadedNetwork | str,
    images: int,
    technology_node: str,
    keep_counters: bool,
    progress: Progress | None,
) -> Run:
    from accel.activations.trace import Trace
    from accel.costs.energy import EnergyTable
    from accel.run import run_machines

    table = EnergyTable.load(technology_node)
    loaded = load_if_named(net)
    trace = Trace(loaded.network, loaded.images[:images])
    return run_machines(machines, trace, table, progress, keep_counters=keep_counters)


_machine = machine
