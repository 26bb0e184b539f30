"""A machine of a sweep."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from golden.config import TomlConfig
from golden.errors import ConfigError
from golden.machines import registry

if TYPE_CHECKING:
    from accel.machines.machine import Machine

__all__ = ["DENSITY", "PATTERN", "Point"]

#: Axes that are no fields of a machine: the share of weights that stay, and their pattern.
DENSITY, PATTERN = "weight_density", "weight_pattern"


@dataclass(frozen=True)
class Point:
    """A machine of a sweep.

    Parameters
    ----------
    machine : str
        Its name in ``golden.machines.registry``.
    config : dict of str to object
        All fields of its configuration but the name, as plain values.
    weight_density : float, optional
        The network's weights are pruned by magnitude to this share, 0..1; None: as they are.
    weight_pattern : str, optional
        In which pattern, of `PATTERNS`; None where they are not pruned.
    """

    machine: str
    config: Mapping[str, Any]
    weight_density: float | None = None
    weight_pattern: str | None = None

    def canonical(self) -> str:
        """Return a text that equal points have in common, and others have not."""
        network = {DENSITY: self.weight_density, PATTERN: self.weight_pattern}
        return json.dumps({"machine": self.machine, **network, **self.config}, sort_keys=True)

    @classmethod
    def of(cls, config: TomlConfig, machine: str) -> Point:
        """Return the point of a configuration."""
        values = config.to_dict()
        del values["name"]
        return cls(machine, values)

    def sharing_key(self) -> tuple[str, str, str, str]:
        """Return what points have in common that are counted together, as texts to sort by."""
        try:
            key = repr(self.load().sharing_key)
        except ConfigError:
            key = ""
        return str(self.weight_density), str(self.weight_pattern), self.machine, key

    def load(self) -> Machine:
        """Return the machine.

        Raises
        ------
        ConfigError
            A field is out of range, or two contradict one another.
        """
        kind = registry.find(self.machine)
        config = kind.load_config().from_dict({"name": self.machine, **self.config})
        return kind.load_model()(config)
