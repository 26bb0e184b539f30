"""Pages of charts: whole files that load nothing, and what a browser makes of them."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest

import accel
from accel.report.page.document import Bar, Chart, Html, Listing, bars, document
from accel.report.page.runs import comparison_page, study_page
from accel.report.page.sweeps import space_toml, sweep_command, sweep_page
from accel.sweeps.api import sweep
from accel.sweeps.space.space import Space

_SPACE = {
    "units": [4, 8],
    "clusters": [1, 2, 4],
    "fifo_depth": [1, 4, 99],
    "chunk": [32, 128],
    "collector_width": "= min(units, 4)",
    "constraints": "units * clusters <= 16",
    "filter_buffer_chunks": 1 << 12,
    "filter_buffer_bytes": 1 << 18,
    "input_buffer_chunks": 1 << 20,
}


class _Reader(HTMLParser):
    """Collects tags that load something, and those that are left open."""

    def __init__(self) -> None:
        super().__init__()
        self.loading: list[tuple[str, dict]] = []
        self.open: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag, attrs):
        if {"src", "href", "srcset"} & {name for name, _ in attrs} or tag == "link":
            self.loading.append((tag, dict(attrs)))
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def read(page):
    """Return a page's text and data; it must be well-formed and load nothing."""
    reader = _Reader()
    reader.feed(page)
    assert reader.open == []
    assert reader.loading == []
    assert "default-src 'none'" in page
    assert "http:" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "https:" not in page
    (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    return "".join(reader.text), json.loads(data)


@pytest.fixture(scope="module")
def study():
    return sweep("lenet5", _SPACE, ["cycles", "energy_pj"])


def toy_study(name="magnitude"):
    rows = [
        {"series": name, "label": label, "density": density, "accuracy": accuracy + seed / 100}
        for label, density, accuracy in (("1", 1.0, 0.9), ("0.1", 0.1, 0.6))
        for seed in range(3)
    ]
    plots = (SimpleNamespace(x="density", y="accuracy", series="series"),)
    return SimpleNamespace(rows=rows, study=SimpleNamespace(question="Does it?", plots=plots))


def test_a_document_shows_texts_as_they_are():
    evil = "</script><script>alert(1)</script>\x1b[31m"
    parts = [
        Chart("lines", evil, evil, {"series": [{"name": evil}]}),
        bars(evil, "% of it", [evil], [Bar(evil, [1.5])], palette="time"),
        Listing(evil, evil),
        Html("", "<p>so</p>"),
    ]
    page = document(evil, [evil], parts)
    text, data = read(page)
    assert "<script>alert" not in page
    assert "\x1b" not in page
    # Window, title, lead; title and note; title; title and text; and five in the data.
    assert text.count("alert(1)") == 13
    assert data["charts"][1]["rows"] == [
        {"label": "</script><script>alert(1)</script>\\x1b[31m", "values": [1.5]}
    ]


def test_a_comparison_has_each_number_once():
    run = accel.compare(accel.load("lenet5"), ["dense", "innerjoin"])
    text, data = read(comparison_page(run))
    assert text.count("lenet5 on 2 machines") == 2  # the window's title, and the page's
    speed, time, energy = data["charts"]
    dense, ours = run.machines
    assert speed["series"] == ["dense", "innerjoin"]
    assert speed["rows"][-1]["label"] == "total"
    assert speed["rows"][-1]["values"] == [1, dense.total.cycles / ours.total.cycles]
    assert len(speed["rows"]) == len(dense.layers) + 1
    assert [sum(row["values"]) for row in time["rows"]] == [pytest.approx(100)] * 2
    total = ours.total.timings[ours.total.mode].energy.total_pj
    assert sum(energy["rows"][1]["values"]) == pytest.approx(total / 1e6)
    # A colour means one thing.
    assert len({speed["palette"], time["palette"], energy["palette"]}) == 3


def test_a_study_has_means_and_spreads():
    _, data = read(study_page(toy_study()))
    ((series,),) = [chart["series"] for chart in data["charts"]]
    assert [point["label"] for point in series["points"]] == ["0.1", "1"]
    assert series["points"][0]["y"] == pytest.approx(0.61)
    assert series["points"][0]["spread"] == pytest.approx(0.01)


def test_a_sweep_has_its_points_its_front_and_its_rules(study):
    text, data = read(sweep_page(study, "accel sweep show s.sqlite"))
    shared = data["sweep"]
    front = study.pareto()
    names = shared["columns"]
    shown = [dict(zip(names, point, strict=True)) for point in shared["points"]]
    assert [shown[n]["cycles"] for n in shared["front"]] == front["cycles"].tolist()
    assert sorted(point["cycles"] for point in shown) == sorted(
        each.figures[0] for each in study.found if each.figures
    )
    assert shared["fields"] == ["clusters", "units", "chunk", "fifo_depth"]
    assert "fifo_depth must be between 1 and 16, not 99" in text
    assert "accel sweep space.toml --network lenet5 --objectives cycles,energy_pj" in text
    assert "accel sweep show s.sqlite" in text
    shares = data["charts"][2]["rows"]
    assert [row["point"] for row in shares] == shared["front"]
    assert [sum(row["values"]) for row in shares] == [pytest.approx(100)] * len(front)


def test_the_space_on_the_page_is_the_one_that_was_swept(study):
    text = space_toml(study.described["space"])
    again = Space(tomllib.loads(text))
    assert [x.canonical() for x in again.grid()] == [x.point.canonical() for x in study.found]
    two = Space([_SPACE, {"machine": ["dense"], "preset": "array-64"}])
    parsed = tomllib.loads(space_toml(two.to_dict()))["space"]
    assert [x.canonical() for x in Space(parsed).grid()] == [x.canonical() for x in two.grid()]
    asked = {**study.described, "trials": 5, "networks": {"a b": 2}, "images": 3}
    assert "--network 'a b=2'" in sweep_command(asked)
    assert sweep_command(asked).endswith("--trials 5 --limit 3")


def test_a_sweep_without_a_point_that_can_be():
    study = sweep("lenet5", {"units": 4, "fifo_depth": [98, 99]})
    text, data = read(sweep_page(study))
    assert "2 points: 2 infeasible; 0 on the Pareto front." in text
    assert data["charts"] == []


# -- in a browser -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api")
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium is installed")
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def visit(browser, tmp_path):
    """Return a function that opens a page; anything on its console fails the test."""
    said = []
    opened = []

    def visit(page, width=1280, **options):
        path = tmp_path / f"page{len(opened)}.html"
        path.write_text(page, encoding="utf-8")
        tab = browser.new_page(viewport={"width": width, "height": 900}, **options)
        opened.append(tab)
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.on("request", lambda request: said.append(request.url)
               if not request.url.startswith("file:") else None)  # fmt: skip
        tab.goto(path.as_uri())
        return tab

    yield visit
    for tab in opened:
        tab.close()
    assert said == []


@pytest.mark.extra
def test_a_browser_hovers_chooses_and_filters(visit, study):
    tab = visit(sweep_page(study))
    dot = tab.locator("circle.front").nth(1)
    box = dot.bounding_box()
    tab.mouse.move(box["x"] + 4, box["y"] + 4)
    best = study.pareto().iloc[1]
    assert f"cycles: {best['cycles']:,}" in tab.locator(".tip").inner_text()
    tab.mouse.click(box["x"] + 4, box["y"] + 4)
    chosen = tomllib.loads(tab.locator("#chosen pre").inner_text())
    machine = accel.AcceleratorConfig.from_dict(chosen)
    assert (machine.units, machine.clusters) == (best["units"], best["clusters"])
    assert tab.locator("circle.chosen").count() == 1
    tab.locator("#chosen button").click()
    tab.wait_for_function("document.querySelector('#chosen button').textContent === 'Copied'")
    # Only the largest value of the first axis: four clusters.
    figures = [each.point.config["clusters"] for each in study.found if each.figures]
    assert tab.locator("#passing").inner_text() == f"{len(figures)} of {len(figures)} points"
    grip = tab.locator("rect.grip[data-axis=clusters]")
    grip.scroll_into_view_if_needed()
    box = grip.bounding_box()
    middle = box["x"] + box["width"] / 2
    tab.mouse.move(middle, box["y"] + 2)
    tab.mouse.down()
    tab.mouse.move(middle, box["y"] + box["height"] * 0.2, steps=4)
    tab.mouse.up()
    passing = figures.count(4)
    assert 0 < passing < len(figures)
    assert tab.locator("#passing").inner_text() == f"{passing} of {len(figures)} points"
    assert tab.locator("circle.dot.out").count() == len(figures) - passing
    tab.locator("#unfilter").click()
    assert tab.locator("circle.dot.out").count() == 0
    tab.locator("select[data-axis=x]").select_option("units")
    assert "units" in tab.locator("figure").first.locator("svg").text_content()


@pytest.mark.extra
@pytest.mark.parametrize("width", [1280, 400])
def test_nothing_is_cut_and_no_texts_collide(visit, study, width):
    run = accel.compare(accel.load("lenet5"), ["dense", "innerjoin", "scnn"])
    pages = [sweep_page(study, "accel sweep show"), comparison_page(run), study_page(toy_study())]
    for page in pages:
        tab = visit(page, width, color_scheme="dark")
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        boxes = tab.evaluate(
            """[...document.querySelectorAll('figure > svg')].map(svg =>
                [...svg.querySelectorAll('text')].map(text => {
                    const box = text.getBoundingClientRect();
                    return [box.left, box.top, box.right, box.bottom, text.textContent];
                }))"""
        )
        for texts in boxes:
            assert texts
            for left, _, right, _, _ in texts:
                assert left >= 0
                assert right <= width
            for number, one in enumerate(texts):
                for other in texts[number + 1 :]:
                    apart = (
                        one[2] <= other[0] + 1 or other[2] <= one[0] + 1
                        or one[3] <= other[1] + 4 or other[3] <= one[1] + 4
                    )  # fmt: skip
                    assert apart, (one, other)


@pytest.mark.extra
def test_a_page_is_dark_or_light_or_printed(visit, study):
    colours = {
        scheme: visit(sweep_page(study), color_scheme=scheme).evaluate(
            "getComputedStyle(document.body).backgroundColor"
        )
        for scheme in ("light", "dark")
    }
    assert colours == {"light": "rgb(255, 255, 255)", "dark": "rgb(18, 22, 28)"}
    tab = visit(sweep_page(study), color_scheme="dark")
    tab.emulate_media(media="print")
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == colours["light"]
    assert not tab.locator("button").first.is_visible()
    assert tab.pdf().startswith(b"%PDF")
