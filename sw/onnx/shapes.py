"""Shapes of a model's inputs, fixed; and the size of what it would compute, before it runs."""

from __future__ import annotations

import math

import onnx
from onnx import GraphProto, ModelProto, TensorProto, ValueInfoProto, helper, numpy_helper

from golden.errors import UserError
from golden.foreign import foreign

__all__ = ["check_sizes", "fix_shapes", "infer_shapes", "model_inputs", "tensor_shapes"]

#: Elements of the largest activation that is run (1 GiB of float32), and of all together.
TENSOR_ELEMENTS_MAX = 1 << 28
ALL_ELEMENTS_MAX = 1 << 32
_NO_NUMBERS = (TensorProto.STRING, TensorProto.COMPLEX64, TensorProto.COMPLEX128)
#: Elements of a constant that may say the shape of something.
_SHAPE_ELEMENTS_MAX = 1024


def model_inputs(model: ModelProto) -> list[ValueInfoProto]:
    """Return the inputs that are not weights."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return [item for item in model.graph.input if item.name not in weights]


def fix_shapes(model: ModelProto, input_shape: tuple[int, ...] | None = None) -> None:
    """Set the batch to 1, and other open sizes as given, in place.

    A model with a batch of N is one of batches of 1: reshapes that name the N are told so.

    Raises
    ------
    UserError
        A size is open and not given, or contradicts the model.
    """
    inputs = model_inputs(model)
    if not inputs:
        raise UserError("Model must have an input")
    batches = set()
    is_changed = False
    for index, item in enumerate(inputs):
        given = input_shape if index == 0 else None
        batch, changed = _fix(item, given)
        batches.add(batch)
        is_changed |= changed
    if is_changed:
        # Shapes inferred for the open or larger size no longer hold.
        del model.graph.value_info[:]
        for output in model.graph.output:
            output.type.tensor_type.ClearField("shape")
    for batch in batches - {1}:
        _rebatch(model, batch)


def _fix(item: ValueInfoProto, given: tuple[int, ...] | None) -> tuple[int, bool]:
    """Fix one input's shape; return the batch that it had, and whether anything changed."""
    if not item.type.HasField("tensor_type") or not item.type.tensor_type.HasField("shape"):
        raise UserError(f"Model input {item.name} must be a tensor with a stated rank")
    dims = item.type.tensor_type.shape.dim
    if item.type.tensor_type.elem_type in _NO_NUMBERS:
        kind = TensorProto.DataType.Name(item.type.tensor_type.elem_type).lower()
        raise UserError(f"Model input {item.name} must be of real numbers, not {kind}")
    if len(dims) < 2:
        sizes = ", ".join(str(dim.dim_value or dim.dim_param or "?") for dim in dims)
        raise UserError(
            f"Model input {item.name} must have an axis of images and one more, not shape ({sizes})"
        )
    if given is not None and len(given) != len(dims):
        raise UserError(
            f"Input shape must have {len(dims)} sizes as {item.name} has, not {given!r}"
        )
    letters = {2: "nc", 3: "ncx", 4: "ncyx", 5: "nczyx"}.get(len(dims), "")
    batch, is_changed = 1, False
    for axis, dim in enumerate(dims):
        called = letters[axis] if letters else str(axis)
        asked = given[axis] if given is not None else None
        stated = dim.dim_value if dim.HasField("dim_value") else None
        if stated is not None and stated < 1:
            stated = None  # some exporters write 0 or -1 for an open size
        size = stated if stated is not None else asked
        is_batch = axis == 0 and len(dims) > 1
        if size is None and is_batch:
            size = 1
        if size is None:
            name = f" ({dim.dim_param})" if dim.dim_param else ""
            raise UserError(
                f"Model input {item.name}: axis {called}{name} must have a size, "
                f"but the model leaves it open: give an input shape"
            )
        if (asked is not None and asked not in (size, 1 if is_batch else size)) or size < 1:
            raise UserError(
                f"Input shape must agree with input {item.name}, which has {size} on axis "
                f"{called}, not {asked!r}"
            )
        if is_batch:
            batch, size = size, 1
        is_changed |= stated != size
        dim.Clear()
        dim.dim_value = size
    return batch, is_changed


def _rebatch(model: ModelProto, batch: int) -> None:
    """Let reshapes to a batch of N make one of 1."""
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute[0].HasField("t"):
            constants[node.output[0]] = node.attribute[0].t
    shapes = {node.input[1] for node in model.graph.node if node.op_type == "Reshape"}
    for name in shapes & set(constants):
        shape = numpy_helper.to_array(constants[name]).copy()
        if shape.size and shape[0] == batch:
            shape[0] = 1
            constants[name].CopyFrom(numpy_helper.from_array(shape, constants[name].name))


def infer_shapes(model: ModelProto) -> None:
    """Add the shapes of activations that can be inferred, in place; ONNX needs no run for it.

    Raises
    ------
    FormatError
        Shapes contradict one another.
    """
    inferred = _inferred(model)
    for field in ("value_info", "output"):
        del getattr(model.graph, field)[:]
        getattr(model.graph, field).extend(getattr(inferred, field))


def tensor_shapes(model: ModelProto) -> dict[str, tuple[int, ...]]:
    """Infer the shapes of activations by name, those that can be."""
    inferred = _inferred(model, data_prop=True)
    found = {}
    for item in [*inferred.value_info, *inferred.output, *inferred.input]:
        kind = item.type.tensor_type
        if kind.HasField("shape") and all(dim.HasField("dim_value") for dim in kind.shape.dim):
            found[item.name] = tuple(dim.dim_value for dim in kind.shape.dim)
    return found


def _inferred(model: ModelProto, *, data_prop: bool = False) -> GraphProto:
    """Return the graph with shapes, and without large weights.

    ONNX's inference writes and reads the whole model. Weights, which may be most of it, are
    inputs meanwhile: only small constants can be the shape of something.
    """
    light = ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    light.functions.extend(model.functions)
    graph, large = model.graph, set[str]()
    light.graph.name = graph.name
    for field in ("node", "input", "output", "value_info", "sparse_initializer"):
        getattr(light.graph, field).extend(getattr(graph, field))
    listed = {item.name for item in graph.input}
    for tensor in graph.initializer:
        if math.prod(tensor.dims) <= _SHAPE_ELEMENTS_MAX:
            light.graph.initializer.append(tensor)
        elif tensor.name not in listed:
            light.graph.input.append(
                helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            )
            large.add(tensor.name)
    with foreign("Model's shapes can't be inferred"):
        inferred = onnx.shape_inference.infer_shapes(light, data_prop=data_prop).graph
    kept = [item for item in inferred.input if item.name not in large]
    del inferred.input[:]
    inferred.input.extend(kept)
    return inferred


def check_sizes(model: ModelProto, where: str = "model") -> None:
    """Refuse a model whose activations would not fit memory, before anything runs.

    Raises
    ------
    UserError
        Names the tensor.
    """
    total = 0
    for name, shape in tensor_shapes(model).items():
        elements = math.prod(shape)
        total += elements
        if elements > TENSOR_ELEMENTS_MAX or total > ALL_ELEMENTS_MAX:
            raise UserError(
                f"Model {where}: tensor {name} must have {TENSOR_ELEMENTS_MAX:,} elements at "
                f"most, and all together {ALL_ELEMENTS_MAX:,}, not {max(elements, total):,}"
            )
