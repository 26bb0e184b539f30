"""One safetensors file with a checksum: whole or not there, the same bytes for the same content.

The header's metadata hold ``format``, ``version`` and ``checksum``: the SHA-256 of the whole
file with the checksum itself written as zeros.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from safetensors import numpy as safetensors

from golden.errors import FormatError
from golden.files import read_bytes, write_whole
from golden.foreign import foreign

__all__ = ["Arrays", "Kind", "load", "save"]

_NO_CHECKSUM = "0" * 64

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of file: what messages call it, and what its metadata say."""

    title: str
    format: str
    version: int


def save(path: Path, arrays: Arrays, metadata: dict[str, str], kind: Kind) -> None:
    """Write arrays and further metadata; the file appears whole or not at all.

    Raises
    ------
    UserError
        The folder can't be written.
    """
    stated = {"format": kind.format, "version": str(kind.version), "checksum": _NO_CHECKSUM}
    data = _in_order(safetensors.save(arrays, metadata | stated))
    place = _checksum_place(data, _NO_CHECKSUM)
    digest = hashlib.sha256(data).hexdigest().encode()
    whole = data[:place] + digest + data[place + len(digest) :]
    write_whole(path, whole, f"{kind.title} {path}")


def load(path: Path, kind: Kind) -> tuple[Arrays, dict[str, str]]:
    """Return a file's arrays and metadata.

    Raises
    ------
    UserError
        The file can't be read.
    FormatError
        It is of another kind or version, or damaged.
    """
    name = f"{kind.title} {path}"
    data = read_bytes(path, name)
    with foreign(f"{name} must be a safetensors file"):
        arrays = safetensors.load(data)
        metadata = _metadata(data)
    if (found := metadata.get("format")) != kind.format:
        raise FormatError(f"{name} must have format {kind.format!r}, not {found!r}")
    if (found := metadata.get("version")) != str(kind.version):
        raise FormatError(f"{name} must have version {kind.version}, not {found!r}")
    _check_sum(name, data, metadata)
    return arrays, metadata


def _header(data: bytes) -> bytes:
    """Return the header: JSON behind its 8-byte length."""
    return data[8 : 8 + int.from_bytes(data[:8], "little")]


def _metadata(data: bytes) -> dict[str, str]:
    return dict(json.loads(_header(data))["__metadata__"])


def _in_order(data: bytes) -> bytes:
    """Sort the header's keys, whose order safetensors leaves to chance."""
    old = _header(data)
    new = json.dumps(json.loads(old), sort_keys=True, separators=(",", ":")).encode()
    new += b" " * (-len(new) % 8)
    return len(new).to_bytes(8, "little") + new + data[8 + len(old) :]


def _checksum_place(data: bytes, stated: str) -> int:
    """Return where the checksum is written; ValueError where it is not, or more than once."""
    key, header = f'"checksum":"{stated}"'.encode(), _header(data)
    if header.count(key) != 1:
        raise ValueError
    return 8 + header.index(key) + len(key) - 1 - len(stated)


def _check_sum(name: str, data: bytes, metadata: dict[str, str]) -> None:
    stated = metadata.get("checksum", "")
    try:
        place = _checksum_place(data, stated)
    except ValueError:
        raise FormatError(f"{name} is damaged: its checksum is missing") from None
    digest = hashlib.sha256(memoryview(data)[:place])
    digest.update(_NO_CHECKSUM.encode())
    digest.update(memoryview(data)[place + len(stated) :])
    if digest.hexdigest() != stated:
        raise FormatError(f"{name} is damaged: its checksum does not match")
