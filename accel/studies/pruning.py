"""What pruned networks cost on a machine: while they are searched for, and when they are done."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from accel import api
from accel.functional import quantise_images
from accel.machines.machine import Machine
from accel.run import count_cycles
from golden.machines.cluster.config import SkipMode
from golden.network import Network

if TYPE_CHECKING:
    from sw.training.data import Split
    from sw.training.studies.study import StudyTask
    from sw.training.unrolled import Unrolled

__all__ = ["Measure", "layer_cycles", "measure_both", "measure_on", "study_task", "total_cycles"]

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


def study_task(
    machine: Machine,
    data: Split,
    *,
    folder: Path,
    seeds: int,
    scale: float,
    images: int | None,
) -> StudyTask:
    """Return what a study of ``sw.training.studies`` is given, its cycles those of a machine.

    Parameters
    ----------
    seeds : int
        Seeds 1 to this one.
    images : int, optional
        Training images that ``data`` was cut to.
    """
    from sw.training.studies.study import StudyTask

    layers = layer_cycles(machine, data.calibration)
    return StudyTask(
        data=data,
        folder=folder,
        seeds=tuple(range(1, seeds + 1)),
        scale=scale,
        measure=measure_both(machine, data.calibration),
        cost=total_cycles(layers),
        layer_cost=layers,
        measure_on=lambda **changes: measure_on(
            type(machine)(machine.config.replace(**changes)), data.calibration
        ),
        images=images,
    )
