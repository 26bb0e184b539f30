"""`accel.simulate_chip`: what it is given, what it gives back."""

from __future__ import annotations

import numpy as np
import pytest

import accel
from accel.activations.trace import Trace
from golden.chip.config import ChipConfig
from golden.errors import CapacityError, ConfigError
from golden.machines.cluster.config import SkipMode
from tests.chip.cases import draw_case


@pytest.fixture(scope="module")
def lenet5():
    return accel.load("lenet5")


def test_result_adds_up(lenet5):
    result = accel.simulate_chip(lenet5, "board", "rate:16,30")
    assert sum(result.counters.values()) == result.cycles
    assert sum(layer.cycles for layer in result.layers) == result.cycles
    ends = [end for layer in result.layers for end in layer.tile_ends]
    assert ends == sorted(ends)
    assert [layer.name for layer in result.layers] == ["conv1", "conv2", "fc1", "fc2"]
    pooled = {"conv1": 12 * 12 * 20, "conv2": 4 * 4 * 50}
    assert result.streams["write"].bytes == sum(pooled.values()) + 500 + 10
    assert result.bytes == sum(stream.bytes for stream in result.streams.values())
    assert result.dma_busy_cycles >= result.bytes / 16


def test_pairs_are_the_effectual_ones(lenet5):
    """The chip multiplies each pair without a zero once, whatever its tiles and layouts."""
    pairs = sum(step.effectual_pairs for step in Trace(lenet5.network, lenet5.images[:1]))
    assert accel.simulate_chip(lenet5, "board", "ideal").pairs == pairs


def test_memory_bounds_the_cycles(lenet5):
    fast = accel.simulate_chip(lenet5, "board", "rate:16,30")
    slow = accel.simulate_chip(lenet5, "board", "rate:1,30")
    assert slow.streams == fast.streams
    assert slow.cycles > slow.bytes > fast.cycles


def test_modes_skip_less(lenet5):
    cycles = [
        accel.simulate_chip(lenet5, "board", "ideal", skip=skip).cycles
        for skip in (SkipMode.BOTH, SkipMode.STATIC, SkipMode.DENSE)
    ]
    assert cycles == sorted(cycles)


def test_text_names_layers_streams_and_source(lenet5):
    result = accel.simulate_chip(lenet5, memory="sdram")
    text = str(result)
    for word in ("lenet5 on board, 8 multipliers", "conv2", "total", "filters", "Source: "):
        assert word in text
    assert str(result.cycles) in text.splitlines()[0]
    assert result.frames_per_second(2 * result.cycles) == 2
    assert result.to_dict()["counters"] == result.counters


def test_chip_from_a_file(lenet5, tmp_path):
    path = tmp_path / "mine.toml"
    lines = [
        f"{key} = {str(value).lower() if isinstance(value, bool) else repr(value)}"
        for key, value in ChipConfig.preset("board").replace(name="mine").to_dict().items()
    ]
    path.write_text("\n".join(lines))
    assert accel.simulate_chip(lenet5, path).chip == "mine"


def test_bad_arguments(lenet5):
    with pytest.raises(ConfigError, match="Preset must be one of board"):
        accel.simulate_chip(lenet5, "small")
    with pytest.raises(ConfigError, match="Memory must be one of"):
        accel.simulate_chip(lenet5, memory="hbm")
    with pytest.raises(TypeError, match="codes must be given"):
        accel.simulate_chip(lenet5.network)
    tiny = ChipConfig.preset("board").replace(assembly_bytes=16)
    with pytest.raises(CapacityError, match="assembly_bytes"):
        accel.simulate_chip(lenet5, tiny)


def test_network_alone_with_codes():
    case = draw_case(3)
    result = accel.simulate_chip(case.network, case.config, case.memory, codes=case.image)
    again = accel.simulate_chip(case.network, case.config, case.memory, codes=case.image.copy())
    assert result == again
    other = accel.simulate_chip(
        case.network, case.config, case.memory, codes=np.zeros_like(case.image)
    )
    assert other.pairs != result.pairs
