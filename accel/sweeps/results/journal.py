"""A sweep's points as an Optuna study, for Optuna's dashboard."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from accel.sweeps.results.study import Study

__all__ = ["write_journal"]


def write_journal(study: Study, path: Path) -> None:
    """Write points as trials of an Optuna study in a journal file.

    A point that is infeasible, failed, dominated or without an estimate is a trial that failed; its
    user attributes say why.

    Raises
    ------
    ImportError
        Optuna is not installed.
    OSError
        The file can't be written.
    """
    optuna: Any = importlib.import_module("optuna")
    backend: Any = importlib.import_module("optuna.storages.journal")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    points = [{"machine": x.point.machine, **x.point.config} for x in study.found]
    for found, point in zip(study.found, points, strict=True):
        if found.point.weight_density is not None:
            point["weight_density"] = found.point.weight_density
            point["weight_pattern"] = found.point.weight_pattern
    choices: dict[str, list[Any]] = {}
    for point in points:
        for name, value in point.items():
            known = choices.setdefault(name, [])
            if value not in known:
                known.append(value)
    varied = {
        name: optuna.distributions.CategoricalDistribution(sorted(known, key=_order))
        for name, known in choices.items()
        if len(known) > 1
    }
    states = optuna.trial.TrialState
    trials = []
    for found, point in zip(study.found, points, strict=True):
        is_known = found.figures is not None and None not in found.figures
        named = {name: value for name, value in point.items() if name in varied}
        trials.append(
            optuna.trial.create_trial(
                state=states.COMPLETE if is_known else states.FAIL,
                values=found.figures if is_known else None,
                params=named,
                distributions={name: varied[name] for name in named},
                user_attrs={"status": found.status, "message": found.message,
                            "key": found.rows[0].key},
            )
        )  # fmt: skip
    storage = optuna.storages.JournalStorage(backend.JournalFileBackend(str(path)))
    made = optuna.create_study(
        storage=storage,
        study_name="sweep",
        directions=["minimize" if x.smaller_is_better else "maximize" for x in study.objectives],
    )
    made.set_user_attr("objectives", [each.name for each in study.objectives])
    made.add_trials(trials)


def _order(value: Any) -> tuple[str, Any]:
    """Sort numbers by size, other values beside them."""
    return ("", value) if isinstance(value, (int, float)) else (type(value).__name__, value)
