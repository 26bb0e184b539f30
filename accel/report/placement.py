"""The tables of ``accel check``: where each part runs, why, and what does not fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from accel.report.table import Column, Kind, Table, figure
from accel.report.tables import Item, describe_shape, percent

if TYPE_CHECKING:
    from accel.placement import Placement

__all__ = ["placement_report"]


def placement_report(found: Placement) -> list[Item]:
    """Return a table of the layers and host nodes, and what sums them up."""
    counts = {place: found.counts(place) for place in ("machine", "vector", "host")}
    layers = sum(counts["machine"].values())
    items: list[Item] = [
        f"{found.network}, {found.kind}, on {found.machine}: {layers} layers with "
        f"{percent(found.machine_share)} % of the multiply-accumulates",
        _nodes_table(found),
    ]
    for place, words in (
        ("vector", "On codes beside the machine"),
        ("host", "On the host, by ONNX Runtime"),
    ):
        if counts[place]:
            items.append(f"{words}: {_listed(counts[place])}.")
    if found.fits:
        items.append("Every layer fits.")
    elif found.settings:
        options = " ".join(f"--set {key}={value}" for key, value in found.settings.items())
        items.append(f"Every layer fits with {options}")
    return items


def _nodes_table(found: Placement) -> Table:
    total = max(1, sum(node.macs for node in found.nodes))
    table = Table(
        "",
        [
            Column("node", Kind.NAME),
            Column("where", Kind.TEXT),
            figure("% of\nMACs"),
            Column("input * filters", Kind.TEXT),
            Column("why, or what it needs", Kind.TEXT),
        ],
    )
    for node in found.nodes:
        if node.place == "vector":
            continue
        needs = [f"{each.key} {each.needed}, not {each.held}" for each in node.shortages]
        is_host = node.place == "host"
        table.add(
            node.name,
            node.place,
            percent(node.macs / total),
            node.operator if is_host else describe_shape(node.shape),
            "; ".join(needs) or node.reason,
        )
    return table


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {operator}" for operator, count in counts.items())
