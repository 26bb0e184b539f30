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
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from accel.machines.choice import choose_config, machine, read_modes
from golden.config import TomlConfig
from golden.errors import UserError
from golden.machines import registry
from golden.machines.cluster.config import SkipMode

if TYPE_CHECKING:
    from accel.machines.machine import Machine
    from accel.machines.timeline import Timeline
    from accel.results import Run
    from accel.run import Progress
    from accel.verification import Verification
    from golden.network import Network
    from golden.program import Codes
    from sw.images import Images
    from sw.networks.summary import NetworkSummary

__all__ = [
    "MODELS",
    "LoadedNetwork",
    "choose_config",
    "compare",
    "compress",
    "load",
    "machine",
    "networks",
    "read_modes",
    "simulate",
    "timeline",
    "verify",
    "write_verilog",
]

#: Endings of float models: ONNX, and what ``accel prune`` writes.
MODELS = (".onnx", ".pt")


@dataclass(frozen=True, eq=False)
class LoadedNetwork:
    """A quantised network and the images that it is run on.

    Parameters
    ----------
    network : Network
    images : ndarray of int8 or uint8, axes n, y, x, channel
        Codes of its input.
    """

    network: Network
    images: Codes = field(repr=False)

    @property
    def name(self) -> str:
        return self.network.name

    def __repr__(self) -> str:
        layers = self.network.convolutions
        weights = sum(node.weights.size for node in layers)
        kept = sum(int(np.count_nonzero(node.weights)) for node in layers)
        return (
            f"<{self.name}: {len(layers)} layers, {kept} of {weights} weights "
            f"({100 * kept / max(weights, 1):.1f} %), {len(self.images)} images>"
        )


def load(
    name: str | os.PathLike[str],
    images: str | os.PathLike[str] | Images | None = None,
    density: float | None = None,
) -> LoadedNetwork:
    """Load a network, with images to run it on.

    Parameters
    ----------
    name : str or path
        A shipped network (``accel networks``), or a path that ends in ``.safetensors``,
        ``.onnx`` or ``.pt``. A float model is pruned, quantised and compressed first.
    images : path or ndarray of float32, axes n, c, y, x, or mapping of one an input, optional
        Images as the model takes them, a ``.npy`` or ``.npz`` file; a shipped network brings
        its own. A float model is calibrated with them.
    density : float, optional
        Prune a float model by magnitude to this share of weights, 0..1.

    Raises
    ------
    UserError
        A file can't be read or is not what it should be, or an option does not apply.
    """
    from sw.images import load_images, network_codes
    from sw.networks import zoo

    name = os.fspath(name)
    is_model, is_container = name.endswith(MODELS), name.endswith(".safetensors")
    if not (is_model or is_container):
        if name not in zoo.names():
            raise UserError(
                f"Network must be one of {', '.join(zoo.names())}, "
                f"or a .safetensors, .onnx or .pt file, not {name!r}"
            )
    elif images is None:
        raise UserError(f"Images for {name} must be given by --images")
    if density is not None and not is_model:
        raise UserError(
            f"Density must be left out for {name}: only a float .onnx or .pt model can be pruned"
        )
    given = load_images(images) if isinstance(images, str | os.PathLike) else images
    if is_model:
        network = compress(name, given, density)
    elif is_container:
        from sw.storage import container

        network = container.load(name)
    else:
        network = zoo.load(name)
    codes = zoo.images(name) if given is None else network_codes(given, network)
    return LoadedNetwork(network, codes)


def networks() -> dict[str, NetworkSummary | None]:
    """Return the shipped networks with their size, densities and accuracy.

    Returns
    -------
    dict of str to NetworkSummary or None
        None where the network is made when it is first used.
    """
    from sw.networks import zoo

    return {name: zoo.summarise(name) for name in zoo.names()}


def compress(
    model: str | os.PathLike[str],
    images: Images | None,
    density: float | None = None,
) -> Network:
    """Prune, quantise and compress a float model.

    Parameters
    ----------
    model : path
        A ``.onnx`` file, or a ``.pt`` one that ``accel prune`` wrote.
    images : ndarray of float32, axes n, c, y, x, or mapping of one an input
        Calibration images.
    density : float, optional
        Share of weights to keep, 0..1; all where None.

    Raises
    ------
    UserError
        There is no such model, or nothing to calibrate it with.
    """
    path = Path(model)
    if not path.is_file():
        raise UserError(f"Model {path} must be a file")
    if images is None:
        data = " or --data" if path.suffix == ".pt" else ""
        raise UserError(f"Calibration images for {path} must be given by --images{data}")
    from sw.compress import compress

    return compress(load_model(path), images, density, name=path.stem, source=path.name)


def load_model(path: Path) -> Any:
    """Return a .onnx model, or a .pt one exported as such, as an ``onnx.ModelProto``.

    Raises
    ------
    UserError
        It can't be read, or PyTorch is needed and not installed.
    """
    if path.suffix != ".pt":
        from sw.onnx.file import load_model

        return load_model(path)
    try:
        from sw.training import models, networks
    except ImportError:
        raise UserError(
            f"Model {path} needs PyTorch, which is not installed: pip install 'innerjoin[train]'"
        ) from None
    model, network, _ = models.load_model(path)
    return models.to_onnx(model, networks.find(network).input_shape, path.stem)


# -- what is asked of them ------------------------------------------------------------------


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
    from accel.verification import verify_layer

    chosen = _machine(machine, hardware=True)
    return verify_layer(
        _network(net), layer, chosen, read_modes(chosen, modes or chosen.modes[-1:]),
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
    (skip,) = read_modes(chosen, chosen.modes[-1:] if mode is None else [mode])
    return layer_timeline(_network(net), layer, chosen, skip, source=source, image=image, rows=rows)


def write_verilog(
    machine: str | TomlConfig | Machine,
    folder: str | os.PathLike[str],
    net: LoadedNetwork | str | None = None,
    layer: str | None = None,
    *,
    image: int = 0,
    rows: int | None = None,
    mode: SkipMode | str | None = None,
) -> list[Path]:
    """Write a machine's hardware as Verilog, a description of it, and a bench that runs it.

    With a network, the bench has a layer of it: what the hardware is given, the golden model's
    outputs and the simulator's counters. ``docs/verilog.md`` says what each file is.

    Parameters
    ----------
    machine : str, TomlConfig or Machine
        One that has hardware; small where it is named without a preset.
    folder : path
        It is made where there is none.
    net : LoadedNetwork or str, optional
    layer : str, optional
        Its name; the smallest of the network where None.
    image : int
        Which image, from 0.
    rows : int, optional
        Only so many output rows, from the first.
    mode : SkipMode, optional
        The mode that skips most where None.

    Returns
    -------
    list of path
        What was written.

    Raises
    ------
    CapacityError, ConfigError
        There is no such hardware, it can't do what the configuration asks for, or the layer does
        not fit.
    UserError
        There is no such layer or image, the folder can't be written, or a package is missing.
    """
    from accel.verification import LayerCase, load_hardware

    chosen = _machine(machine, hardware=True)
    hardware = load_hardware(chosen)
    from rtl.verilog.writer import LayerAnswer, write

    answers: list[LayerAnswer] = []
    if net is not None:
        loaded = _network(net)
        case = LayerCase.build(loaded, layer, chosen, image, rows)
        (skip,) = read_modes(chosen, chosen.modes[-1:] if mode is None else [mode])
        name = case.node.layer.name
        answers.append(
            LayerAnswer(
                name=f"{loaded.name}_{name}",
                run=case.run,
                mode=skip,
                codes=case.golden,
                counters=case.counters(skip),
                about={
                    "network": loaded.name,
                    "layer": name,
                    "image": image,
                    "rows": case.run.task.layer.out_height,
                },
            )
        )
    return write(hardware, chosen.config, Path(folder), answers)


def _run(
    machines: Mapping[Machine, Sequence[SkipMode]],
    net: LoadedNetwork | str,
    images: int,
    technology_node: str,
    keep_counters: bool,
    progress: Progress | None,
) -> Run:
    from accel.costs.energy import EnergyTable
    from accel.run import run_machines
    from accel.trace import Trace

    table = EnergyTable.load(technology_node)
    loaded = _network(net)
    trace = Trace(loaded.network, loaded.images[:images])
    return run_machines(machines, trace, table, progress, keep_counters=keep_counters)


def _network(net: LoadedNetwork | str) -> LoadedNetwork:
    return load(net) if isinstance(net, str) else net


_machine = machine
