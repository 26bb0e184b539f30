"""The command line: what it prints, and that bad input is one line and exit status 2."""

import itertools
import json
import os
import re
import subprocess
import sys
import textwrap
from importlib import metadata
from pathlib import Path

import pytest

from accel.cli.output import check_outputs, check_writable, write_whole
from accel.report.text import WIDTH
from golden.errors import UserError
from golden.machines import registry
from golden.machines.cluster.config import AcceleratorConfig

PROGRAM = "from accel.cli.app import main; main()"


def write_toml(path, **changes):
    """Write the toy machine with some keys changed; None leaves a key out."""
    fields = {**AcceleratorConfig.preset("toy").to_dict(), **changes}
    lines = (
        f"{key} = {str(value).lower() if isinstance(value, bool) else repr(value)}"
        for key, value in fields.items()
        if value is not None
    )
    path.write_text("\n".join(lines))
    return path


def test_help_imports_nothing_heavy():
    heavy = ["numpy", "numba", "pandas", "onnx", "rich", "amaranth", "sw", "rtl"]
    program = f"""
import sys
import textwrap
from importlib import metadata
from pathlib import Path
from accel.cli.app import main
try:
    main(["--help"])
except SystemExit as stop:
    print([name for name in {heavy} if name in sys.modules], stop.code)
"""
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert result.stdout.splitlines()[-1] == "[] 0"


def test_without_arguments_it_helps(accel):
    status, out, _ = accel()
    assert status == 0
    for command in ("run", "verify", "verilog", "compress", "networks", "presets", "doctor"):
        assert f"\n  {command} " in out


def commands(accel, *group):
    """Yield every command as its words, read from the help."""
    _, out, _ = accel(*group, "--help")
    listed = out.partition("Commands:\n")[2].partition("\n\n")[0]
    for name in re.findall(r"^  (\w+)", listed, re.MULTILINE):
        words = (*group, name)
        yield words
        yield from commands(accel, *words)


def test_help_fits_and_its_examples_are_possible(accel):
    found = list(commands(accel))
    assert {("run",), ("compare",), ("matrix", "spmspm"), ("doctor",)} <= set(found)
    texts = {words: accel(*words, "--help")[1] for words in [(), *found]}
    for words, text in texts.items():
        assert max(map(len, text.splitlines())) <= WIDTH, words
        for line in re.findall(r"^    accel ([^C].*)$", text, re.MULTILINE):
            given = line.split()
            named = next(
                words for words in sorted(found, key=len, reverse=True)
                if tuple(given[: len(words)]) == words
            )  # fmt: skip
            if (*named, "run") in texts:  # what a group does where no command of it is named
                named = (*named, "run")
            for option in (word for word in given if word.startswith("-")):
                assert re.search(rf"^  .*{option}\b", texts[named], re.MULTILINE), line
        is_group = any(other[: len(words)] == words != other for other in found) and words
        assert is_group or "\n  Examples:\n" in text, words


def test_version_and_completion(accel):
    assert accel("--version")[:2] == (0, f"{metadata.version('innerjoin')}\n")
    program = f"import sys; sys.argv[0] = 'accel'; {PROGRAM}"
    completed = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "_ACCEL_COMPLETE": "complete_bash", "COMP_WORDS": "accel comp",
             "COMP_CWORD": "1"},
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert completed.stdout.split() == ["compare", "compress"]


def test_presets_lists_every_machine_within_the_width(accel):
    status, out, _ = accel("presets")
    assert status == 0
    words = set(out.replace(",", " ").split())
    for name, kind in registry.MACHINES.items():
        config = kind.load_config()
        assert {name, *config.preset_names()} <= words
        assert set(config.preset(config.preset_names()[0]).to_dict()) - {"name"} <= words
    assert max(map(len, out.splitlines())) <= WIDTH


def test_doctor_names_what_is_missing_and_how_to_get_it(accel, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    status, out, _ = accel("doctor")
    assert status == 0
    (line,) = [line for line in out.splitlines() if line.split()[:1] == ["iverilog"]]
    assert line.split()[1] == "missing"
    assert "To get iverilog: apt-get install iverilog" in out.splitlines()
    (line,) = [line for line in out.splitlines() if line.split()[:1] == ["numpy"]]
    assert line.split()[1].startswith("2.")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing"], ["No such command 'nothing'"]),
        (["presets", "--nothing"], ["--nothing"]),
        (["run"], ["network"]),
        (["run", "lenet5", "--limit", "0"], ["--limit"]),
        (["run", "lenet5", "--density", "half"], ["--density"]),
        (["run", "lenet5", "--skip", "some"], ["Skip mode", "'some'", "dense", "both"]),
        (["run", "lenet5", "--preset", "huge"], ["Preset", "'huge'", "output-major"]),
        (["run", "lenet5", "--set", "units"], ["--set", "key=value", "'units'"]),
        (["run", "lenet5", "--set", "unit=3"], ["Unknown key unit", "units"]),
        (["run", "lenet5", "--set", "units=many"], ["units", "int", "'many'"]),
        (["run", "lenet5", "--set", "units=0"], ["units", "between 1 and 256", "0"]),
        (["run", "lenet5", "--set", "chunk=100"], ["chunk", "100"]),
        (["run", "lenet5", "--preset", "toy", "--balance", "chunk"], ["filters_per_unit"]),
        (["run", "lenet5", "--preset", "toy", "--balance", "fair"], ["balance", "chunk", "'fair'"]),
        (["run", "lenet5", "--machine", "eyeriss"], ["Machine", "innerjoin", "'eyeriss'"]),
        (["run", "lenet5", "--machine", "scnn", "--preset", "small"], ["paper, toy", "'small'"]),
        (["run", "lenet5", "--machine", "scnn", "--skip", "dense"], ["scnn", "both", "'dense'"]),
        (["run", "lenet5", "--machine", "scnn", "--balance", "chunk"], ["Unknown key balance"]),
        (["run", "lenet5", "--node", "5nm"], ["45nm", "'5nm'"]),
        (["run", "lenet5", "--preset", "toy", "--set", "collector_width=3"], ["divide", "3"]),
        (["run", "lenet5", "--preset", "toy", "--config", "x.toml"], ["not by both"]),
        (["run", "lenet5", "--config", "/nowhere/x.toml"], ["/nowhere/x.toml"]),
    ],
)
def test_bad_options_are_refused(refuses, arguments, words):
    refuses(arguments, *words)


def test_bad_machine_files_are_refused(refuses, tmp_path):
    path = tmp_path / "machine.toml"
    for changes, words in (
        ({"units": None, "lanes": None}, ["Missing key lanes, units", path]),
        ({"unit": 3}, ["Unknown key unit", path]),
        ({"broadcast_width": 64}, ["broadcast_width", "at most chunk (32)"]),
        ({"filter_double_buffer": 1}, ["filter_double_buffer", "bool"]),
    ):
        refuses(["run", "lenet5", "--config", write_toml(path, **changes)], *words)
    path.write_text("units = ")
    refuses(["run", "lenet5", "--config", path], path, "TOML")
    path.write_bytes(b"\xff\xfe")
    refuses(["run", "lenet5", "--config", path], path, "TOML")


def test_a_broken_pipe_is_quiet():
    reader, writer = os.pipe()
    os.close(reader)
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, "presets"], stdout=writer, stderr=subprocess.PIPE
    )
    os.close(writer)
    assert result.returncode != 0
    assert result.stderr == b""


def test_a_full_disk_is_one_line():
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            [sys.executable, "-c", PROGRAM, "presets"], stdout=full, stderr=subprocess.PIPE
        )
    assert result.returncode == 2
    assert result.stderr.startswith(b"error: No space left")
    assert result.stderr.count(b"\n") == 1


def test_a_failed_write_keeps_the_file_that_was_there(tmp_path, monkeypatch):
    path = tmp_path / "result.json"
    write_whole(path, lambda: "before")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("golden.files.os.replace", fail)
    with pytest.raises(UserError, match=r"result\.json can't be written: No space left"):
        write_whole(path, lambda: "after")
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == ["result.json"]


def test_a_device_is_refused_and_a_link_followed(tmp_path):
    device, link, target = tmp_path / "null", tmp_path / "link", tmp_path / "target"
    device.symlink_to("/dev/null")
    with pytest.raises(UserError, match="must be a regular file, not a folder, device or pipe"):
        write_whole(device, lambda: "lost")
    assert device.is_symlink()
    link.symlink_to(target)
    write_whole(link, lambda: "kept")
    assert link.is_symlink()
    assert target.read_text() == "kept"


def test_outputs_that_cannot_be_written_are_refused(tmp_path):
    with pytest.raises(UserError, match="not a folder"):
        check_writable(tmp_path)
    with pytest.raises(UserError, match="in a folder that exists"):
        check_writable(tmp_path / "nothing" / "x.json")
    with pytest.raises(UserError, match="can't be written"):
        check_writable("/proc/x.json")
    with pytest.raises(UserError, match=r"Outputs of --plot and --json must differ, not be -, -"):
        check_outputs(plot="-", json="-")


def test_the_readme_s_python_runs(capsys):
    text = (Path(__file__).parents[2] / "README.md").read_text()
    after = text.partition("From Python:\n")[2].lstrip("\n")
    lines = itertools.takewhile(lambda line: not line or line.startswith("    "), after.split("\n"))
    exec(textwrap.dedent("\n".join(lines)), {})
    assert "utilisation" in capsys.readouterr().out


START = (sys.executable, "-c", "from accel.cli.entry import main; main()")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_reason_to_end(closed, tmp_path):
    command = f'"$@" check lenet5 --preset toy --json {tmp_path / "x.json"} {closed}'
    done = subprocess.run(["sh", "-c", command, "sh", *START], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads((tmp_path / "x.json").read_text())["fits"]


def test_an_empty_environment_is_enough():
    done = subprocess.run([*START, "check", "lenet5"], capture_output=True, text=True, env={})
    assert (done.returncode, done.stderr) == (0, "")


def test_a_configuration_is_a_regular_file_of_toml(refuses, tmp_path):
    deep = tmp_path / "deep.toml"
    deep.write_text("x = " + "[" * 100_000)
    refuses(["run", "lenet5", "--config", deep], "must be TOML: it is nested too deeply")
    refuses(["run", "lenet5", "--config", "/dev/zero"], "must be a regular file")
    refuses(["run", "lenet5", "--set", "units=" + "[" * 100_000], "must be of type int")
