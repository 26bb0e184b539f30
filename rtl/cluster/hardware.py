"""A cluster as the host, the simulators, the Verilog writer and synthesis see it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from golden.counters import CLUSTER_COUNTERS, LayerCounters
from golden.machines.cluster.config import AcceleratorConfig, Dealing, SkipMode
from golden.machines.cluster.program import ClusterProgram
from golden.program import Codes, LayerRun
from rtl.block import Block, RamPlace
from rtl.cluster.cluster import Cluster, latencies
from rtl.cluster.driver.capacity import check_config
from rtl.cluster.driver.program import make_program
from rtl.cluster.driver.results import decode_outputs, expected_beats, layer_counters
from rtl.cluster.layouts import Layouts, register_map
from rtl.cluster.unit.join import InnerJoin
from rtl.cluster.unit.unit import Unit
from rtl.host import Beat, Design, Hardware, Program, Result, counters_by_register
from rtl.lib.component import Component

__all__ = ["HARDWARE"]

#: An input buffer that leaves block RAM for the rest: 16 of the device's 208 blocks.
_INPUT_BUFFER_BYTES = 1 << 15
#: Each unit has a place of its own on the device, around what all share.
_PLACES = (
    *(
        RamPlace(rf"dut\.core\.unit{number}\.", row, first, first + 13)
        for number, (row, first) in enumerate(
            (row, first)
            for row, columns in ((22, (0, 19, 38)), (46, (0, 38)), (70, (0, 19, 38)))
            for first in columns
        )
    ),
    RamPlace(r"dut\.buffer\.(even|odd)\.", 82, 18, 33),
    RamPlace(r"dut\.(?!core\.unit)", 46, 14, 37),
)


def _design(config: AcceleratorConfig) -> Design:
    check_config(config)
    layouts = Layouts(config)
    home = {"home": _home_fields(layouts)} if layouts.merges else {}
    return Design(
        top="cluster",
        summary=f"one cluster of {config.units} units",
        config=config,
        make=lambda: Cluster(config),
        registers=register_map(config),
        load_rows=layouts.row_words,
        beat_bits=layouts.beat_bits,
        filter_stream={
            "bytes": config.filter_bus_bytes,
            "mask_beats": config.mask_beats,
            **home,
        },
        output=layouts.output,
        latencies=asdict(latencies()),
    )


def _home_fields(layouts: Layouts) -> dict[str, list[int]]:
    """Return where a beat has the home of its filter: first bit, bits."""
    first, lane = 8 * layouts.config.filter_bus_bytes, layouts.lane_bits
    return {"lane": [first, lane], "beat": [first + lane, layouts.home_bits - lane]}


def _programs(config: AcceleratorConfig, run: LayerRun, mode: SkipMode) -> list[Program | None]:
    made = ClusterProgram.build(config, run)
    return [
        make_program(config, made.workload, made.schedule, mode, cluster)
        for cluster in range(config.clusters)
    ]


def _collect(
    config: AcceleratorConfig, run: LayerRun, mode: SkipMode, results: list[Result | None]
) -> tuple[Codes, LayerCounters]:
    made = ClusterProgram.build(config, run)
    beats = [[] if result is None else result[0] for result in results]
    codes = decode_outputs(config, made.workload, made.schedule, beats)
    read = [None if result is None else result[1] for result in results]
    return codes, layer_counters(config, read)


def _expected_beats(config: AcceleratorConfig, run: LayerRun, codes: Codes) -> list[list[Beat]]:
    schedule = ClusterProgram.build(config, run).schedule
    return expected_beats(config, run.task.layer, schedule, codes)


def _expected_counters(config: AcceleratorConfig, counters: LayerCounters) -> list[dict[str, int]]:
    return counters_by_register(CLUSTER_COUNTERS, counters.clusters, counters.units)


def _block(
    make: Callable[[AcceleratorConfig], Component], target_mhz: int, **options: Any
) -> Block:
    def checked(config: AcceleratorConfig) -> Component:
        check_config(config)
        return make(config)

    return Block(
        config=AcceleratorConfig,
        make=checked,
        target_mhz=target_mhz,
        preset="small",
        fit=_fit,
        **options,
    )


def _fit(config: AcceleratorConfig) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if config.dealing is Dealing.QUEUE:  # clusters that deal among themselves are not built
        changes["dealing"] = Dealing.INTERLEAVED
    if config.input_buffer_bytes > _INPUT_BUFFER_BYTES:
        chunks = _INPUT_BUFFER_BYTES // config.chunk
        changes["input_buffer_bytes"] = _INPUT_BUFFER_BYTES
        changes["input_buffer_chunks"] = min(config.input_buffer_chunks, chunks)
    return changes


HARDWARE = Hardware(
    design=_design,
    programs=_programs,
    collect=_collect,
    expected_beats=_expected_beats,
    expected_counters=_expected_counters,
    blocks={
        "join": _block(lambda config: InnerJoin(config.chunk, 32), 200),
        "unit": _block(lambda config: Unit(Layouts(config)), 200),
        "cluster": _block(Cluster, 93, whole=(Unit,), places=_PLACES),
    },
)
