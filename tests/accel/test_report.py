"""Tables fit, figures stay whole, names can't move the cursor; in pipes, terminals, notebooks."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accel import api
from accel.report.table import Column, Kind, Table, figure, plain, shorten
from accel.report.tables import run_report
from accel.report.text import render
from accel.results import Run
from golden.machines import registry

PROGRAM = "from accel.cli.app import main; main()"
ESCAPE = re.compile(r"\x1b\[[0-9;]*m")

# -- tables -----------------------------------------------------------------------------------

NAMES = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=60)


@given(
    names=st.lists(NAMES, min_size=1, max_size=5),
    digits=st.lists(st.integers(1, 12), min_size=1, max_size=12),
    width=st.integers(40, 130),
)
def test_no_figure_is_cut_and_no_line_is_wider(names, digits, width):
    table = Table("t", [Column("name", Kind.NAME), *(figure(f"n{i}") for i in range(len(digits)))])
    figures = [[10**size - 1 - row for size in digits] for row in range(len(names))]
    for name, row in zip(names, figures, strict=True):
        table.add(name, *row)
    lines = table.lines(width)
    assert max(map(len, lines)) <= width
    # Row by row the figures of all parts, one below the other, are those that were given.
    parts = "\n".join(lines).split("\n\n")
    found = [[] for _ in names]
    for part in parts:
        body = part.split("\n")[1:]
        rows = [line.split() for line in body if re.search(r" -?\d+$", line)]
        for index, row in enumerate(rows):
            found[index] += [cell for cell in row if re.fullmatch(r"-?\d+", cell)]
    for name, wanted, row in zip(names, figures, found, strict=True):
        own = [name] if re.fullmatch(r"-?\d+", name) else []
        assert [cell for cell in row if cell not in own] == [
            str(value) for value in wanted if str(value) not in own
        ]


def test_names_are_shortened_in_the_middle_or_folded_at_hyphens():
    table = Table("", [Column("name", Kind.NAME), figure("x"), figure("y" * 20)])
    table.add("backbone.stage4.block2.attention.projection", 1, 2)
    table.add("one-sided-activations", 3, 4)
    lines = table.lines(40)
    assert lines[1].split() == ["backbon..ection", "1", "2"]
    assert [line.split() for line in lines[2:]] == [["one-sided-", "3", "4"], ["activations"]]
    # Where there is room names are whole, up to a limit.
    assert table.lines(80)[1].split()[0] == "backbone.st...projection"


def test_words_are_folded_between_words():
    table = Table("", [Column("what", Kind.TEXT), figure("n")])
    table.add("so many words that they can't stand in one line", 7)
    assert table.lines(24) == [
        "what                   n",
        "so many words that     7",
        "they can't stand in",
        "one line",
    ]


def test_what_is_too_wide_goes_on_below_with_its_names():
    table = Table("", [Column("layer", Kind.NAME), *(figure(f"column{i}") for i in range(6))])
    table.add("conv1", *range(100000, 100006))
    assert table.lines(30) == [
        "layer  column0  column1",
        "conv1   100000   100001",
        "",
        "layer  column2  column3",
        "conv1   100002   100003",
        "",
        "layer  column4  column5",
        "conv1   100004   100005",
    ]


def test_rows_in_the_middle_can_be_left_out():
    table = Table("", [Column("layer", Kind.NAME), figure("n")])
    for number in range(100):
        table.add(f"conv{number}", number)
    rows = table.shortened(4).rows
    assert [row[0] for row in rows] == ["conv0", "conv1", "... 96 more", "conv98", "conv99"]
    assert table.shortened(100) is table


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("conv1", "conv1"),
        ("naïve β 畳み込み", "naïve β 畳み込み"),
        ("a\x1b[31mb", r"a\x1b[31mb"),
        ("a\r\nb\tc\x07", r"a\r\nb\tc\x07"),
        ("a\x9bb\u202ec\u200bd", r"a\x9bb\u202ec\u200bd"),
        ("bad\udcff", r"bad\udcff"),
    ],
)
def test_what_a_terminal_would_act_on_is_shown_as_an_escape(text, shown):
    assert plain(text) == shown


def test_long_lines_lose_their_middle():
    assert len(plain("x" * 10_000)) == 300
    assert plain("start" + "x" * 10_000 + "end").endswith("end")
    assert [shorten("abcdefghij", n) for n in (3, 8, 10)] == ["abc", "abc..hij", "abcdefghij"]


# -- runs -------------------------------------------------------------------------------------


def many_layers(run: Run, count: int) -> Run:
    """Return the run with its first layer many times, under long names."""
    machines = []
    for machine in run.machines:
        first = machine.layers[0]
        names = (f"backbone.stage{i}.bottleneck.convolution.{i:04}" for i in range(count))
        layers = tuple(replace(first, name=name) for name in names)
        machines.append(replace(machine, layers=layers))
    return replace(run, machines=tuple(machines))


@pytest.fixture(scope="module")
def one() -> Run:
    return api.simulate("lenet5", "toy")


@pytest.fixture(scope="module")
def all_machines() -> Run:
    return api.compare("lenet5", multipliers=16)


@pytest.mark.parametrize("which", ["one", "all_machines"])
def test_a_big_network_s_repr_stays_small_and_fits(which, request):
    run = many_layers(request.getfixturevalue(which), 1000)
    for shown in (repr(run), str(run)):
        assert len(shown) < 10_000
        assert max(map(len, shown.split("\n"))) <= 80
        assert "... 961 more" in shown
    assert len(run._repr_html_()) < 100_000


def test_a_run_prints_layers_then_the_total(one):
    lines = str(one).split("\n")
    assert lines[0] == "lenet5 on toy (innerjoin): 1 x 4 units, 4 multipliers; 1 image"
    rows = [line.split() for line in lines if line.split()[1:2] and line.split()[1].isdigit()]
    assert [row[0] for row in rows] == ["conv1", "conv2", "fc1", "fc2", "total"]
    assert [int(row[1]) for row in rows] == [layer.cycles for layer in (*one.layers, one.total)]


def test_a_machine_of_one_mode_has_no_column_for_others():
    text = str(api.simulate("lenet5", "scnn"))
    assert "times" not in text
    assert "ideal" in text
    dense = api.simulate("lenet5", "dense")
    assert "times" not in str(dense)
    assert "% of own" in str(dense)


def test_hundreds_of_machines_fit_too(one):
    machine = one.machines[0]
    names = [f"a configuration with fifo_depth={i}, lanes={i}" for i in range(200)]
    run = replace(one, machines=tuple(replace(machine, name=name) for name in names))
    assert len(repr(run)) < 10_000
    assert max(map(len, render(run_report(run)).split("\n"))) <= 80


def test_odd_names_do_no_harm(one):
    machine = one.machines[0]
    layer = replace(machine.layers[0], name="<b>x</b>\x1b[2J\r[red]")
    run = replace(
        one, network="n\x1b]0;title\x07", source="s\x1b" * 2000,
        machines=(replace(machine, name="m\n\n\x1b[31m", layers=(layer,)),),
    )  # fmt: skip
    text = render(run_report(run))
    assert not {char for char in text if not char.isprintable()} - {"\n"}
    assert max(map(len, text.split("\n"))) <= 80 or "s\\x1bs" in text
    assert r"\x1b" in text
    page = run._repr_html_()
    assert "<b>x" not in page
    assert "&lt;b&gt;x" in page


class Tags(HTMLParser):
    """Checks that tags are closed in turn, and collects cells."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.cells: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag != "br":
            self.open.append(tag)
        assert not {"color", "background"} & {
            word.strip() for _, value in attrs for word in re.split("[:;]", value or "")
        }
        if tag == "td":
            self.cells.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "td":
            self.cells[-1] += data


def test_html_has_the_figures_and_no_colours(one):
    tags = Tags()
    tags.feed(one._repr_html_())
    assert tags.open == []
    for layer in (*one.layers, one.total):
        assert str(layer.cycles) in tags.cells
        assert layer.name in tags.cells


# -- the command line -------------------------------------------------------------------------

COMMANDS = (
    ("run", "resnet8", "--preset", "small"),
    ("run", "lenet5", "--machine", "scnn"),
    ("compare", "resnet8"),
    ("compress", "lenet5"),
    ("networks",),
    ("machines",),
    ("machines", "--area", "256"),
    ("presets",),
    ("doctor",),
)


@pytest.mark.parametrize("columns", [None, "60", "100"])
@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_pipe_gets_plain_text_that_fits(accel, monkeypatch, arguments, columns):
    if columns is None:
        monkeypatch.delenv("COLUMNS", raising=False)
    else:
        monkeypatch.setenv("COLUMNS", columns)
    status, out, err = accel(*arguments)
    assert (status, err) == (0, "")
    assert max(map(len, out.splitlines())) <= int(columns or 80)
    assert out.isascii() or arguments == ("doctor",)
    assert "\x1b" not in out
    assert "…" not in out


def test_a_comparison_in_a_pipe_has_every_machine_s_figures(accel):
    status, out, _ = accel("compare", "resnet8")
    assert status == 0
    run = api.compare("resnet8")
    assert [machine.name for machine in run.machines] == list(registry.MACHINES)
    words = out.split()
    for machine in run.machines:
        assert words.count(str(machine.total.cycles)) == 1
        for layer, base in zip(machine.layers, run.baseline.layers, strict=True):
            assert f"{base.cycles / layer.cycles:.2f}" in words


def test_a_run_in_a_pipe_has_every_figure(accel):
    status, out, _ = accel("run", "resnet8", "--preset", "small")
    assert status == 0
    run = api.simulate("resnet8", "small")
    lines = [line.split() for line in out.splitlines()]
    for layer in (*run.layers, run.total):
        rows = [line for line in lines if line[:1] == [layer.name]]
        assert len(rows) == 3
        assert rows[0][1] == str(layer.cycles)
        assert rows[0][2] == f"{layer.speed_up(layer.mode, 'dense'):.2f}"
    for mode, timing in run.total.timings.items():
        assert [mode.value, str(timing.cycles)] in [line[:2] for line in lines]


def in_terminal(arguments: list[str], columns: int, **environment: str) -> str:
    """Run the command line in a terminal; return what it shows."""
    leader, follower = pty.openpty()
    import fcntl
    import struct
    import termios

    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    kept = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "NO_COLOR")}
    shown = b""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        stdout=follower,
        env={**kept, "TERM": "xterm-256color", **environment},
    ) as process:
        os.close(follower)
        # Linux says that the other end is closed with an error.
        with contextlib.suppress(OSError):
            while part := os.read(leader, 1 << 16):
                shown += part
    os.close(leader)
    assert process.returncode == 0
    return shown.decode().replace("\r\n", "\n")


def test_a_terminal_gets_its_width_and_bold_titles():
    for columns in (80, 130):
        shown = in_terminal(["compare", "lenet5", "--multipliers", "16"], columns)
        lines = [ESCAPE.sub("", line) for line in shown.splitlines()]
        assert 80 >= columns - 50 < max(map(len, lines)) <= columns
        assert "\x1b[1mAll layers\x1b[0m" in shown
        # All machines beside one another where there is room.
        assert any({"dense", "scnn"} <= set(line.split()) for line in lines) == (columns == 130)


@pytest.mark.parametrize("setting", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_a_terminal_that_wants_plain_text_gets_it(setting):
    shown = in_terminal(["networks"], 80, **setting)
    assert "\x1b" not in shown
    assert "─" not in shown
    assert "resnet8" in shown


def test_an_error_names_what_it_found_in_one_plain_line(accel):
    status, out, err = accel("run", "evil\x1b[2Jname\n" + "x" * 5000)
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert len(err) < 320
    assert all(char.isprintable() for char in err[:-1])
