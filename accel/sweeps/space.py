"""The space of a sweep: which machines, with which values of which fields (``docs/sweeps.md``)."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from enum import Enum
from itertools import product
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from accel.sweeps.expressions import Expression
from accel.sweeps.pruning import PATTERNS
from golden.config import TomlConfig
from golden.errors import ConfigError, UserError, look_up
from golden.machines import registry

if TYPE_CHECKING:
    from accel.machines.machine import Machine

__all__ = ["DENSITY", "PATTERN", "Part", "Point", "Space", "log2"]

#: Axes that are no fields of a machine: the share of weights that stay, and their pattern.
DENSITY, PATTERN = "weight_density", "weight_pattern"
#: Keys of a part that are no fields.
_RESERVED = ("machine", "preset", "constraints", DENSITY, PATTERN)
#: The pattern where none is named.
_PATTERN = "element"
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
        In which pattern, of ``accel.sweeps.pruning.PATTERNS``; None where they are not pruned.
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


class Part:
    """A part of a space: machines that have the same axes.

    Parameters
    ----------
    described : dict of str to object
        ``machine`` (a name, or several), ``preset`` (where fields without a key come from),
        ``constraints`` (expressions), ``weight_density``, ``weight_pattern``, and fields: a value,
        a list or range of values, ``{"log2": [low, high]}``, ``{"range": [low, high]}`` with both
        ends, or a text ``= expression`` of other fields.

    Raises
    ------
    UserError
        A key is unknown, an axis is empty, or a value is none.
    """

    def __init__(self, described: Mapping[str, Any]) -> None:
        given = dict(described)
        machines = _values("machine", given.pop("machine", registry.DEFAULT))
        kinds = [registry.find(str(name)) for name in machines]
        config = kinds[0].load_config()
        if any(kind.load_config() is not config for kind in kinds):
            raise UserError("Machines of one space must have the same fields; give several spaces")
        preset = given.pop("preset", None)
        self._preset = preset
        self._bases = {
            str(name): config.preset(preset or kind.load_model().preset).to_dict()
            for name, kind in zip(machines, kinds, strict=True)
        }
        self.constraints = [Expression(text) for text in _texts(given.pop("constraints", []))]
        known = [field.name for field in fields(config) if field.name != "name"]
        self.axes: dict[str, list[Any]] = {}
        self.derived: dict[str, Expression] = {}
        if len(machines) > 1:
            self.axes["machine"] = machines
        for key, value in given.items():
            if key not in known and key not in (DENSITY, PATTERN):
                raise UserError(
                    f"Key of a space must be one of {', '.join(known)}, {', '.join(_RESERVED)}, "
                    f"not {key!r}"
                )
            if isinstance(value, str) and value.lstrip().startswith("="):
                self.derived[key] = Expression(value.lstrip()[1:])
            else:
                self.axes[key] = _values(key, value)
        for density in self.axes.get(DENSITY, []):
            if type(density) not in (int, float) or not 0 < density <= 1:
                raise UserError(f"{DENSITY} must be above 0 and at most 1, not {density!r}")
        for pattern in self.axes.get(PATTERN, []):
            look_up("Value of axis weight_pattern", PATTERNS, pattern)
        if PATTERN in (*self.axes, *self.derived) and DENSITY not in (*self.axes, *self.derived):
            raise UserError(f"Axis {PATTERN} must come with {DENSITY}")
        for expression in (*self.derived.values(), *self.constraints):
            if unknown := sorted(expression.names - set(known) - {"machine", DENSITY, PATTERN}):
                raise UserError(
                    f"Expression {expression.text!r} must name fields of a machine, "
                    f"not {', '.join(unknown)}"
                )
        self._order_derived()

    def _order_derived(self) -> None:
        """Order derived fields so that each comes after those that it reads."""
        ordered: dict[str, Expression] = {}
        waiting = dict(self.derived)
        while waiting:
            ready = [key for key, each in waiting.items() if not each.names & set(waiting)]
            if not ready:
                raise UserError(
                    f"Derived keys {', '.join(sorted(waiting))} must not depend on one another"
                )
            for key in ready:
                ordered[key] = waiting.pop(key)
        self.derived = ordered

    @property
    def size(self) -> int:
        """Points of the grid, constraints left aside."""
        return prod(len(values) for values in self.axes.values())

    def point(self, values: Sequence[Any]) -> Point | None:
        """Return the point with these values of the axes; None where a constraint refuses it.

        It need not be a machine that can be (``Point.load``).
        """
        found = dict(zip(self.axes, values, strict=True))
        machine = found.pop("machine", next(iter(self._bases)))
        density, pattern = found.pop(DENSITY, None), found.pop(PATTERN, _PATTERN)
        config = {**self._bases[machine], **found}
        scope = {**config, "machine": machine, DENSITY: density, PATTERN: pattern}
        for key, expression in self.derived.items():
            value = expression.value(scope)
            # A quotient that is whole is a count.
            if isinstance(value, float) and value.is_integer() and key != DENSITY:
                value = int(value)
            scope[key] = value
        if not all(constraint.value(scope) for constraint in self.constraints):
            return None
        del config["name"]
        density = scope[DENSITY]
        pattern = None if density is None else scope[PATTERN]
        return Point(machine, {key: scope[key] for key in config}, density, pattern)

    def to_dict(self) -> dict[str, Any]:
        """Return what describes this part, as plain values."""
        return {
            "bases": self._bases,
            "preset": self._preset,
            "axes": self.axes,
            "derived": {key: each.text for key, each in self.derived.items()},
            "constraints": [each.text for each in self.constraints],
        }


class Space:
    """What a sweep looks at.

    Parameters
    ----------
    described : dict, list of dict, or Space
        One part or several (`Part`).

    Raises
    ------
    UserError
        A part is bad, or there is none.
    """

    def __init__(self, described: Mapping[str, Any] | Iterable[Mapping[str, Any]] | Space) -> None:
        if isinstance(described, Space):
            parts: list[Part] = described.parts
        elif isinstance(described, Mapping):
            parts = [Part(cast("Mapping[str, Any]", described))]
        else:
            parts = [Part(each) for each in described]
        if not parts:
            raise UserError("Space must have at least one part, not none")
        self.parts = parts

    @classmethod
    def from_toml(cls, path: str | Path) -> Space:
        """Read a space from a file: keys of one part, or several tables ``[[space]]``.

        Raises
        ------
        UserError
            The file can't be read, is no TOML, or describes no space.
        """
        try:
            data = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise UserError(f"Space {path} can't be read: {error.strerror}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
            raise UserError(f"Space {path} must be TOML: {error}") from None
        if "space" in data and len(data) == 1 and isinstance(data["space"], list):
            return cls(data["space"])
        return cls(data)

    @property
    def size(self) -> int:
        """Points of the grid, constraints left aside."""
        return sum(part.size for part in self.parts)

    def grid(self) -> Iterator[Point]:
        """Yield all points that the constraints accept, each once."""
        seen: set[str] = set()
        for part in self.parts:
            for values in product(*part.axes.values()):
                point = part.point(values)
                if point is not None and (key := point.canonical()) not in seen:
                    seen.add(key)
                    yield point

    def to_dict(self) -> list[dict[str, Any]]:
        """Return what describes it, as plain values."""
        return [part.to_dict() for part in self.parts]


def _texts(value: Any) -> list[str]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, (list, tuple)) or not all(isinstance(each, str) for each in texts):
        raise UserError(f"Constraints of a space must be expressions in a list, not {value!r}")
    return list(texts)


def _values(key: str, value: Any) -> list[Any]:
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
