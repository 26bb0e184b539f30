"""The equations of ``docs/extensor.md`` to the letter, in plain Python from dense loops."""

import math

import numpy as np

from golden.counters import UNIT_COUNTERS
from golden.extensor import PE_COUNTERS, ExTensorCounters, Latency, map_kernel

__all__ = ["evaluate", "evaluate_kernel", "fibre", "matrix_bytes", "two_pointers"]


def two_pointers(first, second):
    """Return decisions and matches of two sorted lists, as the page says it."""
    a, b, decisions, matches = 0, 0, 0, 0
    while a < len(first) and b < len(second):
        decisions += 1
        if first[a] == second[b]:
            matches, a, b = matches + 1, a + 1, b + 1
        elif first[a] < second[b]:
            target = second[b]
            while a < len(first) and first[a] < target:
                a += 1
        else:
            target = first[a]
            while b < len(second) and second[b] < target:
                b += 1
    return decisions, matches


def window(layer, inputs, group, position):
    """Return the column of a position, value by value."""
    p, q = divmod(position, layer.out_width)
    values = []
    for r in range(layer.kernel_height):
        for s in range(layer.kernel_width):
            y = p * layer.stride_height + r - layer.pad_top
            x = q * layer.stride_width + s - layer.pad_left
            for c in range(layer.group_channels):
                inside = 0 <= y < layer.in_height and 0 <= x < layer.in_width
                channel = group * layer.group_channels + c
                values.append(int(inputs[y, x, channel]) if inside else 0)
    return values


def fibre(values, tile):
    """Return a fibre: tile coordinate to its sorted coordinates."""
    tiles = {}
    for e, value in enumerate(values):
        if value:
            tiles.setdefault(e // tile, []).append(e % tile)
    return tiles


def layer_bytes(tiles, port_bytes):
    """Return the bytes of a layer's fibre."""
    beats = sum(math.ceil((2 + 2 * len(tile)) / port_bytes) for tile in tiles.values())
    return port_bytes * max(1, beats)


def matrix_bytes(tiles, port_bytes):
    """Return the bytes of a matrix's fibre."""
    beats = sum(math.ceil((8 + 12 * len(tile)) / port_bytes) for tile in tiles.values())
    return port_bytes * max(1, beats)


def tokens_of_dot(row, column):
    """Yield r, c and matches of each token of a dot; of the end token c = 1."""
    a, b = sorted(row), sorted(column)
    i = j = decisions = 0
    while i < len(a) and j < len(b):
        decisions += 1
        if a[i] == b[j]:
            yield decisions, *two_pointers(row[a[i]], column[b[j]])
            i, j, decisions = i + 1, j + 1, 0
        elif a[i] < b[j]:
            i += sum(t < b[j] for t in a[i:])
        else:
            j += sum(t < a[i] for t in b[j:])
    yield decisions + 1, 1, 0


def evaluate_element(config, items, rows, columns, size, meet):
    """Return all counters of one PE but its idle cycles; equations in the page's order.

    ``rows[group][m]`` and ``columns[group][n]`` are fibres, ``size`` gives their bytes, and
    ``meet(m, n)`` says whether there is a dot of a row and a column.
    """
    loads, column_ends, item_ends = [], [], []
    times, starts, finishes = [], [], []
    pe = dict.fromkeys(PE_COUNTERS, 0)
    unit = dict.fromkeys(UNIT_COUNTERS, 0)

    def load(loaded, free):
        beats = loaded // config.port_bytes
        pe["load_beats"] += beats
        loads.append(max(loads[-1] if loads else 0, free) + beats)

    for item in items:
        block = [rows[item.group][m] for m in item.rows]
        met = {n: [m for m in item.rows if meet(m, n)] for n in item.columns}
        if not any(met.values()):
            continue
        free = finishes[item_ends[-1]] + Latency.LOAD_FREE if item_ends else 0
        load(sum(size(row, config.port_bytes) for row in block), free)
        for n in item.columns:
            if not met[n]:
                continue
            column = columns[item.group][n]
            before = len(column_ends) - 2
            free = finishes[column_ends[before]] + Latency.LOAD_FREE if before >= 0 else 0
            load(size(column, config.port_bytes), free)
            ready = loads[-1] + Latency.LOAD
            for row in (rows[item.group][m] for m in met[n]):
                pe["dots"] += 1
                pe["outputs"] += 1
                tokens = list(tokens_of_dot(row, column))
                pe["tile_tokens"] += len(tokens) - 1
                for r, c, matches in tokens:
                    i = len(times)
                    last_time = times[-1] if times else 0
                    queued = starts[i - config.queue] if i >= config.queue else 0
                    times.append(max(last_time, ready, queued) + r)
                    last = finishes[-1] if finishes else 0
                    starts.append(max(times[-1] + Latency.MATCH, last))
                    finishes.append(starts[-1] + c)
                    for cycle in range(last, starts[-1]):
                        name = "wait_memory" if cycle < ready else "wait_broadcast"
                        unit[f"{name}_cycles"] += 1
                    unit["busy_cycles"] += matches
                    unit["bubble_cycles"] += c - matches
                    pe["pairs"] += matches
                    pe["level1_decisions"] += r
                    ready = 0
            column_ends.append(len(finishes) - 1)
        item_ends.append(len(finishes) - 1)
    if finishes:
        pe["cycles"] = finishes[-1] + Latency.TAIL
    return pe, unit


def evaluate(config, layer, weights, inputs):
    """Return the counters of a layer by the page."""
    flat = weights.reshape(layer.groups, layer.group_filters, -1).tolist()
    rows = [[fibre(row, config.tile) for row in group] for group in flat]
    columns = [
        [fibre(window(layer, inputs, group, n), config.tile) for n in range(layer.positions)]
        for group in range(layer.groups)
    ]
    sizes = np.array([[layer_bytes(row, config.port_bytes) for row in group] for group in rows])
    return evaluate_kernel(config, rows, columns, sizes, layer_bytes, lambda m, n: True)


def evaluate_kernel(config, rows, columns, sizes, size, meet):
    """Return the counters of a kernel: fibres by group, and the bytes of all rows."""
    mapping = map_kernel(config, len(rows), len(columns[0]), sizes, "kernel")
    results = [
        evaluate_element(config, mapping.items[pe :: config.pes], rows, columns, size, meet)
        for pe in range(config.pes)
    ]
    cycles = max(pe["cycles"] for pe, _ in results)
    for _, unit in results:
        unit["idle_cycles"] = cycles - sum(unit.values())
    return ExTensorCounters(
        np.array([list(pe.values()) for pe, _ in results]),
        np.array([list(unit.values()) for _, unit in results]),
    )
