"""Fresh weights in place of trained ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.utils import parametrize

from golden.errors import UserError
from sw.training import masks
from sw.training.loop.session import Session

__all__ = ["check_redraw", "fresh", "redraw", "reinitialise"]


@contextmanager
def fresh(session: Session) -> Iterator[None]:
    """Draw weights that follow from a session's seed and are not those of the dense network."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(session.seed)
        torch.manual_seed(int(torch.randint(1 << 31, ())))
        yield


def redraw(model: nn.Module) -> None:
    """Give all parameters fresh values in place, as each module's constructor draws them.

    Masks are dropped. What a model's own constructor draws in another way than its modules'
    ``reset_parameters`` is not repeated.

    Raises
    ------
    UserError
        As ``check_redraw``; no value is changed then.
    """
    owners = _owners(model)
    masks.fix(model)
    for module in owners:
        module.reset_parameters()  # type: ignore[operator]


def reinitialise(model: nn.Module, session: Session) -> None:
    """Do so with values that follow from a session's seed (``fresh``).

    Raises
    ------
    UserError
        As ``check_redraw``; no value is changed then.
    """
    with fresh(session):
        redraw(model)


def check_redraw(model: nn.Module) -> None:
    """Raise ``UserError`` for a module that has parameters and no ``reset_parameters``."""
    _owners(model)


def _owners(model: nn.Module) -> list[nn.Module]:
    """Return the modules that have parameters of their own; masked weights are nobody's."""
    owners = {
        name: module
        for name, module in model.named_modules()
        if not isinstance(module, parametrize.ParametrizationList)
        and (
            parametrize.is_parametrized(module)
            or any(True for _ in module.parameters(recurse=False))
        )
    }
    for name, module in owners.items():
        if not callable(getattr(module, "reset_parameters", None)):
            raise UserError(
                f"Module {name or type(model).__name__} must have reset_parameters to get fresh "
                f"weights; {type(module).__name__} has none"
            )
    return list(owners.values())
