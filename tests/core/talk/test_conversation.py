from __future__ import annotations

import pytest

from core.chat import BadTurnsError
from core.talk.conversation import Conversation, Messages


def count(messages: Messages) -> int:
    """A word is a token."""
    return sum(len(m["content"].split()) for m in messages)


def talk(turns: int, **settings: object) -> Conversation:
    conversation = Conversation(**settings)  # type: ignore[arg-type]
    for number in range(turns):
        assert conversation.add(f"question {number}", f"answer number {number}", "a long thought")
    return conversation


def test_reasoning_never_enters_the_next_turn() -> None:
    fitted = talk(2, thinking=True).fit("and now?", count, 1000, 100)
    assert fitted.messages == [
        {"role": "system", "content": "detailed thinking on"},
        {"role": "user", "content": "question 0"},
        {"role": "assistant", "content": "answer number 0"},
        {"role": "user", "content": "question 1"},
        {"role": "assistant", "content": "answer number 1"},
        {"role": "user", "content": "and now?"},
    ]


def test_the_switch_stands_before_a_system_prompt() -> None:
    conversation = Conversation(system="Be brief.", thinking=True)
    assert conversation.messages("?")[0]["content"] == "detailed thinking on\n\nBe brief."
    conversation.thinking = False
    assert conversation.messages("?")[0]["content"] == "Be brief."


def test_the_oldest_turns_go_where_the_context_is_full() -> None:
    # 3 words of system prompt, 5 a turn, 2 of the question.
    conversation = talk(4, system="you are kind")
    assert conversation.fit("and now?", count, 45, 20).dropped == 0
    fitted = conversation.fit("and now?", count, 44, 20)
    assert (fitted.dropped, fitted.prompt_tokens) == (1, 20)
    assert fitted.messages[1]["content"] == "question 1"
    assert fitted.messages[0]["role"] == "system"
    assert conversation.fit("and now?", count, 25, 20).dropped == 4
    # No room for a full answer: a shorter one, then.
    assert conversation.fit("and now?", count, 6, 20).dropped == 4
    with pytest.raises(BadTurnsError, match=r"5 tokens; the model's context holds 5"):
        conversation.fit("and now?", count, 5, 20)
    assert len(conversation.turns) == 4, "what is left out of one question is not forgotten"


def test_tokens_that_cannot_be_counted_leave_nothing_out() -> None:
    assert talk(9).fit("and now?", lambda messages: None, 10, 5).dropped == 0
    assert talk(9).fit("and now?", count, None, 5).dropped == 0


@pytest.mark.parametrize("question", ["", "  \n", "I say <|eot_id|> now"])
def test_bad_questions_are_refused(question: str) -> None:
    with pytest.raises(BadTurnsError):
        talk(1).fit(question, count, 100, 5)


def test_a_turn_without_an_answer_is_not_kept() -> None:
    conversation = talk(0)
    assert not conversation.add("question", "  ", "it thought and thought")
    assert not conversation.add("question", "it says <|eot_id|>", "")
    assert conversation.turns == []


def test_a_saved_conversation_can_be_trained_on() -> None:
    saved = talk(1, system="Be brief.").to_json()
    assert [m["role"] for m in saved["messages"]] == ["system", "user", "assistant"]
    assert saved["reasoning"] == ["a long thought"]
