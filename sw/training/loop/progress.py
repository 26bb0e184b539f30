"""How far training is, and how long it will take, said now and then."""

from __future__ import annotations

import logging
import time

__all__ = ["Progress"]

log = logging.getLogger(__name__)

#: Seconds between two lines, so that short training says nothing.
EVERY_SECONDS = 20.0


class Progress:
    """Logs the steps that are done, the loss and the time left, every ``EVERY_SECONDS``.

    Parameters
    ----------
    name : str
        Of the phase.
    done, total : int
        Steps that were done before, and of the whole phase.
    """

    def __init__(self, name: str, done: int, total: int) -> None:
        self._name, self._done, self._total = name, done, total
        self._said = time.monotonic()
        self._begin: float | None = None

    def say(self, steps: int, loss: float) -> None:
        """Log that so many steps of the phase are done, if it is time to.

        Parameters
        ----------
        loss : float
            Mean of the epoch so far.
        """
        now = time.monotonic()
        if self._begin is None:  # the first step makes ready what the others find
            self._begin, self._done = now, steps
            return
        if now - self._said < EVERY_SECONDS:
            return
        self._said = now
        left = (now - self._begin) / (steps - self._done) * (self._total - steps)
        log.info(
            "%s: step %d of %d, loss %.4f, %s left",
            self._name,
            steps,
            self._total,
            loss,
            f"{left / 60:.0f} min" if left >= 120 else f"{left:.0f} s",
        )
