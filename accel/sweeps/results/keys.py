"""Keys of points: digests of all that decides what is counted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from hashlib import blake2b
from importlib import metadata, resources
from typing import Any

from accel.sweeps.space.point import Point

__all__ = ["code_digest", "package_version", "point_key"]

#: Parts of the packages that decide what is counted, and files of theirs.
_COUNTING = (
    ("golden", ""),
    ("accel", "machines"),
    ("accel", "costs"),
    ("accel", "activations"),
    ("accel", "results.py"),
    ("accel.sweeps.engine", "evaluator.py"),
    ("accel.sweeps.engine", "outcome.py"),
    ("accel.sweeps.space", "pruning.py"),
)


def point_key(point: Point, network_digest: str, modes: Sequence[str] | None, node: str) -> str:
    """Return the key of a point on a network with its images."""
    digest = blake2b(digest_size=16)
    for part in (
        point.canonical(),
        network_digest,
        "all" if modes is None else " ".join(modes),
        node,
        code_digest(),
    ):
        digest.update(f"{len(part)} {part}".encode())
    return digest.hexdigest()


@cache
def code_digest() -> str:
    """Return a digest of all code and tables that decide what is counted."""
    digest = blake2b(digest_size=16)
    for package, name in _COUNTING:
        place = resources.files(package)
        for path, found in _files(place / name if name else place, f"{package}/{name}"):
            data = found.read_bytes()
            digest.update(f"{path} {len(data)} ".encode() + data)
    return digest.hexdigest()


def _files(place: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield the sources and tables below a place, in the same order everywhere."""
    if place.is_file():
        yield path, place
        return
    for each in sorted(place.iterdir(), key=lambda entry: entry.name):
        if each.is_dir() and each.name != "__pycache__":
            yield from _files(each, f"{path}/{each.name}")
        elif each.is_file() and each.name.endswith((".py", ".csv")):
            yield f"{path}/{each.name}", each


@cache
def package_version() -> str:
    """Return the version of this package."""
    try:
        return metadata.version("innerjoin")
    except metadata.PackageNotFoundError:
        return "unknown"
