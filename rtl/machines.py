"""Machines of ``accel.arch`` that have hardware here, by name: how their layers are run on it."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

__all__ = ["HARDWARE", "runner"]

#: Name to ``module:function``; it takes a configuration, a list of (layer, weights, activations,
#: requantisation), the simulator's name and a seed of stalls, and returns codes and counters.
HARDWARE: dict[str, str] = {
    "cambricon-s": "rtl.cambricon_s.run:run_layers",
    "extensor": "rtl.extensor.run:run_layers",
}


def runner(machine: str) -> Callable[..., list[tuple[Any, Any]]]:
    """Return the function that runs layers on a machine's hardware; KeyError without any."""
    module, _, function = HARDWARE[machine].partition(":")
    return getattr(import_module(module), function)
