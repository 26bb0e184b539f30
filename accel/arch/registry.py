"""The machines by name. A machine is one file and one line here."""

from __future__ import annotations

from importlib import import_module

from accel.arch.machine import Machine
from golden.errors import ConfigError

__all__ = ["MACHINES", "load"]

#: Name to ``module:class``; imported when asked for.
MACHINES: dict[str, str] = {
    "dense": "accel.arch.dense:Dense",
    "one-sided-weights": "accel.arch.cluster:OneSidedWeights",
    "one-sided-activations": "accel.arch.cluster:OneSidedActivations",
    "sparten": "accel.arch.cluster:SparTen",
    "sparten-gb-s": "accel.arch.cluster:SparTenSoftware",
    "innerjoin": "accel.arch.cluster:InnerJoinMachine",
    "cambricon-s": "accel.arch.cambricon_s:CambriconS",
    "cambricon-x": "accel.arch.cambricon_x:CambriconX",
    "extensor": "accel.arch.extensor:ExTensor",
    "scnn": "accel.arch.scnn:Scnn",
}


def load(name: str) -> type[Machine]:
    """Return a machine's class by its name.

    Raises
    ------
    ConfigError
        There is no such machine.
    """
    if name not in MACHINES:
        raise ConfigError(f"Machine must be one of {', '.join(MACHINES)}, not {name!r}")
    module, _, cls = MACHINES[name].partition(":")
    return getattr(import_module(module), cls)
