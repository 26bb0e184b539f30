"""What a study is, and what it is given."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from golden.network import Network
from sw.training import masks, pipeline
from sw.training.cost import Cost, LayerCost, macs
from sw.training.data.batches import Split
from sw.training.loop.objective import accuracy
from sw.training.loop.session import Session
from sw.training.methods import Method, Task
from sw.training.networks import Definition
from sw.training.unrolled import Unrolled

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Measure", "Plot", "Study", "StudyTask"]

#: Figures of a network on a machine, by name: cycles, speed-ups.
Measure = Callable[[Network | Unrolled], dict[str, float]]


@dataclass(frozen=True, kw_only=True, eq=False)
class StudyTask:
    """Data, places and means of a study.

    Parameters
    ----------
    data : Split
    folder : Path
        For checkpoints: an interrupted study goes on.
    seeds : tuple of int
        Every network is trained once for each.
    scale : float
        Multiplies every number of epochs; below 1 for a quick look.
    measure : function
        Figures of a final network on the machine.
    cost : function
        Cycles of a model while it is searched for.
    layer_cost : function, optional
        The same by layer.
    measure_on : function, optional
        Of changes to the machine, as keyword arguments: ``measure`` for the changed machine.
    data_settings : mapping, optional
        How ``data`` were made, as JSON.
    """

    data: Split
    folder: Path
    seeds: tuple[int, ...]
    measure: Measure
    cost: Cost
    scale: float = 1.0
    data_settings: Mapping[str, Any] = field(default_factory=dict)
    layer_cost: LayerCost | None = None
    measure_on: Callable[..., Measure] | None = None

    def epochs(self, wanted: float) -> int:
        """Return a number of epochs, scaled; one at least."""
        return max(1, round(wanted * self.scale))

    def dense(self, definition: Definition, seed: int, epochs: int | None = None) -> nn.Module:
        """Return a network trained dense for this seed, shared by all studies in the folder."""
        pipeline.check_data(definition, self.data)
        pipeline.start(seed)
        count = self.epochs(definition.recipe.epochs if epochs is None else epochs)
        session = self.session(f"dense-{definition.name}-{count}", seed)
        return pipeline.train_dense(definition, session, count)

    def session(self, name: str, seed: int, **settings: Any) -> Session:
        """Return a session with a folder of its own."""
        return Session(
            self.data.train,
            self.data.validation,
            self.folder / name / f"seed-{seed}",
            seed=seed,
            settings={**self.data_settings, **settings},
        )

    def prune(
        self,
        definition: Definition,
        method: Method,
        seed: int,
        label: str,
        *,
        epochs: float,
        model: nn.Module | None = None,
        also: Measure | None = None,
        **session: Any,
    ) -> tuple[nn.Module, dict[str, Any]]:
        """Prune a network, the dense one unless a model is given, and return it with its row.

        Parameters
        ----------
        label : str
            Names the row and the folder; one of a study for each setting.
        epochs : float
            Of retraining after a step of pruning, before scaling.
        also : function, optional
            Of the final network in int8: more figures for the row.
        session : keyword arguments
            Set on the session, a teacher for example.
        """
        if model is None:
            model = self.dense(definition, seed)
        count = self.epochs(epochs)
        own = self.session(
            f"{definition.name}-{label}",
            seed,
            method=method.name,
            options=dataclasses.asdict(method),  # type: ignore[call-overload]
            recipe=dataclasses.asdict(definition.recipe),
            epochs=count,
        )
        for key, value in session.items():
            setattr(own, key, value)
        pipeline.start(seed)
        task = Task(
            session=own,
            recipe=definition.recipe,
            input_shape=definition.input_shape,
            epochs=count,
            definition=definition,
            cost=self.cost,
            layer_cost=self.layer_cost,
        )
        model = method.prune(model, task)
        return model, self.row(definition, model, seed, label, also)

    def row(
        self,
        definition: Definition,
        model: nn.Module,
        seed: int,
        label: str,
        also: Measure | None = None,
    ) -> dict[str, Any]:
        """Return what is stated of every final network: accuracy on test data, sizes, cycles."""
        name = f"{definition.name}-{label}"
        network = pipeline.quantise(definition, model, self.data, name, "a study")
        weights = [masks.weight(layer) for layer in masks.layers(model).values()]
        return {
            "network": definition.name,
            "label": label,
            "seed": seed,
            "accuracy": accuracy(model, self.data.test),
            "density": masks.density(model),
            "weights": sum(each.numel() for each in weights),
            "nonzero_weights": sum(int(each.count_nonzero()) for each in weights),
            "macs": macs(model, definition.input_shape),
            **self.measure(network),
            **(also(network) if also else {}),
        }


@dataclass(frozen=True, kw_only=True)
class Plot:
    """Columns of a study's rows for a plot: a line of means over seeds for each ``series``."""

    x: str
    y: str
    series: str


@dataclass(frozen=True, kw_only=True)
class Study:
    """A question, and how it is answered.

    Parameters
    ----------
    rows : function
        Returns a flat row for every final network and seed. A key ``label`` or ``series``
        names what was done.
    columns : tuple of str
        Those that the table shows, means over seeds with their spread.
    plots : tuple of Plot
    notes : str
        What the reader must know: what the papers did otherwise.
    """

    name: str
    question: str
    rows: Callable[[StudyTask], list[dict[str, Any]]]
    columns: tuple[str, ...]
    plots: tuple[Plot, ...] = ()
    notes: str = ""


def summarise(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> pd.DataFrame:
    """Return means and, over several seeds, standard deviations by network and label.

    Columns are ``network``, ``label``, ``seeds``, and each of ``columns`` with ``NAME_std``.
    """
    import pandas as pd

    frame: Any = pd.DataFrame(rows)
    groups = frame.groupby(["network", "label"], sort=False)
    result = groups.size().rename("seeds").to_frame()
    for column in columns:
        result[column] = groups[column].mean()
        result[f"{column}_std"] = groups[column].std()
    return result.reset_index()
