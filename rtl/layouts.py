"""Payloads and widths of the signals between the blocks of a cluster.

One line of meaning a field; nobody else derives these widths.
"""

from __future__ import annotations

from amaranth.hdl import signed, unsigned
from amaranth.lib import data

from golden.machines.cluster.config import AcceleratorConfig, Balance

__all__ = [
    "MAX_OUTPUTS",
    "MAX_PASSES",
    "REQUANTISATION",
    "WORD_BITS",
    "Layouts",
    "bits_for_count",
]

#: Positions in a mask word: filters have one prefix count a word.
WORD_BITS = 16
#: Rows of the pass table: passes that one layer may have.
MAX_PASSES = 1024
#: Output channels that the requantisation table holds at full collector width.
MAX_OUTPUTS = 4096
#: How one output channel's accumulators become codes.
REQUANTISATION = data.StructLayout(
    {"bias": signed(32), "multiplier": unsigned(24), "shift": unsigned(6)}
)


def bits_for_count(count: int) -> int:
    """Width of an index that counts ``count`` things from 0, at least 1."""
    return max(1, (count - 1).bit_length())


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
