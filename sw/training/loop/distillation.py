"""Knowledge distillation: learn from a trained network's outputs (Hinton et al., 2015)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from golden.errors import UserError

__all__ = ["Distillation"]


@dataclass(frozen=True, eq=False)
class Distillation:
    """A teacher and how much it counts.

    The loss is ``(1 - mixing) hard + mixing T^2 KL(teacher || student)``, both softened by the
    temperature T; its square keeps the gradients' size whatever T is (arXiv:1503.02531,
    section 2.1).

    Parameters
    ----------
    teacher : nn.Module
        Never trained; put into eval here.
    temperature : float
        Above 0.
    mixing : float
        0 is no distillation, 1 leaves the labels out.

    Raises
    ------
    UserError
        A number is out of its range.
    """

    teacher: nn.Module
    temperature: float = 4.0
    mixing: float = 0.9

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise UserError(f"Temperature must be above 0, not {self.temperature}")
        if not 0 <= self.mixing <= 1:
            raise UserError(f"Mixing must be from 0 to 1, not {self.mixing}")
        self.teacher.eval()

    def check(self, inputs: Tensor, outputs: int) -> None:
        """Raise ``UserError`` where the teacher gives another number of outputs.

        Parameters
        ----------
        inputs : Tensor
            A batch.
        """
        with torch.no_grad():
            found = self.teacher.to(inputs.device)(inputs).shape[-1]
        if found != outputs:
            raise _wrong_number(outputs, found)

    def __call__(self, inputs: Tensor, outputs: Tensor, hard: Tensor) -> Tensor:
        """Return the mixed loss.

        Parameters
        ----------
        inputs : Tensor
            A batch, for the teacher.
        outputs : Tensor, axes n, class
            Of the student.
        hard : Tensor
            Loss against the labels.

        Raises
        ------
        UserError
            The teacher's outputs differ in number.
        """
        with torch.no_grad():
            wanted = self.teacher.to(inputs.device)(inputs)
        if wanted.shape != outputs.shape:
            raise _wrong_number(outputs.shape[-1], wanted.shape[-1])
        soft = nn.functional.kl_div(
            nn.functional.log_softmax(outputs / self.temperature, 1),
            nn.functional.log_softmax(wanted / self.temperature, 1),
            reduction="batchmean",
            log_target=True,
        )
        return (1 - self.mixing) * hard + self.mixing * self.temperature**2 * soft


def _wrong_number(wanted: int, found: int) -> UserError:
    return UserError(f"Teacher must have the {wanted} outputs of the network, not {found}")
