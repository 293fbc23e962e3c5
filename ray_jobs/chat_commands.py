"""The command ``astromill chat``."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from core.errors import UsageError
from core.talk.conversation import Conversation
from core.talk.voice import Voice
from ray_jobs.chat_loop import (
    ChatLoop,
    Drawing,
    Talk,
    answer_pipe,
    close_broken_pipe,
    prepare_terminal,
)
from ray_jobs.options import Overrides, example
from ray_jobs.talk_options import (
    Dtype,
    EngineName,
    EngineOption,
    KeyVariable,
    MaxModelLen,
    RecipeOption,
    TensorParallel,
    choose_engine,
    find_model,
    has_gpu,
    read_key,
)

_INTERRUPTED = 130
"""Exit code of a program that Ctrl-C ended, as shells have it."""


Model = Annotated[
    str | None,
    typer.Argument(
        metavar="[MODEL]",
        help="Model folder, stage folder, stage of --recipe, or a name on --server.",
        show_default=False,
    ),
]
Server = Annotated[
    str | None, typer.Option(metavar="URL", help="Ask an OpenAI-compatible server instead.")
]
Think = Annotated[
    bool, typer.Option("--think/--no-think", help="Whether answers begin with reasoning.")
]
HideReasoning = Annotated[
    bool, typer.Option("--hide-reasoning", help="Show only how long was reasoned.")
]
SystemPrompt = Annotated[
    str | None, typer.Option(metavar="TEXT", help="What the model is told before the conversation.")
]
Temperature = Annotated[
    float,
    typer.Option(min=0.0, max=2.0, help="0: always the likeliest word; higher: answers vary more."),
]
TopP = Annotated[
    float,
    typer.Option(
        min=0.01, max=1.0, help="Draw from the likeliest words that make up this share; 1: all."
    ),
]
MaxTokens = Annotated[
    int, typer.Option(min=1, help="Most tokens of an answer, its reasoning included.")
]
Seed = Annotated[
    int | None,
    typer.Option(min=0, help="Makes drawn answers repeatable; without, each is another."),
]
Complete = Annotated[
    bool, typer.Option("--complete", help="Continue plain text, without a chat format.")
]


def add_chat_commands(app: typer.Typer) -> None:
    """Adds ``chat``."""
    app.command(
        "chat",
        epilog=example(
            "astromill chat --recipe recipes/demo.yaml merge.merged",
            "astromill chat models/AstroSage-70B --think --hide-reasoning",
            "astromill chat --server http://127.0.0.1:8000",
            'echo "What is a pulsar?" | astromill chat runs/demo/merge/merged',
        ),
    )(_chat)


def _chat(
    model: Model = None,
    recipe: RecipeOption = None,
    set_: Overrides = None,
    server: Server = None,
    think: Think = False,
    hide_reasoning: HideReasoning = False,
    system: SystemPrompt = None,
    temperature: Temperature = 0.0,
    top_p: TopP = 1.0,
    max_tokens: MaxTokens = 1024,
    seed: Seed = None,
    complete: Complete = False,
    engine: EngineOption = "auto",
    max_model_len: MaxModelLen = None,
    dtype: Dtype = "auto",
    tensor_parallel_size: TensorParallel = 1,
    api_key_env: KeyVariable = None,
) -> None:
    """Talk to a model. Through a pipe it answers one question and prints the answer alone."""
    if server is None and model is None:
        raise UsageError(
            "which model to talk to is not said",
            where="command line",
            remedy="name a folder, a stage of --recipe, or a --server",
        )
    prepare_terminal()
    opened = (
        _remote(server, model, api_key_env)
        if server is not None
        else _own(model or "", recipe, set_, engine, max_model_len, dtype, tensor_parallel_size)
    )
    with opened as voice:
        if not voice.chats and not complete:
            _notes().print(
                "note: this model has no chat template (a base model): it continues your text "
                "instead of answering, and keeps no turns"
            )
        conversation = Conversation(system, think)
        drawing = Drawing(temperature, top_p, max_tokens, seed)
        _hold(Talk(voice, conversation, drawing, complete or not voice.chats, hide_reasoning))


def _hold(talk: Talk) -> None:
    """Talks in the terminal, or answers the one question of a pipe."""
    try:
        if sys.stdin.isatty():
            _talk(talk)
        else:
            answer_pipe(talk, sys.stdin.buffer.read(), _notes())
    except BrokenPipeError:
        close_broken_pipe()
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        raise typer.Exit(_INTERRUPTED) from None


def _notes() -> Console:
    return Console(stderr=True, highlight=False, soft_wrap=True)


def _talk(talk: Talk) -> None:
    console = Console(highlight=False)
    window = f", context {talk.voice.window:,} tokens" if talk.voice.window else ""
    thinks = ", reasoning on" if talk.conversation.thinking else ""
    console.print(
        f"{talk.voice.label}{window}{thinks}. /help lists commands, Ctrl-D ends.",
        style="cyan",
        markup=False,
    )
    ChatLoop(talk, console).run()


@contextmanager
def _remote(url: str, name: str | None, key_variable: str | None) -> Iterator[Voice]:
    from core.talk.remote import RemoteVoice

    yield RemoteVoice(url, name, read_key(key_variable))


@contextmanager
def _own(
    name: str,
    recipe: str | None,
    overrides: list[str] | None,
    engine: EngineName,
    max_model_len: int | None,
    dtype: str,
    tensor_parallel_size: int,
) -> Iterator[Voice]:
    """Opens a model of this machine, in this process or in a vLLM server of its own."""
    folder, label = find_model(name, recipe, overrides or [])
    if choose_engine(engine) == "transformers":
        from core.talk.local import LocalVoice

        yield LocalVoice(Path(folder), label, max_model_len, dtype)
        return
    import secrets

    from core.talk.remote import RemoteVoice
    from core.talk.vllm_server import VllmOptions, VllmServer

    # Others on this machine can reach its port.
    key = secrets.token_urlsafe(24)
    options = VllmOptions(
        model=folder,
        name=label,
        key=key,
        max_model_len=max_model_len,
        dtype=dtype,
        tensor_parallel_size=tensor_parallel_size,
        on_cpu=not has_gpu(),
    )
    with tempfile.TemporaryDirectory(prefix="astromill-chat-") as scratch:
        server = VllmServer(options, Path(scratch) / "vllm.log")
        try:
            with Console(stderr=True).status("starting vLLM"):
                server.start()
            yield RemoteVoice(server.url, label, key)
        finally:
            server.stop()
