"""What an SDRAM needs, in cycles, and which memory model a controller with it keeps."""

from __future__ import annotations

from dataclasses import dataclass

from golden.chip.config import CHIP_LATENCY
from golden.chip.memory import KINDS, Memory
from golden.errors import ConfigError

__all__ = ["W9825G6KH_100MHZ", "SdramModel", "SdramTiming"]


@dataclass(frozen=True, kw_only=True)
class SdramTiming:
    """A 16-bit SDR SDRAM with four banks, in cycles of its clock.

    Parameters
    ----------
    rcd, rp, ras, rfc, wr : int
        Activate to read or write; precharge to activate; activate to precharge; refresh to
        activate; last data written to precharge.
    cl : int
        Read to its data.
    row_bits, column_bits : int
        Of an address.
    """

    rcd: int
    rp: int
    ras: int
    rfc: int
    wr: int
    cl: int
    row_bits: int = 13
    column_bits: int = 9


#: The 32 MB part of a ULX3S, -6 (15, 15, 42, 60 ns), and every faster one, up to 100 MHz.
W9825G6KH_100MHZ = SdramTiming(rcd=2, rp=2, ras=5, rfc=6, wr=2, cl=2)


@dataclass(frozen=True, kw_only=True)
class SdramModel:
    """The parameters of a ``sdram`` memory that a controller keeps with a part.

    The model has more time than the part needs in some places; what of it lies before a command
    follows from these. Pins see a read's command a cycle after its slot, a write's ``turn`` more.

    Parameters
    ----------
    memory : Memory
    timing : SdramTiming

    Raises
    ------
    ConfigError
        The part can't keep the model: the message names the parameter that must change.
    """

    memory: Memory
    timing: SdramTiming

    def __post_init__(self) -> None:
        if self.memory.kind != "sdram":
            raise ConfigError(f"Memory of an SDRAM controller must be sdram, not {self.memory}")
        part = self.timing
        rows = self["tRP"] + self["tRCD"]
        row_bytes = 2 << part.column_bits
        for name, low, high in (
            ("bytes", 2, 2),
            ("banks", 4, 4),
            ("row", row_bytes, row_bytes),
            ("CL", part.cl + 1, part.cl + 1),
            ("tRCD", part.rcd, None),
            # Between a burst and the precharge for the next one: recovery of a write; tRAS.
            ("tRP", part.rcd + part.rp + part.wr - 1 - self["tRCD"], None),
            ("tRP", part.ras + part.rp - 1 - self["tRCD"], None),
            # A cycle in which nobody drives, from reading to writing.
            ("turn", (part.cl + 2) // 2, None),
            (
                "tRFC",
                self["tRFC"] + max(1, part.wr - 1, part.ras - part.rcd - 1) - self.lead,
                None,
            ),
            ("tREFI", self["tRFC"] + 32, 1 << 16),
        ):
            if self[name] < low or (high is not None and self[name] > high):
                what = f"{low}" if low == high else f"at least {low}"
                raise ConfigError(
                    f"Memory parameter {name} must be {what} for this SDRAM, not {self[name]}"
                )
        assert rows >= part.rcd + part.rp
        # The chip's first request finds all rows closed.
        assert CHIP_LATENCY.start + self["tRCD"] - part.rcd >= part.rp

    def __getitem__(self, name: str) -> int:
        """Return a parameter of the model by its name."""
        return self.memory.values[[key for key, _ in KINDS["sdram"]].index(name)]

    @property
    def word_bits(self) -> int:
        """Bits of the number of a word."""
        return self.timing.column_bits + self.timing.row_bits + 2

    @property
    def lead(self) -> int:
        """Cycles from the begin of a refresh to its precharge: the latest that leaves tRFC."""
        part = self.timing
        return self["tRFC"] + self["tRCD"] - part.rcd - part.rp - part.rfc
