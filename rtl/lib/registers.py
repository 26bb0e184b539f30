"""The registers of a design, as a table: the one source of their addresses, widths and meanings.

Addresses count 32-bit registers. Layer registers begin at ``LAYER_BASE``, in order; the counters
of the design are read from ``COUNTER_BASE``, those of its units (``UNIT_COUNTERS``) from
``UNIT_BASE``, ``UNIT_STRIDE`` apart for each unit. Control is written last: what blocks derive
from layer registers follows them by a cycle.
"""

from __future__ import annotations

from dataclasses import dataclass

from amaranth.hdl import signed, unsigned
from amaranth.lib import data

from golden.counters import UNIT_COUNTERS
from golden.errors import CapacityError

__all__ = [
    "CONTROL",
    "COUNTER_BASE",
    "LAYER_BASE",
    "STATUS",
    "UNIT_BASE",
    "UNIT_STRIDE",
    "Register",
    "RegisterMap",
    "RegisterTable",
    "layer_layout",
]

#: Write 1 to start a layer.
CONTROL = 0
#: Read: bit 0 running, bit 1 done (since the last start).
STATUS = 1
LAYER_BASE = 16
COUNTER_BASE = 96
UNIT_BASE = 128
UNIT_STRIDE = 8


@dataclass(frozen=True)
class Register:
    """A layer register.

    Parameters
    ----------
    name : str
    bits : int
        Its width, at most 32.
    meaning : str
        Those that count say how many less one.
    is_signed : bool
        It is read as two's complement.
    """

    name: str
    bits: int
    meaning: str
    is_signed: bool = False


RegisterTable = tuple[Register, ...]


def layer_layout(table: RegisterTable) -> data.StructLayout:
    """Return layer registers as a payload."""
    return data.StructLayout(
        {one.name: signed(one.bits) if one.is_signed else unsigned(one.bits) for one in table}
    )


@dataclass(frozen=True)
class RegisterMap:
    """All registers of a design.

    Parameters
    ----------
    layer : tuple of Register
        Layer registers; ``load_target`` and ``load_address`` are two of them.
    counters : tuple of str
        Counters of the design beside its units', at most 8.
    units : int
        Units that have counters.
    """

    layer: RegisterTable
    counters: tuple[str, ...]
    units: int = 1

    @property
    def addresses(self) -> dict[str, int]:
        """Address of every register by name; unit counters as ``unit3.busy_cycles``."""
        result = {"control": CONTROL, "status": STATUS}
        result |= {one.name: LAYER_BASE + at for at, one in enumerate(self.layer)}
        return result | self.counter_addresses

    @property
    def counter_addresses(self) -> dict[str, int]:
        """Address of every counter by name."""
        result = {name: COUNTER_BASE + at for at, name in enumerate(self.counters)}
        for unit in range(self.units):
            for at, name in enumerate(UNIT_COUNTERS):
                result[f"unit{unit}.{name}"] = UNIT_BASE + UNIT_STRIDE * unit + at
        return result

    def encode(self, layer: str, values: dict[str, int]) -> dict[str, int]:
        """Return values of layer registers as they are written, in the order of their addresses.

        Parameters
        ----------
        layer : str
            The layer's name, for the error.

        Raises
        ------
        CapacityError
            A value is too wide for its register.
        """
        result = {}
        for one in self.layer:
            if one.name not in values:
                continue
            value = values[one.name]
            if not -(1 << (one.bits - 1)) <= value < 1 << one.bits:
                raise CapacityError(
                    f"Layer {layer}: register {one.name} has {one.bits} bits, {value} does not "
                    "fit: split the layer"
                )
            result[one.name] = value & ((1 << one.bits) - 1)
        return result
