"""Where the command line writes: the terminal, standard output, and files made whole."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from golden.errors import UserError

__all__ = [
    "STANDARD_OUTPUT",
    "check_writable",
    "console",
    "progress_bar",
    "show",
    "status",
    "write_whole",
]

#: The file name that stands for standard output.
STANDARD_OUTPUT = "-"

#: Columns that every table fits.
WIDTH = 120


def console() -> Console:
    """Return a console on standard output; without a terminal it prints plain, 120 wide."""
    if sys.stdout.isatty():
        return Console(highlight=False)
    return Console(
        file=sys.stdout, width=WIDTH, color_system=None, highlight=False, force_terminal=False
    )


def show(*items: Table | str) -> None:
    """Print tables and lines; words are printed as they are, without markup."""
    output = console()
    for index, item in enumerate(items):
        if isinstance(item, Table):
            # A rule under the head and no other line: that leaves the width to the figures.
            item.box = box.SIMPLE_HEAD if output.is_terminal else None
            item.padding = (0, 1, 0, 0) if output.is_terminal else (0, 1)
        if isinstance(item, Table) and index:
            output.print()
        output.print(item, markup=False, soft_wrap=isinstance(item, str))


def check_writable(path: str | Path | None) -> None:
    """Refuse a file that can't be written, before the work that would be lost.

    Raises
    ------
    UserError
        Names the file and why.
    """
    if path is None or str(path) == STANDARD_OUTPUT:
        return
    path = Path(path)
    folder = path.parent
    if path.is_dir():
        raise UserError(f"Output {path} must be a file, not a folder")
    if not folder.is_dir():
        raise UserError(f"Output {path} must lie in a folder that exists, not in {str(folder)!r}")
    # The access bits say nothing on a read-only file system, so a file is tried.
    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise UserError(f"Output {path} can't be written: {error.strerror}") from None


def write_whole(path: str | Path, text: str) -> None:
    """Write a text file beside its place and rename it, or print it where the path is ``-``.

    Raises
    ------
    UserError
        The file can't be written; what was there before is still there.
    """
    if str(path) == STANDARD_OUTPUT:
        sys.stdout.write(text)
        return
    path = Path(path)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        raise UserError(f"Output {path} can't be written: {error.strerror}") from None
    finally:
        beside.unlink(missing_ok=True)


@contextmanager
def status(doing: str) -> Iterator[None]:
    """Say on standard error, in a terminal, what takes its time."""
    terminal = Console(stderr=True)
    if not terminal.is_terminal:
        yield
        return
    with terminal.status(doing):
        yield


@contextmanager
def progress_bar(label: str) -> Iterator[Callable[[int, int, str], None]]:
    """Show progress on standard error, from a second on and only in a terminal.

    Yields
    ------
    callable
        Called with steps done, steps in all, and what is being done.
    """
    import time

    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    terminal = Console(stderr=True)
    began = time.monotonic()
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        TimeRemainingColumn(),
        console=terminal,
        transient=True,
        disable=not terminal.is_terminal,
    )
    task = bar.add_task(label, total=1)

    def advance(done: int, total: int, doing: str) -> None:
        if not bar.live.is_started and time.monotonic() - began > 1:
            bar.start()
        bar.update(task, completed=done, total=total, description=f"{label}: {doing}")

    try:
        yield advance
    finally:
        bar.stop()
