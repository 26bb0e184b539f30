"""The worked example of docs/streams.md: the hardware runs it, and the driver writes the same.

Words, beats and what comes out were written by hand from that page and from machine.md.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("amaranth")

from golden.arithmetic import Requantisation
from golden.layer import LayerShape
from golden.machines.cluster.config import AcceleratorConfig, SkipMode
from golden.program import LayerRun, LayerTask
from rtl.cluster.hardware import HARDWARE
from rtl.host import Program
from rtl.sim.amaranth import run_programs

PAGE = Path(__file__).parents[2] / "docs/streams.md"
TOY = AcceleratorConfig.preset("toy")
DESIGN = HARDWARE.design(TOY)


def blocks() -> dict[str, list[list[str]]]:
    """Return the words of each line of the page's blocks, by the block's name."""
    found = re.findall(r"(?ms)^```(\w.*?)\n(.*?)^```$", PAGE.read_text(encoding="utf-8"))
    return {name: [line.split() for line in text.splitlines()] for name, text in found}


@pytest.fixture(scope="module")
def example() -> Program:
    found = blocks()
    loads = {name[6:]: lines for name, lines in found.items() if name.startswith("words ")}
    return Program(
        registers={name: int(value) for name, value in found["registers"]},
        loads={
            name: np.array([int(word, 16) for line in lines for word in line], dtype=np.uint32)
            for name, lines in loads.items()
        },
        beats=np.array([[int(byte, 16) for byte in line] for line in found["beats"]], np.uint8),
        output_beats=len(found["outputs"]),
        cycle_limit=200,
    )


def test_hardware_gives_what_the_page_says(example):
    ((outputs, counters),) = run_programs(DESIGN, [example])
    assert outputs == [int(beat, 16) for (beat,) in blocks()["outputs"]]
    given = {name: int(value) for name, value in blocks()["counters"]}
    assert len(given) == 18
    assert counters == dict.fromkeys(counters, 0) | given


def test_driver_writes_what_the_page_says(example):
    layer = LayerShape(
        name="page", in_channels=5, in_height=1, in_width=1, out_channels=2,
        kernel_height=1, kernel_width=1,
    )  # fmt: skip
    weights = np.array([[1, 2, 0, 0, -4], [0, 0, 5, 1, 0]], np.int8).reshape(2, 1, 1, 5)
    run = LayerRun(
        task=LayerTask(layer=layer, weights=weights),
        activations=np.array([3, 0, 7, 0, 2], np.uint8).reshape(1, 1, 5),
        requantisation=Requantisation(
            bias=np.array([10, 1]), multiplier=np.array([2, 3]), shift=np.array([1, 1]),
            low=0, high=255,
        ),
    )  # fmt: skip
    (made,) = HARDWARE.programs(TOY, run, SkipMode.BOTH)
    assert made is not None
    assert made.registers == example.registers
    assert {name: words.tolist() for name, words in made.loads.items()} == {
        name: words.tolist() for name, words in example.loads.items()
    }
    np.testing.assert_array_equal(made.beats, example.beats)
    assert made.output_beats == example.output_beats
