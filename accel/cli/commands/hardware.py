"""`accel verify`, `accel verilog`, `accel export`: hardware run and written, networks for it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    read_chip,
    read_input,
    read_modes,
    read_skip,
    refuse,
)
from accel.cli.output import check_writable, complain, show, status
from golden.errors import HardwareError, UserError
from golden.machines import registry

if TYPE_CHECKING:
    from accel.api import LoadedNetwork
    from golden.machines.cluster.config import SkipMode

__all__ = ["commands"]

#: Exit status where the hardware differs from the models, or breaks its contract.
DIFFERENT = 1

commands = typer.Typer(rich_markup_mode=None)


@commands.command(
    epilog=examples(
        "accel verify",
        "accel verify resnet8 --layer block2.conv2 --rows 2 --simulator verilator",
        "accel verify lenet5 --machine extensor --skip all",
        "accel verify lenet5 --chip --memory rate:8,30 --simulator verilator",
        "accel verify resnet8 --layer block2.conv2 --waves out.fst --signals unit0",
    )
)
def verify(
    network: NetworkArgument = "resnet8",
    layer: LayerOption = None,
    simulator: Annotated[
        str | None,
        typer.Option(
            help="amaranth, icarus or verilator; amaranth if left out, verilator for waves.",
            metavar="NAME",
            show_default=False,
        ),
    ] = None,
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
    chip: Annotated[
        bool, typer.Option("--chip", help="The whole network on a chip, from one start.")
    ] = False,
    memory: Annotated[
        str | None,
        typer.Option(
            help="The chip's memory: ideal, rate:BYTES,LATENCY (rate:16,30) or sdram.",
            metavar="MODEL",
        ),
    ] = None,
    waves: Annotated[Path | None, typer.Option(help="Keep the waves.", metavar="FILE.fst")] = None,
    signals: Annotated[
        str | None,
        typer.Option(
            help="Of these blocks only, separated by commas, such as unit0 or unit0.mac.",
            metavar="NAMES",
        ),
    ] = None,
) -> None:
    """Run a layer on the hardware and compare all; or, with --chip, a whole network.

    Its bits must be those of the golden model and of the simulator, its counters those of the
    simulator; exit status 1 where one differs.
    """
    how = read_input(input_shape, layout, mean, scale)
    if signals is not None and waves is None:
        raise UserError("Option --signals must be left out without --waves")
    check_writable(waves)
    simulator = simulator or ("amaranth" if waves is None else "verilator")
    from accel import api

    if chip:
        refuse(
            "with --chip",
            {
                "--layer": layer is not None, "--machine": machine != registry.DEFAULT,
                "--rows": rows is not None, "--set": changes, "--balance": balance,
                "--waves": waves is not None,
            },
        )  # fmt: skip
        with status(f"Loading {network}"):
            net = api.load(network, images, density, **how)
        _verify_chip(net, read_chip(preset, config), memory, simulator, image, read_skip(skip))
        return
    if memory is not None:
        raise UserError("Option --memory must be left out without --chip")
    chosen = api.choose_config(
        machine,
        preset=preset,
        config=config,
        changes=read_changes(changes, balance),
        hardware=True,
    )
    # Left out, only the mode that skips most is run: hardware takes its time.
    modes = api.read_modes(chosen, chosen.modes[-1:] if skip is None else read_modes(skip))
    with status(f"Loading {network}"):
        net = api.load(network, images, density, **how)
    from accel.report.text import verification_report

    try:
        with status(f"Running {layer or 'the smallest layer'} under {simulator}"):
            found = api.verify(
                net, layer, chosen, simulator=simulator, image=image, rows=rows, modes=modes,
                waves=waves, signals=signals.split(",") if signals else (),
            )  # fmt: skip
    except HardwareError as error:
        complain(str(error))
        raise typer.Exit(DIFFERENT) from None
    show(*verification_report(found))
    if waves is not None:
        show("Waves, and set-up files of GTKWave and Surfer:", str(waves))
        show(*(str(waves.with_suffix(suffix)) for suffix in (".gtkw", ".sucl")))
    if not found.equal:
        raise typer.Exit(DIFFERENT)


def _verify_chip(
    net: LoadedNetwork,
    chip: str | Path,
    memory: str | None,
    simulator: str,
    image: int,
    skip: SkipMode,
) -> None:
    from accel.report.text import chip_verification_report
    from accel.verification.chip import verify_chip

    try:
        with status(f"Running {net.name} under {simulator}"):
            found = verify_chip(
                net, chip, memory or "rate:16,30", simulator, image=image, skip=skip
            )
    except HardwareError as error:
        complain(str(error))
        raise typer.Exit(DIFFERENT) from None
    show(*chip_verification_report(found))
    if not found.equal:
        raise typer.Exit(DIFFERENT)


@commands.command(
    epilog=examples(
        "accel verilog -o build/cluster",
        "accel verilog --preset small -o build/ --layer lenet5:conv2 --rows 1",
        "accel verilog -o build/core --machine cambricon-s --set pes=2",
    )
)
def verilog(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder.", metavar="FOLDER")],
    machine: MachineOption = registry.DEFAULT,
    preset: PresetOption = None,
    config: ConfigOption = None,
    changes: SetOption = None,
    layer: Annotated[
        str | None,
        typer.Option(
            help="A layer that the bench runs: what goes in, what must come out.",
            metavar="NETWORK[:NAME]",
        ),
    ] = None,
    images: ImagesOption = None,
    input_shape: InputShapeOption = None,
    layout: LayoutOption = None,
    mean: MeanOption = None,
    scale: ScaleOption = None,
    image: ImageOption = 0,
    rows: RowsOption = None,
    density: DensityOption = None,
    skip: ModeOption = None,
) -> None:
    """Write a machine as Verilog, with a cocotb bench that runs it.

    `cd FOLDER && make SIM=verilator WAVES=1` runs the bench (docs/verilog.md).
    """
    how = read_input(input_shape, layout, mean, scale)
    from accel import api

    chosen = api.choose_config(
        machine, preset=preset, config=config, changes=read_changes(changes), hardware=True
    )
    if output.exists():
        check_writable(output / "bench.py")
    if layer is None:
        refuse(
            "without --layer",
            {
                "--images": images is not None, "--image": image != 0, "--rows": rows is not None,
                "--density": density is not None, "--skip": skip is not None,
                **{f"--{key.replace('_', '-')}": value is not None for key, value in how.items()},
            },
        )  # fmt: skip
        net = name = None
    else:
        network, _, name = layer.partition(":")
        with status(f"Loading {network}"):
            net = api.load(network, images, density, **how)
    from accel.exports.verilog import write_verilog

    with status(f"Writing {chosen.config.name}"):
        paths = write_verilog(chosen, output, net, name or None, image=image, rows=rows, mode=skip)
    show(*map(str, paths))


@commands.command(
    epilog=examples(
        "accel export resnet8 -o resnet8.bin",
        "accel export lenet5 --preset chip-64 --image 3 -o lenet5.bin --driver build",
    )
)
def export(
    network: NetworkArgument,
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The memory's image.", metavar="FILE.bin")
    ],
    images: ImagesOption = None,
    image: Annotated[
        int | None,
        typer.Option(
            help="Store this image as the input, from 0; left out, the first of --images.", min=0
        ),
    ] = None,
    density: DensityOption = None,
    preset: PresetOption = None,
    config: ConfigOption = None,
    driver: Annotated[
        Path | None, typer.Option(help="Write the driver in C there too.", metavar="FOLDER")
    ] = None,
) -> None:
    """Write a network as one image for a chip's memory, and C headers beside it.

    Chips are the presets board, ulx3s, chip-64, chip-256, chip-1024; board if left out.
    """
    chip = read_chip(preset, config)
    check_writable(output)
    from accel import api
    from accel.exports.chip import export as write_image

    with status(f"Loading {network}"):
        net = api.load(network, images, density)
    stored = 0 if image is None and images is not None else image
    with status(f"Compiling {net.name}"):
        paths = write_image(net, output, chip, image=stored, driver=driver)
    show(*map(str, paths))
