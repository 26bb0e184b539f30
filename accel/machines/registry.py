"""The machines by name. A machine is one file and one line here."""

from __future__ import annotations

from importlib import import_module

from accel.machines.machine import Machine
from golden.errors import ConfigError

__all__ = ["MACHINES", "load"]

#: Name to ``module:class``; imported when asked for.
MACHINES: dict[str, str] = {
    "dense": "accel.machines.dense:Dense",
    "one-sided-weights": "accel.machines.cluster.model:OneSidedWeights",
    "one-sided-activations": "accel.machines.cluster.model:OneSidedActivations",
    "sparten": "accel.machines.cluster.model:SparTen",
    "sparten-gb-s": "accel.machines.cluster.model:SparTenSoftware",
    "innerjoin": "accel.machines.cluster.model:InnerJoinMachine",
    "cambricon-s": "accel.machines.cambricon_s.model:CambriconS",
    "cambricon-x": "accel.machines.cambricon_x:CambriconX",
    "extensor": "accel.machines.extensor.model:ExTensor",
    "scnn": "accel.machines.scnn.model:Scnn",
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
