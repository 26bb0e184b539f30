"""The memory side under Amaranth's simulator, between a memory and a scripted compute side."""

from __future__ import annotations

from typing import Any

from amaranth.sim import Simulator

from golden.chip.program import ChipProgram
from rtl.chip.memory.memory_side import MemorySide
from tests.chip.axi_memory import BUS, AxiMemory
from tests.chip.scripted_core import ScriptedCore

__all__ = ["run_memory_side"]


def run_memory_side(
    program: ChipProgram, memory: AxiMemory, script: ScriptedCore, limit: int = 200_000
) -> dict[str, Any]:
    """Run a network; return cycles, code, entry, and bytes and bursts by kind."""
    dut = MemorySide(program.config)
    core, axi = dut.core, dut.axi
    watched = {name: getattr(axi, name) for name in BUS} | {
        "rows_valid": core.rows.valid, "rows_ready": core.rows.ready,
        "rows_taken": core.rows_taken, "rows_data": core.rows.payload.data.as_value(),
        "rows_count": core.rows.payload.count, "rows_operand": core.rows.payload.operand,
        "rows_first": core.rows.payload.first, "rows_gap": core.rows.payload.gap,
        "rows_tile": core.rows.payload.tile,
        "rows_closed": core.rows_closed, "filters_valid": core.filters.valid,
        "filters_ready": core.filters.ready, "filters_data": core.filters.payload.data,
        "filters_first": core.filters.payload.first,
        "residual_valid": core.residual.valid, "residual_arrived": core.residual_arrived,
        "residual_taken": core.residual_taken, "residual_data": core.residual.payload.as_value(),
        "control_valid": core.control.valid, "control_kind": core.control.payload.kind,
        "control_word": core.control.payload.word, "control_last": core.control.payload.last,
        "control_data": core.control.payload.data.as_value(), "write_free": core.write_free,
        "ended": dut.ended, "running": dut.running, "clear": core.clear,
    }  # fmt: skip
    result: dict[str, Any] = {}
    header = program.image[:32].view("<u4").tolist()

    async def bench(ctx) -> None:
        ctx.set(dut.list_address, header[2])
        ctx.set(dut.list_entries, header[3])
        driven: dict[str, int] = {}

        def drive(port, name: str, value: int) -> None:
            if driven.get(name) != value:
                driven[name] = value
                ctx.set(port, value)

        for now in range(limit):
            drive(dut.start, "start", int(now == 0))
            for name, value in memory.outputs.items():
                drive(getattr(axi, name), name, value)
            _drive_core(drive, core, script.outputs(now))
            _, _, *values = await ctx.tick().sample(*watched.values())
            seen = dict(zip(watched, values, strict=True))
            seen["control_kind"] = getattr(seen["control_kind"], "value", seen["control_kind"])
            memory.step(now, seen)
            script.step(now, seen)
            if seen["ended"]:
                break
        else:
            raise AssertionError(f"the memory side hangs: still running after {limit} cycles")
        result["cycles"] = now + 1
        await ctx.tick().repeat(4)
        result["running"], result["code"] = ctx.get(dut.running), ctx.get(dut.code)
        result["entry"] = ctx.get(dut.entry)
        result["streams"] = {}
        for kind in range(9):
            ctx.set(dut.kind, kind)
            await ctx.tick().repeat(2)
            result["streams"][kind] = (ctx.get(dut.bytes), ctx.get(dut.bursts))

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return result


def _drive_core(drive, core, outputs: dict[str, Any]) -> None:
    for name in ("tile_done", "half_read", "filters_used", "residual_release", "rows_taken"):
        drive(getattr(core, name), name, outputs[name])
    drive(core.rows.ready, "rows_ready", outputs["rows_ready"])
    drive(core.filters.ready, "filters_ready", outputs["filters_ready"])
    drive(core.residual.ready, "residual_ready", int(outputs["residual"] > 0))
    drive(core.residual_taken, "residual_taken", outputs["residual"])
    piece, burst = outputs["pieces"], outputs["bursts"]
    drive(core.pieces.valid, "pieces_valid", int(piece is not None))
    if piece is not None:
        payload = core.pieces.payload
        ports = (payload.data.as_value(), payload.count, payload.offset, payload.last)
        for name, port, value in zip(
            ("data", "count", "offset", "last"), ports, piece, strict=True
        ):
            drive(port, f"piece_{name}", value)
    drive(core.bursts.valid, "bursts_valid", int(burst is not None))
    if burst is not None:
        payload = core.bursts.payload
        for name, value in zip(("bytes", "step", "last"), burst, strict=True):
            drive(payload[name], f"burst_{name}", value)
