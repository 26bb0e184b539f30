"""Pairs of chunks, and what they cost, for a block of units: the kernel's innermost part.

Masks are words of 16 bits, one in each lane of a vector, so that a vector is one word of as many
filters. The ones of its bytes are added up as bytes over all words of a mask and widened once:
processors without an instruction for the ones of a wider lane count those of bytes fastest.
"""

from __future__ import annotations

from accel.compiled import inlined
from accel.machines.cluster.arrays import FILTER_SIDE, JOIN
from accel.machines.vectors import count_byte_ones, element, load, maximum, splat, store

__all__ = ["count_pairs"]


@inlined
def count_pairs(at_input, at, block, machine, work, inputs, columns, tag):
    """Count what one step takes; return the busy cycles and the costs of a block of units.

    Parameters
    ----------
    at_input : int
        Index of the input chunk.
    at : int
        Where ``work.least`` of this filter chunk and block begins.
    block : int
        First column of the block, whose pairs are added to ``columns.pairs`` where a cycle is
        not a pair.
    machine, work, inputs, columns : Machine, Work, Inputs, Columns
        As in `accel.machines.cluster.segments`.
    tag : tuple
        Of the block.
    """
    busy, cost = splat(0, tag), splat(0, tag)
    for _ in range(machine.filters_per_unit):
        least = load(work.least, at, tag)
        if work.source == JOIN:
            pairs = _join(at_input, at, block, machine, work, inputs, tag)
        elif work.source == FILTER_SIDE:
            pairs = load(work.counts, at, tag)
        else:
            pairs = splat(element(inputs.counts, at_input), tag) & (splat(0, tag) - least)
        if machine.multipliers == 2:
            store(columns.pairs, block, load(columns.pairs, block, tag) + pairs)
            pairs = (pairs + splat(1, tag)) >> splat(1, tag)
        busy = busy + pairs
        cost = cost + maximum(pairs, least)
        at += machine.columns
    return busy, cost


@inlined
def _join(at_input, at, block, machine, work, inputs, tag):
    """Join an input chunk with a filter of each unit of a block; return their pairs."""
    at_mask, at_filter = at_input * machine.words, (at - block) * machine.words + block
    ones = splat(0, tag)
    for _ in range(0, machine.words, 4):
        for _ in range(4):
            mask = splat(element(inputs.masks, at_mask), tag)
            # A byte holds at most the 8 ones of each of 16 words.
            ones = ones + count_byte_ones(load(work.filters, at_filter, tag) & mask)
            at_mask += 1
            at_filter += machine.columns
    return (ones & splat(255, tag)) + (ones >> splat(8, tag))
