"""From a network's name to its pruned, compressed form: what `accel prune` does."""

from __future__ import annotations

import dataclasses
import io
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from golden.errors import UserError
from golden.files import write_whole
from golden.network import Network
from sw.compress import compress_quantised
from sw.onnx.prepare import prepare
from sw.quantise import quantise as onnx_quantise
from sw.storage import container
from sw.training import masks
from sw.training.cost import Cost, LayerCost, macs
from sw.training.data.batches import Split
from sw.training.loop.distillation import Distillation
from sw.training.loop.objective import CLASSIFICATION
from sw.training.loop.session import Phase, Session, adam, sgd
from sw.training.methods import Method, Task
from sw.training.models import (
    load_model,
    save_model,
    to_network,
    to_onnx,
)
from sw.training.networks import Definition
from sw.training.pruner.result import LayerDensity
from sw.training.unrolled import Unrolled, unroll

__all__ = ["Outcome", "check_data", "prune", "quantise", "start", "train_dense"]


log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """A pruned network.

    Parameters
    ----------
    accuracy : dict of str to float
        Or another objective's score, on the test data: ``dense`` before pruning, ``pruned`` after
        it, ``int8`` of ``network``, under ONNX Runtime unless it is unrolled.
    density : float
        Share of the weights of the pruned network that are not zero.
    weights, macs : int
        Of the pruned network, zeros included; channels that were removed are not.
    layers : tuple of LayerDensity
        Of the pruned network, in order.
    """

    model: nn.Module
    network: Network | Unrolled
    accuracy: dict[str, float]
    density: float
    weights: int
    macs: int
    dense_weights: int
    dense_macs: int
    files: tuple[Path, ...]
    layers: tuple[LayerDensity, ...] = ()
    score_name: str = CLASSIFICATION.score_name


def check_data(definition: Definition, data: Split) -> None:
    """Raise ``UserError`` for images or labels that a network has no inputs or outputs for."""
    found, wanted = data.calibration.shape[1:], definition.input_shape
    if found != wanted:
        raise UserError(
            f"Images must have shape {wanted} (c, y, x) for network {definition.name}, not {found}"
        )
    if data.classes and definition.classes < 2:
        raise UserError(
            f"Network {definition.name} must return classes, axes n, class, to be pruned on a data "
            "set of classes; sw.training.Pruner prunes in a loop of your own"
        )
    if data.classes > definition.classes:
        raise UserError(
            f"Labels must be below {definition.classes} for network {definition.name}, "
            f"not {data.classes - 1}"
        )


def quantise(
    definition: Definition, model: nn.Module, data: Split, name: str, source: str
) -> Network | Unrolled:
    """Return a trained model in int8, calibrated on the data, as it is measured.

    Masks become zeros of the model, in place.
    """
    make = unroll if definition.recurrent else to_network
    return make(model, data.calibration, name, source)


def start(seed: int) -> None:
    """Make PyTorch repeatable: one thread, deterministic algorithms, a seed."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(seed)


def train_dense(definition: Definition, session: Session, epochs: int | None = None) -> nn.Module:
    """Return a network trained from fresh weights by its recipe (phase ``dense``).

    Parameters
    ----------
    epochs : int, optional
        In place of the recipe's.
    """
    torch.manual_seed(session.seed)
    model = definition.make()
    recipe = definition.recipe
    session.train(
        model,
        Phase(
            name="dense",
            epochs=recipe.epochs if epochs is None else epochs,
            rate=recipe.rate,
            weight_decay=recipe.weight_decay,
        ),
    )
    return model


def prune(
    definition: Definition,
    method: Method,
    data: Split,
    folder: Path,
    *,
    seed: int = 1,
    name: str | None = None,
    epochs: int = 3,
    dense: Path | None = None,
    dense_epochs: int | None = None,
    teacher: Path | None = None,
    temperature: float = 4.0,
    mixing: float = 0.9,
    cost: Cost | None = None,
    layer_cost: LayerCost | None = None,
    data_settings: Mapping[str, Any] | None = None,
) -> Outcome:
    """Train a network, prune it by a method, and write it in every form.

    Interrupted, it goes on where it was when it is called again with the same arguments.

    Parameters
    ----------
    folder : Path
        For checkpoints and results: ``NAME.pt``, ``.onnx`` and ``.safetensors``; the first alone
        if the network is recurrent.
    name : str, optional
        Of the pruned network and its files; ``NETWORK-METHOD`` by default.
    epochs : int
        Of retraining after a step of pruning.
    dense : Path, optional
        A trained model to start from (``sw.training.models.save_model``); without it one is
        trained, for ``dense_epochs`` or by its recipe, and left in ``folder/NAME-dense.pt``.
    teacher : Path, optional
        A model to distil from while pruning.
    cost, layer_cost : functions, optional
        Cycles of a model, in all and by layer, for methods that ask for them.
    data_settings : mapping, optional
        How ``data`` were made, as JSON: part of the run's settings.

    Raises
    ------
    UserError
        The data are not of the network's size, a file can't be used, the folder is of another
        run, the method or training refuse.
    """
    check_data(definition, data)
    start(seed)
    wanted = {
        "network": definition.name,
        "method": method.name,
        "options": dataclasses.asdict(method),  # type: ignore[call-overload]
        "epochs": epochs,
        "data": dict(data_settings or {}),
        "dense": str(dense) if dense else dense_epochs,
        "teacher": [str(teacher), temperature, mixing] if teacher else None,
    }
    master = Distillation(_load(teacher), temperature, mixing) if teacher else None
    given = _load(dense, definition.name) if dense else None
    if master is not None:
        master.check(torch.from_numpy(data.calibration[:1]), definition.classes)
    objective = definition.objective() if definition.objective else CLASSIFICATION
    session = Session(
        data.train,
        data.validation,
        folder,
        seed=seed,
        objective=objective,
        optimise=adam if definition.recipe.adam else sgd,
        settings=wanted,
    )
    task = Task(
        session=session,
        recipe=definition.recipe,
        input_shape=definition.input_shape,
        epochs=epochs,
        definition=definition,
        cost=cost,
        layer_cost=layer_cost,
    )
    with torch.random.fork_rng(devices=()):
        method.check(definition.make() if given is None else given, task)
    files: list[Path] = []
    if given is None:
        model = train_dense(definition, session, dense_epochs)
    else:
        model = given
    scores = {"dense": objective.score(model, data.test)}
    dense_macs, dense_weights = macs(model, definition.input_shape), _weights(model)
    if given is None and definition.recipe.epochs:
        files.append(folder / f"{definition.name}-dense.pt")
        _save(definition, model, files[-1], scores["dense"])
    session.teacher = master
    before = masks.density(model)
    model = method.prune(model, task)
    if (after := masks.density(model)) > before + 0.01:
        log.warning("zeros were trained again: density %.3f became %.3f", before, after)
    scores["pruned"] = objective.score(model, data.test)
    name = name or f"{definition.name}-{method.name}"
    source = (
        f"trained on {data.train.count:,} images of {data.name}; pruned by {method.name} "
        f"({method.source}) and retrained"
    )
    files.append(folder / f"{name}.pt")
    _save(definition, model, files[-1], scores["pruned"])
    if definition.recurrent:
        network = unroll(model, data.calibration, name, source)
        scores["int8"] = objective.score(network.model, data.test)
    else:
        files += [folder / f"{name}.{ending}" for ending in ("onnx", "safetensors")]
        proto = to_onnx(model, definition.input_shape, name)
        write_whole(files[-2], proto.SerializeToString(), f"Model {files[-2]}")
        int8 = onnx_quantise(prepare(proto), data.calibration)
        scores["int8"] = objective.score_int8(int8, data.test)
        source += f"; int8 by ONNX Runtime's static quantisation ({len(data.calibration)} images)"
        network = compress_quantised(int8, data.calibration, name, source)
        network = dataclasses.replace(network, accuracy=dict(scores))
        container.save(network, files[-1])
    return Outcome(
        model=model,
        network=network,
        accuracy=scores,
        density=masks.density(model),
        weights=_weights(model),
        macs=macs(model, definition.input_shape),
        dense_weights=dense_weights,
        dense_macs=dense_macs,
        files=tuple(files),
        layers=_layers(model),
        score_name=objective.score_name,
    )


def _save(definition: Definition, model: nn.Module, path: Path, score: float) -> None:
    """Write a network of ours so that ``load_model`` reads it, a user's as its state dict."""
    if not definition.own:
        save_model(model, definition.name, path, {"test": score})
        return
    masks.fix(model)
    stream = io.BytesIO()
    torch.save(model.state_dict(), stream)
    write_whole(path, stream.getvalue(), f"Model {path}")


def _load(path: Path, network: str | None = None) -> nn.Module:
    model, found, _ = load_model(path)
    if network is not None and found != network:
        raise UserError(f"Model {path} must be of network {network}, not {found}")
    return model


def _layers(model: nn.Module) -> tuple[LayerDensity, ...]:
    tensors = {name: masks.weight(layer) for name, layer in masks.layers(model).items()}
    tensors |= {name: each.detach() for name, each in masks.left_dense(model).items()}
    return tuple(
        LayerDensity(name, "", each.numel(), int(torch.count_nonzero(each)))
        for name, each in tensors.items()
    )


def _weights(model: nn.Module) -> int:
    return sum(masks.weight(layer).numel() for layer in masks.layers(model).values())
