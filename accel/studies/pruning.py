"""Networks trained, pruned and compared, and what they cost on a machine meanwhile and after."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from accel import api
from accel.activations.functional import quantise_images
from accel.machines.machine import Machine
from accel.results import csv_text
from accel.run import count_cycles
from accel.studies.data import DataOptions
from golden.errors import UserError
from golden.machines.cluster.config import SkipMode
from golden.network import Network

if TYPE_CHECKING:
    from accel.studies.study import Study
    from sw.training.methods.method import Method
    from sw.training.networks.definition import Definition
    from sw.training.pipeline import Outcome
    from sw.training.pruner.preflight import Preflight
    from sw.training.unrolled import Unrolled

__all__ = [
    "Measure",
    "StudyResult",
    "Training",
    "check_network",
    "find_study",
    "layer_cycles",
    "measure_both",
    "measure_on",
    "methods",
    "networks",
    "prune_network",
    "run_study",
    "studies",
    "total_cycles",
]

log = logging.getLogger(__name__)

#: Calibration images that a final network's cycles are the mean of.
MEASURED_IMAGES = 2
#: The same while searching.
SEARCH_IMAGES = 2

#: Returns figures of a final network by name.
Measure = Callable[["Network | Unrolled"], dict[str, float]]


def layer_cycles(
    machine: Machine, images: NDArray[np.float32]
) -> Callable[[Any], dict[str, float]]:
    """Return a function that counts a PyTorch model's cycles by layer, means of a few images.

    Parameters
    ----------
    images : ndarray of float32, axes n, c, y, x
    """
    import torch

    from sw.training.tensors import layer_tensors

    chosen = torch.from_numpy(images[:SEARCH_IMAGES])

    def cost(model: Any) -> dict[str, float]:
        counts = [count_cycles(machine, layer_tensors(model, image)) for image in chosen]
        return {name: sum(each[name] for each in counts) / len(counts) for name in counts[0]}

    return cost


def total_cycles(layers: Callable[[Any], dict[str, float]]) -> Callable[[Any], float]:
    """Return a function that adds up what ``layer_cycles`` counts."""
    return lambda model: sum(layers(model).values())


def measure_on(machine: Machine, images: NDArray[np.float32]) -> Measure:
    """Return a function that simulates a final network on a few calibration images.

    Of an unrolled network only the cycles of ``machine`` are counted.

    Parameters
    ----------
    machine : Machine
        One that has all skip modes.
    images : ndarray of float32, axes n, c, y, x
    """
    chosen = images[:MEASURED_IMAGES]

    def figures(cycles: dict[SkipMode, int]) -> dict[str, float]:
        both = cycles[SkipMode.BOTH]
        return {
            "cycles": both / len(chosen),
            "speed_up_over_dense": cycles[SkipMode.DENSE] / both,
            "speed_up_over_static": cycles[SkipMode.STATIC] / both,
            "speed_up_over_dynamic": cycles[SkipMode.DYNAMIC] / both,
        }

    def measure(network: Network | Unrolled) -> dict[str, float]:
        if not isinstance(network, Network):
            runs = [run for image in chosen for run in network.run(image)]
            modes = {mode: sum(count_cycles(machine, runs, mode).values()) for mode in SkipMode}
            return figures(modes)
        total = api.simulate(_loaded(network, chosen), machine, images=len(chosen)).total
        return {
            **figures({mode: timing.cycles for mode, timing in total.timings.items()}),
            "utilisation": total.utilisation(SkipMode.BOTH),
        }

    return measure


def measure_both(machine: Machine, images: NDArray[np.float32]) -> Measure:
    """Return what ``measure_on`` does, with the cycles of Cambricon-S where it has some."""
    measure_one = measure_on(machine, images)
    chosen = images[:MEASURED_IMAGES]

    def measure(network: Network | Unrolled) -> dict[str, float]:
        figures = measure_one(network)
        if isinstance(network, Network):
            run = api.simulate(_loaded(network, chosen), "cambricon-s", images=len(chosen))
            figures["cambricon_s_cycles"] = run.total.cycles / len(chosen)
        return figures

    return measure


def _loaded(network: Network, images: NDArray[np.float32]) -> api.LoadedNetwork:
    """Return a network with images of axes n, c, y, x."""
    return api.LoadedNetwork(network, quantise_images(network, images.transpose(0, 2, 3, 1)))


# -- whole runs -----------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Training:
    """How a network is trained and pruned: what ``sw.training.pipeline.prune`` takes.

    Raises
    ------
    UserError
        A number is out of range, or a model is no file.
    """

    seed: int = 1
    epochs: int = 3
    dense: Path | None = None
    dense_epochs: int | None = None
    teacher: Path | None = None
    temperature: float = 4.0
    mixing: float = 0.9
    name: str | None = None

    def __post_init__(self) -> None:
        if self.epochs < 0:
            raise UserError(f"Option --epochs must be at least 0, not {self.epochs}")
        if self.dense_epochs is not None and self.dense_epochs < 1:
            raise UserError(f"Option --dense-epochs must be at least 1, not {self.dense_epochs}")
        if self.name is not None and Path(self.name).name != self.name:
            raise UserError(f"Name must be that of a file, without a folder, not {self.name!r}")
        for path in (self.dense, self.teacher):
            if path is not None and not path.is_file():
                raise UserError(f"Model {path} must be a file")


def prune_network(
    network: str,
    method: str,
    options: Mapping[str, Any],
    machine: Machine,
    training: Training,
    *,
    data: DataOptions,
    output: Path | None = None,
    weights: Path | None = None,
    input_shape: tuple[int, ...] | None = None,
) -> tuple[Outcome, dict[str, float]]:
    """Train, prune and compress a network; return it with what it costs on a machine.

    The costs are left out, and the log says why, where the machine can't run it.

    Parameters
    ----------
    network, method : str
        Names of ``networks`` and ``methods``; or ``FILE.py:NAME``, a user's own network.
    options : dict of str to object
        Of the method.
    data : DataOptions
    output : path, optional
        Folder; ``build/pruned/NAME`` where None. A run that was interrupted goes on there.
    weights : path, optional
        Of a user's own network: a state dict.
    input_shape : tuple of int, axes c, y, x, optional
        Of the same; that of the data by default.

    Raises
    ------
    UserError
        A name, an option or a file is bad, or PyTorch is not installed.
    """
    _need_torch()
    from sw.training import methods, networks, pipeline
    from sw.training.networks.own import load_own

    own = _is_own(network, weights, input_shape)
    definition = None if own else networks.find(network)
    chosen = methods.make(method, dict(options))
    split = data.split(definition, input_shape)  # type: ignore[arg-type]
    if definition is None:
        definition = load_own(network, split.train.shape, weights=weights)
    definition = definition.with_classes(split.classes)
    layers = layer_cycles(machine, split.calibration)
    outcome = pipeline.prune(
        definition,
        chosen,
        split,
        output or Path("build/pruned") / (training.name or f"{definition.name}-{method}"),
        **{field.name: getattr(training, field.name) for field in fields(training)},
        cost=total_cycles(layers),
        layer_cost=layers,
        data_settings={**data.settings(), **({"weights": str(weights)} if weights else {})},
    )
    try:
        figures = measure_on(machine, split.calibration)(outcome.network)
    except UserError as error:
        # Hours of training are not lost to a machine that is too small.
        log.warning("cycles can't be counted: %s", error)
        figures = {}
    return outcome, figures


def _is_own(network: str, weights: Path | None, input_shape: tuple[int, ...] | None) -> bool:
    from sw.training.networks.own import is_own

    if is_own(network):
        return True
    for option, value in (("weights", weights), ("input-shape", input_shape)):
        if value is not None:
            raise UserError(
                f"Option --{option} must be left out for {network}, a network of --list"
            )
    return False


def check_network(
    network: str,
    machine: Machine,
    *,
    density: float | None = None,
    weights: Path | None = None,
    input_shape: tuple[int, ...] | None = None,
    data: DataOptions | None = None,
) -> Preflight:
    """Say in seconds what pruning a network would come to; nothing is trained.

    Parameters
    ----------
    network, weights, input_shape
        As ``prune_network`` takes them.
    density : float, optional
        Share of all weights that are to stay.
    data : DataOptions, optional
        Its images are the example where it names a folder; else noise is.

    Raises
    ------
    UserError
        A name or a file is bad, or the size of the inputs is not known.
    """
    _need_torch()
    import torch

    from sw.training import check, networks
    from sw.training.networks.own import load_own

    given = data is not None and data.folder is not None
    example = None
    if _is_own(network, weights, input_shape):
        if data is not None and given:
            split = data.split(None, input_shape)  # type: ignore[arg-type]
            example = torch.from_numpy(split.calibration[:2])
            input_shape = split.train.shape
        if input_shape is None:
            raise UserError(
                "Size of the inputs must be given by --input-shape 1,C,Y,X, or by --data"
            )
        definition = load_own(network, input_shape, weights=weights)
    else:
        definition = networks.find(network)
    if example is None:
        generator = torch.Generator().manual_seed(1)
        example = torch.rand((2, *definition.input_shape), generator=generator)

    def cycles(made: Network, images: NDArray[np.float32]) -> float:
        return api.simulate(_loaded(made, images[:1]), machine, images=1).total.cycles

    with torch.random.fork_rng(devices=()):
        torch.manual_seed(1)  # the same report each time
        model = definition.make()
    return check(model, example, density, cycles=cycles)


@dataclass(frozen=True, kw_only=True, eq=False)
class StudyResult:
    """A study with what was found.

    Parameters
    ----------
    study : accel.studies.study.Study
    machine : Machine
        Whose cycles they are.
    rows : list of dict
        A row a network and seed.
    """

    study: Study
    machine: Machine
    rows: list[dict[str, Any]]

    def summary(self) -> list[dict[str, Any]]:
        """Return means over seeds and their standard deviations, a row a network."""
        from accel.studies.study import summarise

        return summarise(self.rows, self.study.columns).to_dict("records")

    def to_csv(self) -> str:
        """Return ``rows`` as CSV text."""
        return csv_text(self.rows)

    def to_json(self) -> str:
        """Return all as JSON text."""
        document = {
            "study": self.study.name,
            "machine": self.machine.parameters(),
            "rows": self.rows,
        }
        return json.dumps(document, indent=1) + "\n"


def run_study(
    name: str,
    machine: Machine,
    *,
    data: DataOptions | None = None,
    output: Path | None = None,
    seeds: int = 3,
    scale: float = 1.0,
) -> StudyResult:
    """Train and prune several networks, and compare them.

    Parameters
    ----------
    name : str
        One of ``studies``.
    data, output
        As ``prune_network`` takes them; the folder is ``build/studies`` where None.
    seeds : int
        Times that everything is trained.
    scale : float
        Multiplies epochs.

    Raises
    ------
    UserError
        There is no such study, a number is out of range, or PyTorch is not installed.
    """
    study = find_study(name)
    if seeds < 1 or not scale > 0:
        raise UserError(f"Seeds must be at least 1 and scale above 0, not {seeds} and {scale}")
    data = data or DataOptions()
    split = data.split()
    from accel.studies.study import StudyTask

    layers = layer_cycles(machine, split.calibration)
    task = StudyTask(
        data=split,
        folder=output or Path("build/studies"),
        seeds=tuple(range(1, seeds + 1)),
        scale=scale,
        measure=measure_both(machine, split.calibration),
        cost=total_cycles(layers),
        layer_cost=layers,
        measure_on=lambda **changes: measure_on(
            type(machine)(machine.config.replace(**changes)), split.calibration
        ),
        data_settings=data.settings(),
    )
    return StudyResult(study=study, machine=machine, rows=study.rows(task))


def methods() -> Mapping[str, type[Method]]:
    """Return the methods of pruning by name."""
    _need_torch()
    from sw.training.methods import METHODS

    return METHODS


def networks() -> Mapping[str, Definition]:
    """Return the networks that can be trained, by name."""
    _need_torch()
    from sw.training.networks import DEFINITIONS

    return DEFINITIONS


def studies() -> Mapping[str, Study]:
    """Return the studies by name."""
    _need_torch()
    from accel.studies.training import STUDIES

    return STUDIES


def find_study(name: str) -> Study:
    """Return a study by its name.

    Raises
    ------
    UserError
        There is no such study.
    """
    _need_torch()
    from accel.studies import training as studies

    return studies.find(name)


def _need_torch() -> None:
    try:
        import torch  # noqa: F401
    except ImportError:
        raise UserError(
            "Training needs PyTorch, which is not installed: pip install 'innerjoin[train]'"
        ) from None
