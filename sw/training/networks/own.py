"""A user's own network, named as ``my.py:Net``."""

from __future__ import annotations

import importlib.util
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from golden.errors import FormatError, UserError
from golden.foreign import foreign
from sw.training.networks.definition import Definition, Recipe

__all__ = ["is_own", "load_own", "load_weights"]

#: Keys under which checkpoints of other programs keep a model's state.
STATE_KEYS = ("state_dict", "model_state_dict", "model", "state")


def is_own(network: str) -> bool:
    """Tell whether a name is a file's, of the form ``FILE.py:NAME``."""
    return ".py:" in network or network.endswith(".py")


def load_own(
    network: str,
    input_shape: tuple[int, ...],
    *,
    weights: Path | None = None,
    recipe: Recipe | None = None,
) -> Definition:
    """Return a definition of a module in a file, which is run.

    Parameters
    ----------
    network : str
        ``FILE.py:NAME``, the name of a module's class or of a function that returns a module,
        called without arguments; or of a module.
    input_shape : tuple of int, axes c, y, x (or c)
    weights : Path, optional
        Of a state dict, or of a checkpoint that has one.
    recipe : Recipe, optional

    Raises
    ------
    UserError
        There is no such file or name, the code fails, or it makes no module.
    FormatError
        The weights can't be read, or are not the module's.
    """
    make = _find(network)
    model = make()
    if weights is not None:
        state = load_weights(weights)
        try:
            model.load_state_dict(state)
        except RuntimeError as error:
            lines = [line.strip() for line in str(error).splitlines()]
            reason = lines[1] if len(lines) > 1 else lines[0]
            raise FormatError(f"Weights {weights} must be those of {network}: {reason}") from None

        def trained() -> nn.Module:
            made = make()
            made.load_state_dict(state)
            return made

    return Definition(
        name=network.rpartition(":")[2],
        summary=f"{network}, the user's",
        make=make if weights is None else trained,
        recipe=recipe or Recipe(epochs=0 if weights else 8, rate=0.05, retrain_rate=0.01),
        input_shape=input_shape,  # type: ignore[arg-type]
        classes=_classes(model, input_shape),
        own=True,
    )


def load_weights(path: Path) -> dict[str, Tensor]:
    """Return the state dict in a file; no code in it is run.

    Raises
    ------
    UserError
        There is no such file.
    FormatError
        It has no state dict, or is a pickle of objects.
    """
    if not path.is_file():
        raise UserError(f"Weights {path} must be a file")
    with foreign(f"Weights {path} must be a file that torch.save wrote"):
        try:
            state: Any = torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            if "Unsupported" not in str(error) and "weights_only" not in str(error):
                raise
            raise FormatError(
                f"Weights {path} must hold tensors alone, not pickled objects: reading those may "
                "run any code; save model.state_dict()"
            ) from None
    for key in STATE_KEYS:
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
            break
    if not isinstance(state, dict) or not any(isinstance(each, Tensor) for each in state.values()):
        raise FormatError(f"Weights {path} must hold a state dict, not {type(state).__name__}")
    return {name: each for name, each in state.items() if isinstance(each, Tensor)}


def _find(network: str) -> Callable[[], nn.Module]:
    """Run the file, and return what makes the module."""
    file, _, name = network.rpartition(":")
    path = Path(file)
    if not file or not name:
        raise UserError(f"Network of a file must be named FILE.py:NAME, not {network!r}")
    if not path.is_file():
        raise UserError(f"Network {network} must be in a file; there is no {path}")
    specification = importlib.util.spec_from_file_location(path.stem, path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules.setdefault(path.stem, module)
    sys.path.insert(0, str(path.resolve().parent))  # it may import what lies beside it
    try:
        specification.loader.exec_module(module)
    # The user's code may raise anything.
    except (Exception, SystemExit) as error:
        raise UserError(f"File {path} can't be run: {_reason(error)}") from None
    finally:
        sys.path.pop(0)
    found = getattr(module, name, None)
    if found is None:
        raise UserError(f"File {path} must define {name}, which it does not")
    if not callable(found):
        raise UserError(
            f"Network {network} must be a module, its class or a function that returns one, not "
            f"{type(found).__name__}"
        )

    def make() -> nn.Module:
        import copy

        try:
            made = copy.deepcopy(found) if isinstance(found, nn.Module) else found()
        # The user's code may raise anything.
        except Exception as error:
            raise UserError(f"Network {network} can't be made: {_reason(error)}") from None
        if not isinstance(made, nn.Module):
            raise UserError(f"Network {network} must be a module, not {type(made).__name__}")
        return made

    return make


def _classes(model: nn.Module, input_shape: tuple[int, ...]) -> int:
    """Return the outputs of a model, axis 1; 0 where they are no classes."""
    from sw.training.pruner.example import run

    outputs = run(model, torch.zeros((1, *input_shape)))
    is_classes = isinstance(outputs, Tensor) and outputs.ndim == 2
    return int(outputs.shape[1]) if is_classes else 0


def _reason(error: BaseException) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__
