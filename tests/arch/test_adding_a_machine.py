"""The worked example of ``docs/adding_a_machine.md``, run as it stands there."""

from __future__ import annotations

import json
import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from accel import api
from accel.costs.area import AreaTable
from golden import config as golden_config
from golden.layer import LayerShape
from golden.machines import registry
from tests.arch.counting import count_image
from tests.arch.test_machines import check_sums, draw, needed_pairs

PAGE = Path(__file__).parents[2] / "docs" / "adding_a_machine.md"


@pytest.fixture
def cnvlutin(monkeypatch, tmp_path):
    """Put the page's code, preset and registry line where they say they belong."""
    text = PAGE.read_text(encoding="utf-8")
    codes = re.findall(r"```python\n(.*?)```", text, re.S)
    (preset,) = re.findall(r"```toml\n(.*?)```", text, re.S)
    ((name, parts),) = re.findall(r'^    "(\w+)": Kind\((.*?)\),$', text, re.M | re.S)
    paths = re.findall(r'"(.*?)"', parts)
    for path, code in zip(paths, codes, strict=True):
        module = types.ModuleType(path.partition(":")[0])
        monkeypatch.setitem(sys.modules, module.__name__, module)
        exec(compile(code, str(PAGE), "exec"), module.__dict__)
    (folder,) = re.findall(r"`golden/(presets/\w+)/paper.toml`", text)
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / folder / "paper.toml").write_text(preset)
    files = golden_config.resources.files

    class Resources:
        @staticmethod
        def files(package):
            return Packages(files(package), tmp_path)

    monkeypatch.setattr(golden_config, "resources", Resources)
    monkeypatch.setitem(registry.MACHINES, name, registry.Kind(*paths))
    return registry.find(name).load_model()


class Packages:
    """The package ``golden`` with one folder more."""

    def __init__(self, package, added):
        self._package, self._added = package, added

    def __truediv__(self, name):
        return self._added / name if (self._added / name).exists() else self._package / name


def test_by_hand(cnvlutin):
    # 1 x 1 kernel, 32 channels: two bricks, lanes 0 and 1; the others have nothing.
    layer = LayerShape(
        name="hand", in_channels=32, in_height=1, in_width=2, out_channels=3, kernel_height=1,
        kernel_width=1,
    )  # fmt: skip
    codes = np.zeros((1, 2, 32), dtype=np.uint8)
    codes[0, 0, :5] = 1  # lane 0 has 5, lane 1 none: 5 cycles; the other pixel is all zero: 1
    weights = np.ones(layer.weights_shape, dtype=np.int8)
    counts = count_image(cnvlutin.with_multipliers(32), layer, weights, codes, codes[:, :, :3])
    assert counts.cycles == 2 * (5 + 1)  # 3 filters, 2 at once: 2 passes
    assert counts.pairs == 5 * 3
    assert counts.unit("busy_cycles").tolist() == [10] + 15 * [0]


def test_is_held_to_what_all_machines_are(cnvlutin):
    for seed in range(8):
        rng = np.random.default_rng(seed)
        layer, weights, codes, output = draw(rng, 0.5, rng.random(), groups=1 + seed % 2)
        machine = cnvlutin.with_multipliers(64)
        counts = count_image(machine, layer, weights, codes, output)
        check_sums(machine, counts)
        assert counts.pairs == needed_pairs(layer, weights, codes, False, True)


def test_has_an_estimate_of_its_area(cnvlutin):
    area = AreaTable.load().area(cnvlutin.with_multipliers(64))
    assert area is not None
    assert (area.kind, area.cells.mult18) == ("estimate", 64)
    assert area.cells.dp16kd == 2 * (2 << 20) // 2048  # two buffers of 2 MB


def test_stands_beside_the_others(cnvlutin):
    run = api.compare("resnet8", ["dense", "cnvlutin", "innerjoin"], multipliers=64)
    cycles = [machine.total.cycles for machine in run.machines]
    assert cycles[0] > cycles[1] > cycles[2]
    assert api.machine(cnvlutin.with_multipliers(64).config).name == "cnvlutin"


def test_is_found_by_every_accel(cnvlutin, accel):
    status, out, err = accel("run", "lenet5", "--machine", "cnvlutin", "--json", "-")
    assert (status, err) == (0, "")
    paper = json.loads(out)["machines"][0]
    assert (paper["name"], paper["multipliers"]) == ("cnvlutin-paper", 256)
    status, out, _ = accel("run", "lenet5", "--machine", "cnvlutin", "--set", "filters=4")
    assert status == 0
    assert out.startswith("lenet5 on cnvlutin-paper with filters=4 (cnvlutin): 16 units, 64 mult")
    changed = ("--preset", "cnvlutin:paper", "--set", "filters=2")
    status, out, _ = accel("compare", "lenet5", "--machines", "dense,cnvlutin", *changed)
    assert status == 0
    assert "cnvlutin" in out
    assert "cnvlutin" in accel("machines")[1]
    assert "brick" in accel("presets")[1]
    refused = accel("verify", "--machine", "cnvlutin")
    assert refused[0] == 2
    assert "which have hardware, not 'cnvlutin'" in refused[2]
    assert accel("run", "lenet5", "--machine", "cnvlutin", "--set", "brick=3")[0] == 2
