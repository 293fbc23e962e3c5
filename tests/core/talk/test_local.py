from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest

from core.chat import BadTurnsError
from core.errors import EngineError, InputError, UsageError
from core.talk.conversation import Conversation
from core.talk.local import LocalVoice
from core.talk.place import model_folder, model_name
from core.talk.reasoning import Part
from core.talk.voice import Ask, End
from tests.talk_model import ANSWER, NEXT, NEXT_ANSWER, NEXT_THOUGHT, QUESTION, THOUGHT


def said(voice: LocalVoice, ask: Ask) -> tuple[str, str, End]:
    items = [*voice.speak(ask, threading.Event())]
    end = items.pop()
    assert isinstance(end, End)
    texts = {"reasoning": "", "answer": ""}
    for item in items:
        assert isinstance(item, Part)
        texts[item.kind] += item.text
    return texts["reasoning"].strip(), texts["answer"], end


def test_answers_of_several_turns_with_and_without_reasoning(voice: LocalVoice) -> None:
    conversation = Conversation()
    assert said(voice, Ask(conversation.messages(QUESTION)))[:2] == ("", ANSWER)
    conversation.thinking = True
    for prefill in (False, True):
        reasoning, answer, end = said(voice, Ask(conversation.messages(QUESTION), prefill=prefill))
        assert (reasoning, answer) == (THOUGHT, ANSWER)
        assert end.finish_reason == "stop"
        assert end.reasoning_tokens == voice.tokens(f"{THOUGHT}\n")
    conversation.add(QUESTION, answer, reasoning)
    again = said(voice, Ask(conversation.messages(NEXT), prefill=True))
    assert again[:2] == (NEXT_THOUGHT, NEXT_ANSWER)


def test_how_an_answer_ends(voice: LocalVoice) -> None:
    messages = Conversation().messages(QUESTION)
    short = said(voice, Ask(messages, max_tokens=2))
    assert (short[2].finish_reason, short[2].completion_tokens) == ("length", 2)
    assert ANSWER.startswith(short[1])
    cut = said(voice, Ask(messages, stop=("moon",)))
    assert (cut[1], cut[2].finish_reason) == ("Titan is a ", "stop")
    stopped = threading.Event()
    stream = voice.speak(Ask(messages), stopped)
    assert next(stream) == Part("answer", "Titan ")
    stopped.set()
    *_, end = stream
    # The tiny model may have been done before it was asked to stop.
    assert isinstance(end, End)
    assert end.finish_reason in ("interrupted", "stop")


def test_who_goes_away_leaves_nothing_running(voice: LocalVoice) -> None:
    before = threading.active_count()
    stream = voice.speak(Ask(Conversation().messages(QUESTION)), threading.Event())
    next(stream)
    stream.close()
    assert threading.active_count() == before
    assert said(voice, Ask(Conversation().messages(QUESTION)))[1] == ANSWER


def test_the_same_seed_draws_the_same(voice: LocalVoice) -> None:
    ask = Ask(Conversation().messages("Something else?"), temperature=2.0, max_tokens=12, seed=4)
    other = Ask(ask.messages, temperature=2.0, max_tokens=12, seed=5)
    assert said(voice, ask) == said(voice, ask)
    assert said(voice, ask)[1] != said(voice, other)[1]


def test_a_base_model_continues_text(thinker: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(thinker, tmp_path / "base")
    (folder / "chat_template.jinja").unlink()
    base = LocalVoice(folder)
    assert not base.chats
    reasoning, text, _ = said(base, Ask([], prompt="<think> Titan", max_tokens=8))
    assert not reasoning, "a continued text is no answer"
    assert text


def test_a_prompt_beyond_the_context_is_refused(voice: LocalVoice) -> None:
    with pytest.raises(BadTurnsError, match="the model's context holds 256"):
        said(voice, Ask(Conversation().messages("long " * 300)))


def test_where_a_model_is(thinker: Path, tmp_path: Path) -> None:
    stage = tmp_path / "run/merge/merged"
    shutil.copytree(thinker, stage / "model")
    assert model_folder(str(stage)) == stage / "model"
    assert model_name(stage / "model") == "merge.merged"
    assert model_name(thinker) == thinker.name
    with pytest.raises(UsageError, match="of which run"):
        model_folder("merge.merged")
    with pytest.raises(InputError, match="there is no model"):
        model_folder(str(tmp_path / "nowhere"))
    (stage / "model/model.safetensors").unlink()
    with pytest.raises(InputError, match="no safetensors weights"):
        model_folder(str(stage))
    (stage / "model/config.json").write_text("{}")
    with pytest.raises(EngineError):
        LocalVoice(stage / "model")
