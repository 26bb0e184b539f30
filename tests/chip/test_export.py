"""An exported image is all that a chip needs, and its headers say where things are."""

from __future__ import annotations

import re

import numpy as np
import pytest

import accel
from accel.activations.functional import run_network
from golden.chip.config import ChipConfig
from golden.chip.formats import HEADER
from golden.chip.graph import with_fixed_averages
from golden.chip.interpreter import run_image
from rtl.chip.control.partition import COUNTERS
from rtl.chip.driver.headers import registers_header
from sw.networks import zoo


def defines(text):
    """Return a header's macros, their names without the prefix, in lower case."""
    found = re.findall(r"^#define INNERJOIN_(\w+) (\S+)", text, re.MULTILINE)
    assert len(dict(found)) == len(found)
    return {name.lower(): float(value) if "." in value or "e-" in value else int(value, 0)
            for name, value in found}  # fmt: skip


@pytest.mark.parametrize("name", ["lenet5", "resnet8"])
def test_the_exported_file_gives_the_networks_codes(tmp_path, name):
    path = tmp_path / f"{name}.bin"
    written = accel.export(name, path, image=1)
    assert [p.name for p in written] == [f"{name}.bin", f"{name}.h", "innerjoin_registers.h"]
    memory = np.frombuffer(path.read_bytes(), dtype=np.uint8).copy()
    run_image(ChipConfig.preset("board"), memory)
    words = defines((tmp_path / f"{name}.h").read_text())
    network, image = with_fixed_averages(zoo.load(name)), zoo.images(name)[1]
    wanted = run_network(network, image)[network.output]
    where = words[f"{name}_output_address"]
    assert memory[where : where + wanted.size].tobytes() == wanted.tobytes()
    info = network.tensor(network.output)
    shape = tuple(words[f"{name}_output_{axis}"] for axis in ("height", "width", "channels"))
    assert shape == info.shape
    assert words[f"{name}_output_signed"] == (info.dtype == "int8")
    assert words[f"{name}_output_scale"] == info.scale
    assert words[f"{name}_input_scale"] == network.input.scale
    assert words[f"{name}_bytes"] == memory.size
    assert words[f"{name}_has_input"] == 1


def test_without_an_image_the_input_is_left_free(tmp_path):
    accel.export("lenet5", tmp_path / "x.bin")
    accel.export("lenet5", tmp_path / "y.bin", image=2)
    free, given = (np.fromfile(tmp_path / f"{n}.bin", dtype=np.uint8) for n in "xy")
    words = defines((tmp_path / "x.h").read_text())
    assert words["x_has_input"] == 0
    image = zoo.images("lenet5")[2]
    place = slice(words["x_input_address"], words["x_input_address"] + image.size)
    assert not free[place].any()
    assert given[place].tobytes() == image.tobytes()


def test_the_register_header_has_the_page_of_registers():
    words = defines(registers_header(COUNTERS))
    # Offsets that a host relies on, in bytes.
    assert (words["control"], words["status"]) == (0, 4)
    assert (words["list_address"], words["list_entries"]) == (0x40, 0x44)
    assert (words["identity"], words["version"]) == (0x180, 0x184)
    assert (words["control_start"], words["status_done"]) == (1, 2)
    assert words["header_words"] == len(HEADER) == 16
    offsets = [words[name] for name in ("cycles", *COUNTERS)]
    assert offsets == list(range(offsets[0], offsets[0] + 4 * len(offsets), 4))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-o", "x.img"], ["Image must be written to a .bin file", "x.img"]),
        (["-o", "x.bin", "--image", "99999"], ["Image must be from 0 to", "99999"]),
        (["-o", "x.bin", "--preset", "small"], ["Preset must be one of board", "small"]),
        (["-o", "x.bin", "--driver", "/dev/null/x"], ["/dev/null/x can't be made"]),
    ],
)
def test_what_does_not_fit_is_refused(refuses, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    refuses(["export", "lenet5", *arguments], *words)
    assert not list(tmp_path.iterdir())


def test_the_command_writes_image_headers_and_driver(accel, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, err = accel("export", "lenet5", "-o", "net.bin", "--driver", "driver")
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        "net.bin", "net.h", "innerjoin_registers.h", "driver/innerjoin_chip.h",
        "driver/innerjoin_chip.c", "driver/innerjoin_uio.h", "driver/innerjoin_uio.c",
    ]  # fmt: skip
    assert all((tmp_path / line).stat().st_size for line in out.splitlines())
