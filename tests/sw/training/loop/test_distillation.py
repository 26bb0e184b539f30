"""The loss of distillation, by hand; teachers that do not fit."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from golden.errors import UserError  # noqa: E402
from sw.training.loop.distillation import Distillation  # noqa: E402
from sw.training.loop.session import Phase, Session  # noqa: E402
from tests.sw.training.toys import CLASSES, SHAPE, toy_loader, toy_net  # noqa: E402


class _Fixed(nn.Module):
    def __init__(self, outputs: list[list[float]]) -> None:
        super().__init__()
        self.outputs = torch.tensor(outputs)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.outputs


def test_the_loss_is_hintons() -> None:
    outputs, wanted = [1.0, 3.0], [2.0, 0.0]
    student = [math.exp(each / 2) for each in outputs]
    master = [math.exp(each / 2) for each in wanted]
    q = [each / sum(student) for each in student]
    p = [each / sum(master) for each in master]
    divergence = sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    expected = 0.25 * 7.0 + 0.75 * 2**2 * divergence
    teacher = Distillation(_Fixed([wanted]), temperature=2.0, mixing=0.75)
    loss = teacher(torch.zeros(1), torch.tensor([outputs]), torch.tensor(7.0))
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_a_student_learns_its_teachers_answers(tmp_path: Path) -> None:
    """The teacher calls every image class 2; with no weight on labels, so does the student."""
    answers = torch.full((32, CLASSES), -4.0)
    answers[:, 2] = 4.0
    teacher = Distillation(_Fixed(answers.tolist()), mixing=1.0)
    session = Session(toy_loader(), toy_loader(64), tmp_path, teacher=teacher)
    student = toy_net()
    session.train(student, Phase(name="taught", epochs=3, rate=0.05))
    assert student.eval()(torch.rand(16, *SHAPE)).argmax(1).tolist() == [2] * 16


def test_a_teacher_is_not_trained(tmp_path: Path) -> None:
    teacher = toy_net(seed=5)
    before = {key: each.clone() for key, each in teacher.state_dict().items()}
    session = Session(toy_loader(), toy_loader(64), tmp_path, teacher=Distillation(teacher))
    session.train(toy_net(), Phase(name="taught", epochs=1, rate=0.05))
    assert all(torch.equal(before[key], each) for key, each in teacher.state_dict().items())


def test_a_teacher_with_other_outputs_is_refused() -> None:
    teacher = Distillation(_Fixed([[0.0] * 7]))
    with pytest.raises(UserError, match="must have the 4 outputs of the network, not 7"):
        teacher(torch.zeros(1), torch.zeros(1, 4), torch.tensor(0.0))


@pytest.mark.parametrize(
    ("numbers", "words"),
    [({"temperature": 0.0}, "above 0, not 0.0"), ({"mixing": 1.5}, "from 0 to 1, not 1.5")],
)
def test_numbers_out_of_range_are_refused(numbers: dict[str, float], words: str) -> None:
    with pytest.raises(UserError, match=words):
        Distillation(nn.Identity(), **numbers)
