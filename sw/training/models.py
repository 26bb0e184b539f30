"""Trained models on disk, as ONNX and as compressed networks."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from golden.errors import FormatError, UserError
from golden.files import read_bytes, write_whole
from golden.foreign import foreign
from golden.network import Network
from sw.onnx.file import model_input
from sw.training.data.batches import ImageBatches
from sw.training.masks import fix
from sw.training.networks import find

__all__ = ["load_model", "onnx_accuracy", "reshape", "save_model", "to_network", "to_onnx"]

FORMAT = 1
OPSET = 17


def save_model(model: nn.Module, network: str, path: Path, accuracy: dict[str, float]) -> None:
    """Write a trained network's weights; masks become zeros of the model, in place.

    Modules that a method replaced by ``nn.Identity`` are written as dropped.

    Parameters
    ----------
    network : str
        Name of its definition (``sw.training.networks``).
    accuracy : dict of str to float
        By what it was measured with, for example ``test``.
    """
    fix(model)
    dropped = [name for name, module in model.named_modules() if isinstance(module, nn.Identity)]
    state = {"format": FORMAT, "network": network, "accuracy": accuracy, "dropped": dropped}
    stream = io.BytesIO()
    torch.save({**state, "state": model.state_dict()}, stream)
    write_whole(path, stream.getvalue(), f"Model {path}")


def load_model(path: Path) -> tuple[nn.Module, str, dict[str, float]]:
    """Return a network that ``save_model`` wrote, its definition's name and its accuracies.

    Raises
    ------
    UserError
        There is no such file.
    FormatError
        It was not written by ``save_model``, or its weights are not its network's.
    """
    if not path.is_file():
        raise UserError(f"Model {path} must be a file")
    data = read_bytes(path, f"Model {path}")
    with foreign(f"Model {path} must be one that `accel prune` wrote"):
        state = torch.load(io.BytesIO(data), weights_only=True)
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        plain = isinstance(state, dict) and any(isinstance(v, Tensor) for v in state.values())
        found = "a plain state dict, which names no network" if plain else "another"
        raise FormatError(f"Model {path} must be one that `accel prune` wrote, not {found}")
    for field, kind in (("network", str), ("accuracy", dict), ("state", dict)):
        if not isinstance(state.get(field), kind):
            raise FormatError(f"Model {path} must have the field {field}, as `accel prune` writes")
    for name, value in state["accuracy"].items():
        if not isinstance(name, str) or not isinstance(value, float) or not 0 <= value <= 1:
            raise FormatError(f"Model {path} must have accuracies from 0 to 1, not {value!r}")
    model = find(state["network"]).make()
    with foreign(f"Model {path} does not fit {state['network']}"):
        for name in state.get("dropped", ()):
            model.set_submodule(name, nn.Identity(), strict=True)
        ranks = {name: weight.dim() for name, weight in model.state_dict().items()}
        for name, weight in state["state"].items():
            if name in ranks and weight.dim() != ranks[name]:
                raise FormatError(
                    f"Model {path} does not fit {state['network']}: {name} must have {ranks[name]} "
                    f"axes, not {weight.dim()}"
                )
        reshape(model, state["state"])
        model.load_state_dict(state["state"])
    return model.eval(), state["network"], state["accuracy"]


def reshape(model: nn.Module, state: dict[str, Tensor]) -> None:
    """Give layers the numbers of channels that weights have, in place; values are not copied.

    For weights of a network from which channels were removed.
    """
    for name, module in model.named_modules():
        weight = state.get(f"{name}.weight")
        if weight is None:
            continue
        if isinstance(module, nn.Conv2d):
            module.out_channels, inputs = weight.shape[:2]
            if module.groups > 1 and inputs == 1:  # depthwise
                module.groups = module.out_channels
            module.in_channels = inputs * module.groups
        elif isinstance(module, nn.Linear):
            module.out_features, module.in_features = weight.shape
        elif isinstance(module, nn.BatchNorm2d):
            module.num_features = len(weight)
        for key, tensor in module.named_parameters(recurse=False):
            if (wanted := state.get(f"{name}.{key}")) is not None and tensor.shape != wanted.shape:
                setattr(module, key, nn.Parameter(torch.empty_like(wanted)))
        for key, tensor in module.named_buffers(recurse=False):
            if (wanted := state.get(f"{name}.{key}")) is not None and tensor.shape != wanted.shape:
                setattr(module, key, torch.empty_like(wanted))


def to_onnx(model: nn.Module, input_shape: tuple[int, ...], name: str) -> onnx.ModelProto:
    """Return a model as ONNX, batch 1, its layers named as in PyTorch; masks become zeros.

    Parameters
    ----------
    input_shape : tuple of int, axes c, y, x (or c)
    name : str
        Of the graph.

    Raises
    ------
    UserError
        A module can't be traced; the message names it.
    """
    fix(model)
    model.eval()
    example = torch.zeros((1, *input_shape))
    try:
        proto = _export(model, example)
    # Tracing runs the user's code, which may raise anything.
    except Exception as error:
        where = _untraceable(model, example) or type(model).__name__
        reason = str(error).strip().splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"Module {where} can't be exported as ONNX: {reason}") from None
    for node in proto.graph.node:
        node.name = _module_name(node.name, node.op_type)
    proto.graph.name = name
    onnx.checker.check_model(proto)
    return proto


def to_network(
    model: nn.Module,
    calibration: NDArray[np.float32],
    name: str,
    source: str = "a PyTorch module",
) -> Network:
    """Return a trained model as the compressed int8 network that golden model and simulator run.

    Parameters
    ----------
    calibration : ndarray of float32, axes n, c, y, x (or n, c)
        Inputs that give the ranges of activations.

    Raises
    ------
    UserError
        As ``to_onnx`` and ``sw.compress.compress``.
    """
    from sw.compress import compress

    proto = to_onnx(model, calibration.shape[1:], name)
    return compress(proto, calibration, name=name, source=source)


def onnx_accuracy(model: onnx.ModelProto, batches: ImageBatches) -> float:
    """Return the accuracy of an ONNX model, an int8 one for example, under ONNX Runtime."""
    options = onnxruntime.SessionOptions()
    # Without it processors that lack VNNI saturate pairs of products at 16 bits.
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    feed = model_input(model).name
    hits = 0
    for images, labels in batches:
        for image, label in zip(images.numpy(), labels.tolist(), strict=True):
            hits += np.asarray(session.run(None, {feed: image[None]})[0]).argmax() == label
    return float(hits / batches.count)


def _export(model: nn.Module, *inputs: Tensor) -> onnx.ModelProto:
    file = io.BytesIO()
    with warnings.catch_warnings():
        # The exporter that takes a module's names is deprecated; PyTorch's version is pinned.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            inputs,
            file,  # type: ignore[arg-type]  # a stream is taken too
            dynamo=False,
            opset_version=OPSET,
            input_names=["images"],
            training=torch.onnx.TrainingMode.EVAL,
        )
    return onnx.load_from_string(file.getvalue())


def _module_name(node: str, operator: str) -> str:
    """Return ``block1.conv1`` for the exporter's ``/block1/conv1/Conv``.

    It writes a child of a ``Sequential`` with its parent: ``/features/features.0/Conv``.
    """
    parts = [part for part in node.split("/") if part]
    if len(parts) > 1 and parts[-1] == operator and operator in ("Conv", "Gemm", "MatMul"):
        parts.pop()
    names: list[str] = []
    for part in parts:
        if names and part.startswith(f"{names[-1]}."):
            names.pop()
        names.append(part)
    return ".".join(names)


def _untraceable(model: nn.Module, example: Tensor) -> str | None:
    """Return the name of the first module without children that can't be exported alone."""
    seen: list[tuple[str, nn.Module, tuple[Any, ...]]] = []
    handles = [
        module.register_forward_pre_hook(
            lambda module, inputs, name=name: seen.append((name, module, inputs))
        )
        for name, module in model.named_modules()
        if name and not list(module.children())
    ]
    try:
        with torch.no_grad():
            model(example)
    except Exception:
        # The last module entered, if any, is where it went wrong.
        return seen[-1][0] if seen else None
    finally:
        for handle in handles:
            handle.remove()
    for name, module, inputs in seen:
        try:
            _export(module, *inputs)
        except Exception:
            return name
    return None
