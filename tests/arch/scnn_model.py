"""SCNN in plain Python, product by product, written from ``docs/scnn.md`` alone.

It shares nothing with ``accel`` but the configuration: dense tensors in, every product made with
its value, every bank's queue kept as a number. Slow, for small layers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product

import numpy as np
from numpy.typing import NDArray

from golden.layer import LayerShape
from golden.machines.scnn import ScnnConfig

__all__ = ["NoFit", "PeCounts", "ScnnModel", "run_model"]


class NoFit(Exception):
    """The sums of a pixel do not fit the accumulators."""


@dataclass
class PeCounts:
    """A PE's counters, in cycles; ``finish`` is F of its last block."""

    busy: int = 0
    cost: int = 0
    siblings: int = 0
    broadcast: int = 0
    collector: int = 0
    finish: int = 0
    queues: dict[int, int] = field(default_factory=dict)
    stored: int = 0
    written: int = 0


@dataclass
class ScnnModel:
    """What the model counted."""

    pes: list[PeCounts]
    active: list[int]
    sums: NDArray[np.int64]
    cycles: int = 0
    pairs: int = 0
    stray: int = 0
    slowest: int = 0
    passes: int = 0
    rounds: int = 1
    outputs: int = 0
    broadcast: bool = True
    vector_pairs: int = 0
    contention: int = 0
    weight_vectors: int = 0
    stored_weights: int = 0
    weight_placeholders: int = 0
    input_placeholders: int = 0
    stored_inputs: int = 0
    halo: int = 0
    drained: int = 0
    input_reads: int = 0

    def unit(self, m: int) -> dict[str, int]:
        """Return the counters of a PE by their names."""
        pe = self.pes[m]
        counters = {
            "busy_cycles": pe.busy,
            "bubble_cycles": pe.cost - pe.busy,
            "wait_memory_cycles": 0,
            "wait_siblings_cycles": pe.siblings,
            "wait_broadcast_cycles": pe.broadcast,
            "wait_collector_cycles": pe.collector,
        }
        if m in self.active:
            counters["wait_siblings_cycles"] += self.slowest - pe.finish
        counters["idle_cycles"] = self.cycles - sum(counters.values())
        return counters


def stored(values: list[tuple]) -> list[tuple | None]:
    """Return what is stored of a run of (value, where...): None is a placeholder."""
    kept: list[tuple | None] = []
    zeros = 0
    for entry in values:
        if entry[0] == 0:
            zeros += 1
            continue
        while zeros >= 16:  # fifteen zeros, and the placeholder is the sixteenth
            kept.append(None)
            zeros -= 16
        kept.append(entry)
        zeros = 0
    return kept


def vectors_of(entries: list, lanes: int) -> list[list]:
    return [entries[at : at + lanes] for at in range(0, len(entries), lanes)]


def runs_of(size: int, length: int) -> list[range]:
    return [range(at, min(at + length, size)) for at in range(0, size, length)]


def _halvings(tile: int) -> list[int]:
    return sorted({-(-tile // n) for n in range(1, tile + 1)})


class _Axis:
    """Rows or columns of a layer."""

    def __init__(self, pes: int, in_size: int, out_size: int, kernel: int, stride: int, pad: int):
        self.out_size, self.in_size = out_size, in_size
        self.kernel, self.stride, self.pad = kernel, stride, pad
        self.tile = -(-in_size // pes)
        self.tiles = [
            range(min(i * self.tile, in_size), min((i + 1) * self.tile, in_size))
            for i in range(pes)
        ]

    def owned(self, part: range) -> list[int]:
        found = []
        for p in range(self.out_size):
            middle = p * self.stride + self.kernel // 2 - self.pad
            if min(max(middle, 0), self.in_size - 1) in part:
                found.append(p)
        return found

    def region(self, part: range) -> list[int]:
        reached = [
            p
            for p in range(self.out_size)
            if any(p * self.stride + r - self.pad in part for r in range(self.kernel))
        ]
        return sorted({*reached, *self.owned(part)})

    def parts(self, size: int) -> list[list[range]]:
        """Return the subtiles of each PE: axes PE, round."""
        rounds = -(-self.tile // size)
        return [
            [range(min(t.start + a * size, t.stop), min(t.start + (a + 1) * size, t.stop))
             for a in range(rounds)]
            for t in self.tiles
        ]  # fmt: skip

    def largest(self, size: int) -> int:
        return max(len(self.region(part)) for parts in self.parts(size) for part in parts)


def run_model(
    config: ScnnConfig,
    layer: LayerShape,
    weights: NDArray[np.int8],
    inputs: NDArray,
    outputs: NDArray,
) -> ScnnModel:
    """Run a layer; weights have axes k, r, s, c, the others y, x, channel."""
    pes = config.grid_height * config.grid_width
    sums = np.zeros((layer.out_height, layer.out_width, layer.out_channels), dtype=np.int64)
    model = ScnnModel(pes=[PeCounts() for _ in range(pes)], active=[], sums=sums)
    if layer.out_height * layer.out_width == 1:
        _run_connected(config, layer, weights, inputs, outputs, model)
    else:
        _run_plane(config, layer, weights, inputs, outputs, model)
    return model


# -- a plane ------------------------------------------------------------------------------------


def _choose(config: ScnnConfig, layer: LayerShape, rows: _Axis, columns: _Axis):
    capacity = config.banks * config.bank_entries
    filters = layer.out_channels // layer.groups
    k = 1
    while k < filters:
        k *= 2
    k = min(k, config.group_outputs)
    row_sizes = {h: rows.largest(h) for h in _halvings(rows.tile)}
    column_sizes = {w: columns.largest(w) for w in _halvings(columns.tile)}
    while k >= 1:
        fitting = []
        for (h, region_h), (w, region_w) in product(row_sizes.items(), column_sizes.items()):
            if k * region_h * region_w <= capacity:
                rounds = -(-rows.tile // h) * -(-columns.tile // w)
                fitting.append((rounds, region_h * region_w, h, w))
        if fitting:
            _, _, h, w = min(fitting)
            return k, h, w
        k //= 2
    raise NoFit


def _bank(config: ScnnConfig, k_group: int, k: int, p: int, q: int) -> int:
    slots = max(1, config.banks // k_group)
    exponent = 0
    while 2**exponent < slots:
        exponent += 1
    step = 2 ** -(-exponent // 2)
    return (k + k_group * q + k_group * step * p) % config.banks


def _serve(pe: PeCounts, cycles: int) -> None:
    for bank, count in pe.queues.items():
        pe.queues[bank] = max(0, count - cycles)


def _run_plane(config, layer, weights, inputs, outputs, model) -> None:
    s_h, s_w = layer.stride_height, layer.stride_width
    rows = _Axis(config.grid_height, layer.in_height, layer.out_height, layer.kernel_height, s_h,
                 layer.pad_top)  # fmt: skip
    columns = _Axis(config.grid_width, layer.in_width, layer.out_width, layer.kernel_width, s_w,
                    layer.pad_left)  # fmt: skip
    k_group, h, w = _choose(config, layer, rows, columns)
    model.outputs = k_group
    row_parts, column_parts = rows.parts(h), columns.parts(w)
    grid = list(product(range(config.grid_height), range(config.grid_width)))
    model.active = [
        m for m, (i, j) in enumerate(grid) if len(rows.tiles[i]) and len(columns.tiles[j])
    ]
    rounds = list(product(range(len(row_parts[0])), range(len(column_parts[0]))))
    model.rounds = len(rounds)
    phases = list(product(range(s_h), range(s_w))) if config.stride_phases else [None]
    channels = layer.in_channels // layer.groups
    filters = layer.out_channels // layer.groups
    time = _Times(config)
    for g in range(layer.groups):
        for a, b in rounds:
            parts = {m: (row_parts[grid[m][0]][a], column_parts[grid[m][1]][b])
                     for m in model.active}  # fmt: skip
            tiles = {}
            for m, c, phase in product(model.active, range(channels), phases):
                entries = stored([
                    (int(inputs[y, x, g * channels + c]), y, x)
                    for y, x in product(*parts[m])
                    if phase is None
                    or ((y + layer.pad_top) % s_h, (x + layer.pad_left) % s_w) == phase
                ])  # fmt: skip
                tiles[m, c, phase] = entries
                model.pes[m].stored += len(entries)
                model.input_placeholders += entries.count(None)
            regions = {m: len(rows.region(part[0])) * len(columns.region(part[1]))
                       for m, part in parts.items()}  # fmt: skip
            for held in runs_of(filters, k_group):
                time.begin_pass()
                model.passes += 1
                for c, phase in product(range(channels), phases):
                    block = stored([
                        (int(weights[g * filters + k, r, s, c]), k - held.start, r, s)
                        for r, s, k in product(
                            range(layer.kernel_height), range(layer.kernel_width), held
                        )
                        if phase is None or (r % s_h, s % s_w) == phase
                    ])  # fmt: skip
                    if (a, b) == (0, 0):
                        model.stored_weights += len(block)
                        model.weight_placeholders += block.count(None)
                    vectors = vectors_of(block, config.weight_lanes)
                    for at in range(0, len(vectors), config.fifo_vectors):
                        piece = vectors[at : at + config.fifo_vectors]
                        begin = time.send(len(piece))
                        model.weight_vectors += len(piece)
                        for m in model.active:
                            entries = tiles[m, c, phase]
                            model.input_reads += len(entries)
                            waited = time.wait(model.pes[m], begin)
                            _serve(model.pes[m], waited)
                            _multiply(
                                config, layer, model, m, piece,
                                vectors_of(entries, config.input_lanes), k_group,
                                g * filters + held.start,
                            )  # fmt: skip
                        time.finish(model)
                most = max(regions.values())
                time.end_pass(model, -(-len(held) * most // config.drain_width))
                for pe in model.pes:
                    pe.queues.clear()
                model.drained += len(held) * sum(regions.values())
    model.cycles = time.drained + config.LATENCY.tail
    model.slowest = time.finished[-1] if time.finished else 0
    model.halo = model.drained - layer.out_height * layer.out_width * layer.out_channels
    model.stored_inputs = sum(pe.stored for pe in model.pes)
    for m in model.active:
        i, j = grid[m]
        for row_part, column_part in product(row_parts[i], column_parts[j]):
            for k in range(layer.out_channels):
                run = [
                    (int(outputs[p, q, k]),)
                    for p, q in product(rows.owned(row_part), columns.owned(column_part))
                ]
                model.pes[m].written += len(stored(run))


def _multiply(config, layer, model, m, piece, activations, k_group, first_filter) -> None:
    pe = model.pes[m]
    before = pe.cost
    for activation_vector, weight_vector in product(activations, piece):
        belong = 0
        for activation, weight in product(activation_vector, weight_vector):
            if activation is None or weight is None:
                continue
            value, y, x = activation
            factor, k, r, s = weight
            down, across = y + layer.pad_top - r, x + layer.pad_left - s
            p, q = down // layer.stride_height, across // layer.stride_width
            if (
                down % layer.stride_height
                or across % layer.stride_width
                or not 0 <= p < layer.out_height
                or not 0 <= q < layer.out_width
            ):
                model.stray += 1
                continue
            belong += 1
            model.sums[p, q, first_filter + k] += value * factor
            bank = _bank(config, k_group, k, p, q)
            pe.queues[bank] = pe.queues.get(bank, 0) + 1
        model.pairs += belong
        model.vector_pairs += 1
        pe.busy += belong > 0
        cycles = 0
        while cycles == 0 or max(pe.queues.values(), default=0) > config.bank_queue:
            _serve(pe, 1)
            cycles += 1
        pe.cost += cycles
        model.contention += cycles - 1
    if not activations:
        _serve(pe, 1)
        pe.cost += 1
    pe.finish += pe.cost - before


class _Times:
    """T, free, S, F, Q, B, E of the specification, in lists of all blocks and passes."""

    def __init__(self, config: ScnnConfig):
        self.fifo, self.barrier = config.fifo_vectors, config.LATENCY.barrier
        self.sent = config.LATENCY.start
        self.sizes: list[int] = []
        self.finished: list[int] = []
        self.barriers: list[int] = []
        self.drains: list[int] = []
        self.drained = 0
        self.blocks_of_pass = 0
        self.start = self.free = 0

    def begin_pass(self) -> None:
        self.start = max(
            self.barriers[-1] if self.barriers else 0,
            self.drains[-2] if len(self.drains) >= 2 else 0,
        )
        self.blocks_of_pass = 0

    def send(self, size: int) -> int:
        """Return the first cycle in which a PE may begin."""
        self.sizes.append(size)
        self.blocks_of_pass += 1
        self.free = 0
        for e in range(len(self.sizes) - 2, -1, -1):
            if sum(self.sizes[e:]) > self.fifo:
                self.free = self.finished[e]
                break
        self.sent = max(self.sent, self.free) + size
        return max(self.start, self.sent - size + 1)

    def wait(self, pe: PeCounts, begin: int) -> int:
        waited = 0
        barrier = self.barriers[-1] if self.barriers else 0
        for now in range(pe.finish, begin):
            waited += 1
            if now < barrier:
                pe.siblings += 1
            elif now < self.start:
                pe.collector += 1
            elif now < self.free:
                pe.siblings += 1
            else:
                pe.broadcast += 1
        pe.finish += waited
        return waited

    def finish(self, model: ScnnModel) -> None:
        self.finished.append(max(model.pes[m].finish for m in model.active))

    def end_pass(self, model: ScnnModel, drain: int) -> None:
        empty = self.start
        if self.blocks_of_pass:
            for m in model.active:
                pe = model.pes[m]
                empty = max(empty, pe.finish + max(pe.queues.values(), default=0))
        self.barriers.append(empty + self.barrier)
        self.drained = max(self.barriers[-1], self.drained) + drain
        self.drains.append(self.drained)


# -- one position -------------------------------------------------------------------------------


def _run_connected(config, layer, weights, inputs, outputs, model) -> None:
    channels = layer.in_channels // layer.groups
    filters = layer.out_channels // layer.groups
    pes = len(model.pes)
    run = min(-(-filters // pes), config.banks * config.bank_entries)
    model.outputs, model.broadcast = run, False
    barrier = start = 0
    drains: list[int] = []
    window = [
        (r, s, c)
        for r, s, c in product(
            range(layer.kernel_height), range(layer.kernel_width), range(channels)
        )
        if 0 <= r - layer.pad_top < layer.in_height and 0 <= s - layer.pad_left < layer.in_width
    ]
    for g in range(layer.groups):
        values = [
            int(inputs[r - layer.pad_top, s - layer.pad_left, g * channels + c])
            for r, s, c in window
        ]
        run_of_inputs = stored([(value,) for value in values])
        entries = len(run_of_inputs)
        model.input_placeholders += run_of_inputs.count(None)
        model.stored_inputs += entries
        dealt = runs_of(filters, run)
        for first in range(0, len(dealt), pes):
            model.passes += 1
            for m, held in enumerate(dealt[first : first + pes]):
                pe = model.pes[m]
                if m not in model.active:
                    model.active.append(m)
                begin = max(pe.finish, start, config.LATENCY.start + 1)
                for now in range(pe.finish, begin):
                    if now < barrier:
                        pe.siblings += 1
                    elif now < start:
                        pe.collector += 1
                    else:
                        pe.broadcast += 1
                pe.finish = begin
                before = pe.cost
                model.input_reads += entries
                for value, (r, s, c) in zip(values, window, strict=True):
                    block = stored([(int(weights[g * filters + k, r, s, c]), k) for k in held])
                    vectors = vectors_of(block, config.weight_lanes)
                    model.stored_weights += len(block)
                    model.weight_placeholders += block.count(None)
                    model.weight_vectors += len(vectors)
                    if value == 0:
                        continue
                    for vector in vectors:
                        banks: dict[int, int] = {}
                        for entry in vector:
                            if entry is not None:
                                factor, k = entry
                                bank = (k - held.start) % config.banks
                                banks[bank] = banks.get(bank, 0) + 1
                                model.sums[0, 0, g * filters + k] += factor * value
                                model.pairs += 1
                        pe.busy += bool(banks)
                        pe.cost += max(1, max(banks.values(), default=0))
                        model.contention += max(1, max(banks.values(), default=0)) - 1
                        model.vector_pairs += 1
                    if not vectors:
                        pe.cost += 1
                pe.finish += pe.cost - before
                codes = [(int(outputs[0, 0, g * filters + k]),) for k in held]
                pe.written += len(stored(codes))
            model.slowest = max(pe.finish for pe in model.pes)
            barrier = max(start, model.slowest) + config.LATENCY.barrier
            most = max(len(held) for held in dealt[first : first + pes])
            last = drains[-1] if drains else 0
            start = max(barrier, last)
            drains.append(max(barrier, last) + -(-most // config.drain_width))
    for m in model.active:
        model.pes[m].stored = model.stored_inputs
    model.cycles = drains[-1] + config.LATENCY.tail
    model.drained = layer.out_channels
