"""Errors that a user may cause. The command line turns them into one line and exit status 2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

__all__ = ["CapacityError", "ConfigError", "FormatError", "HardwareError", "UserError", "look_up"]

Known = TypeVar("Known")


class UserError(ValueError):
    """Bad input: the message names the thing, what was found and what is accepted."""


class ConfigError(UserError):
    """A configuration that is unknown, incomplete or contradictory."""


class CapacityError(UserError):
    """A layer that does not fit a buffer or an accumulator."""


class FormatError(UserError):
    """A tensor, container or model that breaks its format."""


class HardwareError(RuntimeError):
    """The hardware did something that its contract rules out: a defect, and no bad input."""


def look_up(what: str, known: Mapping[str, Known], name: str) -> Known:
    """Return what has a name; ``what`` begins the message.

    Raises
    ------
    UserError
        There is none of this name.
    """
    if name not in known:
        raise UserError(f"{what} must be one of {', '.join(known)}, not {name!r}")
    return known[name]
