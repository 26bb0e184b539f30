"""Workers of a Dask scheduler count: the same figures as in one process, which writes the store."""

from __future__ import annotations

import importlib
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from typing import Any, Self

from accel.sweeps.engine.blocks import Tick, sort_points, take_block
from accel.sweeps.engine.network import SweptNetwork
from accel.sweeps.engine.outcome import FAILED, Outcome
from accel.sweeps.engine.worker import count_block, network_plugin
from accel.sweeps.results.keys import code_digest
from accel.sweeps.space.point import Point
from golden.errors import UserError

__all__ = ["DaskEngine"]

#: Seconds in which a scheduler must answer, and have a worker.
_ANSWER_SECONDS = 10
#: Seconds without a finished block, or so many times the longest one where that is more, after
#: which the workers that have something in hand hang.
_SILENT_SECONDS, _SILENT_BLOCKS = 300, 10


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
            # Dask looks at what its workers do every 10 ms: a sixth of their time.
            quiet = {"distributed.worker.profile.enabled": False}
            with importlib.import_module("dask").config.set(quiet):
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
                self._client.register_plugin(network_plugin(self._distributed, network))
            except (ImportError, AttributeError, TypeError) as error:
                raise _other_version(error) from None
            self._sent.add(network.content)

    def _submit(self, network: SweptNetwork, block: Sequence[Point], bound: bool) -> Any:
        return self._client.submit(
            count_block, network.content, code_digest(), tuple(block), bound, pure=False
        )


def _other_version(error: Exception) -> UserError:
    """Return what a worker refuses, or that it can't even read what it is sent."""
    if isinstance(error, UserError):
        return error
    return UserError(f"Workers must have the same version of this package as the sweep: {error}")


async def _remove_worker(dask_scheduler: Any, address: str) -> None:
    """Forget a worker, on the scheduler."""
    await dask_scheduler.remove_worker(address, stimulus_id="innerjoin-silent")
