"""Whether pruning for the machine makes it faster at equal accuracy than pruning for weights."""

from __future__ import annotations

from typing import Any

from golden.errors import UserError
from golden.network import Network
from sw.training.methods import Method
from sw.training.methods.balance import Balance
from sw.training.methods.cycles import Cycles
from sw.training.methods.magnitude import Magnitude
from sw.training.networks import Definition
from sw.training.networks.lenet import LENET_5
from sw.training.studies.study import Plot, Study, StudyTask
from sw.training.unrolled import Unrolled

__all__ = ["HARDWARE"]

ROUNDS = 2
#: Epochs of a round, densities of magnitude and balance, budgets of cycles: shares of the dense.
CASES: tuple[tuple[Definition, float, tuple[float, ...], tuple[float, ...]], ...] = (
    (LENET_5, 2, (0.2, 0.1), (0.4,)),
)


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


def _rows(task: StudyTask) -> list[dict[str, Any]]:
    if task.measure_on is None:
        raise UserError("Study hardware must be given measure_on, not None")
    unsorted = task.measure_on(balance="none")

    def also(network: Network | Unrolled) -> dict[str, float]:
        figures = unsorted(network)
        return {f"{name}_unsorted": figures[name] for name in ("cycles", "utilisation")}

    rows = []
    for definition, epochs, densities, budgets in CASES:
        for seed in task.seeds:
            model = task.dense(definition, seed)
            row = task.row(definition, model, seed, "dense", also)
            rows.append(row | {"series": f"{definition.name} dense"})
            for series, share, method in _methods(densities, budgets):
                label = f"{series} {share:g}"
                _, row = task.prune(definition, method, seed, label, epochs=epochs, also=also)
                rows.append(row | {"series": f"{definition.name} {series}"})
    return rows


HARDWARE = Study(
    name="hardware",
    question="Does pruning for the machine buy speed at equal accuracy?",
    rows=_rows,
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
