"""The Verilog writer: one cluster of a machine, and a JSON side-car that describes it.

A unit is elaborated once and instantiated. Amaranth gives RTLIL, which pyosys writes as Verilog
that Icarus and Verilator both run right.
"""

# A component gets its ports from its signature, and Amaranth is not annotated:
# pyright: reportAttributeAccessIssue=false, reportGeneralTypeIssues=false
# pyright: reportArgumentType=false, reportCallIssue=false, reportOperatorIssue=false
# pyright: reportIndexIssue=false, reportReturnType=false

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from amaranth.back import rtlil
from amaranth.hdl import ClockSignal, Instance, Module, ResetSignal, Shape
from amaranth.lib import wiring

from golden.counters import CLUSTER_COUNTERS, UNIT_COUNTERS
from golden.errors import UserError
from golden.machines.cluster.config import AcceleratorConfig, Latency
from rtl.capacity import check_config
from rtl.cluster import Cluster, cluster_ports
from rtl.input_buffer import row_words
from rtl.layouts import Layouts
from rtl.ram import RAM_VERILOG, VerilogPlatform
from rtl.registers import LAYER_REGISTERS, LOAD_TARGETS, RegisterFile, register_map
from rtl.unit import Unit, unit_ports
from rtl.yosys import rtlil_to_verilog

__all__ = [
    "ModuleInstance",
    "cluster_verilog",
    "modules_verilog",
    "port_list",
    "sidecar",
    "to_json",
    "write_files",
    "write_verilog",
]

_HEADER = """\
// {what}.
// The tool names its wires itself and joins narrow to wide ones, so width and unused-signal
// warnings say nothing about the source; registers have an initial value as well as a reset, for
// FPGAs that power up with one.
/* verilator lint_off DECLFILENAME */
/* verilator lint_off UNUSEDSIGNAL */
/* verilator lint_off UNUSEDPARAM */
/* verilator lint_off WIDTHTRUNC */
/* verilator lint_off WIDTHEXPAND */
/* verilator lint_off PROCASSINIT */
`timescale 1ns / 1ps

"""


class ModuleInstance(wiring.Component):
    """A component that is emitted elsewhere: the same signature, an instance inside.

    Parameters
    ----------
    name : str
        Name of its Verilog module.
    ports : dict
        Members of its signature.
    """

    def __init__(self, name: str, ports: dict) -> None:
        self._name = name
        super().__init__(ports)

    def elaborate(self, platform) -> Module:
        m = Module()
        ports: dict[str, Any] = {"i_clk": ClockSignal(), "i_rst": ResetSignal()}
        for path, member, value in self.signature.flatten(self):
            direction = "o" if member.flow is wiring.Out else "i"
            ports[f"{direction}_{'__'.join(map(str, path))}"] = value
        m.submodules.unit = Instance(self._name, **ports)
        return m


def cluster_verilog(config: AcceleratorConfig) -> str:
    """Return the Verilog of a cluster: module ``cluster`` and what it is made of.

    Raises
    ------
    ConfigError
        The hardware can't do what the machine asks for.
    UserError
        pyosys is not installed.
    """
    check_config(config)
    cluster = Cluster(
        config, unit=lambda layouts: ModuleInstance("innerjoin_unit", unit_ports(layouts))
    )
    what = f"{config.name}: one cluster of {config.units} units. Written by `accel verilog`; "
    what += "described by cluster.json"
    return modules_verilog(what, {"innerjoin_unit": Unit(Layouts(config)), "cluster": cluster})


def modules_verilog(what: str, modules: dict[str, wiring.Component], undriven: str = "") -> str:
    """Return the Verilog of some modules, the top one last.

    Parameters
    ----------
    what : str
        What the first line says that they are.
    undriven : str
        Why bits of wires may have no driver, if they may.

    Raises
    ------
    UserError
        pyosys is not installed.
    """
    platform = VerilogPlatform()
    with tempfile.TemporaryDirectory() as folder:
        inputs = []
        for name, component in modules.items():
            text = rtlil.convert(component, name=name, platform=platform, emit_src=False)
            inputs.append(Path(folder, f"{name}.il"))
            inputs[-1].write_text(text, encoding="utf-8")
        written = Path(folder, "design.v")
        rtlil_to_verilog(inputs, written)
        text = written.read_text(encoding="utf-8")
    body = "\n".join(line for line in text.splitlines() if not line.startswith("/* Generated"))
    lint = f"// {undriven}\n/* verilator lint_off UNDRIVEN */\n" if undriven else ""
    return f"{_HEADER.format(what=what)}{lint}{RAM_VERILOG}{body}\n"


def sidecar(config: AcceleratorConfig) -> dict[str, Any]:
    """Return what a program needs to know to drive the cluster: plain values."""
    layouts = Layouts(config)
    lanes = config.collector_width
    return {
        "top": "cluster",
        "config": config.to_dict(),
        "ports": port_list(wiring.Signature(cluster_ports(layouts))),
        "registers": register_map(config.units),
        # Cycles from an address to what is read there, from a write of control to the fall of done.
        "register_cycles": {"read": RegisterFile.READ, "start": RegisterFile.START},
        "layer_registers": {
            name: {"bits": bits, "is": text} for name, bits, text in LAYER_REGISTERS
        },
        "load_targets": {
            name: {"number": LOAD_TARGETS.index(name), "words_per_row": words}
            for name, words in row_words(layouts).items()
        },
        "filter_stream": {
            "bytes": config.filter_bus_bytes,
            "mask_beats": config.mask_beats,
            **({"home": _home_fields(layouts)} if layouts.merges else {}),
        },
        "output_stream": {
            "mask": [0, lanes],
            "held": [lanes, lanes],
            "values": [2 * lanes, 8 * lanes],
            "last": [10 * lanes, 1],
        },
        "latencies": {
            name: value for name, value in vars(Latency).items() if not name.startswith("_")
        },
        "counters": {"cluster": list(CLUSTER_COUNTERS), "unit": list(UNIT_COUNTERS)},
    }


def port_list(signature: wiring.Signature) -> list[dict[str, Any]]:
    """Return name, direction and width in bits of each port of a top module, its clock too."""
    ports = [
        {
            "name": "__".join(map(str, path)),
            "direction": "output" if member.flow is wiring.Out else "input",
            "width": Shape.cast(member.shape).width,
        }
        for path, member, _ in signature.flatten(signature.create())
    ]
    return ports + [{"name": name, "direction": "input", "width": 1} for name in ("clk", "rst")]


def _home_fields(layouts: Layouts) -> dict[str, list[int]]:
    """Return where a beat has the home of its filter: first bit, bits."""
    first, lane = 8 * layouts.config.filter_bus_bytes, layouts.lane_bits
    return {"lane": [first, lane], "beat": [first + lane, layouts.home_bits - lane]}


def write_verilog(config: AcceleratorConfig, folder: str | Path) -> list[Path]:
    """Write ``cluster.v`` and ``cluster.json``; each is complete or not there.

    Raises
    ------
    ConfigError
        The hardware can't do what the machine asks for.
    UserError
        The folder can't be written, or pyosys is not installed.
    """
    return write_files(
        folder, {"cluster.v": cluster_verilog(config), "cluster.json": to_json(sidecar(config))}
    )


def to_json(description: dict[str, Any]) -> str:
    """Return a side-car's text."""
    return json.dumps(description, indent=1) + "\n"


def write_files(folder: str | Path, texts: dict[str, str]) -> list[Path]:
    """Write texts into files of a folder, which is made; each is complete or not there.

    Raises
    ------
    UserError
        The folder can't be written.
    """
    folder = Path(folder)
    paths = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            path = folder / name
            with tempfile.NamedTemporaryFile(
                "w", encoding="utf-8", dir=folder, prefix=f".{name}.", delete=False
            ) as beside:
                beside.write(text)
            try:
                os.chmod(beside.name, 0o644)
                os.replace(beside.name, path)
            except BaseException:
                os.unlink(beside.name)
                raise
            paths.append(path)
    except OSError as error:
        raise UserError(f"Folder {folder} can't be written: {error.strerror}") from None
    return paths
