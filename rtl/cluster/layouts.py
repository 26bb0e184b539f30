"""Registers of a cluster, and payloads and widths of the signals between its blocks.

One line of meaning a field; nobody else derives these widths.
"""

from __future__ import annotations

from amaranth.lib import data

from golden.counters import CLUSTER_COUNTERS
from golden.machines.cluster.config import AcceleratorConfig, Balance
from rtl.lib.registers import Register, RegisterMap, RegisterTable, layer_layout
from rtl.lib.widths import MAX_OUTPUTS, REQUANTISATION, bits_for_count

__all__ = [
    "LAYER",
    "LAYER_REGISTERS",
    "LOAD_TARGETS",
    "MAX_PASSES",
    "WORD_BITS",
    "Layouts",
    "register_map",
]

#: Positions in a mask word, which the join looks at in one cycle; filters have one prefix count a
#: word.
WORD_BITS = 16
#: Rows of the pass table: passes that one layer may have.
MAX_PASSES = 1024

#: Tables and buffers that the load stream fills: value of ``load_target``.
LOAD_TARGETS = ("index", "values", "requantisation", "passes")

LAYER_REGISTERS: RegisterTable = (
    Register("load_target", 2, "what the load stream fills: index, values, requantisation, passes"),
    Register("load_address", 32, "row at which it goes on; a write begins a row anew"),
    Register("skip_activations", 1, "zeros of activations are skipped"),
    Register("skip_weights", 1, "zeros of weights are skipped"),
    Register("signed_activations", 1, "input codes are int8, else uint8"),
    Register("signed_outputs", 1, "output codes are int8, else uint8"),
    Register("zero_point", 9, "output code that stands for zero", is_signed=True),
    Register("clamp_low", 9, "least output code", is_signed=True),
    Register("clamp_high", 9, "greatest output code", is_signed=True),
    Register("passes_last", 16, "passes, less one"),
    Register("positions_last", 24, "positions of this cluster, less one"),
    Register("tile_last", 24, "positions in a tile, less one"),
    Register("tiles_last", 24, "tiles of a pass, less one"),
    Register("segments_last", 16, "segments of a filter, less one"),
    Register("segment_last", 16, "chunks in a segment, less one"),
    Register("segment_short_last", 16, "chunks in the last segment, less one"),
    Register("row_chunks_last", 16, "chunks in a row of the input, less one"),
    Register("kernel_width_last", 8, "kernel columns, less one"),
    Register("ragged_length", 9, "positions that exist in the last chunk of a row"),
    Register("height", 16, "rows of the input"),
    Register("width", 16, "columns of the input"),
    Register("first_y", 16, "input row of the first position's window", is_signed=True),
    Register("first_x", 16, "input column of it", is_signed=True),
    Register("first_address", 32, "index row of its first chunk (wraps where outside)"),
    Register("step_x", 16, "to the next position: columns"),
    Register("step_y", 16, "to the next position: rows"),
    Register("step_address", 32, "to the next position: index rows"),
    Register("end_x", 16, "column at which a row of positions ends", is_signed=True),
    Register("wrap_x", 16, "then: columns back"),
    Register("wrap_y", 16, "then: further rows"),
    Register("wrap_address", 32, "then: further index rows (wraps)"),
    Register("line_address", 32, "from the end of a kernel row to the next: index rows"),
    Register("group_address", 32, "to the next group: index rows"),
)
#: Layer registers as a payload.
LAYER = layer_layout(LAYER_REGISTERS)

#: Counters of a cluster and what each counts.
_COUNTERS: dict[str, str] = dict(
    zip(
        CLUSTER_COUNTERS,
        (
            "cycles from start to done",
            "pairs multiplied, all units",
            "input chunks sent to the units",
            "all-zero input chunks that were not sent",
            "words of the chunks that were sent",
            "beats of the filter stream",
            "output codes",
            "output codes that are not zero",
        ),
        strict=True,
    )
)


def register_map(config: AcceleratorConfig) -> RegisterMap:
    """Return the registers of a cluster."""
    return RegisterMap(LAYER_REGISTERS, _COUNTERS, config.units)


class Layouts:
    """Widths and payloads of one configuration.

    Parameters
    ----------
    config : AcceleratorConfig

    Attributes
    ----------
    words : int
        Mask words of ``WORD_BITS`` positions in a chunk.
    rows : int
        Broadcast words (rows of the activation slots) in a chunk.
    buffers : int
        Filter buffers of a unit: 1, or 2 with double buffering.
    buffer_chunks, buffer_rows : int
        Filter chunks, and rows of ``filter_bus_bytes`` values, in one of them.
    held_bits : int
        Unit-slots of a cluster: bit ``unit * filters_per_unit + slot``.
    merges : bool
        Filters change units with every chunk (``Balance.CHUNK``): each unit keeps sums of all
        filters of the pass, and the collector adds them up.
    home_bits, lane_bits : int
        With ``merges``: width of a filter's home, its number in the pass as collector lane
        (``lane_bits``, the lower ones) and collector beat; else 0.
    position_slots : int
        With ``merges``: positions whose sums a unit keeps, a tile's and the one being drained.
    results : int
        Sums that a unit shows to the collector: its filters', or with ``merges`` a beat's.
    psums : int
        Partial sums in a unit's memory; 0 where a filter is always one segment.
    """

    def __init__(self, config: AcceleratorConfig) -> None:
        self.config = config
        slots = config.filters_per_unit
        self.words = config.chunk // WORD_BITS
        self.rows = config.broadcast_words
        self.buffers = 2 if config.filter_double_buffer else 1
        self.buffer_chunks = config.filter_buffer_chunks // self.buffers
        self.buffer_rows = config.filter_buffer_bytes // config.filter_bus_bytes // self.buffers
        self.held_bits = config.units * slots
        self.merges = config.balance is Balance.CHUNK
        self.home_bits, self.lane_bits, self.position_slots = 0, 0, 0
        self.results = slots
        self.psums = config.tile_positions * slots if config.segment_chunks else 0
        if self.merges:
            self.results = config.collector_width
            self.lane_bits = (self.results - 1).bit_length()
            self.home_bits = self.lane_bits + bits_for_count(self.held_bits // self.results)
            self.position_slots = 1 + (config.tile_positions if config.segment_chunks else 1)
            self.psums = self.position_slots << self.home_bits
        self.requantisation_rows = MAX_OUTPUTS // config.collector_width

        self.position_bits = bits_for_count(config.chunk)
        self.row_bits = bits_for_count(self.rows)
        self.word_bits = bits_for_count(self.words)
        self.slot_bits = bits_for_count(config.slots)
        self.turn_bits = bits_for_count(config.slots + 1)
        self.filter_bits = bits_for_count(self.buffers * max(1, self.buffer_chunks))
        self.value_row_bits = bits_for_count(self.buffers * max(1, self.buffer_rows))
        self.tile_bits = bits_for_count(self.position_slots or config.tile_positions)
        self.input_bits = bits_for_count(config.input_buffer_chunks)
        self.pointer_bits = config.input_buffer_bytes.bit_length()
        self.count_bits = config.chunk.bit_length()
        self.beat_bits = 8 * config.filter_bus_bytes + self.home_bits
        home = {"home": self.home_bits} if self.merges else {}  # of the filter

        #: What a step means to a unit, beside the chunk itself.
        self.step = data.StructLayout(
            {
                "psum": self.tile_bits,  # position in the tile, or its slot with ``merges``
                "from_zero": 1,  # first segment: partial sums start from zero
                "last": 1,  # last step of its (position, segment)
                "complete": 1,  # completes its position
                "load_last": 1,  # last step that uses this filter load
                "buffer": 1,  # filter buffer in use
            }
        )
        #: A step as the sequencer sends it to the broadcaster.
        self.sequenced = data.StructLayout(
            {
                "step": self.step,
                "filters": data.ArrayLayout(self.filter_bits, slots),  # filter chunk of each slot
                "held": self.held_bits,  # unit-slots that hold a filter in the pass
                "load_first": 1,  # first step that uses a filter load
                "inside": 1,  # the tap is a pixel of the input, else all zero
                "ragged": 1,  # last chunk of a row: has a tail
                "address": self.input_bits,  # input chunk
            }
        )
        #: A cycle of the broadcast bus.
        self.broadcast = data.StructLayout(
            {
                "row_valid": 1,  # data is a row of the chunk
                "row": self.row_bits,  # which row
                "data": data.ArrayLayout(8, config.broadcast_width),  # expanded, zeros included
                "slot": self.slot_bits,  # chunk slot
                "step_valid": 1,  # the chunk is complete; what follows describes it
                "mask": config.chunk,  # effective mask
                "mask_words": self.words,  # words of it that have a one
                "row_flags": self.rows,  # rows that were sent; the others are zero
                "first": 1,  # first delivered step of its (position, segment)
                "step": self.step,
                "position": self.turn_bits,  # position it belongs to, counted from 0, wrapping
                "filters": data.ArrayLayout(self.filter_bits, slots),  # filter chunk of each slot
            }
        )
        #: A filter chunk's entry in a unit's index buffer.
        self.filter_entry = data.StructLayout(
            {
                "mask": config.chunk,  # true mask
                "base": self.value_row_bits,  # row where the values begin
                "prefixes": data.ArrayLayout(
                    self.position_bits, self.words
                ),  # ones before each word
                **home,
            }
        )
        #: A cycle of the filter load bus.
        self.load = data.StructLayout(
            {
                "entry_valid": 1,  # write entry
                "entry_address": self.filter_bits,
                "entry": self.filter_entry,
                "entry_unit": bits_for_count(config.units),
                "row_valid": 1,  # write a row of values
                "row_address": self.value_row_bits,
                "row": 8 * config.filter_bus_bytes,
                "row_unit": bits_for_count(config.units),
            }
        )
        #: With ``merges``: the sums that the collector asks all units for.
        self.drain = data.StructLayout(
            {
                "enable": 1,  # read; else the sums stay
                "position": self.tile_bits,  # slot of the position
                "beat": max(1, self.home_bits - self.lane_bits),  # which beat of it
            }
        )
        #: A row of the pass table.
        self.pass_row = data.StructLayout(
            {
                "held": self.held_bits,  # unit-slots that hold a filter
                "last_of_group": 1,  # the next pass works on the next group
            }
        )
        #: A row of the requantisation table: one entry a collector lane.
        self.requantisation = REQUANTISATION
        #: A beat of the output stream.
        self.output = data.StructLayout(
            {
                "mask": config.collector_width,  # codes of this beat that are not zero
                "held": config.collector_width,  # codes of this beat that exist
                "values": data.ArrayLayout(8, config.collector_width),  # non-zero codes, packed
                "last": 1,  # last beat of its (pass, position)
            }
        )

    @property
    def row_words(self) -> dict[str, int]:
        """32-bit words of a row of each load target."""
        config = self.config
        return {
            "index": -(-config.chunk // 32) + 1,
            "values": -(-config.broadcast_width // 4),
            "requantisation": 2 * config.collector_width,
            "passes": -(-self.held_bits // 32) + 1,
        }
