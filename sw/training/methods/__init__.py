"""Pruning methods: a file here and a line in ``METHODS`` each."""

from __future__ import annotations

import dataclasses
from typing import Any

from golden.errors import UserError
from sw.training.methods.balance import Balance
from sw.training.methods.coarse import Coarse
from sw.training.methods.cycles import Cycles
from sw.training.methods.magnitude import Magnitude
from sw.training.methods.meta import MetaPruning
from sw.training.methods.method import Method, Task
from sw.training.methods.scratch import ScratchB, ScratchE
from sw.training.methods.slimming import Slimming
from sw.training.methods.tas import Tas
from sw.training.methods.uniform import Uniform

__all__ = ["METHODS", "Method", "Task", "make"]

METHODS: dict[str, type[Method]] = {
    method.name: method
    for method in (
        Magnitude,
        Coarse,
        Slimming,
        MetaPruning,
        Tas,
        ScratchE,
        ScratchB,
        Uniform,
        Balance,
        Cycles,
    )
}


def make(name: str, options: dict[str, Any]) -> Method:
    """Return a method with its options, those left out at their defaults.

    Raises
    ------
    UserError
        There is no such method or option, or a value is refused.
    """
    if name not in METHODS:
        raise UserError(f"Method must be one of {', '.join(METHODS)}, not {name!r}")
    kind = METHODS[name]
    fields = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    for option in options:
        if option not in fields:
            raise UserError(
                f"Options of method {name} must be among {', '.join(fields)}, not {option!r}"
            )
    return kind(**options)
