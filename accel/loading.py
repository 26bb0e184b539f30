"""Networks brought into the library: shipped ones, containers, and models that are compressed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from golden.errors import UserError

if TYPE_CHECKING:
    from golden.network import Network
    from golden.program import Codes
    from sw.images import Images
    from sw.networks.summary import NetworkSummary

__all__ = [
    "MODELS",
    "LoadedNetwork",
    "check_name",
    "compress",
    "given_images",
    "load",
    "load_if_named",
    "load_model",
    "load_network",
    "networks",
]

#: Endings of float models: ONNX, and what ``accel prune`` writes.
MODELS = (".onnx", ".pt")


@dataclass(frozen=True, eq=False)
class LoadedNetwork:
    """A quantised network and the images that it is run on.

    Parameters
    ----------
    network : Network
    images : ndarray of int8 or uint8, axes n, y, x, channel
        Codes of its input.
    """

    network: Network
    images: Codes = field(repr=False)

    @property
    def name(self) -> str:
        return self.network.name

    def __repr__(self) -> str:
        layers = self.network.convolutions
        weights = sum(node.weights.size for node in layers)
        kept = sum(int(np.count_nonzero(node.weights)) for node in layers)
        return (
            f"<{self.name}: {len(layers)} layers, {kept} of {weights} weights "
            f"({100 * kept / max(weights, 1):.1f} %), {len(self.images)} images>"
        )


def load(
    name: str | os.PathLike[str],
    images: str | os.PathLike[str] | Images | None = None,
    density: float | None = None,
    *,
    input_shape: tuple[int, ...] | None = None,
    layout: str | None = None,
    mean: tuple[float, ...] | None = None,
    scale: tuple[float, ...] | None = None,
) -> LoadedNetwork:
    """Load a network, with images to run it on.

    Parameters
    ----------
    name : str or path
        A shipped network (``accel networks``), or a path that ends in ``.safetensors``,
        ``.onnx`` or ``.pt``. A float model is pruned, quantised and compressed first.
    images : path or ndarray of float32, axes n, c, y, x, or mapping of one an input, optional
        Images as the model takes them: a ``.npy`` or ``.npz`` file, a folder of pictures, or
        arrays; a shipped network brings its own. A float model is calibrated with them.
    density : float, optional
        Prune a float model by magnitude to this share of weights, 0..1.
    input_shape : tuple of int, axes as the model has them, optional
        Shape to fix where an ``.onnx`` model leaves its (first) input's open.
    layout : str, optional
        Axes of the images: ``nchw`` or ``nhwc``; found by their sizes where None.
    mean, scale : tuple of float, optional
        Images are ``(pixel - mean) / scale``, with one number or one a channel. Pictures are
        divided by 255 where neither is given and the model takes floats.

    Raises
    ------
    UserError
        A file can't be read or is not what it should be, or an option does not apply.
    """
    from sw.images import network_codes
    from sw.networks import zoo

    name = os.fspath(name)
    is_model = name.endswith(MODELS)
    check_name(name)
    if images is None and name.endswith((*MODELS, ".safetensors")):
        raise UserError(f"Images for {name} must be given by --images")
    if density is not None and not is_model:
        raise UserError(
            f"Density must be left out for {name}: only a float .onnx or .pt model can be pruned"
        )
    options = {"layout": layout, "mean": mean, "scale": scale}
    if is_model:
        model = load_model(_model_path(name), input_shape)
        given = given_images(cast("Images", images), options, model)
        network = _compress(model, given, density, Path(name))
    else:
        network = load_network(name, input_shape)
        given = None if images is None else given_images(images, options, network)
    codes = zoo.images(name) if given is None else network_codes(given, network)
    return LoadedNetwork(network, codes)


def load_if_named(net: LoadedNetwork | str) -> LoadedNetwork:
    """Return a loaded network as it is; load one that is named."""
    return load(net) if isinstance(net, str) else net


def check_name(name: str) -> None:
    """Raise UserError where a name is neither a shipped network's nor a file's."""
    from sw.networks import zoo

    if not name.endswith((*MODELS, ".safetensors")) and name not in zoo.names():
        raise UserError(
            f"Network must be one of {', '.join(zoo.names())}, "
            f"or a .safetensors, .onnx or .pt file, not {name!r}"
        )


def load_network(name: str, input_shape: tuple[int, ...] | None = None) -> Network:
    """Return a container or a shipped network."""
    from sw.networks import zoo
    from sw.storage import container

    if input_shape is not None:
        raise UserError(f"Input shape must be left out for {name}: only an .onnx model takes one")
    return container.load(name) if name.endswith(".safetensors") else zoo.load(name)


def given_images(
    images: str | os.PathLike[str] | Images, options: Mapping[str, Any], taker: Any
) -> Images:
    """Return images of a file, a folder or arrays as they are taken.

    Parameters
    ----------
    options : mapping of str to object
        As ``load`` takes them: ``layout``, ``mean``, ``scale``.
    taker : Network or ModelProto
        What they are for.
    """
    from golden.network import Network
    from sw.onnx.file import picture_input
    from sw.pictures import ImageOptions, InputShape, read_images

    how = ImageOptions(**options)
    if not isinstance(images, str | os.PathLike):
        return how.apply(images)
    if isinstance(taker, Network):
        sizes = taker.input.shape
        as_pixels = (taker.input.scale, taker.input.zero_point) == (1.0, 0)
        shape = InputShape(*sizes, as_pixels) if len(sizes) == 3 else None
    else:
        sizes, takes_integers = picture_input(taker)
        shape = InputShape.of(sizes, takes_integers=takes_integers)
    return read_images(images, how, shape)


def networks() -> dict[str, NetworkSummary | None]:
    """Return the shipped networks with their size, densities and accuracy.

    Returns
    -------
    dict of str to NetworkSummary or None
        None where the network is made when it is first used.
    """
    from sw.networks import zoo

    return {name: zoo.summarise(name) for name in zoo.names()}


def compress(
    model: str | os.PathLike[str],
    images: str | os.PathLike[str] | Images | None,
    density: float | None = None,
    *,
    input_shape: tuple[int, ...] | None = None,
    layout: str | None = None,
    mean: tuple[float, ...] | None = None,
    scale: tuple[float, ...] | None = None,
) -> Network:
    """Prune, quantise and compress a float model.

    Parameters
    ----------
    model : path
        A ``.onnx`` file, or a ``.pt`` one that ``accel prune`` wrote.
    images : path, ndarray of float32, axes n, c, y, x, or mapping of one an input
        Calibration images.
    density : float, optional
        Share of weights to keep, 0..1; all where None.
    input_shape, layout, mean, scale
        As ``load`` takes them.

    Raises
    ------
    UserError
        There is no such model, or nothing to calibrate it with.
    """
    path = _model_path(model)
    if images is None:
        data = " or --data" if path.suffix == ".pt" else ""
        raise UserError(f"Calibration images for {path} must be given by --images{data}")
    proto = load_model(path, input_shape)
    options = {"layout": layout, "mean": mean, "scale": scale}
    return _compress(proto, given_images(images, options, proto), density, path)


def _compress(model: Any, images: Images, density: float | None, path: Path) -> Network:
    from sw.compress import compress

    return compress(model, images, density, name=path.stem, source=path.name)


def _model_path(name: str | os.PathLike[str]) -> Path:
    path = Path(name)
    if not path.is_file():
        raise UserError(f"Model {path} must be a file")
    return path


def load_model(path: Path, input_shape: tuple[int, ...] | None = None) -> Any:
    """Return a .onnx model, or a .pt one exported as such, as an ``onnx.ModelProto``.

    Raises
    ------
    UserError
        It can't be read, or PyTorch is needed and not installed.
    """
    if path.suffix != ".pt":
        from sw.onnx.file import load_model

        return load_model(path, input_shape)
    if input_shape is not None:
        raise UserError(f"Input shape must be left out for {path}: only an .onnx model takes one")
    try:
        from sw.training import models, networks
    except ImportError:
        raise UserError(
            f"Model {path} needs PyTorch, which is not installed: pip install 'innerjoin[train]'"
        ) from None
    model, network, _ = models.load_model(path)
    return models.to_onnx(model, networks.find(network).input_shape, path.stem)
