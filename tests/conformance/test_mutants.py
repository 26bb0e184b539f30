"""Planted bugs are noticed: each in a copy of the project, by the tests that must fail."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conformance.mutants import MUTANTS, Mutant

_ROOT = Path(__file__).parents[2]
_PACKAGES = ("golden", "accel", "rtl", "sw", "tests")
#: How pytest sums up a test that compared and found a difference; anything else is a crash.
_NOTICED = re.compile(r"^FAILED .* - (AssertionError|assert |RuntimeError|golden\.errors\.)", re.M)


def copy_project(root: Path) -> None:
    """Copy the sources; big data files stay behind."""
    for package in _PACKAGES:
        shutil.copytree(
            _ROOT / package,
            root / package,
            ignore=lambda folder, names: [
                name
                for name in names
                if not (Path(folder) / name).is_dir() and Path(name).suffix not in (".py", ".toml")
            ],
        )
    shutil.copy(_ROOT / "pyproject.toml", root)


def run_tests(root: Path, tests: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    """Run some tests of a copy, with kernels compiled anew but not optimised."""
    environment = {
        **os.environ,
        "NUMBA_CACHE_DIR": str(root / "cache"),
        "NUMBA_OPT": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "COLUMNS": "300",
    }
    environment.pop("PYTEST_XDIST_WORKER", None)
    command = [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", "-p", "no:xdist"]
    # Kernels that are not optimised can't be cached, and say so; in bold with colorama.
    command += ["-W", "ignore::numba.core.errors.NumbaWarning"]
    return subprocess.run(
        [*command, *(f"tests/{test}" for test in tests)],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "mutant",
    [
        pytest.param(mutant, id=mutant.name, marks=pytest.mark.slow if mutant.slow else ())
        for mutant in MUTANTS
    ],
)
def test_planted_bug_is_noticed(mutant: Mutant, tmp_path):
    copy_project(tmp_path)
    path = tmp_path / mutant.module
    source = path.read_text(encoding="utf-8")
    assert source.count(mutant.old) == 1, f"{mutant.module} no longer holds the mutant's text once"
    path.write_text(source.replace(mutant.old, mutant.new), encoding="utf-8")
    result = run_tests(tmp_path, mutant.tests)
    assert result.returncode == 1, result.stdout + result.stderr
    assert _NOTICED.search(result.stdout), result.stdout + result.stderr


def test_copy_without_a_bug_passes(tmp_path):
    copy_project(tmp_path)
    quick = [mutant for mutant in MUTANTS if not mutant.slow]
    # One of each file: all of them pass in this project, so it is the copying that may go wrong.
    tests = {test.partition("::")[0]: test for mutant in quick for test in mutant.tests}
    result = run_tests(tmp_path, tuple(tests.values()))
    assert result.returncode == 0, result.stdout + result.stderr
