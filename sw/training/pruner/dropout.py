"""Dropout that falls with density: sparser layers overfit less (Han et al., NeurIPS 2015, 3.2)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.dropout import _DropoutNd
from torch.overrides import TorchFunctionMode
from torch.utils.weak import WeakTensorKeyDictionary

from sw.training.pruner.example import Example, run

__all__ = ["rates", "readers", "rescale"]


def rates(model: nn.Module) -> dict[str, float]:
    """Return the rate of each dropout module, of channels too, by name."""
    return {name: m.p for name, m in model.named_modules() if isinstance(m, _DropoutNd)}


def readers(
    model: nn.Module, example: Example, layers: Mapping[str, nn.Module]
) -> dict[str, tuple[str, ...]]:
    """Return the layers that read what each dropout gives, by following the data.

    Parameters
    ----------
    example : Example
        What the model takes.
    layers : mapping of str to nn.Module
        Data are followed up to the first of these on every way.

    Raises
    ------
    UserError
        The model does not take the example.
    """
    found: dict[str, dict[str, None]] = {name: {} for name in rates(model)}
    trace = _Trace()
    handles = [
        model.get_submodule(name).register_forward_hook(partial(trace.dropped, name))
        for name in found
    ]
    for name, layer in layers.items():

        def read(_: nn.Module, args: Any, kwargs: Any, name: str = name) -> None:
            for dropout in trace.of((args, kwargs)):
                found[dropout][name] = None

        handles.append(layer.register_forward_pre_hook(read, with_kwargs=True))
        handles.append(layer.register_forward_hook(trace.computed))
    try:
        with trace:
            run(model, example)
    finally:
        for handle in handles:
            handle.remove()
    return {name: tuple(each) for name, each in found.items()}


def rescale(
    model: nn.Module,
    original: Mapping[str, float],
    reading: Mapping[str, Iterable[str]],
    density: Callable[[str], tuple[int, int]],
) -> None:
    """Lower each rate to ``rate * sqrt(density)`` of the layers that read it, in place.

    Parameters
    ----------
    original : mapping of str to float
        Rates of the dense network (``rates``).
    reading : mapping of str to sequence of str
        As ``readers`` returns; a dropout that no layer reads keeps its rate.
    density : function
        Returns the weights of a layer that are not zero, and all of them.
    """
    for name, layers in reading.items():
        counts = [density(layer) for layer in layers]
        if counts:
            kept, size = map(sum, zip(*counts, strict=True))
            model.get_submodule(name).p = original[name] * math.sqrt(kept / size)  # type: ignore[assignment]


class _Trace(TorchFunctionMode):
    """Notes of each tensor which dropouts it comes from, with no layer between."""

    def __init__(self) -> None:
        super().__init__()
        self._sources = WeakTensorKeyDictionary()

    def of(self, values: Any) -> frozenset[str]:
        none: frozenset[str] = frozenset()
        return none.union(*(self._sources.get(each) or none for each in _tensors(values)))

    def dropped(self, name: str, _: nn.Module, args: Any, output: Tensor) -> Tensor:
        # In eval a dropout may return the tensor that it was given, which others read too.
        copy = output.clone()
        self._sources[copy] = self.of(args) | {name}
        return copy

    def computed(self, _: nn.Module, args: Any, output: Any) -> None:
        for each in _tensors(output):
            self._sources[each] = frozenset()

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if sources := self.of((args, kwargs)):
            for each in _tensors(result):
                self._sources[each] = sources
        return result


def _tensors(values: Any) -> list[Tensor]:
    if isinstance(values, Tensor):
        return [values]
    if isinstance(values, Mapping):
        values = tuple(values.values())
    if isinstance(values, (tuple, list)):
        return [tensor for each in values for tensor in _tensors(each)]
    return []
