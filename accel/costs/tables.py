"""The CSV tables that figures of this package come from."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import TypeVar

from golden.errors import FormatError, UserError

__all__ = ["read_table"]

Row = TypeVar("Row")


def read_table(
    kind: str,
    columns: tuple[str, ...],
    parse: Callable[[dict[str, str], str], Row],
    path: str | Path | None = None,
) -> list[Row]:
    """Read a table, by default the shipped ``data/KIND.csv``.

    Parameters
    ----------
    kind : str
        ``energy`` or ``area``.
    columns : tuple of str
        Its header.
    parse : function
        Checks a line, by column; gets what messages call the line too.

    Raises
    ------
    FormatError
        The header is another, a line has another number of fields, or ``parse`` refuses it.
    UserError
        The table can't be read.
    """
    where = f"{kind}.csv" if path is None else str(path)
    title = f"{kind.capitalize()} table"
    try:
        shipped = resources.files("accel.costs") / "data" / f"{kind}.csv"
        text = (shipped if path is None else Path(path)).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{title} {where} can't be read: {error}") from None
    reader = csv.DictReader(io.StringIO(text))
    if tuple(reader.fieldnames or ()) != columns:
        raise FormatError(
            f"{title} {where} must have columns {', '.join(columns)}, "
            f"not {', '.join(reader.fieldnames or ())}"
        )
    rows = []
    for number, line in enumerate(reader, start=2):
        name = f"{where}, line {number}"
        if None in line or None in line.values():
            raise FormatError(f"{title} {name} must have {len(columns)} fields")
        rows.append(parse(line, name))
    return rows
