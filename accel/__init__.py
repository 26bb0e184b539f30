"""A sparse-CNN accelerator: its cycles, its bits, its Verilog. All that is public is here.

    import accel
    net = accel.load("resnet8")
    accel.simulate(net, "small")

A name is imported when it is used, so that ``import accel`` takes no time.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from accel.api import check, compare, machine, simulate, timeline, verify
    from accel.chip.results import ChipResult
    from accel.chip.simulator import simulate_chip
    from accel.exports.chip import export
    from accel.exports.verilog import write_verilog
    from accel.loading import LoadedNetwork, compress, load, networks
    from accel.machines.timeline import Timeline
    from accel.placement import Placement
    from accel.results import LayerResult, MachineResult, Run, Timing
    from accel.sweeps.api import evaluate, sweep
    from accel.sweeps.results.study import Study
    from accel.sweeps.space.axes import log2
    from accel.sweeps.space.space import Space
    from accel.timelines.make import write_timeline
    from accel.verification.layers import Verification
    from golden.chip.config import ChipConfig
    from golden.config import TomlConfig
    from golden.errors import (
        CapacityError,
        ConfigError,
        FormatError,
        HardwareError,
        UserError,
    )
    from golden.machines.cambricon_s import CambriconSConfig
    from golden.machines.cluster.config import AcceleratorConfig, SkipMode
    from golden.machines.dense import DenseConfig
    from golden.machines.extensor import ExTensorConfig
    from golden.machines.registry import MACHINES
    from golden.machines.scnn import ScnnConfig

#: Where each public name is.
_PLACES = {
    "accel.api": ("check", "compare", "machine", "simulate", "timeline", "verify"),
    "accel.chip.results": ("ChipResult",),
    "accel.chip.simulator": ("simulate_chip",),
    "accel.exports.chip": ("export",),
    "accel.exports.verilog": ("write_verilog",),
    "accel.loading": ("LoadedNetwork", "compress", "load", "networks"),
    "accel.machines.timeline": ("Timeline",),
    "accel.placement": ("Placement",),
    "accel.results": ("LayerResult", "MachineResult", "Run", "Timing"),
    "accel.sweeps.api": ("evaluate", "sweep"),
    "accel.sweeps.results.study": ("Study",),
    "accel.sweeps.space.axes": ("log2",),
    "accel.sweeps.space.space": ("Space",),
    "accel.timelines.make": ("write_timeline",),
    "accel.verification.layers": ("Verification",),
    "golden.chip.config": ("ChipConfig",),
    "golden.config": ("TomlConfig",),
    "golden.errors": (
        "CapacityError",
        "ConfigError",
        "FormatError",
        "HardwareError",
        "UserError",
    ),
    "golden.machines.cambricon_s": ("CambriconSConfig",),
    "golden.machines.cluster.config": ("AcceleratorConfig", "SkipMode"),
    "golden.machines.dense": ("DenseConfig",),
    "golden.machines.extensor": ("ExTensorConfig",),
    "golden.machines.registry": ("MACHINES",),
    "golden.machines.scnn": ("ScnnConfig",),
}
_MODULE_OF = {name: module for module, names in _PLACES.items() for name in names}

__all__ = [
    "MACHINES",
    "AcceleratorConfig",
    "CambriconSConfig",
    "CapacityError",
    "ChipConfig",
    "ChipResult",
    "ConfigError",
    "DenseConfig",
    "ExTensorConfig",
    "FormatError",
    "HardwareError",
    "LayerResult",
    "LoadedNetwork",
    "MachineResult",
    "Placement",
    "Run",
    "ScnnConfig",
    "SkipMode",
    "Space",
    "Study",
    "Timeline",
    "Timing",
    "TomlConfig",
    "UserError",
    "Verification",
    "check",
    "compare",
    "compress",
    "evaluate",
    "export",
    "load",
    "log2",
    "machine",
    "networks",
    "simulate",
    "simulate_chip",
    "sweep",
    "timeline",
    "verify",
    "write_timeline",
    "write_verilog",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULE_OF[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
