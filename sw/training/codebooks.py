"""Trained quantisation: codebooks of a trained network, fine-tuned (Deep Compression, section 3).

A value's gradient is the sum of its weights' (``sw.coding.shared_weights``), so that it grows
with their number: the learning rate must be far below that of the weights.
"""

from __future__ import annotations

import copy

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto
from torch import nn

from golden.errors import UserError
from sw.coding.codebook import CodebookOptions, share_values
from sw.coding.shared_weights import coded_weights, share_weights
from sw.coding.sources import layer_codes
from sw.coding.stages import LayerCodes
from sw.onnx_file import model_input
from sw.training import masks
from sw.training.data import ImageBatches
from sw.training.session import Phase, Session

__all__ = ["RATE", "coded_layers", "fine_tune", "fold", "onnx_accuracy", "share"]

#: Learning rate of shared values.
RATE = 1e-3


def fold(model: nn.Module) -> nn.Module:
    """Return a copy, in eval, with batch norms in the convolutions before them; masks are zeros.

    Folding scales each filter, so that it must come before the codebooks.

    Raises
    ------
    UserError
        The model has batch norms and torch.fx can't trace it.
    """
    folded = copy.deepcopy(model).eval()
    masks.fix(folded)
    if not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules()):
        return folded
    from torch.fx.experimental.optimization import fuse

    try:
        return fuse(folded)
    # Tracing runs the user's code, which may raise anything.
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"Batch norms of the model can't be folded: {reason}") from None


def share(model: nn.Module, options: CodebookOptions) -> list[str]:
    """Give every layer of a folded model a codebook, in place.

    Returns
    -------
    list of str
        Layers that have fewer different weights than a codebook has places.

    Raises
    ------
    UserError
        As ``share_values`` and ``share_weights``.
    """
    found = {
        name: share_values(
            masks.weight(layer).numpy(),
            options.bits(isinstance(layer, nn.Linear)),
            options.start,
            options.region_filters,
            options.seed,
        )
        for name, layer in masks.layers(model).items()
    }
    share_weights(model, found)
    return [name for name, coded in found.items() if coded.short]


def fine_tune(
    model: nn.Module, session: Session, epochs: int, rate: float = RATE, name: str = "codebooks"
) -> None:
    """Train codebooks and biases, in place; zeros and codes stay. ``name`` is the phase's."""
    session.train(model, Phase(name=name, epochs=epochs, rate=rate, weight_decay=0.0))


def coded_layers(model: nn.Module) -> list[LayerCodes]:
    """Return a model's layers with codebooks as they are now, as they would be stored."""
    kinds = masks.layers(model)
    return [
        layer_codes(name, coded, isinstance(kinds[name], nn.Linear))
        for name, coded in coded_weights(model).items()
    ]


def onnx_accuracy(model: ModelProto, batches: ImageBatches) -> float:
    """Return the accuracy of an ONNX model, an int8 one for example, under ONNX Runtime."""
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    feed = model_input(model).name
    images: NDArray[np.float32] = batches.images.numpy()
    found = [np.asarray(session.run(None, {feed: image[None]})[0]).argmax() for image in images]
    return float(np.mean(np.array(found) == batches.labels.numpy()))
