"""The tables of a run: how fast, what of it is due to what, and where the time went."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from accel.report.table import Column, Kind, Table, figure, shorten
from golden.counters import UNIT_COUNTERS
from golden.layer import LayerShape
from golden.machines.cluster.config import SkipMode

if TYPE_CHECKING:
    from accel.results import LayerResult, MachineResult, Run

__all__ = [
    "Item",
    "describe_shape",
    "heading",
    "percent",
    "ratio",
    "run_report",
    "run_summary",
    "short_counter",
]

#: What a report consists of: tables, and lines of words.
Item = Table | str

_MEGA = 1e6
_COMPARED = (SkipMode.DENSE, SkipMode.STATIC, SkipMode.DYNAMIC)
#: Rows of a table, and machines beside one another, in what Python shows of a run.
_SUMMARY_ROWS, _SUMMARY_MACHINES = 40, 12
_NAME_MAX = 60

#: Heads of the counters that are too wide for 80 columns in one line.
_FOLDED_COUNTERS = {
    "siblings": "sib-\nlings",
    "broadcast": "broad-\ncast",
    "collector": "collec-\ntor",
}


class _Row(NamedTuple):
    """A row of a table: a layer, or the sum of all, in a mode."""

    name: str
    layer: LayerResult
    mode: SkipMode


def run_report(run: Run) -> list[Item]:
    """Return all that a terminal shows of a run."""
    if len(run.machines) > 1:
        note = _ENERGY_NOTE.format(run.technology_node)
        return [*heading(run), *_comparison_tables(run), *_host_table(run), note]
    machine = next(iter(run.machines))
    items: list[Item] = [
        *heading(run),
        _speed_table(machine),
        _layers_table(machine),
        *_host_table(run),
        _time_table("layer", _layer_rows(machine), f"mode {_main_mode(machine).value}"),
    ]
    if len(machine.modes) > 1:
        items += [
            _summary_table("skip mode", _mode_rows(machine), SkipMode.DENSE.value),
            _time_table("skip mode", _mode_rows(machine), "all layers"),
        ]
    return items


def run_summary(run: Run) -> list[Item]:
    """Return a run in short, however many layers and machines it has."""
    if len(run.machines) == 1:
        tables = [_speed_table(run.machines[0])]
    elif len(run.machines) <= _SUMMARY_MACHINES:
        machines, _, layers = _comparison_tables(run)
        tables = [layers, machines]
    else:
        tables = [_comparison_tables(run)[0]]
    return [*heading(run), *(table.shortened(_SUMMARY_ROWS) for table in tables)]


def heading(run: Run) -> list[Item]:
    """Say what ran on what; where weights and activations come from is always stated."""
    images = "1 image" if run.images == 1 else f"{run.images} images"
    network = shorten(run.network, _NAME_MAX)
    sizes = sorted({machine.layers[0].multipliers for machine in run.machines})
    multipliers = f"{' or '.join(map(str, sizes))} multipliers"
    if len(run.machines) == 1:
        machine = run.machines[0]
        name = shorten(machine.name, _NAME_MAX)
        known = "" if machine.machine == machine.name else f" ({machine.machine})"
        size = "" if multipliers == machine.size else f"{machine.size}, "
        what = f"{network} on {name}{known}: {size}{multipliers}; {images}"
    else:
        what = f"{network} on {len(run.machines)} machines of {multipliers}; {images}"
    lines: list[Item] = [what, f"Source: {run.source}"]
    if run.host:
        lines.append(
            f"{percent(run.machine_share)} % of the multiply-accumulates are on the machine; "
            f"{len(run.host)} nodes are on the host, and their time is not counted."
        )
    return lines


#: The operator of nodes that bring what the host makes back to codes.
_BACK_TO_CODES = "QuantizeLinear"


def _host_table(run: Run) -> list[Table]:
    """Return what ran on the host, but for the quantisation of what it made; or nothing."""
    shown = [part for part in run.host if part.operator != _BACK_TO_CODES] or run.host
    if not shown:
        return []
    macs = sum(part.macs for part in run.host)
    table = Table(
        "On the host, by ONNX Runtime",
        [
            Column("node", Kind.NAME),
            Column("operator", Kind.NAME),
            figure("% of\nMACs"),
            Column("why", Kind.TEXT),
        ],
    )
    for part in shown:
        share = (1 - run.machine_share) * part.macs / max(1, macs)
        table.add(part.name, part.operator, percent(share), part.reason)
    return [table]


_ENERGY_NOTE = (
    "Energy: {}, multiplications, additions, buffers and DRAM; no control logic, clock or leakage."
)

# -- one machine ----------------------------------------------------------------------------


def _main_mode(machine: MachineResult) -> SkipMode:
    return SkipMode.BOTH if SkipMode.BOTH in machine.modes else machine.modes[-1]


def _layer_rows(machine: MachineResult) -> list[_Row]:
    mode = _main_mode(machine)
    return [_Row(layer.name, layer, mode) for layer in (*machine.layers, machine.total)]


def _mode_rows(machine: MachineResult) -> list[_Row]:
    total = machine.total
    return [_Row(mode.value, total, mode) for mode in machine.modes]


def _speed_table(machine: MachineResult) -> Table:
    """Return how fast each layer is; what needs a mode that was not run is left out."""
    mode = _main_mode(machine)
    compared = [each for each in _COMPARED if each in machine.modes and each is not mode]
    # Of a machine that can't skip both, what counts is how close it is to all that it can do.
    two_sided = mode is SkipMode.BOTH
    table = Table(
        f"Speed, mode {mode.value}",
        [
            Column("layer", Kind.NAME),
            figure("cycles"),
            *(figure(f"times\n{each.value}") for each in compared),
            figure("% of\nideal" if two_sided else "% of own\nideal"),
            figure("utili-\nsation %"),
        ],
        total=True,
    )
    for name, layer, _ in _layer_rows(machine):
        table.add(
            name,
            layer.timings[mode].cycles,
            *(ratio(layer.speed_up(mode, each)) for each in compared),
            percent(layer.ideal_share(mode) if two_sided else layer.own_ideal_share(mode)),
            percent(layer.utilisation(mode)),
        )
    return table


def _layers_table(machine: MachineResult) -> Table:
    """Return what each layer is, and what of it is not zero."""
    mode = _main_mode(machine)
    table = Table(
        "Layers: shares that are not zero, and DRAM traffic",
        [
            Column("layer", Kind.NAME),
            Column("input * filters", Kind.TEXT),
            figure("weights\n%"),
            figure("inputs\n%"),
            figure("DRAM\nKiB"),
        ],
        total=True,
    )
    for name, layer, _ in _layer_rows(machine):
        table.add(
            name,
            describe_shape(layer.shape),
            percent(layer.weight_density),
            percent(layer.activation_density),
            f"{layer.timings[mode].dram.total_bytes / 1024:.1f}",
        )
    return table


def _time_table(head: str, rows: Iterable[_Row], what: str) -> Table:
    """Return where unit-cycles went, in percent."""
    counters = [short_counter(name) for name in UNIT_COUNTERS]
    table = Table(
        f"Where the time went, % of unit-cycles, {what}",
        [
            Column(head, Kind.NAME),
            *(figure(_FOLDED_COUNTERS.get(counter, counter)) for counter in counters),
        ],
        total=head == "layer",
    )
    for name, layer, mode in rows:
        table.add(name, *(percent(share) for share in layer.timings[mode].shares().values()))
    return table


def _summary_table(head: str, rows: Sequence[_Row], baseline: str) -> Table:
    """Return the whole network, a row a machine or a mode, beside the baseline."""
    known = [row for row in rows if row.name == baseline]
    over = known[0].layer.timings[known[0].mode].cycles if known else None
    table = Table(
        "All layers",
        [
            Column(head, Kind.NAME),
            figure("cycles"),
            *([figure(f"times\n{_folded_name(baseline)}")] if over is not None else []),
            figure("% of own\nideal"),
            figure("utili-\nsation %"),
            figure("Mpairs"),
            figure("DRAM\nMB"),
            figure("on-chip\nuJ"),
            figure("with\nDRAM uJ"),
        ],
    )
    for name, total, mode in rows:
        timing = total.timings[mode]
        table.add(
            name,
            timing.cycles,
            *([ratio(over / timing.cycles)] if over is not None else []),
            percent(total.own_ideal_share(mode)),
            percent(total.utilisation(mode)),
            f"{timing.pairs / _MEGA:.1f}",
            f"{timing.dram.total_bytes / _MEGA:.2f}",
            f"{timing.energy.on_chip_pj / _MEGA:.1f}",
            f"{timing.energy.total_pj / _MEGA:.1f}",
        )
    return table


# -- several machines -----------------------------------------------------------------------


def _comparison_tables(run: Run) -> tuple[Table, Table, Table]:
    """Return the whole network on each machine, where the time went, and the layers."""
    rows = [_Row(each.name, each.total, each.modes[-1]) for each in run.machines]
    return (
        _summary_table("machine", rows, run.baseline.name),
        _time_table("machine", rows, "all layers"),
        _speed_ups_table(run),
    )


def _speed_ups_table(run: Run) -> Table:
    """Return each layer's speed-up on each machine over the baseline."""
    base = run.baseline
    table = Table(
        f"Times {shorten(base.name, _NAME_MAX)}, by layer",
        [
            Column("layer", Kind.NAME),
            *(figure(_folded_name(machine.name)) for machine in run.machines),
        ],
        total=True,
    )
    columns = [(*machine.layers, machine.total) for machine in run.machines]
    for index, layer in enumerate((*base.layers, base.total)):
        table.add(layer.name, *(ratio(layer.cycles / column[index].cycles) for column in columns))
    return table


# -- words ----------------------------------------------------------------------------------


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


def _folded_name(name: str) -> str:
    """Write a machine's name on up to three lines of a head."""
    return "\n".join(shorten(part, 12) for part in name.split("-", 2))


def short_counter(counter: str) -> str:
    """Return a heading: ``wait_memory_cycles`` is ``memory``."""
    return counter.removesuffix("_cycles").removeprefix("wait_")


def percent(share: float) -> str:
    return f"{100 * share:.1f}"


def ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
