"""What the chip keeps of its program: two descriptors, four tile records, and where tables go."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from golden.chip.formats import AVERAGE_MAX
from golden.chip.formats import DESCRIPTOR as DESCRIPTOR_WORDS
from golden.chip.formats import TILE as TILE_WORDS
from rtl.chip.control.payloads import DESCRIPTOR, RECORD, RECORDS, TILE_BITS, Payloads
from rtl.chip.signatures import Kind, Layouts
from rtl.lib.component import Component

__all__ = ["ProgramStore"]


class ProgramStore(Component):
    """Take the beats of descriptors, records and tables.

    Parameters
    ----------
    payloads : Payloads

    Members
    -------
    control : In(stream of Layouts.control, always ready)
    descriptors : Out(ArrayLayout(DESCRIPTOR, 2))
        Of layer n in place n mod 2.
    records : Out(ArrayLayout(RECORD, 4)), slots : Out(4)
        Of tile t in place t mod 4; in which place its layer's descriptor is.
    record_count, table_count : Out(TILE_BITS)
        Records, and layers' tables, that are there: A + FILL.
    table : Out(Payloads.table_beat)
        A beat of tables is to be written.
    """

    def __init__(self, payloads: Payloads) -> None:
        self._payloads = payloads
        super().__init__(
            {
                "control": In(stream.Signature(Layouts(payloads.config).control)),
                "descriptors": Out(data.ArrayLayout(DESCRIPTOR, 2)),
                "records": Out(data.ArrayLayout(RECORD, RECORDS)),
                "slots": Out(RECORDS),
                "record_count": Out(TILE_BITS),
                "table_count": Out(TILE_BITS),
                "table": Out(payloads.table_beat),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        beat, valid = self.control.payload, self.control.valid
        of_record, of_descriptor, ends = Signal(), Signal(), Signal()
        m.d.comb += [
            self.control.ready.eq(1),
            ends.eq(valid & beat.last),
            of_record.eq(valid & (beat.kind == Kind.TILE)),
            of_descriptor.eq(valid & (beat.kind == Kind.DESCRIPTOR)),
        ]
        slot = Signal()  # of the descriptor that comes next
        for number in range(2):
            self._take_words(
                m, of_descriptor & (slot == number), DESCRIPTOR_WORDS, self.descriptors[number]
            )
        place = self.record_count[: (RECORDS - 1).bit_length()]
        for number in range(RECORDS):
            self._take_words(m, of_record & (place == number), TILE_WORDS, self.records[number])
        # A record's layer is that of the last descriptor before it.
        with m.If(of_descriptor & ends):
            m.d.sync += slot.eq(~slot)
        with m.If(of_record & ends):
            m.d.sync += self.record_count.eq(self.record_count + 1)
            m.d.sync += self.slots.bit_select(place, 1).eq(~slot)
        with m.If(ends & (beat.kind == Kind.TABLES)):
            m.d.sync += self.table_count.eq(self.table_count + 1)
        self._place_tables(m, slot)
        return m

    def _take_words(self, m: Module, enable, words, fields) -> None:
        """Write the words of a beat into the fields that they are."""
        beat = self.control.payload
        lanes = len(beat.data)
        for number, (name, _) in enumerate(words):
            lane = number % lanes
            with m.If(enable & (beat.word == number - lane)):
                m.d.sync += fields[name].eq(beat.data[lane])

    def _place_tables(self, m: Module, slot) -> None:
        """Say which part of its layer's tables a beat belongs to."""
        beat, table = self.control.payload, self.table
        lanes = len(beat.data)
        bits = (lanes - 1).bit_length()
        layer = self.descriptors[~slot]
        entries = layer.table_entries
        entry_beats, channel_beats = Signal(16), Signal(16)
        m.d.comb += [
            entry_beats.eq(((entries << 1) + (lanes - 1)) >> bits),
            channel_beats.eq((((entries + 1) >> 1) + (lanes - 1)) >> bits),
        ]
        number, valid = Signal(16), Signal()
        passes_begin = Signal(17)
        m.d.comb += [
            number.eq(beat.word >> bits),
            valid.eq(self.control.valid & (beat.kind == Kind.TABLES)),
            passes_begin.eq(entry_beats + channel_beats),
            table.data.eq(Cat(*beat.data)),
        ]
        with m.If(layer.op):
            rows = 8 * AVERAGE_MAX // (4 * lanes)
            m.d.comb += [table.average.eq(valid), table.number.eq(number + (~slot) * rows)]
        with m.Elif(number < entry_beats):
            m.d.comb += [table.requantisation.eq(valid), table.number.eq(number)]
        with m.Elif(number < passes_begin):
            m.d.comb += [table.channels.eq(valid), table.number.eq(number - entry_beats)]
        with m.Else():
            m.d.comb += [table.passes.eq(valid), table.number.eq(number - passes_begin)]
