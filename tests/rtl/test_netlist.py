"""What synthesis makes of the Verilog does what the Verilog does: same bits, same counters.

Stock yosys makes netlists of an ECP5; their cells are models (``tests.rtl.netlist``). A netlist
stands in the place of its module, and the conformance cases of its machine are run.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

pytest.importorskip("amaranth")
pytest.importorskip("pyosys")
pytest.importorskip("cocotb")

import numpy as np

from golden.errors import HardwareError
from golden.machines.cluster.config import SkipMode
from rtl.cambricon_s.hardware import HARDWARE as CAMBRICON_S
from rtl.cluster.hardware import HARDWARE as CLUSTER
from rtl.extensor.hardware import HARDWARE as EXTENSOR
from rtl.host import Hardware
from rtl.sim.run import SimulatorName, run_layers
from rtl.verilog.writer import verilog
from tests.arch import test_cambricon_s_hardware as cambricon_s
from tests.arch import test_extensor_hardware as extensor
from tests.arch.cambricon_s_cases import CONFIGURATIONS
from tests.arch.extensor_cases import MACHINES
from tests.case import HARDWARE_CONFIGURATIONS
from tests.conformance import test_hardware as cluster
from tests.rtl.netlist import synthesise


@cache
def _machine(name: str):
    """Return a machine: hardware, configuration, runs of its cases, what they must give."""
    kind, _, config = name.partition(" ")
    if kind == "cambricon-s":
        cases = cambricon_s.machine_cases(config, short=True)
        runs = [(cambricon_s.layer_run(*case.arguments), SkipMode.BOTH) for case in cases]
        wanted = [cambricon_s.expected(case) for case in cases]
        return CAMBRICON_S, CONFIGURATIONS[config], runs, wanted
    if kind == "extensor":
        cases = extensor.machine_cases(config)
        runs = [(case.run(), SkipMode.BOTH) for case in cases]
        return EXTENSOR, MACHINES[config], runs, [extensor.expected(config, one) for one in cases]
    cases = cluster.short_cases(config)
    runs = [(case.run(), case.skip) for case in cases]
    return CLUSTER, HARDWARE_CONFIGURATIONS[config], runs, [cluster.expected(one) for one in cases]


@cache
def _written(name: str) -> str:
    hardware, config, *_ = _machine(name)
    return verilog(hardware.design(config))


def _top(hardware: Hardware, config) -> str:
    return hardware.design(config).top


def check(name: str, netlist: str, simulator: SimulatorName, least: int) -> None:
    """Run all cases of a machine on a netlist."""
    hardware, config, runs, wanted = _machine(name)
    assert len(runs) >= least
    done = run_layers(hardware, config, runs, simulator, text=netlist)
    for (codes, counters), (right, oracle) in zip(done, wanted, strict=True):
        np.testing.assert_array_equal(codes, right)
        assert counters.difference(oracle) == ""


def test_a_unit(tmp_path: Path):
    """A unit has all kinds of cells; the rest of its cluster is as written; no bit is undefined."""
    netlist = synthesise(_written("cluster one-unit"), "cluster_unit", tmp_path)
    for cell in ("LUT4", "CCU2C", "TRELLIS_FF", "TRELLIS_DPR16X4", "DP16KD", "MULT18X18D"):
        assert re.search(rf"^  {cell} ", netlist, re.M), cell
    check("cluster one-unit", netlist, "icarus", 5)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["", "-noflatten"], ids=["flat", "block by block"])
@pytest.mark.parametrize(
    "name", ["cluster segments-double-buffer", "cambricon-s codes-4-bits", "extensor toy"]
)
def test_a_machine(name: str, how: str, tmp_path: Path):
    """All of a machine: flat, as place and route gets it, and each block by itself."""
    hardware, config, *_ = _machine(name)
    netlist = synthesise(_written(name), _top(hardware, config), tmp_path, how)
    check(name, netlist, "verilator", 5)


@pytest.mark.slow
def test_a_wrong_cell_is_noticed(tmp_path: Path):
    """Ten netlists with a table inverted: nine of them or more give something else, or no end."""
    name = "cluster one-unit"
    netlist = synthesise(_written(name), "cluster_unit", tmp_path)
    tables = list(re.finditer(r"(\.INIT\(16'h)(\w{4})(\)\n  \) )", netlist))
    assert len(tables) > 100
    noticed = 0
    for at in range(0, len(tables), -(-len(tables) // 10)):
        table = tables[at]
        wrong = f"{table[1]}{0xFFFF ^ int(table[2], 16):04x}{table[3]}"
        bad = f"{netlist[: table.start()]}{wrong}{netlist[table.end() :]}"
        try:
            check(name, bad, "icarus", 5)
        except (AssertionError, HardwareError):
            noticed += 1
    assert noticed >= 9
