"""Every width of the three machines is needed, and drawn mutants of their source are noticed.

The scenes are first compared with the golden model and the tick oracles; then each fault of
``tests.rtl.faults.insert`` must change what one of them gives, or is waived below, by name and with
the reason.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

pytest.importorskip("amaranth")
pytest.importorskip("pyosys")

from rtl.host import Design
from rtl.sim.build import search_path
from tests.rtl.faults import cambricon_s, cluster, extensor
from tests.rtl.faults.bench import FaultBench, SpecifiedScene
from tests.rtl.faults.insert import FaultyDesign
from tests.rtl.faults.waived import MUTANTS, WIDTHS

#: Mutants drawn from each machine's source.
DRAWN = {"cluster": 150, "cambricon-s": 100, "extensor": 60}


def _machine(name: str) -> tuple[Design, list[SpecifiedScene]]:
    if name == "cambricon-s":
        return cambricon_s.design(), list(cambricon_s.scenes())
    if name == "extensor":
        return extensor.design(), list(extensor.scenes())
    return cluster.design("plain"), list(cluster.scenes("plain"))


@pytest.mark.slow
@pytest.mark.parametrize("name", DRAWN)
def test_every_fault_is_noticed(name: str, tmp_path: Path):
    if shutil.which("verilator", path=search_path()) is None:
        pytest.skip("Verilator is not installed")
    design, scenes = _machine(name)
    faulty = FaultyDesign(design.make(), DRAWN[name])
    bench = FaultBench(faulty, tmp_path)
    numbers = range(1, len(faulty.faults) + 1)
    seen, noticed = bench.play([one.scene for one in scenes], list(numbers))
    for one in scenes:
        one.check(seen[one.scene.name])
    mutants = [number for number in numbers if not faulty.faults[number - 1].is_width]
    assert len(mutants) >= min(DRAWN[name], faulty.mutants) * 0.9
    left = [faulty.faults[number - 1] for number, scene in noticed.items() if scene == "-"]
    waived = {one for names in WIDTHS[name].values() for one in names} | set(MUTANTS[name])
    unknown = [fault.name for fault in left if fault.name not in waived]
    assert unknown == [], f"{len(unknown)} of {len(faulty.faults)} faults were not noticed"
