"""The inner join of chunks of 128 positions: each pair is handed out once, with its weight's place.

One chunk pair, any one, is marked by its tag, and one of its positions is looked at, any one. Of
its data only those of the position's word are remembered: what the join says of a word rests on
that word alone, and where the word is in the pipeline, on which words have pairs. So the proof of
128 positions is one of a word of 16 and one of 8 flags.
"""

from __future__ import annotations

from amaranth.hdl import Assert, Assume, Cat, Const, Module, Mux, Signal
from amaranth.hdl._ast import AnyConst, AnySeq

from rtl.cluster.layouts import WORD_BITS
from rtl.cluster.unit.join import InnerJoin
from rtl.lib.bits import count_ones
from tests.formal.prove import inside

__all__ = ["inner_join"]

_CHUNK = 128
_WORDS = _CHUNK // WORD_BITS


def inner_join() -> Module:
    """Each pair of any chunk pair is handed out once, and nothing else but a bubble for none."""
    m = Module()
    dut = InnerJoin(_CHUNK)
    m.submodules.dut, inner = inside(dut)
    fresh, step = dut.chunks.p, dut.steps.p
    for port in (fresh.as_value(), dut.chunks.valid, dut.steps.ready):
        m.d.comb += port.eq(AnySeq(len(port)))
    position = Signal(7)
    seen, closed, gone = Signal(), Signal(), Signal()
    enters = dut.chunks.valid & dut.chunks.ready & fresh.tag
    leaves = dut.steps.valid & dut.steps.ready & step.tag
    kept = Signal(len(_word_of(fresh, position)))  # the word of the marked chunk pair
    m.d.comb += [
        position.eq(AnyConst(7)),
        Assume(~(seen & dut.chunks.valid & fresh.tag)),
        Assume(fresh.activation_words == _words_with_ones(fresh.activation_mask)),
    ]
    with m.If(enters):
        m.d.sync += [seen.eq(1), kept.eq(_word_of(fresh, position))]
    handed = step.pair & (step.position == position)
    m.d.sync += [closed.eq(closed | leaves & step.last), gone.eq(gone | leaves & handed)]
    model = _Word(kept, position)

    # What is proved.
    shown = dut.steps.valid & step.tag
    weights_below = Signal(5)
    m.d.comb += weights_below.eq(count_ones(model.weights & ((1 << position[:4]) - 1)))
    right = (
        model.wanted
        & (step.weight_prefix == model.prefix)
        & (step.weight_count == weights_below)
        & (step.weight_nonzero == model.weight)
        & (step.activation_nonzero == model.filled)
    )
    m.d.comb += [
        Assert(~(shown & (~seen | closed))),
        Assert(~(shown & handed) | (right & ~gone)),
        Assert(~(shown & ~step.pair) | (~model.wanted & step.last)),
        Assert(~closed | (gone == model.wanted)),
    ]
    _say_where(m, dut, inner, model, seen, closed, gone)
    _say_of_all(m, inner)
    return m


def _words_with_ones(mask):
    return Cat(mask[at : at + WORD_BITS].any() for at in range(0, _CHUNK, WORD_BITS))


def _flags(chunk):
    """Which words of a chunk pair have pairs."""
    pairs = chunk.activation_mask & (chunk.weight_mask | chunk.keep_zero_weights.replicate(_CHUNK))
    return _words_with_ones(pairs)


def _word_of(chunk, position) -> Cat:
    """Return what a chunk pair says of the word of a position."""
    number = position[4:]
    return Cat(
        chunk.activation_mask.word_select(number, WORD_BITS),
        chunk.weight_mask.word_select(number, WORD_BITS),
        Mux(number == 0, 0, chunk.weight_prefix.as_value().word_select(number, 7)),
        chunk.activation_filled.bit_select(number, 1),
        chunk.keep_zero_weights,
    )


class _Word:
    """The fields of ``_word_of``, and what they say of a position."""

    def __init__(self, kept, position) -> None:
        self.kept, self.position = kept, position
        self.word, self.nibble, self.place = position[4:], position[2:4], position[:2]
        self.weights, self.prefix, self.filled = kept[16:32], kept[32:39], kept[39]
        self.pairs = kept[:16] & (self.weights | kept[40].replicate(16))
        self.weight = self.weights.bit_select(position[:4], 1)
        self.wanted = self.pairs.bit_select(position[:4], 1)


def _say_where(m: Module, dut, inner, model: _Word, seen, closed, gone) -> None:
    """Say where the marked chunk pair and its pair are, at every moment."""
    chunk, following = inner["chunk"], inner["next_chunk"]
    word, nibble, step = inner["word"], inner["nibble"], dut.steps.p
    in_next = inner["next_valid"] & following.tag
    in_chunk = inner["valid"] & chunk.tag
    in_word = inner["word_valid"] & word.tag
    in_nibble = inner["nibble_valid"] & nibble.tag
    in_step = dut.steps.valid & step.tag
    # A bubble is of no word.
    of_word = in_word & (word.index == model.word) & (inner["nibbles"] != 0)
    of_nibble = in_nibble & (nibble.index == model.word) & (inner["nibble_pairs"] != 0)
    here = of_nibble & (inner["nibble_index"] == model.nibble)
    waits = [
        in_next & model.wanted,
        in_chunk & (inner["chosen"] | inner["rest"]).bit_select(model.word, 1) & model.wanted,
        of_word & model.wanted & inner["nibbles"].bit_select(model.nibble, 1),
        here & inner["nibble_pairs"].bit_select(model.place, 1),
        in_step & step.pair & (step.position == model.position),
        gone,
    ]
    places = Signal(3)
    m.d.comb += places.eq(sum(waits[1:], waits[0]))
    any_place = in_next | in_chunk | in_word | in_nibble | in_step
    weights_below = Signal(5)
    shift = Cat(Const(0, 2), inner["nibble_index"])
    m.d.comb += weights_below.eq(count_ones(model.weights & ((1 << shift) - 1)))
    facts = [
        any_place == (seen & ~closed),
        ~closed | seen,
        ~gone | seen,
        places == (seen & model.wanted),
        # Its parts follow one another, and the last one is marked.
        ~in_next | ~(in_chunk | in_word | in_nibble | in_step),
        ~in_word | (word.last == ~in_chunk),
        ~in_nibble | (nibble.last == ~(in_chunk | in_word)),
        ~in_step | (step.last == ~(in_chunk | in_word | in_nibble)),
        # Its word is what it was.
        ~in_next | (_word_of(following, model.position) == model.kept),
        ~in_chunk | (_word_of(chunk, model.position) == model.kept),
        ~of_word | (inner["word_pairs"] == model.pairs),
        ~of_word | (inner["word_weights"] == model.weights),
        ~of_word | ((word.prefix == model.prefix) & (word.filled == model.filled)),
        ~of_nibble | ((nibble.prefix == model.prefix) & (nibble.filled == model.filled)),
        ~of_nibble
        | (inner["nibble_weights"] == model.weights.word_select(inner["nibble_index"], 4)),
        ~of_nibble | (inner["below"] == weights_below),
        # A bubble is all of its chunk pair.
        ~(in_chunk & (inner["chosen"] == 0)) | (~model.wanted & inner["last_word"]),
        ~(in_word & (inner["nibbles"] == 0)) | (~model.wanted & word.last),
        ~(in_nibble & (inner["nibble_pairs"] == 0)) | (~model.wanted & nibble.last),
    ]
    m.d.comb += [Assert(fact) for fact in facts]


def _say_of_all(m: Module, inner) -> None:
    """Say what holds in each stage, marked or not."""
    chosen, rest, flags = inner["chosen"], inner["rest"], Signal(_WORDS)
    m.d.comb += flags.eq(_flags(inner["chunk"]))
    nibbles, pairs = inner["nibbles"], inner["word_pairs"]
    weights, nibble_pairs = inner["word_weights"], inner["nibble_pairs"]
    four = [slice(at, at + 4) for at in range(0, WORD_BITS, 4)]
    with_pairs = Cat(pairs[part].any() for part in four)
    facts = [
        inner["next_flags"] == Mux(inner["next_valid"], _flags(inner["next_chunk"]), 0),
        # One word is chosen, and those above it are the rest.
        (chosen & (chosen - 1)[:_WORDS]) == 0,
        rest == Mux(inner["valid"], flags & ~(chosen | (chosen - 1)[:_WORDS]), 0),
        (chosen & ~flags) == 0,
        inner["valid"] | (chosen == 0),
        ~inner["valid"] | ((chosen == 0) == (flags == 0)),
        inner["last_word"] == (rest == 0),
        # Nibbles that are left are the upper ones of those with pairs.
        (nibbles & ~with_pairs) == 0,
        (with_pairs & ~nibbles & ~(nibbles ^ (nibbles - 1)[:4])) == 0,
        inner["word_valid"] | (nibbles == 0),
        (nibbles != 0) | (with_pairs == 0),
        ~inner["word_valid"]
        | (inner["single"] == Cat(count_ones(pairs[part]) <= 1 for part in four)),
        inner["one_pair"] == (count_ones(nibble_pairs) <= 1),
        inner["nibble_valid"] | (nibble_pairs == 0),
        *(
            inner["word_counts"][at] == count_ones(weights[part])
            for at, part in enumerate(four[:-1])
        ),
    ]
    m.d.comb += [Assert(fact) for fact in facts]
