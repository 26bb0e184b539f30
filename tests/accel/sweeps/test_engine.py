"""Many processes: the same rows as one, whatever happens to the workers."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from types import SimpleNamespace

import pytest

import accel
from accel.sweeps.api import sweep
from accel.sweeps.engine import blocks, dask, worker
from accel.sweeps.engine.blocks import sort_points, take_block
from accel.sweeps.engine.dask import DaskEngine
from accel.sweeps.engine.network import SweptNetwork
from accel.sweeps.engine.outcome import Outcome
from accel.sweeps.results.store import Store
from accel.sweeps.space.point import Point
from accel.sweeps.space.space import Space
from golden.errors import UserError

pytest.importorskip("distributed")

_SPACE = {
    "units": [4, 8],
    "clusters": [1, 2, 3],
    "chunk": [32, 64],
    "fifo_depth": [1, 2, 4, 8],
    "collector_width": "= units",
    "filter_buffer_chunks": 1 << 12,
    "filter_buffer_bytes": 1 << 18,
    "input_buffer_chunks": 1 << 20,
    "dealing": "tiles",
}


@pytest.fixture
def scheduler():
    """Start a scheduler and three workers; yield its address and the workers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    dask = [sys.executable, "-W", "ignore", "-m", "distributed.cli"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    host, port = "127.0.0.1", address.rsplit(":", 1)[1]
    head = subprocess.Popen(
        [*dask[:-1], "distributed.cli.dask_scheduler", "--host", host, "--port", port,
         "--no-dashboard", "--no-show"], **quiet,
    )  # fmt: skip
    worker = [
        *dask[:-1], "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-nanny",
        "--no-dashboard", "--death-timeout", "60",
    ]  # fmt: skip
    workers = [subprocess.Popen(worker, **quiet) for _ in range(3)]
    yield address, workers
    for process in [*workers, head]:
        process.kill()
        process.wait()


def rows_of(path):
    """Return all that a store holds but the time that it took."""
    with Store(path, write=False) as store:
        rows = store.rows().values()
    return sorted(
        json.dumps([row.key, row.point.canonical(), row.status, row.message, row.figures, row.code])
        for row in rows
    )


def test_three_workers_one_killed(scheduler, tmp_path):
    address, workers = scheduler
    here, there = tmp_path / "here.sqlite", tmp_path / "there.sqlite"
    sweep("lenet5", _SPACE, store=here)
    killed = []

    def kill(progress):
        if not killed:
            killed.append(workers[0].pid)
            os.kill(workers[0].pid, signal.SIGKILL)

    seen = []
    study = sweep("lenet5", _SPACE, store=there, scheduler=address,
                  progress=lambda each: (seen.append(each), kill(each)))  # fmt: skip
    assert killed
    assert workers[0].wait(10) == -signal.SIGKILL
    assert len(study) == 48
    assert {each.status for each in study.found} == {"ok"}
    assert rows_of(there) == rows_of(here)
    assert seen[-1].done == 48


class Future:
    """A task of a scheduler whose workers one point kills."""

    def __init__(self, block):
        self._block = block

    def cancelled(self):
        return False

    def exception(self):
        return OSError("killed") if any(x.config["units"] == 13 for x in self._block) else None

    def result(self, timeout):
        return [Outcome(status="ok", message=str(x.config["units"])) for x in self._block]


def dask_of(monkeypatch, future, blocks=8):
    """Return an engine on a scheduler that finishes one task at a time."""

    def wait(futures, timeout, return_when):
        return SimpleNamespace(done=set(futures[:1]))

    dask = object.__new__(DaskEngine)
    dask._distributed = SimpleNamespace(wait=wait)
    dask._address = "tcp://head"
    monkeypatch.setattr(dask, "_send", lambda network: None)
    monkeypatch.setattr(dask, "_block_points", lambda points: blocks)
    monkeypatch.setattr(dask, "_submit", lambda network, block, bound: future(block))
    return dask


def test_a_point_that_kills_workers_takes_no_other_with_it(monkeypatch):
    dask = dask_of(monkeypatch, Future)
    loaded = accel.load("lenet5")
    network = SweptNetwork(network=loaded.network, images=loaded.images)
    points = [Point("innerjoin", {"units": number}) for number in range(30)]
    shares = []
    found = {
        point.config["units"]: outcome
        for block, outcomes in dask.run(network, points, shares.append)
        for point, outcome in zip(block, outcomes, strict=True)
    }
    assert sorted(found) == list(range(30))
    assert found.pop(13).message == "its worker ended: OSError"
    assert all(outcome.message == str(number) for number, outcome in found.items())
    assert shares == sorted(shares)
    assert shares[-1] == 1


@pytest.mark.slow
def test_a_worker_that_hangs(scheduler, tmp_path, monkeypatch):
    monkeypatch.setattr(dask, "_SILENT_SECONDS", 20)
    monkeypatch.setattr(dask, "_SILENT_BLOCKS", 1)
    monkeypatch.setattr(dask, "_ANSWER_SECONDS", 5)
    address, workers = scheduler
    here, there = tmp_path / "here.sqlite", tmp_path / "there.sqlite"
    sweep("lenet5", _SPACE, store=here)
    stopped = []

    def stop(progress):
        if not stopped:
            stopped.append(workers[1].pid)
            os.kill(workers[1].pid, signal.SIGSTOP)

    study = sweep("lenet5", _SPACE, store=there, scheduler=address, progress=stop)
    assert stopped
    assert len(study) == 48
    assert rows_of(there) == rows_of(here)


class Refused(Future):
    def __init__(self, error):
        self._error = error

    def exception(self):
        return self._error


class Lost(Future):
    def cancelled(self):
        return True


@pytest.mark.parametrize(
    ("future", "words"),
    [
        (lambda block: Refused(UserError("Workers must have the same version")), "same version"),
        (lambda block: Refused(ModuleNotFoundError("No module named 'accel'")), "No module named"),
        (Lost, "Scheduler tcp://head must not end during a sweep: what was counted is kept"),
    ],
)
def test_workers_and_schedulers_that_are_no_use(monkeypatch, future, words):
    dask = dask_of(monkeypatch, future)
    with pytest.raises(UserError, match=words):
        list(dask.run(None, [Point("innerjoin", {"units": 4})], lambda share: None))


def test_a_scheduler_that_has_no_worker(monkeypatch):
    monkeypatch.setattr(dask, "_ANSWER_SECONDS", 2)
    from distributed import LocalCluster

    with LocalCluster(n_workers=0, dashboard_address=None) as cluster:
        address = cluster.scheduler_address
        with pytest.raises(UserError, match=f"Scheduler {address} must have at least 1 worker"):
            sweep("lenet5", _SPACE, scheduler=address)


def test_a_scheduler_that_does_not_answer(monkeypatch):
    monkeypatch.setattr(dask, "_ANSWER_SECONDS", 0.3)
    with pytest.raises(UserError, match=r"Scheduler tcp://127.0.0.1:9 must answer within 0\.3"):
        sweep("lenet5", _SPACE, scheduler="tcp://127.0.0.1:9")
    with pytest.raises(UserError, match="Workers must be between 1 and 1024, not 0"):
        sweep("lenet5", _SPACE, workers=0)


def test_a_block_holds_whole_groups(monkeypatch):
    space = Space({"units": [4, 8, 16], "fifo_depth": range(1, 11), "collector_width": 4})
    left = sort_points(list(space.grid()))
    assert len({point.sharing_key() for point in left}) == 3
    assert [len(take_block(left, wanted)) for wanted in (1, 9, 10, 11, 19, 25, 99)] == [
        10, 10, 10, 10, 10, 20, 30
    ]  # fmt: skip
    # A group that is too large is cut.
    monkeypatch.setattr(blocks, "BLOCK_POINTS_MAX", 7)
    assert len(take_block(left, 5)) == 7


def test_workers_with_other_code_are_refused():
    with pytest.raises(UserError, match="Workers must have the same version of this package"):
        worker.count_block("content", "other code", (), False)
