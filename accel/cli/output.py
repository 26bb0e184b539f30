"""Where the command line writes: the terminal, standard output, and files made whole."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from golden import files
from golden.errors import UserError

if TYPE_CHECKING:
    from accel.report.tables import Item

__all__ = [
    "STANDARD_OUTPUT",
    "check_outputs",
    "check_writable",
    "complain",
    "progress_bar",
    "show",
    "status",
    "write_whole",
]

#: The file name that stands for standard output.
STANDARD_OUTPUT = "-"

#: Columns where neither a terminal nor ``COLUMNS`` says how many there are, and at least.
_WIDTH, _WIDTH_MIN = 80, 20


def show(*items: Item) -> None:
    """Print tables and lines on standard output, as wide as the terminal or ``COLUMNS``."""
    from accel.report.text import render

    columns = max(_WIDTH_MIN, shutil.get_terminal_size((_WIDTH, 0)).columns)
    sys.stdout.write(render(items, columns, styled=_is_styled()))


def _is_styled() -> bool:
    """Return whether standard output is a terminal whose user wants more than plain text."""
    wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    # The rules of tables are no ASCII.
    return wanted and sys.stdout.isatty() and sys.stdout.encoding.lower().startswith("utf")


def complain(message: str) -> None:
    """Print one line on standard error that says what is wrong."""
    from accel.report.table import plain

    print(f"error: {plain(' '.join(message.split()))}", file=sys.stderr)


def check_outputs(**paths: str | Path | None) -> None:
    """Refuse files that can't be written, or that are to be written twice, before any work.

    Parameters
    ----------
    paths : dict of str to path
        Each option's file; None where it is not given.

    Raises
    ------
    UserError
        Names the options, or the file and why.
    """
    given = {option: str(path) for option, path in paths.items() if path is not None}
    if len(set(given.values())) < len(given):
        options = [f"--{option}" for option in paths]
        named = f"{', '.join(options[:-1])} and {options[-1]}"
        raise UserError(f"Outputs of {named} must differ, not be {', '.join(given.values())}")
    for path in given.values():
        check_writable(path)


def check_writable(path: str | Path | None) -> None:
    """Refuse a file that can't be written, before the work that would be lost.

    Raises
    ------
    UserError
        Names the file and why.
    """
    if path is None or str(path) == STANDARD_OUTPUT:
        return
    files.check_writable(path, f"Output {path}")


def write_whole(path: str | Path | None, text: Callable[[], str]) -> None:
    """Write a text file beside its place and rename it, or print it where the path is ``-``.

    Parameters
    ----------
    path : path, optional
        Nothing is done where it is None.
    text : callable
        Returns the text.

    Raises
    ------
    UserError
        The file can't be written; what was there before is still there.
    """
    if path is None:
        return
    if str(path) == STANDARD_OUTPUT:
        sys.stdout.write(text())
        return
    files.write_whole(path, text(), f"Output {path}")


@contextmanager
def status(doing: str) -> Iterator[None]:
    """Say on standard error, in a terminal, what takes its time."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.text import Text

    from accel.report.table import plain

    with Console(stderr=True).status(Text(plain(doing))):
        yield


@contextmanager
def progress_bar(label: str) -> Iterator[Callable[[int, int, str], None]]:
    """Show progress on standard error, from a second on and only in a terminal.

    Yields
    ------
    callable
        Called with steps done, steps in all, and what is being done.
    """
    if not sys.stderr.isatty():
        yield lambda done, total, doing: None
        return
    import time

    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    from accel.report.table import plain

    began = time.monotonic()
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    task = bar.add_task(plain(label), total=1)

    def advance(done: int, total: int, doing: str) -> None:
        if not bar.live.is_started and time.monotonic() - began > 1:
            bar.start()
        bar.update(task, completed=done, total=total, description=plain(f"{label}: {doing}"))

    try:
        yield advance
    finally:
        bar.stop()
