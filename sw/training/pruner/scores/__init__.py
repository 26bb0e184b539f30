"""Scores of weights: a file here and a line in ``SCORES`` each."""

from __future__ import annotations

from sw.training.pruner.scores.magnitude import Magnitude
from sw.training.pruner.scores.movement import Movement
from sw.training.pruner.scores.score import Score
from sw.training.pruner.scores.snip import Snip
from sw.training.pruner.scores.taylor import Taylor
from sw.training.pruner.scores.wanda import Wanda

__all__ = ["SCORES", "Score"]

SCORES: dict[str, Score] = {
    each.name: each for each in (Magnitude(), Taylor(), Snip(), Movement(), Wanda())
}
