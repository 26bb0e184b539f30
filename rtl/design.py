"""A machine's hardware as the simulators and the driver's programs see it.

All designs have the same ports beside ``clk`` and ``rst``: the register port (``rtl.registers``),
the streams ``words`` (32 bits: tables and buffers), ``filters`` and ``outputs``, and ``done``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from amaranth.hdl import Fragment
from amaranth.lib import wiring

from golden.config import TomlConfig
from golden.machines.cluster.config import AcceleratorConfig
from rtl.cluster import Cluster
from rtl.layouts import Layouts
from rtl.ram import VerilogPlatform
from rtl.registers import LOAD_TARGETS, register_map
from rtl.verilog import cluster_verilog, port_list, to_json, write_files

__all__ = ["Design", "cluster_design", "write_design"]


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
        beat_bits=Layouts(config).beat_bits,
        output_bits=Layouts(config).output.size,
    )


def write_design(design: Design, config: TomlConfig, folder: str | Path) -> list[Path]:
    """Write a design's Verilog and what a program needs to know of it, as ``TOP.v``, ``TOP.json``.

    Raises
    ------
    UserError
        The folder can't be written, or pyosys is not installed.
    """
    component = design.make()
    Fragment.get(component, VerilogPlatform())  # or Amaranth complains that it was not used
    description = {
        "top": design.top,
        "config": config.to_dict(),
        "ports": port_list(component.signature),
        "registers": design.registers,
        "load_targets": {name: index for index, name in enumerate(design.load_targets)},
        "filter_stream": {"bits": design.beat_bits},
        "output_stream": {"bits": design.output_bits},
    }
    texts = {f"{design.top}.v": design.verilog(), f"{design.top}.json": to_json(description)}
    return write_files(folder, texts)
