"""The public functions of sweeps: ``sweep`` and ``evaluate``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import lru_cache
from typing import Any

from accel.costs.energy import EnergyTable
from accel.loading import LoadedNetwork, load_if_named
from accel.results import Timing
from accel.sweeps.bounds import check_bounded
from accel.sweeps.engine.blocks import Engine
from accel.sweeps.engine.dask import DaskEngine
from accel.sweeps.engine.local import LocalEngine
from accel.sweeps.engine.network import SweptNetwork
from accel.sweeps.engine.outcome import INFEASIBLE, OK
from accel.sweeps.results.objectives import find_objectives
from accel.sweeps.results.store import Store
from accel.sweeps.results.study import Study, found_points
from accel.sweeps.running import Progress, Sweeping
from accel.sweeps.search import make_search
from accel.sweeps.space.point import Point
from accel.sweeps.space.space import Space
from golden.config import TomlConfig
from golden.errors import ConfigError, UserError
from golden.machines import registry
from golden.machines.cluster.config import SkipMode

__all__ = ["Progress", "evaluate", "open_study", "sweep"]

#: Processes of one machine.
_WORKERS_MAX = 1024


def sweep(
    net: Any,
    space: Space | Mapping[str, Any] | Iterable[Mapping[str, Any]],
    objectives: Sequence[str] = ("cycles",),
    search: str = "grid",
    trials: int | None = None,
    *,
    store: str | os.PathLike[str] | Store = ":memory:",
    images: int = 1,
    modes: Sequence[SkipMode | str] | None = (),
    clock_mhz: float | None = None,
    technology_node: str = "45nm",
    seed: int = 0,
    workers: int = 1,
    scheduler: str | None = None,
    bounds: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> Study:
    """Count machines of a space on a network, and keep what was counted.

    Every figure is exact: it is that of ``accel.simulate`` on the same machine. A sweep that was
    stopped goes on where it was, when it is called again with the same store.

    Parameters
    ----------
    net : str, LoadedNetwork, a sequence of them, or a dict of them to weights
        With several networks an objective is the weighted sum (images a second: the weighted
        mean rate).
    space : Space, dict or list of dict
        As ``docs/sweeps.md`` says.
    objectives : sequence of str
        Of ``accel.sweeps.results.objectives.OBJECTIVES``.
    search : str
        ``grid``, ``random``, ``latin``, ``tpe`` or ``nsga2``.
    trials : int, optional
        Points to look at; a grid is looked at as a whole.
    store : path or Store
        An SQLite file that keeps the points; only memory by default.
    images : int
        How many of a network's images are run.
    modes : sequence of SkipMode, optional
        Skip modes to count in; the one that skips most where it is empty, all where it is None.
    clock_mhz : float, optional
        For images a second.
    technology_node : str
        Of the energies: ``45nm`` or ``7nm``.
    seed : int
        Of the search's random numbers.
    workers : int
        Processes that count; this one alone where it is 1.
    scheduler : str, optional
        Address of a Dask scheduler, whose workers count instead.
    bounds : bool
        Leave out points that lower bounds of their cycles prove to be dominated; the front is
        exact. Their rows say so.
    progress : function of Progress, optional

    Raises
    ------
    UserError
        Something of this is bad, or the store can't be used.
    """
    chosen = find_objectives(list(objectives), clock_mhz)
    space = space if isinstance(space, Space) else Space(space)
    if bounds:
        check_bounded(chosen, search)
    way = make_search(search, space, trials, seed, chosen)
    networks = _networks(net, images, modes, technology_node)
    described = {
        "space": space.to_dict(),
        "networks": {each.name: each.weight for each in networks},
        "network_digests": [each.content for each in networks],
        "objectives": list(objectives),
        "clock_mhz": clock_mhz,
        "search": search,
        "trials": trials,
        "seed": seed,
        "images": images,
        "technology_node": technology_node,
        "bounds": bounds,
    }
    with ExitStack() as stack:
        engine = _engine(scheduler, workers)
        stack.callback(engine.close)
        if not isinstance(store, Store):
            store = stack.enter_context(Store(store))
        store.describe(described)
        run = Sweeping(store, engine, networks, chosen, clock_mhz, bounds, progress)
        return replace(run.run(way), described=described)


def open_study(
    store: str | os.PathLike[str],
    objectives: Sequence[str] | None = None,
    clock_mhz: float | None = None,
) -> Study:
    """Return the points of a store on the networks of its last sweep, while it may go on.

    Parameters
    ----------
    objectives : sequence of str, optional
        Those of the last sweep by default.

    Raises
    ------
    UserError
        The store can't be used, holds no sweep, or an objective is bad.
    """
    with Store(store, write=False) as opened:
        sweeps, rows = opened.sweeps(), list(opened.rows().values())
    if not sweeps:
        raise UserError(f"Store {os.fspath(store)} must hold a sweep, not none")
    last = sweeps[-1]
    clock_mhz = clock_mhz or last["clock_mhz"]
    chosen = find_objectives(objectives or last["objectives"], clock_mhz)
    networks = dict(zip(last["network_digests"], last["networks"].values(), strict=True))
    asked = [
        row
        for row in rows
        if row.images == last["images"] and row.technology_node == last["technology_node"]
    ]
    found = found_points(asked, networks, chosen, clock_mhz)
    return Study(objectives=tuple(chosen), found=tuple(found), described=last)


def evaluate(
    config: TomlConfig | Mapping[str, Any],
    net: Any,
    *,
    machine: str | None = None,
    images: int = 1,
    mode: SkipMode | str | None = None,
    technology_node: str = "45nm",
) -> Timing:
    """Count one machine, for a search of one's own: sums over a network's layers.

    What a network's machines share stays in memory between calls.

    Parameters
    ----------
    config : TomlConfig, or dict of str to object
        A configuration; a dict has the fields that differ from the machine's own preset.
    net : str or LoadedNetwork
    machine : str, optional
        A name of ``accel machines``; by default what the configuration says.
    mode : SkipMode, optional
        The one that skips most by default.

    Raises
    ------
    ConfigError
        Such a machine can't be, or a layer does not fit it.
    UserError
        There is no such network or mode.
    """
    if isinstance(config, TomlConfig):
        point = Point.of(config, machine or registry.kind_of(config))
    else:
        name = machine or registry.DEFAULT
        kind = registry.find(name)
        preset = kind.load_config().preset(kind.load_model().preset)
        point = Point.of(preset.replace(**config), name)
    network = _network(net, images, () if mode is None else (_mode(mode),), technology_node)
    outcome = network.evaluator.evaluate([point])[0]
    if outcome.status == INFEASIBLE:
        raise ConfigError(outcome.message)
    if outcome.status != OK:
        raise UserError(f"Machine could not be counted: {outcome.message}")
    return list(outcome.timings.values())[-1]


def _networks(
    net: Any, images: int, modes: Sequence[SkipMode | str] | None, technology_node: str
) -> list[SweptNetwork]:
    if isinstance(net, (str, LoadedNetwork)):
        weighted: dict[Any, float] = {net: 1}
    elif isinstance(net, Mapping):
        weighted = dict(net)
    else:
        weighted = dict.fromkeys(net, 1)
    if not weighted:
        raise UserError("Networks must be at least 1, not none")
    for weight in weighted.values():
        if type(weight) not in (int, float) or not 0 < weight < float("inf"):
            raise UserError(f"Weight of a network must be a number above 0, not {weight!r}")
    chosen = None if modes is None else tuple(map(_mode, modes))
    if type(images) is not int or images < 1:
        raise UserError(f"Images must be at least 1, not {images!r}")
    found = [
        replace(_network(each, images, chosen, technology_node), weight=weight)
        for each, weight in weighted.items()
    ]
    if len({each.name for each in found}) < len(found):
        raise UserError("Networks of a sweep must have different names")
    return found


def _mode(name: SkipMode | str) -> SkipMode:
    if name not in list(SkipMode):
        accepted = ", ".join(mode.value for mode in SkipMode)
        raise UserError(f"Skip mode must be one of {accepted}, not {str(name)!r}")
    return SkipMode(name)


@lru_cache(maxsize=4)
def _network(
    net: str | LoadedNetwork, images: int, modes: tuple[SkipMode, ...] | None, node: str
) -> SweptNetwork:
    loaded = load_if_named(net)
    network, codes = loaded.network, loaded.images[:images]
    if not network.convolutions:
        raise UserError(f"Network {network.name} must have a convolution or linear layer")
    EnergyTable.load(node)  # refuses a node that it has not
    return SweptNetwork(network=network, images=codes, modes=modes, technology_node=node)


def _engine(scheduler: str | None, workers: int) -> Engine:
    if type(workers) is not int or not 1 <= workers <= _WORKERS_MAX:
        raise UserError(f"Workers must be between 1 and {_WORKERS_MAX}, not {workers!r}")
    if scheduler is None and workers == 1:
        return LocalEngine()
    return DaskEngine(scheduler, workers)
