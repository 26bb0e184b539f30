"""Codebooks: values and codes by hand, starts, regions, and what must hold of every one."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from golden.errors import UserError
from sw.coding.codebook import STARTS, CodebookOptions, share_values


def column(*weights):
    return np.array(weights, dtype=np.float32)[:, None]


@pytest.mark.parametrize("start", STARTS)
def test_three_groups_have_their_means(start):
    weights = column(-1.0, -3.0, 0.0, 5.0, 5.5, 6.0, 0.0, 20.0)
    coded = share_values(weights, 2, start)
    assert [values.tolist() for values in coded.values] == [[-2.0, 5.5, 20.0]]
    assert coded.codes[:, 0].tolist() == [1, 1, 0, 2, 2, 2, 0, 3]
    assert coded.decode()[:, 0].tolist() == [-2, -2, 0, 5.5, 5.5, 5.5, 0, 20]
    assert coded.codebook_bits == 8 + 3 * 32
    assert not coded.short


def test_starts_are_those_of_the_paper():
    weights = np.array([-4.0, 1, 1, 1, 1, 2, 2, 6])
    assert STARTS["linear"](weights, 3, 0).tolist() == [-4, 1, 6]
    # A sixth, a half and five sixths of the way along the sorted weights.
    assert STARTS["density"](weights, 3, 0).tolist() == pytest.approx([1, 1, 2])
    drawn = STARTS["random"](weights, 3, 5).tolist()
    assert set(drawn) <= set(weights)
    assert drawn == STARTS["random"](weights, 3, 5).tolist()
    assert any(drawn != STARTS["random"](weights, 3, seed).tolist() for seed in range(6, 12))


def test_fewer_weights_than_places_lose_nothing():
    weights = column(0.1, -7e-20, 0.1, 0.0, 3e7)
    coded = share_values(weights, 3)
    assert coded.short
    np.testing.assert_array_equal(coded.decode(), weights)
    assert coded.values[0].tolist() == sorted({float(w) for w in weights[:, 0]} - {0.0})


def test_regions_have_their_own_codebooks():
    weights = column(1.0, 2.0, 10.0, 20.0, 0.0)
    coded = share_values(weights, 1, region_filters=2)
    assert [values.tolist() for values in coded.values] == [[1.5], [15.0], []]
    assert coded.decode()[:, 0].tolist() == [1.5, 1.5, 15, 15, 0]
    assert coded.codebook_bits == 3 * 8 + 2 * 32


def test_weights_that_are_kept_do_not_vanish():
    """The mean of -1 and 1 is no weight: the smallest stands for both."""
    coded = share_values(column(-1.0, 1.0), 1)
    assert coded.values[0].tolist() in ([-1.0], [1.0])
    coded = share_values(np.array([[1], [-2], [1], [-1]], dtype=np.int8), 1)
    assert coded.values[0].tolist() in ([-1.0], [1.0])


def test_integers_share_integers():
    weights = np.array([[1, 2, 2, 90, 91, 91, -50, 0]], dtype=np.int8)
    coded = share_values(weights, 2)
    assert coded.values[0].tolist() == [-50, 2, 91]
    assert coded.codebook_bits == 8 + 3 * 8


def test_more_bits_are_nearer():
    weights = np.random.default_rng(3).standard_normal((20, 50)).astype(np.float32)
    errors = [np.square(share_values(weights, bits).decode() - weights).sum() for bits in (1, 3, 6)]
    # One value serves a symmetric distribution as well as zero does; each bit more is a quarter.
    assert errors[0] > 900
    assert errors[1] < errors[0] / 8
    assert errors[2] < errors[1] / 20


@settings(max_examples=60, deadline=None)
@given(
    arrays.arrays(
        st.sampled_from([np.float32, np.int8]),
        st.tuples(st.integers(1, 6), st.integers(1, 30)),
        elements=st.integers(-100, 100),
    ),
    st.integers(1, 4),
    st.sampled_from(list(STARTS)),
    st.none() | st.integers(1, 7),
)
def test_zeros_stay_and_each_weight_has_its_nearest_value(weights, bits, start, filters):
    coded = share_values(weights, bits, start, filters)
    decoded = coded.decode()
    np.testing.assert_array_equal(decoded == 0, weights == 0)
    np.testing.assert_array_equal(coded.codes == 0, weights == 0)
    step = min(filters or len(weights), len(weights))
    assert len(coded.values) == -(-len(weights) // step)
    for region, values in enumerate(coded.values):
        assert len(values) <= 2**bits - 1
        part = slice(region * step, (region + 1) * step)
        kept = weights[part][weights[part] != 0].astype(np.float32)
        assert set(decoded[part][decoded[part] != 0]) == set(values.tolist())
        if kept.size:
            nearest = np.abs(kept[:, None] - values).min(axis=1)
            np.testing.assert_allclose(np.abs(decoded[part][decoded[part] != 0] - kept), nearest)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"convolution_bits": 0}, "Codebook bits must be 1 to 8, not 0"),
        ({"connected_bits": 9}, "Codebook bits must be 1 to 8, not 9"),
        ({"start": "best"}, "one of linear, density, random, not 'best'"),
        ({"region_filters": 0}, "1 or more, not 0"),
    ],
)
def test_bad_options_are_refused(change, words):
    with pytest.raises(UserError, match=words):
        CodebookOptions(**{"convolution_bits": 8, "connected_bits": 5, **change})


def test_weights_that_are_not_finite_are_refused():
    for bad in (np.nan, np.inf, 1e300):
        with pytest.raises(UserError, match="finite"):
            share_values(np.array([[1.0, bad]]), 2)


def test_without_scikit_learn_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.cluster", None)
    assert share_values(column(1.0, 2.0), 2).short  # k-means isn't needed
    with pytest.raises(UserError, match=r"innerjoin\[codebook\]"):
        share_values(column(1.0, 2.0), 1)


def test_a_machine_that_hides_its_cores_gives_no_warning():
    program = """\
import joblib.externals.loky.backend.context as context
import numpy as np
from sw.coding.codebook import share_values

context._count_physical_cores = lambda: ("not found", OSError("no lscpu"))
share_values(np.arange(1.0, 9.0).reshape(8, 1), 2, "linear")
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
