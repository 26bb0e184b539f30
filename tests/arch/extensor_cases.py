"""Machines and drawn layers that oracle and hardware of ExTensor run."""

from __future__ import annotations

from functools import cache

from hypothesis import HealthCheck, Phase, given, seed, settings

from golden.layer import LayerShape
from golden.machines.extensor import ExTensorConfig
from tests.case import CONFIGURATIONS, Case, cases, make_case

__all__ = ["CATALOGUE", "MACHINES", "drawn_layers"]

_TOY = ExTensorConfig.preset("toy")

#: Small machines by name: narrow and wide ports and tiles, small and large blocks.
MACHINES: dict[str, ExTensorConfig] = {
    "toy": _TOY,
    "narrow": _TOY.replace(
        name="narrow", pes=3, tile=8, rows_max=1, columns_max=2, tile_bytes=36, port_bytes=2
    ),
    "wide": _TOY.replace(
        name="wide", pes=1, tile=64, rows_max=8, columns_max=16, tile_bytes=4096, port_bytes=16
    ),
    "widest-tile": _TOY.replace(name="widest-tile", pes=4, tile=256, tile_bytes=1200, port_bytes=8),
}


def _case(name: str, channels: int, size: tuple[int, int], filters: int, **changes) -> Case:
    """Return a case of spread codes; ``changes`` are of the layer and of ``make_case``."""
    fields = LayerShape.__dataclass_fields__
    layer = LayerShape(
        name=name,
        in_channels=channels,
        in_height=size[0],
        in_width=size[1],
        out_channels=filters,
        **{
            "kernel_height": 1,
            "kernel_width": 1,
            **{key: value for key, value in changes.items() if key in fields},
        },
    )
    rest = {key: value for key, value in changes.items() if key not in fields}
    machine = CONFIGURATIONS["output-major"]
    return make_case(name, machine, layer, output_signed=True, relu=False, **rest)


_SQUARE = {"kernel_height": 3, "kernel_width": 3}
_PADDED = {"pad_top": 1, "pad_bottom": 1, "pad_left": 1, "pad_right": 1}

#: Layers with matches on all levels, of several items a processing element.
CATALOGUE: tuple[Case, ...] = (
    _case("plain", 6, (5, 4), 6, **_SQUARE, **_PADDED),
    _case("sparse", 200, (3, 4), 9, weight_density=0.05, activation_density=0.08),
    _case(
        "groups", 14, (7, 6), 8, **_SQUARE, groups=2, stride_height=2, stride_width=2, signed=True
    ),
    _case("connected", 600, (1, 1), 20, weight_density=0.2, activation_density=0.3),
    _case("dense", 40, (2, 2), 5, weight_density=1.0, activation_density=1.0),
    _case("rows-and-columns-of-zeros", 48, (4, 4), 9, zero_filters=(0, 3, 4, 8), zero_pixels=0.4),
)


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
