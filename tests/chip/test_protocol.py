"""The chip's bus with a slave that others wrote, and that knows nothing of its cycles."""

from __future__ import annotations

import json

import numpy as np
import pytest

from rtl.chip.chip import Chip
from rtl.chip.core import Core
from rtl.chip.registers import Control, register_map
from rtl.lib.component import ports
from rtl.sim import runner
from rtl.sim.build import search_path
from rtl.verilog.writer import component_verilog
from tests.chip.test_memory_side import expect

#: Between cocotbext-axi, which wants identifiers, and the chip, which has none.
_WRAPPER = """
`timescale 1ns / 1ps
module protocol(input clk, input rst, output interrupt{ports},
                output axi_arid, output axi_awid, input axi_rid, input axi_bid);
  assign axi_arid = 0, axi_awid = 0;
  chip dut(.clk(clk), .rst(rst), .interrupt(interrupt){pins});
endmodule
"""


def wrap(chip: Chip) -> str:
    """Return the Verilog of a chip, and of the module that the bench sees."""
    declared, pins = [], []
    for name, member, value in ports(chip.signature, chip):
        if name.startswith(("axi__", "host__")) and not name.endswith("user"):
            kind = "output" if member.flow.name == "Out" else "input"
            flat = name.replace("__", "_")
            declared.append(f"{kind} [{len(value) - 1}:0] {flat}")
            pins.append(f".{name}({flat})")
    text = _WRAPPER.replace("{ports}", "".join(f",\n  {one}" for one in declared))
    text = text.replace("{pins}", "".join(f", {pin}" for pin in pins))
    return text + component_verilog(chip, "chip")


@pytest.mark.slow
def test_cocotbext_axi(tmp_path):
    """Unaligned bursts, strobes and pauses on five channels: the golden model's bytes."""
    expected = expect(12)
    (tmp_path / "chip.v").write_text(wrap(Chip(expected.case.config)), "utf-8")
    (tmp_path / "image").write_bytes(expected.begin.tobytes())
    header = expected.program.image[:32].view("<u4").tolist()
    values = {
        "list_address": header[2], "list_entries": header[3], "interrupt_enable": 1,
        "control": Control.START,
    }  # fmt: skip
    addresses = register_map(Core.COUNTERS).addresses
    environment = {
        "PATH": search_path(),
        "IMAGE": str(tmp_path / "image"),
        "OUTPUT": str(tmp_path / "output"),
        "COMMANDS": json.dumps([(4 * addresses[name], value) for name, value in values.items()]),
    }
    common = {"hdl_toplevel": "protocol", "build_dir": str(tmp_path)}
    runner.run(
        "icarus", "build", environment, tmp_path, sources=[str(tmp_path / "chip.v")],
        build_args=["-g2012"], always=True, **common,
    )  # fmt: skip
    runner.run(
        "icarus", "test", environment, tmp_path, test_module="tests.chip.protocol_bench",
        hdl_toplevel_lang="verilog", test_dir=str(tmp_path), **common,
    )  # fmt: skip
    found = np.fromfile(tmp_path / "output", dtype=np.uint8)
    assert np.array_equal(found, expected.end)
