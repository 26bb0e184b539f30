"""A slow model of Cambricon-S that evaluates docs/cambricon-s.md literally, and cases for it.

It shares nothing with the simulator but the configuration and the latencies: it walks dense
tensors by the page's indices, and keeps every time of every equation.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st

from golden.counters import UNIT_COUNTERS
from golden.layer import LayerShape
from golden.machines.cambricon_s import CORE_COUNTERS, CambriconSConfig, CambriconSCounters

__all__ = ["blocks_of", "cases", "ceil", "dense_pairs", "model", "program", "windows_of_block"]


def neuron(layer, activations, y, x, group, c):
    """Return an input code, 0 in padding."""
    if 0 <= y < layer.in_height and 0 <= x < layer.in_width:
        return int(activations[y, x, group * layer.group_channels + c])
    return 0


def windows_of_block(layer, weights, filters, window):
    """Return the windows of a block, run by run: kernel row, places (s, c) and mask."""
    found = []
    for r in range(layer.kernel_height):
        places = [(s, c) for s in range(layer.kernel_width) for c in range(layer.group_channels)]
        for first in range(0, len(places), window):
            cut = places[first : first + window]
            mask = [any(weights[k, r, s, c] != 0 for k in filters) for s, c in cut]
            found.append((r, cut, mask))
    return found


def blocks_of(config, layer):
    """Yield each block's group and filters."""
    for group in range(layer.groups):
        numbers = [k for k in range(layer.out_channels) if k // layer.group_filters == group]
        for first in range(0, len(numbers), config.pes):
            yield group, numbers[first : first + config.pes]


class Load(NamedTuple):
    """A segment's way into the synapse buffer: filters, and the kept codes of each window."""

    filters: int
    kept: list[int]

    def beats(self, config):
        mask_beats = ceil(config.window, 8 * config.bus_bytes)
        weight_beats = [ceil(kept * config.code_bits, 8 * config.bus_bytes) for kept in self.kept]
        return sum(mask_beats + self.filters * beats for beats in weight_beats)


class Step(NamedTuple):
    """A kept window of a position; ``ends`` a segment, ``completes`` a position."""

    load: int
    n: int
    kept: int
    filters: int
    ends: bool
    completes: bool


def program(config, layer, weights, activations, core):
    """Walk a core's program: its loads and its steps."""
    every = [(p, q) for p in range(layer.out_height) for q in range(layer.out_width)]
    positions = every[core :: config.cores]
    loads, steps = [], []
    if not positions:
        return loads, steps
    for group, filters in blocks_of(config, layer):
        windows = windows_of_block(layer, weights, filters, config.window)
        kept = [window for window in windows if any(window[2])] or windows[:1]
        size = config.segment_windows
        segments = [kept[i : i + size] for i in range(0, len(kept), size)]
        for tile in range(0, len(positions), config.tile_positions):
            for segment in segments:
                if len(segments) > 1 or tile == 0:
                    loads.append(Load(len(filters), [sum(mask) for _, _, mask in segment]))
                for p, q in positions[tile : tile + config.tile_positions]:
                    top = p * layer.stride_height - layer.pad_top
                    left = q * layer.stride_width - layer.pad_left
                    for r, places, mask in segment:
                        selected = [
                            (s, c)
                            for bit, (s, c) in zip(mask, places, strict=True)
                            if bit and neuron(layer, activations, top + r, left + s, group, c) != 0
                        ]
                        ends = places is segment[-1][1]
                        completes = ends and segment is segments[-1]
                        step = Step(
                            len(loads) - 1, len(selected), sum(mask), len(filters), ends, completes
                        )
                        steps.append(step)
    return loads, steps


def ceil(dividend, divisor):
    return (dividend + divisor - 1) // divisor


def model_core(config, loads, steps):
    """Evaluate the equations of a core; return its counters and those of its PEs."""
    units = np.zeros((config.pes, len(UNIT_COUNTERS)), dtype=np.int64)
    if not steps:
        return np.zeros(len(CORE_COUNTERS), dtype=np.int64), units
    column = {name: index for index, name in enumerate(UNIT_COUNTERS)}
    last_step = {step.load: k for k, step in enumerate(steps)}
    finish: list[int] = []  # F'
    loaded: list[int] = []  # LD
    freed: list[int] = []  # C
    drained: list[int] = []  # E
    for k, (j, n, _, filters, _, completes) in enumerate(steps):
        if j == len(loaded):
            before = loaded[j - 1] if j else 0
            free = finish[last_step[j - 2]] + config.LATENCY.load_free if j >= 2 else 0
            loaded.append(max(before, free) + loads[j].beats(config))
        cycles = max(1, ceil(n, config.lanes))
        ready = loaded[j] + config.LATENCY.load
        begun = max(finish[k - 1] if k else config.LATENCY.start, ready)
        done = begun + cycles
        late = max(done, freed[-1] if freed else 0) if completes else done
        if completes:
            drained.append(late + config.LATENCY.deliver + ceil(filters, config.output_width))
            freed.append(drained[-1] + config.LATENCY.collector_free)
        left = finish[k - 1] if k else 0
        for pe in range(filters):
            units[pe, column["busy_cycles" if n else "bubble_cycles"]] += cycles
            for cycle in range(left, begun):
                name = "wait_memory_cycles" if cycle < ready else "wait_broadcast_cycles"
                units[pe, column[name]] += 1
            units[pe, column["wait_collector_cycles"]] += late - done
        finish.append(late)
    cycles = drained[-1] + config.LATENCY.tail
    units[:, column["idle_cycles"]] = cycles - units.sum(axis=1)
    core = {
        "cycles": cycles,
        "pairs": sum(step.n * step.filters for step in steps),
        "steps": len(steps),
        "load_beats": sum(load.beats(config) for load in loads),
        "outputs": sum(step.filters for step in steps if step.completes),
        "selected": sum(step.n for step in steps),
    }
    return np.array([core[name] for name in CORE_COUNTERS]), units


def model(config, layer, weights, activations):
    parts = [
        model_core(config, *program(config, layer, weights, activations, core))
        for core in range(config.cores)
    ]
    return CambriconSCounters(*(np.stack(axis) for axis in zip(*parts, strict=True)))


def dense_pairs(config, layer, weights, activations):
    """Count what the machine does not skip, from the dense tensors."""
    pairs = 0
    for group, filters in blocks_of(config, layer):
        mask = np.any(weights[filters] != 0, axis=0)
        for p in range(layer.out_height):
            for q in range(layer.out_width):
                for r, s, c in np.argwhere(mask).tolist():
                    y = p * layer.stride_height + r - layer.pad_top
                    x = q * layer.stride_width + s - layer.pad_left
                    if neuron(layer, activations, y, x, group, c):
                        pairs += len(filters)
    return pairs


# -- drawn cases ------------------------------------------------------------------------------


@st.composite
def configs(draw):
    window = draw(st.sampled_from([8, 16, 32, 64, 128, 256]))
    pes = draw(st.integers(1, 5))
    return CambriconSConfig(
        name="drawn",
        cores=draw(st.integers(1, 3)),
        pes=pes,
        lanes=draw(st.integers(1, 8)),
        window=window,
        code_bits=draw(st.sampled_from([4, 8])),
        segment_windows=draw(st.integers(1, 4)),
        tile_positions=draw(st.integers(1, 6)),
        bus_bytes=draw(st.sampled_from([1, 2, 4, 8, 32])),
        output_width=draw(st.sampled_from([n for n in range(1, pes + 1) if pes % n == 0])),
        neuron_buffer_bytes=1 << 20,
    )


@st.composite
def layers(draw):
    kernel_height, kernel_width = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    groups = draw(st.integers(1, 3))
    channels = draw(st.integers(1, {1: 150, 2: 70, 3: 40, 4: 25, 5: 20}[kernel_width] // groups))
    pads = {f"pad_{side}": draw(st.integers(0, 2)) for side in ("top", "left", "bottom", "right")}
    height = draw(st.integers(max(1, kernel_height - pads["pad_top"] - pads["pad_bottom"]), 6))
    width = draw(st.integers(max(1, kernel_width - pads["pad_left"] - pads["pad_right"]), 6))
    return LayerShape(
        name="drawn",
        in_channels=groups * channels,
        in_height=height,
        in_width=width,
        out_channels=groups * draw(st.integers(1, 7)),
        kernel_height=kernel_height,
        kernel_width=kernel_width,
        stride_height=draw(st.integers(1, 3)),
        stride_width=draw(st.integers(1, 3)),
        groups=groups,
        **pads,
    )


DENSITIES = st.sampled_from([0.0, 0.03, 0.2, 0.5, 0.9, 1.0])


@st.composite
def cases(draw):
    """Draw a machine, a layer, weights of at most 15 values and zero, and activations."""
    config, layer = draw(configs()), draw(layers())
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    weights = rng.integers(-7, 8, layer.weights_shape)
    weights = np.where(weights == 0, -8, weights) * (rng.random(weights.shape) < draw(DENSITIES))
    if draw(st.booleans()):  # the same mask for all filters of a layer
        weights = weights * (rng.random(layer.weights_shape[1:]) < draw(DENSITIES))
    shape = (layer.in_height, layer.in_width, layer.in_channels)
    signed = draw(st.booleans())
    codes = rng.integers(-128, 128, shape) if signed else rng.integers(0, 256, shape)
    codes = np.where(codes == 0, 1, codes) * (rng.random(shape) < draw(DENSITIES))
    return (
        config,
        layer,
        weights.astype(np.int8),
        codes.astype(np.int8 if signed else np.uint8),
    )
