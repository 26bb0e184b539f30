"""A network that generates the weights of others: of one network in any of its widths."""

from __future__ import annotations

import math
from itertools import islice
from typing import cast

import torch
from torch import Tensor, nn

from golden.errors import UserError
from sw.training.loop.objective import Batches
from sw.training.masks import layers, weight
from sw.training.networks.definition import Definition
from sw.training.search.evolution import Widths

__all__ = ["LayerGenerator", "PruningNet", "recalibrate"]


class LayerGenerator(nn.Module):
    """Two fully connected layers: from a network's encoding to a layer's weight at full size.

    Parameters
    ----------
    layer : Conv2d or Linear
        With fresh weights, around which those generated at first lie.
    inputs : int
        Length of the encoding.
    hidden : int
        Outputs of the first layer.
    """

    def __init__(self, layer: nn.Conv2d | nn.Linear, inputs: int, hidden: int) -> None:
        super().__init__()
        weight, bias = layer.weight.detach(), layer.bias
        self.shape = weight.shape
        self.fc1 = nn.Linear(inputs, hidden)
        self.fc2 = nn.Linear(hidden, weight.numel())
        with torch.no_grad():
            # PyTorch's own start is for outputs near 1; a weight's is near 1 / sqrt(fan-in).
            self.fc2.weight *= math.sqrt(hidden / weight[0].numel())
            self.fc2.bias.copy_(weight.flatten())
        self.bias = None if bias is None else nn.Parameter(bias.detach().clone())

    def forward(self, encoding: Tensor) -> Tensor:
        """Return a weight, axes as PyTorch has them, from an encoding, axis width."""
        # A step moves a weight 1 + |hidden|^2 times as far as if the weight itself were trained,
        # which is too far for networks without batch normalisation: the norm is kept below 1.
        hidden = self.fc1(encoding).relu() / math.sqrt(self.fc1.out_features)
        return self.fc2(hidden).view(self.shape)


class PruningNet(nn.Module):
    """Weights for every choice of a network's widths (MetaPruning, section 3.1).

    A layer's weight is generated at full size from the encoding, the widths as shares of the full
    ones, and cropped: its first filters and, of each, its first input channels. Biases are
    learned at full size and cropped; batch normalisation scales by 1 and adds 0.

    Parameters
    ----------
    definition : Definition
    hidden : int
        Outputs of the first of each layer's two generating layers.
    smallest : float
        Share of a width that is drawn at least.

    Raises
    ------
    UserError
        The definition has no widths, or layers of which it is not known how they are cropped.
    """

    def __init__(self, definition: Definition, *, hidden: int = 32, smallest: float = 0.1) -> None:
        super().__init__()
        if definition.widths is None:
            raise UserError(f"Network must have widths to choose, {definition.name} has none")
        full = definition.make()
        for name, module in full.named_modules():
            known = isinstance(module, (nn.Conv2d, nn.Linear, nn.BatchNorm1d, nn.BatchNorm2d))
            if not known and list(module.parameters(recurse=False)):
                raise UserError(
                    f"Layer {name} must be a convolution, fully connected or a batch "
                    f"normalisation, not {type(module).__name__}"
                )
        self.make = definition.make
        self.full: Widths = definition.widths
        self.narrowest: Widths = tuple(max(1, math.ceil(smallest * each)) for each in self.full)
        self.generators = nn.ModuleList(
            LayerGenerator(layer, len(self.full), hidden)  # type: ignore[arg-type]
            for layer in layers(full).values()
        )

    def forward(self, images: Tensor) -> Tensor:
        """Run a network of random widths with batch statistics: for training only."""
        return self.run(self.draw(), images)

    def draw(self) -> Widths:
        """Return widths, each uniform from the narrowest to the full one."""
        return tuple(
            int(torch.randint(low, high + 1, ()))
            for low, high in zip(self.narrowest, self.full, strict=True)
        )

    def run(self, widths: Widths, images: Tensor) -> Tensor:
        """Run a network; gradients flow into the generators."""
        small = self.make(widths=widths).to(images.device)
        return torch.func.functional_call(small, self._generate(widths, small), (images,))

    @torch.no_grad()
    def network(self, widths: Widths) -> nn.Module:
        """Return a network with generated weights; its batch normalisation is fresh."""
        small = self.make(widths=widths)
        small.load_state_dict(self._generate(widths, small), strict=False)
        return small

    def _generate(self, widths: Widths, small: nn.Module) -> dict[str, Tensor]:
        encoding = torch.tensor(
            [width / full for width, full in zip(widths, self.full, strict=True)],
            device=next(self.parameters()).device,
        )
        state: dict[str, Tensor] = {}
        for generator, (name, layer) in zip(self.generators, layers(small).items(), strict=True):
            # Pictures are flattened channel by channel: the first inputs are the first channels'.
            kept = tuple(slice(size) for size in weight(layer).shape)
            # A like tensor has the layer's memory format too: a quarter faster in ResNet-8.
            state[f"{name}.weight"] = torch.empty_like(weight(layer)).copy_(
                generator(encoding)[kept]
            )
            if (bias := cast(LayerGenerator, generator).bias) is not None:
                state[f"{name}.bias"] = bias[kept[0]]
        return state


@torch.no_grad()
def recalibrate(model: nn.Module, batches: Batches, count: int | None = None) -> None:
    """Measure the statistics of batch normalisation anew, in place: their means over batches.

    Parameters
    ----------
    count : int, optional
        Batches to take; all by default.
    """
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # type: ignore[assignment]  # a plain mean
    model.train()
    for inputs, _ in islice(batches, count):
        model(inputs)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
