"""Cambricon-S: masks that the filters of a block share, one neuron selector for all of them.

After Zhou et al., MICRO'18; the specification is ``docs/cambricon-s.md``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from accel.machines.cambricon_s.kernel import Geometry, Timing, pack_neurons, run_cores
from accel.machines.cambricon_s.kernel import Program as Arrays
from accel.machines.machine import (
    Access,
    AreaEstimate,
    DramTraffic,
    LayerCounts,
    Machine,
    Program,
    input_share_bytes,
    layer_buffer,
    program_of,
)
from golden.counters import UNIT_COUNTERS
from golden.errors import CapacityError, ConfigError
from golden.layer import LayerShape
from golden.machines.cambricon_s import (
    CORE_COUNTERS,
    CambriconSConfig,
    CambriconSCounters,
    WindowLayout,
    blocks,
)
from golden.program import Codes, LayerTask

__all__ = ["CambriconS", "check_capacity", "count_layer", "scaled"]

#: Bits of a partial sum.
SUM_BITS = 32


def count_layer(
    config: CambriconSConfig,
    layer: LayerShape,
    weights: NDArray[np.int8],
    activations: Codes,
    output: Codes | None = None,
) -> CambriconSCounters:
    """Count every cycle of one layer.

    Parameters
    ----------
    weights : ndarray of int8, axes k, r, s, c
    activations : ndarray of int8 or uint8, axes y, x, channel
    output : ndarray of int8 or uint8, axes p, q, k, optional
        Not read: the machine writes dense outputs, so that nothing depends on their values.

    Raises
    ------
    CapacityError
        The layer does not fit the neuron buffer or the codebook.
    """
    del output
    check_capacity(config, layer, weights)
    return _run(config, layer, _arrange(config, layer, weights), activations)


def check_capacity(config: CambriconSConfig, layer: LayerShape, weights: NDArray[np.int8]) -> None:
    """Check that a core holds the padded input, and that the codebook holds the weights.

    Raises
    ------
    CapacityError
        Names the layer, the demand, the size, and what would make it fit.
    """
    if (demand := _neuron_bytes(layer)) > config.neuron_buffer_bytes:
        raise CapacityError(
            f"Layer {layer.name} needs {demand} bytes of padded input in neuron_buffer_bytes, "
            f"which holds {config.neuron_buffer_bytes}: raise neuron_buffer_bytes"
        )
    codes = 1 << config.code_bits
    if codes < 256 and (found := len(np.unique(weights))) > codes:
        raise CapacityError(
            f"Layer {layer.name} has {found} distinct weights, and the codebook of code_bits = "
            f"{config.code_bits} holds {codes}: set code_bits = 8"
        )


def _neuron_bytes(layer: LayerShape) -> int:
    """Bytes of a layer's padded input."""
    height = layer.in_height + layer.pad_top + layer.pad_bottom
    width = layer.in_width + layer.pad_left + layer.pad_right
    return height * width * layer.in_channels


def scaled(multipliers: int, machine: str) -> CambriconSConfig:
    """Return whole cores of the paper's, or one core that is smaller by a power of two.

    A smaller core keeps the paper's proportions: as many PEs as lanes, or twice as many,
    16 neurons of window for each lane, and 1 byte of weight stream for 4 multipliers.

    Parameters
    ----------
    machine : str
        The name that the configuration and messages have.

    Raises
    ------
    ConfigError
        Neither a power of two below a core's 256 nor a multiple of 256.
    """
    paper = CambriconSConfig.preset("paper")
    core = paper.multipliers // paper.cores
    if multipliers >= core and multipliers % core == 0 and multipliers // core <= 1024:
        return paper.replace(name=machine, cores=multipliers // core)
    if not 0 < multipliers < core or multipliers & (multipliers - 1):
        raise ConfigError(
            f"Multipliers of machine {machine} must be a power of two below {core}, "
            f"or 1 to 1024 times {core}, not {multipliers!r}"
        )
    lanes = 1 << (multipliers.bit_length() - 1) // 2
    pes = multipliers // lanes
    changes = {
        "pes": pes,
        "lanes": lanes,
        "window": paper.window // paper.lanes * lanes,
        "bus_bytes": max(1, paper.bus_bytes * multipliers // core),
        "output_width": min(pes, paper.output_width),
    }
    return paper.replace(name=machine, cores=1, **changes)


class CambriconS(Machine):
    """The machine behind the protocol of ``accel.machines.machine``; a unit is a PE."""

    name = "cambricon-s"
    summary = "skips zero activations, and weights whose whole block is zero"
    source = "Zhou et al., MICRO'18"
    preset = "paper"

    config: CambriconSConfig

    @classmethod
    def with_multipliers(cls, multipliers: int) -> CambriconS:
        return cls(scaled(multipliers, cls.name))

    @property
    def units(self) -> int:
        return self.config.cores * self.config.pes

    @property
    def size(self) -> str:
        return f"{self.config.cores} x {self.config.pes} PEs of {self.config.lanes}"

    def estimate_area(self) -> AreaEstimate | None:
        """Return the selector and PEs of each core; cores of the paper's size only."""
        config, paper = self.config, CambriconSConfig.preset("paper")
        if (config.pes, config.lanes) != (paper.pes, paper.lanes):
            return None
        return AreaEstimate(
            blocks={
                "cambricon-s-selector paper": config.cores,
                "cambricon-s-pe paper": config.cores * config.pes,
            },
            note="its own selector and PEs, synthesised at this size one by one; no neuron buffer, "
            "sequencer, collector, requantisation",
        )

    def prepare(self, task: LayerTask) -> Program:
        config, layer = self.config, task.layer
        check_capacity(config, layer, task.weights)
        program = _arrange(config, layer, task.weights)

        def count(activations: Codes, output: Codes) -> LayerCounts:
            del output
            return _layer_counts(config, layer, program, _run(config, layer, program, activations))

        return program_of(count)

    def demands(self, task: LayerTask) -> dict[str, int]:
        distinct = len(np.unique(task.weights))
        code_bits = next(bits for bits in (4, 8) if distinct <= 1 << bits)
        return {"neuron_buffer_bytes": _neuron_bytes(task.layer), "code_bits": code_bits}


def _arrange(config: CambriconSConfig, layer: LayerShape, weights: NDArray[np.int8]) -> Arrays:
    """Turn the blocks of a layer into the kernel's arrays."""
    layout = WindowLayout.of(config, layer)
    found = blocks(config, layer, weights)
    windows = np.concatenate([block.kept for block in found])
    # Positions behind the end of a run are never kept: short windows are cut there.
    words = -(-min(config.window, layout.run_length) // 64)
    bits = np.concatenate([block.masks[block.kept] for block in found])[:, : 64 * words]
    kept = bits.sum(axis=1, dtype=np.int64)
    bits = np.pad(bits, ((0, 0), (0, 64 * words - bits.shape[1])))
    masks = np.packbits(bits, axis=1, bitorder="little").view("<u8").astype(np.uint64)
    filters = np.array([len(block.filters) for block in found])
    counts = [len(block.kept) for block in found]
    beats = [
        config.mask_beats + held * config.weight_beats(codes)
        for held, codes in zip(np.repeat(filters, counts).tolist(), kept.tolist(), strict=True)
    ]
    return Arrays(
        masks=masks,
        row=windows // layout.run_windows,
        offset=windows % layout.run_windows * config.window,
        kept=kept,
        beats=np.array(beats),
        first=np.concatenate([[0], np.cumsum(counts)]),
        group=np.array([block.group for block in found]),
        filters=filters,
    )


def _run(
    config: CambriconSConfig, layer: LayerShape, program: Arrays, activations: Codes
) -> CambriconSCounters:
    """Run all cores through a layer."""
    channels, words = layer.group_channels, program.masks.shape[1]
    height = layer.in_height + layer.pad_top + layer.pad_bottom
    width = layer.in_width + layer.pad_left + layer.pad_right
    # Behind a row's end there are as many words as an unaligned last window may touch.
    row_words = -(-width * channels // 64) + -(-config.window // 64) + 1
    neurons = np.zeros((layer.groups, height, row_words), dtype=np.uint64)
    pack_neurons(
        np.ascontiguousarray(activations).reshape(-1), neurons, layer.in_height, layer.in_width,
        channels, layer.pad_top, layer.pad_left,
    )  # fmt: skip
    geometry = Geometry(
        layer.positions, layer.out_width, layer.stride_height, layer.stride_width * channels
    )
    latency = config.LATENCY
    timing = Timing(
        config.segment_windows, config.tile_positions, config.output_width, latency.start,
        latency.load, latency.load_free, latency.deliver, latency.collector_free, latency.tail,
    )  # fmt: skip
    step_cycles = np.maximum(1, -(-np.arange(64 * words + 1) // config.lanes))
    cores = np.zeros((config.cores, len(CORE_COUNTERS)), dtype=np.int64)
    units = np.zeros((config.cores, config.pes, len(UNIT_COUNTERS)), dtype=np.int64)
    run_cores(program, timing, geometry, neurons, step_cycles, cores, units)
    return CambriconSCounters(cores, units)


def _layer_counts(
    config: CambriconSConfig, layer: LayerShape, program: Arrays, counters: CambriconSCounters
) -> LayerCounts:
    """Turn counters into what all machines answer; the page, *Traffic*."""
    units = counters.units.copy()
    units[:, :, UNIT_COUNTERS.index("idle_cycles")] += (counters.cycles - counters.core("cycles"))[
        :, None
    ]
    pairs = int(counters.core("pairs").sum())
    dram = _dram_traffic(config, layer, program)
    loaded = int(counters.core("load_beats").sum()) * config.bus_bytes
    # A product is added to others of its cycle in the tree, or to the partial sum.
    return LayerCounts(
        cycles=counters.cycles,
        pairs=pairs,
        units=units.reshape(-1, len(UNIT_COUNTERS)),
        additions=pairs,
        accesses=(
            layer_buffer(dram, loaded + dram.output_bytes),
            *_accesses(config, layer, program, counters),
        ),
        dram=dram,
        details={
            name: int(counters.core(name).sum()) for name in ("steps", "selected", "load_beats")
        },
        counters=counters,
    )


def _accesses(
    config: CambriconSConfig, layer: LayerShape, program: Arrays, counters: CambriconSCounters
) -> tuple[Access, ...]:
    """Return the traffic of each kind of buffer: the page, *Traffic*."""
    steps = int(counters.core("steps").sum())
    lists = [-(-(layer.positions - m) // config.cores) for m in range(config.cores)]
    tiles = sum(-(-max(0, count) // config.tile_positions) for count in lists)
    active = sum(count > 0 for count in lists)
    segments = -(-program.windows // config.segment_windows)
    loads = np.where(segments > 1, tiles, active)
    codes = np.add.reduceat(program.kept, program.first[:-1]) * program.filters
    loaded_windows = int((loads * program.windows).sum())
    synapses = int(((loads + layer.positions) * codes).sum())
    spilled = int(((segments - 1) * program.filters).sum()) * layer.positions
    buffered = 2 * config.segment_windows * config.window
    return (
        Access(
            buffer="neurons",
            capacity_bytes=input_share_bytes(layer, config.cores),
            bits=steps * config.window * 8,
        ),
        Access(
            buffer="indices",
            capacity_bytes=buffered // 8,
            bits=(loaded_windows + steps) * config.window,
        ),
        Access(
            buffer="synapses",
            capacity_bytes=buffered * config.code_bits // 8,
            bits=synapses * config.code_bits,
        ),
        Access(
            buffer="codebook",
            capacity_bytes=1 << config.code_bits,
            bits=int(counters.core("pairs").sum()) * 8,
        ),
        Access(
            buffer="partial sums",
            capacity_bytes=config.tile_positions * SUM_BITS // 8,
            bits=2 * spilled * SUM_BITS,
        ),
    )


def _dram_traffic(config: CambriconSConfig, layer: LayerShape, program: Arrays) -> DramTraffic:
    """Return bytes in the machine's own formats: the page, *Traffic*."""
    codes = int((np.add.reduceat(program.kept, program.first[:-1]) * program.filters).sum())
    mask_bits = len(program.filters) * WindowLayout.of(config, layer).windows * config.window
    return DramTraffic(
        input_bytes=layer.in_height * layer.in_width * layer.in_channels,
        weight_bytes=mask_bits // 8 + -(-codes * config.code_bits // 8) + (1 << config.code_bits),
        output_bytes=layer.positions * layer.out_channels,
    )
