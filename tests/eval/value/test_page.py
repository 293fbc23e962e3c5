"""The interactive page: whole without a network, safe with any name, and used in Chromium."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest

from eval.value.draw import COST, TIME
from eval.value.equation import Rounded
from eval.value.page import render_page, signed
from eval.value.read import Scored
from eval.value.table import Own, ValueTable, build_table

EVIL = "</script><script>alert(1)</script>"


@pytest.fixture(scope="module")
def page(paper: ValueTable) -> str:
    return render_page(COST, paper, ["Scores: Table 1."])


def test_it_is_whole(page: str) -> None:
    assert len(page) < 400_000
    assert not re.findall(r'(?:src|href)="(?!#|data:)', page)
    outside = re.sub(r'xmlns[^=]*="[^"]*"', "", page)
    assert "http" not in outside.replace("http-equiv", "")
    assert "default-src 'none'" in page
    assert page.count("<tr data-model=") == 123
    assert "Scores: Table 1." in page


def test_the_data_of_the_script(page: str) -> None:
    (text,) = re.findall(r'<script type="application/json" id="models">(.*?)</script>', page)
    models = json.loads(text)
    assert len(models) == 123
    (sage,) = [m for m in models if m["name"] == "AstroSage-Llama-3.1-70B"]
    assert sage["lines"] == [
        "score 89.0% (95% 88.0 to 90.0), no. 3",
        "value +5.55, no. 1",
        "cost 0.0201 $ per 0.1M tokens (0.0186 to 0.0217), by published value",
        "released 2025-05",
        "AstroSage, open weights, on the frontier",
    ]


def test_names_cannot_write_html() -> None:
    rows = [
        Scored("Base", "A", "open", Rounded(75.0), Rounded(0.0)),
        Scored(EVIL, EVIL, "open", Rounded(80.0), Rounded(3.0)),
        Scored("Unpriced", "A", "open", Rounded(70.0)),
    ]
    table = build_table(rows, "Base", own=[Own('own "x"', 3, 4, cost_as="Base")])
    html = render_page(COST, table, [EVIL])
    assert EVIL not in html
    assert html.count("<script") == 2
    assert "Not drawn, since the cost is not known: Unpriced." in html
    assert "diamonds are models of this run" in html
    # Relative costs where no price is known.
    assert "cost / Base&#39;s" in html


def test_what_is_not_drawn_over_time_is_said(paper: ValueTable) -> None:
    html = render_page(TIME, paper, [])
    assert "Not drawn, since the release is not known: GLM-3 Turbo, Moonshot v1." in html
    assert html.count('class="model"') == 2 * 2 * 121


def test_signs() -> None:
    assert [signed(v) for v in (4.124, -2.12, 0.001, -0.001)] == ["+4.12", "−2.12", "0.00", "0.00"]


PROBE = """<script>
const said = [];
addEventListener("error", (event) => said.push(event.message));
const key = (name) =>
  figure.dispatchEvent(new KeyboardEvent("keydown", {key: name, bubbles: true}));
const tipped = () => tip.hidden ? null : tip.querySelector("b").textContent;
const figure = document.getElementById("figure"), tip = document.getElementById("tip");
const search = document.getElementById("search"), result = {};
addEventListener("load", () => {
  figure.focus();
  result.focused = document.activeElement === figure;
  key("ArrowRight"); result.cheapest = tipped();
  result.spoken = document.getElementById("live").textContent;
  key("End"); result.dearest = tipped();
  key("ArrowUp"); key("Home"); result.home = tipped();
  key("Escape"); result.escaped = tipped();
  search.value = "astrosage"; search.dispatchEvent(new Event("input"));
  result.count = document.getElementById("count").textContent;
  result.rows = [...document.querySelectorAll("tbody tr")].filter((r) => !r.hidden).length;
  result.bright = document.querySelectorAll(".wide .model:not(.dim)").length;
  key("Home"); result.among_found = tipped();
  search.value = ""; search.dispatchEvent(new Event("input"));
  document.querySelector("[data-family=xAI]").click();
  document.querySelector("[data-kind=proprietary]").click();
  result.family = document.getElementById("count").textContent;
  document.querySelector("[data-family=xAI]").click();
  document.querySelector("[data-kind=proprietary]").click();
  const heads = document.querySelectorAll("thead button");
  const first = () => document.querySelector("tbody tr td:nth-child(3)").textContent;
  heads[5].click(); result.worst = first();
  heads[5].click(); result.best = first();
  heads[8].click(); heads[8].click(); result.newest = first();
  const point = [...document.querySelectorAll(".wide .model")].find((p) => p.dataset.model === "0");
  const box = point.getBoundingClientRect();
  figure.dispatchEvent(new PointerEvent("pointermove", {bubbles: true,
    clientX: box.x + box.width / 2 + 3, clientY: box.y + box.height / 2}));
  result.hovered = tipped();
  result.marked = document.querySelectorAll("tbody tr.on").length;
  document.querySelector("tbody tr button").click(); result.clicked = tipped();
  result.wide = document.documentElement.scrollWidth <= innerWidth;
  result.errors = said;
  document.body.insertAdjacentHTML("beforeend", "<pre id=probe></pre>");
  document.getElementById("probe").textContent = JSON.stringify(result);
});
</script>
</body>"""


def test_it_works_in_a_browser(page: str, tmp_path: Path) -> None:
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    if browser is None:
        pytest.skip("no Chromium here: install the system package chromium")
    path = tmp_path / "figure3.html"
    path.write_text(page.replace("</body>", PROBE), encoding="utf-8")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1100,900"]
    command += ["--dump-dom", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=True)
    assert ":CONSOLE" not in done.stderr
    (text,) = re.findall(r'<pre id="probe">(.*?)</pre>', done.stdout)
    found = json.loads(unescape(text))
    assert found == {
        "focused": True,
        "cheapest": "GLM-4 Flash",
        "spoken": found["spoken"],
        "dearest": "GPT-4",
        "home": "GLM-4 Flash",
        "escaped": None,
        "count": "2 of 123 models",
        "rows": 2,
        "bright": 2,
        "among_found": "AstroSage-Llama-3.1-8B",
        "family": "4 of 123 models",
        "worst": "Gemma 2B",
        "best": "Gemini 3.0 Flash",
        "newest": "Gemini 3.0 Flash",
        "hovered": "AstroSage-Llama-3.1-8B",
        "marked": 1,
        "clicked": found["newest"],
        "wide": True,
        "errors": [],
    }
    assert found["spoken"].startswith("GLM-4 Flash. score 69.5%")
