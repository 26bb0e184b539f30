"""Magnitude pruning: the smallest weights become zero (Han et al., NeurIPS 2015, section 3).

Or whole blocks of them (Zhou et al., MICRO'18). One shot, without retraining. Biases are kept.
Quantisation is symmetric, so that a zero stays the code 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper

from golden.errors import UserError
from sw.blocks import Blocks, Size, parse_size
from sw.onnx.file import is_quantised
from sw.onnx.prepare import layer_weights

__all__ = ["magnitude_masks", "prune", "prune_blocks"]

Weight = TypeVar("Weight", bound=np.int8 | np.floating)


def magnitude_masks(
    weights: Mapping[str, NDArray[np.floating]],
    density: float | None = None,
    densities: Mapping[str, float] | None = None,
    keep_first: bool = False,
) -> dict[str, NDArray[np.bool_]]:
    """Choose which weights stay.

    Parameters
    ----------
    weights : mapping of str to ndarray
        Weights of each layer by its name, the first layer first.
    density : float
        Share of weights that stay over all layers that ``densities`` does not name, ranked
        together by magnitude; None keeps them all.
    densities : mapping of str to float
        Shares by layer, each ranked by itself.
    keep_first : bool
        Leave the first layer whole unless ``densities`` names it.

    Returns
    -------
    dict of str to ndarray of bool, shaped as the weights
        True where a weight stays. Exactly ``round(density * size)`` stay; of equal
        magnitudes the earlier ones.

    Raises
    ------
    UserError
        A density is not in (0, 1], a layer is unknown, or a weight is not finite.
    """
    densities = dict(densities or {})
    if unknown := sorted(set(densities) - set(weights)):
        raise UserError(f"Layer to prune must be one of {', '.join(weights)}, not {unknown[0]!r}")
    for where, value in [("of the network", density), *densities.items()]:
        if value is not None:
            _check_density(where, value)
    for name, values in weights.items():
        if not np.all(np.isfinite(values)):
            raise UserError(f"Weights of layer {name} must be finite")
    masks = {
        name: _largest(np.abs(weights[name]).reshape(-1), share).reshape(weights[name].shape)
        for name, share in densities.items()
    }
    rest = [name for name in weights if name not in masks]
    if keep_first and rest and rest[0] == next(iter(weights)):
        first = rest.pop(0)
        masks[first] = np.ones(weights[first].shape, dtype=bool)
    if rest:
        ranked = np.concatenate([np.abs(weights[name]).reshape(-1) for name in rest])
        kept = _largest(ranked, 1.0 if density is None else density)
        ends = np.cumsum([weights[name].size for name in rest])[:-1]
        for name, part in zip(rest, np.split(kept, ends), strict=True):
            masks[name] = part.reshape(weights[name].shape)
    return {name: masks[name] for name in weights}


def _check_density(where: str, value: float) -> None:
    if not 0 < value <= 1:
        raise UserError(f"Density {where} must be above 0 and at most 1, not {value!r}")


def _largest(magnitudes: NDArray[np.floating], share: float) -> NDArray[np.bool_]:
    count = round(share * magnitudes.size)
    mask = np.ones(magnitudes.size, dtype=bool)
    mask[np.argsort(-magnitudes, kind="stable")[count:]] = False
    return mask


def prune(
    model: ModelProto,
    density: float | None = None,
    densities: Mapping[str, float] | None = None,
    keep_first: bool = False,
) -> ModelProto:
    """Prune a float model, prepared by ``sw.onnx.prepare.prepare``; see ``magnitude_masks``.

    Weights are ranked as prepared, that is with batch norms folded in. Weights that layers
    share are ranked once, under the first one's name.

    Returns
    -------
    ModelProto
        A copy.

    Raises
    ------
    UserError
        As ``magnitude_masks``; or the model is quantised already.
    """
    if is_quantised(model):
        raise UserError("Model to prune must be float, not quantised already")
    pruned = ModelProto()
    pruned.CopyFrom(model)
    tensors = {tensor.name: tensor for tensor in pruned.graph.initializer}
    layers: dict[str, str] = {}
    for layer, tensor in layer_weights(pruned).items():
        if tensor not in layers.values():
            layers[layer] = tensor
    weights = {layer: numpy_helper.to_array(tensors[name]) for layer, name in layers.items()}
    for layer, mask in magnitude_masks(weights, density, densities, keep_first).items():
        values = np.where(mask, weights[layer], np.zeros((), dtype=weights[layer].dtype))
        tensors[layers[layer]].CopyFrom(numpy_helper.from_array(values, layers[layer]))
    return pruned


def prune_blocks(
    weights: NDArray[Weight],
    density: float,
    block: str | Size = (1, 16, 1, 1),
    by: str = "average",
    groups: int = 1,
) -> NDArray[Weight]:
    """Set whole blocks of a layer's weights to zero, those with the smallest magnitudes.

    Coarse-grained pruning of Zhou et al., MICRO'18, with a share in place of their threshold. By
    default the same place of 16 consecutive filters is a block, as its authors have it for
    convolutions; they found the average to cost less accuracy than the maximum.

    Parameters
    ----------
    weights : ndarray of int8 or floats, axes k, r, s, c
    density : float
        Share of blocks that stay.
    block : tuple of int, or str
        Input channels, filters, kernel columns (x), kernel rows (y): the authors' order.
        The last block along an axis may be short. Or a grain's name (``sw.blocks.GRAINS``).
    by : str
        ``average``, ``max`` or ``sum`` of the magnitudes in a block, of those that it has.
    groups : int
        Convolution groups; a block lies within one.

    Returns
    -------
    ndarray shaped and typed as the weights
        A copy. Exactly ``round(density * blocks)`` blocks are kept; of equal ones the earlier.

    Raises
    ------
    UserError
        An argument is not what it should be, or a weight is not finite.
    """
    _check_density("of the blocks", density)
    blocks = Blocks(weights.shape, parse_size(block), groups)
    score = blocks.score(weights, by)
    kept = blocks.expand(_largest(score.reshape(-1), density).reshape(score.shape))
    return np.where(kept, weights, np.zeros((), dtype=weights.dtype))
