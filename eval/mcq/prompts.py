"""What a model is asked, by mode; docs/benchmark.md shows each prompt as it is sent.

``choice``
    The question alone; each answer's text is weighed as what comes next.
``letter``
    Question and listed choices; the letters are weighed. Solved questions come before: as text for
    a plain prompt, as earlier turns under the chat template.
``json`` and ``reasoning``
    The answer is written: see :mod:`core.mcq_format`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from core.llm import ChoiceRequest, GenerateRequest, ScoreRequest
from core.mcq_format import json_answer_schema, json_prompt, listed, reasoning_prompt
from core.recipe.mcq import Benchmark, Mcq, Mode
from eval.items import Item, letter

Turn = dict[str, str]


@dataclass(frozen=True)
class Shown:
    """A question with its choices in the order shown."""

    item: Item
    order: list[int]

    @property
    def choices(self) -> tuple[str, ...]:
        """The choices' texts as shown."""
        return tuple(self.item.choices[number] for number in self.order)


def score_requests(item: Item, section: Mcq, chat: bool) -> list[ScoreRequest]:
    """Returns what is scored to answer one question in mode ``choice``.

    Args:
        item: the question.
        section: how to ask.
        chat: ask under the chat template.

    Returns:
        One request per choice; under ``unconditional`` as many again, for the same texts without
        the question.
    """
    requests = [_score_request(item.question, text, chat) for text in item.choices]
    if section.normalize == "unconditional":
        requests += [_score_request("", text, chat) for text in item.choices]
    return requests


def _score_request(question: str, text: str, chat: bool) -> ScoreRequest:
    if chat:
        return ScoreRequest(text, messages=({"role": "user", "content": question or "Answer:"},))
    prefix = f"Question: {question}\nAnswer:" if question else "Answer:"
    return ScoreRequest(f" {text}", prefix=prefix)


def choice_request(
    shown: Shown, section: Mcq, benchmark: Benchmark, shots: Sequence[Item], chat: bool
) -> ChoiceRequest:
    """Returns the letters to weigh in mode ``letter``.

    Args:
        shown: the question.
        section: how to ask.
        benchmark: whose question it is.
        shots: solved questions to show before.
        chat: ask under the chat template.
    """
    marks = tuple(letter(number) for number in range(len(shown.order)))
    head = _mmlu_head(shown.item, benchmark) if section.format == "mmlu" else ""
    if chat:
        system = "\n\n".join(filter(None, (section.system_prompt, head.strip())))
        turns = _system(system)
        for shot in shots:
            turns.append(_user(_chat_question(shot.question, shot.choices, section)))
            turns.append({"role": "assistant", "content": _key(shot)})
        turns.append(_user(_chat_question(shown.item.question, shown.choices, section)))
        return ChoiceRequest(choices=marks, messages=tuple(turns), cut=section.too_long == "cut")
    solved = [
        f"{_plain_question(shot.question, shot.choices, section)} {_key(shot)}\n\n"
        for shot in shots
    ]
    asked = _plain_question(shown.item.question, shown.choices, section)
    return ChoiceRequest(
        choices=tuple(f" {mark}" for mark in marks),
        prompt="".join([head, *solved, asked]),
        cut=section.too_long == "cut",
    )


def _plain_question(question: str, choices: Sequence[str], section: Mcq) -> str:
    # Hendrycks et al. and lm-eval put nothing before the question.
    lead = "" if section.format == "mmlu" else "Question: "
    return f"{lead}{question}\n{listed(choices)}\nAnswer:"


def _chat_question(question: str, choices: Sequence[str], section: Mcq) -> str:
    end = "Answer:" if section.format == "mmlu" else "Answer with the letter only."
    return f"{question}\n{listed(choices)}\n{end}"


def _mmlu_head(item: Item, benchmark: Benchmark) -> str:
    subject = benchmark.subject or item.topic
    about = f" about {subject.replace('_', ' ')}" if subject else ""
    return f"The following are multiple choice questions (with answers){about}.\n\n"


def _key(shot: Item) -> str:
    assert shot.answer is not None, "shots have a key"
    return letter(shot.answer)


def written_request(shown: Shown, section: Mcq, mode: Mode, seed: int) -> GenerateRequest:
    """Returns what is asked where the answer is written: modes ``json`` and ``reasoning``.

    Args:
        shown: the question.
        section: how to ask.
        mode: which of the two.
        seed: for drawing, where the engine's sampling draws.
    """
    question, choices = shown.item.question, shown.choices
    if mode == "json":
        return GenerateRequest(
            (*_system(section.system_prompt or ""), _user(json_prompt(question, choices))),
            schema=json_answer_schema(len(choices)) if section.structured else None,
            task="mcq",
            seed=seed,
            max_tokens=section.json_max_tokens,
        )
    system = "\n\n".join(filter(None, (section.reasoning_switch, section.system_prompt)))
    return GenerateRequest(
        (*_system(system), _user(reasoning_prompt(question, choices))),
        task="mcq",
        seed=seed,
        max_tokens=section.reasoning_max_tokens,
        prefill=section.prefill,
    )


def _system(content: str) -> list[Turn]:
    return [{"role": "system", "content": content}] if content else []


def _user(content: str) -> Turn:
    return {"role": "user", "content": content}


__all__ = ["Shown", "choice_request", "score_requests", "written_request"]
