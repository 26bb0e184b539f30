"""Phases that are interrupted, resumed, refused; runs that own their folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402

from golden.errors import FormatError, UserError  # noqa: E402
from sw.training.loop.objective import accuracy  # noqa: E402
from sw.training.loop.session import Phase, Session  # noqa: E402
from tests.sw.training.toys import SHAPE, toy_loader, toy_net  # noqa: E402

PHASE = Phase(name="dense", epochs=3, rate=0.05)


class _Killed(Exception):
    pass


def _session(folder: Path, **settings: object) -> Session:
    return Session(toy_loader(), toy_loader(64, seed=1), folder, settings=settings)


def _trained(folder: Path, kill_at: float = 2.0) -> nn.Module:
    model = toy_net(dropout=0.3)
    session = _session(folder)

    def before_step(model: nn.Module, progress: float) -> None:
        if progress >= kill_at:
            raise _Killed

    for name in ("dense", "again"):
        session.train(model, Phase(name=name, epochs=3, rate=0.05), before_step=before_step)
    return model


def _equal(a: nn.Module, b: nn.Module) -> bool:
    states = a.state_dict(), b.state_dict()
    return all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_training_learns(tmp_path: Path) -> None:
    fresh = accuracy(toy_net(), toy_loader(64, seed=1))
    trained = _trained(tmp_path)
    assert accuracy(trained, toy_loader(64, seed=1)) > max(0.9, fresh + 0.2)


def test_a_run_that_was_killed_ends_with_the_weights_of_an_unbroken_one(tmp_path: Path) -> None:
    whole = _trained(tmp_path / "whole")
    with pytest.raises(_Killed):
        _trained(tmp_path / "killed", kill_at=0.5)
    assert (tmp_path / "killed" / "dense.partial.pt").exists()
    assert _equal(_trained(tmp_path / "killed"), whole)


def test_a_run_killed_in_a_later_phase_does_not_train_the_first_again(tmp_path: Path) -> None:
    whole = _trained(tmp_path / "whole")
    (tmp_path / "whole" / "again.pt").unlink()
    before = (tmp_path / "whole" / "dense.pt").stat().st_mtime_ns
    assert _equal(_trained(tmp_path / "whole"), whole)
    assert (tmp_path / "whole" / "dense.pt").stat().st_mtime_ns == before


def test_another_seed_gives_other_weights(tmp_path: Path) -> None:
    models = []
    for seed in (1, 2):
        session = Session(toy_loader(), toy_loader(64), tmp_path / str(seed), seed=seed)
        models.append(toy_net())
        session.train(models[-1], PHASE)
    assert not _equal(*models)


def test_a_folder_of_another_run_is_refused(tmp_path: Path) -> None:
    _session(tmp_path, density=0.3)  # nothing was trained: the folder is nobody's
    _session(tmp_path, density=0.1).train(toy_net(), PHASE)
    _session(tmp_path, density=0.1)
    with pytest.raises(UserError, match=r"run with density 0\.1, not 0\.2"):
        _session(tmp_path, density=0.2)


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_checkpoint(tmp_path: Path) -> None:
    model = toy_net()
    session = _session(tmp_path)

    def spoil(model: nn.Module, progress: float) -> None:
        if progress >= 0.5:
            with torch.no_grad():
                model.fc.weight[0, 0] = float("nan")

    with pytest.raises(UserError, match="must be finite, not nan, in phase dense, epoch 2, step 4"):
        session.train(model, PHASE, before_step=spoil)
    state = torch.load(tmp_path / "dense.partial.pt", weights_only=True)
    assert state["epochs"] == 1
    assert all(bool(torch.isfinite(each).all()) for each in state["model"].values())


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    _session(tmp_path)
    (tmp_path / "dense.pt").write_bytes(b"PK\x03\x04 not at all")
    with pytest.raises(FormatError, match=r"dense\.pt can't be read"):
        _session(tmp_path).train(toy_net(), PHASE)


def test_decisions_are_remembered(tmp_path: Path) -> None:
    calls = []

    def decide() -> list[float]:
        calls.append(1)
        return [float(torch.rand(()))]

    first = _session(tmp_path).remember("choice", decide)
    torch.manual_seed(77)
    assert _session(tmp_path).remember("choice", decide) == first
    assert len(calls) == 1


def test_a_penalty_is_added_to_the_loss(tmp_path: Path) -> None:
    norms = []
    for weight in (0.0, 1.0):
        model = toy_net()
        session = _session(tmp_path / str(weight))
        session.train(model, PHASE, penalty=lambda m, w=weight: w * m.fc.weight.abs().sum())
        norms.append(float(model.fc.weight.detach().abs().sum()))
    assert norms[1] < 0.3 * norms[0]


def test_a_state_dict_is_no_model(tmp_path: Path) -> None:
    session = Session(toy_loader(), [], tmp_path)
    with pytest.raises(UserError, match=r"must be a torch\.nn\.Module, not a dict of weights"):
        session.train(toy_net().state_dict(), Phase(name="dense", epochs=1, rate=0.1))


def test_data_without_a_batch_are_refused(tmp_path: Path) -> None:
    empty = toy_loader(8, batch=32)
    session = Session(empty, empty, tmp_path)
    with pytest.raises(UserError, match="must have a batch at least"):
        session.train(toy_net(), PHASE)
    with pytest.raises(UserError, match="must not be empty"):
        session.accuracy(toy_net())


def _regression() -> list[tuple[Tensor, Tensor]]:
    return [(torch.rand(4, *SHAPE), torch.rand(4, 1))]


@pytest.mark.parametrize(
    ("model", "batches", "words"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 1)), _regression(), "two classes, not .4, 1."),
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), _regression(), "integers of shape .4,., "),
        (toy_net(), [{"images": 1, "labels": 2}], "a pair .*, not a dict of images, labels; "),
        (toy_net(), [(torch.rand(4, *SHAPE),)], "a pair of inputs and labels, not tuple"),
        (toy_net(), [(torch.rand(4, *SHAPE), torch.full((4,), 4))], "from 0 to 3, not 4"),
        (toy_net(), [(torch.rand(4, *SHAPE), torch.full((4,), -1))], "from 0 to 3, not -1"),
        (nn.Flatten(), toy_loader(), "must have parameters to train, not none"),
    ],
)
def test_what_cross_entropy_cannot_learn_is_refused_in_one_line(
    tmp_path: Path, model: nn.Module, batches: Any, words: str
) -> None:
    session = Session(batches, batches, tmp_path)
    with pytest.raises(UserError, match=words) as caught:
        session.train(model, Phase(name="dense", epochs=1, rate=0.1))
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("*.pt"))


def test_a_regression_is_trained_by_a_loss_of_its_own(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 1))
    batches = _regression() * 20
    before = nn.functional.mse_loss(model(batches[0][0]), batches[0][1])
    phase = Phase(name="dense", epochs=1, rate=0.05)
    Session(batches, batches, tmp_path).train(model, phase, loss=nn.functional.mse_loss)
    assert nn.functional.mse_loss(model(batches[0][0]), batches[0][1]) < 0.5 * before


def test_pixels_are_classes_too(tmp_path: Path) -> None:
    torch.manual_seed(0)
    images = torch.rand(8, 1, 4, 4)
    batches = [(images, (images[:, 0] > 0.5).long())] * 60
    model = nn.Sequential(nn.Conv2d(1, 4, 1), nn.ReLU(), nn.Conv2d(4, 2, 1))
    session = Session(batches, batches[:1], tmp_path)
    session.train(model, Phase(name="dense", epochs=1, rate=0.2))
    assert 0.9 < session.accuracy(model) <= 1
