"""Makes an HTML file of charts, tables and texts; ``page.js`` draws the charts from JSON in it.

The file is whole: it loads nothing, which its content policy says too. It is the same for the same
parts, so that two of them can be compared.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from accel.report.table import Table, plain

__all__ = ["Bar", "Chart", "Html", "Listing", "bars", "document"]

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


@dataclass(frozen=True)
class Chart:
    """A chart.

    Parameters
    ----------
    kind : str
        The function of ``page.js`` that draws it: bars, lines, scatter or parallel.
    title, note : str
        Above it; the note says how to read it.
    data : dict of str to object
        What that function reads.
    """

    kind: str
    title: str
    note: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Listing:
    """A text to copy."""

    title: str
    text: str
    note: str = ""


@dataclass(frozen=True)
class Html:
    """A piece of HTML under a title."""

    title: str
    html: str


@dataclass(frozen=True)
class Bar:
    """A row of bars: its label, a value for each series, and the point of a sweep that it shows."""

    label: str
    values: Sequence[float]
    point: int | None = None

    def plain(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        point = {} if self.point is None else {"point": self.point}
        return {"label": plain(self.label), "values": list(self.values), **point}


def bars(
    title: str,
    unit: str,
    series: Sequence[str],
    rows: Sequence[Bar],
    *,
    palette: str,
    stacked: bool = True,
    note: str = "",
) -> Chart:
    """Return a chart of bars, one row below the other.

    Parameters
    ----------
    palette : str
        Colours that mean one thing on a page: ``machines``, ``time`` or ``energy``.
    stacked : bool
        The values of a row are parts of a sum.
    """
    data = {
        "unit": unit,
        "series": [plain(name) for name in series],
        "rows": [row.plain() for row in rows],
        "palette": palette,
        "stacked": stacked,
        "shares": unit.startswith("%"),
    }
    return Chart("bars", title, note, data)


def document(
    title: str,
    lead: Sequence[str],
    parts: Sequence[Chart | Listing | Html | Table],
    sweep: Mapping[str, Any] | None = None,
) -> str:
    """Return a page.

    Parameters
    ----------
    title : str
    lead : sequence of str
        Sentences below it.
    parts : sequence of Chart, Listing, Html or Table
    sweep : dict of str to object, optional
        Points that several charts share.
    """
    charts: list[dict[str, Any]] = []
    body = [f"<h1>{_escape(title)}</h1>", *(f"<p>{_escape(line)}</p>" for line in lead)]
    for number, part in enumerate(parts):
        if part.title and not isinstance(part, Table):
            body.append(f"<h2>{_escape(part.title)}</h2>")
        if isinstance(part, (Chart, Listing)) and part.note:
            body.append(f'<p class="note">{_escape(part.note)}</p>')
        match part:
            case Chart():
                body.append(f'<figure data-chart="{len(charts)}"></figure>')
                charts.append({"kind": part.kind, "title": plain(part.title), **part.data})
            case Listing():
                text = html.escape(plain(part.text, keep_lines=True, limit=1 << 20))
                body.append(
                    f'<div id="listing-{number}"><pre>{text}</pre>'
                    f'<button type="button" data-copy="listing-{number}">Copy</button></div>'
                )
            case Html():
                body.append(part.html)
            case Table():
                body.append(f'<div class="wide">{part.html()}</div>')
    data: dict[str, Any] = {"charts": charts}
    if sweep is not None:
        data["sweep"] = sweep
    # In a script no tag may begin.
    text = json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return "\n".join(
        [
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{_escape(title)}</title>",
            f"<style>\n{_resource('page.css')}</style>\n</head>\n<body>",
            "<noscript><p>The charts of this page need JavaScript.</p></noscript>",
            *body,
            f'<script type="application/json" id="data">{text}</script>',
            f"<script>\n{_resource('page.js')}</script>\n</body>\n</html>\n",
        ]
    )


def _escape(text: str) -> str:
    return html.escape(plain(text, limit=1000))


def _resource(name: str) -> str:
    return resources.files("accel.report.page").joinpath(name).read_text(encoding="utf-8")
