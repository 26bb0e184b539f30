"""The registers of a design as SystemRDL, and what PeakRDL makes of that: the C header.

SystemRDL counts bytes; the register port counts registers, so its addresses are a quarter of those.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from golden.counters import UNIT_COUNTERS
from golden.errors import UserError
from rtl.host import Design
from rtl.lib.registers import (
    CONTROL,
    COUNTER_BASE,
    LAYER_BASE,
    REGISTER_BYTES,
    STATUS,
    UNIT_BASE,
    UNIT_MEANINGS,
    UNIT_STRIDE,
)

__all__ = ["c_header", "compile_rdl", "system_rdl"]

_WRITTEN, _READ = "sw = w; hw = r;", "sw = r; hw = w;"
_CONTROL = f"""\
    reg {{
        desc = "starts a layer";
        field {{ desc = "write 1 to start; ignored while a layer runs"; {_WRITTEN} }} start[0:0];
    }} control @ 0x{REGISTER_BYTES * CONTROL:x};"""
_STATUS = f"""\
    reg {{
        desc = "what the design does";
        field {{ desc = "a layer runs"; {_READ} }} running[0:0];
        field {{ desc = "the layer is complete; until the next start"; {_READ} }} done[1:1];
    }} status @ 0x{REGISTER_BYTES * STATUS:x};"""


def system_rdl(design: Design) -> str:
    """Return the register map of a design as SystemRDL 2.0."""
    registers, targets = design.registers, f"{design.top}_load_target"
    lines = [
        f"// Registers of {design.top}, written by innerjoin (`accel verilog`).",
        "// Addresses here count bytes, 4 a register; those of the register port count registers.",
    ]
    if design.load_rows:
        lines.append(f"enum {targets} {{")
        for number, (name, words) in enumerate(design.load_rows.items()):
            lines.append(f'    {name} = {number} {{ desc = "{words} words a row"; }};')
        lines.append("};")
    lines += [
        f"addrmap {design.top} {{",
        f'    name = "Registers of {design.top}";',
        f"    desc = {_text(design.summary)};",
        "    default regwidth = 32;",
        _CONTROL,
        _STATUS,
    ]
    for at, one in enumerate(registers.layer):
        access = _WRITTEN
        if one.name == "load_target" and design.load_rows:
            access += f" encode = {targets};"
        meaning = f"{one.meaning}; two's complement" if one.is_signed else one.meaning
        lines += _register(one.name, LAYER_BASE + at, meaning, one.bits, access)
    for at, (name, meaning) in enumerate(registers.counters.items()):
        lines += _register(name, COUNTER_BASE + at, meaning, 32, _READ)
    lines += ["    regfile {", '    desc = "counters of a unit";']
    for at, name in enumerate(UNIT_COUNTERS):
        lines += _register(name, at, UNIT_MEANINGS[name], 32, _READ)
    base, stride = REGISTER_BYTES * UNIT_BASE, REGISTER_BYTES * UNIT_STRIDE
    lines += [f"    }} unit[{registers.units}] @ 0x{base:x} += 0x{stride:x};", "};", ""]
    return "\n".join(lines)


def compile_rdl(design: Design) -> Any:
    """Return the register map as the SystemRDL compiler sees it: the node of its address map.

    Raises
    ------
    UserError
        The compiler is not installed.
    """
    try:
        from systemrdl.compiler import RDLCompiler
    except ModuleNotFoundError:
        raise UserError(_missing("systemrdl-compiler")) from None
    compiler = RDLCompiler()
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, f"{design.top}.rdl")
        source.write_text(system_rdl(design), encoding="utf-8")
        compiler.compile_file(str(source))
        return compiler.elaborate().top


def c_header(design: Design) -> str:
    """Return the register map as a C header: a packed struct, and masks of all fields.

    Raises
    ------
    UserError
        PeakRDL is not installed.
    """
    top = compile_rdl(design)
    try:
        from peakrdl_cheader.exporter import CHeaderExporter
    except ModuleNotFoundError:
        raise UserError(_missing("peakrdl-cheader")) from None
    with tempfile.TemporaryDirectory() as folder:
        header = Path(folder, f"{design.top}.h")
        CHeaderExporter().export(top, str(header))
        return header.read_text(encoding="utf-8")


def _missing(package: str) -> str:
    return f"Python package {package} must be installed: pip install 'innerjoin[hardware]'"


def _register(name: str, address: int, meaning: str, bits: int, access: str) -> list[str]:
    """Return a register of one field."""
    return [
        "    reg {",
        f"        desc = {_text(meaning)};",
        f"        field {{ {access} }} value[{bits - 1}:0];",
        f"    }} {name} @ 0x{REGISTER_BYTES * address:x};",
    ]


def _text(text: str) -> str:
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{quoted}"'
