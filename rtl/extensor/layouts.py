"""Registers of a processing element, and payloads and widths of the signals between its blocks.

One line of meaning a field; nobody else derives these widths.
"""

from __future__ import annotations

from amaranth.lib import data

from golden.machines.extensor import PE_COUNTERS, ExTensorConfig
from rtl.lib.registers import Register, RegisterMap, RegisterTable
from rtl.lib.widths import MAX_OUTPUTS, bits_for_count

__all__ = [
    "LAYER_REGISTERS",
    "LOAD_TARGETS",
    "MAX_ITEMS",
    "MAX_TILES",
    "Layouts",
    "register_map",
]

#: Tiles of the reduction axis: a tile coordinate is a byte.
MAX_TILES = 256
#: Rows of the item table: items that one layer may give to a processing element.
MAX_ITEMS = 1024


#: Tables that the load stream fills: value of ``load_target``.
LOAD_TARGETS = ("requantisation", "items")

LAYER_REGISTERS: RegisterTable = (
    Register("load_target", 1, "what the load stream fills: requantisation, items"),
    Register("load_address", 32, "row at which it goes on; a write begins a row anew"),
    Register("signed_activations", 1, "input codes are int8, else uint8"),
    Register("zero_point", 9, "output code that stands for zero", is_signed=True),
    Register("clamp_low", 9, "least output code", is_signed=True),
    Register("clamp_high", 9, "greatest output code", is_signed=True),
)

#: Counters of a processing element and what each counts.
_COUNTERS: dict[str, str] = dict(
    zip(
        PE_COUNTERS,
        (
            "cycles from start to done",
            "pairs multiplied",
            "tile pairs that were intersected",
            "fibre pairs that were intersected",
            "tiles of the reduction axis that were decided on",
            "beats of the load stream",
            "output codes",
        ),
        strict=True,
    )
)


def register_map() -> RegisterMap:
    """Return the registers of a processing element; it is its only unit."""
    return RegisterMap(LAYER_REGISTERS, _COUNTERS)


class Layouts:
    """Widths and payloads of one configuration.

    Parameters
    ----------
    config : ExTensorConfig

    Attributes
    ----------
    lanes : int
        Pairs of bytes (coordinate and value) in a beat.
    tile_beats : int
        Beats of a tile, at most: each operand's values have room for two tiles.
    """

    def __init__(self, config: ExTensorConfig) -> None:
        self.config = config
        self.tiles = MAX_TILES
        self.lanes = config.port_bytes // 2
        self.tile_beats = config.tile_bytes // config.port_bytes

        self.lane_bits = self.lanes.bit_length() - 1
        self.row_bits = bits_for_count(config.rows_max)
        self.column_bits = bits_for_count(config.columns_max)
        self.fibre_bits = max(self.row_bits, self.column_bits)
        self.base_bits = bits_for_count(2 * self.tile_beats)
        self.channel_bits = bits_for_count(MAX_OUTPUTS)

        #: A beat of the load stream.
        self.beat = data.StructLayout(
            {
                "pairs": data.ArrayLayout(
                    data.StructLayout({"coordinate": 8, "value": 8}), self.lanes
                ),  # a fibre's first pair is its number and its non-zeros, less one
                "last": 1,  # last beat of its list or tile
                "unused": 7,
            }
        )
        #: An output.
        self.output = data.StructLayout({"code": 8})
        #: A row of the item table.
        self.item = data.StructLayout(
            {
                "rows_last": self.row_bits,  # rows of the block, less one
                "columns_last": self.column_bits,  # columns of the run, less one
                "channel": self.channel_bits,  # output channel of the first row
                "final": 1,  # last item of the program
            }
        )
        #: A fibre's coordinates, where its values begin, and its number in block or run.
        self.fibre = data.StructLayout(
            {"mask": config.tile, "base": self.base_bits, "number": self.fibre_bits}
        )
        #: A tile pair that is loaded, or the end of an item.
        self.task = data.StructLayout(
            {
                "is_end": 1,
                "buffer": 1,  # where the tile pair is
                "rows_last": self.row_bits,  # fibres of A, less one
                "columns_last": self.column_bits,  # fibres of B, less one
            }
        )
        #: A fibre pair, by places in the buffers, or the end of an item.
        self.token = data.StructLayout(
            {
                "is_end": 1,
                "last": 1,  # of its tile pair
                "buffer": 1,
                "row": self.row_bits,
                "column": self.column_bits,
            }
        )
        #: The same as the scalar level takes it.
        self.work = data.StructLayout(
            {"is_end": 1, "last": 1, "buffer": 1, "row": self.fibre, "column": self.fibre}
        )
        #: Which sum.
        self.place = data.StructLayout({"row": self.row_bits, "column": self.column_bits})
        #: A list as it arrives.
        self.list = data.StructLayout(
            {
                "valid": 1,
                "bits": 8 * config.port_bytes,
                "first": 1,  # beat of a list
                "last": 1,
                "of_columns": 1,  # the item's second list
            }
        )
        #: What the loader writes in a cycle.
        self.load = data.StructLayout(
            {
                "of_columns": 1,  # into the column buffers, else the row buffers
                "buffer": 1,
                "values_valid": 1,  # a beat of values
                "values": data.ArrayLayout(8, self.lanes),
                "beat": self.base_bits,  # its address
                "fibre_valid": 1,  # a fibre is complete
                "place": self.fibre_bits,  # its place in the buffer
                "fibre": self.fibre,
                "task_valid": 1,  # a tile pair is complete, or an item
                "task": self.task,
            }
        )
