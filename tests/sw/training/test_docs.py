"""The example of ``docs/pruning.md``, run as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from accel import api  # noqa: E402
from golden.machines.cluster.config import SkipMode  # noqa: E402
from tests.sw.training.toys import toy_images, toy_loader, toy_net  # noqa: E402

PAGE = Path(__file__).parents[3] / "docs" / "pruning.md"


def test_the_example_prunes_a_module_and_ends_in_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    example = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[1]
    monkeypatch.chdir(tmp_path)
    images = toy_images(32)[0].numpy()
    names = {
        "model": toy_net(),
        "train_loader": toy_loader(),
        "validation_loader": toy_loader(64, seed=1),
        "calibration_images": images,
    }
    exec(example, names)
    network = names["network"]
    kept = sum(int((node.weights != 0).sum()) for node in network.convolutions)  # type: ignore[attr-defined]
    weights = sum(node.weights.size for node in network.convolutions)  # type: ignore[attr-defined]
    assert 0.05 * weights < kept <= round(0.1 * weights)
    assert (tmp_path / "mine.onnx").stat().st_size > 0
    net = api.LoadedNetwork(network, images[:1].transpose(0, 2, 3, 1))  # type: ignore[arg-type]
    result = api.simulate(net, "toy")
    speed_up = result.total.speed_up(SkipMode.BOTH, SkipMode.DENSE)
    assert speed_up is not None
    assert speed_up > 1.1
