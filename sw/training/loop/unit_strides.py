"""Strided 1 x 1 convolutions, trained in a form that oneDNN computes right.

Their gradient to the weight is wrong, or the process dies, on processors without AVX-512, where
the layout is channels-last and the inputs have fewer than 8 channels: docs/pruning.md says more.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ContextDecorator
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

__all__ = ["UnitStrides", "is_at_risk"]

#: oneDNN gathers inputs wrong where there are fewer.
AT_RISK_CHANNELS = 8


class UnitStrides(TorchFunctionMode, ContextDecorator):
    """Within it, a 1 x 1 convolution picks the inputs that it needs and has stride 1.

    Whoever calls it: a layer, ``nn.functional.conv2d``, a user's module. The sums are the same,
    and take no longer. Not for transposed convolutions, which the machine has not.
    """

    _entered: ClassVar[int] = 0

    def __enter__(self) -> Self:
        UnitStrides._entered += 1
        super().__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        UnitStrides._entered -= 1
        super().__exit__(*error)

    @classmethod
    def is_active(cls) -> bool:
        """Tell whether the caller is within one."""
        return cls._entered > 0

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        call = _conv2d if func is torch.conv2d else func
        return call(*args, **(kwargs or {}))


def is_at_risk(layer: nn.Module) -> bool:
    """Tell whether this processor computes a layer's gradient wrong where it lies channels-last."""
    return (
        isinstance(layer, nn.Conv2d)
        and layer.kernel_size == (1, 1)
        and _pair(layer.stride) != (1, 1)
        and layer.groups == 1
        and layer.in_channels < AT_RISK_CHANNELS
        and layer.weight.device.type == "cpu"
        and torch.backends.cpu.get_cpu_capability() != "AVX512"
    )


def _conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | str | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor:
    unpadded = padding == "valid" or not any(_pair(padding))
    if weight.shape[2:] == (1, 1) and unpadded and _pair(stride) != (1, 1):
        # Pooling by 1 x 1 picks as a slice does, and its gradient keeps the layout, which a
        # slice's does not: ResNet-8's shortcuts take a third less time so.
        input, stride = nn.functional.avg_pool2d(input, 1, _pair(stride)), 1
    return torch.conv2d(input, weight, bias, stride, padding, dilation, groups)  # type: ignore[arg-type]


def _pair(value: Any) -> tuple[Any, Any]:
    return (value, value) if isinstance(value, int) else (value[0], value[-1])
