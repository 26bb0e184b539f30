"""`accel run`, `accel compare` and `accel reproduce`: cycles of networks on machines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from accel.cli.options import (
    BalanceOption,
    ConfigOption,
    ConfigsOption,
    CsvOption,
    DensityOption,
    ImagesOption,
    InputShapeOption,
    JsonOption,
    LayoutOption,
    LimitOption,
    MachineOption,
    MeanOption,
    ModeOption,
    NetworkArgument,
    NodeOption,
    PlotOption,
    PresetOption,
    PresetsOption,
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
from accel.cli.output import (
    STANDARD_OUTPUT,
    check_outputs,
    progress_bar,
    show,
    status,
    write_whole,
)
from golden.errors import UserError
from golden.machines import registry

if TYPE_CHECKING:
    from accel.machines.machine import Machine
    from accel.results import Run

__all__ = ["commands"]

commands = typer.Typer(rich_markup_mode=None)


@commands.command(
    epilog=examples(
        "accel run resnet8",
        "accel run resnet8 --machine scnn",
        "accel run lenet5 --preset small --set fifo_depth=2 --csv cycles.csv",
        "accel run model.onnx --images images.npy --density 0.2",
        "accel run resnet8 --preset board --memory sdram",
    )
)
def run(
    network: NetworkArgument,
    images: ImagesOption = None,
    input_shape: InputShapeOption = None,
    layout: LayoutOption = None,
    mean: MeanOption = None,
    scale: ScaleOption = None,
    limit: LimitOption = 1,
    density: DensityOption = None,
    machine: MachineOption = registry.DEFAULT,
    preset: PresetOption = None,
    config: ConfigOption = None,
    changes: SetOption = None,
    skip: ModeOption = "all",
    balance: BalanceOption = None,
    node: NodeOption = "45nm",
    per_unit: Annotated[bool, typer.Option(help="Counters of every part, in --json.")] = False,
    memory: Annotated[
        str | None,
        typer.Option(
            help="Run all on a chip with this memory: ideal, rate:BYTES,LATENCY or sdram; its "
            "presets are board, ulx3s, chip-64, chip-256, chip-1024.",
            metavar="MODEL",
        ),
    ] = None,
    json: JsonOption = None,
    csv: CsvOption = None,
) -> None:
    """Simulate a network on a machine: cycles, speed-ups, waits."""
    check_outputs(json=json, csv=csv)
    how = read_input(input_shape, layout, mean, scale)
    from accel import api

    if memory is not None:
        refuse(
            "with --memory",
            {
                "--machine": machine != registry.DEFAULT, "--set": changes, "--balance": balance,
                "--limit": limit != 1, "--per-unit": per_unit, "--json": json, "--csv": csv,
            },
        )  # fmt: skip
        from accel.chip.simulator import simulate_chip

        chip, mode = read_chip(preset, config), read_skip(skip)
        with status(f"Loading {network}"):
            net = api.load(network, images, density, **how)
        with status(f"Simulating {net.name}"):
            found = simulate_chip(net, chip, memory, skip=mode)
        from accel.report.text import chip_report

        show(*chip_report(found))
        return

    chosen = api.choose_config(
        machine, preset=preset, config=config, changes=read_changes(changes, balance)
    )
    modes = api.read_modes(chosen, read_modes(skip))
    with status(f"Loading {network}"):
        net = api.load(network, images, density, **how)
    with progress_bar(f"Simulating {net.name}") as progress:
        result = api.simulate(
            net,
            chosen,
            modes=modes,
            images=limit,
            technology_node=node,
            keep_counters=per_unit,
            progress=progress,
        )
    _write(result, json, csv)


@commands.command(
    epilog=examples(
        "accel check model.onnx",
        "accel check model.onnx --preset small --input-shape 1,3,224,224",
        "accel check model.onnx --machine scnn --json check.json",
    )
)
def check(
    network: NetworkArgument,
    input_shape: InputShapeOption = None,
    machine: MachineOption = registry.DEFAULT,
    preset: PresetOption = None,
    config: ConfigOption = None,
    changes: SetOption = None,
    json: JsonOption = None,
) -> None:
    """Show what of a network runs where, and what does not fit, before any work.

    A layer's input is taken to have no zeros. Exit status 2 where something does not fit.
    """
    check_outputs(json=json)
    shape = read_input(input_shape, None, None, None)["input_shape"]
    from accel import api

    chosen = api.choose_config(machine, preset=preset, config=config, changes=read_changes(changes))
    with status(f"Checking {network}"):
        found = api.check(network, chosen, input_shape=shape)
    write_whole(json, found.to_json)
    if json != STANDARD_OUTPUT:
        from accel.report.placement import placement_report

        show(*placement_report(found))
    if not found.fits:
        raise UserError(found.refusal)


@commands.command(
    epilog=examples(
        "accel compare resnet8",
        "accel compare resnet8 --machines dense,sparten,innerjoin --multipliers 1024",
        "accel compare lenet5 --machines dense --preset small --preset scnn:toy",
        "accel compare lenet5 --config mine.toml --config extensor:theirs.toml",
        "accel compare resnet8 --plot page.html",
    )
)
def compare(
    network: NetworkArgument,
    machines: Annotated[
        str | None,
        typer.Option(
            help="Which, scaled to --multipliers, separated by commas (`accel machines`); all "
            "where no machine is named in any way.",
            metavar="NAMES",
        ),
    ] = None,
    multipliers: Annotated[
        int, typer.Option(help="Multipliers of every machine of --machines.", min=1, metavar="N")
    ] = 256,
    presets: PresetsOption = None,
    configs: ConfigsOption = None,
    changes: SetOption = None,
    images: ImagesOption = None,
    input_shape: InputShapeOption = None,
    layout: LayoutOption = None,
    mean: MeanOption = None,
    scale: ScaleOption = None,
    limit: LimitOption = 1,
    density: DensityOption = None,
    node: NodeOption = "45nm",
    plot: PlotOption = None,
    json: JsonOption = None,
    csv: CsvOption = None,
) -> None:
    """Run a network on several machines side by side.

    --set changes the machines of --preset and --config; without them it adds this project's own
    machine, changed.
    """
    check_outputs(plot=plot, json=json, csv=csv)
    how = read_input(input_shape, layout, mean, scale)
    from accel import api

    chosen = _machines(machines, multipliers, presets or [], configs or [], changes or [])
    with status(f"Loading {network}"):
        net = api.load(network, images, density, **how)
    with progress_bar(f"Comparing on {net.name}") as progress:
        result = api.compare(
            net, chosen, images=limit, technology_node=node, progress=progress
        )  # fmt: skip
    if plot is not None:
        from accel.report.page.runs import comparison_page

        write_whole(plot, lambda: comparison_page(result))
    _write(result, json, csv)


def _machines(
    names: str | None, multipliers: int, presets: list[str], configs: list[str], changes: list[str]
) -> list[Machine]:
    """Return the machines that the options of `accel compare` describe."""
    from accel.api import choose_config, machine

    changed = read_changes(changes)
    described = [
        *(choose_config(_machine_of(x), preset=_rest(x), changes=changed) for x in presets),
        *(choose_config(_machine_of(x), config=_rest(x), changes=changed) for x in configs),
    ]
    if changed and not described:
        described = [choose_config(changes=changed)]
    if names == "all" or (names is None and not described):
        scaled = list(registry.MACHINES)
    else:
        scaled = names.split(",") if names else []
    return [*(machine(name, multipliers) for name in scaled), *described]


def _machine_of(text: str) -> str:
    """Return the machine of ``MACHINE:PRESET`` or ``MACHINE:FILE``, the default one without."""
    name, colon, _ = text.partition(":")
    return name if colon and name in registry.MACHINES else registry.DEFAULT


def _rest(text: str) -> str:
    name, colon, rest = text.partition(":")
    return rest if colon and name in registry.MACHINES else text


def _write(result: Run, json: str | None, csv: str | None) -> None:
    """Write a run's files, and its tables unless a file goes to standard output."""
    write_whole(json, result.to_json)
    write_whole(csv, result.to_csv)
    if STANDARD_OUTPUT not in (json, csv):
        from accel.report.tables import run_report

        show(*run_report(result))


@commands.command(epilog=examples("accel reproduce sparten"))
def reproduce(
    paper: Annotated[
        str, typer.Argument(help="sparten, cambricon-s, extensor or scnn.", show_default=False)
    ],
) -> None:
    """Show a paper's headline figures beside ours."""
    from accel.report.studies import findings_report
    from accel.studies.reproduce import Workbench
    from accel.studies.reproduce import reproduce as measure

    with progress_bar(f"Reproducing {paper}") as progress:
        findings = measure(paper, Workbench(progress))
    show(*findings_report(paper, findings))
