"""Who counts a sweep's points: this process, or many through Dask's scheduler.

Whoever counts, the figures are the same, and only this process writes the store.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, Self

from accel.sweeps.evaluator import FAILED, Evaluator, Outcome, SweptNetwork
from accel.sweeps.space import Point
from accel.sweeps.store import code_digest
from golden.errors import UserError

__all__ = ["DaskEngine", "Engine", "LocalEngine", "Tick"]

#: Called with the share of the points at hand that are done, 0..1.
Tick = Callable[[float], None]

#: Seconds of work that end together: what a stop loses at most, more or less.
_BLOCK_SECONDS = 5.0
_BLOCK_POINTS_MIN, _BLOCK_POINTS_MAX = 16, 512
#: Seconds in which a scheduler must answer.
_ANSWER_SECONDS = 10


class Engine(Protocol):
    """Counts points, block by block."""

    def run(
        self, network: SweptNetwork, points: Sequence[Point], tick: Tick, *, bound: bool = False
    ) -> Iterator[tuple[Sequence[Point], list[Outcome]]]:
        """Yield some of the points and what became of them, until all are done.

        Parameters
        ----------
        bound : bool
            They are not counted: it is only found what they take at least.
        """
        ...

    def close(self) -> None:
        """Let go of processes and connections."""
        ...


class LocalEngine:
    """This process."""

    def __init__(self) -> None:
        self._points_a_second = 1.0

    def run(
        self, network: SweptNetwork, points: Sequence[Point], tick: Tick, *, bound: bool = False
    ) -> Iterator[tuple[Sequence[Point], list[Outcome]]]:
        left = sort_points(points)
        while left:
            block = take_block(left, self._block_points())
            done, left = len(points) - len(left), left[len(block) :]
            before, after = done / len(points), (done + len(block)) / len(points)
            begun = time.monotonic()
            evaluator = network.evaluator
            count = evaluator.bound if bound else evaluator.evaluate
            yield block, count(block, _between(tick, before, after))
            self._points_a_second = len(block) / max(time.monotonic() - begun, 1e-3)

    def close(self) -> None:
        pass

    def _block_points(self) -> int:
        wanted = int(self._points_a_second * _BLOCK_SECONDS)
        return max(_BLOCK_POINTS_MIN, min(_BLOCK_POINTS_MAX, wanted))


def sort_points(points: Sequence[Point]) -> list[Point]:
    """Return points in an order in which those that share work follow one another."""
    return sorted(points, key=Point.sharing_key)


def take_block(points: Sequence[Point], wanted: int) -> Sequence[Point]:
    """Return the first ``wanted`` of sorted points, and the rest of their group or less of it."""
    if wanted >= len(points):
        return points
    key = points[wanted].sharing_key()
    first = wanted
    while first > 0 and points[first - 1].sharing_key() == key:
        first -= 1
    if first > 0:
        return points[:first]
    last = wanted
    while last < len(points) and last < _BLOCK_POINTS_MAX and points[last].sharing_key() == key:
        last += 1
    return points[:last]


def _between(tick: Tick, before: float, after: float) -> Callable[[int, int], None]:
    """Return what tells how far a block is, as a share of all points."""
    return lambda done, total: tick(before + (after - before) * done / total)


class DaskEngine:
    """Workers of a Dask scheduler.

    A network reaches each worker once, also those that join later. A task whose worker dies runs
    on another one; one that keeps killing workers is cut in halves, until a single point is to
    blame, which has failed.

    Parameters
    ----------
    scheduler : str, optional
        Address of a scheduler whose workers have this package; else a cluster of processes here.
    workers : int
        Processes of that cluster.

    Raises
    ------
    UserError
        Dask is not installed, or the scheduler does not answer.
    """

    def __init__(self, scheduler: str | None = None, workers: int = 1) -> None:
        try:
            self._distributed: Any = importlib.import_module("distributed")
        except ImportError:
            raise UserError(
                "Sweeps on several processes need Dask, which is not installed: "
                "pip install 'innerjoin[sweep]'"
            ) from None
        self._cluster = None
        if scheduler is None:
            self._cluster = self._distributed.LocalCluster(
                n_workers=workers, threads_per_worker=1, dashboard_address=None
            )
        try:
            self._client = self._distributed.Client(
                self._cluster or scheduler, timeout=_ANSWER_SECONDS
            )
        except (OSError, ValueError, TimeoutError):
            raise UserError(
                f"Scheduler {scheduler} must answer within {_ANSWER_SECONDS} seconds"
            ) from None
        self._sent: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(
        self, network: SweptNetwork, points: Sequence[Point], tick: Tick, *, bound: bool = False
    ) -> Iterator[tuple[Sequence[Point], list[Outcome]]]:
        self._send(network)
        size, left = self._block_points(len(points)), sort_points(points)
        blocks: list[Sequence[Point]] = []
        while left:
            blocks.append(take_block(left, size))
            left = left[len(blocks[-1]) :]
        waiting = {self._submit(network, block, bound): block for block in blocks}
        completed = self._distributed.as_completed(list(waiting))
        done = 0
        for future in completed:
            block = waiting.pop(future)
            error = future.exception()
            if error is None:
                outcomes = future.result()
            elif isinstance(error, UserError):
                raise error
            elif len(block) > 1:
                half = len(block) // 2
                for part in (block[:half], block[half:]):
                    again = self._submit(network, part, bound)
                    waiting[again] = part
                    completed.add(again)
                continue
            else:
                told = f"its worker ended: {type(error).__name__}"
                outcomes = [Outcome(status=FAILED, message=told)]
            done += len(block)
            yield block, outcomes
            tick(done / len(points))

    def close(self) -> None:
        self._client.close()
        if self._cluster is not None:
            self._cluster.close()

    def _block_points(self, points: int) -> int:
        """Return how many points a task has: several tasks for each worker, and not too long."""
        workers = max(1, len(self._client.scheduler_info(n_workers=-1)["workers"]))
        return max(1, min(64, -(-points // (4 * workers))))

    def _send(self, network: SweptNetwork) -> None:
        if network.content not in self._sent:
            self._client.register_plugin(_plugin(self._distributed, network))
            self._sent.add(network.content)

    def _submit(self, network: SweptNetwork, block: Sequence[Point], bound: bool) -> Any:
        return self._client.submit(
            _count_block, network.content, code_digest(), tuple(block), bound, pure=False
        )


#: What this worker was sent, by content.
_networks: dict[str, SweptNetwork] = {}
_evaluators: dict[str, Evaluator] = {}


def _plugin(distributed: Any, network: SweptNetwork) -> Any:
    """Return what brings a network to each worker."""

    class Networks(distributed.WorkerPlugin):
        name = f"innerjoin-{network.content}"

        def setup(self, worker: Any) -> None:
            del worker
            keep_network(network)

    return Networks()


def keep_network(network: SweptNetwork) -> None:
    """Keep a network that this worker was sent."""
    _networks[network.content] = network


def _count_block(content: str, code: str, points: Sequence[Point], bound: bool) -> list[Outcome]:
    """Count or bound points on a worker."""
    if code != code_digest():
        raise UserError("Workers must have the same version of this package as the sweep")
    evaluator = _networks[content].evaluator
    return evaluator.bound(points) if bound else evaluator.evaluate(points)
