"""Sparse matrices on ExTensor: results against SciPy, cycles by hand and against the page."""

import builtins

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accel.machines.extensor.sparse_kernels import load_matrix, sddmm, spmspm
from golden.errors import CapacityError, ConfigError, FormatError, UserError
from golden.machines.extensor import ExTensorConfig
from tests.arch.extensor_equations import best_mapping, evaluate_kernel, matrix_bytes
from tests.latencies import EXTENSOR_LATENCIES, with_latencies

sparse = pytest.importorskip("scipy.sparse")

MACHINE = with_latencies(
    ExTensorConfig(
        name="hand",
        pes=1,
        tile=8,
        rows_max=4,
        columns_max=4,
        tile_bytes=1 << 16,
        port_bytes=4,
    ),
    **EXTENSOR_LATENCIES,
)


def matrix_of(rng, rows, columns, density, empty=0.0):
    """Draw a dense array with real zeros, and rows and columns without any other value."""
    values = rng.uniform(-2, 2, (rows, columns)) * (rng.random((rows, columns)) < density)
    values[rng.random(rows) < empty] = 0
    values[:, rng.random(columns) < empty] = 0
    return values


# -- by hand ------------------------------------------------------------------------------------


def test_spmspm_by_hand():
    # Row 0 of A and column 0 of B alone have a non-zero, and meet: 8 + 12 bytes, 5 beats each.
    # Lists LD = 2, T = 4, LD = 14, S = 17, F = 18; end LD = 15, F = 19, D = 25, cycles 32.
    a = sparse.csr_array(np.array([[0.0, 2.0], [0.0, 0.0]]))
    b = sparse.csc_array(np.array([[0.0, 0.0], [5.0, 0.0]]))
    run = spmspm(MACHINE, a, b)
    assert run.result.toarray().tolist() == [[10.0, 0.0], [0.0, 0.0]]
    assert run.counters.pes.tolist() == [[32, 1, 1, 1, 1, 12, 1]]
    assert run.counters.units.tolist() == [[1, 1, 17, 0, 0, 0, 13]]
    assert (run.cycles, run.dram_bytes, run.decisions, run.matches) == (32, 60, 1, 1)
    assert spmspm(MACHINE, a, b, dram_bytes_per_cycle=1).cycles == 60
    assert spmspm(MACHINE, a, b, dram_bytes_per_cycle=4).cycles == 32


def test_only_sums_with_a_product_are_handed_out_by_hand():
    # One item of 2 x 2; row 0 with column 0 only: fibre pairs (0, 0), (1, 0), (0, 1), (1, 1) in one
    # tile, of which (0, 0) and (1, 1) have a product.
    run = spmspm(MACHINE, sparse.eye_array(2), sparse.eye_array(2))
    assert run.counters.pe("fibre_pairs").tolist() == [4]
    assert run.counters.pe("outputs").tolist() == [2]
    # Lists LD = 2, T = 4, 4 fibres of 5 beats: LD = 24, S = 27, F = 31; end F = 32, D = 39.
    assert run.cycles == 39 + 7


def test_sddmm_by_hand():
    # One item: lists LD = 2, T = 4; 4 fibres of 8 + 24 bytes, 8 beats: LD = 36, S = 39. Two fibre
    # pairs of 2 decisions: F = 43; end F = 44, D = 44 + 5 + 2, cycles 58.
    samples = sparse.csr_array(np.diag([2.0, 3.0]))
    a, b = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[5.0, 6.0], [7.0, 8.0]])
    run = sddmm(MACHINE, samples, a, b)
    assert run.result.toarray().tolist() == [[2 * 19.0, 0.0], [0.0, 3 * 50.0]]
    assert run.counters.pes.tolist() == [[58, 4, 1, 2, 1, 34, 2]]
    assert run.counters.units.tolist() == [[4, 1, 39, 0, 0, 0, 14]]
    # A and B 64 bytes each, samples and result 2 * 20 bytes each.
    assert run.dram_bytes == 208


def test_blocks_without_a_sample_load_nothing():
    samples = np.zeros((8, 8))
    samples[7, 7] = 1.0
    ones = np.ones((8, 8))
    machine = MACHINE.replace(pes=2, rows_max=1, columns_max=1)
    run = sddmm(machine, sparse.csr_array(samples), ones, ones)
    # One row and one column of 8 + 12 * 8 bytes: 26 beats each; lists are a beat each.
    assert run.counters.pe("load_beats").tolist() == [2 + 52, 0]
    assert run.counters.pe("pairs").tolist() == [8, 0]


# -- drawn --------------------------------------------------------------------------------------


@st.composite
def machines(draw):
    return ExTensorConfig(
        name="drawn",
        pes=draw(st.sampled_from([1, 2, 7, 40])),
        tile=draw(st.sampled_from([8, 32, 64, 128, 256])),
        rows_max=draw(st.sampled_from([1, 2, 4])),
        columns_max=draw(st.sampled_from([1, 2, 8])),
        tile_bytes=draw(st.sampled_from([3136, 6000, 1 << 16])),
        port_bytes=draw(st.sampled_from([2, 8, 64])),
    )


sizes = st.one_of(
    st.tuples(st.integers(1, 14), st.integers(1, 150), st.integers(1, 14)),
    st.tuples(st.integers(1, 4), st.integers(500, 2000), st.integers(1, 4)),
)
densities = st.sampled_from([0.0, 0.003, 0.03, 0.2, 0.6, 1.0])
seeds = st.integers(0, 2**32 - 1)


def expected_counters(config, a, b, rows, columns, given_out, sampled=False):
    """Return the page's counters: the rows of A and columns of B that take part, and outputs."""
    if not rows.any() or not columns.any():
        return None
    operands = [a[rows].tolist()], [b[:, columns].T.tolist()]
    given_out = given_out[rows][:, columns]
    return evaluate_kernel(
        config,
        *operands,
        best_mapping(config, *operands, matrix_bytes),
        matrix_bytes,
        lambda m, n: int(given_out[m.start : m.stop, n.start : n.stop].sum()),
        given_out if sampled else None,
    )


def check(run, expected, wanted):
    np.testing.assert_allclose(run.result.toarray(), wanted, rtol=1e-12, atol=1e-12)
    assert run.result.dtype == np.float64
    if expected is None:
        assert run.counters.cycles == 0
        assert not run.counters.pes.any()
        assert not run.counters.units.any()
    else:
        assert run.counters.difference(expected) == ""
    assert run.cycles == run.counters.cycles


@settings(max_examples=60, deadline=None)
@given(machines(), sizes, densities, densities, st.sampled_from([0.0, 0.5]), seeds)
def test_spmspm_is_scipys_and_the_pages(config, size, density_a, density_b, empty, seed):
    rng = np.random.default_rng(seed)
    m, e, n = size
    a = matrix_of(rng, m, e, density_a, empty)
    b = matrix_of(rng, e, n, density_b, empty)
    run = spmspm(config, sparse.csr_array(a), sparse.csc_array(b))
    products = (a != 0).astype(int) @ (b != 0).astype(int) > 0
    expected = expected_counters(config, a, b, a.any(axis=1), b.any(axis=0), products)
    check(run, expected, sparse.csr_array(a) @ b)
    assert run.matches == np.count_nonzero(a, axis=0) @ np.count_nonzero(b, axis=1)


@settings(max_examples=60, deadline=None)
@given(machines(), sizes, densities, st.sampled_from([0.0, 0.5]), seeds)
def test_sddmm_is_scipys_and_the_pages(config, size, density, empty, seed):
    rng = np.random.default_rng(seed)
    m, e, n = size
    samples = sparse.csr_array(matrix_of(rng, m, n, density, empty))
    a, b = rng.uniform(-2, 2, (m, e)), rng.uniform(-2, 2, (e, n))
    run = sddmm(config, samples, a, b)
    meets = samples.toarray() != 0
    ones = np.ones_like(a), np.ones_like(b)
    taking_part = meets.any(axis=1), meets.any(axis=0)
    expected = expected_counters(config, *ones, *taking_part, meets, sampled=True)
    check(run, expected, samples.multiply(a @ b).toarray())
    assert run.matches == run.decisions == samples.nnz * e


def test_a_large_rectangular_product_is_scipys():
    rng = np.random.default_rng(3)
    a = sparse.random_array((700, 3000), density=0.01, rng=rng, format="csr")
    b = sparse.random_array((3000, 900), density=0.01, rng=rng, format="csc")
    run = spmspm(ExTensorConfig.preset("paper"), a, b)
    wanted = a @ b
    assert run.result.nnz == wanted.nnz > 50_000
    assert abs(run.result - wanted).max() < 1e-13


def test_zeros_of_dense_operands_are_multiplied():
    samples = sparse.csr_array(np.array([[4.0]]))
    run = sddmm(MACHINE, samples, np.zeros((1, 9)), sparse.csr_array(np.ones((9, 1))))
    assert run.matches == 9
    assert run.result.nnz == 0


def test_other_formats_stored_zeros_and_duplicates_are_understood():
    # 1 and 2 at the same place are 3; a stored zero is no non-zero.
    a = sparse.coo_matrix(([1, 2, 0], ([0, 0, 1], [1, 1, 0])), shape=(2, 2))
    run = spmspm(MACHINE, a, sparse.eye_array(2, dtype=bool, format="lil"))
    assert run.result.toarray().tolist() == [[0, 3], [0, 0]]
    # Row 0 with both columns of the identity.
    assert run.counters.pe("fibre_pairs").tolist() == [2]
    assert a.nnz == 3


@pytest.mark.parametrize(("m", "e", "n"), [(0, 3, 2), (3, 0, 2), (3, 2, 0), (0, 0, 0)])
def test_matrices_without_an_axis_give_nothing(m, e, n):
    run = spmspm(MACHINE, sparse.csr_array((m, e)), sparse.csr_array((e, n)))
    assert run.result.shape == (m, n)
    assert (run.cycles, run.dram_bytes, run.utilisation) == (0, 0, 0.0)


def test_sddmm_without_a_reduction_is_an_end():
    run = sddmm(MACHINE, sparse.eye_array(2), np.zeros((2, 0)), np.zeros((0, 2)))
    assert run.result.nnz == 0
    assert run.counters.pe("outputs").tolist() == [2]
    assert run.matches == run.decisions == 0


# -- refused ------------------------------------------------------------------------------------


def test_what_does_not_fit_is_refused():
    one, two = sparse.csr_array((2, 3)), sparse.csr_array((2, 2))
    with pytest.raises(FormatError, match="B must have 3 rows, as many as A has columns, not 2 x"):
        spmspm(MACHINE, one, two)
    with pytest.raises(FormatError, match="S must be 2 x 2, as A B is, not 2 x 3"):
        sddmm(MACHINE, one, np.ones((2, 4)), np.ones((4, 2)))
    with pytest.raises(FormatError, match="Matrix A must hold real numbers, not complex128"):
        spmspm(MACHINE, two.astype(complex), two)
    with pytest.raises(FormatError, match="Matrix B must hold finite numbers, not nan"):
        spmspm(MACHINE, two, sparse.csr_array(np.array([[np.nan, 0], [0, 0]])))
    with pytest.raises(FormatError, match="Matrix A must have two axes, not 1"):
        sddmm(MACHINE, two, np.ones(2), np.ones((2, 2)))
    for bandwidth in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="DRAM bytes a cycle must be positive"):
            spmspm(MACHINE, two, two, dram_bytes_per_cycle=bandwidth)


def test_a_row_or_column_that_does_not_fit_is_named():
    a = np.zeros((3, 16))
    a[2, :9] = 1.0  # 8 + 12 * 8 bytes in the first tile
    full, small = sparse.csr_array(a), MACHINE.replace(tile_bytes=103)
    with pytest.raises(CapacityError, match=r"Row 2 of A needs 104 bytes in a tile, .* are 103"):
        spmspm(small, full, sparse.eye_array(16))
    with pytest.raises(CapacityError, match=r"Column 2 of B needs 104 bytes in a tile"):
        spmspm(small, sparse.eye_array(16), full.T)


def test_without_scipy_it_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def refuse(name, *arguments, **keywords):
        if name.startswith("scipy"):
            raise ImportError(name)
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(UserError, match=r"SciPy must be installed.*innerjoin\[matrices\]"):
        load_matrix("a.mtx")


# -- Matrix Market ------------------------------------------------------------------------------

BANNER = "%%MatrixMarket matrix"


def test_matrices_are_read(tmp_path):
    path = tmp_path / "a.mtx"
    path.write_text(f"{BANNER} coordinate pattern symmetric\n3 3 2\n2 1\n3 3\n")
    assert load_matrix(path).toarray().tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 1]]
    path.write_text(f"{BANNER} coordinate integer general\n2 3 1\n2 3 -7\n")
    matrix = load_matrix(str(path))
    assert (matrix.format, matrix.dtype) == ("csr", np.float64)
    assert matrix.toarray().tolist() == [[0, 0, 0], [0, 0, -7]]
    path.write_text(f"{BANNER} array real general\n2 2\n1\n2\n0\n4.5\n")
    assert load_matrix(path).tolist() == [[1, 0], [2, 4.5]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "must be a Matrix Market file"),
        ("a,b\n1,2\n", "must be a Matrix Market file"),
        (f"{BANNER} coordinate real general\n", "must be a Matrix Market file"),
        (f"{BANNER} coordinate real general\n2 2 2\n1 1 1.0\n", "must be a Matrix Market file"),
        (f"{BANNER} coordinate real general\n2 2 1\n3 1 1.0\n", "must be a Matrix Market file"),
        (f"{BANNER} coordinate real general\n2 2 1\n1 1 one\n", "must be a Matrix Market file"),
        (f"{BANNER} coordinate complex general\n2 2 1\n1 1 1.0 0.0\n", "must hold real numbers"),
        (f"{BANNER} coordinate real general\n2 2 1\n1 1 nan\n", "must hold finite numbers"),
        (f"{BANNER} coordinate real general\n2 99999999999 1\n1 1 1\n", "must have at most"),
    ],
)
def test_bad_files_are_refused(tmp_path, text, words):
    path = tmp_path / "bad.mtx"
    path.write_text(text)
    with pytest.raises(FormatError, match=f"Matrix .*bad.mtx {words}"):
        load_matrix(path)


def test_missing_files_and_folders_are_refused(tmp_path):
    with pytest.raises(FormatError, match=r"none\.mtx can't be read: No such file"):
        load_matrix(tmp_path / "none.mtx")
    with pytest.raises(FormatError, match="can't be read: Is a directory"):
        load_matrix(tmp_path)
