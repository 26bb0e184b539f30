"""Tests of the design in this folder with cocotb: a place to begin.

``make``, or ``pytest test_bench.py``, runs them. ``STALLS=7`` has all streams pause at random,
from that seed; ``COVER=1`` writes ``coverage.xml`` (pip install cocotb-coverage).
"""

import os

import cocotb
from innerjoin_bench import Coverage, Description, Host, Stalls, load_vector, vector_names

DESCRIPTION = Description()
VECTORS = vector_names()


def chosen_stalls() -> Stalls:
    """Return what the environment asks for."""
    seed = os.environ.get("STALLS")
    return Stalls(int(seed) if seed else None)


@cocotb.test()
async def rests_after_reset(dut):
    """Nothing runs, nothing is done, nothing comes out."""
    host = await Host.start(dut, DESCRIPTION)
    assert await host.registers.read("status") == 0
    assert not host.outputs.beats


@cocotb.test()
@cocotb.parametrize(name=[cocotb.Param(name, name) for name in VECTORS])
async def gives_what_the_vector_says(dut, name):
    """Every output beat and every counter."""
    host = await Host.start(dut, DESCRIPTION, chosen_stalls())
    coverage = Coverage(dut, DESCRIPTION) if os.environ.get("COVER") else None
    vector = load_vector(name)
    await host.check(vector)
    assert await host.registers.read("status") == 2  # done, not running
    if coverage is not None:
        coverage.sample_counters(await host.counters())
        dut._log.info("Covered: %.1f %%", coverage.report("coverage.xml"))


@cocotb.test()
async def runs_again_without_a_reset(dut):
    """Nothing is left of a layer in the next one, stalled or not."""
    vector = load_vector(VECTORS[0])
    host = await Host.start(dut, DESCRIPTION, Stalls(1))
    await host.check(vector)
    await host.check(vector)
