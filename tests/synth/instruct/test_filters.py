from __future__ import annotations

import time
from typing import Any

import pytest

from core.recipe.instruct import InstructSet
from core.rejects import Reason
from synth.instruct.claims import identity_claim, refusal
from synth.instruct.filters import alphanumeric_share, make_filters
from synth.instruct.formats import Dialogue
from synth.instruct.records import RecordError

GERMAN = "Jupiter ist der größte Planet im Sonnensystem und hat sehr viele Monde."


def _judge(question: str, answer: str, system: str | None = None, **section: Any) -> Any:
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    if system is not None:
        turns.insert(0, {"role": "system", "content": system})
    filters = make_filters(InstructSet(name="set", paths=["x"], **section))
    found = (check(Dialogue(turns)) for check in filters)
    return next((fault for fault in found if fault is not None), None)


@pytest.mark.parametrize(
    ("question", "answer", "section", "reason", "detail"),
    [
        ("a" * 7, "bc 1", {"max_chars": 10}, Reason.TOO_LONG, "11 characters, at most 10"),
        ("Why?", "|--|--|--|", {"min_alphanumeric_share": 0.7}, Reason.LOW_ALPHANUMERIC, "0.188"),
        ("Buy Casino chips", "Yes.", {"drop_keywords": ["casino"]}, Reason.KEYWORD, "turn 0: 'C"),
        ("Why?", "In C++ it is.", {"drop_keywords": ["C++"]}, Reason.KEYWORD, "turn 1: 'C++'"),
        ("Was ist Jupiter?", GERMAN, {"language": "en"}, Reason.WRONG_LANGUAGE, "de, probability"),
        ("Why?", "I am ChatGPT.", {}, Reason.IDENTITY_CLAIM, "turn 1: 'I am ChatGPT'"),
        ("Why?", "I'm sorry, but I can't help.", {}, Reason.REFUSAL, "turn 1: \"I'm sorry"),
    ],
)
def test_each_filter(
    question: str, answer: str, section: dict[str, Any], reason: Reason, detail: str
) -> None:
    fault = _judge(question, answer, **section)
    assert isinstance(fault, RecordError)
    assert fault.reason == reason
    assert fault.detail.startswith(detail)


@pytest.mark.parametrize(
    ("question", "answer", "section"),
    [
        ("a" * 6, "bc 1", {"max_chars": 10}),
        ("Why is it so?", "Because of gravity.", {"min_alphanumeric_share": 0.7}),
        ("Why?", "The casinos are closed.", {"drop_keywords": ["casino"]}),
        ("Why?", "A word of none", {"drop_keywords": [""]}),
        (
            "Translate into German: Jupiter is the largest planet of all.",
            "Jupiter.",
            {"language": "en"},
        ),
        ("What is $2+2$?", "$4$", {"language": "en"}),
        ("You are ChatGPT. I am ChatGPT.", "It is a name.", {}),
        ("Why?", "I am ChatGPT.", {"drop_identity": False}),
        ("Why?", "I'm sorry, but I can't help.", {"drop_refusals": False}),
    ],
)
def test_what_stays(question: str, answer: str, section: dict[str, Any]) -> None:
    assert _judge(question, answer, **section) is None


def test_a_system_prompt_does_not_count_as_text() -> None:
    assert _judge("Why?", "Because.", "-" * 500, min_alphanumeric_share=0.7) is None


def test_alphanumeric_share_counts_white_space() -> None:
    assert alphanumeric_share("ab 1é-") == pytest.approx(4 / 6)
    assert alphanumeric_share("") == 0


@pytest.mark.parametrize(
    "answer",
    [
        "I am ChatGPT.",
        "I am Qwen, created by Alibaba Cloud.",
        "I'm Assistant, a large language model trained by LMSYS.",
        "Hello! I’m an AI chatbot. How can I help?",
        "My name is Claude.",
        "You can call me Vicuna, and I was trained by researchers.",
        "As an AI language model, I do not have feelings.",
        "As an AI language model developed by OpenAI, I can try.",
        "No, I'm not GPT-4.",
        "I'm just a computer program, so I have no feelings.",
        "No, I am trained by researchers from Large Model Systems Organization (LMSYS).",
        "Researchers from Large Model Systems Organization (LMSYS) created me.",
        "My creators are researchers at OpenAI.",
        "Hello! I am {{name}}, an AI assistant developed by {{author}}.",
        "您好，我是 {{name}}，一个由 {{author}} 开发的 AI 助手。",
        "作为一个AI语言模型，我没有感情。",
    ],
)
def test_identity_claims(answer: str) -> None:
    assert identity_claim(answer)


@pytest.mark.parametrize(
    "answer",
    [
        "I am a physicist.",
        "I am Claude Monet, and I paint.",
        "I'm an AI researcher at a university.",
        "As an AI researcher, you should read more than I do.",
        "ChatGPT was trained by OpenAI.",
        "GPT-4 is a language model developed by OpenAI. I think it is large.",
        'The robot said: "I am an AI assistant."',
        "I am sure that a language model can do this.",
        "I'm learning about artificial intelligence.",
        "In my opinion, Google made a good model.",
        "As a language teacher, I know that.",
        "I was born under the sign of Gemini.",
    ],
)
def test_what_is_no_identity_claim(answer: str) -> None:
    assert identity_claim(answer) is None


@pytest.mark.parametrize(
    "answer",
    [
        "I'm sorry, but I can't assist with that.",
        "I’m sorry, but I cannot help you with that request.",
        "Sorry, I can't do that.",
        "I cannot provide instructions for this.",
        "I apologize, but I cannot fulfill this request.",
        "As an AI language model, I cannot browse the internet.",
        "I'm unable to access external websites.",
        "I'm sorry, but I don't have access to external articles.",
        "I'm sorry, but I currently don't have the capability to book flights.",
        "<think>\nHm, that is bad.\n</think>\n\nI can't help with that.",
    ],
)
def test_refusals(answer: str) -> None:
    assert refusal(answer)


@pytest.mark.parametrize(
    "answer",
    [
        "I'm sorry to hear that. You can rest for a while.",
        "I cannot stress enough how hot the Sun is.",
        "I'm sorry, but the statement is wrong: Pluto is a dwarf planet.",
        "I'm afraid that the answer is 5.",
        "Unfortunately, the star is too faint to be seen.",
        "You may say: I'm sorry, but I can't come.",
        "I can help with that.",
        "",
    ],
)
def test_what_is_no_refusal(answer: str) -> None:
    assert refusal(answer) is None


@pytest.mark.parametrize("piece", ["I am a ", "As an AI, ", "I was trained ", "OpenAI ", "sorry, "])
def test_no_text_takes_long(piece: str) -> None:
    start = time.process_time()
    identity_claim(piece * 20_000)
    refusal(piece * 20_000)
    assert time.process_time() - start < 5
