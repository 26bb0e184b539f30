"""What a wheel carries beside modules."""

import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CARRIED = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]


@pytest.mark.parametrize("package", ["golden", "accel", "rtl", "sw"])
def test_every_data_file_is_in_the_wheel(package):
    folder = ROOT / package
    data = {
        path
        for path in folder.rglob("*")
        if path.is_file()
        and path.parent.name != "__pycache__"
        and not (path.suffix == ".py" and (path.parent / "__init__.py").exists())
    }
    carried = {path for glob in CARRIED.get(package, []) for path in folder.glob(glob)}
    assert data == {path for path in carried if path.is_file()}
