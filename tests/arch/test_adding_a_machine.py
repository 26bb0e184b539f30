"""The worked example of ``docs/adding_a_machine.md``, run as it stands there."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from accel.comparison import compare

from accel.costs.area import AreaTable
from accel.costs.energy import EnergyTable
from accel.machines import registry
from accel.machines.machine import LayerTask
from golden.layer import LayerShape
from sw.networks import zoo
from tests.arch.test_machines import draw, needed_pairs

PAGE = Path(__file__).parents[2] / "docs" / "adding_a_machine.md"


@pytest.fixture
def cnvlutin(monkeypatch):
    """Put the page's code and registry line where they say they belong."""
    text = PAGE.read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.S)
    ((name, path),) = re.findall(r'^    "(\w+)": "(.*)",$', text, re.M)
    module = types.ModuleType(path.partition(":")[0])
    exec(compile(code, str(PAGE), "exec"), module.__dict__)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(registry.MACHINES, name, path)
    return registry.load(name)


def test_by_hand(cnvlutin):
    # 1 x 1 kernel, 32 channels: two bricks, lanes 0 and 1; the others have nothing.
    layer = LayerShape(
        name="hand", in_channels=32, in_height=1, in_width=2, out_channels=3, kernel_height=1,
        kernel_width=1,
    )  # fmt: skip
    codes = np.zeros((1, 2, 32), dtype=np.uint8)
    codes[0, 0, :5] = 1  # lane 0 has 5, lane 1 none: 5 cycles; the other pixel is all zero: 1
    task = LayerTask(layer=layer, weights=np.ones(layer.weights_shape, dtype=np.int8))
    counts = cnvlutin.with_multipliers(32).prepare(task)(codes, codes[:, :, :3])
    assert counts.cycles == 2 * (5 + 1)  # 3 filters, 2 at once: 2 passes
    assert counts.pairs == 5 * 3
    assert counts.unit("busy_cycles").tolist() == [10] + 15 * [0]


def test_is_held_to_what_all_machines_are(cnvlutin):
    for seed in range(8):
        rng = np.random.default_rng(seed)
        layer, weights, codes, output = draw(rng, 0.5, rng.random(), groups=1 + seed % 2)
        machine = cnvlutin.with_multipliers(64)
        counts = machine.prepare(LayerTask(layer=layer, weights=weights))(codes, output)
        assert (counts.units.sum(axis=1) == counts.cycles).all()
        assert counts.pairs == needed_pairs(layer, weights, codes, False, True)
        assert counts.cycles * 64 >= counts.pairs


def test_has_an_estimate_of_its_area(cnvlutin):
    area = AreaTable.load().area(cnvlutin.with_multipliers(64))
    assert area is not None
    assert (area.kind, area.cells.mult18) == ("estimate", 64)
    assert area.cells.dp16kd == 2 * (2 << 20) // 2048  # two buffers of 2 MB


def test_stands_beside_the_others(cnvlutin):
    network = zoo.load("resnet8")
    machines = [
        registry.load(name).with_multipliers(64) for name in ("dense", "cnvlutin", "innerjoin")
    ]
    images = zoo.images("resnet8")[:1]
    comparison = compare(machines, network, images, EnergyTable.load("45nm"))
    cycles = [comparison.total(name).cycles for name in comparison.machines]
    assert cycles[0] > cycles[1] > cycles[2]
