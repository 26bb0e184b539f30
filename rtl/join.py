"""The inner join: which pairs of a chunk pair are multiplied, and where their values lie.

A chunk pair costs exactly ``max(1, ceil(pairs / lanes))`` cycles, back to back.
"""

# A component gets its ports from its signature, and Amaranth is not annotated:
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false, reportArgumentType=false

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["WORD_BITS", "ChunkPair", "InnerJoin", "JoinStep", "word_flags"]

WORD_BITS = 16
"""Mask bits that the join looks at in one cycle."""


def word_flags(mask):
    """Return one bit for each 16-bit word of ``mask``: whether it has a one."""
    return Cat(mask[start : start + WORD_BITS].any() for start in range(0, len(mask), WORD_BITS))


def _count_ones(bits):
    """Return the number of ones of a value, as a balanced tree."""
    if len(bits) == 1:
        return bits[0]
    half = len(bits) // 2
    return _count_ones(bits[:half]) + _count_ones(bits[half:])


class ChunkPair(data.StructLayout):
    """What the join takes: an input chunk and a filter chunk.

    Members
    -------
    activation_mask : unsigned(chunk)
        The *effective* mask a': the true mask where the skip mode skips activations, else the
        chunk's valid positions.
    activation_words : unsigned(chunk // 16)
        ``word_flags(activation_mask)``: computed once a cluster rather than once a unit.
    activation_filled : unsigned(chunk // 16)
        ``word_flags`` of the *true* mask: words whose values were sent. In the others all
        values are zero, whatever the memory holds.
    weight_mask : unsigned(chunk)
        The *true* mask w: offsets count its ones.
    weight_prefix : ArrayLayout(unsigned(log2(chunk)), chunk // 16)
        Ones of ``weight_mask`` below each 16-bit word. The first is zero, and not read.
    keep_zero_weights : unsigned(1)
        The skip mode does not skip weights: every position of a' is a pair.
    tag : unsigned(tag_bits)
        Handed through to every step of this chunk pair (slot, filter, base address, ...).
    """

    def __init__(self, chunk: int, tag_bits: int):
        words = chunk // WORD_BITS
        offset_bits = (chunk - 1).bit_length()
        super().__init__(
            {
                "activation_mask": unsigned(chunk),
                "activation_words": unsigned(words),
                "activation_filled": unsigned(words),
                "weight_mask": unsigned(chunk),
                "weight_prefix": data.ArrayLayout(unsigned(offset_bits), words),
                "keep_zero_weights": unsigned(1),
                "tag": unsigned(tag_bits),
            }
        )


class JoinLane(data.StructLayout):
    """One pair of a step.

    Members
    -------
    pair : unsigned(1)
        There is a pair; 0 is a bubble, and the other members are then undefined.
    position : unsigned(log2(chunk))
        Its position in the chunk: the address of its expanded activation.
    weight_offset : unsigned(log2(chunk))
        True ones of the weight mask below it: the address of its packed weight.
    activation_nonzero, weight_nonzero : unsigned(1)
        The operand is in its memory. Where 0 it is zero, whatever the memory holds
        (an activation that *is* in the memory may be zero too).
    """

    def __init__(self, chunk: int):
        offset_bits = (chunk - 1).bit_length()
        super().__init__(
            {
                "pair": unsigned(1),
                "position": unsigned(offset_bits),
                "weight_offset": unsigned(offset_bits),
                "activation_nonzero": unsigned(1),
                "weight_nonzero": unsigned(1),
            }
        )


class JoinStep(data.StructLayout):
    """What the join gives: the pairs multiplied in one cycle.

    Members
    -------
    lanes : ArrayLayout(JoinLane, lanes)
        In rising order of position.
    last : unsigned(1)
        The last step of its chunk pair.
    tag : unsigned(tag_bits)
        The tag that came with the chunk pair.
    """

    def __init__(self, chunk: int, lanes: int, tag_bits: int):
        super().__init__(
            {
                "lanes": data.ArrayLayout(JoinLane(chunk), lanes),
                "last": unsigned(1),
                "tag": unsigned(tag_bits),
            }
        )


class InnerJoin(wiring.Component):
    """Turn chunk pairs into steps of up to ``lanes`` pairs.

    Parameters
    ----------
    chunk : int
        Positions of a mask; 16, 32, 64, 128 or 256.
    lanes : int
        Pairs in a step.
    tag_bits : int
        Width of the tag that travels along.

    Members
    -------
    chunks : In(stream of ChunkPair)
        Taken ahead: while one chunk pair is worked on, the next ones are accepted.
    steps : Out(stream of JoinStep)
        One step each cycle while input lasts; a chunk pair without pairs gives one bubble.

    Notes
    -----
    ``LATENCY`` is the number of cycles from the one in which a chunk pair is transferred into an
    idle join to the one in which its first step is valid.
    """

    LATENCY = 2

    def __init__(self, chunk: int, lanes: int = 1, tag_bits: int = 1):
        if chunk not in (16, 32, 64, 128, 256):
            raise ValueError(f"Chunk must be 16, 32, 64, 128 or 256, not {chunk!r}")
        if lanes != 1:
            raise ValueError(f"Lanes must be 1, not {lanes!r}")
        self.chunk = chunk
        self.lane_count = lanes
        self.tag_bits = tag_bits
        super().__init__(
            {
                "chunks": In(stream.Signature(ChunkPair(chunk, tag_bits))),
                "steps": Out(stream.Signature(JoinStep(chunk, lanes, tag_bits))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        chunks, steps = self.chunks, self.steps
        current = Signal(ChunkPair(self.chunk, self.tag_bits))
        busy = Signal()
        rest = Signal(self.chunk)  # positions not yet given
        found = rest.any()
        after = rest & (rest - 1)
        last = after == 0

        below = Signal(self.chunk)  # ones below the lowest one of rest
        m.d.comb += below.eq(~rest & (rest - 1))
        position = Signal(range(self.chunk))
        m.d.comb += position.eq(_count_ones(below))
        word = position[WORD_BITS.bit_length() - 1 :]
        lowest = rest & -rest

        move = ~steps.valid | steps.ready
        lane = steps.p.lanes[0]
        in_word = (current.weight_mask & below).word_select(word, WORD_BITS)
        with m.If(move):
            m.d.sync += [
                steps.valid.eq(busy),
                lane.pair.eq(found),
                lane.position.eq(position),
                lane.weight_offset.eq(
                    Mux(word == 0, 0, current.weight_prefix[word]) + _count_ones(in_word)
                ),
                lane.activation_nonzero.eq(current.activation_filled.bit_select(word, 1)),
                lane.weight_nonzero.eq((current.weight_mask & lowest).any()),
                steps.p.last.eq(last),
                steps.p.tag.eq(current.tag),
                rest.eq(after),
            ]
        m.d.comb += chunks.ready.eq(~busy | (move & last))
        with m.If(chunks.ready):
            m.d.sync += [
                busy.eq(chunks.valid),
                current.eq(chunks.p),
                rest.eq(
                    chunks.p.activation_mask
                    & (chunks.p.weight_mask | chunks.p.keep_zero_weights.replicate(self.chunk))
                ),
            ]
        return m
