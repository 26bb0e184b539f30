"""A cluster's rings and tables: written by the chip, read by the cluster's core.

Addresses are modulo the rings' sizes, which are powers of two. Every byte of a value row is a
memory of its own, so that a run of bytes is written from any byte on.
"""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from golden.chip.formats import PASSES_MAX, pass_row_bytes
from rtl.chip.control.payloads import Payloads
from rtl.chip.control.table_ram import TableRam
from rtl.cluster.core import buffer_signature
from rtl.lib.component import Component
from rtl.lib.ram import Ram
from rtl.lib.widths import MAX_OUTPUTS, bits_for_count

__all__ = ["Ring"]


class Ring(Component):
    """Index ring, value ring, and tables.

    Parameters
    ----------
    payloads : Payloads

    Members
    -------
    write : In(Payloads.ring_write), table : In(Payloads.table_beat)
        What is written at the end of the cycle.
    core : In(rtl.cluster.core.buffer_signature)
        What the core reads.
    channel_row : In, channels : Out(ArrayLayout(16, collector_width))
        Output channels of a beat of the collector, one cycle later.
    """

    def __init__(self, payloads: Payloads) -> None:
        self._payloads = payloads
        width = payloads.config.collector_width
        super().__init__(
            {
                "write": In(payloads.ring_write),
                "table": In(payloads.table_beat),
                "core": In(buffer_signature(payloads.cluster)),
                "channel_row": In(bits_for_count(payloads.entry_rows)),
                "channels": Out(data.ArrayLayout(16, width)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        config, write, core = self._payloads.config, self.write, self.core
        entry = data.StructLayout(
            {"mask": config.chunk, "pointer": self._payloads.cluster.pointer_bits}
        )
        m.submodules.index = ram = Ram(entry, config.input_buffer_chunks)
        m.d.comb += [
            ram.write_address.eq(write.index_address),
            ram.write_enable.eq(write.index_valid),
            ram.write_data.mask.eq(write.mask),
            ram.write_data.pointer.eq(write.pointer),
            ram.read_address.eq(core.index_address),
            ram.read_enable.eq(1),
            core.index_mask.eq(ram.read_data.mask),
            core.index_pointer.eq(ram.read_data.pointer),
        ]
        self._read_values(m)
        self._read_tables(m)
        return m

    def _read_values(self, m: Module) -> None:
        """The even and the odd row around the pointer: in one of several groups of lanes each."""
        core, write, lanes = self.core, self.write, self._payloads.ring_lanes
        width = self._payloads.config.broadcast_width
        groups = lanes // (2 * width)
        bits = (groups - 1).bit_length()
        wanted = core.value_pointer[width.bit_length() - 1 :]
        for odd in range(2):
            pair = Signal(len(wanted), name=f"pair{odd}")
            group = Signal(max(1, bits), name=f"group{odd}")
            m.d.comb += pair.eq((wanted if odd else wanted + 1) >> 1)
            m.d.sync += group.eq(pair[:bits])
            for at in range(width):
                octets = Signal(data.ArrayLayout(8, groups), name=f"octets{odd}_{at}")
                for number in range(groups):
                    lane = (2 * number + odd) * width + at
                    m.submodules[f"values{lane}"] = ram = Ram(8, self._payloads.ring_rows)
                    m.d.comb += [
                        ram.write_enable.eq(write.enable[lane]),
                        ram.write_address.eq(write.rows[lane]),
                        ram.write_data.eq(write.data[lane]),
                        ram.read_enable.eq(1),
                        ram.read_address.eq(pair[bits:]),
                        octets[number].eq(ram.read_data),
                    ]
                m.d.comb += core.value_rows[odd * width + at].eq(octets[group])

    def _read_tables(self, m: Module) -> None:
        config, table, core = self._payloads.config, self.table, self.core
        width, beat = config.collector_width, config.bus_bytes
        m.submodules.requantisation = entries = TableRam(8 * width, beat, MAX_OUTPUTS // width)
        m.submodules.channels = channels = TableRam(2 * width, beat, MAX_OUTPUTS // width)
        m.submodules.passes = passes = TableRam(
            pass_row_bytes(config.group_filters), beat, PASSES_MAX, copies=3
        )
        for part, enable in (
            (entries, table.requantisation), (channels, table.channels), (passes, table.passes)
        ):  # fmt: skip
            m.d.comb += [
                part.write.eq(enable), part.number.eq(table.number), part.beat.eq(table.data)
            ]  # fmt: skip
        m.d.comb += [
            entries.address0.eq(core.entry_address),
            channels.address0.eq(self.channel_row),
            self.channels.eq(channels.row0),
        ]
        for lane in range(width):
            words = entries.row0[64 * lane : 64 * (lane + 1)]
            m.d.comb += [
                core.entries[lane].bias.eq(words[:32]),
                core.entries[lane].multiplier.eq(words[32:56]),
                core.entries[lane].shift.eq(words[56:62]),
            ]
        held_words = -(-config.group_filters // 32)
        for port in range(3):
            row, held = getattr(passes, f"row{port}"), getattr(core, f"pass_row{port}")
            m.d.comb += [
                getattr(passes, f"address{port}").eq(getattr(core, f"pass_address{port}")),
                held.held.eq(row),
                held.last_of_group.eq(row[32 * held_words]),
            ]
