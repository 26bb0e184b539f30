"""Run a layer on the hardware, on the simulator of one's choice."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from golden.counters import LayerCounters
from golden.errors import UserError
from golden.machines.cluster.config import AcceleratorConfig, SkipMode
from golden.machines.cluster.schedule import Schedule
from golden.machines.cluster.workload import LayerWorkload
from rtl.design import Design, cluster_design
from rtl.driver import ClusterProgram, decode_outputs, layer_counters, make_program

__all__ = [
    "SIMULATORS",
    "Codes",
    "LayerRun",
    "SimulatorName",
    "run_design",
    "run_layer",
    "run_layers",
]

SimulatorName = Literal["amaranth", "icarus", "verilator"]
#: Simulators by name.
SIMULATORS: tuple[SimulatorName, ...] = ("amaranth", "icarus", "verilator")

Codes = NDArray[np.int8] | NDArray[np.uint8]
#: A layer to run: its tensors, program and skip mode.
LayerRun = tuple[LayerWorkload, Schedule, SkipMode]


def run_layers(
    config: AcceleratorConfig,
    runs: list[LayerRun],
    simulator: SimulatorName = "amaranth",
    stalls: int | None = None,
) -> list[tuple[Codes, LayerCounters]]:
    """Run layers one after another on one cluster's hardware.

    The clusters of a machine are independent and alike: each one's program runs in its turn.

    Parameters
    ----------
    simulator : str
        One of ``SIMULATORS``.
    stalls : int, optional
        Seed of random idle and back-pressure on every stream; None for none. Codes are the
        same, cycles are not.

    Returns
    -------
    list of (codes, counters)
        Codes have axes p, q, k.

    Raises
    ------
    ConfigError, CapacityError
        The hardware can't do the machine, or a layer does not fit it.
    UserError
        The simulator is unknown or not installed.
    HardwareError
        The hardware broke its contract.
    """
    programs = [
        [make_program(config, *run, cluster) for cluster in range(config.clusters)] for run in runs
    ]
    results = []
    for run, clusters in zip(
        runs, run_design(cluster_design(config), programs, simulator, stalls), strict=True
    ):
        codes = decode_outputs(config, run[0], run[1], [beats for beats, _ in clusters])
        counted = layer_counters(config, [counters for _, counters in clusters])
        results.append((codes, counted))
    return results


def run_design(
    design: Design,
    programs: list[list[ClusterProgram | None]],
    simulator: SimulatorName,
    stalls: int | None = None,
) -> list[list[tuple[list[int], dict[str, int] | None]]]:
    """Run programs on one instance of a design; axes run, cluster.

    Returns
    -------
    list of lists of (output beats as integers, counters by name)
        No beats and None for a cluster without a program.

    Raises
    ------
    UserError
        The simulator is unknown or not installed.
    HardwareError
        The hardware broke its contract.
    """
    if simulator not in SIMULATORS:
        raise UserError(f"Simulator must be one of {', '.join(SIMULATORS)}, not {simulator!r}")
    flat = [program for clusters in programs for program in clusters if program is not None]
    if simulator == "amaranth":
        from rtl.simulate import run_programs

        done = iter(run_programs(design, flat, stalls))
    else:
        from rtl.cosim import run_programs as cosimulate

        done = iter(cosimulate(design, flat, simulator, stalls))
    return [
        [([], None) if program is None else next(done) for program in clusters]
        for clusters in programs
    ]


def run_layer(
    config: AcceleratorConfig,
    workload: LayerWorkload,
    schedule: Schedule,
    skip: SkipMode,
    simulator: SimulatorName = "amaranth",
    stalls: int | None = None,
) -> tuple[Codes, LayerCounters]:
    """Run one layer: ``run_layers`` of a single run."""
    return run_layers(config, [(workload, schedule, skip)], simulator, stalls)[0]
