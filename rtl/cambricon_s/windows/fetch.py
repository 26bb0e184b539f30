"""The window fetch: from a sequenced step to its window of neurons and its block mask.

The neuron buffer has even and odd rows of ``window`` neurons in two banks: both rows around the
window are read at once, and each column takes the one or the other. The neurons stay in their
columns, as sums do not depend on their order; the mask, an eighth as wide, is rotated to them. A
step waits here until its load is complete.
"""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from rtl.cambricon_s.layouts import CoreLayouts
from rtl.cambricon_s.windows.pipeline import Pipeline, oldest
from rtl.lib.component import Component
from rtl.lib.widths import bits_for_count

__all__ = ["WindowFetch"]


class WindowFetch(Component):
    """Fetch windows.

    Parameters
    ----------
    layouts : CoreLayouts

    Members
    -------
    steps : In(stream of CoreLayouts.sequenced)
        The steps.
    load_done : In(1)
        Pulse: a load is complete, all of it can be read from the next cycle on.
    neuron_address : Out(ArrayLayout(row, 2)), neuron_enable : Out(1), neuron_rows : In
        Read ports of the even and the odd bank, data one cycle later, held while not enabled.
    mask_address : Out, mask_enable : Out(1), mask : In(window)
        Read port of the index buffer, likewise.
    windows : Out(stream of CoreLayouts.fetched)
        The steps with their neurons.
    pes_last : Out
        Of the oldest step that is here or on ``steps``.

    Notes
    -----
    ``LATENCY`` is the number of cycles from a step on ``steps`` to it on ``windows``; ``LOAD`` from
    the cycle of ``load_done`` to the first of its steps there.
    """

    LATENCY = 4
    LOAD = LATENCY

    def __init__(self, layouts: CoreLayouts) -> None:
        self._layouts = layouts
        window = layouts.config.window
        self._bank_bits = bits_for_count(layouts.bank_rows)
        super().__init__(
            {
                "steps": In(stream.Signature(layouts.sequenced)),
                "load_done": In(1),
                "neuron_address": Out(data.ArrayLayout(self._bank_bits, 2)),
                "neuron_enable": Out(1),
                "neuron_rows": In(data.ArrayLayout(data.ArrayLayout(8, window), 2)),
                "mask_address": Out(layouts.row_bits),
                "mask_enable": Out(1),
                "mask": In(window),
                "windows": Out(stream.Signature(layouts.fetched)),
                "pes_last": Out(layouts.pe_bits),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        layouts, window = self._layouts, self._layouts.config.window
        located, found = Signal(layouts.sequenced), Signal(layouts.sequenced)
        loaded = Signal()  # the load of the located step is complete

        # Located: the address; it leaves for the banks when its load is there.
        entry = Pipeline(m, 1, self.steps.valid, self.steps.ready)
        read_valid, read_ready = Signal(), Signal()
        m.d.comb += [
            read_valid.eq(entry.valid[0] & loaded),
            entry.leave.eq(read_ready & loaded),
        ]
        with m.If(entry.take[0]):
            m.d.sync += located.eq(self.steps.p)
        loads = Signal(2)  # complete and not yet begun to be used
        first = located.step.load_first
        begun = Signal()
        m.d.comb += [
            loaded.eq(~first | loads.any()),
            begun.eq(read_valid & read_ready & first),
        ]
        m.d.sync += loads.eq(loads + self.load_done - begun)

        # Found: what the banks and the index buffer give.
        chain = Pipeline(m, 3, read_valid, read_ready)
        row = located.address[layouts.place_bits :]
        m.d.comb += [
            self.neuron_enable.eq(chain.take[0]),
            self.neuron_address[0].eq((row + 1) >> 1),
            self.neuron_address[1].eq(row >> 1),
            self.mask_enable.eq(chain.take[0]),
            self.mask_address.eq(located.step.row),
        ]
        with m.If(chain.take[0]):
            m.d.sync += found.eq(located)

        # Turning: the window's neurons, in their columns, and half of the mask's rotation.
        place, odd = found.address[: layouts.place_bits], found.address[layouts.place_bits]
        half = (layouts.place_bits + 1) // 2
        middle, turning = Signal(layouts.sequenced), Signal(window)
        neurons, wrapped = Signal(data.ArrayLayout(8, window)), Signal(window)
        with m.If(chain.take[1]):
            m.d.sync += [
                middle.eq(found),
                turning.eq(_rotate(self.mask, place, range(half))),
            ]
            for column in range(window):
                above = Signal(name=f"above{column}")  # it belongs to the next row
                if column + 1 < window:  # the last one never does
                    m.d.comb += above.eq(place > column)
                rows = [row[column] for row in self.neuron_rows]
                m.d.sync += [
                    wrapped[column].eq(above),
                    neurons[column].eq(Mux(odd ^ above, rows[1], rows[0])),
                ]

        # Turned: the mask is there too.
        place, held = middle.address[: layouts.place_bits], self.windows.p
        with m.If(chain.take[2]):
            m.d.sync += [
                held.step.eq(middle.step),
                held.neurons.eq(neurons),
                held.mask.eq(_rotate(turning, place, range(half, layouts.place_bits))),
                held.wrapped.eq(wrapped),
            ]
        m.d.comb += [
            self.windows.valid.eq(chain.valid[2]),
            chain.leave.eq(self.windows.ready),
            self.pes_last.eq(
                oldest(
                    [
                        (chain.valid[2], held.step.result.pes_last),
                        (chain.valid[1], middle.step.result.pes_last),
                        (chain.valid[0], found.step.result.pes_last),
                        (entry.valid[0], located.step.result.pes_last),
                    ],
                    self.steps.p.step.result.pes_last,
                )
            ),
        ]
        return m


def _rotate(mask, place, bits):
    """Rotate a mask up by some bits of a place."""
    for bit in bits:
        mask = Mux(place[bit], mask.rotate_left(1 << bit), mask)
    return mask
