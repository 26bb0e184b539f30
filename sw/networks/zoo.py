"""The networks that come with the project, by name.

Only what a network needs is imported: a shipped or cached one loads without onnx or torch.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from golden.errors import UserError
from golden.files import cache_folder
from golden.network import Network

if TYPE_CHECKING:
    from sw.networks.summary import NetworkSummary

__all__ = ["images", "labels", "load", "names", "summarise"]

Codes = NDArray[np.int8 | np.uint8]

_NETWORKS = resources.files("sw") / "networks"
#: Filters that share their zeros where a network is pruned in blocks: (1, 16, 1, 1) of Zhou et
#: al., MICRO'18.
BLOCK_FILTERS = 16


@dataclass(frozen=True)
class _Entry:
    load: Callable[[], Network]
    images: Callable[[], Codes]
    summarise: Callable[[], NetworkSummary | None]
    labels: Callable[[], NDArray[np.int64]] | None = None


def names() -> list[str]:
    """Return the names of the networks, sorted."""
    return sorted(_ENTRIES)


def load(name: str) -> Network:
    """Return a network by name.

    Raises
    ------
    UserError
        There is no such network, or it needs a package that is not installed.
    """
    return _entry(name).load()


def images(name: str) -> Codes:
    """Return images for a network: codes of its input's dtype, axes n, y, x, channel.

    They are 64 test images of Fashion-MNIST, photos of scikit-image, or, for a synthetic
    network, its one synthetic input.

    Raises
    ------
    UserError
        As ``load``.
    """
    return _entry(name).images()


def labels(name: str) -> NDArray[np.int64] | None:
    """Return the labels of ``images``, axis n, where they have some."""
    entry = _entry(name)
    return entry.labels() if entry.labels else None


def summarise(name: str) -> NetworkSummary | None:
    """Return a network's size and densities, quickly; None where it is yet to be made.

    Raises
    ------
    UserError
        There is no such network.
    """
    return _entry(name).summarise()


def _entry(name: str) -> _Entry:
    if name not in _ENTRIES:
        raise UserError(f"Network must be one of {', '.join(names())}, not {name!r}")
    return _ENTRIES[name]


# -- shipped ------------------------------------------------------------------------------------


def _shipped(name: str) -> _Entry:
    def load() -> Network:
        from sw.storage.container import load

        with resources.as_file(_NETWORKS / f"{name}.safetensors") as path:
            return load(path)

    def summarise() -> NetworkSummary:
        from sw.networks.summary import summarise_container

        with resources.as_file(_NETWORKS / f"{name}.safetensors") as path:
            return summarise_container(path)

    return _Entry(
        load,
        lambda: _fashion_mnist("images")[..., None],
        summarise,
        lambda: _fashion_mnist("labels").astype(np.int64),
    )


def _fashion_mnist(key: str) -> NDArray[np.uint8]:
    with (_NETWORKS / "fashion-mnist-test.npz").open("rb") as file, np.load(file) as arrays:
        return arrays[key]


# -- the VGG-16 backbone of HED -----------------------------------------------------------------


def _vgg16_paths(name: str) -> tuple[Path, Path]:
    """Return where network and images are cached, by a digest of the sources that make them."""
    digest = hashlib.sha256()
    for package in ("sw", "sw.onnx", "sw.networks", "sw.storage"):
        for source in sorted(resources.files(package).iterdir(), key=lambda path: path.name):
            if source.name.endswith(".py"):
                digest.update(source.read_bytes())
    stem = f"{name}.{digest.hexdigest()[:12]}"
    return cache_folder() / f"{stem}.safetensors", cache_folder() / f"{stem}.npy"


def _vgg16_cached(name: str, block: int) -> tuple[Path, Path]:
    """Make network and images unless they are in the cache."""
    paths = _vgg16_paths(name)
    if not all(path.exists() for path in paths):
        from sw.networks.vgg16 import build

        try:
            paths[0].parent.mkdir(parents=True, exist_ok=True)
            build(*paths, name=name, block=block)
        except OSError as error:
            raise UserError(
                f"Cache folder {paths[0].parent} must be writable: {error.strerror}; "
                "set XDG_CACHE_HOME to another"
            ) from None
        for stale in set(paths[0].parent.glob(f"{name}.*")) - set(paths):
            stale.unlink(missing_ok=True)
    return paths


def _vgg16(block: int = 1) -> _Entry:
    name = "vgg16" if block == 1 else "vgg16-blocks"

    def load() -> Network:
        from sw.storage.container import load

        return load(_vgg16_cached(name, block)[0])

    def summarise() -> NetworkSummary | None:
        from sw.networks.summary import summarise_container

        path, _ = _vgg16_paths(name)
        return summarise_container(path) if path.exists() else None

    return _Entry(load, lambda: np.load(_vgg16_cached(name, block)[1]), summarise)


# -- published densities ------------------------------------------------------------------------


def _published(network: str, pool: int, block: int = 1) -> _Entry:
    name = f"{network}-published" + ("-blocks" if block > 1 else "")

    def load() -> Network:
        from sw.networks.published import synthetic_network

        return synthetic_network(name, network, pool, block=block)

    def images() -> Codes:
        from sw.networks.published import synthetic_image

        return synthetic_image(network)[None]

    def summarise() -> NetworkSummary:
        from sw.networks.published import published_layers
        from sw.networks.summary import summarise_published

        return summarise_published(published_layers(network))

    return _Entry(load, images, summarise)


_ENTRIES = {
    "alexnet-published": _published("alexnet", pool=3),
    "alexnet-published-blocks": _published("alexnet", pool=3, block=BLOCK_FILTERS),
    "lenet5": _shipped("lenet5"),
    "resnet8": _shipped("resnet8"),
    "vgg16": _vgg16(),
    "vgg16-blocks": _vgg16(BLOCK_FILTERS),
    "vgg16-published": _published("vgg16", pool=2),
    "vgg16-published-blocks": _published("vgg16", pool=2, block=BLOCK_FILTERS),
}
