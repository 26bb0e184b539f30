"""The command line. What a command needs is imported inside it, so that help is instant."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any

import typer

from accel.cli.commands import (
    coding,
    hardware,
    listing,
    matrix,
    simulation,
    sweep,
    timeline,
    training,
)
from accel.cli.options import examples
from accel.cli.output import complain
from golden.errors import UserError

__all__ = ["app", "main"]

#: Exit statuses beside 0: bad input; Ctrl-C.
BAD_INPUT, INTERRUPTED = 2, 130

app = typer.Typer(
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich's help costs a third of the 0.3 s that help may take
    epilog=examples(
        "accel run resnet8", "accel compare resnet8", "accel COMMAND --help shows more"
    ),
)
for family in (simulation, hardware, timeline, coding, training):
    app.add_typer(family.commands)
app.add_typer(matrix.commands, name="matrix")
app.add_typer(sweep.commands, name="sweep")
app.add_typer(listing.commands)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(version("innerjoin"))
        raise typer.Exit


@app.callback()
def describe(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    """A sparse-CNN accelerator: its cycles, its bits and its Verilog."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line: bad input is one line on standard error and exit status 2."""
    # Tools that were installed beside this interpreter are found without activating anything.
    known = os.environ.get("PATH", os.defpath)
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), known])
    _replace_closed_streams()
    # A name that the terminal's encoding has not is no reason to end.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    arguments = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    sys.exit(_status(lambda: app(arguments, prog_name="accel", standalone_mode=False)))


def _replace_closed_streams() -> None:
    """Let what is written to a closed stream go nowhere, and to no file that is opened later."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115  # as long as we run


def _status(command: Callable[[], Any]) -> int:
    """Run a command and return its exit status, having said what went wrong."""
    try:
        return _told(command)
    except (KeyboardInterrupt, typer.Abort):  # also while it is being said
        return _complain("interrupted", INTERRUPTED)


def _told(command: Callable[[], Any]) -> int:
    try:
        status = command()
        sys.stdout.flush()
    except UserError as error:
        return _complain(str(error), BAD_INPUT)
    except typer.TyperException as error:  # an unknown command or option
        return _complain(getattr(error, "format_message", error.__str__)(), BAD_INPUT)
    except BrokenPipeError:
        # Who read our output has gone: leave, and keep the interpreter from flushing once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:  # a full disk, say
        where = f"{error.filename}: " if error.filename else ""
        return _complain(f"{where}{error.strerror or error}", BAD_INPUT)
    if status == INTERRUPTED:
        return _complain("interrupted", INTERRUPTED)
    return status if isinstance(status, int) else 0


def _complain(message: str, status: int) -> int:
    complain(message)
    return status
