"""Scenes on a design with faults: who notices which.

A scene is what a host does, as lines for a small program in C++ that holds the design as Verilator
compiles it. It plays the scenes for each fault, from power-up on, until one gives something else
than without a fault: a beat, a register, the cycle in which the layer is done.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from rtl.host import Design, Program
from rtl.lib.ram import RAM_VERILOG
from rtl.lib.registers import CONTROL, STATUS, RegisterFile
from rtl.sim.build import search_path
from rtl.verilog.yosys import rtlil_to_verilog
from tests.rtl.faults.insert import FaultyDesign

__all__ = ["FaultBench", "Scene", "SpecifiedScene", "handshakes"]

_MAIN = r"""
#include "Vdut.h"
#include "verilated.h"
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <string>
#include <vector>
typedef unsigned long long u64;
struct Line { char op; u64 a, b; };
struct Scene { std::string name; std::vector<Line> lines; };
double sc_time_stamp() { return 0; }

struct Player {
  std::unique_ptr<Vdut> dut{new Vdut};
  std::deque<u64> feed;
  std::string seen;
  u64 cycle = 0, busy_output = 0, busy_filters = 0;
  void note(char kind, u64 value) {
    char text[40];
    snprintf(text, sizeof text, "%c%llx ", kind, value);
    seen += text;
  }
  void tick() {
    dut->outputs_ready = !(busy_output >> (cycle % 16) & 1);
    bool gives = !feed.empty() && !(busy_filters >> (cycle % 16) & 1);
    dut->filters_valid = gives;
    dut->filters_payload = feed.empty() ? 0 : feed.front();
    dut->eval();
    if (dut->outputs_valid && dut->outputs_ready) note('o', dut->outputs_payload);
    bool taken = gives && dut->filters_ready;
    dut->clk = 1;
    dut->eval();
    dut->clk = 0;
    dut->eval();
    if (taken) feed.pop_front();
    ++cycle;
  }
  void ticks(u64 count) { while (count--) tick(); }
  void write(u64 address, u64 data) {
    dut->address = address; dut->write_data = data; dut->write = 1;
    tick();
    dut->write = 0;
  }
  // Whether it goes on as it did without a fault: its end is known to be another as soon as it is.
  bool play(const Scene& scene, u64 fault, const std::string* wanted) {
    dut->fault = fault;
    dut->rst = 1; ticks(3); dut->rst = 0;
    for (const Line& line : scene.lines) {
      switch (line.op) {
        case 'w': write(line.a, line.b); break;
        case 'l': dut->words_payload = line.a; dut->words_valid = 1; tick();
                  dut->words_valid = 0; break;
        case 'b': feed.push_back(line.a); break;
        case 'c': feed.clear(); break;
        case 'p': busy_output = line.a; busy_filters = line.b; break;
        case 't': ticks(line.a); break;
        case 'x': dut->rst = 1; ticks(line.a); dut->rst = 0; break;
        case 's': note('s', dut->done); note('f', feed.size()); break;
        case 'd': {
          u64 left = line.a;
          while (left && !dut->done) {
            tick(); --left;
            if (wanted && (left & 63) == 0 && !begins(*wanted)) return false;
          }
          note('d', dut->done); note('n', line.b ? 0 : line.a - left); note('f', feed.size());
          break;
        }
        case 'r': dut->address = line.a; ticks(line.b); note('r', dut->read_data); break;
      }
      if (wanted && !begins(*wanted)) return false;
    }
    return !wanted || seen == *wanted;
  }
  bool begins(const std::string& wanted) const {
    return seen.size() <= wanted.size() && !memcmp(seen.data(), wanted.data(), seen.size());
  }
};

int main(int count, char** arguments) {
  std::vector<Scene> scenes;
  FILE* file = fopen(arguments[1], "r");
  char text[256];
  while (fgets(text, sizeof text, file)) {
    text[strcspn(text, "\n")] = 0;
    if (text[0] == '#') {
      scenes.push_back({text + 1, {}});
      continue;
    }
    Line line{text[0], 0, 0};
    sscanf(text + 1, "%llx %llx", &line.a, &line.b);
    scenes.back().lines.push_back(line);
  }
  std::vector<std::string> wanted;
  for (const Scene& scene : scenes) {
    Player player;
    player.play(scene, 0, nullptr);
    wanted.push_back(player.seen);
    printf("%s: %s\n", scene.name.c_str(), player.seen.c_str());
  }
  for (int at = 2; at < count; ++at) {
    u64 fault = strtoull(arguments[at], 0, 10);
    std::string noticed = "-";
    for (size_t number = 0; number < scenes.size(); ++number) {
      Player player;
      if (!player.play(scenes[number], fault, &wanted[number])) {
        noticed = scenes[number].name;
        break;
      }
    }
    printf("%llu %s\n", fault, noticed.c_str());
  }
}
"""


class Scene:
    """What a host does to a design.

    Parameters
    ----------
    design : Design
    name : str
    """

    def __init__(self, design: Design, name: str) -> None:
        self._design, self.name = design, name
        self._lines: list[str] = []

    @property
    def text(self) -> str:
        """The lines of the program in C++."""
        return "\n".join([f"#{self.name}", *self._lines, ""])

    def _line(self, op: str, first: int = 0, second: int = 0) -> None:
        self._lines.append(f"{op}{first:x} {second:x}")

    def write(self, register: str | int, value: int) -> None:
        """Write a register."""
        address = register if isinstance(register, int) else self._addresses[register]
        self._line("w", address, value & 0xFFFFFFFF)

    def read(self, *registers: str | int) -> None:
        """Read registers; what they give is noted."""
        for one in registers:
            address = one if isinstance(one, int) else self._addresses[one]
            self._line("r", address, RegisterFile.READ)

    def words(self, words: Iterable[int]) -> None:
        """Send words of the load stream."""
        for word in words:
            self._line("l", int(word))

    def load(self, target: str, words: Iterable[int], first: int = 0) -> None:
        """Fill rows of a table or buffer."""
        self.write("load_target", list(self._design.load_rows).index(target))
        self.write("load_address", first)
        self.wait(1)
        self.words(words)
        self.wait(1)

    def feed(self, beats: Iterable[int]) -> None:
        """Send beats of the filter stream, as soon as they are taken."""
        for beat in beats:
            self._line("b", int(beat))

    def drop_beats(self) -> None:
        """Take back the beats that were not sent."""
        self._line("c")

    def stall(self, outputs: int, filters: int) -> None:
        """Pause streams in the cycles of 16 whose bits are set."""
        self._line("p", outputs, filters)

    def wait(self, cycles: int) -> None:
        """Let time pass."""
        self._line("t", cycles)

    def reset(self, cycles: int = 1) -> None:
        """Reset the design."""
        self._line("x", cycles)

    def note(self) -> None:
        """Note whether the layer is done, and the beats that were not sent."""
        self._line("s")

    def program(
        self, program: Program, rows: dict[str, int] | None = None, **registers: int
    ) -> None:
        """Load a program and start it; registers may have other values, rows other places."""
        for target, words in program.loads.items():
            self.load(target, words.tolist(), (rows or {}).get(target, 0))
        for name, value in {**program.registers, **registers}.items():
            self.write(name, value)
        self.feed(int.from_bytes(row.tobytes(), "little") for row in program.beats)
        self.start()

    def start(self) -> None:
        """Write control, and wait until ``done`` has fallen."""
        self.write(CONTROL, 1)
        self.wait(RegisterFile.START)

    def finish(self, cycles: int, timed: bool = True) -> None:
        """Wait until the layer is done; note when, the status and all counters."""
        self._line("d", cycles, 0 if timed else 1)
        self.wait(2)
        self.read(STATUS, *(self.counters if timed else ()))

    @property
    def counters(self) -> list[int]:
        """Addresses of all counters."""
        return list(self._design.registers.counter_addresses.values())

    @property
    def _addresses(self) -> dict[str, int]:
        return self._design.registers.addresses


class FaultBench:
    """A design with faults, compiled.

    Parameters
    ----------
    faulty : FaultyDesign
    folder : Path
        Where it is built.
    """

    def __init__(self, faulty: FaultyDesign, folder: Path) -> None:
        self.faulty, self._folder = faulty, folder
        source, verilog, main = (folder / name for name in ("dut.il", "dut.v", "main.cpp"))
        source.write_text(faulty.rtlil, "utf-8")
        rtlil_to_verilog([source], verilog)
        verilog.write_text(RAM_VERILOG + verilog.read_text("utf-8"), "utf-8")
        main.write_text(_MAIN, "utf-8")
        command = [
            "verilator", "--cc", "--exe", "--build", "--top-module", "dut", "-Mdir", str(folder),
            "--x-assign", "fast", "--x-initial", "fast", "--noassert", "-Wno-fatal", "-Wno-lint",
            "-Wno-style", "-O3", "-MAKEFLAGS", "OPT_FAST=-O1 OPT_SLOW=-O0 OPT_GLOBAL=-O0",
            str(verilog), str(main),
        ]  # fmt: skip
        environment = {**os.environ, "PATH": search_path()}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def play(self, scenes: list[Scene], faults: list[int]) -> tuple[dict[str, str], dict[int, str]]:
        """Play scenes without a fault and with each of some.

        Returns
        -------
        seen : dict of str to str
            What each scene gave without a fault.
        noticed : dict of int to str
            The first scene that noticed a fault, by number; ``-`` for none.
        """
        path = self._folder / "scenes"
        path.write_text("".join(scene.text for scene in scenes), "ascii")
        done = subprocess.run(
            [str(self._folder / "Vdut"), str(path), *map(str, faults)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        lines = done.stdout.splitlines()
        seen = dict(line.split(": ", 1) for line in lines[: len(scenes)])
        noticed = dict(line.split(" ", 1) for line in lines[len(scenes) :])
        return seen, {int(number): scene for number, scene in noticed.items()}


@dataclass
class SpecifiedScene:
    """A scene, and what it must give without a fault.

    Parameters
    ----------
    beats : list of int
        Its output beats.
    complete : bool
        These are all, else the first ones.
    counters : dict of str to int, optional
        Counters where it ends, by name.
    """

    scene: Scene
    beats: list[int]
    complete: bool = True
    counters: dict[str, int] | None = None

    def check(self, seen: str) -> None:
        """Compare with what the scene gave."""
        notes = [(note[0], int(note[1:], 16)) for note in seen.split()]
        beats = [value for kind, value in notes if kind == "o"]
        assert (beats if self.complete else beats[: len(self.beats)]) == self.beats
        if self.counters is not None:
            assert ("d", 1) in notes
            read = [value for kind, value in notes if kind == "r"]
            assert dict(zip(self.counters, read[1:], strict=True)) == self.counters
            assert read[0] == 2  # done, not running


def handshakes(made: Design, program: Program, beats: list[int]) -> Iterator[SpecifiedScene]:
    """Yield starts where there is none, reset, stalls, parts of rows, another order of loading."""
    limit = program.cycle_limit
    scene = Scene(made, "status and starts")
    scene.read("status")
    scene.write("control", 2)  # bit 0 starts, no other
    scene.wait(40)
    scene.read("status")
    scene.program(program)
    scene.read("status")
    for _ in range(5):  # no start where it runs
        scene.wait(20)
        scene.write("control", 1)
    scene.finish(limit)
    scene.program(program)  # the same again
    scene.finish(limit)
    yield SpecifiedScene(scene, beats * 2)

    scene = Scene(made, "reset in the middle")
    scene.program(program)
    scene.stall(0xFFFF, 0)
    scene.wait(300)
    scene.drop_beats()
    scene.reset()
    scene.stall(0, 0)
    scene.read("status")
    scene.program(program)
    scene.finish(limit)
    yield SpecifiedScene(scene, beats)

    for title, outputs, filters in (
        ("outputs stall", 0xFFF7, 0),
        ("filters stall", 0, 0xEFFF),
        ("both stall", 0x5EF3, 0x3B6D),
    ):
        scene = Scene(made, title)
        scene.stall(outputs, filters)
        scene.program(program)
        scene.finish(16 * limit, timed=False)
        yield SpecifiedScene(scene, beats)

    scene = Scene(made, "outputs wait for long")
    scene.stall(0xFFFF, 0)
    scene.program(program)
    scene.wait(3000)
    scene.note()
    scene.stall(0, 0)
    scene.finish(16 * limit, timed=False)
    yield SpecifiedScene(scene, beats)

    scene = Scene(made, "rows loaded from the last one on")
    for target, words in made.load_rows.items():
        rows = program.loads[target].reshape(-1, words)
        for number in reversed(range(len(rows))):
            scene.load(target, [0xDEAD] * (words - 1), number)  # not a whole row
            scene.load(target, rows[number].tolist(), number)
    scene.program(replace(program, loads={}))
    scene.finish(limit)
    yield SpecifiedScene(scene, beats)
