"""Run layers on the hardware of Cambricon-S, on the simulator of one's choice."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from golden.arithmetic import Requantisation
from golden.layer import LayerShape
from golden.machines.cambricon_s import CambriconSConfig, CambriconSCounters
from rtl.cambricon_s.design import core_design
from rtl.cambricon_s.driver import CoreLayer, decode_outputs, layer_counters, make_program
from rtl.run import SimulatorName, run_design

__all__ = ["LayerRun", "run_layer", "run_layers"]

Codes = NDArray[np.int8 | np.uint8]
#: A layer to run: shape, weights, activations, requantisation.
LayerRun = tuple[LayerShape, NDArray[np.int8], Codes, Requantisation]


def run_layers(
    config: CambriconSConfig,
    runs: list[LayerRun],
    simulator: SimulatorName = "amaranth",
    stalls: int | None = None,
) -> list[tuple[Codes, CambriconSCounters]]:
    """Run layers one after another on one core's hardware.

    The cores of a machine are independent and alike: each one's program runs in its turn.

    Parameters
    ----------
    simulator : str
        One of ``rtl.run.SIMULATORS``.
    stalls : int, optional
        Seed of random idle and back-pressure on every stream; None for none. Codes are the
        same, cycles are not.

    Returns
    -------
    list of (codes, counters)
        Codes have axes p, q, k.

    Raises
    ------
    CapacityError
        A layer does not fit the hardware.
    UserError
        The simulator is unknown or not installed.
    HardwareError
        The hardware broke its contract.
    """
    layers = [CoreLayer(config, *run) for run in runs]
    programs = [[make_program(made, core) for core in range(config.cores)] for made in layers]
    results = []
    for made, cores in zip(
        layers, run_design(core_design(config), programs, simulator, stalls), strict=True
    ):
        codes = decode_outputs(made, [beats for beats, _ in cores])
        results.append((codes, layer_counters(config, [counters for _, counters in cores])))
    return results


def run_layer(
    config: CambriconSConfig,
    layer: LayerShape,
    weights: NDArray[np.int8],
    activations: Codes,
    requantisation: Requantisation,
    simulator: SimulatorName = "amaranth",
    stalls: int | None = None,
) -> tuple[Codes, CambriconSCounters]:
    """Run one layer: ``run_layers`` of a single run."""
    runs = [(layer, weights, activations, requantisation)]
    return run_layers(config, runs, simulator, stalls)[0]
