"""Reports of studies: papers' figures, matrix products, coded sizes, pruned networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from accel.report.table import Column, Kind, Table, figure
from accel.report.tables import Item
from golden.counters import UNIT_COUNTERS

if TYPE_CHECKING:
    from accel.studies.coding import Sizes
    from accel.studies.matrix import CheckedProduct
    from accel.studies.pruning import StudyResult
    from accel.studies.reproduce import Finding
    from sw.coding.stages import LayerStages

__all__ = [
    "findings_report",
    "preflight_report",
    "product_report",
    "pruning_report",
    "sizes_report",
    "study_report",
]


def findings_report(paper: str, findings: Sequence[Finding]) -> list[Item]:
    """Return a paper's figures beside those found here, and why they differ."""
    table = Table(
        f"Reproducing {paper}",
        [
            Column("", Kind.NAME),
            Column("what", Kind.TEXT),
            *map(figure, ("paper", "ours", "ours /\npaper")),
        ],
    )
    notes = []
    for number, finding in enumerate(findings, 1):
        claim = finding.claim
        both = (f"{x:,.0f}" if x >= 1000 else f"{x:.2f}" for x in (claim.figure, finding.ours))
        table.add(number, claim.what, *both, f"{finding.ratio:.2f}")
        notes.append(f"{number}. {claim.source}. {claim.differs}".rstrip() + ".")
    return [table, *notes]


# -- matrices -------------------------------------------------------------------------------


def product_report(product: CheckedProduct) -> list[Item]:
    """Return what ran, what was counted, and whether the result is SciPy's."""
    run, counters, config = product.run, product.run.counters, product.config
    described = ", ".join(
        f"{name} {matrix.shape[0]} x {matrix.shape[1]}"
        + (" dense" if isinstance(matrix, np.ndarray) else f" with {matrix.nnz} non-zeros")
        for name, matrix in product.operands.items()
    )
    bound = ""
    if product.dram_bytes_per_cycle is not None:
        who = "DRAM" if run.cycles > counters.cycles else "processing elements"
        bound = f"bound by {who} at {product.dram_bytes_per_cycle:g} bytes a cycle"
    table = Table("", [Column("counter", Kind.TEXT), figure(""), Column("", Kind.TEXT)])
    for row in (
        ("cycles", run.cycles, bound),
        ("cycles of the slowest element", counters.cycles, ""),
        ("tile decisions", counters.pe("tile_decisions").sum(), ""),
        ("tile pairs", counters.pe("tile_pairs").sum(), "tiles with a coordinate in common"),
        ("fibre pairs", counters.pe("fibre_pairs").sum(), "a row with a column in a tile pair"),
        ("decisions", run.decisions, "on scalars"),
        ("matches", run.matches, "multiplications"),
        ("utilisation %", f"{100 * run.utilisation:.1f}", "matches / elements / cycles"),
        ("load beats", counters.pe("load_beats").sum(), f"of {config.port_bytes} bytes"),
        ("DRAM bytes", run.dram_bytes, "operands and result, each once"),
        ("non-zeros of the result", run.result.nnz, ""),
    ):
        table.add(*row)
    shares = Table("", [Column("where the time went", Kind.TEXT), figure("% of element-cycles")])
    spent = counters.units.sum(axis=0) / max(1, counters.units.sum())
    for name, share in zip(UNIT_COUNTERS, spent, strict=True):
        if name not in ("wait_siblings_cycles", "wait_broadcast_cycles"):
            shares.add(name.removesuffix("_cycles").replace("_", " "), f"{100 * share:.1f}")
    verdict = "equals" if product.equal else "DIFFERS FROM"
    return [
        f"{product.kernel} on {config.name}: {config.pes} processing elements",
        described,
        table,
        shares,
        f"The result {verdict} SciPy's: largest difference {product.difference:.1e} of the "
        "largest sum.",
    ]


# -- coded weights --------------------------------------------------------------------------


def sizes_report(sizes: Sizes) -> list[Item]:
    """Return what weights take, stage by stage and format by format."""
    total = sizes.representations[0].layers[-1]
    items: list[Item] = [f"{sizes.network}: shares are of 32-bit weights, {total.float_bits} bits."]
    for each in sizes.representations:
        items += [
            *_stages_tables(each.title, each.layers, sizes.entropy),
            _formats_table(each.title, each.layers),
        ]
    if sizes.accuracy:
        table = Table("", [Column("", Kind.TEXT), *map(figure, sizes.accuracy)])
        table.add(
            "accuracy on test data, %",
            *(f"{100 * value:.2f}" for value in sizes.accuracy.values()),
        )
        items.append(table)
    return [*items, *sizes.notes]


def _share(bits: float, layer: LayerStages) -> str:
    return f"{100 * bits / layer.float_bits:.2f}"


def _stages_tables(title: str, layers: Sequence[LayerStages], entropy: str) -> list[Item]:
    """Return tables 2 to 5 of Deep Compression: bits a weight, and what each stage leaves."""
    coded = entropy != "none"
    heads = ["weights", "kept\n%", "weight\nbits", "index\nbits"]
    heads += ["weight\nbits H", "index\nbits H"] if coded else []
    bits = Table(title, [Column("layer", Kind.NAME), *map(figure, heads)], total=True)
    names = ["P", "P+Q", *(["P+Q+H"] * coded)]
    stages = Table(
        f"{title}: pruned, quantised" + (", Huffman-coded" if coded else ""),
        [
            Column("layer", Kind.NAME),
            *(figure(f"{name}\n{unit}") for name in names for unit in ("bits", "%")),
        ],
        total=True,
    )
    for layer in layers:
        words = [f"{layer.code_word_bits:.1f}", f"{layer.index_word_bits:.1f}"] if coded else []
        bits.add(
            layer.name,
            layer.weights,
            f"{100 * layer.kept / layer.weights:.1f}",
            f"{layer.code_bits:.3g}",
            f"{layer.index_bits:.3g}",
            *words,
        )
        left = [layer.pruned_bits, layer.quantised_bits, *([layer.coded_bits] * coded)]
        stages.add(layer.name, *(text for size in left for text in (size, _share(size, layer))))
    return [bits, stages]


def _formats_table(title: str, layers: Sequence[LayerStages]) -> Table:
    names = list(layers[0].formats_bits)
    table = Table(
        f"{title}: formats, % of 32-bit weights",
        [Column("layer", Kind.NAME), *map(figure, names)],
        total=True,
    )
    for layer in layers:
        table.add(layer.name, *(_share(layer.formats_bits[name], layer) for name in names))
    table.add("total, bits", *(layers[-1].formats_bits[name] for name in names))
    return table


# -- pruned networks ------------------------------------------------------------------------


def pruning_report(outcome: Any, figures: Mapping[str, float]) -> list[Item]:
    """Return what became of a pruned network.

    Parameters
    ----------
    outcome : sw.training.pipeline.Outcome
    figures : dict of str to float
        Cycles and speed-ups by name.
    """
    table = Table("", [Column("", Kind.TEXT), figure("dense"), figure("pruned")])
    kept = round(outcome.density * outcome.weights)
    scores = {name: f"{100 * value:.2f} %" for name, value in outcome.accuracy.items()}
    table.add(f"{outcome.score_name} on test data", scores["dense"], scores["pruned"])
    table.add("the same in int8", "", scores["int8"])
    table.add("weights", f"{outcome.dense_weights:,}", f"{outcome.weights:,}")
    table.add("weights that are not zero", "", f"{kept:,}")
    table.add("share of the dense network's", "", f"{100 * kept / outcome.dense_weights:.2f} %")
    table.add("MACs, zeros included", f"{outcome.dense_macs:,}", f"{outcome.macs:,}")
    if figures:
        table.add("cycles an image", "", f"{figures['cycles']:,.0f}")
    layers = Table("", [Column("layer", Kind.NAME), *map(figure, ("weights", "kept", "%"))])
    for each in outcome.layers:
        layers.add(each.name, each.size, each.kept, f"{100 * each.density:.1f}")
    notes = []
    if figures:
        speed_ups = [
            f"{figures[f'speed_up_over_{mode}']:.2f} over {words}"
            for mode, words in (
                ("dense", "dense"),
                ("static", "weights' zeros alone"),
                ("dynamic", "activations' zeros alone"),
            )
        ]
        notes.append(
            f"Speed-up of skipping both: {', '.join(speed_ups)} (this network, same machine)."
        )
    return [
        f"{outcome.network.name}: {outcome.network.source}",
        table,
        layers,
        *notes,
        *(f"wrote {path}" for path in outcome.files),
    ]


def preflight_report(found: Any) -> list[Item]:
    """Return what pruning a network would come to.

    Parameters
    ----------
    found : sw.training.pruner.preflight.Preflight
    """
    table = Table(
        f"{found.model}, pruned by magnitude as its weights are now",
        [Column("weights of", Kind.NAME), *map(figure, ("weights", "kept", "%"))],
        total=True,
    )
    for each in found.layers:
        table.add(each.name, each.size, each.kept, f"{100 * each.density:.1f}")
    for each in found.left_alone:
        table.add(each.name, each.size, each.size, "100.0")
    size = sum(each.size for each in (*found.layers, *found.left_alone))
    kept = round(found.density * size)
    table.add("all weights", size, kept, f"{100 * found.density:.1f}")
    said = "yes" if found.refused is None else f"no. {found.refused}"
    converted = "yes" if found.convertible else f"no. {found.unconvertible}"
    cycles = "" if found.cycles is None else f" Cycles an image: {found.cycles:,.0f}."
    return [
        table,
        *(f"{each.name} is left alone: {each.reason}." for each in found.left_alone),
        *(f"Warning: {each}" for each in found.warnings),
        f"Prunable: {said}. Convertible: {converted}.{cycles}",
    ]


def study_report(result: StudyResult) -> list[Item]:
    """Return the means over seeds of a study, and their spread."""
    study = result.study
    table = Table(
        study.question,
        [
            Column("network", Kind.NAME),
            Column("what", Kind.TEXT),
            figure("seeds"),
            *(figure(column.replace("_", "\n")) for column in study.columns),
        ],
    )
    for line in result.summary():
        cells = [_spread(line[column], line[f"{column}_std"]) for column in study.columns]
        table.add(line["network"], line["label"], line["seeds"], *cells)
    return [table, f"± is the standard deviation over seeds. {study.notes}".strip()]


def _spread(mean: float, deviation: float) -> str:
    if mean != mean:
        return "-"
    digits = max(0, 4 - len(str(int(abs(mean)))))
    text = f"{mean:,.{digits}f}"
    return text if deviation != deviation else f"{text} ±{deviation:,.{digits}f}"
