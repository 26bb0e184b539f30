"""A core of Cambricon-S as the host, the simulators, the Verilog writer and synthesis see it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from golden.machines.cambricon_s import CORE_COUNTERS, CambriconSConfig, CambriconSCounters
from golden.machines.cluster.config import SkipMode
from golden.program import Codes, LayerRun
from rtl.block import SHORT_PLACER, Block
from rtl.cambricon_s.core import Core, latencies
from rtl.cambricon_s.driver import (
    CoreLayer,
    decode_outputs,
    expected_beats,
    layer_counters,
    make_program,
)
from rtl.cambricon_s.layouts import CoreLayouts, register_map
from rtl.cambricon_s.pe import ProcessingElement
from rtl.cambricon_s.windows.selector import NeuronSelector
from rtl.host import (
    Beat,
    Design,
    Hardware,
    Program,
    Result,
    counters_by_register,
    require_both,
)
from rtl.lib.component import Component

__all__ = ["HARDWARE"]

#: A neuron buffer that leaves block RAM for the rest: 32 of the device's 208 blocks.
_NEURON_BUFFER_BYTES = 1 << 16


def _design(config: CambriconSConfig) -> Design:
    layouts = CoreLayouts(config)
    return Design(
        top="cambricon_s_core",
        summary=f"one Cambricon-S core of {config.pes} PEs",
        config=config,
        make=lambda: Core(config),
        registers=register_map(config),
        load_rows=layouts.row_words,
        beat_bits=8 * config.bus_bytes,
        filter_stream={"bytes": config.bus_bytes, "mask_beats": config.mask_beats},
        output=layouts.output,
        latencies=asdict(latencies()),
    )


def _programs(config: CambriconSConfig, run: LayerRun, mode: SkipMode) -> list[Program | None]:
    require_both(config, mode)
    made = CoreLayer(config, run)
    return [make_program(made, core) for core in range(config.cores)]


def _collect(
    config: CambriconSConfig, run: LayerRun, mode: SkipMode, results: list[Result | None]
) -> tuple[Codes, CambriconSCounters]:
    beats = [[] if result is None else result[0] for result in results]
    codes = decode_outputs(CoreLayer(config, run), beats)
    read = [None if result is None else result[1] for result in results]
    return codes, layer_counters(config, read)


def _expected_beats(config: CambriconSConfig, run: LayerRun, codes: Codes) -> list[list[Beat]]:
    return expected_beats(CoreLayer(config, run), codes)


def _expected_counters(
    config: CambriconSConfig, counters: CambriconSCounters
) -> list[dict[str, int]]:
    return counters_by_register(CORE_COUNTERS, counters.cores, counters.units)


def _block(make: Callable[[CambriconSConfig], Component], target_mhz: int, **options: Any) -> Block:
    return Block(
        config=CambriconSConfig,
        make=make,
        target_mhz=target_mhz,
        preset="small",
        fit=_fit,
        **options,
    )


def _fit(config: CambriconSConfig) -> dict[str, Any]:
    if config.neuron_buffer_bytes <= _NEURON_BUFFER_BYTES:
        return {}
    return {"neuron_buffer_bytes": _NEURON_BUFFER_BYTES}


HARDWARE = Hardware(
    design=_design,
    programs=_programs,
    collect=_collect,
    expected_beats=_expected_beats,
    expected_counters=_expected_counters,
    blocks={
        "cambricon-s-selector": _block(lambda config: NeuronSelector(CoreLayouts(config)), 70),
        "cambricon-s-pe": _block(lambda config: ProcessingElement(CoreLayouts(config)), 72),
        "cambricon-s-core": _block(
            Core, 42, whole=(ProcessingElement,), placer=SHORT_PLACER, sparse=True
        ),
    },
)
