"""Memories for which the chip's cycles are exact: ``docs/chip.md``, *Timing*."""

from __future__ import annotations

from dataclasses import dataclass

from golden.errors import ConfigError

__all__ = ["KINDS", "Memory"]

#: Each memory's parameters: name, and value where none is given (0: it must be given).
KINDS: dict[str, tuple[tuple[str, int], ...]] = {
    "ideal": (),
    "rate": (("bytes", 0), ("latency", 0)),
    "sdram": (
        ("bytes", 2), ("banks", 4), ("row", 1024), ("tRCD", 3), ("tRP", 3), ("CL", 3),
        ("turn", 2), ("tREFI", 780), ("tRFC", 9),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Memory:
    """A memory that serves one burst after another.

    Parameters
    ----------
    kind : str
        ``ideal``, ``rate`` or ``sdram``.
    values : tuple of int
        Its parameters, in the order of ``KINDS``; bytes a cycle, cycles, bytes of a row.
    """

    kind: str
    values: tuple[int, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Memory:
        """Read ``ideal``, ``rate:8,30``, ``sdram`` or ``sdram`` with all its parameters.

        Raises
        ------
        ConfigError
            The text is none of these, or a parameter is out of range.
        """
        kind, _, rest = text.partition(":")
        if kind not in KINDS:
            raise ConfigError(f"Memory must be one of {', '.join(KINDS)}, not {text!r}")
        parameters = KINDS[kind]
        words = rest.split(",") if rest else [str(value) for _, value in parameters]
        names = ",".join(name for name, _ in parameters)
        if len(words) != len(parameters) or not all(
            word.isascii() and word.isdigit() and len(word) < 10 for word in words
        ):
            shape = f"{kind}:{names}" if names else kind
            raise ConfigError(f"Memory must be {shape} with whole numbers, not {text!r}")
        values = tuple(int(word) for word in words)
        # Nothing divides by zero, data take a cycle at least, and refreshes leave time between.
        positive = {"bytes", "latency", "banks", "row", "CL"}
        for (name, _), value in zip(parameters, values, strict=True):
            if name in positive and value < 1:
                raise ConfigError(f"Memory parameter {name} must be at least 1, not {value}")
        if kind == "sdram" and values[7] <= values[8]:
            raise ConfigError(
                f"Memory parameter tREFI must be more than tRFC ({values[8]}), not {values[7]}"
            )
        return cls(kind, values)

    def __str__(self) -> str:
        return self.kind + (":" + ",".join(map(str, self.values)) if self.values else "")
