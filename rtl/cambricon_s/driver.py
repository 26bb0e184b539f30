"""What is written to a core to make it run a layer, and how its results are read.

The host's part of the contract: registers, load streams, weight stream, output stream.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from golden.counters import UNIT_COUNTERS
from golden.errors import CapacityError, HardwareError
from golden.machines.cambricon_s import (
    CORE_COUNTERS,
    Block,
    CambriconSConfig,
    CambriconSCounters,
    WindowLayout,
    blocks,
)
from golden.program import Codes, LayerRun
from rtl.cambricon_s.layouts import MAX_BLOCKS, MAX_KEPT_WINDOWS, CoreLayouts, register_map
from rtl.host import Beat, Program

__all__ = ["CoreLayer", "decode_outputs", "expected_beats", "layer_counters", "make_program"]


class CoreLayer:
    """A layer as the driver cuts it for a machine.

    Parameters
    ----------
    config : CambriconSConfig
    run : LayerRun

    Raises
    ------
    CapacityError
        The layer does not fit the hardware: names what, demand, size and cure.
    """

    def __init__(self, config: CambriconSConfig, run: LayerRun) -> None:
        layer, weights, activations = run.task.layer, run.task.weights, run.activations
        self.config, self.layer, self.requantisation = config, layer, run.requantisation
        self.layout = WindowLayout.of(config, layer)
        self.blocks = blocks(config, layer, weights)
        self.codebook = np.unique(weights)
        tail = self.layout.run_windows * config.window - self.layout.run_length
        runs = weights.reshape(layer.out_channels, self.layout.runs, self.layout.run_length)
        padded = np.pad(runs, ((0, 0), (0, 0), (0, tail)))
        #: Weights, axes k, window, place.
        self.windows = padded.reshape(layer.out_channels, self.layout.windows, config.window)
        pads = ((layer.pad_top, layer.pad_bottom), (layer.pad_left, layer.pad_right), (0, 0))
        pixels = np.pad(activations, pads)
        self.signed_activations = activations.dtype == np.int8
        self.padded_width = pixels.shape[1]
        grouped = pixels.reshape(*pixels.shape[:2], layer.groups, layer.group_channels)
        #: The padded input, axes g, y, x, c.
        self.neurons = np.ascontiguousarray(grouped.transpose(2, 0, 1, 3)).view(np.uint8)
        self._check()

    def positions(self, core: int) -> range:
        """Return the output positions of a core."""
        return range(core, self.layer.positions, self.config.cores)

    def segments(self, block: Block) -> list[NDArray[np.int64]]:
        """Return the kept windows of a block, segment by segment."""
        size = self.config.segment_windows
        return [block.kept[at : at + size] for at in range(0, len(block.kept), size)]

    def beats(self, block: Block) -> int:
        """Return the output beats of a position."""
        return -(-len(block.filters) // self.config.output_width)

    def _check(self) -> None:
        config, layouts = self.config, CoreLayouts(self.config)
        magnitudes = np.abs(self.requantisation.bias)

        def require(what: str, demand: int, size: int, unit: str, cure: str) -> None:
            if demand > size:
                raise CapacityError(
                    f"Layer {self.layer.name}: the {what} must hold {demand} {unit}, "
                    f"it has {size}: {cure}"
                )

        split = "split the layer"
        require("neuron buffer", self.neurons.size, config.neuron_buffer_bytes, "bytes",
                f"raise neuron_buffer_bytes or {split}")  # fmt: skip
        require("codebook", len(self.codebook), 1 << config.code_bits, "weights",
                "raise code_bits or cluster the weights")  # fmt: skip
        require("block table", len(self.blocks), MAX_BLOCKS, "blocks", f"raise pes or {split}")
        require("window table", sum(len(block.kept) for block in self.blocks), MAX_KEPT_WINDOWS,
                "kept windows", f"raise window or pes, or {split}")  # fmt: skip
        require("requantisation table", sum(map(self.beats, self.blocks)),
                layouts.requantisation_rows, "rows", split)  # fmt: skip
        require("bias", int(magnitudes.max()), (1 << 31) - 1, "as its magnitude", "rescale")


def make_program(made: CoreLayer, core: int) -> Program | None:
    """Return what a core is given; None where it has no position.

    Raises
    ------
    CapacityError
        A register is too narrow for the layer.
    """
    config, layer = made.config, made.layer
    positions = made.positions(core)
    if not positions:
        return None
    registers = _registers(made, positions)
    beats = _weight_beats(made, registers["tiles_last"] + 1)
    output_beats = len(positions) * sum(map(made.beats, made.blocks))
    steps = len(positions) * sum(len(block.kept) for block in made.blocks)
    rows = {
        "neurons": _as_words(made.neurons.reshape(-1), config.window),
        "windows": _window_words(made),
        "blocks": _block_words(made),
        "requantisation": _requantisation_words(made),
        "codebook": made.codebook.astype(np.int64) & 0xFF,
    }
    return Program(
        registers=register_map(config).encode(layer.name, registers),
        loads={name: words.astype(np.uint32) for name, words in rows.items()},
        beats=beats,
        output_beats=output_beats,
        cycle_limit=steps * (config.window + 4) + 4 * len(beats) + 100 * output_beats + 10_000,
    )


def _registers(made: CoreLayer, positions: range) -> dict[str, int]:
    layer, config, how = made.layer, made.config, made.requantisation
    line = made.padded_width * layer.group_channels
    down, across = layer.stride_height * line, layer.stride_width * layer.group_channels
    first_p, first_q = divmod(positions[0], layer.out_width)
    step_p, step_q = divmod(config.cores, layer.out_width)
    return {
        "signed_activations": int(made.signed_activations),
        "signed_outputs": int(how.signed),
        "zero_point": how.zero_point,
        "clamp_low": how.low,
        "clamp_high": how.high,
        "blocks_last": len(made.blocks) - 1,
        "positions_last": len(positions) - 1,
        "tile_last": config.tile_positions - 1,
        "tiles_last": -(-len(positions) // config.tile_positions) - 1,
        "first_q": first_q,
        "first_address": first_p * down + first_q * across,
        "step_q": step_q,
        "step_address": step_p * down + step_q * across,
        "end_q": layer.out_width,
        "wrap_address": down - layer.out_width * across,
        "group_address": made.neurons.size // layer.groups,
    }


def _as_words(octets: NDArray[np.uint8], row_bytes: int) -> NDArray[np.uint32]:
    """Return bytes as 32-bit words, padded to whole rows."""
    padded = np.zeros(-(-len(octets) // row_bytes) * row_bytes, dtype=np.uint8)
    padded[: len(octets)] = octets
    return padded.view("<u4")


def _window_words(made: CoreLayer) -> NDArray[np.int64]:
    kept = np.concatenate([block.kept for block in made.blocks])
    run, part = np.divmod(kept, made.layout.run_windows)
    line = made.padded_width * made.layer.group_channels
    return run * line + part * made.config.window


def _block_words(made: CoreLayer) -> NDArray[np.int64]:
    following = [*(block.group for block in made.blocks[1:]), -1]
    return np.array(
        [
            len(block.kept) - 1 | len(block.filters) - 1 << 16 | (block.group != after) << 31
            for block, after in zip(made.blocks, following, strict=True)
        ]
    )


def _requantisation_words(made: CoreLayer) -> NDArray[np.int64]:
    how, tables = made.requantisation, []
    for block in made.blocks:
        table = np.zeros((made.beats(block) * made.config.output_width, 2), dtype=np.int64)
        table[:, 1] = 1 << 24
        mine = slice(block.filters.start, block.filters.stop)
        table[: len(block.filters), 0] = how.bias[mine]
        table[: len(block.filters), 1] = how.multiplier[mine] + (how.shift[mine] << 24)
        tables.append(table)
    return np.concatenate(tables).reshape(-1) & 0xFFFFFFFF


def _weight_beats(made: CoreLayer, tiles: int) -> NDArray[np.uint8]:
    """Return the weight stream: every load's windows: mask, then each filter's codes."""
    bus, stream = made.config.bus_bytes, []
    for block in made.blocks:
        segments = made.segments(block)
        loads = b"".join(
            _window_beats(made, block, window) for segment in segments for window in segment
        )
        stream.append(loads * (tiles if len(segments) > 1 else 1))
    return np.frombuffer(b"".join(stream), dtype=np.uint8).reshape(-1, bus)


def _window_beats(made: CoreLayer, block: Block, window: int) -> bytes:
    config = made.config
    mask = block.masks[window]
    parts = [np.packbits(mask, bitorder="little").tobytes()]
    parts[0] = parts[0].ljust(config.mask_beats * config.bus_bytes, b"\0")
    size = config.weight_beats(int(mask.sum())) * config.bus_bytes
    for k in block.filters:
        codes = np.searchsorted(made.codebook, made.windows[k, window, mask]).astype(np.uint8)
        bits = np.unpackbits(codes[:, None], axis=1, bitorder="little")[:, : config.code_bits]
        parts.append(np.packbits(bits.reshape(-1), bitorder="little").tobytes().ljust(size, b"\0"))
    return b"".join(parts)


def decode_outputs(made: CoreLayer, beats: list[list[int]]) -> Codes:
    """Return the codes, axes p, q, k, from the output beats of each core.

    Raises
    ------
    HardwareError
        There are more or fewer beats than the program gives, or a beat breaks the format.
    """
    layer, width = made.layer, made.config.output_width
    codes = np.zeros((layer.positions, layer.out_channels), dtype=np.uint8)
    for core, raw in enumerate(beats):
        left = iter(raw)
        for block in made.blocks:
            for position in made.positions(core):
                for first in range(0, len(block.filters), width):
                    count = min(width, len(block.filters) - first)
                    beat = next(left, None)
                    if beat is None:
                        raise HardwareError(f"Core {core} gave only {len(raw)} output beats")
                    ends = first + count == len(block.filters)
                    if beat >> 8 * width != (1 << count) - 1 | ends << width:
                        raise HardwareError(f"Core {core} gave an output beat of another length")
                    start = block.filters.start + first
                    codes[position, start : start + count] = np.frombuffer(
                        (beat & (1 << 8 * count) - 1).to_bytes(count, "little"), dtype=np.uint8
                    )
        if next(left, None) is not None:
            raise HardwareError(f"Core {core} gave more output beats than its program has")
    result = codes.reshape(layer.out_height, layer.out_width, layer.out_channels)
    return result.view(made.requantisation.dtype)


def expected_beats(made: CoreLayer, codes: Codes) -> list[list[Beat]]:
    """Return the output beats that each core must give for codes, axes p, q, k."""
    width, result = made.config.output_width, []
    flat = codes.view(np.uint8).reshape(made.layer.positions, made.layer.out_channels)
    for core in range(made.config.cores):
        beats: list[Beat] = []
        for block in made.blocks:
            for position in made.positions(core):
                for first in range(block.filters.start, block.filters.stop, width):
                    row = flat[position, first : min(first + width, block.filters.stop)].tobytes()
                    ends = first + width >= block.filters.stop
                    marks = (1 << len(row)) - 1 | ends << width
                    counted = (1 << 8 * len(row)) - 1 | ((1 << width + 1) - 1) << 8 * width
                    beats.append((int.from_bytes(row, "little") | marks << 8 * width, counted))
        result.append(beats)
    return result


def layer_counters(
    config: CambriconSConfig, read: list[dict[str, int] | None]
) -> CambriconSCounters:
    """Return counters from what was read of each core; None for one that did not run."""
    cores = np.zeros((config.cores, len(CORE_COUNTERS)), dtype=np.int64)
    units = np.zeros((config.cores, config.pes, len(UNIT_COUNTERS)), dtype=np.int64)
    for number, counters in enumerate(read):
        if counters is None:
            continue
        cores[number] = [counters[name] for name in CORE_COUNTERS]
        for pe in range(config.pes):
            units[number, pe] = [counters[f"unit{pe}.{name}"] for name in UNIT_COUNTERS]
    return CambriconSCounters(cores, units)
