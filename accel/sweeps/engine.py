"""Who counts a sweep's points: this process, or many through Dask's scheduler.

Whoever counts, the figures are the same, and only this process writes the store.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
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
#: Seconds in which a scheduler must answer, and have a worker.
_ANSWER_SECONDS = 10
#: Seconds without a finished block, or so many times the longest one where that is more, after
#: which the workers that have something in hand hang.
_SILENT_SECONDS, _SILENT_BLOCKS = 300, 10


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

    A network reaches each worker once, also those that join later. A task whose worker dies, or
    hangs, runs on another one; one that keeps killing workers is cut in halves, until a single
    point is to blame, which has failed.

    Parameters
    ----------
    scheduler : str, optional
        Address of a scheduler whose workers have this package; else a cluster of processes here.
    workers : int
        Processes of that cluster.

    Raises
    ------
    UserError
        Dask is not installed, the scheduler does not answer or ends, it has no worker, or its
        workers have another version of this package.
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
        self._address = scheduler or "of this machine"
        try:
            self._client = self._distributed.Client(
                self._cluster or scheduler, timeout=_ANSWER_SECONDS
            )
        except (OSError, ValueError, TimeoutError):
            raise UserError(
                f"Scheduler {scheduler} must answer within {_ANSWER_SECONDS} seconds"
            ) from None
        try:
            self._client.wait_for_workers(1, timeout=_ANSWER_SECONDS)
        except TimeoutError:
            self.close()
            raise UserError(
                f"Scheduler {self._address} must have at least 1 worker, not none"
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
        done, longest, begun = 0, 0.0, time.monotonic()
        while waiting:
            limit = max(_SILENT_SECONDS, _SILENT_BLOCKS * longest)
            finished = self._finished(list(waiting), limit)
            if finished:
                longest = max(longest, time.monotonic() - begun)
            else:
                self._drop_silent(list(waiting))
            begun = time.monotonic()
            for future in finished:
                block = waiting.pop(future)
                error = future.exception()
                if error is None:
                    try:
                        outcomes = future.result(timeout=_ANSWER_SECONDS)
                    except TimeoutError:  # whoever has it hangs: it is counted anew
                        self._end_workers(self._client.who_has([future])[future.key])
                        waiting[future] = block
                        continue
                elif isinstance(error, (UserError, ImportError)):
                    raise _other_version(error)
                elif len(block) > 1:
                    half = len(block) // 2
                    for part in (block[:half], block[half:]):
                        waiting[self._submit(network, part, bound)] = part
                    continue
                else:
                    told = f"its worker ended: {type(error).__name__}"
                    outcomes = [Outcome(status=FAILED, message=told)]
                done += len(block)
                yield block, outcomes
                tick(done / len(points))

    def _finished(self, futures: list[Any], seconds: float) -> list[Any]:
        """Return futures that are done, in their order; none where none is after some time."""
        try:
            done = self._distributed.wait(
                futures, timeout=seconds, return_when="FIRST_COMPLETED"
            ).done
        except TimeoutError:
            return []
        except (CancelledError, OSError):
            done = None
        finished = [future for future in futures if future in done] if done else []
        if done is None or any(future.cancelled() for future in finished):
            raise UserError(
                f"Scheduler {self._address} must not end during a sweep: what was counted is kept"
            )
        return finished

    def _drop_silent(self, futures: list[Any]) -> None:
        """End the workers that have tasks in hand, and finish none: others take these over."""
        asked = {future.key for future in futures}
        processing = self._client.processing().items()
        self._end_workers([address for address, keys in processing if asked & set(keys)])
        if not self._client.scheduler_info(n_workers=-1)["workers"]:
            raise UserError(
                f"Scheduler {self._address} must have a worker that ends a task within "
                f"{_SILENT_SECONDS} seconds: what was counted is kept"
            )

    def _end_workers(self, addresses: Sequence[str]) -> None:
        for address in addresses:
            try:
                self._client.restart_workers([address], timeout=_ANSWER_SECONDS)
            except (ValueError, TimeoutError):  # without a nanny, which would start it anew
                self._client.run_on_scheduler(_remove_worker, address=address)

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
            try:
                self._client.register_plugin(_plugin(self._distributed, network))
            except (ImportError, AttributeError, TypeError) as error:
                raise _other_version(error) from None
            self._sent.add(network.content)

    def _submit(self, network: SweptNetwork, block: Sequence[Point], bound: bool) -> Any:
        return self._client.submit(
            _count_block, network.content, code_digest(), tuple(block), bound, pure=False
        )


def _other_version(error: Exception) -> UserError:
    """Return what a worker refuses, or that it can't even read what it is sent."""
    if isinstance(error, UserError):
        return error
    return UserError(f"Workers must have the same version of this package as the sweep: {error}")


async def _remove_worker(dask_scheduler: Any, address: str) -> None:
    """Forget a worker, on the scheduler."""
    await dask_scheduler.remove_worker(address, stimulus_id="innerjoin-silent")


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
