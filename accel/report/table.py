"""A table of words and figures, as plain lines of a given width and as HTML.

A figure is never cut short. Where a table is too wide, names are shortened in the middle and words
are folded; where that is not enough, its last columns follow in a second table.
"""

from __future__ import annotations

import html
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum

__all__ = ["LINE_LIMIT", "Column", "Kind", "Table", "figure", "plain", "shorten"]

#: Characters of a line of a message, and of a cell.
LINE_LIMIT = 300
#: What a name, and a text, is narrowed to before a table is split.
_NAME_MIN, _TEXT_MIN = 12, 16
#: A name is no wider where there is room.
_NAME_MAX = 24
#: Lines that a name is folded into at most.
_NAME_LINES = 2
_GAP = "  "


class Kind(Enum):
    """How a column's cells give way where there is no room."""

    #: Aligned to the right, and never shortened.
    FIGURE = "figure"
    #: Folded at hyphens where that is enough, else shortened in the middle.
    NAME = "name"
    #: Folded between words.
    TEXT = "text"


@dataclass(frozen=True)
class Column:
    """A column: its title, which may have several lines, and the kind of its cells."""

    title: str
    kind: Kind


def figure(title: str) -> Column:
    """Return a column of figures."""
    return Column(title, Kind.FIGURE)


@dataclass
class Table:
    """A table that grows row by row.

    Parameters
    ----------
    title : str
        Printed above it; empty for none.
    columns : sequence of Column
    rows : list of tuple of str
    total : bool
        Whether the last row sums up the others and is set apart.
    """

    title: str
    columns: Sequence[Column]
    rows: list[tuple[str, ...]] = field(default_factory=list)
    total: bool = False

    def add(self, *cells: object) -> None:
        """Add a row; None is an empty cell."""
        assert len(cells) == len(self.columns), "a cell for each column"
        self.rows.append(tuple("" if cell is None else str(cell) for cell in cells))

    def shortened(self, rows_max: int) -> Table:
        """Return the table with the rows in the middle left out where it has too many."""
        left_out = len(self.rows) - rows_max
        if left_out <= 0:
            return self
        first = rows_max // 2
        blank = (f"... {left_out} more", *("" for _ in self.columns[1:]))
        rows = [*self.rows[:first], blank, *self.rows[first + left_out :]]
        return Table(self.title, self.columns, rows, self.total)

    def lines(self, width: int, *, rules: bool = False) -> list[str]:
        """Return the table, without its title, as lines of at most ``width`` characters.

        Parameters
        ----------
        rules : bool
            Draw a line below the heads and above a total.
        """
        cells = [[plain(cell) for cell in row] for row in self.rows]
        heads = [plain(column.title, keep_lines=True).split("\n") for column in self.columns]
        natural = [
            max([len(text) for text in (*head, *(row[index] for row in cells))], default=0)
            for index, head in enumerate(heads)
        ]
        lines: list[str] = []
        for number, (places, widths) in enumerate(self._parts(natural, width)):
            kinds = [self.columns[place].kind for place in places]
            part = _aligned([heads[place] for place in places], widths, kinds)
            rule = "─" * (sum(widths) + len(_GAP) * (len(widths) - 1))
            if number:
                lines.append("")
            lines += [*part, rule] if rules and any(map(str.strip, part)) else part
            for row_number, row in enumerate(cells, 1):
                if rules and self.total and row_number == len(cells):
                    lines.append(rule)
                folded = [
                    _folded(row[place], size, kind)
                    for place, size, kind in zip(places, widths, kinds, strict=True)
                ]
                lines += _aligned(folded, widths, kinds, top=True)
        return [line.rstrip() for line in lines]

    def _parts(self, natural: list[int], width: int) -> Iterable[tuple[list[int], list[int]]]:
        """Yield the columns of each part that fits, the first one in all, with their widths."""
        rest = list(range(1, len(self.columns)))
        while True:
            taken = len(rest)
            while taken > 1 and self._least(natural, [0, *rest[:taken]]) > width:
                taken -= 1
            places = [0, *rest[:taken]]
            yield places, self._widths(natural, places, width)
            rest = rest[taken:]
            if not rest:
                return

    def _least(self, natural: list[int], places: list[int]) -> int:
        sizes = (self._bounds(place, natural[place])[0] for place in places)
        return sum(sizes) + len(_GAP) * (len(places) - 1)

    def _bounds(self, place: int, natural: int) -> tuple[int, int]:
        """Return the least and the largest width of a column."""
        least, most = {
            Kind.FIGURE: (natural, natural),
            Kind.NAME: (_NAME_MIN, _NAME_MAX),
            Kind.TEXT: (_TEXT_MIN, natural),
        }[self.columns[place].kind]
        return min(natural, least), min(natural, most)

    def _widths(self, natural: list[int], places: list[int], width: int) -> list[int]:
        """Give each column its least width, and what is left to those that want most."""
        bounds = [self._bounds(place, natural[place]) for place in places]
        sizes = [least for least, _ in bounds]
        spare = width - sum(sizes) - len(_GAP) * (len(places) - 1)
        for _ in range(max(0, spare)):
            wanting = [i for i, (_, most) in enumerate(bounds) if sizes[i] < most]
            if not wanting:
                break
            # Names first: they are what one looks for.
            names = [i for i in wanting if self.columns[places[i]].kind is Kind.NAME]
            chosen = max(names or wanting, key=lambda i: bounds[i][1] / sizes[i])
            sizes[chosen] += 1
        return sizes

    def html(self) -> str:
        """Return the table as HTML without colours of its own, for light and dark pages."""

        def cell(tag: str, text: str, kind: Kind) -> str:
            align = "right" if kind is Kind.FIGURE else "left"
            words = html.escape(plain(text, keep_lines=True)).replace("\n", "<br>")
            return f'<{tag} style="text-align: {align}">{words}</{tag}>'

        kinds = [column.kind for column in self.columns]
        heads = "".join(cell("th", column.title, column.kind) for column in self.columns)
        rows = [
            "".join(cell("td", text, kind) for text, kind in zip(row, kinds, strict=True))
            for row in self.rows
        ]
        caption = html.escape(plain(self.title))
        return (
            (f'<p style="margin-bottom: 0"><b>{caption}</b></p>' if caption else "")
            + f"<table><thead><tr>{heads}</tr></thead><tbody>"
            + "".join(f"<tr>{row}</tr>" for row in rows)
            + "</tbody></table>"
        )


def plain(text: str, *, keep_lines: bool = False, limit: int = LINE_LIMIT) -> str:
    """Return text that a terminal only shows: control characters as escapes, and not too much.

    Parameters
    ----------
    keep_lines : bool
        Leave line ends as they are.
    limit : int
        The middle of a longer text is left out.
    """
    # What Python does not call printable would move the cursor, turn the line round, or be unseen.
    shown = (
        char
        if char.isprintable() or (keep_lines and char == "\n")
        else char.encode("unicode_escape", "surrogatepass").decode("ascii")
        for char in text
    )
    return shorten("".join(shown), limit)


def shorten(text: str, width: int) -> str:
    """Leave out the middle of a text that is wider than ``width``."""
    if len(text) <= width:
        return text
    if width < 5:
        return text[:width]
    tail = (width - 2) // 2
    return f"{text[: width - 2 - tail]}..{text[-tail:]}"


def _folded(text: str, width: int, kind: Kind) -> list[str]:
    if kind is Kind.NAME:
        folded = textwrap.wrap(text, width, break_long_words=False)
        fits = 1 < len(folded) <= _NAME_LINES and max(map(len, folded)) <= width
        return folded if fits else [shorten(text, width)]
    if kind is Kind.FIGURE:
        return [text]
    return textwrap.wrap(text, width, break_on_hyphens=False) or [""]


def _aligned(
    cells: list[list[str]], widths: list[int], kinds: list[Kind], *, top: bool = False
) -> list[str]:
    """Return cells of several lines side by side, set against the top or the bottom."""
    height = max(len(cell) for cell in cells)
    lines = []
    for number in range(height):
        parts = []
        for cell, width, kind in zip(cells, widths, kinds, strict=True):
            index = number if top else number - (height - len(cell))
            text = cell[index] if 0 <= index < len(cell) else ""
            if kind is not Kind.FIGURE:
                text = shorten(text, width)
            parts.append(text.rjust(width) if kind is Kind.FIGURE else text.ljust(width))
        lines.append(_GAP.join(parts))
    return lines
