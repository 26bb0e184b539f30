"""Models that tools write and few readers expect: each runs, or is refused in one line."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from accel.activations.functional import run_nodes
from golden.errors import UserError
from golden.network import HostNode
from sw.compress import compress
from sw.images import check_images, images_by_input, network_codes
from sw.onnx.check import check_model
from sw.onnx.file import load_model, model_inputs
from sw.onnx.floats import to_floats
from sw.onnx.runtime import load_session, run_session
from tests.sw.graphs import Graph
from tests.sw.test_any_network import SIZE, agree, drawn_images, hosted, pair, stem


def loaded(model, tmp_path):
    onnx.save(model, tmp_path / "model.onnx")
    return load_model(tmp_path / "model.onnx")


def value(name: str, kind: int = TensorProto.FLOAT, shape=None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


# -- what tools leave out -----------------------------------------------------------------------


def test_types_and_shapes_that_are_not_stated(tmp_path):
    graph, x = stem()
    model = graph.model(graph.conv(x, 8, 4))
    model.graph.output[0].type.tensor_type.ClearField("shape")
    model.graph.value_info.add(name="no type")
    agree(model, tmp_path)
    model.graph.output[0].ClearField("type")
    agree(model, tmp_path)


def test_nodes_in_any_order(tmp_path):
    graph, x = stem()
    model = graph.model(graph.conv(x, 8, 4))
    nodes = list(model.graph.node)[::-1]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    assert len(agree(model, tmp_path).convolutions) == 2


def test_nodes_in_a_circle_are_refused(tmp_path):
    nodes = [helper.make_node("Add", ["x", "b"], ["a"]), helper.make_node("Relu", ["a"], ["b"])]
    graph = helper.make_graph(nodes, "g", [value("x", shape=[1, 3, 8, 8])], [value("b")])
    with pytest.raises(UserError, match="topologically sorted"):
        loaded(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), tmp_path)


def test_inputs_that_nothing_reads_and_outputs_that_nothing_makes(tmp_path):
    graph, x = stem()
    model = graph.model(graph.conv(x, 8, 4))
    model.graph.input.append(value("words", TensorProto.STRING, [1]))
    model.graph.output.append(value("image", shape=[1, 3, SIZE, SIZE]))
    model.graph.output.append(value("c0", shape=[8, 3, 3, 3]))
    network = agree(model, tmp_path)
    assert [item.name for item in model_inputs(loaded(model, tmp_path))] == ["image"]
    assert len(network.outputs) == 1
    del model.graph.output[:]
    with pytest.raises(UserError, match="must have an output"):
        loaded(model, tmp_path)


@pytest.mark.parametrize(
    ("kind", "shape", "words"),
    [
        (TensorProto.STRING, [1, 3], "input image must be of real numbers, not string"),
        (TensorProto.COMPLEX64, [1, 3], "must be of real numbers, not complex64"),
        (TensorProto.FLOAT, [6], r"must have an axis of images and one more, not shape \(6\)"),
    ],
)
def test_inputs_of_other_kinds_are_called_by_name(kind, shape, words, tmp_path):
    nodes = [helper.make_node("Identity", ["image"], ["y"])]
    graph = helper.make_graph(nodes, "g", [value("image", kind, shape)], [value("y", kind, shape)])
    with pytest.raises(UserError, match=words):
        loaded(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), tmp_path)


# -- tensors that no network holds --------------------------------------------------------------


def test_token_ids_are_an_input(tmp_path):
    graph = Graph((1, 7), 2)
    table = graph.constant(graph.rng.normal(0, 1, (50, 16)).astype(np.float32))
    weights = graph.constant(graph.rng.normal(0, 0.2, (16, 8)).astype(np.float32))
    x = graph.op("Relu", graph.op("MatMul", graph.op("Gather", table, "image"), weights))
    model = loaded(graph.model(x, TensorProto.INT64), tmp_path)
    ids = np.arange(14).reshape(2, 7)
    network = compress(model, ids)
    codes = network_codes(ids, network)
    assert hosted(network) == ["Gather"]
    assert len(list(run_nodes(network, codes[1]))) == len(network.nodes)
    import accel

    run = accel.simulate(accel.LoadedNetwork(network, codes), "small", modes=["both"])
    assert run.total.cycles > 0
    with pytest.raises(UserError, match=r"Images must have shape"):
        accel.simulate(accel.LoadedNetwork(network, codes[..., :5]), "small", modes=["both"])


def sequence(graph, x):
    parts = graph.op("SplitToSequence", x, graph.constant(np.int64(4)), axis=1)
    first = graph.op("SequenceAt", parts, graph.constant(np.int64(0)))
    return graph.op("Concat", first, graph.op("ConcatFromSequence", parts, axis=1), axis=1), 12


def optional(graph, x):
    return graph.op("OptionalGetElement", graph.op("Optional", x)), 8


def nothing_beside(graph, x):
    """A slice of no element, and a constant of none, joined with something."""
    ends = [graph.constant(np.array([number])) for number in (3, 3, 1)]
    none = graph.constant(np.zeros((1, 0, SIZE, SIZE), np.float32))
    return graph.op("Concat", x, graph.op("Slice", x, *ends), none, axis=1), 8


@pytest.mark.parametrize("build", [sequence, optional, nothing_beside])
def test_values_that_are_no_tensor_of_a_network(build, tmp_path):
    graph, x = stem()
    x, channels = build(graph, x)
    network = agree(graph.model(graph.conv(x, channels, 4)), tmp_path)
    assert len(network.convolutions) == 2
    assert network.machine_share == 1


def test_results_in_strings_are_left_out(tmp_path):
    graph, x = stem()
    best = graph.op("ArgMax", graph.op("GlobalAveragePool", x), axis=1, keepdims=0)
    names = helper.make_tensor("names", TensorProto.STRING, [8], [b"a"] * 7 + [b"\x1b[31mred"])
    graph.constants.append(names)
    model = graph.model(graph.op("Gather", "names", best))
    network = agree(model, tmp_path)
    assert list(network.outputs) == [best]
    assert "left out" in network.source


def boxes(graph, x):
    """A detector's end: how many boxes it finds is for the image to say."""
    corners = graph.op(
        "Reshape", graph.conv(x, 8, 4, (1, 1)), graph.constant(np.array([1, SIZE * SIZE, 4]))
    )
    scores = graph.op("Sigmoid", graph.conv(x, 8, 2, (1, 1)))
    scores = graph.op("Reshape", scores, graph.constant(np.array([1, 2, SIZE * SIZE])))
    limits = [graph.constant(np.float32([number])) for number in (0.5, 0.1)]
    found = graph.op("NonMaxSuppression", corners, scores, graph.constant(np.array([9])), *limits)
    count = graph.op("Gather", graph.op("Shape", found), graph.constant(np.array([0])))
    return graph.op("Mul", found, count)


def chosen_rows(graph, x):
    rows = graph.op("Reshape", x, graph.constant(np.array([SIZE * SIZE, 8])))
    sums = graph.op("ReduceSum", rows, graph.constant(np.array([1])), keepdims=0)
    some = graph.op("Less", sums, graph.constant(np.float32(3)))
    return graph.gemm(graph.op("Compress", rows, some, axis=0), 8, 4)


def distinct(graph, x):
    """Of an image of zeros it is one value."""
    return graph.op("Unique", graph.op("Round", graph.conv(x, 8, 4)))


@pytest.mark.parametrize("build", [boxes, chosen_rows, distinct])
def test_sizes_that_the_image_decides(build, tmp_path):
    graph, x = stem()
    model = graph.model(build(graph, x))
    network = agree(model, tmp_path)
    assert 0 in network.tensor(network.output).shape
    image = network_codes(drawn_images(loaded(model, tmp_path)), network)[0]
    *_, (node, _, result) = run_nodes(network, image)
    assert isinstance(node, HostNode)
    assert result.size > 0


# -- constants ----------------------------------------------------------------------------------


def test_masks_hold_infinite_values(tmp_path):
    graph = Graph((1, 6, 16), 3)
    weights = [graph.constant(graph.rng.normal(0, 0.2, (16, 16)).astype(np.float32)) for _ in "ab"]
    q, k = (graph.op("MatMul", "image", each) for each in weights)
    mask = graph.constant(np.triu(np.full((6, 6), -np.inf, np.float32), 1))
    scores = graph.op("MatMul", q, graph.op("Transpose", k, perm=[0, 2, 1]))
    x = graph.op("MatMul", graph.op("Softmax", graph.op("Add", scores, mask)), "image")
    network = agree(graph.model(x), tmp_path)
    assert len(network.convolutions) == 2


@pytest.mark.parametrize(("kind", "zero"), [(TensorProto.INT4, 0), (TensorProto.UINT4, 8)])
def test_weights_of_4_bits_run_on_the_machine(kind, zero, tmp_path):
    graph = Graph((1, 4, 6, 6), 4, opset=21)
    codes = graph.rng.integers(-8 + zero, 8 + zero, 8 * 4 * 9)
    graph.constants.append(helper.make_tensor("codes", kind, [8, 4, 3, 3], codes.tolist()))
    graph.constants.append(helper.make_tensor("zeros", kind, [8], [zero] * 8))
    scales = graph.constant(np.full(8, 0.0625, np.float32))
    x = pair(graph, "image", 0.03125, np.uint8(128))
    x = graph.op("Conv", x, graph.op("DequantizeLinear", "codes", scales, "zeros", axis=0))
    network = agree(graph.model(pair(graph, x, 0.125, np.uint8(128))), tmp_path, unequal=0)
    assert not network.host_nodes
    found = network.convolutions[0].weights.transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(found, codes.reshape(8, 4, 3, 3) - zero)


@pytest.mark.parametrize("is_flat", [True, False])
def test_sparse_weights(is_flat, tmp_path):
    wanted = np.zeros((8, 3, 3, 3), np.float32)
    places = np.array([[0, 0, 0, 1], [3, 2, 1, 0], [7, 2, 2, 2]])
    wanted[tuple(places.T)] = [0.5, -0.25, 1]
    values = numpy_helper.from_array(np.float32([0.5, -0.25, 1]), "w")
    where = np.ravel_multi_index(tuple(places.T), wanted.shape) if is_flat else places
    graph = Graph((1, 3, SIZE, SIZE), 1)
    graph.op("Conv", "image", "w", name="y")
    model = graph.model("y")
    indices = numpy_helper.from_array(where.astype(np.int64), "places")
    sparse = helper.make_sparse_tensor(values, indices, wanted.shape)
    model.graph.sparse_initializer.append(sparse)
    network = agree(model, tmp_path)
    layer = network.convolutions[0]
    found = layer.weights.transpose(0, 3, 1, 2) * layer.weight_scales.reshape(-1, 1, 1, 1)
    np.testing.assert_allclose(found, wanted, rtol=1e-6)
    sparse.dims[0] = 1 << 40
    del model.graph.sparse_initializer[:]
    model.graph.sparse_initializer.append(sparse)
    with pytest.raises(UserError, match=r"sparse weight w must have 1 to 268,435,456|rules"):
        loaded(model, tmp_path)


def test_values_that_are_infinite_are_told_as_such(tmp_path):
    graph, x = stem()
    x = graph.conv(graph.op("Log", x), 8, 4)
    with pytest.raises(UserError, match="it makes values that are infinite, or no numbers"):
        check_model(loaded(graph.model(x), tmp_path))


def test_a_node_that_fails_is_named_in_our_words(tmp_path):
    graph = Graph((1, 3, SIZE, SIZE), 1)
    weights = graph.constant(np.ones((4, 3, 3, 3), np.float32))
    graph.op("Conv", "image", weights, graph.constant(np.ones(5, np.float32)), name="bad")
    with pytest.raises(UserError, match=r"Conv node bad: bias must be a 1D tensor") as caught:
        check_model(loaded(graph.model("bad"), tmp_path))
    assert "status" not in str(caught.value)


def test_constants_among_outputs_are_left_out(tmp_path):
    graph, x = stem()
    kept = graph.conv(x, 8, 4)
    graph.op("Constant", value=numpy_helper.from_array(np.ones(3, np.float32)), name="fixed")
    model = graph.model(kept)
    model.graph.output.append(value("fixed", shape=[3]))
    assert len(agree(model, tmp_path).outputs) == 1


def test_weights_of_no_element_are_refused(tmp_path):
    graph = Graph((1, 3, SIZE, SIZE), 1)
    graph.op("Conv", "image", graph.constant(np.zeros((0, 3, 3, 3), np.float32)), name="y")
    with pytest.raises(UserError, match="weight c0 must have elements"):
        loaded(graph.model("y"), tmp_path)


def test_arrays_of_the_other_byte_order():
    found = check_images(np.arange(4, dtype=">f4").reshape(1, 4), None)
    assert found.dtype == np.float32
    assert found.tolist() == [[0, 1, 2, 3]]
    assert check_images(np.arange(4, dtype=">i4").reshape(1, 4), None).tolist() == [[0, 1, 2, 3]]


# -- codes that the machine has not -------------------------------------------------------------


def wide(graph):
    x = pair(graph, "image", 0.0002, np.uint16(32768))
    codes = graph.constant(graph.rng.integers(-127, 128, (4, 4, 3, 3)).astype(np.int8))
    x = graph.op("Conv", x, graph.op("DequantizeLinear", codes, graph.constant(np.float32(0.01))))
    return pair(graph, x, 0.001, np.uint16(32768))


def by_channel(graph):
    how = [
        graph.constant(np.float32([0.02, 0.03, 0.04, 0.05])),
        graph.constant(np.full(4, 128, np.uint8)),
    ]
    x = graph.op("QuantizeLinear", "image", *how, axis=1)
    return graph.conv(graph.op("DequantizeLinear", x, *how, axis=1), 4, 4)


def small_floats(graph):
    values = graph.rng.normal(0, 0.3, 4 * 4 * 9).tolist()
    graph.constants.append(helper.make_tensor("w", TensorProto.FLOAT8E4M3FN, [4, 4, 3, 3], values))
    x = pair(graph, "image", 0.02, np.uint8(128))
    weights = graph.op("DequantizeLinear", "w", graph.constant(np.float32(0.5)))
    return graph.op("Conv", x, weights)


def as_it_runs(graph):
    graph.nodes.append(
        helper.make_node("DynamicQuantizeLinear", ["image"], ["codes", "scale", "zero"])
    )
    weights = graph.constant(graph.rng.integers(0, 256, (4, 4, 3, 3)).astype(np.uint8))
    total = graph.op("ConvInteger", "codes", weights, "zero", graph.constant(np.uint8(120)))
    scale = graph.op("Mul", "scale", graph.constant(np.float32(0.01)))
    return graph.op("Mul", graph.op("Cast", total, to=TensorProto.FLOAT), scale)


@pytest.mark.parametrize("build", [wide, by_channel, small_floats, as_it_runs])
def test_other_codes_are_made_anew(build, tmp_path):
    graph = Graph((1, 4, 6, 6), 4, opset=21)
    model = graph.model(build(graph))
    model.ir_version = 10
    model = loaded(model, tmp_path)
    images = drawn_images(model).clip(-2.5, 2.5)
    # Without its rounding of activations it computes nearly the same.
    floats = to_floats(model)
    assert floats is not None
    assert not any("Linear" in node.op_type for node in floats.graph.node)
    name = model.graph.output[0].name
    before, after = (
        run_session(load_session(each), [name], {"image": images[:1]})[0]
        for each in (model, floats)
    )
    assert np.abs(before - after).max() < 0.05 * np.abs(before).max()
    network = compress(model, images)
    assert len(network.convolutions) == 1
    assert "its own codes have no form on the machine and were made anew" in network.source
    assert check_model(model).machine_share == 1


def test_codes_that_an_operator_reads_as_they_are_stay(tmp_path):
    graph = Graph((1, 4, 6, 6), 4)
    how = [graph.constant(np.float32(0.02)), graph.constant(np.uint8(128))]
    x = graph.op("QuantizeLinear", "image", *how)
    assert to_floats(graph.model(graph.op("DequantizeLinear", graph.op("Neg", x), *how))) is None


def test_more_arrays_than_inputs_and_truth_values():
    item = value("a", TensorProto.BOOL, [1, 2])
    given = {"a": np.array([[True, False]]), "b": np.ones((1, 9))}
    found = images_by_input(given, [item])
    assert list(found) == ["a"]
    assert found["a"].dtype == bool
    assert found["a"].tolist() == [[True, False]]


@pytest.mark.parametrize("axis", [1, 4, -5])
@pytest.mark.parametrize("operator", ["QuantizeLinear", "DequantizeLinear"])
def test_scales_that_do_not_fit_their_axis_are_refused(operator, axis, tmp_path):
    """Four scales for eight filters of three channels, or along an axis that is not there."""
    codes = np.ones((8, 3, 3, 3), np.int8 if operator == "DequantizeLinear" else np.float32)
    constants = {"c": codes, "s": np.ones(4, np.float32), "z": np.zeros(4, np.int8)}
    nodes = [helper.make_node(operator, ["c", "s", "z"], ["w"], axis=axis)]
    if operator == "QuantizeLinear":
        constants["one"] = np.float32(1)
        nodes.append(helper.make_node("DequantizeLinear", ["w", "one"], ["w1"]))
    weights = nodes[-1].output[0]
    nodes.append(helper.make_node("Conv", ["x", weights], ["y"]))
    tensors = [numpy_helper.from_array(np.asarray(item), name) for name, item in constants.items()]
    graph = helper.make_graph(
        nodes, "g", [value("x", shape=[1, 3, 8, 8])], [value("y")], initializer=tensors
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    with pytest.raises(UserError) as refusal:
        check_model(loaded(model, tmp_path), "model")
    assert "scale" in str(refusal.value) or "axis" in str(refusal.value)
    assert len(str(refusal.value).splitlines()) == 1


@pytest.mark.parametrize("number", [29, 99, -1])
@pytest.mark.parametrize("what", ["weight", "input"])
def test_elements_of_a_type_that_is_none_are_refused(what, number, tmp_path):
    graph, x = stem()
    model = graph.model(graph.conv(x, 8, 4))
    if what == "weight":
        model.graph.initializer[0].data_type = number
    else:
        model.graph.input[0].type.tensor_type.elem_type = number
    with pytest.raises(UserError) as refusal:
        check_model(loaded(model, tmp_path), "model")
    assert len(str(refusal.value).splitlines()) == 1


@pytest.mark.parametrize("kind", [np.float32, np.int8, np.int64])
def test_weights_of_more_bytes_than_elements_are_refused(kind, tmp_path):
    graph, x = stem()
    model = graph.model(graph.conv(x, 8, 4))
    weights = numpy_helper.from_array(np.ones((2, 3), kind), "w")
    weights.dims[0] = 1
    model.graph.initializer.append(weights)
    with pytest.raises(UserError, match=r"weight w can't be read|breaks ONNX's rules"):
        loaded(model, tmp_path)
