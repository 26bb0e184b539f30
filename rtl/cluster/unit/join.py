"""The inner join: which pairs of a chunk pair are multiplied, and where their values lie.

A chunk pair costs exactly ``max(1, pairs)`` cycles, back to back.

Masks are taken apart in steps: 16-bit words, of these nibbles, of these bits. Flags of the words
that have a pair are found as the chunk pair enters; the next word is chosen a cycle ahead. Each
stage takes a new item in the cycle in which the next stage takes the last part of its own, so a
stage supplies at least one item a cycle and gaps close while a later stage is at work.

What limits it (ECP5, chunk 128, placed and routed): the word select is the area, 5 tables for
each of 32 mask bits and 7 prefix bits; a one-hot AND-OR takes fewer than a binary choice among
eight. The clock ends at the decision that a stage may move, which runs from the last pair through
nibble, word and chunk to the enables of some 300 flip-flops; in a unit the block RAM's output
(5.8 ns to its pins) and the multiplier (3.9 ns, without registers of its own) are as slow.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from rtl.cluster.layouts import WORD_BITS
from rtl.lib.bits import (
    at_most_one,
    count_ones,
    elements,
    encode,
    one_hot_select,
    only_lowest,
    without_lowest,
)
from rtl.lib.component import Component

__all__ = ["ChunkPair", "InnerJoin", "JoinStep", "word_flags"]

NIBBLE_BITS = 4


def word_flags(mask):
    """Return one bit for each 16-bit word of ``mask``: whether it has a one."""
    return Cat(mask[start : start + WORD_BITS].any() for start in range(0, len(mask), WORD_BITS))


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


class JoinStep(data.StructLayout):
    """What the join gives: the pair that is multiplied in a cycle.

    Members
    -------
    pair : unsigned(1)
        There is a pair; 0 is a bubble, and where it lies is then undefined.
    position : unsigned(log2(chunk))
        Its position in the chunk: the address of its expanded activation.
    weight_prefix : unsigned(log2(chunk)), weight_count : unsigned(4)
        True ones of the weight mask below its word, and below it in its word. Their sum is the
        offset of its packed weight; who adds a base address adds all three at once.
    activation_nonzero, weight_nonzero : unsigned(1)
        The operand is in its memory. Where 0 it is zero, whatever the memory holds
        (an activation that *is* in the memory may be zero too).
    last : unsigned(1)
        The last step of its chunk pair.
    tag : unsigned(tag_bits)
        The tag that came with the chunk pair.
    """

    def __init__(self, chunk: int, tag_bits: int):
        offset_bits = (chunk - 1).bit_length()
        super().__init__(
            {
                "pair": unsigned(1),
                "position": unsigned(offset_bits),
                "weight_prefix": unsigned(offset_bits),
                "weight_count": unsigned(4),
                "activation_nonzero": unsigned(1),
                "weight_nonzero": unsigned(1),
                "last": unsigned(1),
                "tag": unsigned(tag_bits),
            }
        )


class InnerJoin(Component):
    """Turn chunk pairs into steps, a pair each.

    Parameters
    ----------
    chunk : int
        Positions of a mask; 16, 32, 64, 128 or 256.
    tag_bits : int
        Width of the tag that travels along.

    Members
    -------
    chunks : In(stream of ChunkPair)
        Taken ahead: while one chunk pair is worked on, the next ones are accepted.
    steps : Out(stream of JoinStep)
        One step each cycle while input lasts; a chunk pair without pairs gives one bubble.
    takes, free : Out(1)
        ``chunks.ready`` is ``takes | free``; ``free`` comes from a register. Who has stages before
        the join lets all of them move with ``takes``, and so keeps the longest path short.

    Notes
    -----
    ``LATENCY`` is the number of cycles from the one in which a chunk pair is transferred into an
    idle join to the one in which its first step is valid.
    """

    LATENCY = 5

    def __init__(self, chunk: int, tag_bits: int = 1):
        if chunk not in (16, 32, 64, 128, 256):
            raise ValueError(f"Chunk must be 16, 32, 64, 128 or 256, not {chunk!r}")
        self.chunk = chunk
        self.tag_bits = tag_bits
        super().__init__(
            {
                "chunks": In(stream.Signature(ChunkPair(chunk, tag_bits))),
                "steps": Out(stream.Signature(JoinStep(chunk, tag_bits))),
                "takes": Out(1),
                "free": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        chunks, steps = self.chunks, self.steps
        words = self.chunk // WORD_BITS

        # Each stage holds one item, and moves on where the next stage is empty or has just taken
        # the last part of its own: gaps close while a later stage is at work.
        take_chunk, take_pair = Signal(), Signal()
        # Kept, so that what waits for them is one table behind: the decision enables registers that
        # are far.
        take_word, take_nibble = (Signal(attrs={"keep": 1}) for _ in range(2))

        # -- next chunk: its masks, and which words have pairs --------------------------------
        fresh = chunks.p
        flags = Signal(words)
        for i in range(words):
            part = slice(i * WORD_BITS, (i + 1) * WORD_BITS)
            m.d.comb += flags[i].eq(
                (fresh.activation_mask[part] & fresh.weight_mask[part]).any()
                | (fresh.keep_zero_weights & fresh.activation_words[i])
            )
        next_valid = Signal()
        next_chunk = Signal(ChunkPair(self.chunk, self.tag_bits), reset_less=True)
        next_flags = Signal(words)
        m.d.comb += [
            self.takes.eq(take_chunk),
            self.free.eq(~next_valid),
            chunks.ready.eq(take_chunk | self.free),
        ]
        with m.If(chunks.ready):
            m.d.sync += [
                next_valid.eq(chunks.valid),
                next_chunk.eq(fresh),
                next_flags.eq(flags & chunks.valid.replicate(words)),
            ]

        # -- chunk: one non-empty word after the other, the next one chosen a cycle ahead -----
        valid = Signal()
        chunk = Signal(ChunkPair(self.chunk, self.tag_bits), reset_less=True)
        chosen = Signal(words)  # one-hot; none where there is no pair
        rest = Signal(words)
        last_word = Signal(init=1)  # also where there is no chunk
        source = Mux(last_word, next_flags, rest)
        m.d.comb += take_chunk.eq(last_word & (~valid | take_word))
        with m.If(~valid | take_word):
            m.d.sync += [
                chosen.eq(only_lowest(source)),
                rest.eq(without_lowest(source)),
                last_word.eq(at_most_one(source)),
            ]
        with m.If(take_chunk):
            m.d.sync += [valid.eq(next_valid), chunk.eq(next_chunk)]

        # -- word: one non-empty nibble after the other ----------------------------------------
        word_valid = Signal()
        word_pairs = Signal(WORD_BITS)
        word_weights = Signal(WORD_BITS, reset_less=True)
        word_counts = Signal(data.ArrayLayout(3, WORD_BITS // NIBBLE_BITS - 1), reset_less=True)
        nibbles = Signal(WORD_BITS // NIBBLE_BITS)
        single = Signal(WORD_BITS // NIBBLE_BITS, reset_less=True)  # nibbles of one pair at most
        word = Signal(_Place(self.chunk, self.tag_bits), reset_less=True)
        pick_a = one_hot_select(_slices(chunk.activation_mask, WORD_BITS), chosen)
        pick_w = one_hot_select(_slices(chunk.weight_mask, WORD_BITS), chosen)
        pairs = Signal(WORD_BITS)
        m.d.comb += pairs.eq(pick_a & (pick_w | chunk.keep_zero_weights.replicate(WORD_BITS)))
        one_nibble = at_most_one(nibbles)
        m.d.comb += take_word.eq(one_nibble & (~word_valid | take_nibble))
        with m.If(take_word):
            m.d.sync += [
                word_valid.eq(valid),
                word_pairs.eq(pairs),
                word_weights.eq(pick_w),
                *(
                    count.eq(count_ones(part))
                    for count, part in zip(
                        elements(word_counts), _slices(pick_w, NIBBLE_BITS), strict=False
                    )
                ),
                nibbles.eq(Cat(part.any() for part in _slices(pairs, NIBBLE_BITS))),
                single.eq(Cat(at_most_one(part) for part in _slices(pairs, NIBBLE_BITS))),
                word.index.eq(encode(chosen)),
                word.filled.eq((chunk.activation_filled & chosen).any()),
                word.prefix.eq(one_hot_select(elements(chunk.weight_prefix)[1:], chosen[1:])),
                word.last.eq(last_word),
                word.tag.eq(chunk.tag),
            ]
        with m.Elif(take_nibble):
            m.d.sync += nibbles.eq(without_lowest(nibbles))

        # -- nibble: one pair after the other --------------------------------------------------
        nibble_valid = Signal()
        nibble_pairs = Signal(NIBBLE_BITS)
        nibble_weights = Signal(NIBBLE_BITS, reset_less=True)
        below = Signal(4, reset_less=True)  # weights of lower nibbles
        nibble_index = Signal(2, reset_less=True)
        nibble = Signal(_Place(self.chunk, self.tag_bits), reset_less=True)
        first = Signal.like(nibbles)
        m.d.comb += first.eq(only_lowest(nibbles))
        one_pair = Signal(init=1)  # there is one at most: known a cycle ahead
        m.d.comb += take_nibble.eq(one_pair & (~nibble_valid | take_pair))
        with m.If(take_nibble):
            m.d.sync += [
                nibble_valid.eq(word_valid),
                nibble_pairs.eq(one_hot_select(_slices(word_pairs, NIBBLE_BITS), first)),
                one_pair.eq(~(first & ~single).any()),
                nibble_weights.eq(one_hot_select(_slices(word_weights, NIBBLE_BITS), first)),
                nibble_index.eq(encode(first)),
                nibble.eq(word),
                nibble.last.eq(word.last & one_nibble),
            ]
            lower_counts = [
                Mux(nibbles[: i + 1].any(), 0, word_counts[i]) for i in range(len(word_counts))
            ]
            m.d.sync += below.eq(sum(lower_counts))
        with m.Elif(take_pair):
            m.d.sync += nibble_pairs.eq(without_lowest(nibble_pairs))
            m.d.sync += one_pair.eq(at_most_one(without_lowest(nibble_pairs)))

        # -- step: the pair's place, and the weights below it in its word -----------------------
        one = only_lowest(nibble_pairs)
        lower = Cat(
            nibble_weights[i] & ~nibble_pairs[: i + 1].any() for i in range(NIBBLE_BITS - 1)
        )
        m.d.comb += take_pair.eq(~steps.valid | steps.ready)
        with m.If(take_pair):
            m.d.sync += [
                steps.valid.eq(nibble_valid),
                steps.p.pair.eq(nibble_pairs.any()),
                steps.p.position.eq(Cat(encode(one), nibble_index, nibble.index)),
                steps.p.weight_prefix.eq(nibble.prefix),
                steps.p.weight_count.eq(below + count_ones(lower)),
                steps.p.weight_nonzero.eq((nibble_weights & one).any()),
                steps.p.activation_nonzero.eq(nibble.filled),
                steps.p.last.eq(nibble.last & one_pair),
                steps.p.tag.eq(nibble.tag),
            ]
        return m


class _Place(data.StructLayout):
    """What travels with a word, a nibble and a pair: where in its chunk it lies."""

    def __init__(self, chunk: int, tag_bits: int):
        super().__init__(
            {
                "index": range(chunk // WORD_BITS),
                "filled": unsigned(1),
                "prefix": unsigned((chunk - 1).bit_length()),
                "last": unsigned(1),
                "tag": unsigned(tag_bits),
            }
        )


def _slices(value, width: int) -> list:
    return [value[start : start + width] for start in range(0, len(value), width)]
