"""Scenes that drive the widths of a core of Cambricon-S."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from golden import reference
from golden.machines.cluster.config import SkipMode
from golden.program import LayerRun, LayerTask
from rtl.cambricon_s.hardware import HARDWARE
from rtl.host import Design, Program
from tests.arch.cambricon_s_cases import CONFIGURATIONS, CambriconSCase, layer_of, make_case
from tests.arch.cambricon_s_oracle import run_layer as run_oracle
from tests.rtl.faults.bench import Scene, SpecifiedScene, handshakes
from tests.rtl.faults.extremes import extreme

__all__ = ["CONFIG", "design", "scenes"]

CONFIG = CONFIGURATIONS["toy"].replace(name="limits", cores=1)
_MAIN = layer_of(20, (3, 4), 6, (3, 3), pad=(1, 1, 1, 1))


def design() -> Design:
    """Return the machine."""
    return HARDWARE.design(CONFIG)


def _program(case: CambriconSCase) -> Program:
    layer, weights, activations, how = case.arguments
    run = LayerRun(
        task=LayerTask(layer=layer, weights=weights), activations=activations, requantisation=how
    )
    (program,) = HARDWARE.programs(CONFIG, run, SkipMode.BOTH)
    assert program is not None
    return program


def _beats(case: CambriconSCase) -> list[int]:
    """Return the output beats of a case, by the golden model and the format of the output."""
    layer, weights, activations, how = case.arguments
    codes = reference.convolve(weights, activations, layer, how).reshape(layer.positions, -1)
    width, beats = CONFIG.output_width, []
    groups = np.arange(layer.out_channels).reshape(layer.groups, -1)
    for group in groups:
        for at in range(0, len(group), CONFIG.pes):
            block = group[at : at + CONFIG.pes]
            for position in codes:
                for first in range(0, len(block), width):
                    part = position[block[first : first + width]].view(np.uint8).tolist()
                    ends = first + width >= len(block)
                    beat = sum(code << 8 * lane for lane, code in enumerate(part))
                    held = (1 << len(part)) - 1
                    beats.append(beat | held << 8 * width | ends << 9 * width)
    return beats


def _counters(case: CambriconSCase) -> dict[str, int]:
    found = run_oracle(CONFIG, *case.arguments)[1]
    result = {}
    for name in design().registers.counter_addresses:
        unit, _, counter = name.partition(".")
        result[name] = int(
            found.unit(counter)[0, int(unit.removeprefix("unit"))]
            if counter
            else found.core(name)[0]
        )
    return result


def scenes() -> Iterator[SpecifiedScene]:
    """Yield what is played; what reaches furthest for its time comes first."""
    made = design()

    def whole(title: str, case: CambriconSCase) -> SpecifiedScene:
        scene, counters = Scene(made, title), _counters(case)
        scene.program(_program(case))
        scene.finish(counters["cycles"] + 60)
        return SpecifiedScene(scene, _beats(case), counters=counters)

    main = make_case("case", CONFIG, _MAIN, activation_density=0.8, seed=2)
    yield whole("plain", main)
    yield whole("signed", make_case("case", CONFIG, _MAIN, block_density=1.0, signed=True,
                                    output_signed=True, zero_point=-100, seed=3))  # fmt: skip
    yield whole("sparse", make_case("case", CONFIG, _MAIN, block_density=0.05, seed=4))
    groups = layer_of(24, (4, 3), 10, (3, 2), groups=2)
    yield whole("groups", make_case("case", CONFIG, groups, zero_point=200, seed=5))
    long = layer_of(150, (3, 3), 5, (2, 2))
    yield whole("many windows", make_case("case", CONFIG, long, block_density=0.9,
                                          activation_density=1.0, output_signed=True,
                                          seed=6))  # fmt: skip
    program, beats = _program(main), _beats(main)
    yield from handshakes(made, program, beats)
    first_block = main.layer.positions * -(-min(CONFIG.pes, 6) // CONFIG.output_width)
    for register, value, count in (
        ("blocks_last", 0x8001, len(beats)),
        ("positions_last", 0x80000B, first_block),
        ("tiles_last", 0x800001, CONFIG.tile_positions),
    ):
        scene = Scene(made, f"{register} {value:#x}")
        scene.program(replace(program), None, **{register: value})
        scene.wait(program.cycle_limit // 8)
        scene.note()
        yield SpecifiedScene(scene, beats[:count], complete=False)
    many = layer_of(1, (1, 1), CONFIG.pes * 1024 - 1)
    for title, signed in (("all blocks", False), ("all blocks, signed", True)):
        case = make_case("case", CONFIG, many, block_density=1.0, activation_density=1.0,
                         signed=signed, output_signed=signed, seed=7)  # fmt: skip
        yield whole(title, case)
        how = extreme(case.requantisation, 8)
        yield whole(f"{title}, extremes", replace(case, requantisation=how))
