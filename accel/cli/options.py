"""Every option and argument that more than one command has, and how its text is read."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from golden.errors import ConfigError, UserError
from golden.machines.cluster.config import SkipMode

__all__ = [
    "AugmentOption",
    "BalanceOption",
    "BandwidthOption",
    "BatchOption",
    "ConfigOption",
    "ConfigsOption",
    "CsvOption",
    "DataOption",
    "DensityOption",
    "ImageOption",
    "ImagesOption",
    "InputShapeOption",
    "JsonOption",
    "LayerOption",
    "LayoutOption",
    "LimitOption",
    "MachineOption",
    "MatrixArgument",
    "MeanOption",
    "MethodOption",
    "ModeOption",
    "NetworkArgument",
    "NodeOption",
    "OutputOption",
    "PesOption",
    "PlotOption",
    "PresetOption",
    "PresetsOption",
    "RowsOption",
    "ScaleOption",
    "SeedOption",
    "SetOption",
    "TestImagesOption",
    "TrainImagesOption",
    "WorkFolderOption",
    "examples",
    "read_changes",
    "read_chip",
    "read_input",
    "read_modes",
    "read_shape",
    "read_skip",
    "refuse",
]

# -- what runs ------------------------------------------------------------------------------

NetworkArgument = Annotated[
    str,
    typer.Argument(
        help="A shipped network (`accel networks`), a .safetensors container, a .onnx or .pt model."
    ),
]
ImagesOption = Annotated[
    Path | None,
    typer.Option(
        help="Images: a .npy or .npz file, or a folder of pictures; a shipped network brings some.",
        metavar="FILE.npy",
    ),
]
InputShapeOption = Annotated[
    str | None,
    typer.Option(help="Sizes of a model's input where it leaves them open.", metavar="1,3,224,224"),
]
LayoutOption = Annotated[
    str | None,
    typer.Option(help="Axes of the images, nchw or nhwc; by their sizes if left out."),
]
MeanOption = Annotated[
    str | None,
    typer.Option(help="Taken from each pixel: a number, or one a channel.", metavar="X[,X,X]"),
]
ScaleOption = Annotated[
    str | None,
    typer.Option(
        help="Divides each pixel then, likewise; of pictures 255 if both are left out.",
        metavar="X[,X,X]",
    ),
]
LayerOption = Annotated[
    str | None,
    typer.Option(help="Name of the layer; the smallest if left out.", metavar="NAME"),
]
ImageOption = Annotated[int, typer.Option(help="Which image, from 0.", min=0)]
RowsOption = Annotated[
    int | None, typer.Option(help="Only so many output rows, from the first.", min=1)
]
LimitOption = Annotated[int, typer.Option(help="Use at most so many images.", min=1)]
DensityOption = Annotated[
    float | None,
    typer.Option(help="Prune by magnitude to this share of weights.", metavar="0..1"),
]

# -- on what --------------------------------------------------------------------------------

MachineOption = Annotated[str, typer.Option(help="A machine (`accel machines`).", metavar="NAME")]
PresetOption = Annotated[
    str | None,
    typer.Option(help="A shipped configuration (`accel presets`).", metavar="NAME"),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option(help="A configuration with all keys given.", metavar="FILE.toml"),
]
PresetsOption = Annotated[
    list[str] | None,
    typer.Option("--preset", help="A shipped configuration; repeatable.", metavar="[MACHINE:]NAME"),
]
ConfigsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--config",
        help="A configuration with all keys given; repeatable.",
        metavar="[MACHINE:]FILE.toml",
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="Change one key of the machine; repeatable.", metavar="KEY=VALUE"),
]
MethodOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="Set an option of the method; repeatable.", metavar="KEY=VALUE"),
]
BalanceOption = Annotated[
    str | None,
    typer.Option(help="How filters are dealt to units; short for --set balance=.", metavar="NAME"),
]
ModeOption = Annotated[
    str | None,
    typer.Option("--skip", help="all, or one of dense, static, dynamic, both.", metavar="MODE"),
]
NodeOption = Annotated[
    str, typer.Option(help="Technology node of the energies: 45nm or 7nm.", metavar="NODE")
]

# -- what is written ------------------------------------------------------------------------

JsonOption = Annotated[
    str | None, typer.Option(help="All results as JSON; - is standard output.", metavar="FILE")
]
CsvOption = Annotated[
    str | None,
    typer.Option(help="All results as CSV; - is standard output.", metavar="FILE"),
]
OutputOption = Annotated[
    Path | None,
    typer.Option("-o", "--output", help="Write the container.", metavar="FILE.safetensors"),
]
PlotOption = Annotated[Path | None, typer.Option(help="Plots as one page.", metavar="FILE.html")]

# -- training -------------------------------------------------------------------------------

DataOption = Annotated[
    str | None,
    typer.Option(
        help="Folder of a data set; fashion-mnist, where Debian puts it, if left out.",
        metavar="FOLDER",
        show_default=False,
    ),
]
TrainImagesOption = Annotated[
    int | None, typer.Option(help="Train with only so many images.", metavar="N")
]
TestImagesOption = Annotated[
    int | None, typer.Option(help="Measure with only so many images.", metavar="N")
]
BatchOption = Annotated[int | None, typer.Option(help="Images of a training batch.", metavar="N")]
AugmentOption = Annotated[
    str | None,
    typer.Option(
        help="mirror, shift=PIXELS, both, or none; by the data set if left out.",
        metavar="HOW",
        show_default=False,
    ),
]
WorkFolderOption = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--output",
        help="For models and checkpoints; within build/ if left out.",
        metavar="FOLDER",
        show_default=False,
    ),
]
SeedOption = Annotated[int, typer.Option(help="All that is random follows from it.")]

# -- matrices -------------------------------------------------------------------------------

MatrixArgument = Annotated[
    Path, typer.Argument(help="A Matrix Market file.", metavar="FILE.mtx", show_default=False)
]
PesOption = Annotated[
    int | None, typer.Option(help="Processing elements, 1 to 4096.", metavar="NUMBER")
]
BandwidthOption = Annotated[
    float | None,
    typer.Option(
        help="Bytes from and to DRAM in a cycle; without it DRAM is never waited for.",
        metavar="NUMBER",
    ),
]


def read_shape(text: str | None) -> tuple[int, int, int] | None:
    """Read --input-shape of images, 1,c,y,x; return axes c, y, x.

    Raises
    ------
    UserError
        It is not four numbers of at least 1, of which the first is 1.
    """
    numbers = _numbers("--input-shape", text, int)
    if numbers is None:
        return None
    if len(numbers) != 4 or numbers[0] != 1:
        raise UserError(f"Option --input-shape must be 1,channels,rows,columns, not {text!r}")
    channels, rows, columns = map(int, numbers[1:])
    return channels, rows, columns


def examples(*lines: str) -> str:
    """Return examples for the end of a command's help, kept line by line."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def read_changes(texts: Sequence[str] | None, balance: str | None = None) -> dict[str, Any]:
    """Read the keys that --set and --balance change; later ones win.

    A value is read as in TOML, or else as a bare word.

    Raises
    ------
    ConfigError
        A text is not ``key=value``.
    """
    changes = {}
    for text in texts or ():
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise ConfigError(f"Option --set must be key=value, not {text!r}")
        try:
            changes[key] = tomllib.loads(f"value = {value}")["value"]
        except (tomllib.TOMLDecodeError, RecursionError):
            changes[key] = value
    if balance is not None:
        changes["balance"] = balance
    return changes


def refuse(beside: str, given: dict[str, Any]) -> None:
    """Refuse options that have no meaning with others.

    Parameters
    ----------
    beside : str
        Such as ``with --memory``.
    given : dict of str to anything
        Each option, and what is true where it is given.
    """
    for name, is_given in given.items():
        if is_given:
            raise UserError(f"Option {name} must be left out {beside}")


def read_chip(preset: str | None, config: Path | None) -> str | Path:
    """Read --preset and --config where they name a chip."""
    if preset is not None and config is not None:
        raise ConfigError("A chip must be given by --preset or by --config, not by both")
    return config if config is not None else preset or "board"


def read_skip(text: str | None) -> SkipMode:
    """Read --skip of a chip, which runs one mode: that which skips most for all of them."""
    modes = [mode.value for mode in SkipMode]
    if text not in (None, "all", *modes):
        raise UserError(f"Skip mode of a chip must be one of {', '.join(modes)}, not {text!r}")
    return SkipMode.BOTH if text in (None, "all") else SkipMode(text)


def read_input(
    shape: str | None, layout: str | None, mean: str | None, scale: str | None
) -> dict[str, Any]:
    """Read --input-shape, --layout, --mean and --scale as ``accel.load`` takes them.

    Raises
    ------
    UserError
        A list holds something else than numbers.
    """
    return {
        "input_shape": _numbers("--input-shape", shape, int),
        "layout": layout,
        "mean": _numbers("--mean", mean, float),
        "scale": _numbers("--scale", scale, float),
    }


def _numbers(
    option: str, text: str | None, kind: Callable[[str], float]
) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        numbers = tuple(kind(part) for part in text.split(","))
    except ValueError:
        words = "whole numbers" if kind is int else "numbers"
        raise UserError(
            f"Option {option} must be {words} separated by commas, not {text!r}"
        ) from None
    if kind is int and not all(1 <= number < 1 << 31 for number in numbers):
        raise UserError(f"Option {option} must be positive numbers, not {text!r}")
    return numbers


def read_modes(text: str | None) -> list[str] | None:
    """Read --skip: None where all of the machine's modes are meant."""
    return None if text in (None, "all") else [text]
