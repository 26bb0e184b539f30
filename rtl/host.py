"""What every design is to its host: its ports, what it is given, what it gives back.

A machine's hardware is a module with a ``HARDWARE``, which ``golden.machines.registry`` names.
Simulators, Verilog writer and synthesis find all that they need there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from numpy.typing import NDArray

from golden.config import TomlConfig
from golden.counters import UNIT_COUNTERS, Counters
from golden.errors import ConfigError
from golden.machines.cluster.config import SkipMode
from golden.program import Codes, LayerRun
from rtl.block import Block
from rtl.lib.component import Component
from rtl.lib.registers import RegisterMap

__all__ = [
    "Beat",
    "Design",
    "Hardware",
    "Program",
    "Result",
    "Written",
    "counters_by_register",
    "host_ports",
    "require_both",
]


def host_ports(beat_bits: int, output: data.StructLayout) -> dict[str, wiring.Member]:
    """Return the members of a design's signature, the same for every machine.

    address : In(16), write : In(1), write_data : In(32), read_data : Out(32)
        The register port (``rtl.lib.registers``).
    words : In(stream of 32 bits; always ready)
        The load stream: buffers and tables.
    filters : In(stream of ``beat_bits``)
        The filter stream: weights, and what else is loaded while the layer runs.
    outputs : Out(stream of ``output``)
        The output stream.
    done : Out(1)
        The layer is complete; until the next start.
    """
    return {
        "address": In(16),
        "write": In(1),
        "write_data": In(32),
        "read_data": Out(32),
        "words": In(stream.Signature(32)),
        "filters": In(stream.Signature(beat_bits)),
        "outputs": Out(stream.Signature(output)),
        "done": Out(1),
    }


@dataclass(frozen=True, eq=False)
class Program:
    """All that one design (a cluster, a core, a processing element) is given for one layer.

    Parameters
    ----------
    registers : dict of str to int
        Layer registers by name; negative values as two's complement of their width.
    loads : dict of str to ndarray of uint32, axis word
        Words of the load stream by target, from row 0 on.
    beats : ndarray of uint8, axes beat, byte
        The filter stream.
    output_beats : int
        Beats that the output stream will have.
    cycle_limit : int
        The program ends in fewer cycles where nobody stalls it.
    """

    registers: dict[str, int]
    loads: dict[str, NDArray[np.uint32]]
    beats: NDArray[np.uint8]
    output_beats: int
    cycle_limit: int


#: A beat of the output stream as it must be, and those bits of it that count.
Beat = tuple[int, int]
#: What a program gave: the output beats as integers, and the counters by name.
Result = tuple[list[int], dict[str, int]]


@dataclass(frozen=True, eq=False)
class Written:
    """What is written as Verilog.

    Parameters
    ----------
    top : str
        Name of its Verilog module.
    summary : str
        What it is, in a few words.
    config : TomlConfig
    make : callable
        Returns the component.
    """

    top: str
    summary: str
    config: TomlConfig
    make: Callable[[], Component]


@dataclass(frozen=True, eq=False)
class Design:
    """What is written as Verilog and simulated: the part that a machine repeats.

    Parameters
    ----------
    top : str
        Name of its Verilog module.
    summary : str
        What it is, in a few words.
    config : TomlConfig
    make : callable
        Returns the component.
    registers : RegisterMap
    load_rows : dict of str to int
        What the load stream fills, in the order of the numbers, and the words of a row.
    beat_bits : int
        Width of the filter stream.
    filter_stream : dict
        What else a host must know of its format: plain values.
    output : StructLayout
        A beat of the output stream.
    latencies : dict of str to int
        The machine's constants.
    """

    top: str
    summary: str
    config: TomlConfig
    make: Callable[[], Component]
    registers: RegisterMap
    load_rows: dict[str, int]
    beat_bits: int
    output: data.StructLayout
    latencies: dict[str, int]
    filter_stream: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """A machine's hardware: functions of its configuration.

    Parameters
    ----------
    design : callable
        Configuration to ``Design``. Raises ConfigError where the hardware can't be that machine.
    programs : callable
        Configuration, layer, skip mode to what each design of the machine (each cluster, core or
        processing element) is given; None for one that has nothing to do. Raises ConfigError
        where the hardware can't do it, CapacityError where the layer does not fit.
    collect : callable
        Configuration, layer, skip mode and each design's results to codes, axes p, q, k, and
        counters. Raises HardwareError where there are more or fewer beats than the program gives,
        or one breaks the format.
    expected_beats : callable
        Configuration, layer and its right codes to the output beats that each design must give;
        none of a design that has nothing to do.
    expected_counters : callable
        Configuration and counters of the machine to those of each design, by register.
    blocks : mapping of str to Block
        What ``python -m rtl.synth`` measures of it, by name.
    """

    design: Callable[[Any], Design]
    programs: Callable[[Any, LayerRun, SkipMode], list[Program | None]]
    collect: Callable[[Any, LayerRun, SkipMode, list[Result | None]], tuple[Codes, Counters]]
    expected_beats: Callable[[Any, LayerRun, Codes], list[list[Beat]]]
    expected_counters: Callable[[Any, Any], list[dict[str, int]]]
    blocks: Mapping[str, Block]


def counters_by_register(
    top: Sequence[str], tops: NDArray[np.int64], units: NDArray[np.int64]
) -> list[dict[str, int]]:
    """Return counters of each design by the names of their registers.

    Parameters
    ----------
    top : sequence of str
        Names of those that are not a unit's.
    tops : ndarray of int64, axes design, counter
    units : ndarray of int64, axes design, unit, counter
    """
    return [
        dict(zip(top, mine.tolist(), strict=True))
        | {
            f"unit{number}.{name}": int(count)
            for number, row in enumerate(counts)
            for name, count in zip(UNIT_COUNTERS, row, strict=True)
        }
        for mine, counts in zip(tops, units, strict=True)
    ]


def require_both(config: TomlConfig, mode: SkipMode) -> None:
    """Raise ConfigError where a machine that always skips both operands is asked for less."""
    if mode is not SkipMode.BOTH:
        name = config.to_dict()["name"]
        raise ConfigError(f"Skip mode of {name} must be {SkipMode.BOTH.value}, not {mode.value}")
