"""A cluster's equations of ``docs/machine.md`` for one pass of one tile.

The kernel of `accel.machines.cluster` runs a whole layer and loads its filters itself; here the
chip's filter FIFO says when a load has ended, and a tile is a job that begins anew. Symbols are
those of that page, *Timing*; times are absolute.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from accel.compiled import helper
from accel.machines.vectors import count_ones

__all__ = [
    "PLACES",
    "ClusterState",
    "Convolution",
    "Tensors",
    "begin_job",
    "convolution_of",
    "run_pass",
]


class ClusterState(NamedTuple):
    """What clusters remember within a job.

    Parameters
    ----------
    finish : ndarray of int64, axes cluster, unit
        F' of each unit's last delivered step.
    ring : ndarray of int64, axes cluster, slot
        Largest F' of the last delivered steps.
    scalars : ndarray of int64, axes cluster, (A, delivered steps, C, E, pairs)
    cost : ndarray of int64, axis unit
        Scratch.
    """

    finish: NDArray[np.int64]
    ring: NDArray[np.int64]
    scalars: NDArray[np.int64]
    cost: NDArray[np.int64]


class Convolution(NamedTuple):
    """A convolution's tensors and sizes.

    Parameters
    ----------
    filters : ndarray of uint64, axes pass, chunk, slot, word, unit
        Effective filter masks.
    holds : ndarray of int64, axes pass, slot, unit
        1 where there is a filter.
    active, drain, group : ndarrays of int64, axis pass
        Active units, D, and the first input chunk of the pass's group.
    masks : ndarray of uint64, axes chunk, word
        Effective input masks, each group's followed by a row of padding.
    words : ndarray of uint16, axis chunk
        Broadcast words of the true masks.
    shape : tuple of int
        Kernel height and width, strides, pads (top, left), input height and width, row chunks,
        output width.
    """

    filters: NDArray[np.uint64]
    holds: NDArray[np.int64]
    active: NDArray[np.int64]
    drain: NDArray[np.int64]
    group: NDArray[np.int64]
    masks: NDArray[np.uint64]
    words: NDArray[np.uint16]
    shape: tuple[int, ...]


@helper
def begin_job(start, latency_start, latency_release, state):
    """Forget the job before; nothing precedes cycle ``start``."""
    state.finish[:] = start
    # A slot that was never used is free at once.
    state.ring[:] = start - latency_release
    state.scalars[:, 0] = start + latency_start
    state.scalars[:, 1] = 0
    state.scalars[:, 2] = start
    state.scalars[:, 3] = start


@helper
def run_pass(m, first, count, stride, index, loaded, skip_empty, layer, latency, state):
    """Run a cluster through a pass at some positions.

    Parameters
    ----------
    m : int
        The cluster.
    first, count, stride : int
        Its positions.
    index : int
        The pass.
    loaded : int
        LD of the pass's filters.
    layer : Convolution
    latency : tuple of int
        RELEASE, LOAD, DELIVER, COLLECTOR_FREE.
    state : ClusterState
        Changed.

    Returns
    -------
    int
        The largest F' of the pass's last step.
    """
    release, load, deliver, collector_free = latency
    kernel_h, kernel_w, stride_y, stride_x, top, left, height, width, row_chunks, out_width = (
        layer.shape
    )
    finish, ring, cost = state.finish[m], state.ring[m], state.cost
    slots, words, units = layer.filters.shape[2], layer.filters.shape[3], layer.active[index]
    arrived, delivered, register_free, drained, pairs = (
        state.scalars[m, 0], state.scalars[m, 1], state.scalars[m, 2], state.scalars[m, 3],
        state.scalars[m, 4],
    )  # fmt: skip
    group, padding = layer.group[index], layer.group[index] + height * width * row_chunks
    last_chunk = kernel_h * kernel_w * row_chunks - 1
    arrived = max(arrived, loaded + load)
    longest = np.int64(0)
    for number in range(count):
        position = first + number * stride
        y_top = position // out_width * stride_y - top
        x_left = position % out_width * stride_x - left
        chunk = 0
        for r in range(kernel_h):
            y = y_top + r
            for s in range(kernel_w):
                x = x_left + s
                at = padding
                if 0 <= y < height and 0 <= x < width:
                    at = group + (y * width + x) * row_chunks
                for _ in range(row_chunks):
                    taken = np.int64(layer.words[at])
                    if taken == 0:
                        taken = 1
                        if skip_empty and chunk < last_chunk:
                            arrived += 1
                            chunk += 1
                            at += 1
                            continue
                    slot = delivered % ring.shape[0]
                    arrived = max(arrived, ring[slot] + release) + taken
                    for u in range(units):
                        cost[u] = 0
                    for held in range(slots):
                        for u in range(units):
                            ones = np.int64(0)
                            for word in range(words):
                                ones += count_ones(
                                    layer.filters[index, chunk, held, word, u]
                                    & layer.masks[at, word]
                                )
                            pairs += ones
                            cost[u] += max(ones, layer.holds[index, held, u])
                    longest = np.int64(0)
                    for u in range(units):
                        finish[u] = max(finish[u], arrived) + cost[u]
                        longest = max(longest, finish[u])
                    if chunk == last_chunk:
                        for u in range(units):
                            finish[u] = max(finish[u], register_free)
                        longest = max(longest, register_free)
                        drained = longest + deliver + layer.drain[index]
                        register_free = drained + collector_free
                    ring[slot] = longest
                    delivered += 1
                    chunk += 1
                    at += 1
    state.scalars[m, 0], state.scalars[m, 1] = arrived, delivered
    state.scalars[m, 2], state.scalars[m, 3] = register_free, drained
    state.scalars[m, 4] = pairs
    return longest


class Tensors(NamedTuple):
    """The convolutions of a network behind one another: flat arrays of ``Convolution``.

    Parameters
    ----------
    places : ndarray of int64, axes layer, ``PLACES``
        Where a layer's parts begin, and how large they are.
    shapes : ndarray of int64, axes layer, ``Convolution.shape``
    """

    filters: NDArray[np.uint64]
    holds: NDArray[np.int64]
    active: NDArray[np.int64]
    drain: NDArray[np.int64]
    group: NDArray[np.int64]
    masks: NDArray[np.uint64]
    words: NDArray[np.uint16]
    places: NDArray[np.int64]
    shapes: NDArray[np.int64]


#: Columns of ``Tensors.places``: first element of each part, and sizes.
PLACES = ("filters", "holds", "passes_first", "masks", "words", "passes", "chunks", "slots",
          "mask_words", "units", "input_chunks")  # fmt: skip


@helper
def convolution_of(tensors, layer):
    """Return one layer's tensors."""
    (at_filters, at_holds, at_pass, at_masks, at_words, passes, chunks, slots, words, units,
     inputs) = (tensors.places[layer, 0], tensors.places[layer, 1], tensors.places[layer, 2],
                tensors.places[layer, 3], tensors.places[layer, 4], tensors.places[layer, 5],
                tensors.places[layer, 6], tensors.places[layer, 7], tensors.places[layer, 8],
                tensors.places[layer, 9], tensors.places[layer, 10])  # fmt: skip
    size = passes * chunks * slots * words * units
    s = tensors.shapes[layer]
    return Convolution(
        tensors.filters[at_filters : at_filters + size].reshape(
            passes, chunks, slots, words, units
        ),
        tensors.holds[at_holds : at_holds + passes * slots * units].reshape(passes, slots, units),
        tensors.active[at_pass : at_pass + passes],
        tensors.drain[at_pass : at_pass + passes],
        tensors.group[at_pass : at_pass + passes],
        tensors.masks[at_masks : at_masks + inputs * words].reshape(inputs, words),
        tensors.words[at_words : at_words + inputs],
        (s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7], s[8], s[9]),
    )
