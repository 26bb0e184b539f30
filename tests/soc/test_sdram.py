"""The SDRAM controller keeps the cycles of the model, and the SDRAM's rules."""

from __future__ import annotations

import random
from collections import deque

import numpy as np
import pytest
from amaranth.sim import Simulator

from golden.chip.config import ChipConfig
from golden.chip.memory import Memory
from golden.errors import ConfigError
from rtl.soc.sdram import SdramController
from rtl.soc.sdram_timing import W9825G6KH_100MHZ, SdramModel, SdramTiming
from tests.chip.slow_memory import SlowMemory
from tests.soc.sdram_chip import SdramChip

PINS = ("command", "bank", "address", "dqm", "dq_out", "dq_enable")
START = 4  # cycles from the start of a network to its first request
MEMORY_BYTES = 1 << 16


def draw_bursts(seed, config, count):
    """Return bursts as (write, address, bytes, cycles to wait)."""
    dice = random.Random(seed)
    bursts = []
    # Some runs stay in few rows, some wait for long, some ask without a pause.
    rows, pause = dice.choice([2, 5, 64]), dice.choice([0, 3, 40])
    places = [dice.randrange(MEMORY_BYTES // 1024) * 1024 for _ in range(rows)]
    write = False
    for _ in range(count):
        size = config.burst_bytes
        base = dice.choice(places) + dice.randrange(1024 // size) * size
        first = dice.choice([0, dice.randrange(size)])
        end = dice.choice([size, min(size, first + dice.randrange(1, 5)),
                           dice.randrange(first, size) + 1])  # fmt: skip
        write ^= dice.random() < 0.3
        wait = dice.randrange(pause + 1) if dice.random() < 0.5 else 0
        bursts.append((write, base + first, end - first, wait))
    return bursts


class Master:
    """Asks for bursts as the chip does, and notes when each was asked and answered."""

    def __init__(self, config, bursts, dice, octets):
        self.config, self.dice, self.octets = config, dice, octets
        self.wanted = octets.copy()
        self.todo = deque(bursts)
        self.wait = 0
        self.reads, self.writes, self.beats = deque(), deque(), deque()
        self.asked, self.answered = [], []
        self.read = b""

    @property
    def busy(self):
        return bool(self.todo or self.reads or self.writes)

    def drive(self, now):
        """Return what stands on the bus in a cycle."""
        result = {"arvalid": 0, "awvalid": 0, "wvalid": 0}
        under_way = len(self.reads) + len(self.writes)
        if self.todo and self.wait == 0 and under_way < self.config.outstanding:
            write, address, size, _ = self.todo[0]
            channel = "aw" if write else "ar"
            beats = (address % self.config.bus_bytes + size - 1) // self.config.bus_bytes + 1
            result |= {f"{channel}valid": 1, f"{channel}addr": address, f"{channel}user": size - 1,
                       f"{channel}len": beats - 1}  # fmt: skip
        if self.beats and self.beats[0][0] <= now:
            _, data, strobes, last = self.beats[0]
            result |= {"wvalid": 1, "wdata": data, "wstrb": strobes, "wlast": last}
        return result

    def see(self, now, bus, seen):
        """Take what happened in a cycle; the slave is always ready for requests."""
        self.wait = max(0, self.wait - 1)
        if bus["arvalid"] or bus["awvalid"]:
            assert seen["arready" if bus["arvalid"] else "awready"]
            write, address, size, _ = self.todo.popleft()
            number = len(self.asked)
            self.asked.append(now)
            self.answered.append(None)
            if write:
                self.writes.append(number)
                self._make_data(now, address, size)
            else:
                data = self.wanted[address : address + size].tobytes()
                self.reads.append((number, address, data))
            self.wait = self.todo[0][3] if self.todo else 0
        if seen["wready"] and bus["wvalid"]:
            self.beats.popleft()
        assert not (seen["rvalid"] and seen["bvalid"])
        if seen["rvalid"]:
            number, address, data = self.reads[0]
            bus_bytes = self.config.bus_bytes
            self.read += seen["rdata"].to_bytes(bus_bytes, "little")
            skip = address % bus_bytes
            whole = len(self.read) >= skip + len(data)
            assert seen["rlast"] == whole
            if whole:
                assert self.read[skip : skip + len(data)] == data
                self.read = b""
                self.answered[number] = now
                self.reads.popleft()
        if seen["bvalid"]:
            self.answered[self.writes.popleft()] = now

    def _make_data(self, now, address, size):
        data = self.dice.randbytes(size)
        self.wanted[address : address + size] = np.frombuffer(data, dtype=np.uint8)
        bus_bytes = self.config.bus_bytes
        first = address // bus_bytes * bus_bytes
        end = -(-(address + size) // bus_bytes) * bus_bytes
        room = bytes(address - first) + data + bytes(end - address - size)
        for base in range(first, end, bus_bytes):
            strobes = sum(
                1 << lane for lane in range(bus_bytes) if address <= base + lane < address + size
            )
            beat = int.from_bytes(room[base - first : base - first + bus_bytes], "little")
            self.beats.append((now + 2, beat, strobes, base + bus_bytes == end))


def run_controller(model, config, bursts, seed, limits=None, memory_words=()):
    """Run bursts from a start on; check every answer's cycle against the model.

    Parameters
    ----------
    memory_words : list of (address, write or None)
        What a processor does before.
    """
    octets = np.random.default_rng(seed).integers(0, 256, MEMORY_BYTES, dtype=np.uint8)
    sdram_model = SdramModel(memory=Memory.parse(model), timing=limits or W9825G6KH_100MHZ)
    dut = SdramController(config, sdram_model, power_up_cycles=20)
    timing = sdram_model.timing
    device = SdramChip(
        octets, sdram_model["tREFI"], rcd=timing.rcd, rp=timing.rp, ras=timing.ras,
        rc=timing.ras + 1, rfc=timing.rfc, wr=timing.wr, cl=timing.cl,
    )  # fmt: skip
    master = Master(config, bursts, random.Random(seed), octets)
    names = ("arready", "awready", "wready", "rdata", "rvalid", "rlast", "bvalid")

    async def pins(ctx):
        while True:
            _, _, *values = await ctx.tick().sample(*(getattr(dut.pins, name) for name in PINS))
            ctx.set(dut.pins.dq_in, device.step(values[0].value, *map(int, values[1:])))

    async def bench(ctx):
        for address, value in memory_words:
            ctx.set(dut.processor.address, address)
            ctx.set(dut.processor.write_data, value or 0)
            ctx.set(dut.processor.strobes, 0 if value is None else 15)
            ctx.set(dut.processor.valid, 1)
            (found,) = await ctx.tick().sample(dut.processor.read_data).until(dut.processor.ready)
            ctx.set(dut.processor.valid, 0)
            if value is None:
                assert found == int(octets.view("<u4")[address // 4])
            else:
                await ctx.tick()  # its data reach the SDRAM
                assert octets.view("<u4")[address // 4] == value
        master.wanted[:] = octets
        await ctx.tick().until(dut.quiet)
        for _ in range(random.Random(seed).randrange(4)):
            await ctx.tick()
        ctx.set(dut.begins, 1)
        await ctx.tick()
        ctx.set(dut.begins, 0)
        await ctx.tick().repeat(START - 1)
        now = START
        while master.busy:
            bus = master.drive(now)
            for name, value in bus.items():
                ctx.set(getattr(dut.axi, name), value)
            _, _, *values = await ctx.tick().sample(*(getattr(dut.axi, name) for name in names))
            master.see(now, bus, dict(zip(names, values, strict=True)))
            now += 1
        assert not ctx.get(dut.late)
        await ctx.tick().repeat(4)

    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.add_testbench(pins, background=True)
    simulator.run()
    slow = SlowMemory(model, config.bus_bytes)
    for number, (write, address, size, _) in enumerate(bursts):
        due = slow.serve(master.asked[number], address, size, write)
        assert master.answered[number] == due, f"burst {number} {bursts[number]}"
    assert np.array_equal(octets, master.wanted)
    return device


BOARD = ChipConfig.preset("board")
SMALL = BOARD.replace(bus_bytes=4, burst_bytes=64, filter_bus_bytes=4)
DEFAULT = str(Memory.parse("sdram"))


@pytest.mark.parametrize("seed", range(3))
def test_every_answer_comes_in_the_models_cycle(seed):
    config = BOARD if seed % 2 else SMALL
    bursts = draw_bursts(seed, config, 30)
    run_controller(DEFAULT, config, bursts, seed)


@pytest.mark.parametrize(
    ("model", "timing"),
    [
        # Refreshes are so often that every place within one is met.
        ("sdram:2,4,1024,3,3,3,2,60,9", W9825G6KH_100MHZ),
        ("sdram:2,4,1024,2,4,3,3,97,11", W9825G6KH_100MHZ),
        # The part at 50 MHz.
        ("sdram:2,4,1024,1,2,3,2,390,5", SdramTiming(rcd=1, rp=1, ras=3, rfc=3, wr=2, cl=2)),
    ],
)
def test_other_parameters(model, timing):
    run_controller(model, SMALL, draw_bursts(2, SMALL, 60), 2, timing)


OFTEN = "sdram:2,4,1024,3,3,3,2,60,9"


@pytest.mark.parametrize("wait", [105, 106, 107])
def test_what_becomes_due_as_a_refresh_ends_is_done_with_it(wait):
    """The second request comes in cycle 5 + wait, 9 before the refresh of cycle 120."""
    bursts = [(False, 0, 4, 0), (False, 0, 4, wait), (False, 64, 64, 0), (False, 2048, 4, 0)]
    run_controller(OFTEN, SMALL, bursts, 1)


def test_a_refresh_that_a_burst_held_up_follows_it():
    bursts = [(False, 0, 4, 0), (False, 0, 64, 45), (False, 0, 4, 150)]
    device = run_controller(OFTEN, SMALL, bursts, 1)
    ends = device.accesses[2 + 32 - 1]  # two words, then 32
    assert any(0 < time - ends < 12 for time in device.refreshes)


def test_a_processor_before_the_start_leaves_no_trace():
    dice = random.Random(5)
    words = [(4 * dice.randrange(MEMORY_BYTES // 4), dice.choice([None, dice.getrandbits(32)]))
             for _ in range(40)]  # fmt: skip
    words += [(words[-1][0], 0x12345678), (words[-1][0], None)]
    run_controller(DEFAULT, SMALL, draw_bursts(8, SMALL, 30), 8, memory_words=words)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("rate:2,3", "must be sdram, not rate:2,3"),
        ("sdram:4,4,1024,3,3,3,2,780,9", "bytes must be 2 for this SDRAM, not 4"),
        ("sdram:2,4,1024,3,3,2,2,780,9", "CL must be 3"),
        ("sdram:2,4,1024,1,3,3,2,780,9", "tRCD must be at least 2"),
        ("sdram:2,4,1024,3,2,3,2,780,9", "tRP must be at least 3"),
        ("sdram:2,4,1024,3,3,3,1,780,9", "turn must be at least 2"),
        ("sdram:2,4,1024,3,3,3,2,780,8", "tRFC must be at least 9"),
        ("sdram:2,4,1024,3,3,3,2,40,9", "tREFI must be at least 41"),
    ],
)
def test_models_that_the_part_can_not_keep_are_refused(model, words):
    with pytest.raises(ConfigError, match=words):
        SdramModel(memory=Memory.parse(model), timing=W9825G6KH_100MHZ)
