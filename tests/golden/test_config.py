"""Machines: every bad key is refused by its name; presets and TOML round trip."""

import dataclasses

import pytest

from golden.errors import ConfigError
from golden.machines.cluster.config import (
    AcceleratorConfig,
    Balance,
    Dealing,
    SkipMode,
    preset_names,
)

TOY = AcceleratorConfig.preset("toy")


@pytest.mark.parametrize("field", [f.name for f in dataclasses.fields(AcceleratorConfig)])
def test_wrong_type_is_refused_by_name(field):
    with pytest.raises(ConfigError, match=rf"key {field} must be .*, not \[\]"):
        TOY.replace(**{field: []})


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("clusters", 0, "between 1 and 1024, not 0"),
        ("clusters", 1025, "between 1 and 1024, not 1025"),
        ("clusters", True, "of type int, not True"),
        ("units", 257, "between 1 and 256, not 257"),
        ("units", 4.0, r"of type int, not 4\.0"),
        ("chunk", 24, "16, 32, 64, 128 or 256, not 24"),
        ("lanes", 3, "between 1 and 2, not 3"),
        ("fifo_depth", 0, "between 1 and 16, not 0"),
        ("filters_per_unit", 3, "between 1 and 2, not 3"),
        ("segment_chunks", -1, "between 0 and 1048576, not -1"),
        ("tile_positions", 0, "between 1 and 1048576, not 0"),
        ("balance", "exchange", "none, filter, expected, chunk, not 'exchange'"),
        ("balance", "chunk", "not be 'chunk' where filters_per_unit is 1"),
        ("dealing", "random", "tiles, interleaved, queue, not 'random'"),
        ("skip_empty_chunks", 1, "of type bool, not 1"),
        ("broadcast_width", 12, "a power of two, not 12"),
        ("broadcast_width", 0, "a power of two, not 0"),
        ("broadcast_width", 64, r"at most chunk \(32\), not 64"),
        ("filter_bus_bytes", 3, "a power of two, not 3"),
        ("filter_double_buffer", "yes", "of type bool, not 'yes'"),
        ("collector_width", 3, r"divide units \* filters_per_unit \(4\), not 3"),
        ("collector_width", 0, "divide .*, not 0"),
        ("filter_buffer_chunks", 0, "between 1 and .*, not 0"),
        ("filter_buffer_bytes", 0, "between 1 and .*, not 0"),
        ("input_buffer_chunks", 0, "between 1 and .*, not 0"),
        ("input_buffer_bytes", 0, "between 1 and .*, not 0"),
    ],
)
def test_bad_value_is_refused_by_name(field, value, words):
    with pytest.raises(ConfigError, match=f"^Configuration key {field} must .*{words}"):
        TOY.replace(**{field: value})


@pytest.mark.parametrize("field", [f.name for f in dataclasses.fields(AcceleratorConfig)])
def test_missing_key_is_named(field):
    data = TOY.to_dict()
    del data[field]
    with pytest.raises(ConfigError, match=f"^Missing key {field} in somewhere$"):
        AcceleratorConfig.from_dict(data, where="somewhere")


def test_unknown_keys_are_named():
    with pytest.raises(ConfigError, match=r"^Unknown key cores, threads in x; accepted: balance, "):
        AcceleratorConfig.from_dict({**TOY.to_dict(), "threads": 1, "cores": 2}, where="x")
    with pytest.raises(ConfigError, match=r"^Unknown key threads in replace\(\)"):
        TOY.replace(threads=1)


def test_machines_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        TOY.units = 8  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("name", preset_names())
def test_presets_round_trip(name):
    config = AcceleratorConfig.preset(name)
    assert config.name == name
    assert AcceleratorConfig.from_dict(config.to_dict()) == config
    assert all(type(value) in (str, int, bool) for value in config.to_dict().values())


def test_presets_span_a_toy_to_1024_multipliers():
    sizes = {AcceleratorConfig.preset(name).multipliers for name in preset_names()}
    assert min(sizes) == 4
    assert max(sizes) == 1024


def test_unknown_preset_is_refused():
    with pytest.raises(ConfigError, match=r"Preset must be one of .*toy.*, not 'none'"):
        AcceleratorConfig.preset("none")


def test_toml_file(tmp_path):
    path = tmp_path / "mine.toml"
    lines = [
        f"{key} = {str(value).lower() if isinstance(value, bool) else repr(value)}"
        for key, value in TOY.replace(name="mine", units=2).to_dict().items()
    ]
    path.write_text("\n".join(lines))
    assert AcceleratorConfig.from_toml(path) == TOY.replace(name="mine", units=2)
    path.write_text("\n".join(lines[1:]))
    with pytest.raises(ConfigError, match=r"Missing key name in .*mine\.toml"):
        AcceleratorConfig.from_toml(path)
    path.write_text("units = = 3")
    with pytest.raises(ConfigError, match=r"mine\.toml must be TOML"):
        AcceleratorConfig.from_toml(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"mine\.toml must be TOML"):
        AcceleratorConfig.from_toml(path)
    with pytest.raises(ConfigError, match=r"none\.toml can't be read: No such file"):
        AcceleratorConfig.from_toml(tmp_path / "none.toml")


def test_derived_sizes_by_hand():
    config = TOY.replace(
        clusters=3, units=6, lanes=2, filters_per_unit=2, chunk=256, broadcast_width=16,
        filter_bus_bytes=4, fifo_depth=5,
    )  # fmt: skip
    assert config.multipliers == 36
    assert config.group_filters == 12
    assert config.chunk_words == 4
    assert config.broadcast_words == 16
    assert config.mask_beats == 8
    assert config.slots == 6
    small = config.replace(chunk=16, filter_bus_bytes=64)
    assert (small.chunk_words, small.mask_beats) == (1, 1)


def test_options_are_their_names():
    assert [SkipMode(mode).value for mode in ("dense", "static", "dynamic", "both")] == list(
        SkipMode
    )
    assert [m.skips_weights for m in SkipMode] == [False, True, False, True]
    assert [m.skips_activations for m in SkipMode] == [False, False, True, True]
    changed = TOY.replace(balance="filter", dealing="queue")
    assert changed.balance is Balance.FILTER
    assert changed.dealing is Dealing.QUEUE
