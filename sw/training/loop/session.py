"""Training in phases that can be interrupted: a finished phase is never trained again.

A pruning method is ordinary code that calls ``Session.train`` one or more times. Run again in
the same folder, it repeats its decisions, and each phase that had finished is loaded instead of
trained; the one that was interrupted goes on after its last whole epoch. Nothing is random but
by ``seed``, the phase's name and the epoch, so the weights are those of an unbroken run.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from golden.errors import FormatError, UserError
from golden.files import write_whole
from sw.training.loop.distillation import Distillation
from sw.training.loop.objective import CLASSIFICATION, Batches, Loss, Objective, pair
from sw.training.loop.progress import Progress
from sw.training.loop.unit_strides import UnitStrides
from sw.training.pruner.weights import check_module

__all__ = ["Optimise", "Phase", "Session", "adam", "sgd"]

log = logging.getLogger(__name__)

SETTINGS = "settings.json"

#: Makes an optimiser of parameters, or groups of them, for a phase.
Optimise = Callable[[Any, "Phase"], torch.optim.Optimizer]
Json = TypeVar("Json")


@dataclass(frozen=True, kw_only=True)
class Phase:
    """Some epochs of stochastic gradient descent with Nesterov momentum.

    Parameters
    ----------
    name : str
        Of its checkpoint; no other phase of a run may have it.
    epochs : int
        0 leaves the model as it is.
    rate : float
        Learning rate of the first step; it falls along half a cosine to 0.
    """

    name: str
    epochs: int
    rate: float
    momentum: float = 0.9
    weight_decay: float = 5e-4


def sgd(parameters: Any, phase: Phase) -> torch.optim.Optimizer:
    """Return stochastic gradient descent with the phase's momentum, Nesterov's."""
    optimiser = torch.optim.SGD(
        parameters,
        phase.rate,
        phase.momentum,
        weight_decay=phase.weight_decay,
        nesterov=phase.momentum > 0,
        fused=True,  # one pass over the weights: a tenth of the time for AlexNet's
    )
    if phase.momentum:
        # Fused, it can't take parameters of which some have had no gradient yet.
        for group in optimiser.param_groups:
            for each in group["params"]:
                optimiser.state[each]["momentum_buffer"] = torch.zeros_like(each)
    return optimiser


def adam(parameters: Any, phase: Phase) -> torch.optim.Optimizer:
    """Return Adam (Kingma and Ba, ICLR 2015), its decay apart (Loshchilov and Hutter, 2019)."""
    return torch.optim.AdamW(parameters, phase.rate, weight_decay=phase.weight_decay, fused=True)


class Session:
    """Data, seed, teacher and checkpoints of one run of a method.

    Parameters
    ----------
    train, validation : iterables of (inputs, labels)
        Iterated once an epoch, a ``DataLoader`` for example. Whatever is chosen by a score is
        chosen by the validation data.
    folder : Path
        Of checkpoints; made if missing.
    seed : int
        All that is random follows from it.
    teacher : Distillation, optional
        A trained network to learn from, in every phase.
    objective : Objective
        What is trained for and measured; classification by default.
    optimise : function
        Makes the optimiser of a phase.
    device : torch.device, optional
        To train on; a GPU where there is one. Models are on the CPU before and after.
    settings : mapping, optional
        What else the weights depend on, as JSON. A folder is of one run: other settings in it
        are refused.

    Raises
    ------
    UserError
        The folder is of another run, or can't be made.
    """

    def __init__(
        self,
        train: Batches,
        validation: Batches,
        folder: Path,
        *,
        seed: int = 1,
        teacher: Distillation | None = None,
        objective: Objective = CLASSIFICATION,
        optimise: Optimise = sgd,
        device: torch.device | None = None,
        settings: dict[str, Any] | None = None,
    ) -> None:
        self.train_batches = train
        self.validation_batches = validation
        self.folder = folder
        self.seed = seed
        self.teacher = teacher
        self.objective = objective
        self.optimise = optimise
        self.device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._phases: set[str] = set()
        self._settings = json.loads(json.dumps({"seed": seed, **(settings or {})}))
        self._check_settings()

    # -- training -------------------------------------------------------------------------------

    @UnitStrides()
    def train(
        self,
        model: nn.Module,
        phase: Phase,
        *,
        loss: Loss | None = None,
        penalty: Callable[[nn.Module], Tensor] | None = None,
        before_step: Callable[[nn.Module, float], None] | None = None,
        parameters: Iterable[nn.Parameter] | Iterable[dict[str, Any]] | None = None,
        also: torch.optim.Optimizer | None = None,
        batches: Batches | None = None,
    ) -> None:
        """Train a model in place, or load what this phase left when it was trained before.

        Parameters
        ----------
        loss : function, optional
            Of outputs and labels, in place of the objective's; with a teacher, the hard part of
            its loss.
        penalty : function, optional
            Of the model, added to the loss at each step.
        before_step : function, optional
            Called with the model and the share of the phase that is done, before each step;
            what it changes must follow from its arguments and the model's state.
        parameters : iterable of Parameter, optional
            Those to train; all of the model's by default. Or PyTorch's parameter groups.
        also : Optimizer, optional
            Stepped too, on parameters of its own; its state is kept in the checkpoints.
        batches : iterable of (inputs, labels), optional
            In place of the session's.

        Raises
        ------
        UserError
            The model is no module or has no parameters, batches are no pairs, or by cross-entropy
            outputs are no classes or labels not among them. The loss is not finite; checkpoints of
            earlier epochs and phases are kept. Or the name was used already, or the training data
            have no batch.
        """
        check_module(model)
        if phase.name in self._phases:
            raise ValueError(f"phase {phase.name!r} twice in one run")
        self._phases.add(phase.name)
        finished, partial = self._path(phase.name), self._path(f"{phase.name}.partial")
        if finished.exists():
            model.load_state_dict(_load(finished)["model"])
            return
        self._claim()
        batches = self.train_batches if batches is None else batches
        steps = _length(batches)
        model.to(self.device)
        chosen: Any = list(model.parameters() if parameters is None else parameters)
        if not chosen:
            raise UserError(f"Model {type(model).__name__} must have parameters to train, not none")
        optimiser = self.optimise(chosen, phase)
        total = max(1, phase.epochs * steps)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, total)
        first = 0
        if partial.exists():
            state = _load(partial)
            model.load_state_dict(state["model"])
            optimiser.load_state_dict(state["optimiser"])
            schedule.load_state_dict(state["schedule"])
            if also is not None:
                also.load_state_dict(state["also"])
            first = state["epochs"]
        progress = Progress(phase.name, first * steps, total)
        for epoch in range(first, phase.epochs):
            begin, sum_of_losses = time.process_time(), 0.0
            torch.manual_seed(_seed(self.seed, phase.name, epoch))
            model.train()
            for step, (inputs, labels) in enumerate(map(pair, batches)):
                if before_step is not None:
                    before_step(model, (epoch * steps + step) / total)
                inputs, labels = inputs.to(self.device), labels.to(self.device)
                outputs = model(inputs)
                value = (loss or self.objective.loss)(outputs, labels)
                if self.teacher is not None:
                    value = self.teacher(inputs, outputs, value)
                if penalty is not None:
                    value = value + penalty(model)
                if not bool(torch.isfinite(value)):
                    raise UserError(
                        f"Loss must be finite, not {float(value.detach())}, in phase {phase.name}, "
                        f"epoch {epoch + 1}, step {step + 1}; checkpoints before it are kept in "
                        f"{self.folder}"
                    )
                optimiser.zero_grad()
                if also is not None:
                    also.zero_grad()
                value.backward()
                optimiser.step()
                if also is not None:
                    also.step()
                schedule.step()
                sum_of_losses += float(value.detach())
                progress.say(epoch * steps + step + 1, sum_of_losses / (step + 1))
            log.info(
                "%s: epoch %d of %d, loss %.4f, %.0f s of CPU%s",
                phase.name,
                epoch + 1,
                phase.epochs,
                sum_of_losses / steps,
                time.process_time() - begin,
                "" if loss else self._glance(model, batches),
            )
            if epoch + 1 < phase.epochs:
                state = {
                    "model": model.state_dict(),
                    "optimiser": optimiser.state_dict(),
                    "schedule": schedule.state_dict(),
                    "also": also and also.state_dict(),
                    "epochs": epoch + 1,
                }
                _save(state, partial)
        model.cpu()
        _save({"model": model.state_dict()}, finished)
        partial.unlink(missing_ok=True)

    def _glance(self, model: nn.Module, batches: Batches) -> str:
        """Say how the model does on the first batch of the validation data."""
        if batches is not self.train_batches or not log.isEnabledFor(logging.INFO):
            return ""
        first = list(islice(self.validation_batches, 1))
        return f", {self.objective.score(model, first):.4f} on validation data" if first else ""

    def remember(self, name: str, make: Callable[[], Json]) -> Json:
        """Return what ``make`` returned when it was called for this name, if need be now.

        For decisions that take long, a search for example. What they return must survive JSON.
        """
        path = self.folder / f"{name}.json"
        if path.exists():
            return _read_json(path)
        torch.manual_seed(_seed(self.seed, name, 0))
        value = make()
        self._claim()
        _write(path, json.dumps(value, indent=1).encode())
        return value

    def accuracy(self, model: nn.Module) -> float:
        """Return the objective's score on the validation data."""
        return self.objective.score(model, self.validation_batches)

    # -- files ----------------------------------------------------------------------------------

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.pt"

    def _check_settings(self) -> None:
        """Make the folder, and see that it is of no other run."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"Folder {self.folder} can't be made: {error.strerror}") from None
        path = self.folder / SETTINGS
        found, wanted = _read_json(path) if path.exists() else self._settings, self._settings
        for key in sorted(set(wanted) | set(found)):
            if wanted.get(key) != found.get(key):
                raise UserError(
                    f"Folder {self.folder} is of a run with {key} {found.get(key)!r}, not "
                    f"{wanted.get(key)!r}: go on with that, or give another folder"
                )

    def _claim(self) -> None:
        """Take the folder, now that there is something to go on with."""
        path = self.folder / SETTINGS
        if not path.exists():
            _write(path, json.dumps(self._settings, indent=1).encode())


def _length(batches: Batches) -> int:
    try:
        steps = len(batches)  # type: ignore[arg-type]
    except TypeError:
        raise UserError("Training data must know their number of batches (len)") from None
    if not steps:
        raise UserError("Training data must have a batch at least, not none")
    return steps


def _seed(seed: int, name: str, epoch: int) -> int:
    digest = hashlib.sha256(f"{seed}/{name}/{epoch}".encode()).digest()
    return int.from_bytes(digest[:7])


def _write(path: Path, data: bytes) -> None:
    write_whole(path, data, f"File {path}")


def _save(state: dict[str, Any], path: Path) -> None:
    stream = io.BytesIO()
    torch.save(state, stream)
    write_whole(path, stream.getvalue(), f"Checkpoint {path}")


def _load(path: Path) -> dict[str, Any]:
    try:
        return torch.load(path, weights_only=True)
    # What a damaged file raises depends on where it is damaged.
    except Exception as error:
        reason = str(error).strip().splitlines()[0]
        raise FormatError(f"Checkpoint {path} can't be read: {reason}; remove it") from None


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise FormatError(f"File {path} must be JSON: {error}; remove it") from None
