"""Fields of registers, in the format that Amaranth shows them in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from amaranth.hdl import Format, Signal
from amaranth.hdl._ast import Slice

__all__ = ["fields"]


def fields(value: Any) -> Iterator[tuple[str, int, int, bool]]:
    """Yield path, offset, bits and sign of each field of a register that holds no others."""
    if isinstance(value, Signal):
        yield from _parts(value._format, "")
    elif len(value):
        yield "", 0, len(value), value.shape().signed


def _parts(format_: Any, path: str) -> Iterator[tuple[str, int, int, bool]]:
    if isinstance(format_, Format.Struct):
        for name, field in format_._fields.items():
            yield from _parts(field, f"{path}.{name}")
    elif isinstance(format_, Format.Array):
        for number, field in enumerate(format_._fields):
            yield from _parts(field, f"{path}[{number}]")
    else:
        value = format_._value if isinstance(format_, Format.Enum) else format_._chunks[0][0]
        if len(value):
            yield path, _offset(value), len(value), value.shape().signed


def _offset(value: Any) -> int:
    """Return where a part of a signal begins."""
    if isinstance(value, Signal):
        return 0
    if isinstance(value, Slice):
        return value.start + _offset(value.value)
    (inner,) = value.operands  # its sign is another
    return _offset(inner)
