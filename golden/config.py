"""What the configurations of all machines have in common: checked fields, TOML, presets."""

from __future__ import annotations

import tomllib
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar, Self

from golden.errors import ConfigError, UserError
from golden.files import read_bytes
from golden.foreign import foreign

__all__ = ["TomlConfig"]


@dataclass(frozen=True, kw_only=True)
class TomlConfig:
    """A frozen description of a machine; every field must be given, in TOML too.

    A subclass is a dataclass of str, int, bool and ``StrEnum`` fields. It names its enums in
    ``ENUMS`` and the folder of its presets in ``PRESETS``, checks ranges in ``check``, and gets
    types, disk and presets from here.

    Raises
    ------
    ConfigError
        A value is out of range, or two contradict one another.
    """

    #: Enums of the fields, by the name that their annotations have.
    ENUMS: ClassVar[dict[str, type[StrEnum]]] = {}
    #: Folder of presets within the package ``golden``.
    PRESETS: ClassVar[str]

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            kind = {"str": str, "int": int, "bool": bool}.get(str(field.type))
            if kind is None:
                enum = self.ENUMS[str(field.type)]
                try:
                    object.__setattr__(self, field.name, enum(value))
                except ValueError:
                    accepted = ", ".join(member.value for member in enum)
                    raise ConfigError(
                        f"Configuration key {field.name} must be one of {accepted}, not {value!r}"
                    ) from None
            elif type(value) is not kind:
                raise ConfigError(
                    f"Configuration key {field.name} must be of type {field.type}, not {value!r}"
                )
        self.check()

    def check(self) -> None:
        """Check ranges and contradictions; types are right when it is called."""

    def require_range(self, name: str, low: int, high: int) -> None:
        """Raise ConfigError where a field is outside a range."""
        value = getattr(self, name)
        if not low <= value <= high:
            raise ConfigError(
                f"Configuration key {name} must be between {low} and {high}, not {value!r}"
            )

    def require_power_of_two(self, name: str) -> None:
        """Raise ConfigError where a field is not a power of two."""
        value = getattr(self, name)
        if value < 1 or value & (value - 1):
            raise ConfigError(f"Configuration key {name} must be a power of two, not {value!r}")

    # -- disk -------------------------------------------------------------------------------

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields changed; an unknown name raises ConfigError."""
        self._check_keys(set(changes), required=set(), where="replace()")
        return replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return {
            key: value.value if isinstance(value, StrEnum) else value
            for key, value in asdict(self).items()
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any], where: str = "configuration") -> Self:
        """Build from plain values; unknown and missing keys raise ConfigError by name."""
        names = {field.name for field in fields(cls)}
        cls._check_keys(set(data), required=names, where=where)
        return cls(**data)

    @classmethod
    def from_toml(cls, path: str | Path) -> Self:
        """Read a TOML file."""
        name = f"Configuration {path}"
        try:
            octets = read_bytes(path, name)
        except UserError as error:
            raise ConfigError(str(error)) from None
        with foreign(f"{name} must be TOML", ConfigError):
            data = tomllib.loads(octets.decode())
        return cls.from_dict(data, where=str(path))

    @classmethod
    def preset_names(cls) -> list[str]:
        """Return the names of the shipped machines, sorted."""
        folder = resources.files("golden") / cls.PRESETS
        return sorted(
            p.name.removesuffix(".toml") for p in folder.iterdir() if p.name.endswith(".toml")
        )

    @classmethod
    def preset(cls, name: str) -> Self:
        """Return a shipped machine by its name."""
        if name not in cls.preset_names():
            accepted = ", ".join(cls.preset_names())
            raise ConfigError(f"Preset must be one of {accepted}, not {name!r}")
        text = (resources.files("golden") / cls.PRESETS / f"{name}.toml").read_text("utf-8")
        return cls.from_dict(tomllib.loads(text), where=f"preset {name}")

    @classmethod
    def _check_keys(cls, found: set[str], required: set[str], where: str) -> None:
        known = {field.name for field in fields(cls)}
        if unknown := sorted(found - known):
            raise ConfigError(
                f"Unknown key {', '.join(unknown)} in {where}; accepted: {', '.join(sorted(known))}"
            )
        if missing := sorted(required - found):
            raise ConfigError(f"Missing key {', '.join(missing)} in {where}")
