"""A machine's hardware as the simulators and the driver's programs see it.

All designs have the same ports beside ``clk`` and ``rst``: the register port (``rtl.registers``),
the streams ``words`` (32 bits: tables and buffers), ``filters`` and ``outputs``, and ``done``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from amaranth.lib import wiring

from golden.config import AcceleratorConfig
from rtl.cluster import Cluster
from rtl.layouts import Layouts
from rtl.registers import LOAD_TARGETS, register_map
from rtl.verilog import cluster_verilog

__all__ = ["Design", "cluster_design"]


@dataclass(frozen=True)
class Design:
    """What is simulated.

    Parameters
    ----------
    top : str
        Name of the Verilog module.
    make : callable
        Returns the component.
    verilog : callable
        Returns its Verilog.
    registers : dict of str to int
        Addresses by name.
    load_targets : tuple of str
        What the load stream fills, in the order of their numbers.
    beat_bits, output_bits : int
        Widths of the payloads of ``filters`` and ``outputs``.
    """

    top: str
    make: Callable[[], wiring.Component]
    verilog: Callable[[], str]
    registers: dict[str, int]
    load_targets: tuple[str, ...]
    beat_bits: int
    output_bits: int


def cluster_design(config: AcceleratorConfig) -> Design:
    """Return a cluster of a machine as a design."""
    return Design(
        top="cluster",
        make=lambda: Cluster(config),
        verilog=lambda: cluster_verilog(config),
        registers=register_map(config.units),
        load_targets=LOAD_TARGETS,
        beat_bits=8 * config.filter_bus_bytes,
        output_bits=Layouts(config).output.size,
    )
