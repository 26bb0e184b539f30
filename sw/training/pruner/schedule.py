"""When weights go, and how many: gradually, at once, or in rounds, within one training."""

from __future__ import annotations

from dataclasses import dataclass

from golden.errors import UserError

__all__ = ["SCHEDULES", "Schedule"]

SCHEDULES = ("cubic", "one-shot", "iterative")


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The density after each step of an optimiser.

    ``cubic`` is Zhu and Gupta's (arXiv:1710.01878, equation 1): the density falls from that at
    the beginning, fast at first, to the final one. ``iterative`` falls by equal factors, each
    followed by as many steps of retraining, as Han et al. (NeurIPS 2015) prune. ``one-shot`` prunes
    once, after the first step or at ``begin``.

    Parameters
    ----------
    kind : str
        One of ``SCHEDULES``.
    steps : int, optional
        Of the whole training; ``one-shot`` at the beginning needs none.
    begin, end : float
        Shares of the steps between which a cubic schedule prunes; the others begin at ``begin``.
    every : int, optional
        Steps between two changes of a cubic schedule; a hundredth of ``steps`` by default.
    rounds : int
        Of an iterative schedule.

    Raises
    ------
    UserError
        A value is out of range.
    """

    kind: str = "cubic"
    steps: int | None = None
    begin: float = 0.0
    end: float = 0.75
    every: int | None = None
    rounds: int = 5

    def __post_init__(self) -> None:
        if self.kind not in SCHEDULES:
            raise UserError(f"Schedule must be one of {', '.join(SCHEDULES)}, not {self.kind!r}")
        if self.steps is None and (self.kind != "one-shot" or self.begin):
            raise UserError(f"Steps of the training must be given for schedule {self.kind}")
        if self.steps is not None and (type(self.steps) is not int or self.steps < 1):
            raise UserError(f"Steps must be an integer of at least 1, not {self.steps!r}")
        if not 0 <= self.begin < 1 or not self.begin < self.end <= 1:
            raise UserError(
                f"Begin and end must be shares of the steps, 0 <= begin < end <= 1, not "
                f"{self.begin} and {self.end}"
            )
        if self.every is not None and self.every < 1:
            raise UserError(f"Steps between changes must be at least 1, not {self.every}")
        if self.rounds < 1:
            raise UserError(f"Rounds must be at least 1, not {self.rounds}")
        if self.kind == "iterative" and self.steps is not None and self.steps < self.rounds:
            raise UserError(
                f"Steps must be at least one for each of {self.rounds} rounds, not {self.steps}"
            )

    @property
    def last(self) -> int:
        """The step after which masks no longer change."""
        if self.kind == "cubic":
            return self._step(self.end)
        return self._round(self.rounds) if self.kind == "iterative" else self._step(self.begin)

    def density(self, step: int, first: float, final: float) -> float | None:
        """Return the density to prune to after a step, counted from 1; None to change nothing.

        Parameters
        ----------
        first, final : float
            Densities before and after all pruning.
        """
        if step == self.last:
            return final
        if step > self.last or step < self._step(self.begin):
            return None
        if self.kind == "iterative":
            for number in range(1, self.rounds):
                if step == self._round(number):
                    return first * (final / first) ** (number / self.rounds)
        elif self.kind == "cubic":
            begin = self._step(self.begin)
            every = self.every or max(1, (self.steps or 1) // 100)
            if (step - begin) % every == 0:
                left = 1 - (step - begin) / (self.last - begin)
                return final + (first - final) * left**3
        return None

    def _step(self, share: float) -> int:
        return max(1, round(share * (self.steps or 1)))

    def _round(self, number: int) -> int:
        steps = (self.steps or 1) * (1 - self.begin)
        return self._step(self.begin) + int((number - 1) * steps / self.rounds)
