"""A program that goes with a design: one output, whose code and counters are known by hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from golden.arithmetic import Requantisation
from golden.config import TomlConfig
from golden.layer import LayerShape
from golden.machines.cluster.config import SkipMode
from golden.program import LayerRun, LayerTask
from rtl.host import Hardware

__all__ = ["example"]

#: One filter over one pixel: 1 * 1 + 2 * 2 + ... + 8 * 8 = 204. A zero in both is no pair.
_VALUES = (1, 2, 3, 4, 0, 5, 6, 7, 8)
_CODE, _COUNTERS = 204, {"outputs": 1, "pairs": 8}


def example(hardware: Hardware, config: TomlConfig) -> dict[str, Any]:
    """Return what the first design of a machine is given for it, and what it gives: plain values.

    Words of the load stream by target, beats of the filter stream in hexadecimal, layer registers
    by name; then the output's code before it is requantised or after, which are the same, and
    counters that the layer alone decides.
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
    program = hardware.programs(config, run, SkipMode.BOTH)[0]
    assert program is not None  # the first design has the first output
    return {
        "layer_registers": program.registers,
        "loads": {name: words.tolist() for name, words in program.loads.items()},
        "beats": [beat[::-1].tobytes().hex() for beat in program.beats],
        "code": _CODE,
        "counters": {name: value for name, value in _COUNTERS.items() if name in counted},
    }
