"""Words in memory that the chip reads: list entries, descriptors, tile records, header."""

from __future__ import annotations

from enum import IntEnum

from golden.errors import CapacityError

__all__ = [
    "AVERAGE_MAX",
    "DESCRIPTOR",
    "DESCRIPTOR_BYTES",
    "ENTRY_BYTES",
    "FILTERS_MAX",
    "HEADER",
    "MAGIC",
    "PASSES_MAX",
    "TILE",
    "TILE_BYTES",
    "VERSION",
    "WINDOWS",
    "Kind",
    "VectorOp",
    "decode",
    "encode",
    "encode_entry",
    "pass_row_bytes",
]

MAGIC, VERSION = 0x50434A49, 1
ENTRY_BYTES, DESCRIPTOR_BYTES, TILE_BYTES = 16, 256, 32
#: Rows of the pass table, and entries of the requantisation table.
PASSES_MAX, FILTERS_MAX = 1024, 4096
#: Rows of the table of an average: a window's taps at most, and one more.
AVERAGE_MAX = 512


class Kind(IntEnum):
    """What a list entry moves; 0 is a block of the list itself."""

    LIST = 0
    DESCRIPTOR = 1
    TABLES = 2
    TILE = 3
    FILTERS = 4
    ROWS = 5
    OPERAND = 6
    RESIDUAL = 7
    WRITE = 8


class VectorOp(IntEnum):
    """What the vector unit does to a tile on its way out."""

    COPY = 0
    SCALE = 1
    MAX = 2
    AVERAGE = 3


#: Name and bits of each word; negative where it is signed.
Words = tuple[tuple[str, int], ...]

HEADER: Words = (
    ("magic", 32), ("version", 32), ("list_address", 32), ("entries", 32),
    ("input_address", 32), ("input_bytes", 32), ("output_address", 32), ("output_bytes", 32),
    ("memory_bytes", 32), ("configuration", 32), ("input_height", 32), ("input_width", 32),
    ("input_channels", 32), ("output_signed", 1), ("windows_address", 32), ("windows", 32),
)  # fmt: skip

#: A map of windows of the network's input, which whoever supplies that forms.
WINDOWS: Words = (
    ("address", 32), ("kernel_height", 32), ("kernel_width", 32), ("stride_height", 32),
    ("stride_width", 32), ("pad_top", 32), ("pad_left", 32), ("out_height", 32),
    ("out_width", 32),
)  # fmt: skip

DESCRIPTOR: Words = (
    ("op", 1), ("resident", 1), ("map_offset", 16), ("passes", 16), ("groups", 16),
    ("in_height", 16), ("in_width", 16), ("in_channels", 16),
    ("out_height", 16), ("out_width", 16), ("out_channels", 16),
    ("kernel_height", 8), ("kernel_width", 8), ("stride_height", 8), ("stride_width", 8),
    ("pad_top", 8), ("pad_left", 8), ("skip_activations", 1), ("skip_weights", 1),
    ("signed_activations", 1), ("signed_outputs", 1), ("zero_point", -9), ("clamp_low", -9),
    ("clamp_high", -9), ("vector_op", 2), ("residual", 1), ("window_height", 8),
    ("window_width", 8), ("window_stride_height", 8), ("window_stride_width", 8),
    ("window_top", 8), ("window_left", 8), ("map_height", 16), ("map_width", 16),
    ("multiplier", -32), ("residual_multiplier", -32), ("operand_zero", -9),
    ("residual_zero", -9), ("shift", 6), ("vector_zero", -9), ("vector_low", -9),
    ("vector_high", -9), ("pad_value", -9), ("include_pad", 1), ("signed_operand", 1),
    ("signed_residual", 1), ("pixel_stride", 16), ("layer", 16),
    # What follows from the words before: so that the chip needs no divider.
    ("group_channels", 16), ("row_chunks", 16), ("line_places", 24), ("row_places", 24),
    ("row_bytes", 24), ("filter_chunks", 16), ("step_y", 16), ("step_x", 16),
    ("step_places", 24), ("wrap_columns", 16), ("wrap_places", -32), ("column_places", 24),
    ("line_step", -32), ("table_entries", 16), ("write_bytes", 24), ("window_taps", 16),
)  # fmt: skip

TILE: Words = (
    ("pixels", 24), ("first_y", 16), ("first_x", 16), ("ring_row", 24), ("half_width", 16),
    ("first_output", 32), ("outputs", 24), ("first", 1),
)  # fmt: skip


def pass_row_bytes(group_filters: int) -> int:
    """Return the bytes of a row of the pass table: words of bits and one more, a power of two."""
    words = -(-group_filters // 32) + 1
    return 4 << (words - 1).bit_length()


def encode(words: Words, values: dict[str, int], what: str) -> bytes:
    """Return the fields as 32-bit words, little endian.

    Raises
    ------
    CapacityError
        A value does not fit its bits.
    """
    result = bytearray()
    for name, bits in words:
        value = int(values[name])
        low, high = (-(1 << (-bits - 1)), 1 << (-bits - 1)) if bits < 0 else (0, 1 << bits)
        if not low <= value < high:
            raise CapacityError(
                f"{what} needs {value} in field {name}, which holds {low} to {high - 1}: "
                "split the layer"
            )
        result += (value & 0xFFFFFFFF).to_bytes(4, "little")
    return bytes(result)


def decode(words: Words, data: bytes) -> dict[str, int]:
    """Return the fields of 32-bit words, little endian, by name."""
    return {
        name: int.from_bytes(data[4 * at : 4 * at + 4], "little", signed=bits < 0)
        for at, (name, bits) in enumerate(words)
    }


def encode_entry(
    kind: Kind, address: int, length: int, *, last: bool, tiles: int, writes: int, gap: int
) -> bytes:
    """Return a list entry.

    Parameters
    ----------
    tiles, writes : int
        Tiles and write entries of the network that must be done before; kept modulo 2**16.
    """
    for name, value, bits in (("address", address, 32), ("length", length, 24), ("gap", gap, 16)):
        if not 0 <= value < 1 << bits:
            raise CapacityError(
                f"A list entry needs {value} in field {name}, which holds 0 to "
                f"{(1 << bits) - 1}: make the network smaller"
            )
    words = (
        address,
        int(kind) | int(last) << 4 | length << 8,
        (tiles & 0xFFFF) | (writes & 0xFFFF) << 16,
        gap,
    )
    return b"".join(word.to_bytes(4, "little") for word in words)
