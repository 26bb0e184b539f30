"""The blocks of all machines by name."""

from __future__ import annotations

from golden.machines import registry
from rtl.block import Block
from rtl.synth.parts import PARTS

__all__ = ["machine_blocks"]


def machine_blocks() -> dict[str, dict[str, Block]]:
    """Return the blocks of every machine that has some, in the order of the registry.

    Those of a machine without hardware are parts that it would need (``rtl.synth.parts``).
    """
    result = {}
    for name, kind in registry.MACHINES.items():
        blocks = dict(PARTS.get(name, {}))
        if kind.hardware is not None:
            blocks |= kind.load_hardware().blocks
        if blocks:
            result[name] = blocks
    return result
