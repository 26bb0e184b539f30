"""A dense array: its configuration. The specification is ``docs/machines.md``, *Dense*."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from golden.config import TomlConfig

__all__ = ["DenseConfig"]


@dataclass(frozen=True, kw_only=True)
class DenseConfig(TomlConfig):
    """An array of multipliers whose mapping is chosen anew for every layer.

    Parameters
    ----------
    name : str
        What reports call the machine.
    multipliers : int
        8-bit multipliers; a power of two.

    Raises
    ------
    ConfigError
        A value is out of range.
    """

    PRESETS: ClassVar[str] = "presets/dense"

    name: str
    multipliers: int

    def check(self) -> None:
        self.require_range("multipliers", 1, 1 << 20)
        self.require_power_of_two("multipliers")
