"""Files that a user names: regular ones, whole or not at all; other libraries' exceptions."""

import logging
import os
import tempfile
import tokenize
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from golden.errors import FormatError, UserError, one_line
from golden.files import check_writable, read_bytes, temporary_folder, write_whole
from golden.foreign import foreign


def test_written_whole_and_read(tmp_path):
    path = tmp_path / "x"
    write_whole(path, "päge", "Page")
    assert read_bytes(path, "Page") == "päge".encode()
    path.chmod(0o640)
    write_whole(path, b"new", "Page")
    assert path.stat().st_mode & 0o777 == 0o640
    assert os.listdir(tmp_path) == ["x"]


def test_leftovers_of_killed_processes_are_swept(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    old, young = tmp_path / ".innerjoin-old", tmp_path / ".innerjoin-young"
    folder, other = tmp_path / "innerjoin-old", tmp_path / "others"
    folder.mkdir()
    for path in (old, young, other, folder / "quantised.onnx"):
        path.write_text("half")
    for path in (old, other, folder):
        os.utime(path, (1, 1))
    write_whole(tmp_path / "x", "page", "Page")
    assert sorted(os.listdir(tmp_path)) == [".innerjoin-young", "innerjoin-old", "others", "x"]
    with temporary_folder() as made:
        assert made.is_dir()
    assert sorted(os.listdir(tmp_path)) == [".innerjoin-young", "others", "x"]


def test_links_are_followed_and_stay(tmp_path):
    (tmp_path / "real").write_text("before")
    link = tmp_path / "link"
    link.symlink_to("real")
    write_whole(link, "after", "Page")
    assert link.is_symlink()
    assert (tmp_path / "real").read_text() == "after"
    (tmp_path / "new").symlink_to("not yet")
    write_whole(tmp_path / "new", "made", "Page")
    assert (tmp_path / "not yet").read_text() == "made"


@pytest.mark.parametrize("kind", ["folder", "pipe", "device", "circle", "nowhere", "long", "null"])
def test_what_is_no_regular_file_is_refused_and_left(kind, tmp_path):
    path = tmp_path / "x"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/null")
    elif kind == "circle":
        path.symlink_to("x")
    elif kind == "nowhere":
        path = tmp_path / "none" / "x"
    elif kind == "long":
        path = tmp_path / ("x" * 300)
    else:
        path = tmp_path / "x\0y"
    before = sorted(os.listdir(tmp_path))
    words = "Page (must be a regular file|can't be written|must lie in a folder)"
    for write in (check_writable, lambda path, name: write_whole(path, b"x", name)):
        with pytest.raises(UserError, match=words):
            write(path, "Page")
    with pytest.raises(UserError, match=r"Page (must be a regular file|can't be read)"):
        read_bytes(path, "Page")
    assert sorted(os.listdir(tmp_path)) == before
    assert os.path.exists("/dev/null")


def test_check_leaves_nothing(tmp_path):
    assert check_writable(tmp_path / "x", "Page") == (tmp_path / "x").resolve()
    assert os.listdir(tmp_path) == []


@given(st.text(max_size=900))
def test_a_message_is_one_safe_line(text):
    line = str(UserError(text))
    assert line.isprintable()
    shown = one_line(text)
    assert shown == line
    if text.isprintable() and len(text) <= 300:
        assert shown == text
    assert len(line) <= 300


def test_escapes_are_shown_and_long_lines_cut_in_the_middle():
    assert one_line("\x1b[31mred\n") == "\\x1b[31mred\\n"
    cut = one_line("begin" + "x" * 1000 + "end")
    assert cut.startswith("begin")
    assert cut.endswith("end")
    assert " ... " in cut


@pytest.mark.parametrize(
    ("raised", "words"),
    [
        (MemoryError(), "there is not enough memory for it"),
        (RecursionError(), "it is nested too deeply"),
        (tokenize.TokenError("EOF", (2, 0)), "EOF"),
        (EOFError(), "it is cut short"),
        (KeyError("name"), "it lacks 'name'"),
        (TypeError("'int' object"), "a part of it has another form"),
        (RuntimeError(), "RuntimeError"),
        (RuntimeError("first\nsecond"), "first$"),
        (OSError(5, "Input/output error"), "Input/output error"),
        (Exception("use weights_only=False"), "it holds something else than weights"),
        (ValueError("x" * 9000), "x ... x"),
    ],
)
def test_what_other_libraries_raise_is_told_in_our_words(raised, words):
    with (
        pytest.raises(FormatError, match=f"^File must be right: .*{words}") as caught,
        foreign("File must be right"),
    ):
        raise raised
    assert len(str(caught.value)) <= 300
    assert caught.value.__cause__ is None


def test_other_libraries_are_silent_and_ours_pass(caplog):
    with caplog.at_level(logging.DEBUG), foreign("File"):
        logging.getLogger("other").critical("listen")
        warnings.warn("look", stacklevel=1)
    assert not caplog.records
    with pytest.raises(UserError, match=r"^mine$"), foreign("File"):
        raise UserError("mine")
    with pytest.raises(KeyboardInterrupt), foreign("File"):
        raise KeyboardInterrupt
