"""Training and pruning in PyTorch (the extra ``train``): networks, methods, a pruner."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sw.training.pruner.preflight import check
    from sw.training.pruner.pruner import Pruner
    from sw.training.pruner.quantised import QuantisedTraining

__all__ = ["Pruner", "QuantisedTraining", "check"]

#: Modules of the names above, imported when they are asked for: they need PyTorch.
_HOMES = {
    "Pruner": "sw.training.pruner.pruner",
    "QuantisedTraining": "sw.training.pruner.quantised",
    "check": "sw.training.pruner.preflight",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
