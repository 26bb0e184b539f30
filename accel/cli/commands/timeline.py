"""`accel trace`: what each unit does in each cycle of a layer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from accel.cli.options import (
    BalanceOption,
    ConfigOption,
    DensityOption,
    ImageOption,
    ImagesOption,
    InputShapeOption,
    LayerOption,
    LayoutOption,
    MachineOption,
    MeanOption,
    ModeOption,
    NetworkArgument,
    PresetOption,
    RowsOption,
    ScaleOption,
    SetOption,
    examples,
    read_changes,
    read_input,
)
from accel.cli.output import check_outputs, show, status
from golden.machines import registry

__all__ = ["commands"]

commands = typer.Typer(rich_markup_mode=None)


@commands.command(
    epilog=examples(
        "accel trace resnet8 --layer block2.conv2 --rows 2 -o conv2.html",
        "accel trace resnet8 --layer block2.conv2 --rows 2 -o conv2.pftrace",
        "accel trace lenet5 --layer conv1 --rows 1 --from hardware -o conv1.html",
    )
)
def trace(
    network: NetworkArgument,
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output",
            help="A page of its own, or a trace for Perfetto (ui.perfetto.dev).",
            metavar="FILE.html|FILE.pftrace",
        ),
    ],
    layer: LayerOption = None,
    source: Annotated[
        str, typer.Option("--from", help="simulator or hardware; they are equal.", metavar="WHAT")
    ] = "simulator",
    machine: MachineOption = registry.DEFAULT,
    images: ImagesOption = None,
    input_shape: InputShapeOption = None,
    layout: LayoutOption = None,
    mean: MeanOption = None,
    scale: ScaleOption = None,
    image: ImageOption = 0,
    rows: RowsOption = None,
    density: DensityOption = None,
    preset: PresetOption = None,
    config: ConfigOption = None,
    changes: SetOption = None,
    skip: ModeOption = None,
    balance: BalanceOption = None,
) -> None:  # fmt: skip
    """Write when each unit is busy, and for what it waits when it is not.

    Hardware runs under Amaranth's simulator, which takes its time: give few rows.
    """
    check_outputs(output=output)
    how = read_input(input_shape, layout, mean, scale)
    from accel import api
    from accel.timelines.make import check_ending, write_timeline

    check_ending(output)
    chosen = api.choose_config(
        machine,
        preset=preset,
        config=config,
        changes=read_changes(changes, balance),
        hardware=True,
    )
    with status(f"Loading {network}"):
        net = api.load(network, images, density, **how)
    with status(f"Following {layer or 'the smallest layer'}"):
        found = api.timeline(net, layer, chosen, source=source, image=image, rows=rows, mode=skip)
        write_timeline(found, output)
    show(
        f"{found.title}: {len(found.tracks)} units, {found.intervals} intervals, "
        f"{found.cycles} cycles",
        str(output),
    )
