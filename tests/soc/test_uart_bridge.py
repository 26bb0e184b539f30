"""The serial line in a processor's place: what a host sends reaches the words, and comes back."""

from __future__ import annotations

import re

import pytest
from amaranth.hdl import Module
from amaranth.sim import Simulator

from golden.errors import HardwareError, UserError
from rtl.soc.uart_bridge import UartBridge
from rtl.soc.uart_host import BoardWords
from rtl.soc.ulx3s import Clock, constraints, sdram_model, top_verilog

DIVIDER = 8


def talk(
    sent: list[tuple[int, bytes]], cycles: int, low: int | None = None, **options
) -> tuple[bytes, dict[int, int]]:
    """Send bytes, each lot from a cycle on, by bits; return what was answered, and the words.

    A word is answered a few cycles after it is asked for; what was never written reads as its
    address. From cycle ``low`` on the line is low for ten bits.
    """
    m = Module()
    m.submodules.dut = dut = UartBridge(DIVIDER, **options)
    words: dict[int, int] = {}
    bits = [1] * cycles
    for first, data in sent:
        at = first
        for octet in data:
            for bit in (0, *(octet >> n & 1 for n in range(8)), 1):
                bits[at : at + DIVIDER] = [bit] * DIVIDER
                at += DIVIDER
    if low is not None:
        bits[low : low + 10 * DIVIDER] = [0] * (10 * DIVIDER)
    line: list[int] = []

    async def bench(ctx) -> None:
        port, asked = dut.processor, 0
        for bit in bits:
            ctx.set(dut.receive, bit)
            asked = asked + 1 if ctx.get(port.valid) else 0
            ctx.set(port.ready, asked == 5)
            if asked == 5:
                address, strobes = ctx.get(port.address), ctx.get(port.strobes)
                assert strobes in (0, 15)
                if strobes:
                    words[address] = ctx.get(port.write_data)
                ctx.set(port.read_data, words.get(address, address))
                asked = 0
            line.append(ctx.get(dut.transmit))
            await ctx.tick()
        ctx.set(port.ready, 0)

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    answer, at = bytearray(), 0
    while at < len(line):
        if line[at]:
            at += 1
            continue
        middle = [line[at + DIVIDER // 2 + DIVIDER * n] for n in range(10)]
        assert (middle[0], middle[9]) == (0, 1)
        answer.append(sum(bit << n for n, bit in enumerate(middle[1:9])))
        at += DIVIDER * 9 + DIVIDER // 2
    return bytes(answer), words


FIRST, SECOND = bytes.fromhex("efbeadde"), bytes.fromhex("78563412")
WRITE = b"W" + bytes.fromhex("0000014001") + FIRST + SECOND
READ = b"R" + bytes.fromhex("fcff004002")  # from the word before, three words


def test_words_are_written_and_read():
    answer, words = talk([(5, WRITE), (3000, READ)], 5400)
    assert words == {0x40010000: 0xDEADBEEF, 0x40010004: 0x12345678}
    assert answer == b"k" + READ[1:5] + FIRST + SECOND


def test_other_bytes_and_the_rest_that_does_not_come():
    """A command without its rest is forgotten after the line has been silent for so long."""
    answer, words = talk(
        [(5, b"\0k" + WRITE[:8]), (1900, READ[:5] + b"\0")], 3400, patience_bits=64
    )
    assert words == {}
    assert answer == READ[1:5]


def test_a_byte_without_a_stop_bit_is_none():
    """The line is low for ten bits where the number of words would stand."""
    after = 5 + 5 * 10 * DIVIDER
    answer, _ = talk([(5, READ[:5]), (after + 20 * DIVIDER, b"\1")], 2400, low=after)
    assert answer == READ[1:5] + bytes.fromhex("00000140")


class _Board:
    """The far end by its definition, with words in a dictionary."""

    def __init__(self) -> None:
        self.words: dict[int, int] = {}
        self.commands, self._answer = [], b""

    def send(self, data: bytes) -> None:
        name, address, count = data[:1], int.from_bytes(data[1:5], "little"), data[5] + 1
        self.commands.append((name, address, count))
        for at in range(count):
            if name == b"W":
                self.words[address + 4 * at] = int.from_bytes(data[6 + 4 * at :][:4], "little")
            else:
                self._answer += self.words.get(address + 4 * at, 0).to_bytes(4, "little")
        if name == b"W":
            self._answer += b"k"

    def receive(self, count: int) -> bytes:
        data, self._answer = self._answer[:count], self._answer[count:]
        return data


def test_the_host_sends_words_together():
    board = _Board()
    words = BoardWords(board.send, board.receive)
    for at in range(600):
        words.at(0x40000000).write(4 * at, at - 1)
    assert words.at(0x40000000).read(4 * 599) == 598
    assert board.words == {0x40000000 + 4 * at: (at - 1) % 2**32 for at in range(600)}
    assert [count for _, _, count in board.commands] == [256, 256, 88, 1]


def test_a_board_that_does_not_answer():
    words = BoardWords(lambda data: None, lambda count: b"")
    words.write(0, 1)
    with pytest.raises(HardwareError, match="1 bytes, not 0"):
        words.finish()


def test_pins_are_used_once_and_all_are_named():
    """Each port of the top module has one site, no two have the same."""
    text = constraints()
    sites = dict(re.findall(r'LOCATE COMP "(.+?)" SITE "(.+?)"', text))
    assert len(set(sites.values())) == len(sites) == text.count("LOCATE") == text.count("IOBUF")
    ports: set[str] = set()
    header = top_verilog(Clock(25.0)).partition(");")[0]
    declared = r"(?:input|output|inout) (?:\[(\d+):(\d+)\] )?(\w+)"
    for high, low, name in re.findall(declared, header):
        ports |= {f"{name}[{at}]" for at in range(int(low), int(high) + 1)} if high else {name}
    assert ports == set(sites)


@pytest.mark.parametrize("megahertz", [12.5, 25.0, 37.5, 50.0, 75.0, 100.0])
def test_clock(megahertz):
    """The oscillator runs at 600 MHz, phases are compared at 10 MHz or more; rows live 64 ms."""
    clock = Clock(megahertz)
    before, feedback, divider = clock.dividers
    assert 25.0 / before >= 10
    assert 25.0 / before * feedback == megahertz
    assert megahertz * divider == 600
    assert 8192 * sdram_model(clock)["tREFI"] / megahertz <= 64_000
    assert megahertz * 1e6 / clock.bit_cycles == pytest.approx(1e6, rel=0.05)


def test_other_clocks_are_refused():
    with pytest.raises(UserError, match="not 26"):
        Clock(26.0)
