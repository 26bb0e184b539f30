"""Whether pruning for the machine makes it faster at equal accuracy than pruning for weights."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from accel.studies.study import Plot, Study, StudyTask
from golden.errors import UserError
from golden.network import Network
from sw.training.methods import Method
from sw.training.methods.masking.balance import Balance
from sw.training.methods.masking.cycles import Cycles
from sw.training.methods.masking.magnitude import Magnitude
from sw.training.networks import Definition
from sw.training.networks.lenet import LENET_5
from sw.training.networks.resnet import RESNET_8
from sw.training.unrolled import Unrolled

__all__ = ["HARDWARE", "HARDWARE_RESNET_8"]

ROUNDS = 2
#: Epochs of a round.
EPOCHS = 2


def _methods(
    densities: tuple[float, ...], budgets: tuple[float, ...]
) -> list[tuple[str, float, Method]]:
    """Return series, setting and method; by weights and by cycles meet the same cycles."""
    found: list[tuple[str, float, Method]] = []
    for share in densities:
        found += [
            ("magnitude global", share, Magnitude(density=share, rounds=ROUNDS)),
            (
                "magnitude uniform",
                share,
                Magnitude(density=share, spread="uniform", rounds=ROUNDS),
            ),
            ("balance filter", share, Balance(density=share, per="filter", rounds=ROUNDS)),
            ("balance chunk", share, Balance(density=share, per="chunk", rounds=ROUNDS)),
        ]
    for share in budgets:
        found += [
            (f"cycles by {by}", share, Cycles(budget=share, by=by, images=500, rounds=ROUNDS))
            for by in ("weights", "cycles")
        ]
    return found


def rows(
    task: StudyTask,
    *,
    definition: Definition,
    densities: tuple[float, ...],
    budgets: tuple[float, ...],
) -> list[dict[str, Any]]:
    """Return the rows of one network.

    Parameters
    ----------
    densities : tuple of float
        Of magnitude and balance.
    budgets : tuple of float
        Of method cycles: shares of the dense network's cycles.
    """
    if task.measure_on is None:
        raise UserError("Study hardware must be given measure_on, not None")
    unsorted = task.measure_on(balance="none")

    def also(network: Network | Unrolled) -> dict[str, float]:
        figures = unsorted(network)
        return {f"{name}_unsorted": figures[name] for name in ("cycles", "utilisation")}

    found = []
    for seed in task.seeds:
        model = task.dense(definition, seed)
        row = task.row(definition, model, seed, "dense", also)
        found.append(row | {"series": f"{definition.name} dense"})
        for series, share, method in _methods(densities, budgets):
            label = f"{series} {share:g}"
            _, row = task.prune(definition, method, seed, label, epochs=EPOCHS, also=also)
            found.append(row | {"series": f"{definition.name} {series}"})
    return found


HARDWARE = Study(
    name="hardware",
    question="Does pruning LeNet-5 for the machine buy speed at equal accuracy?",
    rows=partial(rows, definition=LENET_5, densities=(0.2, 0.1), budgets=(0.4,)),
    columns=(
        "accuracy",
        "nonzero_weights",
        "cycles",
        "utilisation",
        "cycles_unsorted",
        "utilisation_unsorted",
    ),
    plots=(
        Plot(x="cycles", y="accuracy", series="series"),
        Plot(x="nonzero_weights", y="accuracy", series="series"),
    ),
    notes=(
        "'cycles by weights' and 'cycles by cycles' differ in nothing but what is weighed against "
        "the loss; the number is the share of the dense network's cycles, as estimated before "
        "retraining. For the others it is the density. Compare balance with magnitude uniform. "
        "Unsorted: the same machine with balance = none."
    ),
)
HARDWARE_RESNET_8 = replace(
    HARDWARE,
    name="hardware-resnet8",
    question="Does pruning ResNet-8 for the machine buy speed at equal accuracy?",
    rows=partial(rows, definition=RESNET_8, densities=(0.2,), budgets=(0.4,)),
)
