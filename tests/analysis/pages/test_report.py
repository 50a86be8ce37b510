"""The page of a sweep: self-contained, complete, and working in a real browser."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

from analysis import figures, report
from analysis.blocks.grid import Grid, Text
from analysis.pages import html
from analysis.stats import across_benches

VOID = {"meta", "link", "img", "input", "br", "polyline"}


class Page(HTMLParser):
    """Checks nesting and collects what the tests ask for."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.attributes.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag


def sweep(fake, orders: int = 3) -> list:
    cells = [
        fake.add(method, 0.5 + order / 50 + i / 10, order=order)
        for order in range(orders)
        for i, method in enumerate(("janus", "seqlora"))
    ]
    fake.plan("first", cells)
    return cells


@pytest.fixture
def write(fake, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(across_benches, "DRAWS", 20)  # the intervals are tested elsewhere
    monkeypatch.setattr(figures, "ONE_EACH", figures.ONE_EACH[:2])  # the others are drawn alike

    def call(*arguments: str) -> tuple[int, str]:
        path = tmp_path / "report.html"
        code = report.main(["--store", str(fake.root), "--out", str(path), *arguments])
        return code, path.read_text() if path.exists() else ""

    return call


def test_the_page_is_whole_and_loads_nothing(fake, write):
    cells = sweep(fake)
    code, text = write("--sweep", "first")
    assert code == 0
    page = Page(text)
    assert page.open == []
    for tag, attributes in page.attributes:
        for name in ("src", "href"):
            assert (attributes.get(name) or "data:").startswith(("data:", "#")), (tag, attributes)
    assert "url(" not in text and "@import" not in text
    for cell in cells:
        assert f'id="run-{cell.id}"' in text
    assert "None: every planned cell" in text


def test_numbers_are_those_of_the_table(fake, write):
    sweep(fake)
    _, text = write()
    assert "52.00 ± 2.00" in text  # janus
    assert 'data-value="+10.00"' in text  # seqlora - janus, paired


def test_missing_failed_and_damaged_cells_are_listed(fake, write):
    cells = sweep(fake)
    failed = fake.cell("inflora", order=0)
    claim = fake.store.claim(failed)
    claim.fail({"cause": "nan-loss"})
    claim.release()
    bad = fake.path(fake.add("inflora", order=1))
    bad.write_text("{")
    fake.plan("first", [*cells, failed])
    code, text = write("--sweep", "first")
    assert code == 3
    assert failed.id in text and "failed: nan-loss" in text
    assert "not readable as JSON" in text


@pytest.mark.slow
def test_every_picture_and_every_region_has_words(fake, write):
    sweep(fake)
    page = Page(write()[1])
    images = [a for tag, a in page.attributes if tag == "img"]
    assert len(images) == 2
    assert all(len(a["alt"]) > 20 for a in images)
    assert all(a.get("aria-label") for tag, a in page.attributes if a.get("role") == "region")
    assert ("html", {"lang": "en"}) in page.attributes


def test_names_from_the_store_cannot_become_markup(fake, write):
    cell = fake.add()
    fake.edit(cell, lambda r: r["tasks"][0].update(classes=["<script>alert(1)</script>"]))
    fake.plan("mine", [cell])
    _, text = write("--sweep", "mine")
    assert text.count("<script>") == 1


@pytest.mark.slow
def test_many_runs_are_cut_off_and_said(fake, write):
    sweep(fake)
    _, text = write("--runs", "2")
    assert text.count('class="run"') == 2
    assert "4 further runs are left out" in text


def test_runs_are_listed_as_people_count(fake, write):
    for order in (2, 10, 1):
        fake.add(order=order)
    found = re.findall(r"<summary>glyphs janus order=(\d+)", write()[1])
    assert found == ["1", "2", "10"]


def test_an_empty_store_writes_no_page_and_exits_3(fake, write):
    assert write() == (3, "")
    assert write("--store", "nowhere")[0] == 2


def test_numbers_behind_signs_and_brackets_are_sorted_as_numbers():
    values = ("<0.0001", ">200", "[+0.15, +0.33]", "-7.50 ± 1.87", "6/0", "--")
    row = tuple(map(Text, ("janus", *values)))
    text = html.table_html(Grid("", (("", 7),), ("method", *"abcdef"), (row,), words=1))
    found = re.findall(r'data-value="([^"]*)"', text)
    assert found == ["0.0001", "200", "+0.15", "-7.50", "6"]
    assert '<th scope="row" class="word">janus</th>' in text


@pytest.mark.slow
def test_a_wide_figure_has_a_line_of_its_own_and_can_be_scrolled(fake, write, monkeypatch):
    monkeypatch.setattr(figures, "ONE_EACH", (figures.curves.accuracy_matrices,))
    sweep(fake)
    page = Page(write()[1])
    (css,) = [a.get("class") for tag, a in page.attributes if tag == "figure"]
    assert css == "wide"
    assert any(a.get("aria-label") == "glyphs_accuracy_matrices" for _, a in page.attributes)


PROBE = """<script>
const problems = [];
addEventListener("error", (e) => problems.push(String(e.message)));
const say = console.error; console.error = (...a) => { problems.push(a.join(" ")); say(...a); };
addEventListener("load", () => {
  const table = document.querySelector("#results table");
  const names = () => [...table.tBodies[0].rows].map((r) => r.cells[0].textContent);
  const acc = [...table.querySelectorAll("th button")].find((b) => b.textContent === "ACC");
  const found = { before: names() };
  acc.focus(); acc.click(); found.up = names();
  found.sorted = acc.closest("th").getAttribute("aria-sort");
  acc.click(); found.down = names();
  const heads = [...document.querySelectorAll("th button")];
  const seeds = heads.find((b) => b.textContent === "std seed");
  const body = seeds.closest("table").tBodies[0];
  const ends = () => body.rows[body.rows.length - 1].textContent.includes("--");
  seeds.click(); found.missing = [ends()]; seeds.click(); found.missing.push(ends());
  const filter = document.getElementById("filter");
  filter.value = "janus order=1"; filter.dispatchEvent(new Event("input"));
  found.left = [...document.querySelectorAll("details.run")].filter((d) => !d.hidden).length;
  document.querySelector("details.run").open = true;
  found.overflow = document.documentElement.scrollWidth - innerWidth;
  found.small = [...document.querySelectorAll("img")].filter((i) => i.naturalWidth === 0).length;
  found.ink = getComputedStyle(document.body).color;
  found.problems = problems;
  parent.postMessage(JSON.stringify(found), "*");
});
</script>"""

FRAME = """<!doctype html><iframe src="probed.html" style="width:WIDTHpx;height:800px"></iframe>
<pre id="out"></pre><script>
addEventListener("message", (e) => { document.getElementById("out").textContent = e.data; });
</script>"""


def in_browser(folder, text: str, width: int, *flags: str) -> dict:
    """What the probe finds when Chromium shows the page in a window of this width."""
    chromium = shutil.which("chromium")
    assert chromium, "this test needs Chromium: apt-get install chromium"
    (folder / "probed.html").write_text(text.replace("<head>", f"<head>{PROBE}", 1))
    (folder / "frame.html").write_text(FRAME.replace("WIDTH", str(width)))
    command = [chromium, "--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    command += ["--virtual-time-budget=5000", *flags, f"--user-data-dir={folder / 'profile'}"]
    done = subprocess.run(
        [*command, (folder / "frame.html").as_uri()], capture_output=True, text=True, timeout=120
    )
    return json.loads(re.search(r'<pre id="out">(.*?)</pre>', done.stdout, re.S).group(1))


@pytest.mark.browser
def test_the_page_works_in_chromium(fake, write, tmp_path):
    cells = [*sweep(fake), fake.add("janus", order=0, seed=1)]  # seqlora has no second seed
    fake.plan("first", cells)
    _, text = write("--sweep", "first")
    wide = in_browser(tmp_path, text, 1200)
    assert wide["problems"] == []
    assert wide["small"] == 0
    assert (wide["up"], wide["sorted"]) == (["janus", "seqlora"], "ascending")
    assert wide["down"] == ["seqlora", "janus"]
    assert wide["left"] == 1
    assert wide["missing"] == [True, True]


@pytest.mark.browser
def test_nothing_sticks_out_on_a_phone_and_dark_follows_the_system(fake, write, tmp_path):
    sweep(fake)
    fake.add("janus", order=9, provenance={"git": {"sha": "0123456789" * 4}})
    _, text = write()
    light = in_browser(tmp_path, text, 360)
    dark = in_browser(tmp_path, text, 360, "--blink-settings=preferredColorScheme=0")
    assert light["overflow"] <= 0 and dark["overflow"] <= 0
    assert light["ink"] == "rgb(28, 31, 35)"
    assert dark["ink"] == "rgb(230, 232, 234)"


def test_the_printed_command_is_one_that_the_table_knows(fake, write):
    fake.add("janus")
    _, text = write("--runs", "2")
    line = next(x for x in text.splitlines() if "python analysis/compare.py" in x)
    assert "--runs" not in line and "--out" not in line and "--store" in line
