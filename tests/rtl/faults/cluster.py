"""Scenes that drive every width of a cluster to its end, and what they must give.

The machine's buffers and tables are just as large as the layers need, so that the ends of all
addresses are reached. Registers are wider than any layer that can be simulated: those that count
are given numbers that are small without their highest bit, those of the geometry any numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from golden import reference
from golden.arithmetic import Requantisation
from golden.layer import LayerShape
from golden.machines.cluster.config import AcceleratorConfig, SkipMode
from rtl.cluster.hardware import HARDWARE
from rtl.cluster.layouts import LAYER_REGISTERS
from rtl.host import Design, Program
from tests.case import Case, make_case
from tests.oracle import run_layer as run_oracle
from tests.rtl.faults.bench import Scene, SpecifiedScene, handshakes
from tests.rtl.faults.extremes import extreme

__all__ = ["CONFIGS", "design", "scenes"]

_PLAIN = AcceleratorConfig.preset("toy").replace(
    name="limits", units=2, filters_per_unit=2, segment_chunks=2, tile_positions=4, fifo_depth=2,
    filter_double_buffer=True, collector_width=2, filter_bus_bytes=2, input_buffer_chunks=256,
    input_buffer_bytes=2016, filter_buffer_chunks=8, filter_buffer_bytes=256,
)  # fmt: skip
#: Scenes with any geometry.
_DRAWN = 60
CONFIGS = {"plain": _PLAIN}


def design(name: str) -> Design:
    """Return one of the machines."""
    return HARDWARE.design(CONFIGS[name])


def _layer(
    channels: int,
    size: tuple[int, int],
    filters: int,
    kernel: tuple[int, int] = (1, 1),
    stride: tuple[int, int] = (1, 1),
    groups: int = 1,
    pads: tuple[int, int, int, int] = (0, 0, 0, 0),
) -> LayerShape:
    """Return a layer; pads are top, left, bottom, right."""
    return LayerShape(
        name="layer", in_channels=channels, in_height=size[0], in_width=size[1],
        out_channels=filters, kernel_height=kernel[0], kernel_width=kernel[1],
        stride_height=stride[0], stride_width=stride[1], groups=groups, pad_top=pads[0],
        pad_left=pads[1], pad_bottom=pads[2], pad_right=pads[3],
    )  # fmt: skip


#: Two chunks a pixel, the last one ragged; two passes; two segments; six positions in two tiles.
_MAIN = _layer(40, (3, 3), 6, (2, 1))


def _case(
    config: AcceleratorConfig, layer: LayerShape, skip: SkipMode = SkipMode.BOTH,
    signed: bool = False, zero_point: int = 0, density: float = 0.9,
) -> Case:  # fmt: skip
    case = make_case(
        "case", config, layer, skip=skip, weight_density=0.8, activation_density=density,
        signed=signed, output_signed=signed, relu=not signed, seed=3,
    )  # fmt: skip
    numbers = np.arange(layer.out_channels)
    far = numbers % 2 == 1  # biases near 2**31, shifts beyond 32
    how = Requantisation(
        bias=np.where(far, np.where(numbers % 4 == 1, 1, -1) * 0x7FF00000, 500),
        multiplier=np.where(far, (1 << 24) - 1 - numbers % 9, 1 << 23),
        shift=np.where(far, 48 if signed else 47, 34),
        low=-128 if signed else zero_point,
        high=127 if signed else 255,
        signed=signed,
        zero_point=zero_point,
    )
    return replace(case, requantisation=how)


def _program(case: Case) -> Program:
    (program,) = HARDWARE.programs(case.config, case.run(), case.skip)
    assert program is not None
    return program


def _beats(case: Case) -> list[int]:
    """Return the output beats of a case, by the golden model and the format of the output."""
    codes = reference.convolve(
        case.weights, case.activations, case.layer, case.requantisation
    ).reshape(case.layer.positions, -1)
    schedule, lanes = case.schedule(), case.config.collector_width
    beats = []
    for number in range(len(schedule.assignment)):
        outputs = schedule.outputs(number)
        for position in codes:
            for at in range(0, len(outputs), lanes):
                part = position[outputs[at : at + lanes]].view(np.uint8).tolist()
                beats.append(_beat(part, lanes, at + lanes >= len(outputs)))
    return beats


def _beat(codes: list[int], lanes: int, last: bool) -> int:
    mask = sum(1 << lane for lane, code in enumerate(codes) if code)
    packed = sum(code << 8 * at for at, code in enumerate(code for code in codes if code))
    held = (1 << len(codes)) - 1
    return mask | held << lanes | packed << 2 * lanes | int(last) << 10 * lanes


def _counters(case: Case) -> dict[str, int]:
    """Return the counters of a case, by the tick oracle."""
    found = run_oracle(case.config, case.workload(), case.schedule(), case.skip)[1]
    names = HARDWARE.design(case.config).registers.counter_addresses
    result = {}
    for name in names:
        unit, _, counter = name.partition(".")
        result[name] = int(
            found.unit(counter)[0, int(unit.removeprefix("unit"))]
            if counter else found.cluster(name)[0]
        )  # fmt: skip
    return result


def scenes(name: str) -> Iterator[SpecifiedScene]:
    """Yield what is played on a machine; what reaches furthest for its time comes first."""
    config, made = CONFIGS[name], design(name)
    main = _case(config, _MAIN)
    program, beats = _program(main), _beats(main)

    def whole(title: str, case: Case) -> SpecifiedScene:
        scene, counters = Scene(made, title), _counters(case)
        scene.program(_program(case))
        scene.finish(counters["cycles"] + 60)
        return SpecifiedScene(scene, _beats(case), counters=counters)

    yield whole("both", main)
    yield whole("dense, signed", _case(config, _MAIN, SkipMode.DENSE, True, -100))
    yield whole("high zero point", _case(config, _MAIN, SkipMode.STATIC, False, 200))
    yield whole("sparse", _case(config, _MAIN, SkipMode.DYNAMIC, density=0.15))
    yield whole(
        "groups", _case(config, _layer(80, (2, 2), 12, (2, 2), groups=2, pads=(1, 1, 1, 1)))
    )
    for title, size, kernel, stride, pads in (
        ("kernel of 200 columns", (1, 256), (1, 200), (1, 56), (0, 0, 0, 0)),
        ("kernel of 200 rows", (256, 1), (200, 1), (56, 1), (0, 0, 0, 0)),
        ("kernel of 200 columns, padded", (1, 150), (1, 200), (1, 56), (0, 25, 0, 81)),
        ("kernel of 200 rows, padded", (150, 1), (200, 1), (56, 1), (25, 0, 81, 0)),
    ):
        case = _case(config, _layer(8, size, 4, kernel, stride, pads=pads), signed=True)
        yield whole(title, case)
    yield from handshakes(made, program, beats)
    yield from _giants(made, config)
    yield from _drawn_geometry(made, config)
    #: 1,024 passes and 2,048 rows of requantisation: as many as the tables hold.
    case = _case(config, _layer(8, (1, 1), 4093))
    yield whole("all passes", case)
    extremes = extreme(case.requantisation, 7)
    yield whole("extremes", replace(case, requantisation=extremes))
    case = _case(config, _layer(8, (1, 1), 4093), signed=True)
    yield whole("signed extremes", replace(case, requantisation=extreme(case.requantisation, 8)))


def _giants(made: Design, config: AcceleratorConfig) -> Iterator[SpecifiedScene]:
    """The beginnings of layers that are too long to be run."""
    main = _case(config, _MAIN)
    short = _case(config, _layer(40, (2, 3), 6, (2, 1)))  # three positions: one tile
    row = _case(config, _layer(128, (1, 1), 3), signed=True)  # four chunks of one pixel
    wide = _case(config, _layer(40, (1, 4), 3, (1, 3)), signed=True)
    first_pass = 2 * _MAIN.positions

    def giant(register: str, value: int, case: Case, count: int | None) -> SpecifiedScene:
        """The first ``count`` beats are the case's; all of them where None, and then it is done."""
        scene = Scene(made, f"{register} {value:#x}")
        scene.program(_program(case), None, **{register: value})
        beats = _beats(case)
        if count is None:
            scene.finish(_counters(case)["cycles"] + 200, timed=False)
        else:
            scene.wait(_counters(case)["cycles"] + 200)
            scene.note()
        return SpecifiedScene(scene, beats[:count], count is None or count == 0)

    yield giant("passes_last", 0x8001, main, len(_beats(main)))
    yield giant("positions_last", 0x800005, main, first_pass)
    yield giant("tile_last", 0x800001, short, None)
    yield giant("tiles_last", 0x800001, main, first_pass)
    for register in ("segments_last", "segment_last", "segment_short_last"):
        yield giant(register, 0x8001, main, 0)
    yield giant("row_chunks_last", 0x8001, row, None)
    yield giant("kernel_width_last", 0x81, wide, None)
    yield giant("height", 0x8001, main, None)
    yield giant("width", 0x8002, main, None)


def _drawn_geometry(made: Design, config: AcceleratorConfig) -> Iterator[SpecifiedScene]:
    """Any numbers in the registers of the geometry, against their meanings in the table."""
    case = _case(config, _MAIN)
    program = _program(case)
    names = "height width first_y first_x first_address step_x step_y step_address end_x".split()
    names += "wrap_x wrap_y wrap_address line_address".split()
    bits = {one.name: (one.bits, one.is_signed) for one in LAYER_REGISTERS}
    dice = np.random.default_rng(5)
    words = made.load_rows["index"]
    rows = np.zeros((config.input_buffer_chunks, words), dtype=np.uint32)
    rows[:, 0] = dice.integers(0, 256, len(rows))
    counts = np.bitwise_count(rows[:, 0]).astype(np.int64)
    rows[:, -1] = np.concatenate([[0], np.cumsum(counts)[:-1]])
    values = dice.integers(1, 256, -(-int(counts.sum()) // 8) * 8).astype(np.uint8)
    loads = {**program.loads, "index": rows.reshape(-1), "values": values.view("<u4")}
    number = 0
    while number < _DRAWN:
        chosen = {}
        for name in names:
            width, is_signed = bits[name]
            low, high = (-(1 << width - 1), 1 << width - 1) if is_signed else (0, 1 << width)
            near = dice.integers(-3 if is_signed else 0, 4)
            far = dice.integers(low, high)
            edge = dice.choice([low, high - 1, low + 1, high - 2])
            chosen[name] = int([near, far, edge][dice.integers(0, 3)])
            if name in ("height", "width") and number % 2:
                chosen[name] = (1 << 16) - 1 - int(near)
        if dice.integers(0, 2):  # columns that stay in reach
            chosen["wrap_x"] = int(np.clip(chosen["step_x"] + dice.integers(-2, 3), 0, 0xFFFF))
        windows = _windows(chosen, rows, counts, values, case)
        if windows is None:
            continue
        scene = Scene(made, f"geometry {number}")
        number += 1
        written = {name: chosen[name] & (1 << bits[name][0]) - 1 for name in names}
        scene.program(replace(program, loads=loads), None, **written)
        scene.finish(program.cycle_limit, timed=False)
        yield SpecifiedScene(scene, _beats_of_windows(case, windows))


def _windows(chosen: dict[str, int], rows, counts, values, case: Case):
    """Return what each position's window holds, axes position, tap, channel, from the registers.

    None where a column is beyond 16 bits, as in no layer.
    """

    y, x, address = chosen["first_y"], chosen["first_x"], chosen["first_address"]
    result = []
    for _ in range(case.layer.positions):
        taps, at = [], 0
        for r in range(case.layer.kernel_height):
            inside = 0 <= y + r < chosen["height"] and 0 <= x < chosen["width"]
            pixel = []
            for chunk in range(2):
                row = (address + at) % len(rows)
                mask = int(rows[row, 0]) if inside else 0
                start, dense = int(rows[row, -1]), np.zeros(32, dtype=np.int64)
                places = [place for place in range(32) if mask >> place & 1]
                dense[places] = values[start : start + len(places)]
                pixel.append(dense)
                at += 1 if chunk == 0 else chosen["line_address"]
            taps.append(np.concatenate(pixel)[:40])
        result.append(taps)
        address += chosen["step_address"]
        wraps = x + chosen["step_x"] >= chosen["end_x"]
        x += chosen["step_x"] - wraps * chosen["wrap_x"]
        y += chosen["step_y"] + wraps * chosen["wrap_y"]
        address += wraps * chosen["wrap_address"]
        y = (y + 0x8000) % 0x10000 - 0x8000  # rows are counted in 16 bits
        if not -0x8000 <= x < 0x8000:
            return None
    return np.array(result)


def _beats_of_windows(case: Case, windows) -> list[int]:
    """Return the output beats of a case whose windows are others."""
    weights = case.weights.reshape(len(case.weights), -1).astype(np.int64)
    sums = windows.reshape(len(windows), -1) @ weights.T
    codes = case.requantisation.apply(sums)
    schedule, lanes, beats = case.schedule(), case.config.collector_width, []
    for number in range(len(schedule.assignment)):
        outputs = schedule.outputs(number)
        for position in codes:
            for at in range(0, len(outputs), lanes):
                part = [int(code) & 0xFF for code in position[outputs[at : at + lanes]]]
                beats.append(_beat(part, lanes, at + lanes >= len(outputs)))
    return beats
