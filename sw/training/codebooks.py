"""Trained quantisation: codebooks of a trained network, fine-tuned (Deep Compression, section 3).

A value's gradient is the sum of its weights' (``sw.coding.shared_weights``). Where these are
independent it grows as the square root of their number, by which a layer's learning rate is
divided here, so that one rate suits layers of any size.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from golden.errors import UserError
from golden.network import Network
from sw.coding.codebook import CodebookOptions, share_values
from sw.coding.shared_weights import (
    coded_weights,
    decode_weights,
    share_weights,
    shared_values,
)
from sw.coding.sources import layer_codes
from sw.coding.stages import LayerCodes
from sw.compress import compress_quantised
from sw.onnx.prepare import prepare
from sw.quantise import quantise
from sw.training import masks
from sw.training.data.batches import Split
from sw.training.loop.objective import CLASSIFICATION
from sw.training.loop.session import Phase, Session
from sw.training.models import load_model, to_onnx
from sw.training.networks import find
from sw.training.pipeline import start

__all__ = [
    "RATE",
    "Trained",
    "coded_layers",
    "compress",
    "fine_tune",
    "fingerprint",
    "fold",
    "share",
    "train_codebooks",
]

#: Learning rate, of biases and of a value that one weight has.
RATE = 0.01


@dataclass(frozen=True, kw_only=True, eq=False)
class Trained:
    """A network whose codebooks were fine-tuned.

    Parameters
    ----------
    layers : list of LayerCodes
    short : list of str
        Layers that have fewer different weights than a codebook has places.
    accuracy : dict of str to float
        On the test data: ``as trained``, with a ``codebook``, ``fine-tuned``, and ``int8`` of
        what the codebooks decode to.
    network : Network
        That int8 network.
    """

    layers: list[LayerCodes]
    short: list[str]
    accuracy: dict[str, float]
    network: Network


def fold(model: nn.Module) -> nn.Module:
    """Return a copy, in eval, with batch norms in the convolutions before them.

    Masks become zeros of the model, in place. Folding scales each filter, so that it must come
    before the codebooks.

    Raises
    ------
    UserError
        The model has batch norms and torch.fx can't trace it.
    """
    # Before the copy, which would share the masked layers' classes.
    masks.fix(model)
    folded = copy.deepcopy(model).eval()
    if not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules()):
        return folded
    try:
        traced = fx.symbolic_trace(folded)
    # Tracing runs the user's code, which may raise anything.
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"Batch norms of the model can't be folded: {reason}") from None
    modules = dict(traced.named_modules())
    for node in list(traced.graph.nodes):
        norm = modules.get(str(node.target))
        before = node.all_input_nodes[0] if node.op == "call_module" else None
        if not isinstance(norm, nn.BatchNorm2d) or before is None or len(before.users) > 1:
            continue
        layer = modules.get(str(before.target))
        if isinstance(layer, nn.Conv2d):
            traced.set_submodule(str(before.target), fuse_conv_bn_eval(layer, norm))
            node.replace_all_uses_with(before)
            traced.graph.erase_node(node)
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced


def share(model: nn.Module, options: CodebookOptions) -> list[str]:
    """Give every layer of a folded model a codebook, in place.

    Returns
    -------
    list of str
        Layers that have fewer different weights than a codebook has places.

    Raises
    ------
    UserError
        As ``share_values`` and ``share_weights``.
    """
    found = {
        name: share_values(
            masks.weight(layer).numpy(),
            options.bits(isinstance(layer, nn.Linear)),
            options.start,
            options.region_filters,
            options.seed,
        )
        for name, layer in masks.layers(model).items()
    }
    share_weights(model, found)
    return [name for name, coded in found.items() if coded.short]


def fine_tune(
    model: nn.Module, session: Session, epochs: int, rate: float = RATE, name: str = "codebooks"
) -> None:
    """Train codebooks and biases, in place; zeros and codes stay. ``name`` is the phase's."""
    rest = {id(each): each for each in model.parameters()}
    groups = []
    for layer in masks.layers(model).values():
        values = shared_values(layer)
        if values is not None:
            rest.pop(id(values))
            sharing = int(masks.weight(layer).count_nonzero()) / max(1, values.numel())
            groups.append({"params": [values], "lr": rate / math.sqrt(max(1.0, sharing))})
    groups.append({"params": list(rest.values())})
    phase = Phase(name=name, epochs=epochs, rate=rate, weight_decay=0.0)
    session.train(model, phase, parameters=groups)


def train_codebooks(
    model: nn.Module,
    options: CodebookOptions,
    data: Split,
    session: Session,
    *,
    epochs: int,
    rate: float = RATE,
    name: str,
    source: str,
) -> Trained:
    """Give a trained network codebooks, fine-tune them, and quantise what they decode to.

    Parameters
    ----------
    name : str
        Of the network and of the phase.
    source : str
        Where the model is from.
    """
    folded = fold(model)
    objective = session.objective
    scores = {"as trained": objective.score(folded, data.test)}
    short = share(folded, options)
    scores["codebook"] = objective.score(folded, data.test)
    fine_tune(folded, session, epochs, rate, name)
    scores["fine-tuned"] = objective.score(folded, data.test)
    layers = coded_layers(folded)
    decode_weights(folded)
    float_model = to_onnx(folded, tuple(data.calibration.shape[1:]), name)
    int8 = quantise(prepare(float_model), data.calibration)
    scores["int8"] = objective.score_int8(int8, data.test)
    source = f"{source}; {options.describe()}, fine-tuned on {data.train.count} images"
    network = compress_quantised(int8, data.calibration, name, source)
    network = dataclasses.replace(network, accuracy=dict(scores))
    return Trained(layers=layers, short=short, accuracy=scores, network=network)


def compress(
    path: Path,
    options: CodebookOptions,
    data: Split,
    folder: Path,
    *,
    epochs: int,
    rate: float = RATE,
    seed: int = 1,
    settings: dict[str, Any] | None = None,
) -> Trained:
    """Do the same with a model on disk (``sw.training.models.save_model``).

    Parameters
    ----------
    folder : Path
        Of checkpoints.
    settings : mapping, optional
        What else the weights depend on: the data.

    Raises
    ------
    UserError
        The model can't be read, the folder is of another run, or training fails.
    """
    start(seed)
    model, network, _ = load_model(path)
    stated = {
        "model": fingerprint(model),
        "codebook": dataclasses.asdict(options),
        "epochs": epochs,
        "rate": rate,
        **(settings or {}),
    }
    made = find(network).objective
    session = Session(
        data.train,
        data.validation,
        folder,
        seed=seed,
        objective=made() if made else CLASSIFICATION,
        settings=stated,
    )
    source = f"{network} of {path.name}"
    return train_codebooks(
        model, options, data, session, epochs=epochs, rate=rate, name=path.stem, source=source
    )


def fingerprint(model: nn.Module) -> str:
    """Return a digest of a model's weights, for the settings of what is trained from them."""
    digest = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def coded_layers(model: nn.Module) -> list[LayerCodes]:
    """Return a model's layers with codebooks as they are now, as they would be stored."""
    kinds = masks.layers(model)
    return [
        layer_codes(name, coded, isinstance(kinds[name], nn.Linear))
        for name, coded in coded_weights(model).items()
    ]
