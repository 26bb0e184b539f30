"""A network of many sizes at once: widths of layers and depths of stages are drawn at each step.

What transformable architecture search trains (Dong and Yang, NeurIPS 2019, section 3.2). It is
the network itself, with its layers replaced by ones that cut their weights to the drawn widths,
and with the blocks of a stage behind one module that mixes their outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from golden.errors import UserError
from sw.training.cost import run_layers
from sw.training.masks import weight
from sw.training.networks.definition import Definition

__all__ = ["Architecture", "Supernet", "draw_two", "resize_channels"]

#: Added to probabilities of drawing, so that a second size can always be drawn.
EPSILON = 1e-7


@dataclass(frozen=True)
class Architecture:
    """A network to be made.

    Parameters
    ----------
    widths : tuple of int
        As ``Definition.widths``.
    depths : tuple of int
        Blocks that stay, of each stage, from its first on; empty where nothing is searched.
    """

    widths: tuple[int, ...]
    depths: tuple[int, ...]


def resize_channels(x: Tensor, channels: int) -> Tensor:
    """Interpolate along the channels: adaptive average pooling over them alone.

    Parameters
    ----------
    x : Tensor, axes n, c, y, x
    channels : int
        Output channel i is the mean of the inputs from ``floor(i c / channels)`` to
        ``ceil((i + 1) c / channels) - 1``.
    """
    if x.shape[1] == channels:
        return x
    # Of the identity, pooling leaves its own matrix: a 1 x 1 convolution is 5 times faster here.
    matrix = nn.functional.adaptive_avg_pool1d(torch.eye(x.shape[1], device=x.device), channels).T
    return nn.functional.conv2d(x, matrix[:, :, None, None])


def gumbel(logits: Tensor, temperature: float) -> Tensor:
    """Return log probabilities with Gumbel noise over the temperature; softmax is left to do."""
    noise = -torch.log(-torch.log(torch.rand_like(logits).clamp(1e-20, 1 - 1e-7)))
    return (logits.log_softmax(0) + noise) / temperature


def draw_two(logits: Tensor, temperature: float) -> tuple[list[int], Tensor]:
    """Draw two different sizes, and return them with their probabilities made to add up to 1.

    Parameters
    ----------
    logits : Tensor, axis size

    Returns
    -------
    indices : list of int
        Two, or one if there is no other.
    shares : Tensor, axis index
        Differentiable in the logits.
    """
    noisy = gumbel(logits, temperature)
    with torch.no_grad():
        indices = torch.multinomial(noisy.softmax(0) + EPSILON, min(2, len(logits)))
    return indices.tolist(), noisy[indices].softmax(0)


class _Drawn:
    """Which of its sizes a width or a depth has in this step, and how much each counts."""

    def __init__(self, sizes: Sequence[int]) -> None:
        self.sizes = tuple(sizes)
        self.indices: list[int] = []
        self.shares = torch.ones(0)

    @property
    def chosen(self) -> list[int]:
        return [self.sizes[index] for index in self.indices]


class _Layer(nn.Module):
    """A convolution or fully connected layer of as many inputs as come, and the drawn outputs."""

    def __init__(self, layer: nn.Conv2d | nn.Linear, width: _Drawn | None) -> None:
        super().__init__()
        self.layer = layer
        self.width = width

    def forward(self, x: Tensor) -> Tensor:
        outputs = max(self.width.chosen) if self.width else self.layer.weight.shape[0]
        weight = self.layer.weight[:outputs, : x.shape[1]]
        bias = None if self.layer.bias is None else self.layer.bias[:outputs]
        if isinstance(self.layer, nn.Linear):
            return nn.functional.linear(x, weight, bias)
        return nn.functional.conv2d(x, weight, bias, self.layer.stride, self.layer.padding)  # type: ignore[arg-type]


class _Norm(nn.Module):
    """Batch normalisation, one for each width; what the drawn ones return is aggregated."""

    def __init__(self, norm: nn.BatchNorm2d, width: _Drawn) -> None:
        super().__init__()
        self.width = width
        self.norms = nn.ModuleList()
        for size in width.sizes:
            part = nn.BatchNorm2d(size, norm.eps, norm.momentum)
            part.load_state_dict(
                {
                    key: value[:size] if value.ndim else value
                    for key, value in norm.state_dict().items()
                }
            )
            self.norms.append(part)

    def forward(self, x: Tensor) -> Tensor:
        largest = max(self.width.chosen)
        total = torch.zeros(())
        for index, share in zip(self.width.indices, self.width.shares, strict=True):
            part = self.norms[index](x[:, : self.width.sizes[index]])
            total = total + share * resize_channels(part, largest)
        return total


class _Stage(nn.Module):
    """The blocks of a stage; its output is the mean of theirs, by the probabilities of depths."""

    def __init__(self, blocks: Sequence[nn.Module], depth: _Drawn) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.depth = depth

    def forward(self, x: Tensor) -> Tensor:
        outputs = []
        for block in self.blocks[: max(self.depth.chosen)]:
            x = block(x)
            outputs.append(x)
        mean = torch.zeros(())
        for index, share in zip(self.depth.indices, self.depth.shares, strict=True):
            mean = mean + share * outputs[self.depth.sizes[index] - 1]
        return mean


@dataclass(frozen=True)
class _LayerCost:
    """Multiplications of a layer by its widths: ``unit * inputs * outputs``.

    Parameters
    ----------
    unit : int
        Places of the output by weights of a kernel.
    inputs, outputs : int
        Channels, unless they are searched.
    free_inputs, free_outputs : int, optional
        The number of the width that they follow.
    block : tuple of int, optional
        Stage and place in it; the layer is there if the stage is deeper than the place.
    """

    unit: int
    inputs: int
    outputs: int
    free_inputs: int | None
    free_outputs: int | None
    block: tuple[int, int] | None


class Supernet(nn.Module):
    """All sizes of a network; a forward pass draws two of each width.

    The first half of a batch is for the weights, the other for the architecture: the first's
    outputs have no gradient for the architecture, the second's none for the weights.

    Parameters
    ----------
    network : nn.Module
        At full size; it is taken apart.
    definition : Definition
        Of the network; its widths are searched. Where the network has ``stages``, the number
        of blocks of each is searched too, if it has two or more.
    input_shape : tuple of int, axes c, y, x
    shares : sequence of float
        Sizes of a width, of its full one; rounded down, 1 at least.

    Attributes
    ----------
    alphas, betas : ParameterList of Tensor, axis size
        Logits of widths, and of depths of the stages that are searched.
    temperature : float
        Of the Gumbel noise; set it before each step.

    Raises
    ------
    UserError
        Widths are not those of convolutions with batch normalisation, or the network is not
        at its full size.
    """

    def __init__(
        self,
        network: nn.Module,
        definition: Definition,
        input_shape: tuple[int, ...],
        shares: Sequence[float],
    ) -> None:
        super().__init__()
        full, free = _follow(network, definition)
        self.definition = definition
        self.temperature = 1.0
        self.widths = [
            _Drawn(sorted({max(1, int(share * width)) for share in shares})) for width in full
        ]
        self.stages = [names for names in getattr(network, "stages", []) if len(names) > 1]
        self.depths = [_Drawn(range(1, len(names) + 1)) for names in self.stages]
        self.alphas = nn.ParameterList(0.01 * torch.randn(len(w.sizes)) for w in self.widths)
        self.betas = nn.ParameterList(0.01 * torch.randn(len(d.sizes)) for d in self.depths)
        self.costs = self._costs(network, input_shape, free)
        for name, module in list(network.named_modules()):
            outputs = free[name][0] if name in free else None
            width = None if outputs is None else self.widths[outputs]
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                network.set_submodule(name, _Layer(module, width))
            elif isinstance(module, nn.BatchNorm2d) and width is not None:
                network.set_submodule(name, _Norm(module, width))
        for names, depth in zip(self.stages, self.depths, strict=True):
            stage = _Stage([network.get_submodule(name) for name in names], depth)
            network.set_submodule(names[0], stage)
            for name in names[1:]:
                network.set_submodule(name, nn.Identity())
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        half = len(images) // 2
        self._draw(learn=False)
        outputs = [self.network(images[:half])]
        self.network.requires_grad_(False)
        self._draw(learn=True)
        outputs.append(self.network(images[half:]))
        self.network.requires_grad_(True)
        return torch.cat(outputs)

    def expected_macs(self) -> Tensor:
        """Return the mean multiplications over all architectures, differentiable."""
        widths = [
            (alpha.softmax(0) * torch.tensor(width.sizes, device=alpha.device)).sum()
            for alpha, width in zip(self.alphas, self.widths, strict=True)
        ]
        # A block is there in all depths from its own on.
        there = [beta.softmax(0).flip(0).cumsum(0).flip(0) for beta in self.betas]
        return self._total(widths, there)

    def macs(self, architecture: Architecture) -> int:
        """Return the multiplications of one architecture."""
        there = [
            [place < depth for place in range(len(names))]
            for depth, names in zip(architecture.depths, self.stages, strict=True)
        ]
        return self._total(architecture.widths, there)

    def most_probable(self) -> Architecture:
        """Return the architecture of the largest logits."""
        return Architecture(
            tuple(w.sizes[int(a.argmax())] for w, a in zip(self.widths, self.alphas, strict=True)),
            tuple(d.sizes[int(b.argmax())] for d, b in zip(self.depths, self.betas, strict=True)),
        )

    def fit(self, budget: tuple[float, float]) -> Architecture:
        """Return the most probable architecture, moved to where it meets a budget.

        Step by step the width or depth changes to its next size that gives up the least
        log probability for a multiplication removed, or added.

        Parameters
        ----------
        budget : tuple of float
            Fewest and most multiplications. A step up is only taken to no more than the most;
            where there is none, the architecture stays below the fewest.
        """
        drawn = [*self.widths, *self.depths]
        scores = [each.detach().log_softmax(0).tolist() for each in (*self.alphas, *self.betas)]
        place = [each.index(max(each)) for each in scores]
        least, most = budget

        def built(at: list[int]) -> Architecture:
            sizes = tuple(each.sizes[index] for each, index in zip(drawn, at, strict=True))
            return Architecture(sizes[: len(self.widths)], sizes[len(self.widths) :])

        def step(direction: int) -> list[int] | None:
            """Return the best places after one step, if there is one."""
            best: tuple[float, list[int]] | None = None
            before = self.macs(built(place))
            for number, (index, score) in enumerate(zip(place, scores, strict=True)):
                if not 0 <= index + direction < len(score):
                    continue
                other = [*place[:number], index + direction, *place[number + 1 :]]
                change = abs(self.macs(built(other)) - before)
                loss = (score[index] - score[index + direction]) / max(1, change)
                fits = direction < 0 or before + change <= most
                if fits and (best is None or loss < best[0]):
                    best = loss, other
            return best and best[1]

        while self.macs(built(place)) > most and (lower := step(-1)) is not None:
            place = lower
        while self.macs(built(place)) < least and (higher := step(1)) is not None:
            place = higher
        return built(place)

    def smallest(self) -> Architecture:
        """Return the architecture of the least multiplications."""
        return Architecture(
            tuple(width.sizes[0] for width in self.widths),
            tuple(depth.sizes[0] for depth in self.depths),
        )

    def make(self, architecture: Architecture) -> nn.Module:
        """Return a network of this architecture with fresh weights."""
        made = self.definition.make(architecture.widths)
        for names, depth in zip(self.stages, architecture.depths, strict=True):
            for name in names[depth:]:
                made.set_submodule(name, nn.Identity())
        return made

    def _draw(self, *, learn: bool) -> None:
        """Draw two sizes of each width and weights of all depths; ``learn``: with gradients."""
        for width, alpha in zip(self.widths, self.alphas, strict=True):
            logits = alpha if learn else alpha.detach()
            width.indices, width.shares = draw_two(logits, self.temperature)
        for depth, beta in zip(self.depths, self.betas, strict=True):
            depth.indices = list(range(len(depth.sizes)))
            logits = beta if learn else beta.detach()
            depth.shares = gumbel(logits, self.temperature).softmax(0)

    def _total(self, widths: Sequence[Any], there: Sequence[Any]) -> Any:
        total: Any = 0
        for cost in self.costs:
            inputs = cost.inputs if cost.free_inputs is None else widths[cost.free_inputs]
            outputs = cost.outputs if cost.free_outputs is None else widths[cost.free_outputs]
            share = 1 if cost.block is None else there[cost.block[0]][cost.block[1]]
            total = total + cost.unit * inputs * outputs * share
        return total

    def _costs(
        self, network: nn.Module, input_shape: tuple[int, ...], free: dict[str, list[int | None]]
    ) -> list[_LayerCost]:
        blocks = {
            name: (stage, place)
            for stage, names in enumerate(self.stages)
            for place, name in enumerate(names)
        }
        costs = []
        for run in run_layers(network, torch.zeros(input_shape)):
            outputs, inputs = weight(run.layer).shape[:2]
            free_outputs, free_inputs = free[run.name]
            costs.append(
                _LayerCost(
                    unit=run.macs // (inputs * outputs),
                    inputs=inputs,
                    outputs=outputs,
                    free_inputs=free_inputs,
                    free_outputs=free_outputs,
                    block=blocks.get(run.name.split(".")[0]),
                )
            )
        return costs


def _follow(
    network: nn.Module, definition: Definition
) -> tuple[tuple[int, ...], dict[str, list[int | None]]]:
    """Return the full widths, and by layer which of them its outputs and inputs follow.

    It is seen from what changes when a network is made with one channel less.
    """
    widths = definition.widths
    refusal = UserError(
        "Network for method tas must have widths to choose, each of convolutions with batch "
        f"normalisation (vgg-small, a ResNet); {definition.name} has not"
    )
    if widths is None:
        raise refusal
    full = _shapes(definition, widths)
    if full != {name: tuple(each.shape) for name, each in network.state_dict().items()}:
        raise UserError(
            f"Model for method tas must be a {definition.name} of full size, not one from which "
            "something was removed"
        )
    kinds = dict(network.named_modules())
    free: dict[str, list[int | None]] = {
        name: [None, None]
        for name, module in kinds.items()
        if isinstance(module, (nn.Conv2d, nn.Linear, nn.BatchNorm2d))
    }
    for number, width in enumerate(widths):
        if width == 1:
            raise refusal
        other = _shapes(definition, (*widths[:number], width - 1, *widths[number + 1 :]))
        convolutions = norms = 0
        for name in free:
            pairs = zip(full[f"{name}.weight"][:2], other[f"{name}.weight"][:2], strict=True)
            for axis, (before, after) in enumerate(pairs):
                if before == after:
                    continue
                module = kinds[name]
                usual = isinstance(module, nn.Linear) or getattr(module, "groups", 1) == 1
                if after != before - 1 or not usual or free[name][axis] is not None:
                    raise refusal
                free[name][axis] = number
                convolutions += isinstance(module, nn.Conv2d) and axis == 0
                norms += isinstance(module, nn.BatchNorm2d)
                if isinstance(module, nn.Linear) and axis == 0:
                    raise refusal
        if not convolutions or convolutions != norms:
            raise refusal
    return widths, free


def _shapes(definition: Definition, widths: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    with torch.device("meta"):
        made = definition.make(widths)
    return {name: tuple(each.shape) for name, each in made.state_dict().items()}
