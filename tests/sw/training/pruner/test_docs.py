"""The examples of ``docs/pruning.md`` and ``docs/pruning/pruner.md``, run as they stand there."""

from __future__ import annotations

import re
import types
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from sw.training import Pruner, QuantisedTraining, check  # noqa: E402
from sw.training.pruner.scores import SCORES  # noqa: E402
from tests.sw.training.pruner import loops  # noqa: E402
from tests.sw.training.toys import toy_images, toy_loader, toy_net  # noqa: E402

DOCS = Path(__file__).parents[4] / "docs"


def blocks(page: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)


def test_the_plain_loop_ends_in_a_network_and_its_cycles(capsys: pytest.CaptureFixture) -> None:
    torch.set_num_threads(1)
    model = toy_net()
    names: dict[str, Any] = {
        "model": model,
        "example": toy_images(4)[0],
        "loader": toy_loader(),
        "epochs": 4,
        "optimiser": torch.optim.SGD(model.parameters(), 0.05, momentum=0.9),
        "my_loss": nn.functional.cross_entropy,
        "calibration_images": toy_images(32)[0].numpy(),
    }
    exec(blocks("pruning.md")[0], names)
    result = names["result"]
    assert result.density == 100 / 998
    kept = sum(int((node.weights != 0).sum()) for node in result.network.convolutions)
    assert 80 < kept <= 100
    dense = Pruner(toy_net(), names["example"], density=1.0, schedule="one-shot").finish(
        names["calibration_images"], names["cycles"]
    )
    assert 0 < result.cycles < dense.cycles
    out = capsys.readouterr().out
    assert "convertible: yes" in out
    assert out.rstrip().endswith("density of all weights: 0.1002")


def test_the_callbacks_prune_in_loops_of_the_trainers_shape() -> None:
    ready, _, lightning, hugging_face = blocks("pruning/pruner.md")
    exec(ready, {"check": check, "model": toy_net(), "example": toy_images(4)[0]})
    names: dict[str, Any] = {"Pruner": Pruner, "Callback": object, "TrainerCallback": object}
    exec(lightning, names | {"example": torch.rand(2, 8, 8)}, light := {})
    pruning = light["Pruning"]()
    pruning.on_fit_end = types.MethodType(lambda *_: None, pruning)
    trainer = loops.LightTrainer(20, [pruning], save_at=10)
    trainer.fit(loops.LightModule(), list(toy_loader()))
    assert pruning.pruner.density == pytest.approx(0.1, abs=0.002)
    assert trainer.checkpoint["pruner"]["steps"] == 10
    tokens = {"input_ids": torch.zeros(2, 6, dtype=torch.int64)}
    exec(hugging_face, names | {"tokens": tokens}, hugging := {})
    callback, model = hugging["Pruning"](), loops.Classifier()
    callback.on_train_begin(None, loops.State(4), None, model=model)
    for _ in range(4):
        model(**loops.tokens(1)[0] | {"input_ids": torch.randint(9, (2, 6)),
                                      "labels": torch.tensor([0, 1])}).loss.backward()  # fmt: skip
        callback.on_step_end(None, None, None)
    assert callback.pruner.density == pytest.approx(0.3, abs=0.01)


def test_quantised_training_ends_in_a_qdq_model() -> None:
    _, quantised, *_ = blocks("pruning/pruner.md")
    model, images = toy_net(), toy_images(4)[0]
    pruner = Pruner(model, images, density=0.5, schedule="one-shot")
    pruner.step()
    names: dict[str, Any] = {"model": model, "images": images, "pruner": pruner}
    exec(quantised, names | {"QuantisedTraining": QuantisedTraining}, found := {})
    operators = {node.op_type for node in found["result"].qdq.graph.node}
    assert {"QuantizeLinear", "DequantizeLinear", "Conv"} <= operators


def test_the_page_has_every_score() -> None:
    page = (DOCS / "pruning" / "pruner.md").read_text()
    for name, score in SCORES.items():
        assert re.search(rf"^\| `{name}` .*\| {score.spread} \| {score.source} \|$", page, re.M)
