"""A core as Verilog, and as the simulators see it."""

from __future__ import annotations

from amaranth.hdl import Shape

from golden.machines.cambricon_s import CambriconSConfig
from rtl.cambricon_s.core import Core
from rtl.cambricon_s.layouts import LOAD_TARGETS, CoreLayouts, core_registers
from rtl.cambricon_s.pe import ProcessingElement, pe_ports
from rtl.design import Design
from rtl.verilog import ModuleInstance, modules_verilog

__all__ = ["core_design", "core_verilog"]

_PE = "cambricon_s_pe"


def core_verilog(config: CambriconSConfig) -> str:
    """Return the Verilog of a core: module ``cambricon_s_core`` and what it is made of.

    Raises
    ------
    UserError
        pyosys is not installed.
    """
    core = Core(config, pe=lambda layouts: ModuleInstance(_PE, pe_ports(layouts)))
    return modules_verilog(
        f"{config.name}: one Cambricon-S core of {config.pes} PEs",
        {_PE: ProcessingElement(CoreLayouts(config)), "cambricon_s_core": core},
        undriven="The selector's distances lose bits on the way; the tool removes their drivers.",
    )


def core_design(config: CambriconSConfig) -> Design:
    """Return a core of a machine as a design."""
    return Design(
        top="cambricon_s_core",
        make=lambda: Core(config),
        verilog=lambda: core_verilog(config),
        registers=core_registers(config),
        load_targets=LOAD_TARGETS,
        beat_bits=8 * config.bus_bytes,
        output_bits=Shape.cast(CoreLayouts(config).output).width,
    )
