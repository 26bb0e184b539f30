"""Pruning methods: a file of ``masking`` or ``narrowing`` and a line in ``METHODS`` each."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any

from golden.errors import UserError, look_up
from sw.training.methods.masking.balance import Balance
from sw.training.methods.masking.coarse import Coarse
from sw.training.methods.masking.cycles import Cycles
from sw.training.methods.masking.magnitude import Magnitude
from sw.training.methods.method import Method, Task
from sw.training.methods.narrowing.meta import MetaPruning
from sw.training.methods.narrowing.scratch import ScratchB, ScratchE
from sw.training.methods.narrowing.slimming import Slimming
from sw.training.methods.narrowing.tas import Tas
from sw.training.methods.narrowing.uniform import Uniform

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
    kind = look_up("Method", METHODS, name)
    fields = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    hints = typing.get_type_hints(kind)
    for option in options:
        if option not in fields:
            raise UserError(
                f"Options of method {name} must be among {', '.join(fields)}, not {option!r}"
            )
        _check_type(f"Option {option} of method {name}", options[option], hints[option])
    return kind(**options)


def _check_type(what: str, value: Any, hint: Any) -> None:
    """Refuse a value that is not of an annotation: what a command line or a TOML table may give."""
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    for kind in kinds:
        items = typing.get_args(kind)
        kind = typing.get_origin(kind) or kind
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            return
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            continue
        if isinstance(value, str) and kind is not str:  # a sequence, but of characters
            continue
        inner: Any = value.values() if isinstance(value, Mapping) else value if items else ()
        for each in inner:
            if items[-1] is not Any:
                _check_type(f"Each of {what[0].lower()}{what[1:]}", each, items[-1])
        return
    names = " or ".join(_type_name(kind) for kind in kinds)
    raise UserError(f"{what} must be {names}, not {value!r}")


def _type_name(kind: Any) -> str:
    known = {
        float: "a number",
        int: "an integer",
        str: "a word",
        bool: "true or false",
        types.NoneType: "left out",
    }
    origin = typing.get_origin(kind)
    return known.get(kind, "a table" if origin is Mapping else "a list")
