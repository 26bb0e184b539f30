"""Pruning, trained quantisation and Huffman coding, one after the other (Han et al., ICLR 2016)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from accel.studies.study import Plot, Study, StudyTask
from sw.coding.codebook import CodebookOptions
from sw.coding.sources import int8_layers
from sw.coding.stages import FLOAT_BITS, LayerStages, measure, total
from sw.training.codebooks import RATE, fingerprint, train_codebooks
from sw.training.loop.objective import accuracy
from sw.training.methods import Magnitude
from sw.training.networks import LENET_5, LENET_300_100, Definition

__all__ = ["DEEP_COMPRESSION"]

#: Share of weights that stay (the paper: 8 % of both), in so many rounds.
DENSITY, ROUNDS = 0.08, 4
#: Epochs of retraining after a round.
EPOCHS: Mapping[Definition, int] = {LENET_300_100: 5, LENET_5: 4}
#: Bits of codes in convolutions and in fully connected layers; the first as in the paper.
BITS: Mapping[Definition, tuple[tuple[int, int], ...]] = {
    LENET_300_100: ((6, 6), (5, 5), (4, 4)),
    LENET_5: ((8, 5), (5, 4)),
}
#: Epochs of training a codebook.
TUNING_EPOCHS = 2
#: Bits of a relative index.
INDEX_BITS = 5


def _rows(task: StudyTask) -> list[dict[str, Any]]:
    return [
        row
        for definition in EPOCHS
        for seed in task.seeds
        for row in _rows_of(task, definition, seed)
    ]


def _rows_of(task: StudyTask, definition: Definition, seed: int) -> list[dict[str, Any]]:
    dense = task.dense(definition, seed)
    before = accuracy(dense, task.data.test)
    method = Magnitude(density=DENSITY, rounds=ROUNDS)
    epochs = EPOCHS[definition]
    model, pruned = task.prune(
        definition, method, seed, f"magnitude-{DENSITY}-{ROUNDS}", epochs=epochs, model=dense
    )

    def row(label: str, score: float, bits: int, weights: int, **more: Any) -> dict[str, Any]:
        return {
            "network": definition.name,
            "label": label,
            "seed": seed,
            "accuracy": score,
            "lost_points": 100 * (before - score),
            "size_percent": 100 * bits / (FLOAT_BITS * weights),
            "times_smaller": FLOAT_BITS * weights / bits,
            "weights": weights,
            **more,
        }

    found: list[dict[str, Any]] = []
    for bits in BITS[definition]:
        name = f"{definition.name}-codebook-{bits[0]}-{bits[1]}"
        epochs = task.epochs(TUNING_EPOCHS)
        trained = train_codebooks(
            model,
            CodebookOptions(convolution_bits=bits[0], connected_bits=bits[1]),
            task.data,
            task.session(name, seed, epochs=epochs, rate=RATE, model=fingerprint(model)),
            epochs=epochs,
            name=name,
            source=f"{definition.name}, pruned by {method.name}",
        )
        layers = [measure(layer, INDEX_BITS) for layer in trained.layers]
        sums, scores = total(layers), trained.accuracy
        weights = sums.weights
        if not found:
            found.append(row("dense", before, FLOAT_BITS * weights, weights))
            found.append(pruned | row("P", pruned["accuracy"], sums.pruned_bits, weights))
        tag = "{}, {}".format(*bits)
        for stage, score, size in (
            ("P+Q, not trained", scores["codebook"], sums.quantised_bits),
            ("P+Q", scores["fine-tuned"], sums.quantised_bits),
            ("P+Q+H", scores["fine-tuned"], sums.coded_bits),
        ):
            found.append(row(f"{stage}: {tag}", score, size, **_details(sums)))
        found += [
            row(f"{layer.name}: {tag}", scores["fine-tuned"], layer.coded_bits, **_details(layer))
            for layer in layers
        ]
        machine = total([measure(layer, INDEX_BITS) for layer in int8_layers(trained.network)])
        figures = task.measure(trained.network)
        found.append(row(f"int8 of {tag}", scores["int8"], machine.coded_bits, weights, **figures))
    return found


def _details(layer: LayerStages) -> dict[str, Any]:
    """Return the other columns of the paper's tables 2 and 3."""
    return {
        "weights": layer.weights,
        "kept_percent": 100 * layer.kept / layer.weights,
        "weight_bits": layer.code_bits,
        "weight_bits_h": layer.code_word_bits,
        "index_bits_h": layer.index_word_bits,
        "p_percent": 100 * layer.pruned_bits / layer.float_bits,
        "pq_percent": 100 * layer.quantised_bits / layer.float_bits,
    }


DEEP_COMPRESSION = Study(
    name="deep-compression",
    question="How small do pruning, trained codebooks and Huffman codes make LeNets?",
    rows=_rows,
    columns=("accuracy", "lost_points", "kept_percent", "size_percent", "times_smaller", "cycles"),
    plots=(Plot(x="times_smaller", y="accuracy", series="network"),),
    notes=(
        "Sizes are of 32-bit weights. Rows that name a layer have its size and the network's "
        "accuracy. The paper has MNIST, this study Fashion-MNIST."
    ),
)
