"""Fine-tuning of shared weights in PyTorch: a codebook's values are the parameters.

A weight is its codebook's value at its code, so that the gradient of a value is the sum of the
gradients of its weights (Deep Compression, Han et al., ICLR 2016, section 3.3), and zeros stay
zero. PyTorch is an extra of this project (``train``).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from golden.errors import UserError
from sw.coding.codebook import CodedWeights

__all__ = ["SharedWeights", "coded_weights", "decode_weights", "share_weights", "shared_values"]


class SharedWeights(nn.Module):
    """A parametrisation: codebooks of all regions in a row, to a weight tensor.

    Parameters
    ----------
    coded : CodedWeights
    """

    def __init__(self, coded: CodedWeights) -> None:
        super().__init__()
        self.coded = coded
        sizes = [len(values) for values in coded.values]
        first = np.repeat(np.cumsum([0, *sizes[:-1]]), coded.region_filters)[: len(coded.codes)]
        first = first.reshape(-1, *[1] * (coded.codes.ndim - 1))
        # Place 0 is zero; behind it lie the regions' values.
        places = np.where(coded.codes == 0, 0, coded.codes.astype(np.int64) + first)
        self.register_buffer("places", torch.from_numpy(places))

    def forward(self, values: Tensor) -> Tensor:
        """Return the weights, shaped as the codes; ``values`` has axis value."""
        return torch.cat([values.new_zeros(1), values])[self.places]  # type: ignore[index]

    def right_inverse(self, weight: Tensor) -> Tensor:
        """Return the codebooks, whatever the weights were."""
        return weight.new_tensor(np.concatenate(self.coded.values))


def share_weights(model: nn.Module, coded: Mapping[str, CodedWeights]) -> None:
    """Replace weights by codebooks, in place; what is trained from then on are their values.

    Parameters
    ----------
    coded : mapping of str to CodedWeights
        By the name of a module with a ``weight``; codes have the weight's axes.

    Raises
    ------
    UserError
        There is no such module, its weight has another shape, or it has a codebook already.
    """
    modules = dict(model.named_modules())
    for name, weights in coded.items():
        weight = getattr(modules.get(name), "weight", None)
        if not isinstance(weight, Tensor):
            raise UserError(f"Layer {name} must be a module with a weight")
        if parametrize.is_parametrized(modules[name], "weight"):
            raise UserError(f"Layer {name} must not have a parametrised weight already")
        if tuple(weight.shape) != weights.codes.shape:
            raise UserError(
                f"Codes of layer {name} must have shape {tuple(weight.shape)}, "
                f"not {weights.codes.shape}"
            )
    for name, weights in coded.items():
        parametrize.register_parametrization(modules[name], "weight", SharedWeights(weights))


def shared_values(module: nn.Module) -> nn.Parameter | None:
    """Return the values that a module's weights share, None where it has no codebook."""
    if _shared(module) is None:
        return None
    return module.parametrizations["weight"].original  # type: ignore[index, union-attr, return-value]


def coded_weights(model: nn.Module) -> dict[str, CodedWeights]:
    """Return the codebooks with their values as they are now, by module name."""
    found = {}
    for name, module in model.named_modules():
        shared, values = _shared(module), shared_values(module)
        if shared is not None and values is not None:
            array = values.detach().cpu().numpy().astype(np.float32)
            found[name] = _with_values(shared.coded, array)
    return found


def decode_weights(model: nn.Module) -> None:
    """Make shared weights plain ones, in place: what the codebooks decode to now."""
    for module in model.modules():
        if _shared(module) is not None:
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)


def _shared(module: nn.Module) -> SharedWeights | None:
    if not parametrize.is_parametrized(module, "weight"):
        return None
    for each in module.parametrizations["weight"]:  # type: ignore[index, union-attr]
        if isinstance(each, SharedWeights):
            return each
    return None


def _with_values(coded: CodedWeights, values: np.ndarray) -> CodedWeights:
    ends = np.cumsum([len(each) for each in coded.values])[:-1]
    books = tuple(np.split(values, ends))
    return CodedWeights(coded.bits, coded.codes, books, coded.region_filters, coded.value_bits)
