"""Report and leaderboard in a real browser: on a phone, on a desk and on paper. Needs Chromium: `make test-browser`."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from excise.pipelines.benchmark.leaderboard import leaderboard_page
from excise.reports import Context, html_report

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[3]
PHONE, DESK = 390, 1280
# what the page looks like from inside a frame of the width in question, as JSON in place of the outer page's body
MEASURE = """
<iframe id="page" style="border:0; width:{width}px; height:900px" srcdoc="{page}"></iframe>
<script>
document.getElementById("page").addEventListener("load", (event) => {{
  const inner = event.target.contentDocument, root = inner.documentElement, found = {{}};
  found.wide = root.scrollWidth; found.room = root.clientWidth; found.tall = root.scrollHeight;
  found.broken = [...inner.images].filter((i) => !i.naturalWidth).length; found.images = inner.images.length;
  const texts = [...inner.querySelectorAll("p, td, th, li, dd, h1, h2")].filter((e) => e.getClientRects().length);
  found.smallest = Math.min(...texts.map((e) => parseFloat(inner.defaultView.getComputedStyle(e).fontSize)));
  {more}
  const told = document.createElement("pre");
  told.id = "found"; told.textContent = JSON.stringify(found); document.body.replaceChildren(told);
}});
</script>
"""
SORT = """
  const [table, other] = inner.querySelectorAll("table");  // a concept each
  const cells = (one) => [...one.querySelectorAll("tbody tr")].map((l) => [...l.children].map((c) => c.dataset.value));
  const lines = () => cells(table), beside = JSON.stringify(cells(other));
  const buttons = [...table.querySelectorAll("th button")];
  const column = buttons.findIndex((b) => b.textContent == "retain");
  // 8, 19, 30, ...: another order as text
  [...table.querySelectorAll("tbody tr")].forEach((l, i) => l.children[column].dataset.value = 8 + 11 * i);
  found.before = lines().map((l) => l[0]);
  buttons[column].click(); found.up = lines().map((l) => l[column]);
  buttons[column].click(); found.down = lines().map((l) => l[column]);
  found.alone = JSON.stringify(cells(other)) == beside;
"""


def browser() -> str:
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.fail("there is no Chromium on this machine: install it, and run `make test-browser` again")
    return found


def chromium(*arguments: str, folder: Path) -> str:
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
    flags += ["--no-first-run", f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=8000"]
    done = subprocess.run([browser(), *flags, *arguments], capture_output=True, text=True, timeout=120, check=True)
    return done.stdout


def measured(page: str, width: int, folder: Path, more: str = "") -> dict:
    file = folder / "outer.html"
    file.write_text(MEASURE.format(width=width, page=html.escape(page), more=more))
    told = re.search(r'<pre id="found">(.*?)</pre>', chromium("--dump-dom", file.as_uri(), folder=folder))
    assert told, "the page did not load"
    return json.loads(html.unescape(told[1]))


@pytest.fixture
def report(metrics_of) -> str:
    pictures = {name: Image.new("RGB", (1400, 900), "#c4d6e4") for name in ("contact_sheet", "rates", "reactivation")}
    metrics = metrics_of(
        [("esd", "unlearndiffatk", 0.75, None)],
        none="h" * 30,
        esd="h" * 14 + "." * 16,
        esd_plus="." * 30,
        p_esd="." * 30,
    )
    asked = {"erase": "a person", "anchor": "a cactus", "images_per_prompt": 3}
    command = "kedro run --pipeline=erase_nsfw --params=" + ",".join(
        f"attacks.unlearndiffatk.steps={k}" for k in range(9)
    )
    files = {f"data/08_reporting/emoji64/person/{name}": "what it is" for name in ("metrics.json", "contact_sheet.png")}
    return html_report(metrics, pictures, Context(**asked, command=command, files=files))


@pytest.fixture
def leaderboard() -> str:
    rows = json.loads((ROOT / "docs/benchmark.json").read_text())
    return leaderboard_page(rows, "kedro run --pipeline=benchmark", len(rows), "emoji64")


@pytest.mark.parametrize("width", [PHONE, DESK])
@pytest.mark.parametrize("which", ["report", "leaderboard"])
def test_nothing_runs_out_of_the_page_and_all_can_be_read(request, tmp_path, which, width):
    found = measured(request.getfixturevalue(which), width, tmp_path)
    assert width - 20 <= found["room"] <= width and found["wide"] <= found["room"]  # a scroll bar takes some
    assert found["images"] > 0 and found["broken"] == 0
    assert found["smallest"] >= 12 and found["tall"] > 900


def test_a_page_that_is_too_wide_is_noticed(tmp_path, report):
    wide = report.replace("<main>", "<main><p style='width:700px'>wide</p>")
    assert wide != report and measured(wide, PHONE, tmp_path)["wide"] > PHONE


def test_a_click_on_a_column_sorts_the_leaderboard(tmp_path, leaderboard):
    found = measured(leaderboard, DESK, tmp_path, SORT)
    up, down = ([float(v) for v in found[k]] for k in ("up", "down"))
    assert up == sorted(up) and down == sorted(up, reverse=True) and len(set(up)) > 1
    assert len(found["before"]) == len(up) and found["alone"]  # and the other concept's table stays as it is


@pytest.mark.parametrize("which", ["report", "leaderboard"])
def test_it_can_be_printed(request, tmp_path, which):
    page, paper = tmp_path / "page.html", tmp_path / "page.pdf"
    page.write_text(request.getfixturevalue(which))
    chromium(f"--print-to-pdf={paper}", "--no-pdf-header-footer", page.as_uri(), folder=tmp_path)
    data = paper.read_bytes()
    assert data.startswith(b"%PDF") and len(re.findall(rb"/Type\s*/Page\b", data)) > 1
