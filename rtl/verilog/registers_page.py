"""The page of registers in the docs, made from the SystemRDL of each machine's design.

python -m rtl.verilog.registers_page > docs/registers.md
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from golden.machines import registry
from rtl.host import Design
from rtl.lib.registers import REGISTER_BYTES
from rtl.verilog.systemrdl import compile_rdl

__all__ = ["register_table", "registers_page"]

_TOP = """\
# Registers

Made by `make registers` from the SystemRDL that `accel verilog` writes beside a design; a test
holds the two together. `TOP.rdl` is for any SystemRDL tool: `pip install 'innerjoin[registers]'`
gives `peakrdl html TOP.rdl -o html` and `peakrdl markdown TOP.rdl -o TOP.md`. `TOP.h` is the C
header that PeakRDL makes of it. Both count bytes, 4 a register; the register port counts
registers, as does *address* below.

How registers are written and read is in [verilog.md](verilog.md), *Ports*; what the load stream's
targets hold in [streams.md](streams.md). A register that is written reads as `status`. Bits beyond
a register's are ignored. Every design has `control`, `status`, `load_target`, `load_address`, and
its counters, where they are here.
"""
_HEAD = "| address | register | bits | access | |\n|---|---|---|---|---|"


def registers_page() -> str:
    """Return the page: a table for the design of each kind of machine, its counters too."""
    parts, seen = [_TOP], set()
    for name in registry.with_hardware():
        kind = registry.find(name)
        if kind.hardware in seen:
            continue
        seen.add(kind.hardware)
        config = kind.load_config()
        design = kind.load_hardware().design(config.preset(config.preset_names()[-1]))
        machines = [
            f"`{other}`"
            for other in registry.with_hardware()
            if registry.find(other).hardware == kind.hardware
        ]
        parts.append(f"## {design.top}\n\nOf {', '.join(machines)}.\n\n{register_table(design)}")
    return "\n".join(parts)


def register_table(design: Design) -> str:
    """Return the registers of a design as a table in Markdown."""
    rows = [_HEAD]
    for node in compile_rdl(design).children():
        if hasattr(node, "fields"):
            rows += _rows(node, "", str(node.address_offset // REGISTER_BYTES))
            continue
        # The units' counters, all alike.
        stride = node.array_stride // REGISTER_BYTES
        for register in node.registers():
            address = (node.raw_address_offset + register.address_offset) // REGISTER_BYTES
            rows += _rows(register, f"{node.inst_name}N.", f"{address} + {stride} N")
    return "\n".join([*rows, ""])


def _rows(register: Any, prefix: str, address: str) -> Iterator[str]:
    """Yield a row, or one for each of several fields."""
    fields, name = register.fields(), f"{prefix}{register.inst_name}"
    for field in fields:
        bits = f"{field.high}:{field.low}" if field.width > 1 else f"{field.low}"
        access = "w" if field.is_sw_writable else "r"
        what = field.get_property("desc") or register.get_property("desc")
        full = name if field.inst_name == "value" else f"{name}.{field.inst_name}"
        if (targets := field.get_property("encode")) is not None:
            what = (
                what.partition(":")[0]
                + ": "
                + ", ".join(f"{member.value} {member.name}" for member in targets)
            )
        yield f"| {address} | `{full}` | {bits} | {access} | {what} |"


if __name__ == "__main__":
    print(registers_page(), end="")
