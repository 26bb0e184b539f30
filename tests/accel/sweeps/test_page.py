"""``docs/sweeps.md``, run as it stands there, and the command line of sweeps."""

from __future__ import annotations

import re
from pathlib import Path

import accel

PAGE = Path(__file__).parents[3] / "docs" / "sweeps.md"

_SPACE = """
units = [4, 8]
fifo_depth = [2, 99]
clusters = 1
collector_width = 4
filter_buffer_chunks = 4096
filter_buffer_bytes = 262144
input_buffer_chunks = 1048576
"""


def test_the_page_runs():
    text = PAGE.read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.S)
    scope: dict = {}
    exec(compile(code, str(PAGE), "exec"), scope)
    assert len(scope["table"]) == 3 * (3 + 3 + 2)
    assert (scope["table"]["status"] == "ok").all()
    assert scope["best"]["cycles"] == scope["table"]["cycles"].min()
    machine = accel.AcceleratorConfig.preset("output-major").replace(
        units=16, collector_width=8, clusters=2
    )
    run = accel.simulate(scope["net"], machine, modes=["both"])
    assert scope["timing"].cycles == run.machines[0].total.cycles


def test_sweep_show_and_export(accel, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("space.toml").write_text(_SPACE)
    arguments = ("sweep", "space.toml", "--network", "lenet5", "--objectives", "cycles,lut4")
    status, out, err = accel(*arguments)
    assert (status, err) == (0, "")
    assert "4 points: 2 infeasible, 2 ok; 2 on the Pareto front." in out
    assert "fifo_depth must be between 1 and 16, not 99" in " ".join(out.split())
    assert accel(*arguments) == (0, out, "")
    assert accel("sweep", "show", "sweep.sqlite")[:2] == (0, out)
    status, out, err = accel("sweep", "show", "sweep.sqlite", "--pareto", "energy_pj")
    assert status == 0
    assert "energy" in out
    status, out, err = accel(
        "sweep", "show", "sweep.sqlite", "--pareto", "cycles,luts", "--html", "page.html"
    )
    assert (status, err) == (0, "")
    page = Path("page.html").read_text()
    assert "accel sweep show sweep.sqlite --html page.html --pareto cycles,luts" in page
    assert accel("sweep", "show", "sweep.sqlite", "--html", "-")[1].startswith("<!DOCTYPE html>")
    assert accel("sweep", "export", "sweep.sqlite", "points.csv") == (0, "", "")
    assert Path("points.csv").read_text().count("\n") == 5
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "page.html", "points.csv", "space.toml", "sweep.sqlite"
    ]  # fmt: skip


def test_bad_input_is_one_line(refuses, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("space.toml").write_text(_SPACE)
    refuses(["sweep", "none.toml", "--network", "lenet5"], "Space none.toml", "No such file")
    run = ["sweep", "space.toml", "--network"]
    refuses([*run, "lenet"], "Network must be one of")
    refuses([*run, "lenet5=0"], "Weight of a network", "not 0.0")
    refuses([*run, "lenet5", "--trials", "0"], "Trials must be at least 1, not 0")
    refuses([*run, "lenet5", "--search", "best"], "Search must be one of grid")
    refuses([*run, "lenet5", "--objectives", "speed"], "Objective must be one of cycles")
    refuses([*run, "lenet5", "--skip", "fast"], "Skip mode must be one of")
    refuses([*run, "lenet5", "--workers", "0"], "Workers must be between 1 and 1024, not 0")
    refuses([*run, "lenet5", "--store", "no/folder.sqlite"], "can't be written")
    refuses(["sweep", "show", "space.toml"], "must be a file that a sweep has written")
    refuses(["sweep", "show", "none.sqlite", "--html", "no/page.html"], "Output no/page.html")
    refuses(["sweep", "export", "none.sqlite", "points.csv"], "Store none.sqlite must be a file")
    assert [path.name for path in tmp_path.iterdir()] == ["space.toml"]
