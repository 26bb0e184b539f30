"""What holds for every machine of the registry, whatever it is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from golden.errors import ConfigError
from golden.layer import LayerShape
from golden.machines import registry
from golden.program import LayerTask

#: Machines that multiply the pairs without a zero and no others.
TWO_SIDED = {"sparten", "sparten-gb-s", "innerjoin", "extensor", "scnn"}
SIZES = (16, 64, 256)


def windows(layer: LayerShape, codes):
    """Return the dense window of every position, axes position, group, r, s, c."""
    padded = np.pad(
        codes, ((layer.pad_top, layer.pad_bottom), (layer.pad_left, layer.pad_right), (0, 0))
    )
    found = []
    for p in range(layer.out_height):
        for q in range(layer.out_width):
            y, x = p * layer.stride_height, q * layer.stride_width
            window = padded[y : y + layer.kernel_height, x : x + layer.kernel_width]
            shape = (layer.kernel_height, layer.kernel_width, layer.groups, -1)
            found.append(window.reshape(shape).transpose(2, 0, 1, 3))
    return np.array(found)


def needed_pairs(layer: LayerShape, weights, codes, skips_weights: bool, skips_codes: bool) -> int:
    """Count, on dense tensors, the multiplications that a machine with these skips must do."""
    w = (weights != 0) if skips_weights else np.ones_like(weights, dtype=bool)
    w = w.reshape(layer.groups, layer.group_filters, -1)
    a = windows(layer, codes)
    a = (a != 0) if skips_codes else np.ones_like(a, dtype=bool)
    a = a.reshape(layer.positions, layer.groups, -1)
    return int(np.einsum("gke,pge->", w.astype(np.int64), a.astype(np.int64)))


def draw(rng, density_w: float, density_a: float, **changes):
    """Draw a layer with its tensors."""
    fields = {
        "name": "drawn", "in_channels": 24, "in_height": 7, "in_width": 6, "out_channels": 20,
        "kernel_height": 3, "kernel_width": 3, "pad_top": 1, "pad_left": 1, "pad_bottom": 1,
        "pad_right": 1,
    }  # fmt: skip
    layer = LayerShape(**{**fields, **changes})
    shape = (layer.in_height, layer.in_width, layer.in_channels)
    weights = rng.integers(1, 100, layer.weights_shape) * (
        rng.random(layer.weights_shape) < density_w
    )
    codes = rng.integers(1, 200, shape) * (rng.random(shape) < density_a)
    output = rng.integers(0, 2, (layer.out_height, layer.out_width, layer.out_channels))
    return layer, weights.astype(np.int8), codes.astype(np.uint8), output.astype(np.uint8)


def check_sums(machine, counts):
    """Check what holds of any counts."""
    assert counts.units.shape == (machine.units, 7)
    assert (counts.units >= 0).all()
    assert (counts.units.sum(axis=1) == counts.cycles).all()
    # No machine beats its own ideal.
    assert counts.cycles * machine.multipliers >= counts.pairs + counts.stray_pairs
    assert counts.pairs >= 0


@pytest.mark.parametrize("name", list(registry.MACHINES))
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    seed=st.integers(0, 1 << 30),
    size=st.sampled_from(SIZES),
    density_w=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    density_a=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    stride=st.integers(1, 2),
    groups=st.sampled_from([1, 2]),
)
def test_counters_add_up(name, seed, size, density_w, density_a, stride, groups):
    machine = registry.find(name).load_model().with_multipliers(size)
    layer, weights, codes, output = draw(
        np.random.default_rng(seed),
        density_w,
        density_a,
        stride_height=stride,
        stride_width=stride,
        groups=groups,
    )
    count = machine.prepare(LayerTask(layer=layer, weights=weights))(codes, output)
    for mode in machine.modes:
        check_sums(machine, count(mode))
    counts = count(machine.modes[-1])
    assert machine.multipliers == size
    if name in TWO_SIDED:
        assert counts.pairs == needed_pairs(layer, weights, codes, True, True)
    elif name == "one-sided-weights":
        assert counts.pairs == needed_pairs(layer, weights, codes, True, False)
    elif name == "one-sided-activations":
        assert counts.pairs == needed_pairs(layer, weights, codes, False, True)
    elif name == "dense":
        assert counts.pairs == layer.dense_macs == needed_pairs(layer, weights, codes, False, False)
    assert all(access.bits >= 0 and access.capacity_bytes > 0 for access in counts.accesses)
    assert counts.dram.total_bytes > 0 or density_w == density_a == 0


@pytest.mark.parametrize("name", list(registry.MACHINES))
def test_counts_are_the_same_again_and_for_another_image(name):
    """Nothing of one image is left over for the next."""
    rng = np.random.default_rng(3)
    layer, weights, codes, output = draw(rng, 0.4, 0.5)
    machine = registry.find(name).load_model().with_multipliers(64)
    program = machine.prepare(LayerTask(layer=layer, weights=weights))
    mode = machine.modes[-1]
    count = program(codes, output)
    first = count(mode)
    program(np.zeros_like(codes), output)(mode)
    for again in (count(mode), program(codes, output)(mode)):
        assert first.cycles == again.cycles
        assert np.array_equal(first.units, again.units)


@pytest.mark.parametrize("name", list(registry.MACHINES))
def test_describes_itself(name):
    machine = registry.find(name).load_model()
    assert machine.name == name
    assert machine.summary
    assert machine.source
    assert machine.with_multipliers(256).parameters()


@pytest.mark.parametrize("name", list(registry.MACHINES))
@pytest.mark.parametrize("multipliers", [0, -1])
def test_refuses_no_multipliers(name, multipliers):
    with pytest.raises(ConfigError, match=f"Multipliers of machine {name} .* not {multipliers}"):
        registry.find(name).load_model().with_multipliers(multipliers)


def test_refuses_an_unknown_machine():
    with pytest.raises(ConfigError, match=r"one of dense, .*, not 'eyeriss'"):
        registry.find("eyeriss")
