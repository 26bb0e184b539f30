"""The store: what it keeps, whom it refuses."""

from __future__ import annotations

import sqlite3
from dataclasses import replace

import pytest

from accel.sweeps.results.keys import code_digest, point_key
from accel.sweeps.results.store import Row, Store
from accel.sweeps.space.point import Point
from golden.errors import UserError

_ROW = Row(
    key="k1", point=Point("innerjoin", {"units": 8}, 0.5, "kernel"), network="net",
    network_digest="d", images=1, technology_node="45nm", status="ok", message="",
    figures={"modes": {"both": {}}}, cpu_seconds=0.25, package="0", code="c",
)  # fmt: skip


@pytest.fixture
def path(tmp_path):
    return tmp_path / "sweep.sqlite"


def test_rows_come_back(path):
    with Store(path) as store:
        store.add([_ROW, replace(_ROW, key="k2", status="failed", message="no")])
        store.add([replace(_ROW, key="k2")])
        store.describe({"search": "grid"})
    with Store(path, write=False) as store:
        assert store.rows() == {"k1": _ROW, "k2": replace(_ROW, key="k2")}
        assert store.rows(["k2", "k3"]) == {"k2": replace(_ROW, key="k2")}
        assert store.sweeps() == [{"search": "grid"}]
    assert sorted(p.name for p in path.parent.iterdir()) == [path.name]


def test_a_second_writer_is_refused_and_a_reader_is_not(path):
    with Store(path) as store:
        store.add([_ROW])
        with pytest.raises(UserError, match="must not be in use: another sweep writes it"):
            Store(path)
        with Store(path, write=False) as reader:
            assert list(reader.rows()) == ["k1"]
        # The reader's end does not free the store.
        with pytest.raises(UserError, match="another sweep writes it"):
            Store(path)
    Store(path).close()


def test_another_programs_lock_is_told(path, monkeypatch):
    Store(path).close()
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda place, timeout: connect(place, timeout=0.01))
    other = connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(UserError, match="must not be locked by another program"):
        Store(path)
    other.close()


def test_other_files_are_refused(path, tmp_path):
    path.write_bytes(b"no database at all " * 100)
    with pytest.raises(UserError, match="must be a file that a sweep has written"):
        Store(path)
    path.unlink()
    sqlite3.connect(path).execute("CREATE TABLE t (x)").connection.close()
    with pytest.raises(UserError, match="must be a file that a sweep has written"):
        Store(path)
    with pytest.raises(UserError, match="must be a file"):
        Store(tmp_path)
    with pytest.raises(UserError, match="must be a file"):
        Store(tmp_path / "none.sqlite", write=False)
    with pytest.raises(UserError, match="can't be written: No such file or directory"):
        Store(tmp_path / "no" / "folder.sqlite")


def test_another_version_is_refused(path):
    Store(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 9")
    connection.close()
    with pytest.raises(UserError, match="must be of version 2, not 9"):
        Store(path)


def test_a_damaged_file_is_told(path):
    with Store(path) as store:
        store.add([replace(_ROW, key=f"k{i}", message="x" * 500) for i in range(200)])
    data = bytearray(path.read_bytes())
    data[4096:-4096] = b"\xff" * (len(data) - 8192)
    path.write_bytes(data)
    with pytest.raises(UserError, match="must not be damaged"), Store(path) as store:
        store.rows()


@pytest.mark.parametrize("figures", [None, "{", "7", "\xff"])
def test_a_row_that_holds_something_else_is_told(path, figures):
    with Store(path) as store:
        store.add([_ROW])
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA ignore_check_constraints = 1")
        connection.execute("PRAGMA writable_schema = 1")
        connection.execute("UPDATE sqlite_master SET sql = replace(sql, 'NOT NULL', '')")
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE points SET figures = ?", [figures])
    with (
        pytest.raises(UserError, match="must not be damaged"),
        Store(path, write=False) as store,
    ):
        store.rows()


def test_a_full_disk_is_told_and_nothing_is_half_written(path):
    with Store(path) as store:
        store.add([_ROW])
        store._connected.execute("PRAGMA max_page_count = 8")
        with pytest.raises(UserError, match="can't be written: the disk is full"):
            store.add([replace(_ROW, key=f"x{i}", message="x" * 5000) for i in range(20)])
    with Store(path) as store:
        assert list(store.rows()) == ["k1"]


def test_keys_differ_where_figures_may():
    point = Point("innerjoin", {"units": 8, "clusters": 2})
    same = Point("innerjoin", {"clusters": 2, "units": 8})
    key = point_key(point, "net", ("both",), "45nm")
    assert point_key(same, "net", ("both",), "45nm") == key
    others = [
        (replace(point, machine="sparten"), "net", ("both",), "45nm"),
        (replace(point, weight_density=0.5), "net", ("both",), "45nm"),
        (replace(point, weight_pattern="kernel"), "net", ("both",), "45nm"),
        (replace(point, config={"units": 8, "clusters": 3}), "net", ("both",), "45nm"),
        (point, "ten", ("both",), "45nm"),
        (point, "net", ("dense", "both"), "45nm"),
        (point, "net", None, "45nm"),
        (point, "net", ("both",), "7nm"),
    ]
    assert len({key, *(point_key(*other) for other in others)}) == 9
    assert len(code_digest()) == 32
