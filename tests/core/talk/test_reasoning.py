from __future__ import annotations

import pytest

from core.talk.reasoning import Part, ThinkSplitter, split_reasoning
from core.talk.stops import StopCutter


@pytest.mark.parametrize(
    ("text", "prefilled", "expected"),
    [
        ("Plain answer.", False, ("", "Plain answer.")),
        ("<think>why</think>so", False, ("why", "so")),
        ("\n <think>\nwhy\n</think>\n\nso\n", False, ("why", "so")),
        ("why</think>so", True, ("why", "so")),
        ("never ends", True, ("never ends", "")),
        ("<think>never ends", False, ("never ends", "")),
        # The opening tag is missing: what stands before the closing one is no answer.
        ("why it is\n</think>\nso", False, ("why it is\n", "so")),
        # A second block, at the start of a line.
        ("<think>a</think>b\n<think>c</think>d", False, ("ac", "b\nd")),
        # Tags that are only talked about.
        ("Write `<think>` first.", False, ("", "Write `<think>` first.")),
        ("The tags <think> and </think> stand around it.", False, None),
        (
            "<think>a</think>It ends with </think> here.",
            False,
            ("a", "It ends with </think> here."),
        ),
        ("<thinking>no tag</thinking>", False, ("", "<thinking>no tag</thinking>")),
        ("a < b and b </ c", False, ("", "a < b and b </ c")),
        ("", False, ("", "")),
    ],
)
def test_reasoning_is_told_apart(
    text: str, prefilled: bool, expected: tuple[str, str] | None
) -> None:
    reasoning, answer = expected or ("", text)
    assert split_reasoning(text, prefilled) == (reasoning.strip(), answer)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_pieces_of_any_size_give_the_same(size: int) -> None:
    text = " <think>\nIs 1 < 2? </thin> Yes. </think>\n\nIt is <b>so</b>.\n<think>x</think>end <"
    splitter, parts = ThinkSplitter(), []
    for start in range(0, len(text), size):
        parts += splitter.feed(text[start : start + size])
    parts += splitter.finish()
    assert "".join(p.text for p in parts if p.kind == "answer") == "It is <b>so</b>.\nend <"
    assert splitter.answer == "It is <b>so</b>.\nend <"
    assert splitter.reasoning == "Is 1 < 2? </thin> Yes. x"


def test_text_goes_on_at_once() -> None:
    splitter = ThinkSplitter()
    assert splitter.feed("Sat") == [Part("answer", "Sat")]
    assert splitter.feed("urn <") == [Part("answer", "urn ")]
    assert splitter.feed("b>") == [Part("answer", "<b>")]


def test_hostile_text_takes_linear_time() -> None:
    splitter = ThinkSplitter()
    for _ in range(20_000):
        splitter.feed("<think")
    splitter.finish()
    assert splitter.answer == "<think" * 20_000


def test_a_stop_text_is_cut_off_wherever_pieces_end() -> None:
    for size in (1, 2, 5, 100):
        cutter, out = StopCutter(("\n\nUser:", "###")), ""
        text = "One.\n\nUse it.\n\nUser: two ### three"
        for start in range(0, len(text), size):
            out += cutter.feed(text[start : start + size])
        assert out + cutter.finish() == "One.\n\nUse it."
    cutter = StopCutter(("###",))
    assert cutter.feed("a##") + cutter.finish() == "a##"
