"""C headers: the chip's registers, from their table, and what an image holds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from golden.chip.formats import HEADER, MAGIC, VERSION, WINDOWS
from golden.chip.program import ChipProgram
from rtl.chip.registers import IDENTITY, Control, Status, register_map
from rtl.chip.status import Code

__all__ = ["DRIVER_FILES", "driver_sources", "image_header", "registers_header"]

#: The driver, as it lies beside this module.
DRIVER_FILES = ("innerjoin_chip.h", "innerjoin_chip.c", "innerjoin_uio.h", "innerjoin_uio.c")
_REGISTER_BYTES = 4


def driver_sources() -> dict[str, str]:
    """Return the driver's files by name."""
    folder = Path(__file__).parent
    return {name: (folder / name).read_text(encoding="utf-8") for name in DRIVER_FILES}


def registers_header(counters: Mapping[str, str]) -> str:
    """Return ``innerjoin_registers.h``: offsets in bytes, bits, codes, and words of the image.

    Parameters
    ----------
    counters : mapping of str to str
        Counters of the compute side, and what each counts.
    """
    table = register_map(counters)
    written = {one.name: one.meaning for one in table.layer}
    meanings = {"control": "bits below", "status": "bits below", **written, **table.counters}
    lines = ["/* Registers of the chip, bytes from its first. Made by accel export. */"]
    for name, at in table.addresses.items():
        lines.append(_define(name, f"0x{_REGISTER_BYTES * at:03x}", meanings[name]))
    lines += ["", "/* What identity and version read. */"]
    lines += [_define("identity_value", f"0x{IDENTITY:08x}"), _define("version_value", VERSION)]
    lines += ["", "/* Bits of control and status; the code is status bits 15 to 8. */"]
    for kind, constants in (("control", _constants(Control)), ("status", _constants(Status))):
        lines += [_define(f"{kind}_{name}", value) for name, value in constants.items()]
    lines += ["", "/* Codes of status. */"]
    lines += [_define(f"code_{code.name}", code.value) for code in Code]
    lines += ["", "/* The image: its magic number, and 32-bit words of its header. */"]
    lines.append(_define("image_magic", f"0x{MAGIC:08x}"))
    for prefix, words in (("header", HEADER), ("windows", WINDOWS)):
        lines += [_define(f"{prefix}_{name}", at) for at, (name, _) in enumerate(words)]
        lines.append(_define(f"{prefix}_words", len(words)))
    return _guarded("innerjoin_registers_h", lines)


def image_header(program: ChipProgram, name: str, *, has_image: bool) -> str:
    """Return the C header of an image.

    Parameters
    ----------
    name : str
        Of the file, without its ending.
    has_image : bool
        An image of the network's input is stored.
    """
    network, prefix = program.network, _identifier(name)
    source, result = program.maps[network.input.name], program.maps[network.output]
    lines = [
        f"/* {_comment(network.name)} for chip {_comment(program.config.name)}: {name}.bin. */",
        _define(f"{prefix}_bytes", program.image.size, "the file, and the memory that it needs"),
        _define(f"{prefix}_configuration", f"0x{program.config.digest:08x}", "of the chip"),
        _define(f"{prefix}_list_address", f"0x{program.list_address:x}"),
        _define(f"{prefix}_list_entries", len(program.entries)),
        _define(f"{prefix}_has_input", int(has_image), "1: an input is stored already"),
    ]
    for what, where in (("input", source), ("output", result)):
        shape = dict(zip(("height", "width", "channels"), where.info.shape, strict=True))
        lines += ["", f"/* {what}: code (y, x, c) is byte (y * width + x) * channels + c. */"]
        lines.append(_define(f"{prefix}_{what}_address", f"0x{where.address:x}"))
        lines += [_define(f"{prefix}_{what}_{axis}", size) for axis, size in shape.items()]
        lines += [
            _define(f"{prefix}_{what}_signed", int(where.info.dtype == "int8")),
            _define(f"{prefix}_{what}_scale", f"{float(where.info.scale)!r}", "value / code"),
            _define(f"{prefix}_{what}_zero_point", where.info.zero_point),
        ]
    return _guarded(f"{prefix}_h", lines)


def _define(name: str, value: object, meaning: str = "") -> str:
    line = f"#define INNERJOIN_{name.upper()} {value}"
    return f"{line} /* {_comment(meaning)} */" if meaning else line


def _guarded(name: str, lines: list[str]) -> str:
    guard = name.upper()
    return "\n".join((f"#ifndef {guard}", f"#define {guard}", "", *lines, "", "#endif", ""))


def _constants(bits: type) -> dict[str, int]:
    return {name: value for name, value in vars(bits).items() if name.isupper()}


def _comment(text: str) -> str:
    return text.replace("*/", "* /").replace("\n", " ")


def _identifier(name: str) -> str:
    result = "".join(c if c.isascii() and c.isalnum() else "_" for c in name)
    return f"_{result}" if result[:1].isdigit() else result
