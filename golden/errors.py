"""Errors that a user may cause. The command line turns them into one line and exit status 2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

__all__ = [
    "LINE_CHARACTERS",
    "CapacityError",
    "ConfigError",
    "FormatError",
    "HardwareError",
    "UserError",
    "look_up",
    "one_line",
]

Known = TypeVar("Known")


#: Characters of a message, or of another line that quotes what a user gave.
LINE_CHARACTERS = 300


def one_line(text: str, limit: int = LINE_CHARACTERS) -> str:
    """Make text safe to print: one line, control characters as escapes, not too long.

    Whatever comes from a file, such as the name of a node, may hold a terminal's commands.
    """
    if not text.isprintable():
        text = "".join(
            letter if letter.isprintable() else letter.encode("unicode_escape").decode()
            for letter in text
        )
    if len(text) > limit:
        kept = limit - 5
        text = f"{text[: kept - kept // 3]} ... {text[len(text) - kept // 3 :]}"
    return text


class UserError(ValueError):
    """Bad input: the message names the thing, what was found and what is accepted."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


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
