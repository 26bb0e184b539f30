"""A layer with one output position on SCNN: filters dealt to PEs; ``docs/scnn.md``."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from accel.compiled import njit
from accel.machines.machine import DramTraffic, LayerCounts
from accel.machines.scnn.columns import BROADCAST, COLLECTOR, FINISH, SIBLINGS
from accel.machines.scnn.counts import accesses, spilt_bytes, stored_bytes, unit_counters
from accel.machines.scnn.kernels import count_stored
from golden.machines.scnn import RUN_BITS, ScnnConfig
from golden.program import Codes, LayerTask

__all__ = ["ScnnConnected"]

_RUN = 1 << RUN_BITS


#: Columns of a block's sums: one channel, and the filters that a PE has in a pass.
CYCLES, BUSY, PAIRS, VECTORS, STORED, CONTENTION = range(6)


class ScnnConnected:
    """A layer of one output position arranged for a machine; called with codes, it counts.

    Parameters
    ----------
    config : ScnnConfig
    task : LayerTask
    """

    def __init__(self, config: ScnnConfig, task: LayerTask) -> None:
        layer = task.layer
        self._config, self._layer = config, layer
        self._run = min(-(-layer.group_filters // config.pes), config.accumulators)
        r, s = (axis.ravel() for axis in np.indices((layer.kernel_height, layer.kernel_width)))
        y, x = r - layer.pad_top, s - layer.pad_left
        inside = (y >= 0) & (y < layer.in_height) & (x >= 0) & (x < layer.in_width)
        self._pixels = y[inside], x[inside]
        taps = task.weights.reshape(layer.out_channels, layer.taps, layer.group_channels)
        # axes group, filter, channel of the 1 x 1 convolution
        weights = np.ascontiguousarray(taps[:, inside]).reshape(
            layer.groups, layer.group_filters, -1
        )
        self._blocks = [
            _count_blocks(held, self._run, config.weight_lanes, config.banks) for held in weights
        ]
        stored = sum(int(blocks[..., STORED].sum()) for blocks in self._blocks)
        placeholders = stored - int(np.count_nonzero(weights))
        self._stored_weights, self._weight_placeholders = stored, placeholders

    def __call__(self, inputs: Codes, outputs: Codes) -> LayerCounts:
        config, layer = self._config, self._layer
        pixels = inputs[self._pixels].reshape(-1, layer.groups, layer.group_channels)
        nonzero = np.ascontiguousarray(pixels.transpose(1, 0, 2).reshape(layer.groups, -1) != 0)
        stored = count_stored(nonzero)
        runs = np.arange(0, layer.group_filters, self._run)
        filters = np.minimum(runs + self._run, layer.group_filters) - runs
        passes = -(-len(runs) // config.pes)
        sums = np.zeros((config.pes, CONTENTION + 1), dtype=np.int64)
        waits = np.zeros((config.pes, FINISH + 1), dtype=np.int64)
        start = barrier = drained = slowest = input_reads = held = 0
        for group, index in np.ndindex(layer.groups, passes):
            dealt = slice(index * config.pes, (index + 1) * config.pes)
            of_pass = self._blocks[group][dealt][:, nonzero[group]].sum(axis=1)
            pes = len(of_pass)
            sums[:pes] += of_pass
            begin = max(start, config.LATENCY.start + 1)
            slowest = _begin(waits[:pes], of_pass[:, CYCLES], begin, start, barrier)
            input_reads += pes * int(stored[group])
            barrier = max(start, slowest) + config.LATENCY.barrier
            start = max(barrier, drained)
            held = int(filters[dealt].max())
            drained = max(barrier, drained) + -(-held // config.drain_width)
        cycles = drained + config.LATENCY.tail
        active = np.arange(min(len(runs), config.pes))
        written = self._stored_outputs(outputs)
        pairs, vectors = int(sums[:, PAIRS].sum()), int(sums[:, VECTORS].sum())
        stored_vectors = sum(int(blocks[..., VECTORS].sum()) for blocks in self._blocks)
        return LayerCounts(
            cycles=cycles,
            pairs=pairs,
            units=unit_counters(
                config.pes,
                cycles,
                active,
                sums[active, BUSY],
                sums[active, CYCLES],
                waits[active],
                slowest,
            ),
            additions=pairs,
            accesses=accesses(
                config,
                input_reads=input_reads,
                output_writes=int(written.sum()),
                fifo_vectors=stored_vectors + vectors,
                pairs=pairs,
                drained=layer.out_channels,
            ),
            dram=DramTraffic(
                input_bytes=stored_bytes(int(stored.sum())),
                weight_bytes=stored_bytes(self._stored_weights),
                output_bytes=stored_bytes(int(written.sum())),
            ),
            details={
                "passes": layer.groups * passes,
                "rounds": 1,
                "group_outputs": self._run,
                "vector_pairs": vectors,
                "contention_cycles": int(sums[:, CONTENTION].sum()),
                "weight_vectors": stored_vectors,
                "input_placeholders": int(stored.sum()) - int(np.count_nonzero(nonzero)),
                "weight_placeholders": self._weight_placeholders,
                "halo_sums": 0,
                "iaram_spill_bytes": spilt_bytes(
                    np.full(len(active), stored.sum()), config.iaram_bytes
                ),
                "oaram_spill_bytes": spilt_bytes(written, config.oaram_bytes),
            },
        )

    def _stored_outputs(self, outputs: Codes) -> NDArray[np.int64]:
        """Count the stored outputs of each PE: a run for each of its passes."""
        layer = self._layer
        stored = np.zeros(self._config.pes, dtype=np.int64)
        nonzero = outputs.reshape(layer.groups, layer.group_filters) != 0
        for group, first in np.ndindex(layer.groups, -(-layer.group_filters // self._run)):
            run = nonzero[group, first * self._run : (first + 1) * self._run]
            stored[first % self._config.pes] += count_stored(run[None])[0]
        return stored


def _begin(
    waits: NDArray[np.int64], cycles: NDArray[np.int64], first: int, start: int, barrier: int
) -> int:
    """Run a pass: S and F of the specification; return the last F.

    Parameters
    ----------
    waits : ndarray of int64, axes PE, column from ``SIBLINGS`` on
        Added to.
    cycles : ndarray of int64, axis PE
    first, start, barrier : int
        First cycle that a PE may begin in; Q of the pass, B of the one before.
    """
    left = waits[:, FINISH].copy()
    begin = np.maximum(left, first)
    till_barrier = np.clip(barrier, left, begin)
    till_start = np.clip(start, till_barrier, begin)
    waits[:, SIBLINGS] += till_barrier - left
    waits[:, BROADCAST] += begin - till_start
    waits[:, COLLECTOR] += till_start - till_barrier
    waits[:, FINISH] = begin + cycles
    return int(waits[:, FINISH].max())


@njit
def _count_blocks(weights, run, lanes, banks):
    """Count what each block costs a PE that has an activation for it.

    Parameters
    ----------
    weights : ndarray of int8, axes filter, channel
    run : int
        Filters of a PE in a pass.

    Returns
    -------
    ndarray of int32, axes run of filters, channel, column from ``CYCLES`` on
    """
    filters, channels = weights.shape
    runs = -(-filters // run)
    blocks = np.zeros((runs, channels, CONTENTION + 1), dtype=np.int32)
    products = np.zeros(banks, dtype=np.int64)
    vector_of = np.full(banks, -1, dtype=np.int64)
    vectors_before = 0
    for index in range(runs):
        first, end = index * run, min((index + 1) * run, filters)
        for channel in range(channels):
            zeros, stored, pairs, busy, contention = 0, 0, 0, 0, 0
            vector, fullest = -1, 0
            for k in range(first, end):
                zeros += 1
                if weights[k, channel] == 0:
                    continue
                stored += (zeros - 1) // _RUN
                zeros = 0
                if stored // lanes != vector:
                    vector, fullest = stored // lanes, 0
                    busy += 1
                bank = (k - first) % banks
                if vector_of[bank] != vectors_before + vector:
                    vector_of[bank] = vectors_before + vector
                    products[bank] = 0
                products[bank] += 1
                if products[bank] > max(fullest, 1):
                    contention += 1
                fullest = max(fullest, products[bank])
                pairs += 1
                stored += 1
            vectors = -(-stored // lanes)
            vectors_before += vectors
            blocks[index, channel, CYCLES] = max(1, vectors + contention)
            blocks[index, channel, BUSY] = busy
            blocks[index, channel, PAIRS] = pairs
            blocks[index, channel, VECTORS] = vectors
            blocks[index, channel, STORED] = stored
            blocks[index, channel, CONTENTION] = contention
    return blocks
