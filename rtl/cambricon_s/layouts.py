"""Registers, payloads and widths of a Cambricon-S core: nobody else derives them.

One line of meaning a field.
"""

from __future__ import annotations

from amaranth.hdl import Const
from amaranth.lib import data

from golden.machines.cambricon_s import CORE_COUNTERS, CambriconSConfig
from rtl.lib.registers import Register, RegisterMap, RegisterTable, layer_layout
from rtl.lib.widths import MAX_OUTPUTS, REQUANTISATION, bits_for_count

__all__ = [
    "LAYER",
    "LOAD_TARGETS",
    "MAX_BLOCKS",
    "MAX_KEPT_WINDOWS",
    "REGISTERS",
    "CoreLayouts",
    "register_map",
]

#: Blocks that one layer may have.
MAX_BLOCKS = 1024
#: Kept windows that all blocks of a layer may have.
MAX_KEPT_WINDOWS = 8192

#: Tables and buffers that the load stream fills: value of ``load_target``.
LOAD_TARGETS = ("neurons", "windows", "blocks", "requantisation", "codebook")

REGISTERS: RegisterTable = (
    Register("load_target", 3, "what the load stream fills: " + ", ".join(LOAD_TARGETS)),
    Register("load_address", 32, "row at which it goes on; a write begins a row anew"),
    Register("signed_activations", 1, "input codes are int8, else uint8"),
    Register("signed_outputs", 1, "output codes are int8, else uint8"),
    Register("zero_point", 9, "output code that stands for zero", is_signed=True),
    Register("clamp_low", 9, "least output code", is_signed=True),
    Register("clamp_high", 9, "greatest output code", is_signed=True),
    Register("blocks_last", 16, "blocks, less one"),
    Register("positions_last", 24, "positions of this core, less one"),
    Register("tile_last", 24, "positions in a tile, less one"),
    Register("tiles_last", 24, "tiles of a block, less one"),
    Register("first_q", 16, "column of the first position"),
    Register("first_address", 32, "neuron under its first place"),
    Register("step_q", 16, "to the next position: columns"),
    Register("step_address", 32, "to the next position: neurons"),
    Register("end_q", 16, "columns of the output"),
    Register("wrap_address", 32, "where the row of positions ends: further neurons (wraps)"),
    Register("group_address", 32, "to the next group: neurons"),
)


#: Layer registers as a payload.
LAYER = layer_layout(REGISTERS)

#: Counters of a core and what each counts.
_COUNTERS: dict[str, str] = dict(
    zip(
        CORE_COUNTERS,
        (
            "cycles from start to done",
            "pairs multiplied, all PEs",
            "windows of neurons that were worked on",
            "beats of the weight stream",
            "output codes",
            "neurons selected, all steps",
        ),
        strict=True,
    )
)


def register_map(config: CambriconSConfig) -> RegisterMap:
    """Return the registers of a core; a PE is a unit."""
    return RegisterMap(REGISTERS, _COUNTERS, config.pes)


class CoreLayouts:
    """Widths and payloads of one configuration.

    Parameters
    ----------
    config : CambriconSConfig

    Attributes
    ----------
    row_beats : int
        Beats that a full window of codes takes: parts of a row of the synapse buffer.
    rows : int
        Rows of the synapse buffer: kept windows in both halves.
    bank_rows : int
        Rows of ``window`` neurons in each of two banks.
    beats : int
        Output beats of a full block's position.
    """

    def __init__(self, config: CambriconSConfig) -> None:
        self.config = config
        self.row_beats = config.weight_beats(config.window)
        self.rows = 2 * config.segment_windows
        self.beats = config.pes // config.output_width
        self.requantisation_rows = -(-MAX_OUTPUTS // config.output_width)

        self.place_bits = bits_for_count(config.window)
        self.count_bits = config.window.bit_length()
        self.row_bits = bits_for_count(self.rows)
        self.part_bits = bits_for_count(self.row_beats)
        self.pe_bits = bits_for_count(config.pes)
        self.tile_bits = bits_for_count(config.tile_positions)
        # A window may reach beyond the input, where its mask has no ones.
        self.bank_rows = -(-config.neuron_buffer_bytes // (2 * config.window))
        self.address_bits = bits_for_count(2 * self.bank_rows * config.window)
        self.block_bits = bits_for_count(MAX_BLOCKS)
        self.window_bits = bits_for_count(MAX_KEPT_WINDOWS)
        self.beat_bits = bits_for_count(self.beats)
        self.entry_bits = bits_for_count(self.requantisation_rows)

        #: A row of the block table.
        self.block = data.StructLayout(
            {
                "windows_last": 16,  # kept windows, less one
                "pes_last": self.pe_bits,  # filters, less one
                "last_of_group": 1,  # the next block works on the next group
            }
        )
        #: What becomes of a finished position.
        self.result = data.StructLayout(
            {
                "pes_last": self.pe_bits,  # filters of the block, less one
                "entry": self.entry_bits,  # requantisation row of the block's first outputs
                "final": 1,  # last position of the layer
            }
        )
        #: A step, beside its neurons and its mask.
        self.step = data.StructLayout(
            {
                "row": self.row_bits,  # of the synapse and index buffer
                "first": 1,  # first step of its (position, segment)
                "last": 1,  # last step of it
                "from_zero": 1,  # first segment: the sums start from zero
                "complete": 1,  # completes its position
                "psum": self.tile_bits,  # position in the tile
                "load_first": 1,  # first step that uses a load
                "load_last": 1,  # last step that uses it
                "result": self.result,
            }
        )
        #: A step as the sequencer sends it.
        self.sequenced = data.StructLayout(
            {
                "address": self.address_bits,  # of the neuron under the window's first place
                "step": self.step,
            }
        )
        #: A step with its window of neurons, as the columns of the buffer have them.
        self.fetched = data.StructLayout(
            {
                "step": self.step,
                "neurons": data.ArrayLayout(8, config.window),
                "mask": config.window,  # of the block, rotated as the neurons are
                "wrapped": config.window,  # columns from the next row: they end the window
            }
        )
        #: A cycle of the bus from the neuron selector to the PEs.
        self.issue = data.StructLayout(
            {
                "valid": 1,  # a cycle of a step
                "row": self.row_bits,  # of the synapse buffer
                "lanes": config.lanes,  # lanes that have a neuron
                "neurons": data.ArrayLayout(8, config.lanes),
                "offsets": data.ArrayLayout(self.place_bits, config.lanes),  # code in the row
                "first": 1,  # first cycle of its (position, segment)
                "from_zero": 1,  # it begins from zero, else from the stored partial sum
                "store": 1,  # last cycle, and the position is not complete
                "psum": self.tile_bits,  # address of the partial sum
                "commit": 1,  # the sums become results after this cycle, valid or not
            }
        )
        #: A cycle of the load bus to the synapse buffers.
        self.load = data.StructLayout(
            {
                "valid": 1,
                "pe": self.pe_bits,
                "row": self.row_bits,
                "part": self.part_bits,  # which beat of the row
                "codes": 8 * config.bus_bytes,
            }
        )
        #: A write to every codebook.
        self.codebook = data.StructLayout({"valid": 1, "code": config.code_bits, "weight": 8})
        #: Requantisation entries of a beat's outputs.
        self.entries = data.ArrayLayout(REQUANTISATION, config.output_width)
        #: A beat of the output stream.
        self.output = data.StructLayout(
            {
                "codes": data.ArrayLayout(8, config.output_width),
                "held": config.output_width,  # codes of this beat that exist
                "last": 1,  # last beat of its position
            }
        )

    def beats_last(self, pes_last):
        """Return the output beats of a block's position, less one, as a value."""
        width = self.config.output_width
        return sum((pes_last >= width * beat for beat in range(1, self.beats)), Const(0))

    @property
    def row_words(self) -> dict[str, int]:
        """32-bit words of a row of each load target."""
        return {
            "neurons": self.config.window // 4,
            "windows": 1,
            "blocks": 1,
            "requantisation": 2 * self.config.output_width,
            "codebook": 1,
        }
