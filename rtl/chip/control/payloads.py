"""Payloads between the blocks of a chip's compute side, and their widths."""

from __future__ import annotations

from amaranth.hdl import signed, unsigned
from amaranth.lib import data

from golden.chip.config import ChipConfig
from golden.chip.formats import AVERAGE_MAX, PASSES_MAX, Words
from golden.chip.formats import DESCRIPTOR as DESCRIPTOR_WORDS
from golden.chip.formats import TILE as TILE_WORDS
from rtl.cluster.layouts import Layouts as ClusterLayouts
from rtl.lib.widths import MAX_OUTPUTS, bits_for_count

__all__ = ["DESCRIPTOR", "RECORD", "RECORDS", "TILE_BITS", "Payloads"]

#: Tile records that the chip keeps.
RECORDS = 4
#: Tiles are counted modulo 2 to this power.
TILE_BITS = 4


def _layout(words: Words) -> data.StructLayout:
    return data.StructLayout(
        {name: signed(-bits) if bits < 0 else unsigned(bits) for name, bits in words}
    )


#: A layer's descriptor, and a tile's record, by field.
DESCRIPTOR, RECORD = _layout(DESCRIPTOR_WORDS), _layout(TILE_WORDS)


class Payloads:
    """Widths and payloads of one chip.

    Attributes
    ----------
    cluster : rtl.cluster.layouts.Layouts
    ring_lanes, ring_rows : int
        Bytes that a value ring writes at once, each in a lane of its own; rows of a lane.
    half_lanes, half_rows : int
        The same of half an assembly buffer.
    """

    def __init__(self, config: ChipConfig) -> None:
        self.config = config
        self.ring_lanes = max(2 * config.broadcast_width, config.bus_bytes)
        # A ring may have more places than it is said to have: what is dead is so in a larger one.
        ring_bytes = max(config.input_buffer_bytes, self.ring_lanes)
        self.cluster = ClusterLayouts(config.replace(input_buffer_bytes=ring_bytes))
        self.ring_rows = ring_bytes // self.ring_lanes
        self.half_lanes = max(config.bus_bytes, 1 << (config.vector_lanes - 1).bit_length())
        self.half_rows = -(-config.half_bytes // self.half_lanes)
        ring_row, half_row = bits_for_count(self.ring_rows), bits_for_count(self.half_rows)
        self.half_bits = bits_for_count(self.half_rows * self.half_lanes)  # of a byte's address
        self.entry_rows = MAX_OUTPUTS // config.collector_width
        #: What the parser writes into all rings in a cycle.
        self.ring_write = data.StructLayout(
            {
                "index_valid": 1,
                "index_address": self.cluster.input_bits,
                "mask": config.chunk,
                "pointer": self.cluster.pointer_bits,
                "enable": self.ring_lanes,
                "rows": data.ArrayLayout(ring_row, self.ring_lanes),
                "data": data.ArrayLayout(8, self.ring_lanes),
            }
        )
        #: Bytes of an operand for half an assembly buffer.
        self.half_write = data.StructLayout(
            {
                "cluster": bits_for_count(config.clusters),
                "half": 1,
                "enable": self.half_lanes,
                "rows": data.ArrayLayout(half_row, self.half_lanes),
                "data": data.ArrayLayout(8, self.half_lanes),
            }
        )
        #: Codes of a collector's beat, each for a byte of half an assembly buffer.
        self.codes = data.StructLayout(
            {
                "half": 1,
                "valid": config.collector_width,
                "address": data.ArrayLayout(self.half_bits, config.collector_width),
                "code": data.ArrayLayout(8, config.collector_width),
            }
        )
        #: A beat of tables: of requantisation, of output channels, of passes, of an average;
        #: ``number``, which of its part.
        self.table_beat = data.StructLayout(
            {
                "requantisation": 1,
                "channels": 1,
                "passes": 1,
                "average": 1,
                "number": bits_for_count(
                    max(8 * MAX_OUTPUTS, 64 * PASSES_MAX, 16 * AVERAGE_MAX) // config.bus_bytes
                ),
                "data": 8 * config.bus_bytes,
            }
        )
