"""Run layers on a machine's hardware, on any of the simulators."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from golden.config import TomlConfig
from golden.counters import Counters
from golden.errors import UserError
from golden.machines.cluster.config import SkipMode
from golden.program import Codes, LayerRun
from rtl.host import Hardware
from rtl.sim.waves import Waves

__all__ = ["SIMULATORS", "SimulatorName", "Waves", "record_states", "run_layers"]

SimulatorName = Literal["amaranth", "icarus", "verilator"]
#: Simulators by name.
SIMULATORS: tuple[SimulatorName, ...] = get_args(SimulatorName)


def run_layers(
    hardware: Hardware,
    config: TomlConfig,
    runs: list[tuple[LayerRun, SkipMode]],
    simulator: SimulatorName = "amaranth",
    stalls: int | None = None,
    waves: Waves | None = None,
    text: str | None = None,
) -> list[tuple[Codes, Counters]]:
    """Run layers one after another on one design of a machine.

    The clusters, cores or processing elements of a machine are independent and alike: each one's
    program runs in its turn.

    Parameters
    ----------
    simulator : str
        One of ``SIMULATORS``.
    stalls : int, optional
        Seed of random idle and back-pressure on every stream; None for none. Codes are the
        same, cycles are not.
    waves : Waves, optional
        What is kept of the run; not with Amaranth's simulator.
    text : str, optional
        Verilog that is simulated in place of the design's own, a netlist and its cells; not with
        Amaranth's simulator, which simulates none.

    Returns
    -------
    list of (codes, counters)
        Codes have axes p, q, k.

    Raises
    ------
    ConfigError, CapacityError
        The hardware can't do the machine or the mode, or a layer does not fit it.
    UserError
        The simulator is unknown, not installed, or keeps no waves.
    HardwareError
        The hardware broke its contract.
    """
    if simulator not in SIMULATORS:
        raise UserError(f"Simulator must be one of {', '.join(SIMULATORS)}, not {simulator!r}")
    if waves is not None and simulator == "amaranth":
        raise UserError("Simulator must be icarus or verilator for waves, not amaranth")
    design = hardware.design(config)
    programs = [hardware.programs(config, run, mode) for run, mode in runs]
    flat = [program for parts in programs for program in parts if program is not None]
    if simulator == "amaranth":
        from rtl.sim.amaranth import run_programs

        done = iter(run_programs(design, flat, stalls))
    else:
        from rtl.sim.cosim import run_programs as cosimulate

        done = iter(cosimulate(design, flat, simulator, stalls, waves, text))
    results = []
    for (run, mode), parts in zip(runs, programs, strict=True):
        given = [None if program is None else next(done) for program in parts]
        results.append(hardware.collect(config, run, mode, given))
    return results


def record_states(
    hardware: Hardware, config: TomlConfig, run: LayerRun, mode: SkipMode
) -> tuple[Counters, list[NDArray[np.uint8] | None]]:
    """Run a layer under Amaranth's simulator and see what each unit does in each cycle.

    Returns
    -------
    counters : Counters
    states : list of ndarray of uint8, axes unit, cycle, or None
        For each part of the machine the place in ``golden.counters.UNIT_COUNTERS`` of what the
        cycle counts for; None for a part without work.

    Raises
    ------
    ConfigError, CapacityError
        The hardware can't do the machine or the mode, or the layer does not fit it.
    HardwareError
        The hardware broke its contract.
    """
    from rtl.sim.amaranth import run_programs

    design = hardware.design(config)
    programs = hardware.programs(config, run, mode)
    states: list[NDArray[np.uint8]] = []
    done = run_programs(design, [one for one in programs if one is not None], states=states)
    results, recorded = iter(done), iter(states)
    given = [None if one is None else next(results) for one in programs]
    _, counters = hardware.collect(config, run, mode, given)
    return counters, [None if one is None else next(recorded) for one in programs]
