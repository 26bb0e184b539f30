"""Strangers' training loops, pruned by a few lines."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from tests.sw.training.pruner import loops  # noqa: E402


@pytest.mark.parametrize(
    ("loop", "written", "density"),
    [
        (loops.plain, (loops.plain,), 0.2),
        (loops.lightning_like, (loops.PruningCallback, loops.lightning_like), 0.3),
        (loops.hugging_face_like, (loops.TrainerCallback, loops.hugging_face_like), 0.3),
    ],
    ids=["plain", "lightning-like", "hugging-face-like"],
)
def test_a_strangers_loop_is_pruned_by_ten_lines(
    loop: Callable[[], tuple[list[float], Any]], written: tuple[Any, ...], density: float
) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    losses, result = loop()
    quarter = len(losses) // 4
    assert sum(losses[-quarter:]) < 0.8 * sum(losses[:quarter])  # it still learns
    assert result.density == pytest.approx(density, abs=0.005)
    kept = sum(int((p != 0).sum()) for p in result.model.parameters() if p.ndim > 1)
    assert kept / sum(p.numel() for p in result.model.parameters() if p.ndim > 1) == result.density
    lines = [line for each in written for line in inspect.getsource(each).splitlines()]
    added = [line for line in lines if "pruner" in line or "callback" in line or "prunin" in line]
    assert len(added) <= 10, added


def test_a_trainers_own_checkpoint_holds_the_pruners_state() -> None:
    torch.manual_seed(0)
    batches, fresh = list(loops.toy_loader()), loops.LightModule().state_dict()

    def train(save_at: int | None, checkpoint: dict[str, Any] | None) -> tuple[Any, Any]:
        module, pruning = loops.LightModule(), loops.PruningCallback()
        module.load_state_dict(fresh)
        trainer = loops.LightTrainer(40, [pruning], save_at)
        trainer.fit(module, batches, checkpoint)
        return module, trainer

    whole, trainer = train(15, None)
    resumed, _ = train(None, trainer.checkpoint)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name])


def test_an_embedding_is_left_alone_by_name_and_attention_is_pruned() -> None:
    torch.manual_seed(0)
    _, result = loops.hugging_face_like(epochs=1)
    assert [each.name for each in result.left_alone] == ["embeddings.weight"]
    pruned = {each.name: each.density for each in result.layers}
    assert set(pruned) == {
        "encoder.self_attn.in_proj_weight",
        "encoder.self_attn.out_proj.weight",
        "encoder.linear1.weight",
        "encoder.linear2.weight",
        "classifier.weight",
    }
    assert max(pruned.values()) < 0.35
