"""Machines of ``accel.machines`` that have hardware here, by name: how it is run and written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

__all__ = ["HARDWARE", "Hardware"]


@dataclass(frozen=True)
class Hardware:
    """Where a machine's hardware is; nothing is imported before it is asked for.

    Parameters
    ----------
    run_layers : str
        ``module:function``. It takes a configuration, a list of (layer, weights, activations,
        requantisation), the simulator's name and a seed of stalls, and returns codes and
        counters.
    design : str
        ``module:function`` from a configuration to its ``rtl.design.Design``.
    """

    run_layers: str
    design: str

    def runner(self) -> Callable[..., list[tuple[Any, Any]]]:
        """Return the function that runs layers."""
        return _load(self.run_layers)

    def designer(self) -> Callable[[Any], Any]:
        """Return the function that makes the design."""
        return _load(self.design)


HARDWARE: dict[str, Hardware] = {
    "cambricon-s": Hardware("rtl.cambricon_s.run:run_layers", "rtl.cambricon_s.design:core_design"),
    "extensor": Hardware("rtl.extensor.run:run_layers", "rtl.extensor.run:pe_design"),
}


def _load(place: str) -> Callable[..., Any]:
    module, _, function = place.partition(":")
    return getattr(import_module(module), function)
