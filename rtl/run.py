"""Run a layer on the hardware, on the simulator of one's choice."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from golden.config import AcceleratorConfig, SkipMode
from golden.counters import LayerCounters
from golden.errors import UserError
from golden.schedule import Schedule
from golden.workload import LayerWorkload
from rtl.design import Design
from rtl.driver import ClusterProgram, decode_outputs, layer_counters, make_program
from rtl.layouts import Layouts
from rtl.registers import LOAD_TARGETS, register_map

__all__ = [
    "SIMULATORS",
    "Codes",
    "LayerRun",
    "SimulatorName",
    "cluster_design",
    "run_layer",
    "run_layers",
    "run_programs",
]

SimulatorName = Literal["amaranth", "icarus", "verilator"]
#: Simulators by name.
SIMULATORS: tuple[SimulatorName, ...] = ("amaranth", "icarus", "verilator")

Codes = NDArray[np.int8] | NDArray[np.uint8]
#: A layer to run: its tensors, program and skip mode.
LayerRun = tuple[LayerWorkload, Schedule, SkipMode]


def cluster_design(config: AcceleratorConfig) -> Design:
    """Return a machine's cluster as the benches see it."""
    from rtl.cluster import Cluster
    from rtl.verilog import cluster_verilog

    return Design(
        name="cluster",
        component=lambda: Cluster(config),
        verilog=lambda: cluster_verilog(config),
        registers=register_map(config),
        load_targets=LOAD_TARGETS,
        beat_bits=8 * config.filter_bus_bytes,
        output_bits=Layouts(config).output.size,
    )


def run_programs(
    design: Design,
    programs: list[ClusterProgram],
    simulator: SimulatorName,
    stalls: int | None,
) -> list[tuple[list[int], dict[str, int]]]:
    """Run programs one after another; see ``rtl.simulate`` and ``rtl.cosim``.

    Raises
    ------
    UserError
        The simulator is unknown or not installed.
    HardwareError
        The hardware broke its contract.
    """
    if simulator not in SIMULATORS:
        raise UserError(f"Simulator must be one of {', '.join(SIMULATORS)}, not {simulator!r}")
    if simulator == "amaranth":
        from rtl.simulate import run_programs as simulate

        return simulate(design, programs, stalls)
    from rtl.cosim import run_programs as cosimulate

    return cosimulate(design, programs, simulator, stalls)


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
    flat = [program for clusters in programs for program in clusters if program is not None]
    done = iter(run_programs(cluster_design(config), flat, simulator, stalls))
    results = []
    for run, clusters in zip(runs, programs, strict=True):
        beats: list[list[int]] = []
        counters: list[dict[str, int] | None] = []
        for program in clusters:
            given, counted = ([], None) if program is None else next(done)
            beats.append(given)
            counters.append(counted)
        codes = decode_outputs(config, run[0], run[1], beats)
        results.append((codes, layer_counters(config, counters)))
    return results


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
