"""A layer with a plane on SCNN: tiles of it on PEs, weights broadcast; ``docs/scnn.md``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accel.machines.machine import DramTraffic, LayerCounts
from accel.machines.scnn.columns import (
    BLOCK_VECTORS,
    BUSY,
    COST,
    DRAINED,
    FINISH,
    RESIDUE,
    SEGMENT,
    SENT,
    SLOWEST,
    VECTORS,
    WAITING,
)
from accel.machines.scnn.counts import accesses, spilt_bytes, stored_bytes, unit_counters
from accel.machines.scnn.kernels import Vectors, count_stored, run_passes
from accel.machines.scnn.layout import make_plan, pack
from golden.machines.scnn import ScnnConfig
from golden.program import Codes, LayerTask

__all__ = ["ScnnConvolution"]


#: Taps of a kernel that are bits of a word.
_TAPS_MAX = 64


@dataclass(eq=False)
class _Run:
    """What a layer's passes count; arrays are those of `accel.machines.scnn.kernels.run_passes`.

    Parameters
    ----------
    stored : ndarray of int64, axis PE with a pixel
        Stored activations.
    input_reads : int
        Stored activations read.
    vectors : int
        Weight vectors sent.
    drained : int
        Partial sums drained.
    """

    sums: NDArray[np.int64]
    waits: NDArray[np.int64]
    state: NDArray[np.int64]
    stored: NDArray[np.int64]
    input_reads: int = 0
    vectors: int = 0
    drained: int = 0


class ScnnConvolution:
    """A convolution arranged for a machine; called with an image's codes, it counts.

    Parameters
    ----------
    config : ScnnConfig
    task : LayerTask

    Raises
    ------
    CapacityError
        The sums of a single pixel and filter do not fit the accumulators.
    """

    def __init__(self, config: ScnnConfig, task: LayerTask) -> None:
        layer = task.layer
        self._config, self._layer = config, layer
        self._plan = plan = make_plan(config, layer)
        self._weights = [self._pack_weights(task.weights, group) for group in range(layer.groups)]
        self._blocks = [self._cut_blocks(weights) for weights, _ in self._weights]
        self._stored_weights = sum(int(stored.sum()) for _, stored in self._weights)
        self._nonzero_weights = int(np.count_nonzero(task.weights))
        pixels = [
            np.any(axis.bounds[..., 0] < axis.bounds[..., 1], axis=0)
            for axis in (plan.rows, plan.columns)
        ]
        self._active = np.flatnonzero(pixels[0][:, None] & pixels[1])
        taps = np.arange(layer.taps if layer.taps <= _TAPS_MAX else 0)
        r, s = np.divmod(taps, layer.kernel_width)
        self._taps = np.ascontiguousarray(self._places(r, s, -1)[:, 1:4])
        self._limits = np.array(
            [
                layer.out_height - 1,
                layer.out_width - 1,
                (layer.kernel_height - 1) // layer.stride_height,
                (layer.kernel_width - 1) // layer.stride_width,
                plan.phases == (layer.stride_height, layer.stride_width),
            ],
            dtype=np.int64,
        )

    # -- what does not depend on the image ------------------------------------------------------

    def _places(
        self, rows: NDArray[np.int64], columns: NDArray[np.int64], sign: int
    ) -> NDArray[np.int64]:
        """Return the place (`Vectors`) of taps (sign -1) or padded pixels (1), without k."""
        layer, banks = self._layer, self._plan.banks
        row, row_phase = np.divmod(rows, layer.stride_height)
        column, column_phase = np.divmod(columns, layer.stride_width)
        residue = sign * (banks.row * row + banks.column * column) % banks.banks
        phase = row_phase * layer.stride_width + column_phase
        return np.stack([residue, row, column, phase, rows * layer.kernel_width + columns], -1)

    def _pack_weights(
        self, weights: NDArray[np.int8], group: int
    ) -> tuple[Vectors, NDArray[np.int64]]:
        """Put a convolution group's weights in vectors: segments are pass, channel, phase."""
        layer, plan, banks = self._layer, self._plan, self._plan.banks
        first, end = group * layer.group_filters, (group + 1) * layer.group_filters
        starts = range(first, end, plan.outputs)
        phases = plan.phases[0] * plan.phases[1]
        runs, order = [], []
        nonzero = np.ascontiguousarray(weights[first:end].transpose(3, 1, 2, 0) != 0)
        for index, start in enumerate(starts):
            filters = nonzero[..., start - first : min(start + plan.outputs, end) - first]
            k = np.arange(filters.shape[-1])
            for phase in range(phases):
                top, left = divmod(phase, plan.phases[1])
                taps = filters[:, top :: plan.phases[0], left :: plan.phases[1]]
                r = np.arange(top, layer.kernel_height, plan.phases[0])
                s = np.arange(left, layer.kernel_width, plan.phases[1])
                grid = np.meshgrid(r, s, k, indexing="ij")
                r, s, k_of = (axis.ravel() for axis in grid)
                places = self._places(r, s, -1)
                places[:, RESIDUE] = (places[:, RESIDUE] + k_of) % banks.banks
                runs.append((np.ascontiguousarray(taps.reshape(len(taps), -1)), places))
                channels = np.arange(layer.group_channels)
                order.append((index * layer.group_channels + channels) * phases + phase)
        return pack(runs, np.concatenate(order), self._config.weight_lanes)

    def _cut_blocks(self, weights: Vectors) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the blocks of a round, axes block, part (`multiply`), and where passes begin."""
        layer, limit = self._layer, self._config.fifo_vectors
        segments = layer.group_channels * self._plan.phases[0] * self._plan.phases[1]
        vectors = np.diff(weights.first)
        pieces = -(-vectors // limit)
        of = np.repeat(np.arange(len(vectors)), pieces)
        piece = np.arange(len(of)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
        count = np.minimum(limit, vectors[of] - piece * limit)
        blocks = np.stack([of % segments, weights.first[of] + piece * limit, count], axis=-1)
        begins = np.zeros(len(vectors) // segments + 1, dtype=np.int64)
        np.cumsum(pieces.reshape(-1, segments).sum(axis=1), out=begins[1:])
        return blocks, begins

    # -- an image -------------------------------------------------------------------------------

    def _pack_inputs(
        self, nonzero: NDArray[np.bool_], index: int
    ) -> tuple[Vectors, NDArray[np.int64]]:
        """Put the activations of a round in vectors: segments are channel, phase, PE with a pixel.

        Parameters
        ----------
        nonzero : ndarray of bool, axes channel, y, x
        """
        layer, plan = self._layer, self._plan
        down, across = divmod(index, len(plan.columns.bounds))
        phases = plan.phases[0] * plan.phases[1]
        runs, order = [], []
        for at, m in enumerate(self._active):
            i, j = divmod(int(m), self._config.grid_width)
            y0, y1 = plan.rows.bounds[down, i]
            x0, x1 = plan.columns.bounds[across, j]
            for phase in range(phases):
                top, left = divmod(phase, plan.phases[1])
                y0_of = y0 + (top - y0 - layer.pad_top) % plan.phases[0]
                x0_of = x0 + (left - x0 - layer.pad_left) % plan.phases[1]
                y = np.arange(y0_of, y1, plan.phases[0])
                x = np.arange(x0_of, x1, plan.phases[1])
                tile = nonzero[:, y0_of : y1 : plan.phases[0], x0_of : x1 : plan.phases[1]]
                rows, columns = np.repeat(y, len(x)), np.tile(x, len(y))
                places = self._places(rows + layer.pad_top, columns + layer.pad_left, 1)
                runs.append((np.ascontiguousarray(tile.reshape(len(tile), len(rows))), places))
                order.append((np.arange(len(tile)) * phases + phase) * len(self._active) + at)
        return pack(runs, np.concatenate(order), self._config.input_lanes)

    def _stored_outputs(self, outputs: Codes) -> NDArray[np.int64]:
        """Count the stored outputs of each active PE: each channel of each subtile anew."""
        plan = self._plan
        nonzero = np.ascontiguousarray(outputs.transpose(2, 0, 1) != 0)
        stored = np.zeros(len(self._active), dtype=np.int64)
        for at, m in enumerate(self._active):
            i, j = divmod(int(m), self._config.grid_width)
            for p0, p1 in plan.rows.owned[:, i]:
                for q0, q1 in plan.columns.owned[:, j]:
                    tile = np.ascontiguousarray(nonzero[:, p0:p1, q0:q1])
                    stored[at] += count_stored(tile.reshape(len(tile), -1)).sum()
        return stored

    def _regions(self, index: int) -> NDArray[np.int64]:
        """Return the sums of one filter in each active PE's region in a round."""
        rows, columns = self._plan.rows, self._plan.columns
        down, across = divmod(index, len(columns.bounds))
        return np.outer(rows.region[down], columns.region[across]).ravel()[self._active]

    def _pass_filters(self) -> NDArray[np.int64]:
        """Return the filters of each pass of a round."""
        filters, most = self._layer.group_filters, self._plan.outputs
        starts = np.arange(0, filters, most)
        return np.minimum(starts + most, filters) - starts

    def _run(self, nonzero: NDArray[np.bool_]) -> _Run:
        """Run all passes; ``nonzero`` are the activations, axes channel, y, x."""
        config, layer, plan, active = self._config, self._layer, self._plan, len(self._active)
        run = _Run(
            sums=np.zeros((active, COST + 1), dtype=np.int64),
            waits=np.zeros((active, FINISH + 1), dtype=np.int64),
            state=np.zeros(WAITING + 1, dtype=np.int64),
            stored=np.zeros(active, dtype=np.int64),
        )
        run.state[SENT] = config.LATENCY.start
        blocks_of_all = sum(len(blocks) for blocks, _ in self._blocks)
        finish_max = np.zeros((plan.rounds * blocks_of_all, BLOCK_VECTORS + 1), dtype=np.int64)
        machine = (config.banks, config.bank_queue, config.fifo_vectors, config.LATENCY.barrier)
        held = self._pass_filters()
        rounds = (self._pack_inputs(nonzero, index) for index in range(plan.rounds))
        if layer.groups > 1:
            rounds = list(rounds)  # every group goes through them
        segments = len(nonzero) // layer.groups * plan.phases[0] * plan.phases[1]
        for group, (blocks, begins) in enumerate(self._blocks):
            of_group = slice(group * segments, (group + 1) * segments)
            for index, (packed, counts) in enumerate(rounds):
                counts = counts.reshape(-1, active)[of_group]
                first = packed.first[of_group.start * active : of_group.stop * active + 1]
                region = self._regions(index)
                drain = -(-held * int(region.max()) // config.drain_width)
                run_passes(
                    packed._replace(first=first), self._limits, self._taps, machine,
                    self._weights[group][0], blocks, begins, drain, run.sums, run.waits,
                    run.state, finish_max,
                )  # fmt: skip
                run.stored += counts.sum(axis=0)
                run.input_reads += int(counts[blocks[:, SEGMENT]].sum())
                run.vectors += int(blocks[:, VECTORS].sum())
                run.drained += int(held.sum()) * int(region.sum())
        return run

    def __call__(self, inputs: Codes, outputs: Codes) -> LayerCounts:
        config, layer, plan, active = self._config, self._layer, self._plan, self._active
        nonzero = np.ascontiguousarray(inputs.transpose(2, 0, 1) != 0)
        run = self._run(nonzero)
        cycles = int(run.state[DRAINED]) + config.LATENCY.tail
        sums, stored = run.sums, run.stored
        pairs, stray, _, vector_pairs, spent, _ = sums.sum(axis=0).tolist()
        halo = run.drained - layer.positions * layer.out_channels
        written = self._stored_outputs(outputs)
        return LayerCounts(
            cycles=cycles,
            pairs=pairs,
            stray_pairs=stray,
            units=unit_counters(
                config.pes,
                cycles,
                active,
                sums[:, BUSY],
                sums[:, COST],
                run.waits,
                int(run.state[SLOWEST]),
            ),
            additions=pairs + halo,
            accesses=accesses(
                config,
                input_reads=run.input_reads,
                output_writes=int(written.sum()),
                fifo_vectors=run.vectors * len(active) + vector_pairs,
                pairs=pairs,
                drained=run.drained,
            ),
            dram=DramTraffic(
                input_bytes=stored_bytes(int(stored.sum())),
                weight_bytes=stored_bytes(self._stored_weights),
                output_bytes=stored_bytes(int(written.sum())),
            ),
            details={
                "passes": layer.groups * plan.rounds * len(self._pass_filters()),
                "rounds": plan.rounds,
                "group_outputs": plan.outputs,
                "vector_pairs": vector_pairs,
                "contention_cycles": spent - vector_pairs,
                "weight_vectors": run.vectors,
                "input_placeholders": int(stored.sum()) - int(np.count_nonzero(nonzero)),
                "weight_placeholders": self._stored_weights - self._nonzero_weights,
                "halo_sums": halo,
                "iaram_spill_bytes": spilt_bytes(stored, config.iaram_bytes),
                "oaram_spill_bytes": spilt_bytes(written, config.oaram_bytes),
            },
        )
