"""Questions in, predictions out: the one way in for the stage, the sweep and the benchmarks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from core.hashing import sha256_value
from core.llm import Choice, Engine, GenerateRequest, Generation, Score
from core.recipe.mcq import WRITTEN_MODES, Mcq, Mode
from core.rejects import Reason, Reject
from eval.answers import TRUNCATED, read_answer
from eval.items import Item
from eval.mcq.orders import orders
from eval.mcq.prompts import Shown, choice_request, score_requests, written_request
from eval.mcq.shots import pick_shots

Ask = Callable[[Sequence[GenerateRequest]], list[Generation]]


@dataclass(frozen=True)
class _Answered:
    """One asking's outcome, numbered as shown; ``fault`` says why there is none."""

    choice: int | None = None
    logprobs: tuple[float, ...] = ()
    raw_text: str = ""
    read_by: str | None = None
    fault: str = ""


def predict(
    items: Sequence[Item],
    engine: Engine,
    section: Mcq,
    model: str,
    benchmark: str,
    *,
    mode: Mode | None = None,
    shots: Sequence[Item] = (),
    seed: int = 0,
    ask: Ask | None = None,
) -> tuple[list[dict[str, Any]], list[Reject]]:
    """Answers questions.

    Args:
        items: the questions.
        engine: the model.
        section: how to ask.
        model: its name in the tables; decides with ``section.chat_models`` how it is asked.
        benchmark: its name in the section.
        mode: one of the model's; default the first.
        shots: questions that can be shown as solved, from :func:`eval.mcq.shots.load_shots`.
        seed: of the orders and of drawing.
        ask: answers requests instead of ``engine.generate``, as from a log.

    Returns:
        Rows of schema :data:`core.schema.PREDICTION`, question by question, each question's own
        order first; and a reject per question that the model could not be asked, in any one order.
    """
    mode = mode or section.modes_of(model)[0]
    # Mode "choice" lists no choices: there is no order to change.
    others = 0 if mode == "choice" else section.permutations
    asked = [
        [Shown(item, order) for order in orders(item.item_id, len(item.choices), others, seed)]
        for item in items
    ]
    flat = [shown for group in asked for shown in group]
    if mode in WRITTEN_MODES:
        found = _written(flat, section, mode, seed, ask or engine.generate)
    elif mode == "letter":
        found = _letters(flat, engine, section, model, benchmark, shots)
    else:
        found = _texts(flat, engine, section, model)
    answers = iter(found)
    rows: list[dict[str, Any]] = []
    rejects: list[Reject] = []
    for item, group in zip(items, asked, strict=True):
        mine = [next(answers) for _ in group]
        fault = next((answer.fault for answer in mine if answer.fault), "")
        if fault:
            rejects.append(Reject(item.item_id, Reason.NOT_SCORED, fault, item.question))
            continue
        rows += [
            _row(shown, answer, number) | {"benchmark": benchmark, "model": model, "mode": mode}
            for number, (shown, answer) in enumerate(zip(group, mine, strict=True))
        ]
    return rows, rejects


def _texts(asked: Sequence[Shown], engine: Engine, section: Mcq, model: str) -> list[_Answered]:
    chat = model in section.chat_models
    requests = [score_requests(shown.item, section, chat) for shown in asked]
    scores = iter(engine.score([request for group in requests for request in group]))
    answered = []
    for group in requests:
        mine = [next(scores) for _ in group]
        try:
            answered.append(_best(choice_scores(mine, section)))
        except ValueError as error:
            answered.append(_Answered(fault=str(error)))
    return answered


def choice_scores(scores: Sequence[Score], section: Mcq) -> list[float]:
    """Returns one comparable number (nats) per choice from the scores of mode ``choice``.

    Longer answers are less likely whatever they say, so the sum is divided by the number of tokens,
    or compared with the answer's likelihood without the question (PMI: Holtzman et al. 2021,
    "Surface Form Competition").

    Raises:
        ValueError: a text could not be scored; the message says why.
    """
    for score in scores:
        if score.error is not None:
            raise ValueError(score.error)
        if not score.logprobs or not math.isfinite(score.total):
            raise ValueError("the model gives no finite likelihood")
    if section.normalize == "none":
        return [s.total for s in scores]
    if section.normalize == "tokens":
        return [s.total / len(s.logprobs) for s in scores]
    half = len(scores) // 2
    return [a.total - b.total for a, b in zip(scores[:half], scores[half:], strict=True)]


def _letters(
    asked: Sequence[Shown],
    engine: Engine,
    section: Mcq,
    model: str,
    benchmark: str,
    shots: Sequence[Item],
) -> list[_Answered]:
    named, chat = section.benchmark(benchmark), model in section.chat_models
    requests = [
        choice_request(shown, section, named, pick_shots(shown.item, shots, named.shots), chat)
        for shown in asked
    ]
    return [_letter(choice) for choice in engine.choose(requests)]


def _letter(choice: Choice) -> _Answered:
    if choice.error is not None:
        return _Answered(fault=choice.error)
    if not all(math.isfinite(value) for value in choice.logprobs):
        return _Answered(fault="the model gives no finite likelihood")
    return _best(choice.logprobs)


def _best(compared: Sequence[float]) -> _Answered:
    # max() takes the first of equals, so a tie does not depend on anything.
    best = max(range(len(compared)), key=compared.__getitem__)
    return _Answered(best, tuple(compared))


def _written(
    asked: Sequence[Shown], section: Mcq, mode: Mode, seed: int, ask: Ask
) -> list[_Answered]:
    requests = [
        written_request(shown, section, mode, _drawing_seed(seed, shown)) for shown in asked
    ]
    return [
        _read(shown, request, answer, mode)
        for shown, request, answer in zip(asked, requests, ask(requests), strict=True)
    ]


def _drawing_seed(seed: int, shown: Shown) -> int:
    return int(sha256_value([seed, shown.item.item_id, shown.order])[:8], 16) >> 1


def _read(shown: Shown, request: GenerateRequest, answer: Generation, mode: Mode) -> _Answered:
    if answer.error is not None:
        return _Answered(fault=answer.error)
    text = request.prefill + answer.text
    read = read_answer(text, shown.choices, reasoning=mode == "reasoning")
    read_by = read.read_by
    if read.choice is None and answer.finish_reason == "length":
        read_by = TRUNCATED
    return _Answered(read.choice, (), text, read_by)


def _row(shown: Shown, answered: _Answered, permutation: int) -> dict[str, Any]:
    """Returns a row with everything in the file's own numbering."""
    item, order = shown.item, shown.order
    choice = None if answered.choice is None else order[answered.choice]
    by_number = dict(zip(order, answered.logprobs, strict=False))
    return {
        "item_id": item.item_id,
        "permutation": permutation,
        "order": order,
        "choice": choice,
        "correct": None if item.answer is None else choice == item.answer,
        "logprobs": [by_number[number] for number in sorted(by_number)],
        "raw_text": answered.raw_text,
        "read_by": answered.read_by,
    }


__all__ = ["Ask", "choice_scores", "predict"]
