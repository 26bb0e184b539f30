"""Build the design in this folder, and run ``bench.py`` on it: ``make``, or ``pytest``.

``SIM`` is icarus or verilator, ``WAVES=1`` keeps waves beside the build.
"""

import os
from pathlib import Path

from cocotb_tools.runner import get_runner
from innerjoin_bench import Description

FOLDER = Path(__file__).resolve().parent
ARGUMENTS = {
    "icarus": ["-g2012"],
    # Only ports are visible to cocotb: with all signals public nothing is optimised.
    "verilator": [
        "-Wno-fatal", "--no-public-flat-rw", "--public-depth", "1",
        "--build", "-MAKEFLAGS", "OPT_FAST=-O1 OPT_SLOW=-O0 OPT_GLOBAL=-O0",
    ],
}  # fmt: skip


def test_bench():
    """All tests of ``bench.py`` pass."""
    simulator = os.environ.get("SIM", "icarus")
    waves = os.environ.get("WAVES", "0") not in ("", "0")
    top = Description().top
    build = FOLDER / "sim_build" / (f"{simulator}-waves" if waves else simulator)
    arguments = ARGUMENTS.get(simulator, [])
    if waves and simulator == "verilator":
        arguments = [*arguments, "--trace-fst"]
    runner = get_runner(simulator)
    runner.build(
        sources=[FOLDER / f"{top}.v"],
        hdl_toplevel=top,
        build_args=arguments,
        build_dir=build,
        waves=waves,
    )
    runner.test(
        hdl_toplevel=top,
        hdl_toplevel_lang="verilog",
        test_module="bench",
        build_dir=build,
        test_dir=FOLDER,
        results_xml=str(build / "results.xml"),
        test_args=["--trace-file", str(build / f"{top}.fst")] if simulator == "verilator" else [],
        waves=waves,
    )
