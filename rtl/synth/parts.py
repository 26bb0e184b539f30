"""Parts of machines that have no hardware here, made to be measured.

They do what their docstrings say (``tests/rtl/test_parts.py``) and belong to no machine that runs:
``accel.costs.area`` estimates areas from their cells.
"""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from golden.machines.cluster.config import AcceleratorConfig
from golden.machines.scnn import ScnnConfig
from rtl.block import Block
from rtl.lib.component import Component

__all__ = ["PARTS", "MultiplyAccumulate", "Operand", "ScatterArray"]

#: Bits of a sum in SCNN's accumulator banks; ``docs/scnn.md``.
SUM_BITS = 24


class MultiplyAccumulate(Component):
    """A multiplier of the dense array: operand registers, product register, 32-bit sum.

    Members
    -------
    activation : In(signed(9)), weight : In(signed(8))
        Taken in every cycle.
    first : In(1)
        These operands begin a new sum.
    total : Out(signed(32))
        The sum with the operands of three cycles before.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "activation": In(signed(9)),
                "weight": In(signed(8)),
                "first": In(1),
                "total": Out(signed(32)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        activation, weight, product = Signal(signed(9)), Signal(signed(8)), Signal(signed(17))
        first, restart = Signal(), Signal()
        m.d.sync += [
            Cat(activation, weight, first).eq(Cat(self.activation, self.weight, self.first)),
            product.eq(activation * weight),
            restart.eq(first),
            self.total.eq(Mux(restart, 0, self.total) + product),
        ]
        return m


class Operand(data.StructLayout):
    """A lane of a vector of SCNN.

    Members
    -------
    valid : unsigned(1)
    value : signed(9)
        A weight is 8 bits, an activation up to 9 with its sign.
    bank, entry : unsigned
        Its share of the product's bank and of the place in it: both are added up.
    """

    def __init__(self, config: ScnnConfig) -> None:
        super().__init__(
            {
                "valid": 1,
                "value": signed(9),
                "bank": (config.banks - 1).bit_length(),
                "entry": (2 * config.bank_entries - 1).bit_length(),
            }
        )


class ScatterArray(Component):
    """SCNN's Cartesian product: multipliers, arbitrated crossbar, accumulator banks.

    Every bank takes one product a cycle, the one of the lowest lane that wants it; the next pair of
    vectors is taken when no product of the last one waits. Banks keep both halves of their
    sums. Left out: queues before the banks, coordinates of outputs, the draining of sums.

    Parameters
    ----------
    config : ScnnConfig

    Members
    -------
    weights, activations : In(ArrayLayout(Operand))
    valid : In(1), ready : Out(1)
        A pair of vectors is taken where both are 1.
    read_bank, read_entry : In(unsigned)
    total : Out(signed(24))
        A sum; banks are read while no product is on its way.
    """

    def __init__(self, config: ScnnConfig) -> None:
        self._config = config
        operand = Operand(config)
        super().__init__(
            {
                "weights": In(data.ArrayLayout(operand, config.weight_lanes)),
                "activations": In(data.ArrayLayout(operand, config.input_lanes)),
                "valid": In(1),
                "ready": Out(1),
                "read_bank": In(operand["bank"].shape),
                "read_entry": In(operand["entry"].shape),
                "total": Out(signed(SUM_BITS)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        lanes = self._config.weight_lanes * self._config.input_lanes
        waiting, left = Signal(lanes), Signal(lanes)
        products, wants = [], []
        m.d.comb += self.ready.eq(left == 0)
        for lane in range(lanes):
            weight = self.weights[lane // self._config.input_lanes]
            activation = self.activations[lane % self._config.input_lanes]
            product = Signal(signed(17), name=f"product{lane}")
            bank = Signal.like(self.read_bank, name=f"bank{lane}")
            entry = Signal.like(self.read_entry, name=f"entry{lane}")
            with m.If(self.ready):
                m.d.sync += [
                    product.eq(weight.value * activation.value),
                    bank.eq(weight.bank + activation.bank),
                    entry.eq(weight.entry + activation.entry),
                    waiting[lane].eq(self.valid & weight.valid & activation.valid),
                ]
            with m.Else():
                m.d.sync += waiting[lane].eq(left[lane])
            products.append(Cat(product, entry))
            wants.append(bank)
        taken, sums = [], []
        for number in range(self._config.banks):
            requests = Cat(waiting[lane] & (bank == number) for lane, bank in enumerate(wants))
            granted = Signal(lanes, name=f"granted{number}")
            m.d.comb += granted.eq(requests & (~requests + 1))
            taken.append(granted)
            sums.append(self._bank(m, number, granted, products))
        everything = taken[0]
        for granted in taken[1:]:
            everything = everything | granted
        m.d.comb += [left.eq(waiting & ~everything), self.total.eq(Array(sums)[self.read_bank])]
        return m

    def _bank(self, m: Module, number: int, granted, products) -> Value:
        """Add the granted product to its sum; return the sum that is read."""
        chosen = Signal(len(products[0]), name=f"chosen{number}")
        some = Signal(name=f"some{number}")
        selected = 0
        for lane, product in enumerate(products):
            selected = selected | Mux(granted[lane], product, 0)
        m.d.sync += [chosen.eq(selected), some.eq(granted.any())]
        memory = Memory(shape=signed(SUM_BITS), depth=2 * self._config.bank_entries, init=[])
        m.submodules[f"bank{number}"] = memory
        write = memory.write_port()
        read = memory.read_port(domain="comb")
        product = chosen[:17].as_signed()
        m.d.comb += [
            read.addr.eq(Mux(some, chosen[17:], self.read_entry)),
            write.addr.eq(chosen[17:]),
            write.en.eq(some),
            write.data.eq(read.data + product),
        ]
        return read.data


#: The parts by machine and name.
PARTS: dict[str, dict[str, Block]] = {
    "dense": {
        "multiply-accumulate": Block(
            config=AcceleratorConfig,  # they are the same on every machine
            make=lambda config: MultiplyAccumulate(),
            target_mhz=200,
            preset="small",
        )
    },
    "scnn": {
        "scnn-array": Block(config=ScnnConfig, make=ScatterArray, target_mhz=100, preset="paper")
    },
}
