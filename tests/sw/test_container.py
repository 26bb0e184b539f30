"""Networks on disk: round trips, and every kind of damage."""

import dataclasses
import json
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import numpy as safetensors

from golden.arithmetic import Requantisation
from golden.errors import CapacityError, FormatError, UserError
from golden.layer import LayerShape
from golden.network import (
    Addition,
    Concatenation,
    Constant,
    Convolution,
    HostNode,
    Network,
    Padding,
    Pooling,
    PoolingKind,
    Product,
    Rearrangement,
    Rescaling,
    Table,
    TensorInfo,
)
from sw.storage.container import load, save


def network(seed: int = 0, density: float = 0.3) -> Network:
    """A network with a node of every kind and of extreme numbers."""
    rng = np.random.default_rng(seed)

    def tensor(name, shape, dtype="int8", scale=0.1, zero_point=0):
        return TensorInfo(name=name, shape=shape, dtype=dtype, scale=scale, zero_point=zero_point)

    layer = LayerShape(name="layer/é\"1\"", in_channels=6, in_height=7, in_width=6, out_channels=4,
                       kernel_height=3, kernel_width=2, stride_height=2, groups=2)  # fmt: skip
    weights = rng.integers(-128, 128, layer.weights_shape)
    weights = (weights * (rng.random(weights.shape) < density)).astype(np.int8)
    how = Requantisation(bias=rng.integers(-(2**31), 2**31, 4) // 2, multiplier=rng.integers(2**23,
                         2**24, 4), shift=rng.integers(1, 56, 4), low=-128, high=127, signed=True,
                         zero_point=-3)  # fmt: skip
    small = (3, 5, 4)
    nodes = (
        Padding(
            input="in",
            output=tensor("padded", (7, 6, 6), "uint8", 1e-30, 7),
            pads=(1, 0, 1, 1),
            value=7,
        ),
        Convolution(
            input="padded",
            output=tensor("conv", small, zero_point=-3),
            layer=layer,
            weights=weights,
            weight_scales=rng.random(4),
            requantisation=how,
        ),
        Pooling(
            input="conv",
            output=tensor("max", small),
            kind=PoolingKind.MAX,
            kernel=(1, 1),
            stride=(1, 1),
            pads=(0, 0, 0, 0),
            count_include_pad=False,
        ),
        Pooling(
            input="conv",
            output=tensor("mean", small),
            kind=PoolingKind.AVERAGE,
            kernel=(3, 2),
            stride=(1, 1),
            pads=(1, 0, 1, 1),
            count_include_pad=True,
        ),
        Addition(
            inputs=("max", "mean"),
            output=tensor("sum", small),
            shift=31,
            multipliers=(2**31 - 1, 1),
            low=-5,
            high=127,
        ),
        Rescaling(
            input="sum", output=tensor("scaled", small), multiplier=3, shift=1, low=0, high=9
        ),
        Concatenation(inputs=("sum", "scaled"), output=tensor("out", (3, 5, 8))),
        Product(
            inputs=("sum", "scaled"), output=tensor("product", small), multiplier=3, shift=55,
            low=-128, high=127,
        ),
        Table(
            input="sum", output=tensor("table", small),
            codes=rng.integers(-128, 128, (4, 256)).astype(np.int8),
        ),
        Rearrangement(
            input="table", output=tensor("moved", small), fill=-3,
            index=rng.integers(-1, 60, (3, 5, 4)).astype(np.int32),
        ),
        Constant(
            output=tensor("constant", small),
            codes=rng.integers(-128, 128, (3, 5, 4)).astype(np.int8),
        ),
        HostNode(
            inputs=("moved", "more"), graph=b"\x00model", operator="Softmax", name="soft",
            output=TensorInfo(name="scores", shape=(1, 4), dtype="float32"), reason="of its kind",
            macs=17,
        ),
    )  # fmt: skip
    return Network(
        name="every kind",
        source="drawn; ünïcode",
        input=tensor("in", (5, 5, 6), "uint8", 1 / 3, 255),
        nodes=nodes,
        output="out",
        channel_density={"padded": rng.random(6)},
        accuracy={"float": 0.1 + 0.2, "int8": 0.9},
        further_inputs=(tensor("more", (1, 1, 3), "float32"),),
        further_outputs=("scores", "constant"),
        synthetic_inputs={"in": rng.integers(0, 256, (5, 5, 6)).astype(np.uint8)},
    ).validate()


def assert_same(found, wanted):
    """Compare two networks field by field, arrays by dtype and element."""
    if isinstance(wanted, np.ndarray):
        assert found.dtype == wanted.dtype
        np.testing.assert_array_equal(found, wanted)
    elif dataclasses.is_dataclass(wanted):
        assert type(found) is type(wanted)
        for field in dataclasses.fields(wanted):
            assert_same(getattr(found, field.name), getattr(wanted, field.name))
    elif isinstance(wanted, dict):
        assert list(found) == list(wanted)
        for key in wanted:
            assert_same(found[key], wanted[key])
    elif isinstance(wanted, tuple):
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            assert_same(one, other)
    else:
        assert found == wanted
        assert type(found) is type(wanted)


@given(st.integers(0, 2**32 - 1), st.floats(0, 1))
@settings(max_examples=25, deadline=None)
def test_round_trip(tmp_path_factory, seed, density):
    path = tmp_path_factory.mktemp("trip") / "net.safetensors"
    wanted = network(seed, density)
    save(wanted, path)
    assert_same(load(path), wanted)


def test_same_network_gives_the_same_bytes(tmp_path):
    save(network(3), tmp_path / "a")
    save(load(tmp_path / "a"), tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "net.safetensors"
    save(network(), path)
    return path.read_bytes()


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_every_flipped_byte_is_detected(tmp_path_factory, whole, data):
    place = data.draw(st.integers(0, len(whole) - 1))
    flip = data.draw(st.integers(1, 255))
    damaged = bytearray(whole)
    damaged[place] ^= flip
    path = tmp_path_factory.mktemp("flip") / "net.safetensors"
    path.write_bytes(bytes(damaged))
    with pytest.raises(FormatError, match="Container"):
        load(path)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_every_cut_and_every_tail_is_detected(tmp_path_factory, whole, data):
    length = data.draw(st.integers(0, len(whole) - 1))
    path = tmp_path_factory.mktemp("cut") / "net.safetensors"
    path.write_bytes(whole[:length])
    with pytest.raises(FormatError, match="Container"):
        load(path)
    path.write_bytes(whole + data.draw(st.binary(min_size=1, max_size=9)))
    with pytest.raises(FormatError, match="Container"):
        load(path)


def rewritten(path, whole, change_metadata=None, change_arrays=None):
    """Write a container again with a right checksum, after a change."""
    import hashlib

    header = json.loads(whole[8 : 8 + int.from_bytes(whole[:8], "little")])
    metadata, arrays = header["__metadata__"], safetensors.load(whole)
    metadata["checksum"] = "0" * 64
    if change_metadata:
        change_metadata(metadata)
    if change_arrays:
        change_arrays(arrays)
    data = safetensors.save(arrays, metadata)
    digest = hashlib.sha256(data).hexdigest()
    path.write_bytes(data.replace(b'"checksum":"' + b"0" * 64, b'"checksum":"' + digest.encode()))
    return path


def test_another_version_is_named(tmp_path, whole):
    path = rewritten(tmp_path / "net", whole, lambda metadata: metadata.update(version="9"))
    with pytest.raises(FormatError, match="must have version 2, not '9'"):
        load(path)


def test_another_safetensors_file_is_named(tmp_path):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(safetensors.save({"a": np.zeros(3)}, {"format": "pt"}))
    with pytest.raises(FormatError, match="must have format 'innerjoin-network', not 'pt'"):
        load(path)
    path.write_bytes(safetensors.save({"a": np.zeros(3)}))
    with pytest.raises(FormatError, match=r"Container .* must be a safetensors file"):
        load(path)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("nodes/conv/bias", np.zeros(5, np.int64), "bias must be int64 of shape"),
        ("nodes/conv/bias", np.zeros(4, np.int32), "bias must be int64 of shape"),
        ("nodes/conv/weight_scales", np.zeros(4, np.float32), "weight_scales must be float64"),
        ("nodes/conv/weights/values", np.ones(1, np.int8), "Values must be as many"),
        ("nodes/conv/weights/values", np.ones(30, np.uint8), "Values must be|must be int8"),
        ("nodes/conv/weights/masks", np.zeros((4, 1, 1), np.uint64), "Masks must have shape"),
        ("nodes/conv/weights/masks", np.zeros(8, np.uint64), "masks must be uint64 of 3 axes"),
        ("nodes/table/codes", np.zeros((1, 255), np.int8), "table must have 256 codes"),
        ("nodes/moved/index", np.full((3, 5, 4), 60, np.int32), "must fit the shapes"),
        ("nodes/moved/index", np.zeros((3, 5, 4), np.int64), "index must be int32 of shape"),
        ("channel_density/padded", np.zeros(5), "channel_density/padded must be float64"),
        ("nodes/conv/bias", None, "must describe a network: it lacks"),
    ],
)
def test_wrong_arrays_are_named(tmp_path, whole, name, value, words):
    def change(arrays):
        if value is None:
            del arrays[name]
        else:
            arrays[name] = value

    with pytest.raises(FormatError, match=f"Container .*{words}"):
        load(rewritten(tmp_path / "net", whole, change_arrays=change))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda item: item["nodes"][1].update(kind="Deconvolution"), "must be of a known kind"),
        (lambda item: item["nodes"][1]["layer"].update(groups=4), "groups must divide"),
        (lambda item: item["nodes"][1]["layer"].update(dilation=2), "must describe a network"),
        (
            lambda item: item["nodes"][1]["output"].update(shape=[3, 5]),
            "must have sizes y, x, channel",
        ),
        (lambda item: item["nodes"][1]["output"].update(dtype="int16"), "must be int8 or uint8"),
        (lambda item: item.pop("outputs"), "must describe a network: it lacks 'outputs'"),
        (lambda item: item.update(nodes=7), "must describe a network: a part of it has another"),
        (lambda item: item.update(outputs=[]), "must have an input and an output"),
        (lambda item: item["inputs"][0].update(zero_point=1e308), "must be an integer below 256"),
        (lambda item: item["inputs"][0].update(zero_point=-1), "zero point must fit uint8"),
        (lambda item: item["inputs"][0].update(scale=0), "scale must be positive"),
        (lambda item: item["inputs"][0].update(scale="1"), "Number must be finite, not '1'"),
        (lambda item: item["inputs"][0].update(name=7), "Name must be a text, not int"),
        (lambda item: item["nodes"][4].update(shift=56), "must be an integer below 56"),
        (lambda item: item["nodes"][4].update(multipliers=[1 << 31, 1]), "must be an integer be"),
    ],
)
def test_wrong_descriptions_are_named(tmp_path, whole, change, words):
    def inside(metadata):
        item = json.loads(metadata["network"])
        change(item)
        metadata["network"] = json.dumps(item)

    with pytest.raises(FormatError, match=f"Container .*{words}"):
        load(rewritten(tmp_path / "net", whole, change_metadata=inside))


def test_graph_and_accumulator_are_checked_on_load(tmp_path, whole):
    def bias(arrays):
        arrays["nodes/conv/bias"] = np.full(4, 2**31, np.int64)

    with pytest.raises(CapacityError, match="the bias of output channel 0 must fit"):
        load(rewritten(tmp_path / "net", whole, change_arrays=bias))


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(UserError, match=r"Container .*none can't be read: No such file"):
        load(tmp_path / "none")
    with pytest.raises(UserError, match=r"Container .*net must lie in a folder that exists"):
        save(network(), tmp_path / "missing" / "net")


def test_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "net"
    save(network(0), path)
    before = path.read_bytes()

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save(network(1), path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["net"]


def test_container_of_sparse_weights_is_small(tmp_path):
    layer = LayerShape(name="big", in_channels=512, in_height=1, in_width=1, out_channels=1024,
                       kernel_height=1, kernel_width=1)  # fmt: skip
    weights = np.zeros(layer.weights_shape, np.int8)
    weights[np.random.default_rng(0).random(weights.shape) < 0.05] = 3
    one = np.ones(1024, np.int64)
    how = Requantisation(bias=one, multiplier=one << 23, shift=one, low=0, high=255)
    source = TensorInfo(name="in", shape=(1, 1, 512), dtype="uint8", scale=1.0)
    out = TensorInfo(name="out", shape=(1, 1, 1024), dtype="uint8", scale=1.0)
    node = Convolution(input="in", output=out, layer=layer, weights=weights,
                       weight_scales=np.ones(1024), requantisation=how)  # fmt: skip
    net = Network(name="big", source="", input=source, nodes=(node,), output="out",
                  channel_density={}, accuracy={})  # fmt: skip
    save(net, tmp_path / "net")
    # An eighth for the masks, a twentieth for the values, and 32 bytes a filter beside.
    assert (tmp_path / "net").stat().st_size < weights.size * (1 / 8 + 0.06) + 1024 * 32 + 2000
