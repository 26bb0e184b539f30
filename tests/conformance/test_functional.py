"""The simulator's fast activations against the reference operators: equal in every code."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accel.activations import functional
from golden import reference
from golden.arithmetic import Requantisation
from golden.layer import LayerShape
from golden.network import (
    Addition,
    Concatenation,
    Constant,
    Network,
    Node,
    Padding,
    Pooling,
    PoolingKind,
    Product,
    Rearrangement,
    Rescaling,
    Table,
    TensorInfo,
)
from tests.case import CATALOGUE, Case, cases
from tests.golden.test_reference import small_network

_DRAWN = settings(deadline=None, database=None, derandomize=True)


def check(case: Case) -> None:
    expected = reference.convolve(case.weights, case.activations, case.layer, case.requantisation)
    found = functional.convolve(case.layer, case.weights, case.activations, case.requantisation)
    assert found.dtype == expected.dtype
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("case", CATALOGUE, ids=lambda case: case.name)
def test_catalogue(case):
    check(case)


@settings(_DRAWN, max_examples=100)
@given(cases())
def test_any_convolution(case):
    check(case)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(("channels", "kernel"), [(516, 1), (530, 1), (4000, 1), (250, 3)])
def test_sums_that_float32_does_not_hold(channels, kernel, signed):
    """Sums around and beyond 2**24, told apart to the last bit."""
    rng = np.random.default_rng(channels)
    layer = LayerShape(
        name="large", in_channels=channels, in_height=4, in_width=3, out_channels=6,
        kernel_height=kernel, kernel_width=kernel,
    )  # fmt: skip
    weights = np.full(layer.weights_shape, 127, dtype=np.int8)
    weights[1] = -128
    weights[2:] = rng.integers(120, 128, layer.weights_shape)[2:]
    weights[4] *= rng.choice([-1, 1], weights[4].shape).astype(np.int8)
    limits = np.iinfo(np.int8 if signed else np.uint8)
    shape = (layer.in_height, layer.in_width, channels)
    activations = rng.integers(limits.max - 9, limits.max + 1, shape).astype(limits.dtype)
    activations[0, 0] = limits.max
    activations[1, 1] = limits.min
    sums = reference.accumulate(weights, activations, layer)
    # The bias brings each channel's first sum to zero, the scale is 1/2: odd sums are ties.
    ones = np.ones(6, dtype=np.int64)
    for p, q in np.ndindex(sums.shape[:2]):
        how = Requantisation(50 - sums[p, q], ones, ones, low=0, high=255)
        expected = reference.requantise(sums, how)
        found = functional.convolve(layer, weights, activations, how)
        assert expected[p, q].tolist() == [25] * 6
        assert np.array_equal(found, expected)


#: Scale of every input; the outputs' is 1.
SCALE = 0.37


def one_node(node: Node, inputs: dict[str, tuple[np.ndarray, int]]) -> None:
    """Run a node both ways; inputs are codes and zero point by name."""
    operands = tuple(codes for codes, _ in inputs.values())
    infos = tuple(
        TensorInfo(name=n, shape=c.shape, dtype=c.dtype.name, scale=SCALE, zero_point=z)
        for n, (c, z) in inputs.items()
    )
    found = functional.run_node(node, operands, infos)
    expected = reference.run_node(node, operands, infos)
    assert found.dtype == expected.dtype
    assert np.array_equal(found, expected)


_DTYPES = st.sampled_from(["int8", "uint8"])


def draw_codes(rng, shape, dtype):
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max + 1, shape).astype(dtype)


def output(shape, dtype, zero_point=0) -> TensorInfo:
    return TensorInfo(name="out", shape=shape, dtype=dtype, scale=1.0, zero_point=zero_point)


@settings(_DRAWN, max_examples=100)
@given(
    kind=st.sampled_from(list(PoolingKind)),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    pads=st.tuples(*[st.integers(0, 2)] * 4),
    size=st.tuples(st.integers(1, 7), st.integers(1, 7), st.integers(1, 3)),
    ceil=st.booleans(),
    include=st.booleans(),
    dtypes=st.tuples(_DTYPES, _DTYPES),
    zero_points=st.tuples(st.integers(0, 127), st.integers(0, 127)),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_pooling(
    kind, kernel, stride, pads, size, ceil, include, dtypes, zero_points, seed
):  # fmt: skip
    rng = np.random.default_rng(seed)
    # As ONNX wants it: pads smaller than the kernel, and no window that is all padding.
    pads = tuple(min(pad, kernel[axis % 2] - 1) for axis, pad in enumerate(pads))
    out = []
    for axis in range(2):
        span = size[axis] + pads[axis] + pads[axis + 2] - kernel[axis]
        if span < 0:
            return
        count = -(-span // stride[axis]) + 1 if ceil else span // stride[axis] + 1
        while (count - 1) * stride[axis] >= size[axis] + pads[axis]:
            count -= 1
        out.append(count)
    is_max = kind is PoolingKind.MAX
    node = Pooling(
        input="in",
        output=output((*out, size[2]), dtypes[0] if is_max else dtypes[1], zero_points[1]),
        kind=kind,
        kernel=kernel,
        stride=stride,
        pads=pads,
        count_include_pad=include,
    )
    one_node(node, {"in": (draw_codes(rng, size, dtypes[0]), zero_points[0])})


@settings(_DRAWN, max_examples=100)
@given(
    dtypes=st.lists(_DTYPES, min_size=2, max_size=4),
    result=_DTYPES,
    shift=st.integers(1, 40),
    limits=st.tuples(st.integers(-128, 127), st.integers(-128, 127)),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_addition_and_rescaling(dtypes, result, shift, limits, seed):
    rng = np.random.default_rng(seed)
    inputs = {
        f"in{n}": (draw_codes(rng, (3, 2, 5), dtype), int(rng.integers(0, 128)))
        for n, dtype in enumerate(dtypes)
    }
    offset = 0 if result == "int8" else 128
    low, high = min(limits) + offset, max(limits) + offset
    # So large that codes are spread, and the largest that there are.
    top = min(1 << 31, 1 << (shift + 2))
    multipliers = tuple(int(m) for m in rng.integers(0, top, len(dtypes)))
    zero_point = int(rng.integers(low, high + 1))
    info = output((3, 2, 5), result, zero_point)
    one_node(
        Addition(
            inputs=tuple(inputs), output=info, multipliers=multipliers, shift=shift, low=low,
            high=high,
        ),
        inputs,
    )  # fmt: skip
    one_node(
        Rescaling(
            input="in0", output=info, multiplier=multipliers[0], shift=shift, low=low, high=high
        ),
        {"in0": inputs["in0"]},
    )


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_concatenation_and_padding(dtype):
    rng = np.random.default_rng(3)
    inputs = {f"in{n}": (draw_codes(rng, (4, 3, n + 1), dtype), 0) for n in range(3)}
    one_node(Concatenation(inputs=tuple(inputs), output=output((4, 3, 6), dtype)), inputs)
    node = Padding(input="in0", output=output((7, 8, 1), dtype), pads=(1, 2, 2, 3), value=77)
    one_node(node, {"in0": inputs["in0"]})


def test_network():
    network: Network = small_network()
    image = np.array([[[1], [2]], [[3], [50]]], dtype=np.uint8)
    expected = reference.run_network(network, image)
    found = functional.run_network(network, image)
    assert list(found) == list(expected)
    for name, codes in expected.items():
        assert np.array_equal(found[name], codes)
        assert found[name].dtype == codes.dtype


@settings(_DRAWN, max_examples=60)
@given(
    dtypes=st.tuples(_DTYPES, _DTYPES, _DTYPES),
    shift=st.integers(1, 40),
    one_pixel=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_product_table_and_rearrangement(dtypes, shift, one_pixel, seed):
    rng = np.random.default_rng(seed)
    shape, offset = (3, 2, 5), 0 if dtypes[2] == "int8" else 128
    inputs = {
        "in0": (draw_codes(rng, shape, dtypes[0]), int(rng.integers(0, 128))),
        "in1": (draw_codes(rng, (1, 1, 5) if one_pixel else shape, dtypes[1]), 3),
    }
    info = output(shape, dtypes[2], int(rng.integers(-128, 128)) + offset)
    multiplier = int(rng.integers(0, min(1 << 31, 1 << (shift + 1))))
    one_node(
        Product(
            inputs=("in0", "in1"), output=info, multiplier=multiplier, shift=shift,
            low=offset - 100, high=offset + 90,
        ),
        inputs,
    )  # fmt: skip
    first = {"in0": inputs["in0"]}
    rows = draw_codes(rng, (1 if one_pixel else 5, 256), dtypes[2])
    one_node(Table(input="in0", output=info, codes=rows), first)
    index = rng.integers(-1, 30, (2, 4, 3)).astype(np.int32)
    moved = output((2, 4, 3), dtypes[0])
    one_node(Rearrangement(input="in0", output=moved, index=index, fill=77), first)
    one_node(Constant(output=info, codes=draw_codes(rng, shape, dtypes[2])), {})
