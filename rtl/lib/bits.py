"""Small combinational functions of bit vectors."""

from __future__ import annotations

from amaranth.hdl import Cat, Const

__all__ = [
    "add_up",
    "at_most_one",
    "count_ones",
    "elements",
    "encode",
    "one_hot_select",
    "only_lowest",
    "without_lowest",
]


def count_ones(bits):
    """Return the number of ones of a value, as a balanced tree."""
    if len(bits) == 0:
        return Const(0, 1)
    if len(bits) == 1:
        return bits[0]
    half = len(bits) // 2
    return count_ones(bits[:half]) + count_ones(bits[half:])


def add_up(terms: list):
    """Return the sum of some values, as a balanced tree."""
    if not terms:
        return Const(0)
    if len(terms) == 1:
        return terms[0]
    half = len(terms) // 2
    return add_up(terms[:half]) + add_up(terms[half:])


def elements(array) -> list:
    """Return the elements of an array, or the fields of a structure."""
    return list(array)


def only_lowest(flags):
    """Return a value without any but its lowest one."""
    return Cat(flags[i] & ~flags[:i].any() for i in range(len(flags)))


def without_lowest(flags):
    """Return a value without its lowest one."""
    return Cat(flags[i] & flags[:i].any() for i in range(len(flags)))


def at_most_one(flags):
    """Return whether a value has no more than a single one."""
    if len(flags) <= 4:
        return ~without_lowest(flags).any()
    low, high = flags[: len(flags) // 2], flags[len(flags) // 2 :]
    return (at_most_one(low) & ~high.any()) | (~low.any() & at_most_one(high))


def one_hot_select(items: list, chosen):
    """Return the chosen item, 0 where none is; half the tables of a binary choice among eight."""
    if not items:
        return Const(0)
    picked = [item & flag.replicate(len(item)) for item, flag in zip(items, chosen, strict=True)]
    while len(picked) > 1:
        picked = [
            picked[i] | (picked[i + 1] if i + 1 < len(picked) else 0)
            for i in range(0, len(picked), 2)
        ]
    return picked[0]


def encode(chosen):
    """Return the number of the one in a one-hot value."""
    bits = (len(chosen) - 1).bit_length()
    return Cat(
        Cat(chosen[i] for i in range(len(chosen)) if i >> bit & 1).any() for bit in range(bits)
    )
