"""Scenes that drive the widths of a processing element of ExTensor."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from golden import reference
from golden.layer import LayerShape
from golden.machines.cluster.config import SkipMode
from golden.machines.extensor import ExTensorConfig
from rtl.extensor.driver import Kernel
from rtl.extensor.hardware import HARDWARE
from rtl.host import Design, Program
from tests.arch.extensor_oracle import run_layer as run_oracle
from tests.case import CONFIGURATIONS, Case, make_case
from tests.rtl.faults.bench import Scene, SpecifiedScene, handshakes
from tests.rtl.faults.extremes import extreme

__all__ = ["CONFIG", "design", "scenes"]

CONFIG = ExTensorConfig.preset("toy").replace(name="limits", pes=1, tile_bytes=128)


def design() -> Design:
    """Return the machine."""
    return HARDWARE.design(CONFIG)


def _case(channels: int, size: tuple[int, int], filters: int, kernel: int = 1, **options) -> Case:
    layer = LayerShape(
        name="layer", in_channels=channels, in_height=size[0], in_width=size[1],
        out_channels=filters, kernel_height=kernel, kernel_width=kernel,
        groups=options.pop("groups", 1),
    )  # fmt: skip
    return make_case("case", CONFIGURATIONS["output-major"], layer,
                     **{"output_signed": True, "relu": False, **options})  # fmt: skip


def _program(case: Case) -> Program:
    (program,) = HARDWARE.programs(CONFIG, case.run(), SkipMode.BOTH)
    assert program is not None
    return program


def _beats(case: Case) -> list[int]:
    """Return the codes of a case in the order of its items, by the golden model."""
    layer = case.layer
    codes = reference.convolve(case.weights, case.activations, layer, case.requantisation)
    codes = codes.reshape(layer.positions, -1).view(np.uint8)
    beats: list[int] = []
    for item in Kernel.build(CONFIG, case.run()).items(CONFIG, 0):
        first = item.group * layer.group_filters
        rows = slice(first + item.rows.start, first + item.rows.stop)
        beats += codes[item.columns.start : item.columns.stop, rows].reshape(-1).tolist()
    return beats


def _counters(case: Case) -> dict[str, int]:
    operands = case.layer, case.weights, case.activations, case.requantisation
    found = run_oracle(CONFIG, *operands)[1]
    names = design().registers.counter_addresses
    return {
        name: int(found.unit(name.partition(".")[2])[0] if "." in name else found.pe(name)[0])
        for name in names
    }


def scenes() -> Iterator[SpecifiedScene]:
    """Yield what is played; what reaches furthest for its time comes first."""
    made = design()

    def whole(title: str, case: Case) -> SpecifiedScene:
        scene, counters = Scene(made, title), _counters(case)
        scene.program(_program(case))
        scene.finish(counters["cycles"] + 60)
        return SpecifiedScene(scene, _beats(case), counters=counters)

    main = _case(40, (2, 3), 6, weight_density=0.7, activation_density=0.7)
    yield whole("plain", main)
    yield whole("dense", _case(64, (2, 2), 5, weight_density=1.0, activation_density=1.0,
                               signed=True, zero_point=-100))  # fmt: skip
    yield whole("unsigned", _case(30, (3, 3), 5, 2, output_signed=False, relu=True,
                                  zero_point=200, groups=1))  # fmt: skip
    yield whole("groups", _case(28, (4, 4), 8, 3, groups=2))
    yield whole("sparse", _case(300, (2, 3), 9, weight_density=0.05, activation_density=0.08))
    #: 256 tiles, of which few have anything.
    yield whole("all tiles", _case(4096, (1, 1), 3, weight_density=0.01, activation_density=0.2,
                                   seed=3))  # fmt: skip
    yield from handshakes(made, _program(main), _beats(main))
    #: 1,024 items and 4,096 channels: as many as the tables hold.
    case = _case(1, (1, 1), 4095, weight_density=0.9, activation_density=1.0, signed=True)
    how = case.requantisation
    numbers = np.arange(case.layer.out_channels)
    case = replace(case, requantisation=replace(how, bias=numbers * 37 % 1021 - 500))
    yield whole("all items", case)
    yield whole("extremes", replace(case, requantisation=extreme(how, 7)))
    case = _case(1, (1, 1), 4095, activation_density=1.0, output_signed=False, relu=True)
    yield whole("unsigned extremes", replace(case, requantisation=extreme(case.requantisation, 8)))
