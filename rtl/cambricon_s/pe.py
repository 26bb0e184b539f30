"""A processing element: synapse buffer, synapse selector, weight decoder, multipliers, sums.

    sum = (first ? stored or 0 : sum) + the lanes' neuron * codebook[code at the lane's offset]

The row of a kept window has the codes that the block mask has ones for, without gaps.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from rtl.cambricon_s.layouts import CoreLayouts
from rtl.lib.bits import add_up
from rtl.lib.component import Component
from rtl.lib.ram import Ram

__all__ = ["ProcessingElement"]


class ProcessingElement(Component):
    """One processing element of a core.

    Parameters
    ----------
    layouts : CoreLayouts

    Members
    -------
    issue : In(CoreLayouts.issue)
        The bus from the neuron selector.
    load : In(CoreLayouts.load), load_mine : In(1)
        The load bus, and whether its beat is for this PE.
    codebook : In(CoreLayouts.codebook)
        A write to the codebook.
    signed_activations : In(1)
        Neurons are int8, else uint8.
    result : Out(signed(32))
        The sum of the last completed position.

    Notes
    -----
    ``LATENCY`` is the number of cycles from ``issue.commit`` to ``result``: the row is read, a code
    taken, decoded, held, multiplied; the tree adds in two stages, the sum takes it, the result.
    """

    LATENCY = 9
    #: Cycles from the bus: codes taken from the row, operands held, products, the tree's sum.
    _CODES, _OPERANDS, _PRODUCTS, _TOTAL = 1, 3, 4, 7

    def __init__(self, layouts: CoreLayouts) -> None:
        self._layouts = layouts
        super().__init__(
            {
                "issue": In(layouts.issue),
                "load": In(layouts.load),
                "load_mine": In(1),
                "codebook": In(layouts.codebook),
                "signed_activations": In(1),
                "result": Out(signed(32)),
            }
        )
        #: What goes with a cycle to the sum.
        self._tag = data.StructLayout(
            {"valid": 1, "first": 1, "from_zero": 1, "store": 1, "psum": layouts.tile_bits}
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        layouts, lanes = self._layouts, self._layouts.config.lanes
        issues = [self.issue]
        for at in range(self._PRODUCTS):
            delayed = Signal(layouts.issue, name=f"issue{at + 1}")
            m.d.sync += delayed.eq(issues[-1])
            issues.append(delayed)
        weights = self._decode(m, self._select(m, issues[self._CODES]))

        products = []
        held, there = issues[self._OPERANDS], issues[self._PRODUCTS].lanes
        for lane in range(lanes):
            neuron, weight = (
                Signal(signed(9), name=f"neuron{lane}"),
                Signal(signed(8), name=f"weight{lane}"),
            )
            product = Signal(signed(17), name=f"product{lane}")
            octet = held.neurons[lane]
            m.d.sync += [
                neuron.eq(Cat(octet, self.signed_activations & octet[7])),
                weight.eq(weights[lane]),
                product.eq(Mux(there[lane], neuron * weight, 0)),
            ]
            products.append(product)
        self._accumulate(m, self._add(m, products))
        return m

    def _select(self, m: Module, issue) -> list:
        """The synapse buffer and selector: a registered code for every lane."""
        layouts, config = self._layouts, self._layouts.config
        beats = []
        for part in range(layouts.row_beats):
            m.submodules[f"synapses{part}"] = ram = Ram(8 * config.bus_bytes, layouts.rows)
            m.d.comb += [
                ram.write_address.eq(self.load.row),
                ram.write_data.eq(self.load.codes),
                ram.write_enable.eq(self.load.valid & self.load_mine & (self.load.part == part)),
                ram.read_address.eq(self.issue.row),
                ram.read_enable.eq(1),
            ]
            beats.append(ram.read_data)
        row = Signal(config.window * config.code_bits)
        m.d.comb += row.eq(Cat(beats))
        codes = []
        for lane in range(config.lanes):
            code = Signal(config.code_bits, name=f"code{lane}")
            m.d.sync += code.eq(row.word_select(issue.offsets[lane], config.code_bits))
            codes.append(code)
        return codes

    def _decode(self, m: Module, codes) -> list:
        """The weight decoder: every lane has the codebook."""
        weights = []
        for lane, code in enumerate(codes):
            m.submodules[f"codebook{lane}"] = ram = Ram(signed(8), 1 << len(code))
            m.d.comb += [
                ram.write_address.eq(self.codebook.code),
                ram.write_data.eq(self.codebook.weight),
                ram.write_enable.eq(self.codebook.valid),
                ram.read_address.eq(code),
                ram.read_enable.eq(1),
            ]
            weights.append(ram.read_data)
        return weights

    def _add(self, m: Module, products):
        """The adder tree, in two stages."""
        depth = max(1, (len(products) - 1).bit_length())
        size = 1 << (depth + 1) // 2
        for stage in range(2):
            sums = []
            for first in range(0, len(products), size):
                total = Signal(signed(24), name=f"sum{stage}_{first}")
                m.d.sync += total.eq(add_up(products[first : first + size]))
                sums.append(total)
            products = sums
        return products[0]

    def _accumulate(self, m: Module, total) -> None:
        """Sum, partial sums of a tile's positions, and result."""
        tags = [Signal(self._tag, name="tag0")]
        m.d.comb += [tags[0][name].eq(self.issue[name]) for name in self._tag.members]
        commits = [self.issue.commit]
        for at in range(self._TOTAL):
            tag, commit = Signal(self._tag, name=f"tag{at + 1}"), Signal(name=f"commit{at + 1}")
            m.d.sync += [tag.eq(tags[-1]), commit.eq(commits[-1])]
            tags.append(tag)
            commits.append(commit)
        tag, before = tags[-1], tags[-2]
        commit = Signal(name="commit_last")
        m.d.sync += commit.eq(commits[-1])

        depth = self._layouts.config.tile_positions
        m.submodules.psums = memory = Memory(shape=signed(32), depth=depth, init=[])
        write = memory.write_port()
        read = memory.read_port(transparent_for=(write,))
        running, new = Signal(signed(32)), Signal(signed(32))
        m.d.comb += [
            read.addr.eq(before.psum),
            new.eq(Mux(tag.first, Mux(tag.from_zero, 0, read.data), running) + total),
            write.addr.eq(tag.psum),
            write.data.eq(new),
            write.en.eq(tag.valid & tag.store),
        ]
        with m.If(tag.valid):
            m.d.sync += running.eq(new)
        with m.If(commit):
            m.d.sync += self.result.eq(running)
