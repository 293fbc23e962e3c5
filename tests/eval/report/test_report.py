"""The page: whole, escaped, self-contained, and the same each time."""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest

from core.stage import StageContext
from eval.report.gather import perplexity_histogram, read_curve
from eval.report.stage import ReportStage, compact, duration

VOID = {"meta", "link", "br", "img", "path", "use", "rect", "line", "circle"}


class Page(HTMLParser):
    """Collects what the tests ask about, and checks that tags close in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.text: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        for name, value in attrs:
            assert not name.startswith("on"), f"script in {tag}.{name}"
            if name == "id" and value:
                self.ids.append(value)
            if name in ("href", "src", "xlink:href") and value:
                self.links.append(value)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text.append(data)

    @property
    def words(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.text))


def build(ctx: StageContext, names: tuple[str, ...], title: str = "Demo run") -> str:
    out = ctx.run_dir / "page"
    out.mkdir(parents=True, exist_ok=True)
    ReportStage(title, names).run(ctx, out)
    return (out / "index.html").read_text(encoding="utf-8")


def test_page_shows_the_numbers(finished_run: StageContext, stage_names: tuple[str, ...]) -> None:
    html = build(finished_run, stage_names)
    page = Page(html)
    for expected in (
        "53.8% [42.9, 64.3]",
        "181.3",
        "1.876 bits/byte",
        "13 of 13 stages finished",
        "chance (25.0%)",
        "rules (no language model)",
        "excluded review 2, pdf encrypted 1",
        "3,060 paragraphs scored, 61 (1.99%) above the threshold 900.0; 40 too short to score",
        "3 min 4 s",
        "perplexity 3000",
        "Which quantity sets the period of the 19th Cepheid in the sample?",
        "62.5%",
        "Cosmology & large-scale structure",
    ):
        assert expected in page.words, expected
    # Accuracy, histogram and two training curves, each for a wide and a narrow screen.
    assert page.tags["svg"] == 8
    assert html.count('role="img" aria-label=') == 8


def test_page_is_self_contained(finished_run: StageContext, stage_names: tuple[str, ...]) -> None:
    html = build(finished_run, stage_names)
    page = Page(html)
    assert len(html) < 2_000_000
    assert page.tags["script"] == 0
    assert max(Counter(page.ids).values()) == 1
    for link in page.links:
        assert link == "data:," or (link.startswith("#") and link[1:] in page.ids), link
    assert "@import" not in html
    assert re.search(r"url\((?!#)", html) is None
    assert set(re.findall(r"url\(#([^)]*)\)", html)) <= set(page.ids)
    assert str(finished_run.run_dir) not in html


def test_same_run_same_bytes(finished_run: StageContext, stage_names: tuple[str, ...]) -> None:
    assert build(finished_run, stage_names) == build(finished_run, stage_names)


def test_text_is_escaped(finished_run: StageContext, stage_names: tuple[str, ...]) -> None:
    attack = "<script>alert('x')</script> & \"quoted\""
    scores = finished_run.folder("eval.scores") / "scores.json"
    # A model name reaches the plots' labels and alternative texts as well.
    scores.write_text(scores.read_text().replace('"sft"', '"<script>$x^"'), encoding="utf-8")
    page = Page(build(finished_run, stage_names, attack))
    assert page.tags["script"] == 0
    assert page.words.count(attack) == 2
    assert "<b>km s-1</b>" in page.words
    assert "<script>$x^" in page.words


def test_half_of_the_stages(half_run: StageContext, stage_names: tuple[str, ...]) -> None:
    page = Page(build(half_run, stage_names))
    assert "6 of 13 stages finished" in page.words
    assert "not run yet: train.cpt, synth.qa, train.sft," in page.words
    assert {"summary", "corpus", "account"} <= set(page.ids)
    assert not {"results", "training", "pairs", "samples"} & set(page.ids)
    assert all(link[1:] in page.ids for link in page.links if link.startswith("#"))


def test_nothing_finished(ctx: StageContext, stage_names: tuple[str, ...]) -> None:
    assert "0 of 13 stages finished" in Page(build(ctx, stage_names)).words


def test_histogram_counts_every_paragraph(half_run: StageContext) -> None:
    histogram = perplexity_histogram(half_run.folder("corpus.perplexity_score"), None)
    assert histogram is not None
    assert (histogram.scored, histogram.unscored) == (3060, 40)
    assert sum(histogram.counts) == 3060
    assert len(histogram.edges) == len(histogram.counts) + 1
    assert histogram.counts[0] > 0
    assert histogram.counts[-1] > 0


def test_long_curves_are_averaged(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    line = '{"step": %d, "loss": %d, "learning_rate": 0.1}\n'
    path.write_text("".join(line % (i, i) for i in range(1, 4001)) + '{"step": 4001, "lo')
    curve = read_curve("train.cpt", path)
    assert curve is not None
    assert (len(curve.steps), curve.last_step) == (400, 4000)
    assert curve.loss[0] == pytest.approx(5.5)
    assert read_curve("train.cpt", tmp_path / "none") is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "–"), (4.21, "4.2 s"), (59.99, "60.0 s"), (185, "3 min 5 s"), (7800, "2 h 10 min")],
)
def test_duration(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


def test_compact() -> None:
    assert [compact(v) for v in (950, 29_184, 1_234_567, 2.5e9)] == [
        "950",
        "29.2 k",
        "1.23 M",
        "2.5 G",
    ]
