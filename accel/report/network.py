"""Tables of a network's results for the terminal; 120 columns are enough for each."""

from __future__ import annotations

from rich.table import Table

from accel.results import NetworkResult
from golden.counters import UNIT_COUNTERS
from golden.layer import LayerShape
from golden.machines.cluster.config import SkipMode

__all__ = [
    "describe_shape",
    "heading",
    "modes_table",
    "percent",
    "ratio",
    "short_counter",
    "speed_table",
    "time_table",
    "titled_table",
]

_NAME_WIDTH = 18
_COMPARED = (SkipMode.DENSE, SkipMode.STATIC, SkipMode.DYNAMIC)


def heading(result: NetworkResult) -> list[str]:
    """Say what ran on what; where weights and activations come from is always stated."""
    machine = result.config
    images = "1 image" if result.images == 1 else f"{result.images} images"
    return [
        f"{result.network} on {machine.name}: {machine.clusters} x {machine.units} units, "
        f"{machine.multipliers} multipliers; {images}",
        f"Source: {result.source}",
    ]


def describe_shape(shape: LayerShape | None) -> str:
    """Write a layer's input and filters, such as ``14x14x32 * 3x3x64 /2``."""
    if shape is None:
        return ""
    filters = f"{shape.kernel_height}x{shape.kernel_width}x{shape.out_channels}"
    text = f"{shape.in_height}x{shape.in_width}x{shape.in_channels} * {filters}"
    if (shape.stride_height, shape.stride_width) == (1, 1):
        stride = ""
    elif shape.stride_height == shape.stride_width:
        stride = f" /{shape.stride_height}"
    else:
        stride = f" /{shape.stride_height},{shape.stride_width}"
    return text + stride + (f" g{shape.groups}" if shape.groups > 1 else "")


def speed_table(result: NetworkResult) -> Table:
    """Return how fast each layer is; columns that need a mode that was not run are left out."""
    skip = _main_mode(result)
    compared = [mode for mode in _COMPARED if mode in result.skips and mode is not skip]
    table = titled_table(f"Speed, mode {skip.value}")
    table.add_column("input * filters", no_wrap=True)
    for title in ("weights\n%", "inputs\n%"):
        table.add_column(title, justify="right")
    if SkipMode.DENSE in compared:
        table.add_column("dense\ncycles", justify="right")
    table.add_column("\ncycles", justify="right")
    for mode in compared:
        table.add_column(f"times\n{mode.value}", justify="right")
    if SkipMode.BOTH in result.skips:
        table.add_column("% of\nideal", justify="right")
    table.add_column("utili-\nsation %", justify="right")
    for part in (*result.layers, result.total):
        if part is result.total:
            table.add_section()
        cells = [part.name, describe_shape(part.shape)]
        cells += [percent(part.weight_density), percent(part.activation_density)]
        if SkipMode.DENSE in compared:
            cells.append(str(part.modes[SkipMode.DENSE].cycles))
        cells.append(str(part.modes[skip].cycles))
        cells += [ratio(part.speed_up(skip, mode)) for mode in compared]
        if SkipMode.BOTH in result.skips:
            cells.append(percent(part.ideal_share(skip)))
        table.add_row(*cells, percent(part.utilisation(skip)))
    return table


def time_table(result: NetworkResult) -> Table:
    """Return where unit-cycles went, in percent, and bytes moved."""
    skip = _main_mode(result)
    table = titled_table(f"Where the time went, % of unit-cycles, and KiB moved, mode {skip.value}")
    for name in UNIT_COUNTERS:
        table.add_column(short_counter(name), justify="right")
    for tensor in ("input", "filters", "broadcast", "output"):
        table.add_column(f"{tensor}\nKiB", justify="right")
    for part in (*result.layers, result.total):
        if part is result.total:
            table.add_section()
        mode = part.modes[skip]
        moved = (mode.input_bytes, mode.filter_bytes, mode.broadcast_bytes, mode.output_bytes)
        table.add_row(
            part.name,
            *(percent(share) for share in mode.breakdown.shares().values()),
            *(f"{count / 1024:.1f}" for count in moved),
        )
    return table


def modes_table(result: NetworkResult) -> Table:
    """Return the whole network in each skip mode."""
    table = Table("skip mode", title="All layers", title_justify="left", title_style="bold")
    table.add_column("cycles", justify="right")
    if SkipMode.DENSE in result.skips:
        table.add_column("times\ndense", justify="right")
    if SkipMode.BOTH in result.skips:
        table.add_column("% of\nideal", justify="right")
    table.add_column("utili-\nsation %", justify="right")
    for name in UNIT_COUNTERS:
        table.add_column(f"{short_counter(name)}\n%", justify="right")
    total = result.total
    for skip in result.skips:
        mode = total.modes[skip]
        cells = [skip.value, str(mode.cycles)]
        if SkipMode.DENSE in result.skips:
            cells.append(ratio(total.speed_up(skip, SkipMode.DENSE)))
        if SkipMode.BOTH in result.skips:
            cells.append(percent(total.ideal_share(skip)))
        cells.append(percent(total.utilisation(skip)))
        table.add_row(*cells, *(percent(share) for share in mode.breakdown.shares().values()))
    return table


def _main_mode(result: NetworkResult) -> SkipMode:
    return SkipMode.BOTH if SkipMode.BOTH in result.skips else result.skips[-1]


def titled_table(title: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("layer", no_wrap=True, max_width=_NAME_WIDTH, overflow="ellipsis")
    return table


def short_counter(counter: str) -> str:
    """Return a heading: ``wait_memory_cycles`` is ``memory``."""
    return counter.removesuffix("_cycles").removeprefix("wait_")


def percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f}"


def ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
