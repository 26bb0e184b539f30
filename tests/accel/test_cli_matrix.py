"""``accel matrix``: what it prints, and that bad input is one line and exit status 2."""

import re

import numpy as np
import pytest

from accel.report.text import WIDTH
from accel.studies import matrix as study

pytest.importorskip("scipy.io")


@pytest.fixture
def files(tmp_path):
    """Write matrices; return their paths by name."""
    from scipy.io import mmwrite
    from scipy.sparse import coo_array

    rng = np.random.default_rng(0)
    a = rng.random((6, 40)) * (rng.random((6, 40)) < 0.3)
    b = rng.random((40, 5)) * (rng.random((40, 5)) < 0.3)
    matrices = {
        "a": coo_array(a),
        "b": coo_array(b),
        "square": coo_array(np.eye(3)),
        "s": coo_array(np.array([[0.0, 1.0, 0.0], [2.0, 0.0, 3.0]])),
        "left": rng.random((2, 10)),
        "right": rng.random((10, 3)),
    }
    for name, matrix in matrices.items():
        mmwrite(tmp_path / f"{name}.mtx", matrix)
    return {name: tmp_path / f"{name}.mtx" for name in matrices} | {"values": (a, b)}


def value(out, name):
    return int(re.search(rf"^{name} +(\d+)", out, re.MULTILINE).group(1))


def test_spmspm_prints_counters_and_checks_the_result(accel, files):
    status, out, err = accel("matrix", "spmspm", files["a"], files["b"], "--pes", 4)
    assert (status, err) == (0, "")
    a, b = (matrix != 0 for matrix in files["values"])
    assert value(out, "matches") == (a.astype(int) @ b.astype(int)).sum()
    assert value(out, "fibre pairs") == a.any(axis=1).sum() * b.any(axis=0).sum()
    assert "The result equals SciPy's" in out
    assert max(map(len, out.splitlines())) <= WIDTH
    shares = [
        float(line.split()[-1]) for line in out.splitlines() if re.match("(busy|bub|wai|idl)", line)
    ]
    assert len(shares) == 5
    assert sum(shares) == pytest.approx(100, abs=0.3)


def test_one_matrix_is_squared_and_bandwidth_can_bound(accel, files):
    status, out, _ = accel("matrix", "spmspm", files["square"], "--dram-bytes-per-cycle", 0.5)
    assert status == 0
    # Three matrices of 3 tiles, 8 + 12 bytes each: 24 in beats of 8.
    assert value(out, "cycles") == 3 * 3 * 24 * 2
    assert value(out, "matches") == 3
    assert "bound by DRAM at 0.5 bytes a cycle" in out


def test_sddmm_multiplies_where_the_sample_is_not_zero(accel, files):
    status, out, _ = accel("matrix", "sddmm", files["s"], files["left"], files["right"])
    assert status == 0
    assert value(out, "matches") == 3 * 10
    assert "The result equals SciPy's" in out


def test_a_wrong_result_is_said_and_exits_1(accel, files, monkeypatch):
    right = study.sparse_kernels.spmspm

    def wrong(*arguments):
        run = right(*arguments)
        run.result.data[0] += 1e-6
        return run

    monkeypatch.setattr(study.sparse_kernels, "spmspm", wrong)
    status, out, _ = accel("matrix", "spmspm", files["a"], files["b"])
    assert status == 1
    assert "The result DIFFERS FROM SciPy's" in out


def test_bad_input_is_one_line(refuses, files, tmp_path):
    refuses(["matrix", "spmspm", tmp_path / "none.mtx"], "none.mtx can't be read")
    refuses(["matrix", "spmspm", files["a"]], "B must have 40 rows", "not 6 x 40")
    refuses(["matrix", "spmspm", files["square"], "--pes", 0], "pes must be between 1 and 4096")
    refuses(["matrix", "spmspm", files["square"], "--dram-bytes-per-cycle", 0], "must be positive")
    refuses(["matrix", "sddmm", files["s"], files["right"], files["left"]], "B must have 3 rows")
    refuses(["matrix", "spmv", files["a"]], "No such command 'spmv'")
