"""Synthesis by yosys: a block between flip-flops, so that pins neither count nor limit."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from golden.errors import UserError
from rtl.lib.component import Component, ports
from rtl.verilog.modules import module_name
from rtl.verilog.writer import component_verilog

__all__ = ["SynthesisError", "Wrapper", "run_yosys", "synthesise"]


class SynthesisError(UserError):
    """A tool is missing, or the design does not fit the device."""


class Wrapper(Component):
    """Flip-flops around a component: a chain that feeds its inputs, a tree that keeps its outputs.

    Parameters
    ----------
    component : Component
        What is measured; it becomes the submodule ``dut``.

    Members
    -------
    serial_in : In(1), serial_out : Out(1)
    """

    def __init__(self, component: Component) -> None:
        self._component = component
        super().__init__({"serial_in": In(1), "serial_out": Out(1)})

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.dut = component = self._component
        inputs, outputs = [], []
        for _, member, port in ports(component.signature, component):
            bits = port.as_value() if hasattr(port, "as_value") else port
            (inputs if member.flow is wiring.In else outputs).append(bits)
        # Two ranks: the chain may lie anywhere, the second rank near the component.
        chain = Signal(max(1, sum(len(bits) for bits in inputs)))
        near = Signal.like(chain, attrs={"keep": 1})
        m.d.sync += [chain.eq(Cat(self.serial_in, chain)), near.eq(chain)]
        m.d.comb += Cat(*inputs).eq(near)
        rank = Cat(*outputs)
        while True:
            held = Signal(len(rank), attrs={"keep": 1})
            m.d.sync += held.eq(rank)
            if len(held) == 1:
                break
            rank = Cat(held[at : at + 4].xor() for at in range(0, len(held), 4))
        m.d.comb += self.serial_out.eq(held)
        return m


def run_yosys(commands: Sequence[str], folder: Path) -> None:
    """Run yosys in a process of its own: its errors end the process."""
    script = folder / "synth.ys"
    script.write_text("\n".join(commands) + "\n", encoding="utf-8")
    program = (
        "from pyosys import libyosys as y; d = y.Design(); "
        f"y.Pass.call(d, 'tee -q script {script.name}')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=False
    )
    if "No module named 'pyosys'" in done.stderr:
        raise SynthesisError("pyosys must be installed: pip install 'innerjoin[hardware]'")
    if done.returncode:
        raise RuntimeError(f"yosys failed: {done.stdout[-1000:]}{done.stderr[-1000:]}")


def synthesise(
    component: Component, whole: tuple[type, ...], folder: Path
) -> tuple[dict[str, int], int]:
    """Write ``netlist.json``; return the component's cells by type, and tables of the wrapper.

    It is made from the Verilog that ``accel verilog`` writes.

    Parameters
    ----------
    whole : tuple of type
        Blocks of the component that stay whole.
    """
    (folder / "top.v").write_text(component_verilog(Wrapper(component), "top"), encoding="utf-8")
    dut = module_name("top", type(component))
    parts = " ".join(module_name("top", block) for block in whole)
    kept, unkept = f"{dut} {parts}", [f"setattr -mod -unset keep_hierarchy {parts}"] * bool(parts)
    commands = (
        "read_verilog top.v",
        # Units and PEs stay whole: equal registers of several would become one, far from them all.
        f"setattr -mod -set keep_hierarchy 1 {kept}",
        "synth_ecp5 -top top",
        *unkept,
        f"flatten {dut}",
        "clean",
        "tee -q -o cells.json stat -json",
        f"setattr -mod -unset keep_hierarchy {dut}",
        "flatten",
        "clean",
        "write_json netlist.json",
    )
    run_yosys(commands, folder)
    modules = json.loads((folder / "cells.json").read_text(encoding="utf-8"))["modules"]
    wrapper_tables = modules["\\top"]["num_cells_by_type"].get("LUT4", 0)
    return modules[f"\\{dut}"]["num_cells_by_type"], wrapper_tables
