"""Values of an axis."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any

from golden.errors import UserError

__all__ = ["log2", "read_values"]

#: More values than anybody means.
_VALUES_MAX = 100_000


def log2(low: int, high: int) -> list[int]:
    """Return the powers of two from ``low`` to ``high``, both powers of two.

    Raises
    ------
    UserError
        They are not, or the first is larger.
    """
    for name, value in (("Lower", low), ("Upper", high)):
        if type(value) is not int or value < 1 or value & (value - 1):
            raise UserError(f"{name} end of log2 must be a power of two, not {value!r}")
    if low > high:
        raise UserError(f"Upper end of log2 must be at least {low}, not {high!r}")
    return [1 << exponent for exponent in range(low.bit_length() - 1, high.bit_length())]


def read_values(key: str, value: Any) -> list[Any]:
    """Return the values of an axis, each once."""
    if isinstance(value, Mapping):
        value = _range(key, value)
    elif isinstance(value, (str, bool, int, float, Enum)):
        value = [value]
    try:
        listed = list(value)[: _VALUES_MAX + 1]
    except TypeError:
        raise UserError(f"Axis {key} must be a value, a list or a range, not {value!r}") from None
    plain = [each.value if isinstance(each, Enum) else each for each in listed]
    # Of NumPy's numbers, the plain ones.
    plain = [each.item() if hasattr(each, "item") else each for each in plain]
    if not 0 < len(plain) <= _VALUES_MAX:
        count = len(plain) or "none"
        raise UserError(f"Axis {key} must have at least 1 value and at most {_VALUES_MAX}, "
                        f"not {count}")  # fmt: skip
    for each in plain:
        if not isinstance(each, (str, bool, int, float)):
            raise UserError(f"Value of axis {key} must be a number, a text or a bool, not {each!r}")
    return list({(type(each), each): each for each in plain}.values())


def _range(key: str, described: Mapping[str, Any]) -> Iterable[int]:
    match dict(described):
        case {"log2": [low, high], **rest} if not rest:
            return log2(low, high)
        case {"range": [int(low), int(high), *step], **rest} if not rest and len(step) <= 1:
            by = step[0] if step else 1
            if type(by) is int and by > 0:
                return range(low, high + 1, by)
    raise UserError(
        f"Axis {key} must be a value, a list, {{log2 = [low, high]}} or {{range = [low, high]}}, "
        f"not {dict(described)!r}"
    )
