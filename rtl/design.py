"""What the benches need to know of a piece of hardware: its ports, and how it is driven."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from amaranth.lib import wiring

__all__ = ["Design"]


@dataclass(frozen=True, eq=False)
class Design:
    """A piece of hardware with the ports that ``rtl.bench`` plays into.

    These are a register port (``address``, ``write``, ``write_data``, ``read_data``), the load
    stream ``words``, the stream ``filters``, the stream ``outputs`` and ``done``.

    Parameters
    ----------
    name : str
        Its Verilog module.
    component : callable
        Makes it.
    verilog : callable
        Writes it as Verilog.
    registers : dict of str to int
        Addresses by name.
    load_targets : tuple of str
        What the load stream fills, in the order of register ``load_target``.
    beat_bits, output_bits : int
        Widths of ``filters`` and ``outputs``.
    """

    name: str
    component: Callable[[], wiring.Component]
    verilog: Callable[[], str]
    registers: dict[str, int]
    load_targets: tuple[str, ...]
    beat_bits: int
    output_bits: int
