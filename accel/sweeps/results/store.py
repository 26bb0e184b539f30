"""Where a sweep's points are kept: one SQLite file, written by one process at a time.

A point's key is a digest of its configuration, the network and its images, the modes, the energies'
node, and of all code that counts. So a point that is found again was counted by the same code, and
a store that a sweep left behind, whatever ended it, holds just what was finished.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Self

from accel.sweeps.space.point import Point
from golden.errors import UserError

__all__ = ["Row", "Store"]

#: Version of the tables; a file of another one is refused.
VERSION = 2
#: What marks the file as one of these: SQLite keeps the number for us ("IJSW").
_APPLICATION = 0x494A5357
_TABLES = """
CREATE TABLE points (
    key TEXT PRIMARY KEY,
    machine TEXT NOT NULL,
    config TEXT NOT NULL,        -- JSON
    weight_density REAL,
    weight_pattern TEXT,
    network TEXT NOT NULL,       -- name
    network_digest TEXT NOT NULL,
    images INTEGER NOT NULL,
    technology_node TEXT NOT NULL,
    status TEXT NOT NULL,        -- ok, infeasible, failed
    message TEXT NOT NULL,
    figures TEXT NOT NULL,       -- JSON
    cpu_seconds REAL NOT NULL,
    package TEXT NOT NULL,       -- version
    code TEXT NOT NULL           -- digest
) STRICT;
CREATE TABLE sweeps (
    digest TEXT PRIMARY KEY,
    described TEXT NOT NULL      -- JSON
) STRICT;
"""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A point on a network, as it is kept.

    Parameters
    ----------
    key : str
        Digest of all that decides the figures.
    point : Point
    network, network_digest : str
    images : int
    technology_node : str
    status, message : str
        As in ``accel.sweeps.engine.outcome.Outcome``.
    figures : dict of str to object
        ``modes``: what was counted in each; ``layer_cycles``.
    cpu_seconds : float
    package, code : str
        Version of the package, and digest of the code that counted.
    """

    key: str
    point: Point
    network: str
    network_digest: str
    images: int
    technology_node: str
    status: str
    message: str
    figures: Mapping[str, Any]
    cpu_seconds: float
    package: str
    code: str

    @property
    def mode(self) -> str:
        """The mode that machines are compared in: the last that was counted."""
        return list(self.figures["modes"])[-1]


class Store:
    """A file of rows; ``:memory:`` keeps them only as long as the process.

    Parameters
    ----------
    path : path
    write : bool
        Nobody else can write it until it is closed.

    Raises
    ------
    UserError
        It can't be opened, is no store, is one of another version, or another sweep writes it.
    """

    def __init__(self, path: str | os.PathLike[str] = ":memory:", *, write: bool = True) -> None:
        self.path = os.fspath(path)
        self._lock: int | None = None
        self._connection: sqlite3.Connection | None = None
        in_memory = self.path == ":memory:"
        is_file = in_memory or Path(self.path).is_file()
        if not is_file and (not write or Path(self.path).exists()):
            raise UserError(f"Store {self.path} must be a file")
        try:
            if write and not in_memory:
                self._lock = self._lock_file()
            with self._refusing():
                self._connection = sqlite3.connect(self.path, timeout=2.0)
                self._check(write)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; another sweep can write it then."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        # The lock's descriptor is closed last: closing it drops SQLite's own locks too.
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def rows(self, keys: Sequence[str] | None = None) -> dict[str, Row]:
        """Return rows by key: those of some keys that there are, or all."""
        columns = (
            "key, machine, config, weight_density, weight_pattern, network, network_digest, "
            "images, technology_node, status, message, figures, cpu_seconds, package, code"
        )
        found: dict[str, Row] = {}
        with self._refusing():
            if keys is None:
                lines = self._connected.execute(f"SELECT {columns} FROM points ORDER BY rowid")
                found.update((line[0], _row(line)) for line in lines)
                return found
            for first in range(0, len(keys), 500):
                part = keys[first : first + 500]
                marks = ", ".join("?" * len(part))
                lines = self._connected.execute(
                    f"SELECT {columns} FROM points WHERE key IN ({marks})", part
                )
                found.update((line[0], _row(line)) for line in lines)
        return found

    def add(self, rows: Sequence[Row]) -> None:
        """Keep rows, all or none; one that failed before is replaced."""
        lines = [
            (
                row.key,
                row.point.machine,
                json.dumps(dict(row.point.config)),
                row.point.weight_density,
                row.point.weight_pattern,
                row.network,
                row.network_digest,
                row.images,
                row.technology_node,
                row.status,
                row.message,
                json.dumps(row.figures),
                row.cpu_seconds,
                row.package,
                row.code,
            )
            for row in rows
        ]
        with self._refusing(), self._connected:
            self._connected.executemany(
                f"INSERT OR REPLACE INTO points VALUES ({', '.join('?' * 15)})", lines
            )

    def describe(self, described: Mapping[str, Any]) -> None:
        """Keep what a sweep was asked."""
        text = json.dumps(described, sort_keys=True)
        digest = blake2b(text.encode(), digest_size=16).hexdigest()
        with self._refusing(), self._connected:
            self._connected.execute("INSERT OR REPLACE INTO sweeps VALUES (?, ?)", (digest, text))

    def sweeps(self) -> list[dict[str, Any]]:
        """Return what the sweeps were asked that wrote this store, the latest last."""
        with self._refusing():
            lines = self._connected.execute("SELECT described FROM sweeps ORDER BY rowid")
            return [_mapping(text) for (text,) in lines]

    @property
    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            raise UserError(f"Store {self.path} must be open")
        return self._connection

    def _lock_file(self) -> int:
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise UserError(f"Store {self.path} can't be written: {error.strerror}") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            raise UserError(
                f"Store {self.path} must not be in use: another sweep writes it"
            ) from None
        return descriptor

    def _check(self, write: bool) -> None:
        """Check that the file is a store of this version; make the tables of an empty one."""
        connection = self._connected
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if not tables and not application and write:
            connection.executescript(
                f"BEGIN IMMEDIATE; {_TABLES} PRAGMA application_id = {_APPLICATION}; "
                f"PRAGMA user_version = {VERSION}; COMMIT;"
            )
        elif application != _APPLICATION:
            raise UserError(f"Store {self.path} must be a file that a sweep has written")
        elif version != VERSION:
            raise UserError(f"Store {self.path} must be of version {VERSION}, not {version}")
        elif connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            raise UserError(f"Store {self.path} must not be damaged")

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        """Tell what SQLite refuses in one line."""
        try:
            yield
        except UserError:
            raise
        except (TypeError, ValueError):  # what a row holds is not what was written
            raise UserError(f"Store {self.path} must not be damaged") from None
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorname", "")
            told = {
                "SQLITE_BUSY": "must not be locked by another program",
                "SQLITE_LOCKED": "must not be locked by another program",
                "SQLITE_FULL": "can't be written: the disk is full",
                "SQLITE_READONLY": "must be writable",
                "SQLITE_NOTADB": "must be a file that a sweep has written",
                "SQLITE_CORRUPT": "must not be damaged",
            }
            name = next((name for name in told if code.startswith(name)), "")
            why = told.get(name, f"can't be used: {error}")
            raise UserError(f"Store {self.path} {why}") from None


def _mapping(text: str) -> dict[str, Any]:
    found = json.loads(text)
    if not isinstance(found, dict):
        raise TypeError(f"a mapping, not {found!r}")
    return found


def _row(line: tuple) -> Row:
    key, machine, config, density, pattern, network, digest, images, node, *rest = line
    status, message, figures, cpu_seconds, package, code = rest
    return Row(
        key=key,
        point=Point(machine, _mapping(config), density, pattern),
        network=network,
        network_digest=digest,
        images=images,
        technology_node=node,
        status=status,
        message=message,
        figures=_mapping(figures),
        cpu_seconds=cpu_seconds,
        package=package,
        code=code,
    )
