"""Coded weights on disk: round trips, sizes, and files that lie."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from golden.errors import FormatError, UserError
from sw.coding.codebook import CodedWeights
from sw.coding.coded_file import FILE, CodedFile, load, save
from sw.coding.relative_index import IndexBits
from sw.coding.stages import LayerCodes, measure
from sw.storage import tensor_file


def layer(seed, shape, bits, density, region_filters, kind, name="fc/é"):
    """A layer of any codes and values: fine-tuned values are in no order."""
    rng = np.random.default_rng(seed)
    filters = min(region_filters, shape[0])
    if kind == "int8":
        weights = rng.integers(-128, 128, shape) * (rng.random(shape) < density)
        coded = CodedWeights.plain(weights.astype(np.int8))
    else:
        codes = rng.integers(1, 2**bits, shape) * (rng.random(shape) < density)
        count = -(-shape[0] // filters)
        whole = kind == "int8 codebook"
        values = rng.integers(-128, 128, (count, 2**bits - 1)) if whole else rng.normal(
            size=(count, 2**bits - 1)
        )  # fmt: skip
        books = tuple(values.astype(np.float32))
        coded = CodedWeights(bits, codes.astype(np.uint8), books, filters, 8 if whole else 32)
    scales = None if kind == "float" else rng.random(shape[0]).astype(np.float32)
    return LayerCodes(name=name, connected=bool(seed % 2), coded=coded, scales=scales)


layers = st.builds(
    layer,
    st.integers(0, 999),
    st.tuples(st.integers(1, 5), st.integers(1, 3), st.integers(1, 3), st.integers(1, 40)),
    st.integers(1, 8),
    st.sampled_from([0.0, 0.02, 0.3, 1.0]),
    st.integers(1, 5),
    st.sampled_from(["float", "int8", "int8 codebook"]),
)


def of(*layers, entropy="huffman", index_bits=(5, 5)):
    return CodedFile(
        name="net",
        source="a test",
        index_bits=IndexBits(*index_bits),
        entropy=entropy,
        layers=layers,
    )


@settings(max_examples=60, deadline=None)
@given(
    st.lists(layers, max_size=3),
    st.sampled_from(["huffman", "none"]),
    st.tuples(st.integers(1, 8), st.integers(1, 8)),
)
def test_files_come_back_bit_for_bit(tmp_path_factory, drawn, entropy, index_bits):
    path = tmp_path_factory.mktemp("coded") / "file.safetensors"
    named = [replace(each, name=f"{each.name}.{place}") for place, each in enumerate(drawn)]
    size = save(of(*named, entropy=entropy, index_bits=index_bits), path)
    found = load(path)
    assert (found.name, found.source) == ("net", "a test")
    assert (found.entropy, found.index_bits) == (entropy, index_bits)
    for old, new in zip(named, found.layers, strict=True):
        assert (new.name, new.connected, new.coded.bits) == (
            old.name, old.connected, old.coded.bits,
        )  # fmt: skip
        weights = new.coded.decode()
        assert weights.dtype == old.coded.decode().dtype
        assert weights.tobytes() == old.coded.decode().tobytes()
        assert (new.scales is None) == (old.scales is None)
        if old.scales is not None:
            assert new.scales.tobytes() == old.scales.tobytes()
    # What the tables state, each layer's bits filled up to a byte; and all else is the header.
    stated = [
        measure(each, index_bits[each.connected], entropy).coded_bits for each in found.layers
    ]
    assert size == sum(-(-bits // 8) for bits in stated)
    header = 8 + int.from_bytes(path.read_bytes()[:8], "little")
    assert path.stat().st_size == header + size


SMALL = layer(1, (4, 1, 1, 60), 3, 0.3, 2, "float", name="fc")


@pytest.fixture
def written(tmp_path):
    save(of(SMALL), tmp_path / "file.safetensors")
    return tmp_path / "file.safetensors"


def test_the_same_weights_make_the_same_bytes(tmp_path, written):
    save(of(SMALL), tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == written.read_bytes()


def test_any_damage_is_seen(written):
    whole = written.read_bytes()
    rng = np.random.default_rng(1)
    bad = [whole[:size] for size in rng.integers(0, len(whole), 20)] + [whole + b"\0"]
    for place in rng.integers(0, len(whole), 40):
        changed = bytearray(whole)
        changed[place] ^= 1 << int(rng.integers(8))
        bad.append(bytes(changed))
    for data in bad:
        written.write_bytes(data)
        with pytest.raises(FormatError):
            load(written)


def forge(path, change):
    """Change what a file says and give it a right checksum."""
    arrays, metadata = tensor_file.load(path, FILE)
    weights = json.loads(metadata["weights"])
    change(arrays, weights)
    tensor_file.save(path, arrays, {"weights": json.dumps(weights)}, FILE)


def set_bits(array, first, text):
    bits = np.unpackbits(array)
    bits[first : first + len(text)] = [int(each) for each in text]
    return np.packbits(bits)


def lengths(arrays, text):
    """Write the table's counts of words of 1, 2, 3 bits; its first field says there are 3."""
    arrays["fc/stream"] = set_bits(arrays["fc/stream"], 32, "00011" + text)


LIES = {
    "a stream cut short": lambda a, w: a.update({"fc/stream": a["fc/stream"][:-3]}),
    "fewer bits": lambda a, w: w["layers"][0].update(stream_bits=9),
    "a bit more": lambda a, w: w["layers"][0].update(
        stream_bits=w["layers"][0]["stream_bits"] + 1
    ),
    "a byte more": lambda a, w: a.update({"fc/stream": np.append(a["fc/stream"], np.uint8(0))}),
    "bits behind the end": lambda a, w: a.update(
        {"fc/stream": np.append(a["fc/stream"][:-1], a["fc/stream"][-1] | np.uint8(1))}
    ),
    "too many words of a length": lambda a, w: lengths(a, "0010" + "0010" + "0000"),
    "a gap between words": lambda a, w: lengths(a, "0000" + "0001" + "0001"),
    "no words": lambda a, w: lengths(a, "0000" + "0000" + "0000"),
    "2**32 entries": lambda a, w: a.update(
        {"fc/stream": set_bits(a["fc/stream"], 0, "1" * 32)}
    ),
    "entries without bits": lambda a, w: (
        a.update({"fc/stream": set_bits(a["fc/stream"], 0, f"{10**8:032b}")}),
        w["layers"][0].update(shape=[4, 1, 1, 1 << 25]),
    ),
    "another shape": lambda a, w: w["layers"][0].update(shape=[4, 1, 1, 2]),
    "a vast shape": lambda a, w: w["layers"][0].update(shape=[1 << 20, 1 << 20, 1 << 20, 1]),
    "a negative shape": lambda a, w: w["layers"][0].update(shape=[4, 1, -1, -60]),
    "a shape of no integers": lambda a, w: w["layers"][0].update(shape=[4, 1, 1, 60.0]),
    "a shape of three axes": lambda a, w: w["layers"][0].update(shape=[4, 1, 60]),
    "more bits a code": lambda a, w: w["layers"][0].update(bits=4),
    "fewer bits a code": lambda a, w: w["layers"][0].update(bits=2),
    "no bits a code": lambda a, w: w["layers"][0].update(bits=0),
    "bits that are true": lambda a, w: w["layers"][0].update(bits=True),
    "other index bits": lambda a, w: w.update(index_bits=[5, 4]),
    "many index bits": lambda a, w: w.update(index_bits=[5, 64]),
    "index bits of one kind": lambda a, w: w.update(index_bits=5),
    "another coder": lambda a, w: w.update(entropy="none"),
    "an unknown coder": lambda a, w: w.update(entropy="zip"),
    "a coder that is a list": lambda a, w: w.update(entropy=["huffman"]),
    "larger regions": lambda a, w: w["layers"][0].update(region_filters=4),
    "empty regions": lambda a, w: w["layers"][0].update(region_filters=0),
    "fewer values": lambda a, w: a.update(
        {"fc/values": a["fc/values"][:-3], "fc/counts": a["fc/counts"] - np.array([0, 3], "u1")}
    ),
    "values that are missing": lambda a, w: a.pop("fc/values") is None,
    "a value that is no number": lambda a, w: a["fc/values"].__setitem__(0, np.nan),
    "values of another type": lambda a, w: a.update({"fc/values": a["fc/values"].astype("f8")}),
    "no codebook": lambda a, w: (a.pop("fc/values"), a.pop("fc/counts")),
    "scales of no filter": lambda a, w: a.update({"fc/scales": np.ones(3, dtype=np.float32)}),
    "an array too many": lambda a, w: a.update({"other": np.ones(1, dtype=np.uint8)}),
    "no layers": lambda a, w: w.pop("layers"),
    "a layer twice": lambda a, w: w["layers"].append(w["layers"][0]),
    "a layer that is text": lambda a, w: w.update(layers=["fc"]),
    "a name that is a number": lambda a, w: w["layers"][0].update(name=3),
    "a kind that is text": lambda a, w: w["layers"][0].update(connected="yes"),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_files_that_contradict_themselves_are_refused(written, lie):
    forge(written, LIES[lie])
    with pytest.raises(FormatError, match=r"Coded weights .*file\.safetensors"):
        load(written)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_stream_is_weights_or_refused(tmp_path_factory, data):
    """Streams of random bits behind a plausible number of entries: no crash, and no hang."""
    path = tmp_path_factory.mktemp("forged") / "file.safetensors"
    save(of(SMALL), path)
    stream = data.draw(st.binary(min_size=1, max_size=40))
    count = data.draw(st.integers(0, 70))
    bits = np.unpackbits(np.frombuffer(stream, dtype=np.uint8))
    size = 32 + data.draw(st.integers(max(0, bits.size - 7), bits.size))
    bits[size - 32 :] = 0

    def change(arrays, weights):
        arrays["fc/stream"] = np.concatenate(
            [np.frombuffer(count.to_bytes(4), dtype=np.uint8), np.packbits(bits)]
        )
        weights["layers"][0]["stream_bits"] = size
        weights["entropy"] = data.draw(st.sampled_from(["huffman", "none"]))

    forge(path, change)
    try:
        found = load(path)
    except FormatError:
        return
    assert found.layers[0].coded.decode().shape == (4, 1, 1, 60)


def test_other_files_and_layers_of_one_name_are_refused(tmp_path):
    with pytest.raises(UserError, match="can't be read"):
        load(tmp_path / "nothing")
    (tmp_path / "text").write_text("weights")
    with pytest.raises(FormatError, match="must be a safetensors file"):
        load(tmp_path / "text")
    with pytest.raises(UserError, match="different names"):
        save(of(SMALL, SMALL), tmp_path / "x")
    assert not (tmp_path / "x").exists()
