"""Run layers on ExTensor's hardware, on the simulator of one's choice."""

from __future__ import annotations

from functools import cache

import numpy as np

from golden.counters import UNIT_COUNTERS
from golden.machines.extensor import PE_COUNTERS, ExTensorConfig, ExTensorCounters
from rtl.design import Design
from rtl.extensor.driver import Codes, LayerRun, decode_outputs, make_programs
from rtl.extensor.layouts import Layouts
from rtl.extensor.pe import ProcessingElement
from rtl.extensor.registers import LOAD_TARGETS, register_map
from rtl.run import SimulatorName, run_design
from rtl.verilog import modules_verilog

__all__ = ["LayerRun", "pe_design", "pe_verilog", "run_layers"]


@cache
def pe_verilog(config: ExTensorConfig) -> str:
    """Return the Verilog of a processing element: module ``extensor_pe`` and its parts.

    Raises
    ------
    UserError
        pyosys is not installed.
    """
    what = f"{config.name}: one processing element of {config.pes}"
    return modules_verilog(what, {"extensor_pe": ProcessingElement(config)})


def pe_design(config: ExTensorConfig) -> Design:
    """Return a machine's processing element as the benches see it."""
    layouts = Layouts(config)
    return Design(
        top="extensor_pe",
        make=lambda: ProcessingElement(config),
        verilog=lambda: pe_verilog(config),
        registers=register_map(),
        load_targets=LOAD_TARGETS,
        beat_bits=layouts.beat.size,
        output_bits=layouts.output.size,
    )


def run_layers(
    config: ExTensorConfig,
    runs: list[LayerRun],
    simulator: SimulatorName = "amaranth",
    stalls: int | None = None,
) -> list[tuple[Codes, ExTensorCounters]]:
    """Run layers one after another on one processing element's hardware.

    The processing elements of a machine are independent and alike: each one's program runs in
    its turn.

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
    runs = [LayerRun(*run) for run in runs]
    programs = [make_programs(config, run) for run in runs]
    results = []
    for run, done in zip(
        runs, run_design(pe_design(config), programs, simulator, stalls), strict=True
    ):
        pes = np.zeros((config.pes, len(PE_COUNTERS)), dtype=np.int64)
        units = np.zeros((config.pes, len(UNIT_COUNTERS)), dtype=np.int64)
        for number, (_, counted) in enumerate(done):
            if counted is not None:
                pes[number] = [counted[name] for name in PE_COUNTERS]
                units[number] = [counted[f"unit0.{name}"] for name in UNIT_COUNTERS]
        # Each one's own counters end with its own cycles.
        units[:, UNIT_COUNTERS.index("idle_cycles")] += pes[:, 0].max() - pes[:, 0]
        codes = decode_outputs(config, run, [outputs for outputs, _ in done])
        results.append((codes, ExTensorCounters(pes, units)))
    return results
