"""The ONNX project's own backend test cases, brought into a form the machine can run.

What is compared. A case is one operator with inputs and outputs. Weights, bounds and shapes
become constants. The batch is run image by image; a tensor of fewer axes than four, of an
operator that works on elements, gets axes of 1 in front. Several activations become channels
of one image, which exact 1 x 1 convolutions take apart again. A float case is prepared as any
model is, then every tensor is given a scale: 1 where all its values in the case are integers
that fit 8 bits, else that of its largest magnitude. Where all scales are 1 the result must
be the case's, exactly. Else it may be as far from it as rounding can move it: half a step of
the input, half a step of the weights, through the operator, and one step of each output.
"""

from __future__ import annotations

import importlib
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from accel.activations.host import run_host
from golden.reference import run_network
from sw.images import image_codes
from sw.onnx.importer import import_codes
from sw.onnx.prepare import prepare

#: Modules of onnx.backend.test.case.node with cases of operators that the importer knows.
MODULES = (
    "add averagepool batch_normalization clip concat conv dequantizelinear dropout flatten gemm "
    "globalaveragepool globalmaxpool identity matmul maxpool pad qlinearconv qlinearmatmul "
    "quantizelinear reducemean relu reshape softmax squeeze sum transpose unsqueeze"
).split()

#: Operators whose every activation has one shape and no meaning of axes.
ELEMENTWISE = ("Add", "Clip", "Concat", "DequantizeLinear", "QuantizeLinear", "Relu", "Sum")
WITH_WEIGHTS = ("Conv", "Gemm", "MatMul")


def load_cases() -> dict[str, Any]:
    """Return the cases of MODULES by name."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # their data divide by zero here and there
        from onnx.backend.test.case import node

        for name in MODULES:
            importlib.import_module(f"onnx.backend.test.case.node.{name}")
    wanted = {name.replace("_", "") for name in MODULES}
    return {
        case.name: case
        for case in node._NodeTestCases
        if case.model.graph.node[0].op_type.lower() in wanted
    }


@dataclass
class Prepared:
    """A case as a quantised model of batch 1."""

    model: ModelProto
    images: list[NDArray[Any]]
    expected: list[NDArray[Any]]
    tolerance: float  # of values; 0 means exact


def _split(array: NDArray, operator: str) -> list[NDArray]:
    """Cut an activation into images of batch 1."""
    if operator in ELEMENTWISE and array.ndim < 4:
        return [array.reshape((1,) * (4 - array.ndim) + array.shape)]
    return [array[index : index + 1] for index in range(len(array))]


def prepare_case(case: Any) -> Prepared:
    """Bring a case into its form; UserError where the project refuses the operator."""
    node = NodeProto()
    node.CopyFrom(case.model.graph.node[0])
    inputs, outputs = ([np.asarray(item) for item in part] for part in case.data_sets[0])
    names = [item.name for item in case.model.graph.input]
    feeds = dict(zip(names, inputs, strict=True))
    activations = node.input if node.op_type in ("Add", "Sum", "Concat") else node.input[:1]
    images = [_split(feeds[name], node.op_type) for name in activations]
    if node.op_type == "Concat":
        axis = next(item for item in node.attribute if item.name == "axis")
        axis.i += 4 - inputs[0].ndim if axis.i >= 0 else 0
    model = _model(case.model, node, feeds, list(activations), images)
    packed = [np.concatenate(parts, axis=1) for parts in zip(*images, strict=True)]
    expected = _split(outputs[0], node.op_type)
    if packed[0].dtype in (np.int8, np.uint8) or node.op_type == "QuantizeLinear":
        return Prepared(model, packed, expected, 0.0)
    quantised, tolerance = _quantise(prepare(model), packed)
    return Prepared(quantised, packed, expected, tolerance)


def _model(
    original: ModelProto,
    node: NodeProto,
    feeds: dict[str, NDArray],
    activations: list[str],
    images: list[list[NDArray]],
) -> ModelProto:
    constants = [
        numpy_helper.from_array(value, name)
        for name, value in feeds.items()
        if name not in activations
    ]
    nodes, first = [], 0
    channels = sum(parts[0].shape[1] for parts in images)
    if len(images) > 1:
        for name, parts in zip(activations, images, strict=True):
            count = parts[0].shape[1]
            weights = np.zeros((count, channels, 1, 1), dtype=np.float32)
            weights[range(count), range(first, first + count)] = 1
            first += count
            constants.append(numpy_helper.from_array(weights, f"{name}_selection"))
            nodes.append(helper.make_node("Conv", ["packed", f"{name}_selection"], [name], name))
    feed = "packed" if len(images) > 1 else activations[0]
    shape = (1, channels, *images[0][0].shape[2:])
    kind = helper.np_dtype_to_tensor_dtype(images[0][0].dtype)
    graph = helper.make_graph(
        [*nodes, node],
        "case",
        [helper.make_tensor_value_info(feed, kind, shape)],
        [helper.make_empty_tensor_value_info(node.output[0])],
        constants,
    )
    model = helper.make_model(graph, opset_imports=original.opset_import)
    model.ir_version = original.ir_version
    return onnx.shape_inference.infer_shapes(model)


def _scale(values: list[NDArray]) -> tuple[float, Any]:
    """Choose scale and dtype for a tensor by all its values."""
    flat = np.concatenate([value.reshape(-1) for value in values]).astype(np.float64)
    whole = bool(np.all(flat == np.rint(flat)))
    if flat.min() >= 0:
        return (1.0 if whole and flat.max() <= 255 else (flat.max() or 1.0) / 255), np.uint8
    largest = np.abs(flat).max()
    return (1.0 if whole and largest <= 127 else largest / 127), np.int8


def _quantise(model: ModelProto, images: list[NDArray]) -> tuple[ModelProto, float]:
    """Put QuantizeLinear and DequantizeLinear after every tensor; return the tolerance too."""
    graph = model.graph
    constants = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    feed = graph.input[0].name
    made = [feed, *(name for node in graph.node for name in node.output if name)]
    watched = ModelProto()
    watched.CopyFrom(model)
    del watched.graph.output[:]
    watched.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in made[1:])
    run = ReferenceEvaluator(watched)
    values: dict[str, list[NDArray]] = {name: [] for name in made}
    for image in images:
        for name, value in zip(made, [image, *run.run(None, {feed: image})], strict=True):
            values[name].append(np.asarray(value))
    scales = {name: _scale(values[name]) for name in made}
    error = {feed: 0.0 if scales[feed][0] == 1 else scales[feed][0] / 2}
    nodes: list[NodeProto] = _pair(graph, feed, scales[feed])
    for node in graph.node:
        incoming = [error[name] for name in node.input if name in error]
        reach = sum(incoming) if node.op_type in ("Add", "Sum") else max(incoming)
        if node.op_type in WITH_WEIGHTS:
            weights = constants[node.input[1]]
            step, _ = _scale([-np.abs(weights)])
            codes = np.rint(weights / step).astype(np.int8)
            graph.initializer.append(numpy_helper.from_array(codes, f"{node.input[1]}_codes"))
            _constant(graph, f"{node.input[1]}_step", np.float32(step))
            nodes.append(helper.make_node("DequantizeLinear",
                         [f"{node.input[1]}_codes", f"{node.input[1]}_step"],
                         [f"{node.input[1]}_real"]))  # fmt: skip
            source = max(float(np.abs(value).max()) for value in values[node.input[0]])
            filters = _filters(node, np.abs(weights))
            reach = reach * float(filters.sum(axis=1).max())
            moved = step / 2 * filters.shape[1] * (source + error[node.input[0]])
            reach += 0.0 if step == 1 else moved
        new = NodeProto()
        new.CopyFrom(node)
        new.input[:] = [f"{name}_real" if name in scales else name for name in node.input]
        if node.op_type in WITH_WEIGHTS:
            new.input[1] = f"{node.input[1]}_real"
        nodes.append(new)
        nodes += _pair(graph, node.output[0], scales[node.output[0]])
        scale = scales[node.output[0]][0]
        error[node.output[0]] = reach + (0.0 if scale == 1 and reach == 0 else scale)
    output = graph.output[0].name
    graph.output[0].name = f"{output}_real"
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.value_info[:]
    return model, error[output]


def _filters(node: NodeProto, weights: NDArray) -> NDArray:
    """Return a layer's weights, axes output, what it sums over."""
    transposed = any(item.name == "transB" and item.i for item in node.attribute)
    first = node.op_type == "Conv" or transposed
    return weights.reshape(len(weights), -1) if first else np.atleast_2d(weights.T)


def _pair(graph: Any, name: str, how: tuple[float, Any]) -> list[NodeProto]:
    _constant(graph, f"{name}_scale", np.float32(how[0]))
    _constant(graph, f"{name}_zero", how[1](0))
    parameters = [f"{name}_scale", f"{name}_zero"]
    return [
        helper.make_node("QuantizeLinear", [name, *parameters], [f"{name}_codes"]),
        helper.make_node("DequantizeLinear", [f"{name}_codes", *parameters], [f"{name}_real"]),
    ]


def _constant(graph: Any, name: str, value: Any) -> None:
    graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))


def run_case(case: Prepared) -> tuple[float, float]:
    """Run a case by the golden operators.

    Returns
    -------
    float and float
        Largest distance from the expected output, in values, or in codes where the output
        is integer; and what is allowed.
    """
    network, known = import_codes(case.model)
    out = network.tensor(network.output)
    worst = 0.0
    for image, expected in zip(case.images, case.expected, strict=True):
        if network.input.name in known and image.dtype.kind != "f":
            codes = known[network.input.name].to_network(image)
        elif image.dtype.kind in "fiu":
            codes = image_codes(image, network.input)[0]
        result = run_network(network, codes, run_host)[network.output]
        if out.is_codes:
            result = result.reshape(-1)[known[network.output].view.elements]
        placed = result.reshape(expected.shape)
        if not out.is_codes:
            values = placed.astype(np.float64)
        elif expected.dtype.kind == "f":
            values = (placed.astype(np.float64) - out.zero_point) * out.scale
        else:
            values = placed.astype(np.int64) - known[network.output].offset
        worst = max(worst, float(np.abs(values - expected.astype(np.float64)).max()))
    return worst, case.tolerance
