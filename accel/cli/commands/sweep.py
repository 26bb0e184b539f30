"""`accel sweep`: many machines of a space, kept in a store, and what was found."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from accel.cli.options import (
    LimitOption,
    ModeOption,
    NodeOption,
    SeedOption,
    examples,
    read_modes,
)
from accel.cli.output import (
    STANDARD_OUTPUT,
    check_outputs,
    check_writable,
    progress_bar,
    show,
    status,
    write_whole,
)
from golden.errors import UserError

__all__ = ["commands"]


class _RunByDefault(TyperGroup):
    """Takes ``accel sweep space.toml`` for ``accel sweep run space.toml``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, "--help"):
            args = ["run", *args]
        return super().parse_args(ctx, args)


commands = typer.Typer(
    rich_markup_mode=None, cls=_RunByDefault, help="Count many machines of a space."
)

StoreArgument = Annotated[
    Path, typer.Argument(help="What a sweep has written.", metavar="FILE.sqlite")
]
ObjectivesOption = Annotated[
    str | None,
    typer.Option(help="What to look for, separated by commas.", metavar="NAMES"),
]
ParetoOption = Annotated[
    str | None,
    typer.Option(help="Objectives of the front; those of the sweep by default.", metavar="NAMES"),
]
ClockOption = Annotated[
    float | None, typer.Option("--clock", help="For images a second.", metavar="MHZ")
]


@commands.command(
    epilog=examples(
        "accel sweep space.toml --network resnet8",
        "accel sweep space.toml --network vgg16 --search nsga2 --trials 1000",
        "accel sweep space.toml --network resnet8 --workers 2",
        "accel sweep show sweep.sqlite --pareto cycles,luts",
    )
)
def run(
    space: Annotated[
        Path, typer.Argument(help="The space (docs/sweeps.md).", metavar="SPACE.toml")
    ],
    network: Annotated[
        list[str],
        typer.Option(help="A network (`accel networks`); repeatable.", metavar="NAME[=WEIGHT]"),
    ],
    store: Annotated[
        Path, typer.Option(help="Keeps the points; goes on where it was.", metavar="FILE.sqlite")
    ] = Path("sweep.sqlite"),
    objectives: ObjectivesOption = "cycles,energy_pj",
    search: Annotated[
        str, typer.Option(help="grid, random, latin, tpe or nsga2.", metavar="NAME")
    ] = "grid",
    trials: Annotated[
        int | None, typer.Option(help="Points to look at; a grid has all.", metavar="N")
    ] = None,
    skip: ModeOption = None,
    limit: LimitOption = 1,
    clock: ClockOption = None,
    node: NodeOption = "45nm",
    seed: SeedOption = 0,
    workers: Annotated[int, typer.Option(help="Processes that count.", metavar="N")] = 1,
    scheduler: Annotated[
        str | None, typer.Option(help="A Dask scheduler, whose workers count.", metavar="ADDRESS")
    ] = None,
    bounds: Annotated[
        bool, typer.Option("--bounds", help="Leave out what bounds prove to be dominated.")
    ] = False,
) -> None:
    """Count machines of a space on a network; again: go on.

    The mode that skips most is counted where --skip is left out.
    """
    from accel.api import load
    from accel.report.sweeps import study_report
    from accel.sweeps.api import sweep
    from accel.sweeps.space.space import Space

    described = Space.from_toml(space)
    with status("Loading"):
        networks = {load(name): weight for name, weight in map(_weighted, network)}
    modes = () if skip is None else read_modes(skip)
    with progress_bar(f"Sweeping {described.size} points") as advance:
        study = sweep(
            networks,
            described,
            (objectives or "").split(","),
            search,
            trials,
            store=store,
            images=limit,
            modes=modes,
            clock_mhz=clock,
            technology_node=node,
            seed=seed,
            workers=workers,
            scheduler=scheduler,
            bounds=bounds,
            progress=lambda each: advance(
                each.done, each.proposed, f"{each.kept_before} were kept"
            ),
        )
    show(*study_report(study))


@commands.command(
    name="show",
    epilog=examples(
        "accel sweep show sweep.sqlite",
        "accel sweep show sweep.sqlite --pareto cycles,luts --html page.html",
        "accel sweep show sweep.sqlite --pareto cycles,luts --synthesise-front",
        "accel sweep show sweep.sqlite --at-most luts=40000 --best 1",
    ),
)
def show_store(
    store: StoreArgument,
    pareto: ParetoOption = None,
    clock: ClockOption = None,
    at_most: Annotated[
        list[str] | None,
        typer.Option(help="Only points within a limit; repeatable.", metavar="NAME=VALUE"),
    ] = None,
    best: Annotated[
        int | None, typer.Option(help="Show, synthesise only so many.", metavar="N")
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="One page that needs no network.", metavar="FILE.html")
    ] = None,
    synthesise_front: Annotated[
        bool,
        typer.Option("--synthesise-front", help="Measure the cells of its machines, by yosys."),
    ] = False,
) -> None:
    """Show the Pareto front of a store, and why other points can't be."""
    check_outputs(html=html)
    from accel.report.sweeps import study_report
    from accel.sweeps.api import open_study

    limits = dict(map(_limit, at_most or []))
    if synthesise_front:
        from accel.sweeps import synthesis

        with progress_bar("Synthesising") as advance:
            study = synthesis.synthesise_front(store, _names(pareto), clock, advance, limits, best)
    else:
        study = open_study(store, _names(pareto), clock)
    everything = study.found
    if limits:
        study = study.narrowed(limits)
    if html is not None:
        from accel.report.page.sweeps import sweep_page

        command = ["accel", "sweep", "show", str(store), "--html", str(html)]
        command += [] if pareto is None else ["--pareto", pareto]
        command += [word for limit in at_most or [] for word in ("--at-most", limit)]
        command += [] if clock is None else ["--clock", f"{clock:g}"]
        write_whole(html, lambda: sweep_page(study, shlex.join(command)))
    if best is not None:
        study = study.narrowed({}, best)
    if str(html) != STANDARD_OUTPUT:
        show(*study_report(study, everything))


@commands.command(
    epilog=examples(
        "accel sweep export sweep.sqlite points.parquet",
        "accel sweep export sweep.sqlite points.log    # then: optuna-dashboard points.log",
    )
)
def export(
    store: StoreArgument,
    output: Annotated[
        Path,
        typer.Argument(help="A .csv or .parquet file, or an Optuna journal: .log.", metavar="FILE"),
    ],
    pareto: ParetoOption = None,
    clock: ClockOption = None,
) -> None:
    """Write all points of a store as a table."""
    check_writable(output)
    from accel.sweeps.api import open_study

    open_study(store, _names(pareto), clock).export(output)


def _names(text: str | None) -> list[str] | None:
    return None if text is None else text.split(",")


def _limit(text: str) -> tuple[str, float]:
    """Read ``NAME=VALUE``."""
    name, _, value = text.partition("=")
    try:
        return name, float(value)
    except ValueError:
        raise UserError(f"Limit must be NAME=VALUE with a number, not {text!r}") from None


def _weighted(text: str) -> tuple[str, float]:
    """Read ``NAME=WEIGHT``; a name alone weighs 1."""
    name, _, weight = text.rpartition("=")
    try:
        return (name, float(weight)) if name else (text, 1)
    except ValueError:  # a path with an equals sign
        return text, 1
