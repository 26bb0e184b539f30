"""Vectors of a layer: what each design of a machine is given, and what it must give, as plain text.

``rtl.verilog.kit.vectors`` reads them, and describes their files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from golden.config import TomlConfig
from golden.counters import Counters
from golden.machines.cluster.config import SkipMode
from golden.program import Codes, LayerRun
from rtl.host import Hardware

__all__ = ["LayerAnswer", "vector_files"]


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerAnswer:
    """A layer, and what a machine's hardware must make of it.

    Parameters
    ----------
    name : str
        Its folders have this name, as an identifier, and the number of their design.
    run : LayerRun
    mode : SkipMode
    codes : ndarray of int8 or uint8, axes p, q, k
        Its right outputs.
    counters : Counters or mapping of str to int
        The machine's counters; or only some of them, the same in each design.
    about : mapping
        Where it comes from: plain values.
    """

    name: str
    run: LayerRun
    mode: SkipMode
    codes: Codes
    counters: Counters | Mapping[str, int]
    about: Mapping[str, Any] = field(default_factory=dict)


def vector_files(hardware: Hardware, config: TomlConfig, answer: LayerAnswer) -> dict[str, str]:
    """Return the files of a layer's vectors by their paths: a folder for each design at work.

    Raises
    ------
    ConfigError, CapacityError
        The hardware can't do it, or the layer does not fit.
    """
    design = hardware.design(config)
    programs = hardware.programs(config, answer.run, answer.mode)
    beats = hardware.expected_beats(config, answer.run, answer.codes)
    if isinstance(answer.counters, Counters):
        counters = hardware.expected_counters(config, answer.counters)
    else:
        counters = [dict(answer.counters)] * len(programs)
    files: dict[str, str] = {}
    widths = {"filters": design.beat_bits, "outputs": design.output.size}
    for number, program in enumerate(programs):
        if program is None:
            continue
        folder = f"vectors/{_identifier(answer.name)}_{number}"
        known = {
            "about": {**answer.about, "skip": answer.mode.value, "design": number},
            "registers": program.registers,
            "loads": list(program.loads),
            "cycle_limit": program.cycle_limit,
            "counters": counters[number],
        }
        files[f"{folder}/vector.json"] = json.dumps(known, indent=1) + "\n"
        for target, words in program.loads.items():
            files[f"{folder}/load_{target}.hex"] = _lines(words.tolist(), 32)
        filters = [int.from_bytes(beat.tobytes(), "little") for beat in program.beats]
        files[f"{folder}/filters.hex"] = _lines(filters, widths["filters"])
        for at, name in enumerate(("outputs", "defined")):
            values = [beat[at] for beat in beats[number]]
            files[f"{folder}/{name}.hex"] = _lines(values, widths["outputs"])
    return files


def _identifier(name: str) -> str:
    """Return a name with nothing in it that a test's name or a folder's may not have."""
    return re.sub(r"^(?=\d)", "_", re.sub(r"[^A-Za-z0-9]+", "_", name))


def _lines(values: list[int], bits: int) -> str:
    digits = -(-bits // 4)
    return "".join(f"{value:0{digits}x}\n" for value in values)
