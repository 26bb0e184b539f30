"""Where compiled kernels are kept, and when they are made anew."""

import tempfile

import numba.core.config
import pytest

from accel import compiled


@pytest.fixture
def folders(monkeypatch, tmp_path):
    """Let nothing outside ``tmp_path`` be used; return a function that asks for the folder."""
    monkeypatch.setattr(numba.core.config, "CACHE_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return compiled.kernel_folder.__wrapped__


def test_kernels_are_kept_in_the_users_cache(folders, tmp_path):
    assert folders().parent == tmp_path / "user" / "innerjoin"


def test_a_folder_that_is_asked_for_comes_first(folders, monkeypatch, tmp_path):
    monkeypatch.setattr(numba.core.config, "CACHE_DIR", str(tmp_path / "asked"))
    assert folders().parent == tmp_path / "asked" / "innerjoin"


def test_without_a_home_kernels_are_kept_among_temporary_files(folders, tmp_path):
    (tmp_path / "user").write_text("not a folder")
    assert folders().is_relative_to(tmp_path / "temporary")


def test_where_nothing_can_be_written_nothing_is_kept(folders, tmp_path):
    (tmp_path / "user").write_text("not a folder")
    (tmp_path / "temporary").write_text("not a folder")
    assert folders() is None


def test_a_folder_that_others_can_write_is_not_used(folders, tmp_path):
    folders().chmod(0o777)
    assert folders().is_relative_to(tmp_path / "temporary")


def test_a_change_of_what_a_kernel_calls_is_noticed(monkeypatch, tmp_path):
    files = {
        "accel/kernel.py": "from accel.compiled import njit\nfrom golden.part import x\n",
        "golden/part.py": "x = 1\n",
        "accel/other.py": "y = 1\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(compiled, "_ROOT", tmp_path)
    first = compiled._digest()
    (tmp_path / "accel/other.py").write_text("y = 2\n")
    assert compiled._digest() == first
    (tmp_path / "golden/part.py").write_text("x = 2\n")
    assert compiled._digest() != first
