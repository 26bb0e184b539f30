"""The space of a sweep: which machines, with which values of which fields (``docs/sweeps.md``)."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from itertools import product
from math import prod
from pathlib import Path
from typing import Any, cast

from accel.sweeps.space.axes import read_values
from accel.sweeps.space.expressions import Expression
from accel.sweeps.space.point import DENSITY, PATTERN, Point
from accel.sweeps.space.pruning import PATTERNS
from golden.errors import UserError, look_up
from golden.machines import registry

__all__ = ["Part", "Space"]

#: Keys of a part that are no fields.
_RESERVED = ("machine", "preset", "constraints", DENSITY, PATTERN)
#: The pattern where none is named.
_PATTERN = "element"


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
        machines = read_values("machine", given.pop("machine", registry.DEFAULT))
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
                self.axes[key] = read_values(key, value)
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
