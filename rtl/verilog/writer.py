"""The Verilog writer: a machine's design, and a JSON side-car that describes it.

Amaranth gives RTLIL, which pyosys writes as Verilog that Icarus and Verilator both run right.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from importlib import metadata, resources
from pathlib import Path
from typing import Any

from amaranth.hdl import Shape
from amaranth.lib import wiring

from golden.config import TomlConfig
from golden.counters import UNIT_COUNTERS
from golden.errors import UserError
from golden.files import write_whole
from rtl.host import Design, Hardware, Written, host_ports
from rtl.lib.component import Component, ports
from rtl.lib.ram import RAM_VERILOG
from rtl.lib.registers import RegisterFile
from rtl.verilog.core_file import core_file
from rtl.verilog.example import example
from rtl.verilog.modules import ModuleWriter
from rtl.verilog.names import tidy
from rtl.verilog.systemrdl import c_header, system_rdl
from rtl.verilog.vectors import LayerAnswer, vector_files
from rtl.verilog.yosys import rtlil_to_verilog

__all__ = ["LayerAnswer", "component_verilog", "describe", "verilog", "write"]

_HEADER = """\
// {summary}.
// Written by innerjoin {version} (`accel verilog`), described by {top}.json, from the configuration
{config}
// One module a block. Signals have their names in the source; what has none there is named by yosys
// after its neighbours. Narrow values are joined to wide ones, so width and unused-signal warnings
// say nothing about the source; registers have an initial value as well as a reset, for FPGAs that
// power up with one.
/* verilator lint_off DECLFILENAME */
/* verilator lint_off UNUSEDSIGNAL */
/* verilator lint_off UNUSEDPARAM */
/* verilator lint_off WIDTHTRUNC */
/* verilator lint_off WIDTHEXPAND */
/* verilator lint_off PROCASSINIT */
`timescale 1ns / 1ps

"""


def verilog(design: Design | Written) -> str:
    """Return the Verilog of a design: a module for each of its blocks, and the top one.

    Raises
    ------
    UserError
        pyosys is not installed.
    """
    return f"{_header(design)}\n{component_verilog(design.make(), design.top)}"


def component_verilog(component: Component, top: str) -> str:
    """Return the Verilog of a component, without a header.

    Parameters
    ----------
    top : str
        Name of its module.

    Raises
    ------
    UserError
        pyosys is not installed.
    """
    with tempfile.TemporaryDirectory() as folder:
        inputs = []
        for name, text in ModuleWriter(component, top).texts.items():
            inputs.append(Path(folder, f"{name}.il"))
            inputs[-1].write_text(text, encoding="utf-8")
        written = Path(folder, "design.v")
        rtlil_to_verilog(inputs, written)
        body = tidy(written.read_text(encoding="utf-8"))
    lines = [line for line in body.splitlines() if not line.startswith("/* Generated")]
    return "\n".join([RAM_VERILOG, *lines, ""])


def _header(design: Design | Written) -> str:
    """Return what a reader must know, and what Verilator need not say."""
    config = design.config.to_dict()
    return _HEADER.format(
        summary=f"{config['name']}: {design.summary}",
        top=design.top,
        version=metadata.version("innerjoin"),
        config="\n".join(f"//   {key} = {json.dumps(value)}" for key, value in config.items()),
    )


def describe(design: Design) -> dict[str, Any]:
    """Return what a program needs to know to drive a design: plain values."""
    registers = design.registers
    return {
        "top": design.top,
        "config": design.config.to_dict(),
        "ports": _ports(design),
        "registers": registers.addresses,
        # Cycles from an address to what is read there, from a write of control to the fall of done.
        "register_cycles": {"read": RegisterFile.READ, "start": RegisterFile.START},
        "layer_registers": {
            one.name: {"bits": one.bits, "signed": one.is_signed, "is": one.meaning}
            for one in registers.layer
        },
        "load_targets": {
            name: {"number": number, "words_per_row": words}
            for number, (name, words) in enumerate(design.load_rows.items())
        },
        "filter_stream": {"bits": design.beat_bits, **design.filter_stream},
        # First bit and bits of each field of a beat.
        "output_stream": {name: [field.offset, field.width] for name, field in design.output},
        "latencies": design.latencies,
        "counters": {"top": list(registers.counters), "unit": list(UNIT_COUNTERS)},
    }


def _ports(design: Design) -> list[dict[str, Any]]:
    """Return name, direction and width in bits of each port, its clock too."""
    signature = wiring.Signature(host_ports(design.beat_bits, design.output))
    result = [
        {
            "name": name,
            "direction": "output" if member.flow is wiring.Out else "input",
            "width": Shape.cast(member.shape).width,
        }
        for name, member, _ in ports(signature, signature.create())
    ]
    return result + [{"name": name, "direction": "input", "width": 1} for name in ("clk", "rst")]


def write(
    hardware: Hardware,
    config: TomlConfig,
    folder: str | Path,
    answers: Sequence[LayerAnswer] = (),
) -> list[Path]:
    """Write a machine's design, what describes it, and a bench that runs by itself.

    ``TOP.v`` is the design, ``TOP.json`` its side-car, ``TOP.rdl`` (SystemRDL) and ``TOP.h`` are
    its registers, ``TOP.core`` is for FuseSoC, ``innerjoin_bench`` drives the design, ``vectors``
    has an example and the layers.

    Parameters
    ----------
    answers : sequence of LayerAnswer
        Layers whose vectors are written too.

    Returns
    -------
    list of Path
        Files and folders in ``folder``; each file is complete or not there.

    Raises
    ------
    ConfigError, CapacityError
        The hardware can't do what the machine asks for, or a layer does not fit it.
    UserError
        The folder can't be written, or a package is not installed.
    """
    design = hardware.design(config)
    texts: dict[str, str] = {}
    for answer in (example(hardware, config), *answers):
        texts |= vector_files(hardware, config, answer)
    ours = resources.files("rtl.verilog")
    for source, target in (("kit", "innerjoin_bench/"), ("beside", "")):
        for file in sorted((ours / source).iterdir(), key=lambda file: file.name):
            if file.is_file():
                texts[f"{target}{file.name}"] = file.read_text("utf-8")
    needed = [name for name in texts if name != "Makefile"]
    return _write_files(
        folder,
        {
            f"{design.top}.v": verilog(design),
            f"{design.top}.json": json.dumps(describe(design), indent=1) + "\n",
            f"{design.top}.rdl": system_rdl(design),
            f"{design.top}.h": c_header(design),
            f"{design.top}.core": core_file(design, [f"{design.top}.json", *needed]),
            **texts,
        },
    )


def _write_files(folder: str | Path, texts: dict[str, str]) -> list[Path]:
    """Write texts into files of a folder, which is made; each is complete or not there.

    Raises
    ------
    UserError
        The folder can't be written.
    """
    folder = Path(folder)
    for parent in {Path(name).parent for name in texts}:
        try:
            (folder / parent).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"Folder {folder} can't be written: {error.strerror}") from None
    for name, text in texts.items():
        write_whole(folder / name, text, f"Output {folder / name}")
    return [folder / name for name in dict.fromkeys(Path(name).parts[0] for name in texts)]
