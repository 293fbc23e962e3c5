"""The page: whole, escaped, self-contained, and the same each time. No browser needed."""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from pathlib import Path

import pytest

from core.stage import StageContext
from eval.report.gather import gather
from eval.report.page import sections
from eval.report.stage import ReportStage
from eval.report.text import compact, duration, p_value, points, reasoning
from tests.eval.report.conftest import ATTACK, LINK, NAMES
from tests.eval.report.html_page import Page

ALL_SECTIONS = [
    "summary",
    "results",
    "paired",
    "calibration",
    "positions",
    "contamination",
    "general",
    "value",
    "answers",
    "merge",
    "training",
    "corpus",
    "pairs",
    "rejects",
    "account",
    "provenance",
]
MAX_PAGE_BYTES = 5_000_000


def build(ctx: StageContext, names: tuple[str, ...], title: str = "Demo run") -> str:
    out = ctx.run_dir / "page"
    out.mkdir(parents=True, exist_ok=True)
    ReportStage(title, names).run(ctx, out)
    return (out / "index.html").read_text(encoding="utf-8")


def contents(page: Page) -> list[str]:
    """The ids that the contents list points at, in order."""
    start = next(i for i, (tag, _) in enumerate(page.attributes) if tag == "nav")
    end = next(i for i, (tag, _) in enumerate(page.attributes) if tag == "main")
    links = [a for tag, a in page.attributes[start:end] if tag == "a"]
    return [str(a["href"]).removeprefix("#") for a in links]


@pytest.fixture(scope="module")
def html(hostile_page: Path) -> str:
    return hostile_page.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_every_section_is_there(page: Page) -> None:
    assert contents(page) == ALL_SECTIONS
    assert set(ALL_SECTIONS) <= set(page.ids)


@pytest.mark.parametrize(
    "expected",
    [
        "21 of 21 stages finished",
        "53.8% [42.9, 64.3]",  # accuracy of sft
        "181.3",  # held-out perplexity of base
        "sft: in-domain accuracy against base: +30.0 points",  # paired
        "+21.1 to +40.8",
        "Confidence is the probability of the chosen letter",  # calibration
        "Same answer in all orders",  # position bias
        "12 of 12",  # flagged questions
        "merged · reasoning wrote, after thinking",
        "Thought",
        "method dare_ties, base train.cpt",
        "Drawn by merge.sweep_figure",
        "240 steps; loss from",
        "3.7 k tokens/s",
        "held-out loss on astronomy 6.000 to 5.000",
        "1 loss spike",
        "cc-by-4.0",
        "2007-03-01 to 2011-03-01",
        "654,321 tokens in the sequences",
        "900 paragraphs scored",
        "40 too short to score",
        "arxiv 300.5",
        "near duplicates 11",
        "30 (75.0%) passed the judge",
        "mean 4.58",
        "overall 2 < 5",
        "3 documents summarized",
        "20 conversations, 200 tokens",
        "70.0%",
        "corpus.ingest 3 documents",
        "seed 42",
        "Figure. Drawn by eval.general",
        "Only the first 50 questions of each task",
        "± 2.5",
        "All 3 models, best value first",
        "0.012",
        "cpt is not placed",
        "Wrong (eval.value) is not shown: the root element is 'html', not svg.",
    ],
)
def test_page_shows_what_the_stages_found(page: Page, expected: str) -> None:
    assert expected in page.words


def test_samples_nearest_to_the_threshold_come_first(page: Page) -> None:
    words = page.words
    assert words.index("perplexity 299.5") < words.index("perplexity 120.0")
    assert words.index("perplexity 301.0") < words.index("perplexity 990.0")


def test_page_is_self_contained(page: Page, html: str, hostile_run: StageContext) -> None:
    assert len(html.encode()) < MAX_PAGE_BYTES
    assert max(Counter(page.ids).values()) == 1
    for link in page.links:
        inside = link.startswith("#") and link[1:] in page.ids
        assert inside or link.startswith("data:image/svg+xml;base64,") or link == "data:,", link
    assert "@import" not in html
    assert re.search(r"url\((?!#)", html) is None
    assert set(re.findall(r"url\(#([^)]*)\)", html)) <= set(page.ids)
    assert str(hostile_run.run_dir) not in html


def test_policy_allows_the_pages_own_script_alone(page: Page, html: str) -> None:
    assert page.tags["script"] == 1
    script = re.search(r"<script>(.*?)</script>", html, re.DOTALL)
    assert script is not None
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    policy = next(m["content"] for m in page.of("meta") if "http-equiv" in m)
    assert policy is not None
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == f"'sha256-{digest}'"
    assert rules["img-src"] == "data:"


def test_text_from_outside_is_only_text(page: Page) -> None:
    # Page() has already failed on any on... attribute; a closed style would have shown as text.
    assert page.words.count(ATTACK) > 20
    assert LINK in page.words
    assert page.tags["img"] == 3
    assert not [link for link in page.links if "javascript" in link]


def test_accessible_names_and_headings(page: Page, hostile_run: StageContext) -> None:
    assert page.headings[0] == 1
    assert page.headings.count(1) == 1
    steps = [b - a for a, b in zip(page.headings, page.headings[1:], strict=False)]
    assert max(steps) <= 1
    for tag in ("svg", "img"):
        name = {"svg": "aria-label", "img": "alt"}[tag]
        assert page.of(tag)
        assert all(attributes.get(name) for attributes in page.of(tag))
    assert all(a.get("scope") in ("col", "row") for a in page.of("th"))
    labels = [a.get("aria-label") for a in page.of("div") if a.get("role") == "region"]
    assert None not in labels
    assert max(Counter(labels).values()) == 1
    titles = [section.title for section in sections(gather(hostile_run, NAMES))]
    assert not set(labels) & set(titles)
    # A table scrolls inside its region, which the keyboard reaches; a picture has its size.
    assert all("tabindex" in a for a in page.of("div") if a.get("role") == "region")
    assert all(a.get("width") and a.get("height") for a in page.of("img"))
    assert page.tags["main"] == page.tags["nav"] == 1
    assert page.of("html")[0]["lang"] == "en"


def test_same_run_same_bytes(half_run: StageContext, stage_names: tuple[str, ...]) -> None:
    assert build(half_run, stage_names) == build(half_run, stage_names)


def test_half_of_the_stages(half_run: StageContext, stage_names: tuple[str, ...]) -> None:
    page = Page(build(half_run, stage_names))
    assert "6 of 13 stages finished" in page.words
    assert "not run yet: train.cpt, synth.qa, train.sft," in page.words
    assert contents(page) == ["summary", "corpus", "rejects", "account", "provenance"]


def test_nothing_finished(ctx: StageContext, stage_names: tuple[str, ...]) -> None:
    page = Page(build(ctx, stage_names))
    assert "0 of 13 stages finished" in page.words
    assert contents(page) == ["summary", "account", "provenance"]


def test_config_says_what_the_page_depends_on() -> None:
    stage = ReportStage("t", NAMES)
    assert stage.config() == {"title": "t", "stages": list(NAMES)}
    assert stage.inputs == NAMES


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "–"), (4.21, "4.2 s"), (59.99, "60.0 s"), (185, "3 min 5 s"), (7800, "2 h 10 min")],
)
def test_duration(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_numbers_for_people() -> None:
    found = [compact(v) for v in (950, 29_184, 1_234_567, 2.5e9, None)]
    assert found == ["950", "29.2 k", "1.23 M", "2.5 G", "–"]
    assert [points(v) for v in (0.042, -0.1, 0.0001, None)] == ["+4.2", "−10.0", "0.0", "–"]
    assert [p_value(v) for v in (0.0312, 0.00001, None)] == ["0.031", "< 0.001", "–"]


@pytest.mark.parametrize(
    ("text", "thought", "said"),
    [
        ("<think>a\nb</think>\nC", "a\nb", "C"),
        ("a</think>C", "a", "C"),  # the opening tag was part of the prompt
        ("<think>never ends", "never ends", ""),
        ("plain", "", "plain"),
        ("", "", ""),
    ],
)
def test_reasoning_is_told_from_the_answer(text: str, thought: str, said: str) -> None:
    assert reasoning(text) == {"thought": thought, "said": said}
