"""The machines by name: the only place that names one.

A line says where a machine's configuration, its simulator and, where there is one, its hardware
are. Nothing is imported before it is asked for. The lines of a machine that is built from
another's parts (SparTen on this project's clusters) share what they have in common.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from golden.config import TomlConfig
from golden.errors import ConfigError

__all__ = ["DEFAULT", "MACHINES", "Kind", "find", "kind_of", "with_hardware"]


@dataclass(frozen=True)
class Kind:
    """Where the parts of a machine are, each as ``module:object``.

    Parameters
    ----------
    config : str
        The configuration's class, a ``golden.config.TomlConfig``.
    model : str
        The simulator's class, an ``accel.machines.machine.Machine``.
    hardware : str, optional
        The hardware, an ``rtl.host.Hardware``.
    """

    config: str
    model: str
    hardware: str | None = None

    def load_config(self) -> type[TomlConfig]:
        """Return the configuration's class."""
        return _load(self.config)

    def load_model(self) -> Any:
        """Return the simulator's class."""
        return _load(self.model)

    def load_hardware(self) -> Any:
        """Return the hardware.

        Raises
        ------
        ConfigError
            The machine has none.
        """
        return _load(self.require_hardware())

    def require_hardware(self) -> str:
        """Return where the hardware is, without loading it.

        Raises
        ------
        ConfigError
            The machine has none.
        """
        if self.hardware is None:
            raise ConfigError(
                f"Machine must be one of {', '.join(with_hardware())}, which have hardware, "
                f"not {next(name for name, kind in MACHINES.items() if kind is self)!r}"
            )
        return self.hardware


_CLUSTER = "golden.machines.cluster.config:AcceleratorConfig"
_CAMBRICON = "golden.machines.cambricon_s:CambriconSConfig"
_CLUSTER_HARDWARE = "rtl.cluster.hardware:HARDWARE"

#: Every machine, in the order in which they are listed.
MACHINES: dict[str, Kind] = {
    "dense": Kind("golden.machines.dense:DenseConfig", "accel.machines.dense:Dense"),
    "one-sided-weights": Kind(
        _CLUSTER, "accel.machines.cluster.model:OneSidedWeights", _CLUSTER_HARDWARE
    ),
    "one-sided-activations": Kind(
        _CLUSTER, "accel.machines.cluster.model:OneSidedActivations", _CLUSTER_HARDWARE
    ),
    "sparten": Kind(_CLUSTER, "accel.machines.cluster.model:SparTen", _CLUSTER_HARDWARE),
    "sparten-gb-s": Kind(
        _CLUSTER, "accel.machines.cluster.model:SparTenSoftware", _CLUSTER_HARDWARE
    ),
    "innerjoin": Kind(_CLUSTER, "accel.machines.cluster.model:InnerJoin", _CLUSTER_HARDWARE),
    "cambricon-s": Kind(
        _CAMBRICON,
        "accel.machines.cambricon_s.model:CambriconS",
        "rtl.cambricon_s.hardware:HARDWARE",
    ),
    "cambricon-x": Kind(_CAMBRICON, "accel.machines.cambricon_x:CambriconX"),
    "extensor": Kind(
        "golden.machines.extensor:ExTensorConfig",
        "accel.machines.extensor.model:ExTensor",
        "rtl.extensor.hardware:HARDWARE",
    ),
    "scnn": Kind("golden.machines.scnn:ScnnConfig", "accel.machines.scnn.model:Scnn"),
}

#: The machine where none is named: this project's own.
DEFAULT = "innerjoin"


def find(name: str) -> Kind:
    """Return a machine by its name.

    Raises
    ------
    ConfigError
        There is no such machine.
    """
    if name not in MACHINES:
        raise ConfigError(f"Machine must be one of {', '.join(MACHINES)}, not {name!r}")
    return MACHINES[name]


def kind_of(config: TomlConfig) -> str:
    """Return the name of the machine that a configuration describes by itself.

    It is the machine of that kind of configuration that has its name; else the default machine
    or the first one of that kind.

    Raises
    ------
    ConfigError
        No machine has such a configuration.
    """
    place = f"{type(config).__module__}:{type(config).__qualname__}"
    names = [name for name, kind in MACHINES.items() if kind.config == place]
    if not names:
        raise ConfigError(f"Configuration must be that of a machine, not {type(config).__name__}")
    own = str(config.to_dict().get("name", ""))
    return next((name for name in (own, DEFAULT) if name in names), names[0])


def with_hardware() -> list[str]:
    """Return the names of the machines that have hardware."""
    return [name for name, kind in MACHINES.items() if kind.hardware is not None]


def _load(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)
