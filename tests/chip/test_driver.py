"""The drivers, in C and in Python, against registers and a memory that do what a chip does."""

from __future__ import annotations

import ctypes
import mmap
import subprocess

import numpy as np
import pytest

from golden import reference
from golden.chip.compiler import compile_network
from golden.chip.config import ChipConfig
from golden.chip.formats import HEADER
from golden.errors import FormatError, HardwareError
from rtl.chip.control.partition import COUNTERS
from rtl.chip.driver.chip_driver import ChipDriver, Words
from rtl.chip.driver.headers import driver_sources, registers_header
from sw.networks import zoo
from tests.chip.cases import draw_case, small_chip
from tests.chip.fake_chip import (
    CONFIGURATION,
    CONTROL,
    CYCLES,
    ENABLE,
    IDENTITY,
    LIST_ADDRESS,
    LIST_ENTRIES,
    STATUS,
    FakeChip,
)

FLAGS = ("-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror", "-D_GNU_SOURCE")
OK, NO_CHIP, BAD_IMAGE, OTHER_CHIP, SMALL_MEMORY, BUSY, RUNNING, FAILED = range(8)


class Chip(ctypes.Structure):
    _fields_ = (
        ("registers", ctypes.c_void_p),
        ("memory", ctypes.c_void_p),
        ("memory_bytes", ctypes.c_uint32),
        ("bus_address", ctypes.c_uint32),
        ("header", ctypes.c_uint32 * len(HEADER)),
    )


class Device(ctypes.Structure):
    _fields_ = (
        ("chip", Chip),
        ("file", ctypes.c_int),
        ("registers", ctypes.c_void_p),
        ("memory", ctypes.c_void_p),
        ("memory_bytes", ctypes.c_uint32),
    )


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """The C driver and its UIO variant, compiled."""
    folder = tmp_path_factory.mktemp("driver")
    files = driver_sources() | {"innerjoin_registers.h": registers_header(COUNTERS)}
    for name, text in files.items():
        (folder / name).write_text(text)
    sources = [name for name in files if name.endswith(".c")]
    command = ["gcc", *FLAGS, "-shared", "-fPIC", "-O1", *sources, "-o", "driver.so"]
    subprocess.run(command, cwd=folder, check=True)
    # As C++ takes the header too.
    check = '#include "innerjoin_chip.h"\nint main() { return 0; }\n'
    command = ["g++", "-Wall", "-Werror", "-fsyntax-only", "-x", "c++", "-"]
    subprocess.run(command, cwd=folder, check=True, input=check, text=True)
    found = ctypes.CDLL(str(folder / "driver.so"))
    found.innerjoin_output.restype = ctypes.c_void_p
    for name in ("class", "code", "error_entry", "output_bytes"):
        getattr(found, f"innerjoin_{name}").restype = ctypes.c_uint32
    return found


def program_of(seed=None):
    """Return a program, its input and its output's codes; LeNet-5, whose windows are formed."""
    if seed is None:
        network, image = zoo.load("lenet5"), zoo.images("lenet5")[3]
        config = ChipConfig.preset("board")
    else:
        case = draw_case(seed)
        network, image, config = case.network, case.image, case.config
    program = compile_network(network, config)
    return program, image, reference.run_network(program.network, image)[network.output]


def open_chip(library, fake):
    chip = Chip()
    result = library.innerjoin_open(
        ctypes.byref(chip), ctypes.c_void_p(fake.registers.ctypes.data),
        ctypes.c_void_p(fake.memory.ctypes.data), fake.memory.size, fake.base,
    )  # fmt: skip
    return result, chip


@pytest.mark.parametrize("base", [0, 0x8000])
@pytest.mark.parametrize("seed", [None, 1, 7])
def test_a_network_is_run_by_the_driver_in_c(library, seed, base):
    program, image, wanted = program_of(seed)
    fake = FakeChip(program.config, program.image.size + 64, base)
    result, chip = open_chip(library, fake)
    assert result == OK
    assert library.innerjoin_start(ctypes.byref(chip), 0) == BAD_IMAGE  # nothing is loaded
    octets = program.image.tobytes()
    assert library.innerjoin_load(ctypes.byref(chip), octets, len(octets)) == OK
    library.innerjoin_set_input(ctypes.byref(chip), np.ascontiguousarray(image).tobytes())
    if base == 0:  # what the compiler's own Python stores
        assert fake.memory[: len(octets)].tobytes() == program.memory(image).tobytes()
    assert library.innerjoin_start(ctypes.byref(chip), 1) == OK
    assert fake.registers[LIST_ADDRESS] == program.list_address + base
    assert fake.registers[LIST_ENTRIES] == len(program.entries)
    assert fake.registers[ENABLE] == 1
    fake.registers[STATUS] = 1
    assert library.innerjoin_wait(ctypes.byref(chip), 3) == RUNNING
    assert library.innerjoin_start(ctypes.byref(chip), 1) == BUSY
    assert library.innerjoin_load(ctypes.byref(chip), octets, len(octets)) == BUSY
    fake.serve()
    assert library.innerjoin_wait(ctypes.byref(chip), 0) == OK
    size = library.innerjoin_output_bytes(ctypes.byref(chip))
    assert ctypes.string_at(library.innerjoin_output(ctypes.byref(chip)), size) == wanted.tobytes()
    codes = [library.innerjoin_output_code(ctypes.byref(chip), at) for at in range(size)]
    assert codes == wanted.reshape(-1).tolist()
    assert library.innerjoin_class(ctypes.byref(chip)) == wanted.reshape(-1).argmax()
    assert library.innerjoin_register(ctypes.byref(chip), 4 * CYCLES) == 4711
    # The guard behind the image.
    assert (fake.memory[len(octets) :] == 0xA5).all()


def test_the_driver_in_c_tells_why_it_ended(library):
    program, _, _ = program_of(1)
    fake = FakeChip(program.config, program.image.size)
    _, chip = open_chip(library, fake)
    library.innerjoin_load(ctypes.byref(chip), program.image.tobytes(), program.image.size)
    library.innerjoin_start(ctypes.byref(chip), 0)
    fake.end(code=2, entry=9)
    assert library.innerjoin_wait(ctypes.byref(chip), 0) == FAILED
    assert library.innerjoin_code(ctypes.byref(chip)) == 2
    assert library.innerjoin_error_entry(ctypes.byref(chip)) == 9
    library.innerjoin_acknowledge(ctypes.byref(chip))
    assert fake.registers[CONTROL] == 4
    library.innerjoin_stop(ctypes.byref(chip))
    assert fake.registers[CONTROL] == 2


def test_the_driver_in_c_refuses(library):
    program, _, _ = program_of(1)
    octets = program.image.tobytes()
    fake = FakeChip(program.config, len(octets))

    def load(change=None, size=None, memory=None):
        data = bytearray(octets)
        if change:
            word, value = change
            data[4 * word : 4 * word + 4] = value.to_bytes(4, "little")
        _, chip = open_chip(library, fake)
        chip.memory_bytes = fake.memory.size if memory is None else memory
        before = fake.memory.copy()
        result = library.innerjoin_load(ctypes.byref(chip), bytes(data), size or len(data))
        assert result == OK or (before == fake.memory).all()
        return result

    names = [name for name, _ in HEADER]
    assert load((names.index("magic"), 1)) == BAD_IMAGE
    assert load((names.index("version"), 2)) == BAD_IMAGE
    assert load(size=len(octets) - 4) == BAD_IMAGE
    for name in ("list_address", "input_address", "output_address", "windows", "entries"):
        assert load((names.index(name), 0xFFFFFFF0)) == BAD_IMAGE
    assert load(memory=len(octets) - 1) == SMALL_MEMORY
    fake.registers[CONFIGURATION] += 1
    assert load() == OTHER_CHIP
    fake.registers[CONFIGURATION] -= 1
    assert load() == OK
    for register in (IDENTITY, IDENTITY + 1):
        fake.registers[register] += 1
        assert open_chip(library, fake)[0] == NO_CHIP
        fake.registers[register] -= 1


def test_the_uio_variant_maps_registers_and_memory(library, tmp_path):
    """A file stands for the device: mapping n of one begins at page n."""
    program, image, wanted = program_of(1)
    fake = FakeChip(program.config, program.image.size)
    path = tmp_path / "uio0"
    page = mmap.PAGESIZE
    size = -(-fake.memory.size // page) * page
    path.write_bytes(fake.registers.tobytes().ljust(page, b"\0") + bytes(size))
    device = Device()
    arguments = ctypes.byref(device), str(path).encode(), fake.memory.size, 0
    assert library.innerjoin_uio_open(*arguments) == OK
    chip = ctypes.byref(device.chip)
    assert library.innerjoin_load(chip, program.image.tobytes(), program.image.size) == OK
    library.innerjoin_set_input(chip, np.ascontiguousarray(image).tobytes())
    assert library.innerjoin_start(chip, 1) == OK
    whole = np.memmap(path, dtype=np.uint8, mode="r+")
    registers = whole[:page].view("<u4")
    fake.registers[:] = registers[:1024]
    fake.memory[:] = whole[page : page + fake.memory.size]
    fake.serve()
    whole[page : page + fake.memory.size] = fake.memory
    registers[STATUS] = fake.registers[STATUS]
    assert library.innerjoin_uio_wait(ctypes.byref(device)) == OK
    assert registers[CONTROL] == 4  # acknowledged
    assert library.innerjoin_class(chip) == wanted.reshape(-1).argmax()
    library.innerjoin_uio_close(ctypes.byref(device))
    registers[IDENTITY] = 0
    assert library.innerjoin_uio_open(*arguments) == NO_CHIP
    path.unlink()
    assert library.innerjoin_uio_open(*arguments) == -1


def words_of(octets):
    """Return ways to the 32-bit words of an array of bytes."""
    view = octets.view("<u4")

    def write(address, value):
        assert address % 4 == 0
        view[address // 4] = value

    def read(address):
        assert address % 4 == 0
        return int(view[address // 4])

    return Words(read, write)


def drive(fake):
    registers = words_of(fake.registers.view(np.uint8))
    return ChipDriver(registers, words_of(fake.memory), fake.memory.size, COUNTERS, fake.base)


@pytest.mark.parametrize("base", [0, 0x8000])
@pytest.mark.parametrize("seed", [None, 1])
def test_a_network_is_run_by_the_driver_in_python(seed, base):
    program, image, wanted = program_of(seed)
    fake = FakeChip(program.config, -(-program.image.size // 4) * 4 + 64, base)
    driver = drive(fake)
    with pytest.raises(HardwareError, match="must be loaded first"):
        driver.start()
    driver.load(program.image.tobytes())
    driver.set_input(image)
    driver.start()
    fake.registers[STATUS] = 1
    with pytest.raises(HardwareError, match="not done after 2 polls"):
        driver.wait(2)
    with pytest.raises(HardwareError, match="must not be running"):
        driver.start()
    fake.serve()
    driver.wait(1)
    assert np.array_equal(driver.output(), wanted.reshape(-1))
    assert driver.output().dtype == wanted.dtype
    assert driver.register("cycles") == 4711
    fake.end(code=3, entry=5)
    with pytest.raises(HardwareError, match="code KIND at entry 5"):
        driver.poll()
    driver.acknowledge()
    assert fake.registers[CONTROL] == 4
    assert (fake.memory[-60:] == 0xA5).all()


def test_the_driver_in_python_refuses():
    program, image, _ = program_of(1)
    fake = FakeChip(program.config, -(-program.image.size // 4) * 4)
    driver, octets = drive(fake), program.image.tobytes()
    for data, words in (
        (b"", "must begin with the header"),
        (octets[:-1], f"must be {len(octets)} bytes, not {len(octets) - 1}"),
        (compile_network(draw_case(1).network, small_chip()).image.tobytes(), "of configuration"),
    ):
        with pytest.raises(FormatError, match=words):
            driver.load(data)
    driver.load(octets)
    with pytest.raises(FormatError, match="Image must have shape"):
        driver.set_input(image[:, :, :0])
    fake.registers[IDENTITY] = 1
    with pytest.raises(HardwareError, match="identity must be 0x50434a49, not 0x1"):
        drive(fake)
