"""A processing element of ExTensor as the host, the simulators, the Verilog writer and synthesis
see it.
"""

from __future__ import annotations

from dataclasses import asdict

from golden.machines.cluster.config import SkipMode
from golden.machines.extensor import ExTensorConfig, ExTensorCounters
from golden.program import Codes, LayerRun
from rtl.block import SHORT_PLACER, Block
from rtl.extensor.driver import (
    decode_outputs,
    expected_beats,
    expected_counters,
    layer_counters,
    make_programs,
)
from rtl.extensor.intersection.intersect import Intersect
from rtl.extensor.layouts import LOAD_TARGETS, Layouts, register_map
from rtl.extensor.pe import ProcessingElement, latencies
from rtl.host import Design, Hardware, Program, Result, require_both

__all__ = ["HARDWARE"]

_PE = "extensor_pe"


def _design(config: ExTensorConfig) -> Design:
    layouts = Layouts(config)
    return Design(
        top=_PE,
        summary=f"one processing element of {config.pes}",
        config=config,
        make=lambda: ProcessingElement(config),
        registers=register_map(),
        load_rows=dict.fromkeys(LOAD_TARGETS, 2),
        beat_bits=layouts.beat.size,
        filter_stream={"bytes": config.port_bytes, "last": [8 * config.port_bytes, 1]},
        output=layouts.output,
        latencies=asdict(latencies()),
    )


def _programs(config: ExTensorConfig, run: LayerRun, mode: SkipMode) -> list[Program | None]:
    require_both(config, mode)
    return make_programs(config, run)


def _collect(
    config: ExTensorConfig, run: LayerRun, mode: SkipMode, results: list[Result | None]
) -> tuple[Codes, ExTensorCounters]:
    outputs = [[] if result is None else result[0] for result in results]
    codes = decode_outputs(config, run, outputs)
    read = [None if result is None else result[1] for result in results]
    return codes, layer_counters(config, read)


HARDWARE = Hardware(
    design=_design,
    programs=_programs,
    collect=_collect,
    expected_beats=expected_beats,
    expected_counters=expected_counters,
    blocks={
        "extensor-intersect": Block(
            config=ExTensorConfig,
            make=lambda config: Intersect(config.tile),
            target_mhz=80,
            preset="paper",
        ),
        "extensor-pe": Block(
            config=ExTensorConfig,
            make=ProcessingElement,
            target_mhz=43,
            preset="paper",
            placer=SHORT_PLACER,
        ),
    },
)
