"""A program that goes with a design: one output, whose code and counters are known by hand."""

from __future__ import annotations

import numpy as np

from golden.arithmetic import Requantisation
from golden.config import TomlConfig
from golden.layer import LayerShape
from golden.machines.cluster.config import SkipMode
from golden.program import LayerRun, LayerTask
from rtl.host import Hardware
from rtl.verilog.vectors import LayerAnswer

__all__ = ["example"]

#: One filter over one pixel: 1 * 1 + 2 * 2 + ... + 8 * 8 = 204. A zero in both is no pair.
_VALUES = (1, 2, 3, 4, 0, 5, 6, 7, 8)
_CODE, _COUNTERS = 204, {"outputs": 1, "pairs": 8}


def example(hardware: Hardware, config: TomlConfig) -> LayerAnswer:
    """Return a layer whose one code is the same before it is requantised and after.

    Of the counters it has those that the layer alone decides.
    """
    layer = LayerShape(
        name="example",
        in_channels=len(_VALUES),
        in_height=1,
        in_width=1,
        out_channels=1,
        kernel_height=1,
        kernel_width=1,
    )
    one, counted = np.ones(1, dtype=np.int64), hardware.design(config).registers.counters
    run = LayerRun(
        task=LayerTask(layer=layer, weights=np.array(_VALUES, np.int8).reshape(1, 1, 1, -1)),
        activations=np.array(_VALUES, np.uint8).reshape(1, 1, -1),
        requantisation=Requantisation(0 * one, 2 * one, one, low=0, high=255),  # 2 / 2**1
    )
    return LayerAnswer(
        name="example",
        run=run,
        mode=SkipMode.BOTH,
        codes=np.full((1, 1, 1), _CODE, dtype=np.uint8),
        counters={name: value for name, value in _COUNTERS.items() if name in counted},
        about={"layer": "one filter over one pixel"},
    )
