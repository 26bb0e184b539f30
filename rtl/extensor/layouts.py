"""Payloads and widths of the signals between the blocks of a processing element.

One line of meaning a field; nobody else derives these widths.
"""

from __future__ import annotations

from amaranth.lib import data

from golden.extensor import ExTensorConfig
from rtl.layouts import MAX_OUTPUTS, bits_for_count

__all__ = ["MAX_ITEMS", "MAX_TILES", "Layouts"]

#: Tiles of the reduction axis: a tile coordinate is a byte.
MAX_TILES = 256
#: Rows of the item table: items that one layer may give to a processing element.
MAX_ITEMS = 1024


class Layouts:
    """Widths and payloads of one configuration.

    Parameters
    ----------
    config : ExTensorConfig

    Attributes
    ----------
    lanes : int
        Pairs of bytes (coordinate and value) in a beat.
    row_beats, column_beats : int
        Beats that the row buffer, and each half of the column buffer, holds values of. A
        column always fits.
    """

    def __init__(self, config: ExTensorConfig) -> None:
        self.config = config
        self.tiles = MAX_TILES
        self.lanes = config.port_bytes // 2
        self.row_beats = max(1, config.row_buffer_bytes // config.port_bytes)
        self.column_beats = self.tiles * -(-(config.tile + 1) // self.lanes)

        self.lane_bits = self.lanes.bit_length() - 1
        self.row_bits = bits_for_count(config.rows_max)
        self.tile_bits = bits_for_count(self.tiles)
        self.row_base_bits = bits_for_count(self.row_beats)
        self.column_base_bits = bits_for_count(2 * self.column_beats)
        self.channel_bits = bits_for_count(MAX_OUTPUTS)
        self.queue_bits = config.queue.bit_length()

        #: A beat of the load stream.
        self.beat = data.StructLayout(
            {
                "pairs": data.ArrayLayout(
                    data.StructLayout({"coordinate": 8, "value": 8}), self.lanes
                ),  # a tile's first pair is its coordinate and its non-zeros, less one
                "last": 1,  # last beat of its fibre
                "empty": 1,  # the fibre has no tile
                "unused": 6,
            }
        )
        #: An output.
        self.output = data.StructLayout({"code": 8})
        #: A row of the item table.
        self.item = data.StructLayout(
            {
                "columns_last": 24,  # columns of the run, less one
                "rows_last": self.row_bits,  # rows of the block, less one
                "channel": self.channel_bits,  # output channel of the first row
                "final": 1,  # last item of the program
            }
        )
        #: A tile's coordinates and where its values begin.
        self.row_tile = data.StructLayout(
            {
                "mask": config.tile,  # coordinates
                "base": self.row_base_bits,  # beat in the row buffer
            }
        )
        self.column_tile = data.StructLayout(
            {
                "mask": config.tile,  # coordinates
                "base": self.column_base_bits,  # beat in the column buffer
            }
        )
        #: What the end of a dot means.
        self.end = data.StructLayout(
            {
                "channel": self.channel_bits,  # output channel
                "column_last": 1,  # last dot of its column
                "buffer": 1,  # half of the column buffer
                "item_last": 1,  # last dot of its item
                "final": 1,  # last dot of the program
            }
        )
        #: A token of level 1 as it leaves.
        self.token = data.StructLayout(
            {
                "valid": 1,
                "is_end": 1,  # end of a dot, else two matched tiles
                "hit": self.tiles,  # tile coordinate, one-hot
                "row": self.row_bits,  # row of the block
                "end": self.end,  # end, and its buffer for matched tiles too
            }
        )
        #: A token as level 0 takes it.
        self.work = data.StructLayout(
            {
                "is_end": 1,
                "row": self.row_tile,
                "column": self.column_tile,
                "end": self.end,
            }
        )
        #: What the loader writes in a cycle.
        self.load = data.StructLayout(
            {
                "to_rows": 1,  # into the row buffer, else the column buffer
                "row": self.row_bits,  # row of the block
                "buffer": 1,  # half of the column buffer
                "values_valid": 1,  # a beat of values
                "values": data.ArrayLayout(8, self.lanes),
                "beat": max(self.row_base_bits, self.column_base_bits),  # its address
                "tile_valid": 1,  # a tile is complete
                "tile": self.tile_bits,
                "mask": config.tile,
                "base": max(self.row_base_bits, self.column_base_bits),
                "fibre_valid": 1,  # a fibre is complete
                "tiles": self.tiles,  # its tile coordinates
            }
        )
