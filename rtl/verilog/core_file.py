"""The FuseSoC core file of a written design: lint, simulation, synthesis."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from importlib import metadata

from rtl.host import Design

__all__ = ["core_file"]

#: FPGA families that yosys synthesises for: target, edalize's name of it, options.
_FAMILIES = {
    "synth": ("ecp5", []),
    "synth_xilinx": ("xilinx", ["-family xc7", "-flatten"]),
    "synth_ice40": ("ice40", []),
}
_HEAD = """\
CAPI=2:
# fusesoc --cores-root . run --target=lint {name}
# Targets: lint, sim, {families}.
name: {name}
description: {summary}
filesets:
  rtl:
    files: [{top}.v: {{copyto: {top}.v}}]
    file_type: verilogSource
  bench:
    files:
"""
_TARGETS = """\
    file_type: user
targets:
  default: &default
    filesets: [rtl]
    toplevel: {top}
  lint:
    <<: *default
    flow: lint
    flow_options:
      tool: verilator
      verilator_options: [-Wall]
  sim:
    filesets: [rtl, bench]
    toplevel: {top}
    flow: sim
    flow_options:
      tool: icarus
      iverilog_options: [-g2012]
    hooks:
      pre_run: [bench]
"""
_SYNTHESIS = """\
  {target}:
    <<: *default
    flow: generic
    flow_options:
      tool: yosys
      arch: {family}
      output_format: json
      yosys_synth_options: {options}
"""
_SCRIPTS = """\
scripts:
  # Edalize 0.6 does not start cocotb 2.1, so that the bench starts itself. SIM=verilator is heeded.
  bench:
    cmd: [python3, -m, pytest, -p, no:cacheprovider, -q, -s, test_bench.py]
    filesets: [bench]
"""


def core_file(design: Design, beside: Iterable[str]) -> str:
    """Return the core file of a design.

    Parameters
    ----------
    beside : iterable of str
        Paths of what its bench needs, from the folder of the core file.
    """
    names = (design.config.to_dict()["name"], design.top)
    library, core = (re.sub(r"[^\w.-]+", "_", str(name)) for name in names)
    head = _HEAD.format(
        name=f"innerjoin:{library}:{core}:{metadata.version('innerjoin')}",
        families=", ".join(_FAMILIES),
        summary=json.dumps(design.summary),
        top=design.top,
    )
    files = "".join(f"      - {path}: {{copyto: {path}}}\n" for path in beside)
    synthesis = "".join(
        _SYNTHESIS.format(target=target, family=family, options=json.dumps(options))
        for target, (family, options) in _FAMILIES.items()
    )
    return head + files + _TARGETS.format(top=design.top) + synthesis + _SCRIPTS
