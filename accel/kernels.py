"""Numba kernel of the machine's timing: joins of chunks and the max-plus recurrence.

One call runs some clusters through a whole layer. The unit is the vector axis: filter masks lie
unit by unit in memory, so that a step is a handful of vector instructions for all units of a
cluster. Symbols are those of ``docs/machine.md``, *Timing*.
"""

from __future__ import annotations

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

__all__ = [
    "STATE",
    "STATE_NAMES",
    "SUMS",
    "SUM_NAMES",
    "count_broadcast_words",
    "run_clusters",
]

#: What a cluster remembers between steps, and its counters: columns of ``state``.
STATE_NAMES = (
    "arrived",  # A of the last step
    "loaded",  # LD of the last load
    "released",  # max F' of the last delivered step, plus LOAD_FREE
    "released_before",  # the same when the last load began
    "collector_free",  # C of the last position
    "drained",  # E of the last position
    "slot",  # where the ring of slots stands
    "steps",  # steps so far, skipped ones too
    "delivered",
    "skipped",
    "broadcast_words",
    "filter_beats",
    "outputs",
    "output_nonzeros",
)
STATE = {name: index for index, name in enumerate(STATE_NAMES)}

#: Sums over steps of each unit: rows of ``sums``.
SUM_NAMES = ("pairs", "busy", "cost", "siblings", "memory", "collector", "span")
SUMS = {name: index for index, name in enumerate(SUM_NAMES)}

_ARRIVED, _LOADED, _RELEASED, _RELEASED_BEFORE, _COLLECTOR_FREE, _DRAINED, _SLOT = range(7)
_STEPS, _DELIVERED, _SKIPPED, _WORDS, _BEATS, _OUTPUTS, _NONZEROS = range(7, 14)
_PAIRS, _BUSY, _COST, _SIBLINGS, _MEMORY, _COLLECTOR, _SPAN = range(7)


@intrinsic
def _count_ones(typingctx, word):  # noqa: ANN001, ANN202 - Numba's own signature
    """Population count of a uint32, which LLVM vectorises."""
    del typingctx

    def generate(context, builder, signature, arguments):  # noqa: ANN001, ANN202
        del context, signature
        return builder.ctpop(arguments[0])

    return types.uint32(types.uint32), generate


@njit(nogil=True, cache=True)
def count_broadcast_words(masks, width):
    """Count the ``width``-position words of each mask that hold a one.

    Parameters
    ----------
    masks : ndarray of uint64, axes chunk, word
    width : int
        A power of two.

    Returns
    -------
    ndarray of uint16, axis chunk
        0 for an all-zero chunk; the broadcaster takes a cycle for it all the same.
    """
    chunks, words = masks.shape
    counts = np.zeros(chunks, dtype=np.uint16)
    if width >= 64:
        group = width // 64
        for chunk in range(chunks):
            for first in range(0, words, group):
                union = np.uint64(0)
                for word in range(first, min(first + group, words)):
                    union |= masks[chunk, word]
                counts[chunk] += np.uint16(union != 0)
        return counts
    leaders = np.uint64(0)
    for position in range(0, 64, width):
        leaders |= np.uint64(1) << np.uint64(position)
    for chunk in range(chunks):
        for word in range(words):
            bits = masks[chunk, word]
            shift = 1
            while shift < width:
                bits |= bits >> np.uint64(shift)
                shift *= 2
            bits &= leaders
            low, high = np.uint32(bits), np.uint32(bits >> np.uint64(32))
            counts[chunk] += np.uint16(_count_ones(low) + _count_ones(high))
    return counts


@njit(nogil=True, cache=True, error_model="numpy", inline="never")
def _window_rows(rows, position, first_tap, last_tap, base, zero_row, geometry):
    """Find the input row under each tap of a position's window; ``zero_row`` outside."""
    out_width, kernel_width, height, width, stride_y, stride_x, pad_y, pad_x, im2row = geometry
    if im2row:
        rows[0] = base + position
        return
    top = (position // out_width) * stride_y - pad_y
    left = (position % out_width) * stride_x - pad_x
    y = top + first_tap // kernel_width
    x_offset = first_tap % kernel_width
    for tap in range(first_tap, last_tap + 1):
        x = left + x_offset
        inside = 0 <= y < height and 0 <= x < width
        rows[tap] = base + y * width + x if inside else zero_row
        x_offset += 1
        if x_offset == kernel_width:
            x_offset = 0
            y += 1


@njit(nogil=True, cache=True, error_model="numpy")
def run_clusters(
    clusters,
    deal_first,
    deal_count,
    deal_stride,
    queue,
    positions,
    segment_chunks,
    row_chunks,
    geometry,
    skip_empty,
    masks,
    dynamic,
    broadcast_words,
    pass_base,
    zero_row,
    filters,
    minimum,
    minimum_varies,
    active,
    active_count,
    load_beats,
    double_buffer,
    pass_outputs,
    pass_drain,
    pass_nonzeros,
    latency,
    slots_tag,
    words_tag,
    lanes_tag,
    state,
    ring,
    finished,
    local_finished,
    local_sums,
    sums,
):
    """Run clusters ``clusters[0]`` to ``clusters[1] - 1`` through a layer.

    Times are of the dtype of ``finished``; the caller proves that they fit. Tags are tuples whose
    *length* is the number: it is known when the kernel is compiled, and loops over it unroll.

    Parameters
    ----------
    deal_first, deal_count, deal_stride : ndarray of int64, axes cluster, deal
        Runs of positions that a cluster works through segment by segment. With a queue only
        ``deal_count[0, 0]`` is read: the positions in one deal.
    masks : ndarray of uint32, axes chunk, word
        Effective input masks a'; with ``dynamic`` all chunks and a row of zeros after them,
        else the chunks of one row.
    broadcast_words : ndarray of uint16, axis chunk
        Of the true masks, with the row of zeros.
    filters : ndarray of uint32, axes pass, filter chunk, slot, word, lane
        Effective filter masks w'; a lane is an active unit of the pass.
    minimum : ndarray, axes pass, filter chunk (or 1), slot, lane
        1 where there is a filter, else 0.
    active : ndarray of int64, axes pass, lane
        The unit of each lane.
    load_beats : ndarray of int64, axes pass, segment
    pass_nonzeros : ndarray of int32, axes pass, position
    state, ring, finished, sums : ndarrays
        Written: ``STATE_NAMES`` of each cluster, max F' of the last steps, F' of each unit,
        and ``SUM_NAMES`` (axes cluster, sum, unit).
    local_finished, local_sums : ndarrays, axes cluster, (sum,) lane
        Working space.
    """
    start, release, load, load_free, deliver, free_after = latency
    filter_chunks = filters.shape[1]
    lanes_padded = filters.shape[4]
    slots = ring.shape[1]
    segments = load_beats.shape[1]
    words = len(words_tag)
    filters_per_unit = len(slots_tag)
    lanes = len(lanes_tag)
    time = finished.dtype.type
    rows = np.empty(filter_chunks // row_chunks + 1, dtype=np.int64)
    low, high = clusters
    for m in range(low, high):
        state[m, _ARRIVED] = start
        for slot in range(slots):
            ring[m, slot] = time(-release)

    for index in range(filters.shape[0]):
        # -- a pass begins: lanes are given to its active units
        for m in range(low, high):
            for lane in range(lanes_padded):
                local_finished[m, lane] = 0
                for row in range(local_sums.shape[1]):
                    local_sums[m, row, lane] = 0
            for lane in range(active_count[index]):
                unit = active[index, lane]
                local_finished[m, lane] = finished[m, unit]
                waited = finished[m, unit]
                if state[m, _STEPS] > 0:
                    waited = max(waited, time(state[m, _ARRIVED]))
                local_sums[m, _SPAN, lane] = time(-waited)
        if queue:
            tile = deal_count[0, 0]
            deals = -(-positions // tile)
        else:
            tile = 0
            deals = (high - low) * deal_first.shape[1]

        for deal in range(deals):
            if queue:
                m = low
                for other in range(low + 1, high):
                    if state[other, _DRAINED] < state[m, _DRAINED]:
                        m = other
                first, stride = deal * tile, 1
                count = min(tile, positions - first)
            else:
                m = low + deal // deal_first.shape[1]
                at = deal % deal_first.shape[1]
                first, stride = deal_first[m, at], deal_stride[m, at]
                count = deal_count[m, at]
            if count == 0:
                continue
            arrived = time(state[m, _ARRIVED])
            slot = state[m, _SLOT]
            collector_free = time(state[m, _COLLECTOR_FREE])
            longest = time(0)
            skipped, delivered, sent_words = 0, 0, 0
            finish = local_finished[m]
            for segment in range(segments):
                first_chunk = segment * segment_chunks
                last_chunk = min(first_chunk + segment_chunks, filter_chunks) - 1
                # A whole filter is loaded once a pass: lane 0 has not worked in it yet.
                if segments > 1 or local_sums[m, _COST, 0] == 0:
                    free = state[m, _RELEASED_BEFORE] if double_buffer else state[m, _RELEASED]
                    state[m, _RELEASED_BEFORE] = state[m, _RELEASED]
                    beats = load_beats[index, segment]
                    loaded = max(state[m, _LOADED], free) + beats
                    state[m, _LOADED] = loaded
                    state[m, _BEATS] += beats
                    ready = time(loaded + load)
                    left = arrived if state[m, _STEPS] + skipped + delivered > 0 else time(0)
                    if ready > left:
                        for lane in range(lanes_padded):
                            waited = time(ready - max(left, finish[lane]))
                            local_sums[m, _MEMORY, lane] += max(waited, time(0))
                        arrived = max(arrived, ready)
                for step in range(count):
                    position = first + step * stride
                    tap = first_chunk // row_chunks
                    _window_rows(
                        rows, position, tap, last_chunk // row_chunks,
                        pass_base[index], zero_row, geometry,
                    )  # fmt: skip
                    piece = first_chunk % row_chunks
                    for chunk in range(first_chunk, last_chunk + 1):
                        at = rows[tap] * row_chunks + piece
                        taken = broadcast_words[at]
                        if not dynamic:
                            at = piece
                        piece += 1
                        if piece == row_chunks:
                            piece = 0
                            tap += 1
                        if taken == 0:
                            if skip_empty and chunk < last_chunk:
                                arrived = time(arrived + 1)
                                skipped += 1
                                continue
                            taken = np.uint16(1)
                        before = arrived
                        sent = max(before, time(ring[m, slot] + release))
                        arrived = time(sent + taken)
                        sent_words += taken
                        delivered += 1
                        longest = time(0)
                        for lane in range(lanes_padded):
                            cost = time(0)
                            for held in range(filters_per_unit):
                                ones = np.uint32(0)
                                for word in range(words):
                                    both = masks[at, word] & filters[index, chunk, held, word, lane]
                                    ones = np.uint32(ones + _count_ones(np.uint32(both)))
                                pairs = time(ones)
                                busy = pairs
                                if lanes == 2:
                                    local_sums[m, _PAIRS, lane] += pairs
                                    busy = time((pairs + 1) >> 1)
                                local_sums[m, _BUSY, lane] += busy
                                floor = minimum[index, chunk * minimum_varies, held, lane]
                                cost = time(cost + max(busy, floor))
                            local_sums[m, _COST, lane] += cost
                            old = finish[lane]
                            waited = time(max(old, sent) - max(old, before))
                            local_sums[m, _SIBLINGS, lane] += waited
                            new = time(max(old, arrived) + cost)
                            finish[lane] = new
                            longest = max(longest, new)
                        if chunk == filter_chunks - 1:
                            if collector_free > arrived:
                                for lane in range(lanes_padded):
                                    late = max(time(collector_free - finish[lane]), time(0))
                                    local_sums[m, _COLLECTOR, lane] += late
                                    finish[lane] += late
                                longest = max(longest, collector_free)
                            drained = longest + deliver + pass_drain[index]
                            state[m, _DRAINED] = drained
                            collector_free = time(drained + free_after)
                            state[m, _OUTPUTS] += pass_outputs[index]
                            state[m, _NONZEROS] += pass_nonzeros[index, position]
                        ring[m, slot] = longest
                        slot += 1
                        if slot == slots:
                            slot = 0
                state[m, _RELEASED] = longest + load_free
            state[m, _ARRIVED] = arrived
            state[m, _COLLECTOR_FREE] = collector_free
            state[m, _SLOT] = slot
            state[m, _STEPS] += skipped + delivered
            state[m, _DELIVERED] += delivered
            state[m, _SKIPPED] += skipped
            state[m, _WORDS] += sent_words

        # -- the pass ends: lanes are returned to their units
        for m in range(low, high):
            if local_sums[m, _COST, 0] == 0:
                continue
            for lane in range(active_count[index]):
                unit = active[index, lane]
                finished[m, unit] = local_finished[m, lane]
                local_sums[m, _SPAN, lane] += local_finished[m, lane]
                for row in range(local_sums.shape[1]):
                    sums[m, row, unit] += local_sums[m, row, lane]
