"""`accel prune` and `accel study`: networks trained, pruned and compared."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from accel.cli.options import (
    AugmentOption,
    BatchOption,
    ConfigOption,
    CsvOption,
    DataOption,
    InputShapeOption,
    JsonOption,
    MethodOption,
    PlotOption,
    PresetOption,
    SeedOption,
    TestImagesOption,
    TrainImagesOption,
    WorkFolderOption,
    examples,
    read_changes,
    read_shape,
)
from accel.cli.output import STANDARD_OUTPUT, check_outputs, show, write_whole
from golden.errors import UserError

if TYPE_CHECKING:
    from accel.machines.machine import Machine

__all__ = ["commands"]

#: The configuration whose cycles are counted where none is named.
_PRESET = "small"

commands = typer.Typer(rich_markup_mode=None)


@commands.command(
    epilog=examples(
        "accel prune --list",
        "accel prune lenet5 --density 0.1 --epochs 2",
        "accel prune resnet8 --method cycles --set budget=0.5 -o build/mine",
        "accel prune --check my.py:Net --input-shape 1,3,32,32 --density 0.1",
        "accel prune my.py:Net --weights w.pt --data folder/ --method slimming --density 0.3",
    )
)
def prune(
    network: Annotated[
        str | None,
        typer.Argument(
            help="A network to train (--list), or your own, FILE.py:NAME.", show_default=False
        ),
    ] = None,
    method: Annotated[str, typer.Option(help="How (--list).", metavar="NAME")] = "magnitude",
    show_list: Annotated[
        bool, typer.Option("--list", help="List methods and networks, and do nothing else.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Say what would come of it; train nothing.")
    ] = False,
    density: Annotated[
        float | None, typer.Option(help="Share of weights that stay.", metavar="0..1")
    ] = None,
    rounds: Annotated[
        int | None, typer.Option(help="Steps of pruning and retraining.", metavar="N")
    ] = None,
    block: Annotated[
        str | None,
        typer.Option(help="Input channels, filters, columns, rows.", metavar="N,N,N,N"),
    ] = None,
    changes: MethodOption = None,
    epochs: Annotated[int, typer.Option(help="Of retraining after a step.", metavar="N")] = 3,
    dense: Annotated[
        Path | None, typer.Option(help="Start from this trained model.", metavar="FILE.pt")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="State dict of your own network.", metavar="FILE.pt")
    ] = None,
    input_shape: InputShapeOption = None,
    dense_epochs: Annotated[
        int | None, typer.Option(help="Of dense training; by the recipe.", metavar="N")
    ] = None,
    teacher: Annotated[
        Path | None, typer.Option(help="Distil from this trained model.", metavar="FILE.pt")
    ] = None,
    temperature: Annotated[float, typer.Option(help="Of distillation.", metavar="T")] = 4.0,
    mixing: Annotated[
        float, typer.Option(help="Share of the teacher in the loss.", metavar="0..1")
    ] = 0.9,
    data: DataOption = None,
    train_images: TrainImagesOption = None,
    test_images: TestImagesOption = None,
    batch: BatchOption = None,
    augment: AugmentOption = None,
    seed: SeedOption = 1,
    output: WorkFolderOption = None,
    name: Annotated[
        str | None,
        typer.Option(help="Of what is written; NETWORK-METHOD.", show_default=False),
    ] = None,
    preset: PresetOption = None,
    config: ConfigOption = None,
) -> None:
    """Train, prune and retrain a network.

    Interrupted, it goes on where it was when it is called again.
    """
    if show_list:
        show_methods()
        return
    if network is None:
        raise UserError("Network to prune must be given (accel prune --list)")
    from accel.report.studies import preflight_report, pruning_report
    from accel.studies import pruning
    from accel.studies.data import DataOptions

    options = {"density": density, "rounds": rounds, "block": block}
    given = {key: value for key, value in options.items() if value is not None}
    training = pruning.Training(
        seed=seed,
        epochs=epochs,
        dense=dense,
        dense_epochs=dense_epochs,
        teacher=teacher,
        temperature=temperature,
        mixing=mixing,
        name=name,
    )
    machine = _machine(preset, config)
    chosen_data = DataOptions(
        folder=data,
        train_images=train_images,
        test_images=test_images,
        batch=batch,
        augment=augment,
    )
    if check:
        found = pruning.check_network(
            network,
            machine,
            density=density,
            weights=weights,
            input_shape=read_shape(input_shape),
            data=chosen_data,
        )
        show(*preflight_report(found))
        raise typer.Exit(0 if found.ready else 1)
    _log()
    outcome, figures = pruning.prune_network(
        network,
        method,
        given | read_changes(changes),
        machine,
        training,
        data=chosen_data,
        output=output,
        weights=weights,
        input_shape=read_shape(input_shape),
    )
    show(*pruning_report(outcome, figures))


@commands.command(
    epilog=examples("accel study", "accel study structured --seeds 1 --scale 0.1 --plot page.html")
)
def study(
    name: Annotated[
        str | None, typer.Argument(help="Left out: list the studies.", show_default=False)
    ] = None,
    seeds: Annotated[int, typer.Option(help="Times that everything is trained.")] = 3,
    scale: Annotated[
        float, typer.Option(help="Multiplies epochs; below 1 for a quick look.")
    ] = 1.0,
    data: DataOption = None,
    train_images: TrainImagesOption = None,
    output: WorkFolderOption = None,
    preset: PresetOption = None,
    config: ConfigOption = None,
    plot: PlotOption = None,
    json: JsonOption = None,
    csv: CsvOption = None,
) -> None:
    """Train and prune several networks, and compare them."""
    if name is None:
        show_studies()
        return
    from accel.studies import pruning
    from accel.studies.data import DataOptions

    pruning.find_study(name)
    check_outputs(plot=plot, json=json, csv=csv)
    machine = _machine(preset, config)
    _log()
    result = pruning.run_study(
        name,
        machine,
        data=DataOptions(folder=data, train_images=train_images),
        output=output,
        seeds=seeds,
        scale=scale,
    )
    write_whole(csv, result.to_csv)
    write_whole(json, result.to_json)
    if plot is not None:
        from accel.report.page.runs import study_page

        write_whole(plot, lambda: study_page(result))
    if STANDARD_OUTPUT not in (json, csv):
        from accel.report.studies import study_report

        show(*study_report(result))


def show_methods() -> None:
    """Print what each method removes, its source, what it needs and its options."""
    import dataclasses

    from accel.report.table import Column, Kind, Table
    from accel.studies import pruning

    texts = [Column(head, Kind.TEXT) for head in ("removes", "source", "needs")]
    table = Table("", [Column("method", Kind.NAME), *texts])
    options = Table("", [Column("method", Kind.NAME), Column("options", Kind.TEXT)])
    for name, method in pruning.methods().items():
        fields = ", ".join(field.name for field in dataclasses.fields(method))  # type: ignore[arg-type]
        table.add(name, method.removes, method.source, method.needs)
        options.add(name, fields)
    networks = Table("", [Column("network", Kind.NAME), Column("what it is", Kind.TEXT)])
    for name, definition in pruning.networks().items():
        networks.add(name, definition.summary)
    show(table, options, networks)


def show_studies() -> None:
    """Print the studies and their questions."""
    from accel.report.table import Column, Kind, Table
    from accel.studies import pruning

    table = Table("", [Column("study", Kind.NAME), Column("question", Kind.TEXT)])
    for name, each in pruning.studies().items():
        table.add(name, each.question)
    show(table)


def _machine(preset: str | None, config: Path | None) -> Machine:
    """Return the machine that cycles are counted on."""
    from accel import api

    named = preset is not None or config is not None
    return api.choose_config(preset=preset if named else _PRESET, config=config)


def _log() -> None:
    """Say on standard error what is being trained."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
