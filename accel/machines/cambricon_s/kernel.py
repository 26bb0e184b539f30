"""Numba kernel of Cambricon-S: selections of all steps and the timing of all cores.

Symbols are those of ``docs/cambricon-s.md``, *Timing*. Neurons and masks are bits, 64 a word.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from accel.compiled import helper, njit
from accel.machines.vectors import count_ones, element, nonzero_mask
from golden.counters import UNIT_COUNTERS
from golden.machines.cambricon_s import CORE_COUNTERS

__all__ = ["Geometry", "Program", "Timing", "pack_neurons", "run_cores"]

_BUSY, _BUBBLE, _MEMORY, _SIBLINGS, _BROADCAST, _COLLECTOR, _IDLE = range(len(UNIT_COUNTERS))
_CYCLES, _PAIRS, _STEPS, _LOAD_BEATS, _OUTPUTS, _SELECTED = range(len(CORE_COUNTERS))


class Program(NamedTuple):
    """What the cores do in a layer, whatever the image.

    Parameters
    ----------
    masks : ndarray of uint64, axes kept window, word
        Of all blocks, one after the other.
    row, offset : ndarrays of int64, axis kept window
        Kernel row of its run, and its first position in it.
    kept : ndarray of int64, axis kept window
        Ones of its mask: codes of a filter that the synapse buffer holds.
    beats : ndarray of int64, axis kept window
        Of its load.
    first : ndarray of int64, axis block and one more
        Where each block's kept windows begin.
    group, filters : ndarrays of int64, axis block
        Convolution group, and number of filters.
    """

    masks: NDArray[np.uint64]
    row: NDArray[np.int64]
    offset: NDArray[np.int64]
    kept: NDArray[np.int64]
    beats: NDArray[np.int64]
    first: NDArray[np.int64]
    group: NDArray[np.int64]
    filters: NDArray[np.int64]

    @property
    def windows(self) -> NDArray[np.int64]:
        """Kept windows of each block."""
        return np.diff(self.first)


class Timing(NamedTuple):
    """Parameters and latencies that the kernel needs; what is kept on disk must not hold them."""

    segment_windows: int
    tile_positions: int
    output_width: int
    start: int
    load: int
    load_free: int
    deliver: int
    collector_free: int
    tail: int


class Geometry(NamedTuple):
    """Where the neurons of a position are, in bits of a padded input row."""

    positions: int
    out_width: int
    stride_height: int
    stride_bits: int


@njit
def pack_neurons(source, neurons, height, width, channels, pad_top, pad_left):
    """Set the bits of non-zero neurons, axes group, padded y, word; a row is ordered x, c."""
    groups = neurons.shape[0]
    # With one group the pixels of a row lie side by side.
    pieces, length = (1, width * channels) if groups == 1 else (width, channels)
    for group in range(groups):
        for y in range(height):
            row = neurons[group, y + pad_top]
            for piece in range(pieces):
                at = ((y * width + piece) * groups + group) * channels
                into = (pad_left + piece) * channels
                for low in range(0, length, 64):
                    if length - low >= 64:
                        bits = nonzero_mask(source, at + low)
                    else:
                        bits = np.uint64(0)
                        for bit in range(length - low):
                            bits |= np.uint64(source[at + low + bit] != 0) << np.uint64(bit)
                    word, shift = (into + low) >> 6, np.uint64((into + low) & 63)
                    row[word] |= bits << shift
                    # In two shifts: one of 64 is undefined.
                    row[word + 1] |= bits >> np.uint64(1) >> (np.uint64(63) - shift)


@njit
def run_cores(program, timing, geometry, neurons, step_cycles, cores, units):
    """Count every cycle of every core; symbols are those of the page, *Timing*.

    Parameters
    ----------
    neurons : ndarray of uint64, axes group, padded y, word
    step_cycles : ndarray of int64, axis n
        c of a step with n selected neurons.
    cores, units : ndarrays of int64
        Written: the fields of ``CambriconSCounters``.
    """
    for m in range(cores.shape[0]):
        positions = -(-(geometry.positions - m) // cores.shape[0])
        if positions <= 0:
            continue
        finish, loaded, collector_free, drained = timing.start, 0, 0, 0
        # LD's free[j]: F' of the last step of load j - 2, plus LOAD_FREE.
        free, free_next, left = 0, 0, 0
        for block in range(len(program.group)):
            low, high = program.first[block], program.first[block + 1]
            filters = program.filters[block]
            drain_cycles = -(-filters // timing.output_width)
            single = high - low <= timing.segment_windows
            busy, bubble, memory, broadcast, collector, selected = 0, 0, 0, 0, 0, 0
            for tile in range(0, positions, timing.tile_positions):
                tile_end = min(tile + timing.tile_positions, positions)
                for first in range(low, high, timing.segment_windows):
                    last = min(first + timing.segment_windows, high)
                    if tile == 0 or not single:
                        beats = program.beats[first:last].sum()
                        loaded = max(loaded, free) + beats
                        free = free_next
                        free_next = 0
                        cores[m, _LOAD_BEATS] += beats
                        ready = loaded + timing.load
                        begun = max(finish, ready)
                        memory += max(0, ready - left)
                        broadcast += begun - max(left, ready)
                        finish = begun
                    for index in range(tile, tile_end):
                        span, chosen, empty = _steps(
                            program, geometry, neurons, step_cycles, m + index * cores.shape[0],
                            program.group[block], first, last,
                        )  # fmt: skip
                        finish += span
                        busy += span - empty
                        bubble += empty
                        selected += chosen
                        if last == high:
                            collector += max(0, collector_free - finish)
                            finish = max(finish, collector_free)
                            drained = finish + timing.deliver + drain_cycles
                            collector_free = drained + timing.collector_free
                    left = finish
                    free_next = finish + timing.load_free
            cores[m, _PAIRS] += selected * filters
            cores[m, _SELECTED] += selected
            cores[m, _STEPS] += positions * (high - low)
            cores[m, _OUTPUTS] += positions * filters
            for pe in range(filters):
                units[m, pe, _BUSY] += busy
                units[m, pe, _BUBBLE] += bubble
                units[m, pe, _MEMORY] += memory
                units[m, pe, _BROADCAST] += broadcast
                units[m, pe, _COLLECTOR] += collector
        cores[m, _CYCLES] = drained + timing.tail
        for pe in range(units.shape[1]):
            units[m, pe, _IDLE] = cores[m, _CYCLES] - units[m, pe].sum()


@helper
def _steps(program, geometry, neurons, step_cycles, position, group, first, last):
    """Add up cycles, selected neurons and empty steps of kept windows of one position."""
    words = program.masks.shape[1]
    rows, row_words = neurons.shape[1], neurons.shape[2]
    top = position // geometry.out_width * geometry.stride_height
    left = position % geometry.out_width * geometry.stride_bits
    source, masks = neurons.reshape(-1), program.masks.reshape(-1)
    cycles, selected, empty = 0, 0, 0
    for window in range(first, last):
        bit = left + program.offset[window]
        at = (group * rows + top + program.row[window]) * row_words + (bit >> 6)
        shift = np.uint64(bit & 63)
        low = element(source, at)
        count = 0
        for word in range(words):
            high = element(source, at + word + 1)
            # In two shifts: one of 64 is undefined.
            bits = (low >> shift) | (high << np.uint64(1) << (np.uint64(63) - shift))
            count += count_ones(bits & element(masks, window * words + word))
            low = high
        cycles += step_cycles[count]
        selected += count
        empty += count == 0
    return cycles, selected, empty
