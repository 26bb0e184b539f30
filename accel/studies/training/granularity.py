"""Grains of pruning: accuracy, storage and cycles from single weights to whole filters."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import mean
from typing import Any

from torch import nn

from accel.studies.study import Plot, Study, StudyTask
from sw.coding.formats import block_bits
from sw.training import masks
from sw.training.methods.masking.coarse import Coarse, blocks_of, weights_krsc
from sw.training.networks import find

__all__ = ["GRANULARITY", "at_accuracy", "equal_accuracy", "index_row"]

NETWORK = "vgg-small"
EPOCHS = 2
VALUE_BITS = 8

#: Series of the plots: block, score, densities. Of equal blocks sum and average rank the same;
#: single weights go below the others, so that equal accuracies can be found.
_GRAINS = {
    "fine": ("fine", "sum", (0.4, 0.2, 0.1, 0.05)),
    "vector": ("vector", "sum", (0.2, 0.1)),
    "kernel": ("kernel", "sum", (0.4, 0.2, 0.1)),
    "block average": ("1,16,1,1", "average", (0.4, 0.2, 0.1)),
    "block max": ("1,16,1,1", "max", (0.2, 0.1)),
    "filter": ("filter", "sum", (0.4, 0.2)),
}
#: What the table shows beside accuracy, and what is read off a curve.
_COLUMNS = (
    "density",
    "index_bits",
    "storage_bits",
    "cycles",
    "speed_up_over_dense",
    "cambricon_s_cycles",
)


def _rows(task: StudyTask) -> list[dict[str, Any]]:
    definition = find(NETWORK)
    found = []
    for seed in task.seeds:
        dense = task.dense(definition, seed)
        # The first layer sees one channel and the last one's filters are the classes.
        first, *_, last = masks.layers(dense)
        row = task.row(definition, dense, seed, "dense")
        found.append({**row, "grain": "dense", **index_row(dense, Coarse(block="fine"))})
        for grain, (block, by, densities) in _GRAINS.items():
            for density in densities:
                method = Coarse(
                    density=density,
                    densities={first: 1.0, last: 1.0},
                    block=block,
                    by=by,
                    rounds=1,
                )
                label = f"{grain} {density}"
                model, row = task.prune(
                    definition, method, seed, f"grain-{label.replace(' ', '-')}", epochs=EPOCHS
                )
                row |= {"label": label, "grain": grain, **index_row(model, method)}
                found.append(row)
    return found + equal_accuracy(found)


def index_row(model: nn.Module, method: Coarse) -> dict[str, int]:
    """Return the bits of a model's weights with an index for each block, and of the indices.

    Each layer takes the format of ``sw.coding.formats.block_bits`` that is smallest for it.
    """
    index = values = 0
    for layer in masks.layers(model).values():
        weights = weights_krsc(layer)
        bits = block_bits(weights != 0, VALUE_BITS, blocks_of(layer, method.size))
        index += bits.least
        values += bits.value_bits
    return {"index_bits": index, "storage_bits": values + index}


def at_accuracy(
    curve: Sequence[dict[str, Any]], accuracy: float, columns: Sequence[str]
) -> dict[str, float] | None:
    """Return what a curve has where it first reaches an accuracy, linear between its points.

    Parameters
    ----------
    curve : sequence of dict
        Points with a ``density``, an ``accuracy`` and ``columns``, in any order; it is walked
        from the lowest density on.

    Returns
    -------
    dict of str to float, or None
        None where the lowest density is above the accuracy already, or none reaches it.
    """
    points = sorted(curve, key=lambda point: point["density"])
    if not points or points[0]["accuracy"] > accuracy:
        return None
    if points[0]["accuracy"] == accuracy:
        return {name: points[0][name] for name in columns}
    for low, high in pairwise(points):
        if high["accuracy"] >= accuracy:
            share = (accuracy - low["accuracy"]) / (high["accuracy"] - low["accuracy"])
            return {name: low[name] + share * (high[name] - low[name]) for name in columns}
    return None


def equal_accuracy(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what single weights take at the mean accuracies of blocks by average.

    Parameters
    ----------
    rows : list of dict
        Rows of the study, a seed each.

    Returns
    -------
    list of dict
        A row for each density of ``block average`` that ``at_accuracy`` finds. Keys that it does
        not state are None: seed and grain too, so that no plot has it.
    """
    columns = [name for name in _COLUMNS if name in rows[0]]

    def curve(grain: str) -> dict[str, dict[str, Any]]:
        labels = dict.fromkeys(row["label"] for row in rows if row["grain"] == grain)
        of = {label: [row for row in rows if row["label"] == label] for label in labels}
        return {
            label: {name: mean(row[name] for row in own) for name in ("accuracy", *columns)}
            for label, own in of.items()
        }

    fine = list(curve("fine").values())
    found = []
    for label, point in curve("block average").items():
        read = at_accuracy(fine, point["accuracy"], columns)
        if read is not None:
            stated = {"network": rows[0]["network"], "label": f"fine, as accurate as {label}"}
            stated["accuracy"] = point["accuracy"]
            found.append({**dict.fromkeys(rows[0]), **stated, **read})
    return found


GRANULARITY = Study(
    name="granularity",
    question="What does a coarser grain of pruning cost in accuracy, and save in index and cycles?",
    rows=_rows,
    columns=("accuracy", *_COLUMNS),
    plots=(
        Plot(x="density", y="accuracy", series="grain"),
        Plot(x="storage_bits", y="accuracy", series="grain"),
        Plot(x="cycles", y="accuracy", series="grain"),
        Plot(x="cambricon_s_cycles", y="accuracy", series="grain"),
    ),
    notes=(
        "One round of pruning, the first and last layers whole. Storage: 8 bits a weight of a kept "
        "block, and for each layer the smallest of no index, a bit a block, and runs of 4 or 5 "
        "bits. Cycles of Cambricon-S: the paper's machine, 16 PEs x 16 multipliers. Rows 'fine, as "
        "accurate as ...' are read off the line of means of 'fine'."
    ),
)
