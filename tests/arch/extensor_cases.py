"""Machines and drawn layers that oracle and hardware of ExTensor run."""

from __future__ import annotations

from functools import cache

from hypothesis import HealthCheck, Phase, given, seed, settings

from golden.extensor import ExTensorConfig
from tests.case import CONFIGURATIONS, Case, cases

__all__ = ["MACHINES", "drawn_layers"]

_TOY = ExTensorConfig.preset("toy")

#: Small machines by name: narrow and wide ports and tiles, short and long queues.
MACHINES: dict[str, ExTensorConfig] = {
    "toy": _TOY,
    "narrow": _TOY.replace(name="narrow", pes=3, tile=8, rows_max=1, port_bytes=2, queue=1),
    "wide": _TOY.replace(
        name="wide", pes=1, tile=64, rows_max=8, port_bytes=16, queue=4, row_buffer_bytes=1 << 14
    ),
    "widest-tile": _TOY.replace(name="widest-tile", pes=4, tile=256, port_bytes=8, queue=3),
}


@cache
def drawn_layers(number: int, count: int) -> tuple[Case, ...]:
    """Return some layers with their tensors; the machine in them is of no account.

    Parameters
    ----------
    number : int
        Seed.
    count : int
        How many.
    """
    result: list[Case] = []

    @seed(number)
    @settings(
        max_examples=count,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(cases(configs=[CONFIGURATIONS["output-major"]], steps_max=60))
    def draw(case: Case) -> None:
        result.append(case)

    draw()
    return tuple(result)
