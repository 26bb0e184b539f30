"""From a pruned float model to the int8 container, with the accuracy of what was quantised.

``python -m sw.training.compress FOLDER/lenet5.onnx`` makes ``FOLDER/lenet5.safetensors`` again
from a trained model, in seconds.
"""

from __future__ import annotations

import argparse
import logging
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto

from golden.errors import FormatError, UserError
from sw import container
from sw.compress import channel_density, onnx_activations
from sw.onnx_file import load_model, model_input
from sw.onnx_import import import_codes
from sw.prepare import prepare
from sw.quantise import quantise
from sw.training.dataset import FOLDER, Dataset, load_dataset

__all__ = ["compress_network"]

log = logging.getLogger(__name__)

#: Training images that calibrate the ranges of activations.
CALIBRATION_IMAGES = 512


def compress_network(path: Path, data: Dataset, output: Path) -> None:
    """Quantise a model that was trained here, measure its accuracy and write its container.

    Parameters
    ----------
    path : Path
        The pruned float model; its metadata state the accuracies of training.

    Raises
    ------
    FormatError
        The model's metadata state no accuracies.
    UserError
        The model can't be quantised or the container can't be written.
    """
    model = load_model(path)
    stated = {item.key: item.value for item in model.metadata_props}
    if not {"accuracy_float", "accuracy_pruned"} <= set(stated):
        raise FormatError(f"Model {path} must state its accuracies: train it by sw.training")
    calibration = _as_float(data.train_images[:CALIBRATION_IMAGES])
    quantised = quantise(prepare(model), calibration)
    source = (
        "trained on Fashion-MNIST, pruned by magnitude and retrained in turns; int8 by ONNX "
        f"Runtime's static quantisation (minmax, {len(calibration)} images)"
    )
    network, codes = import_codes(quantised, model.graph.name, source)
    if abs(network.input.scale * 255 - 1) > 1e-6 or network.input.zero_point:
        raise FormatError(f"Input of {path} must have the codes 0..255 of pixels")
    network.channel_density.update(
        channel_density(network, calibration, onnx_activations(quantised, codes))
    )
    accuracy = {
        "float": float(stated["accuracy_float"]),
        "pruned": float(stated["accuracy_pruned"]),
        "int8": _accuracy(quantised, _as_float(data.test_images), data.test_labels),
    }
    container.save(replace(network, accuracy=accuracy).validate(), output)
    weights = sum(node.weights.size for node in network.convolutions)
    kept = sum(np.count_nonzero(node.weights) for node in network.convolutions)
    log.info(
        "wrote %s: %d bytes, density %.4f, accuracies %s",
        output,
        output.stat().st_size,
        kept / weights,
        ", ".join(f"{key} {value:.4f}" for key, value in accuracy.items()),
    )


def _as_float(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Scale pixels to 0..1; axes n, y, x to n, c, y, x."""
    return images[:, None].astype(np.float32) / np.float32(255)


def _accuracy(model: ModelProto, images: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    feed = model_input(model).name
    outputs = [np.asarray(session.run(None, {feed: image[None]})[0]) for image in images]
    return float(
        np.mean([out.argmax() == label for out, label in zip(outputs, labels, strict=True)])
    )


def main() -> None:
    """Compress the models named on the command line; exit status 2 on bad input."""
    parser = argparse.ArgumentParser(description="Quantise and compress a trained model again.")
    parser.add_argument("model", type=Path, nargs="+", help="a model of sw.training, .onnx")
    parser.add_argument("--data", type=Path, default=FOLDER, help="folder of Fashion-MNIST")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        data = load_dataset(arguments.data)
        for path in arguments.model:
            compress_network(path, data, path.with_suffix(".safetensors"))
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
