"""The registers of a chip: the table that its AXI4-Lite port, headers and drivers are made from."""

from __future__ import annotations

from collections.abc import Mapping

from golden.chip.formats import VERSION, Kind
from rtl.lib.registers import Register, RegisterMap

__all__ = ["IDENTITY", "TRAFFIC", "Control", "Status", "register_map"]

#: ``identity`` of every chip: "IJCP", little endian, as the image's magic number.
IDENTITY = 0x50434A49

_WRITTEN = (
    Register("list_address", 32, "first byte of the transfer list"),
    Register("list_entries", 24, "entries of the list"),
    Register("interrupt_enable", 1, "the interrupt is raised when a network ends"),
)
#: Counts of traffic by register: kind, and whether they are bursts.
TRAFFIC: dict[str, tuple[Kind, bool]] = {
    f"{kind.name.lower()}_{what}": (kind, what == "bursts")
    for kind in Kind
    for what in ("bytes", "bursts")
}


class Control:
    """Bits that are written to ``control``."""

    START = 1 << 0
    #: End the network: what is under way ends, nothing else begins.
    STOP = 1 << 1
    #: Let the interrupt fall.
    CLEAR = 1 << 2


class Status:
    """Bits of ``status``; bits 15..8 are the code (``rtl.chip.status.Code``)."""

    RUNNING = 1 << 0
    DONE = 1 << 1
    INTERRUPT = 1 << 2
    #: A start was ignored, because a network was running.
    REFUSED = 1 << 3
    CODE = 8


def register_map(counters: Mapping[str, str]) -> RegisterMap:
    """Return a chip's registers; what is only read stands where designs have their counters.

    Parameters
    ----------
    counters : mapping of str to str
        Counters of the compute side, and what each counts.
    """
    read = {
        "identity": f"0x{IDENTITY:08x}",
        "version": f"{VERSION}, that of the image that it reads",
        "configuration": "ChipConfig.digest of the chip: an image has that of its own",
        "error_entry": "number of the entry of the list that was served when an error came, or "
        "whose data did",
        "cycles": "cycles of the network",
        **counters,
    }
    for name, (kind, bursts) in TRAFFIC.items():
        what = "bursts" if bursts else "bytes"
        read[name] = f"{what} of the kind {kind.name.lower()}"
    return RegisterMap(layer=_WRITTEN, counters=read, units=0)  # pyright: ignore[reportArgumentType]
