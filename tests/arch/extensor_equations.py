"""The equations of ``docs/extensor.md`` to the letter, in plain Python from dense loops."""

import math

import numpy as np

from golden.counters import UNIT_COUNTERS
from golden.machines.extensor import PE_COUNTERS, ExTensorCounters

__all__ = [
    "best_mapping",
    "evaluate",
    "evaluate_kernel",
    "matrix_bytes",
    "tiles_of",
    "two_pointers",
]


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


def tiles_of(fibres, tile):
    """Return the tiles of some rows: tile coordinate to the coordinates of each row in it."""
    tiles = {}
    for number, values in enumerate(fibres):
        for e, value in enumerate(values):
            if value:
                tiles.setdefault(e // tile, {}).setdefault(number, []).append(e % tile)
    return tiles


def layer_bytes(nonzeros, port_bytes):
    """Return the bytes of a layer's fibre."""
    return port_bytes * math.ceil((2 + 2 * nonzeros) / port_bytes)


def matrix_bytes(nonzeros, port_bytes):
    """Return the bytes of a matrix's fibre."""
    return port_bytes * math.ceil((8 + 12 * nonzeros) / port_bytes)


def largest_tile(config, groups, block, size):
    """Return the bytes of the largest tile of all blocks; groups hold rows of values."""
    return max(
        (
            sum(size(len(one), config.port_bytes) for one in tile.values())
            for rows in groups
            for first in range(0, len(rows), block)
            for tile in tiles_of(rows[first : first + block], config.tile).values()
        ),
        default=0,
    )


def best_mapping(config, groups, columns, size):
    """Return m0 and n0 by trying all: groups of rows and of columns, of values."""
    found = []
    for m0 in range(1, min(config.rows_max, len(groups[0])) + 1):
        if largest_tile(config, groups, m0, size) > config.tile_bytes:
            continue
        for n0 in range(1, min(config.columns_max, len(columns[0])) + 1):
            if largest_tile(config, columns, n0, size) > config.tile_bytes:
                continue
            items = len(groups) * math.ceil(len(groups[0]) / m0) * math.ceil(len(columns[0]) / n0)
            found.append((math.ceil(items / config.pes) * (m0 * n0 + m0 + n0), -m0, -n0))
    _, m0, n0 = min(found)
    return -m0, -n0


def evaluate_element(config, items, tiles, size, samples):
    """Return all counters of one PE but its idle cycles; equations in the page's order.

    Items are (rows, columns, outputs): rows and columns of values. ``tiles`` are those of the
    reduction axis, ``size`` gives a fibre's bytes. With ``samples``, a list a PE's item of pairs of
    numbers, fibre pairs are those only.
    """
    loads, pair_ends, item_ends, drains = [0], [], [], []
    finishes = [0]
    pe = dict.fromkeys(PE_COUNTERS, 0)
    unit = dict.fromkeys(UNIT_COUNTERS, 0)
    lists = 2 * math.ceil(math.ceil(tiles / 8) / config.port_bytes)

    def task(drained, cost, matches):
        ready = loads[-1] + config.LATENCY.load
        begun = max(finishes[-1], ready, drained)
        for cycle in range(finishes[-1], begun):
            unit["wait_memory_cycles" if cycle < ready else "wait_collector_cycles"] += 1
        unit["busy_cycles"] += matches
        unit["bubble_cycles"] += cost - matches
        finishes.append(begun + cost)

    for number, (rows, columns, outputs) in enumerate(items):
        if samples is not None and not samples[number]:
            continue
        a, b = tiles_of(rows, config.tile), tiles_of(columns, config.tile)
        loads.append(loads[-1] + lists)
        pe["load_beats"] += lists
        begun = loads[-1] + config.LATENCY.lists
        left, right = sorted(a), sorted(b)
        decisions = two_pointers(left, right)[0]
        pe["tile_decisions"] += decisions
        for t in sorted(set(a) & set(b)):
            # Up to and with a match: those of the lists cut off behind it.
            upto = two_pointers([x for x in left if x <= t], [x for x in right if x <= t])[0]
            free = pair_ends[-2] + config.LATENCY.load_free if len(pair_ends) >= 2 else 0
            loaded = [len(one) for one in (*a[t].values(), *b[t].values())]
            beats = sum(size(count, config.port_bytes) for count in loaded) // config.port_bytes
            loads.append(max(loads[-1], begun + upto, free) + beats)
            pe["load_beats"] += beats
            cost = matches = 0
            for n in b[t]:
                for m in a[t]:
                    if samples is None or (m, n) in samples[number]:
                        found = two_pointers(a[t][m], b[t][n])
                        cost, matches = cost + found[0], matches + found[1]
                        pe["fibre_pairs"] += 1
            pe["tile_pairs"] += 1
            pe["pairs"] += matches
            task(0, cost, matches)
            pair_ends.append(finishes[-1])
        free = item_ends[-1] + config.LATENCY.load_free if item_ends else 0
        loads.append(max(loads[-1], begun + decisions, free) + 1)
        task(drains[-1] if drains else 0, 1, 0)
        item_ends.append(finishes[-1])
        drains.append(finishes[-1] + config.LATENCY.drain + outputs)
        pe["outputs"] += outputs
    if drains:
        pe["cycles"] = drains[-1] + config.LATENCY.tail
    return pe, unit


def evaluate(config, layer, weights, inputs):
    """Return the counters of a layer by the page."""
    rows = weights.reshape(layer.groups, layer.group_filters, -1).tolist()
    columns = [
        [window(layer, inputs, group, n) for n in range(layer.positions)]
        for group in range(layer.groups)
    ]
    dense = [[[1] * len(column) for column in group] for group in columns[:1]]
    m0, n0 = best_mapping(config, rows, dense, layer_bytes)
    return evaluate_kernel(config, rows, columns, (m0, n0), layer_bytes)


def evaluate_kernel(config, rows, columns, cut, size, outputs_of=None, samples=None):
    """Return the counters of a kernel: values by group, m0 and n0.

    ``outputs_of`` counts the outputs of ranges of rows and columns (by default all);
    ``samples`` is an array of what is sampled, axes row, column, where not all is.
    """
    m0, n0 = cut
    items = [
        (group, range(len(rows[0]))[m : m + m0], range(len(columns[0]))[n : n + n0])
        for group in range(len(rows))
        for m in range(0, len(rows[0]), m0)
        for n in range(0, len(columns[0]), n0)
    ]
    results = []
    for number in range(config.pes):
        mine, sampled = [], None if samples is None else []
        for group, block, run in items[number :: config.pes]:
            count = outputs_of(block, run) if outputs_of else len(block) * len(run)
            mine.append(([rows[group][m] for m in block], [columns[group][n] for n in run], count))
            if samples is not None:
                part = np.argwhere(samples[block.start : block.stop, run.start : run.stop])
                sampled.append({tuple(place) for place in part.tolist()})
        tiles = math.ceil(len(rows[0][0]) / config.tile)
        results.append(evaluate_element(config, mine, tiles, size, sampled))
    cycles = max(pe["cycles"] for pe, _ in results)
    for _, unit in results:
        unit["idle_cycles"] = cycles - sum(unit.values())
    return ExTensorCounters(
        np.array([list(pe.values()) for pe, _ in results]),
        np.array([list(unit.values()) for _, unit in results]),
    )
