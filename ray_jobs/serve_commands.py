"""The command ``astromill serve``."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import signal
import threading
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from core.errors import EngineError
from ray_jobs.options import Overrides, example
from ray_jobs.talk_options import (
    KEY_VARIABLE,
    Dtype,
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

Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="Model folder, stage folder or stage of --recipe.")
]
Host = Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 lets other machines in.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0: a free one.")]
Name = Annotated[
    str | None, typer.Option(help="What clients call the model; default: its folder or stage.")
]
HideReasoning = Annotated[
    bool, typer.Option("--hide-reasoning", help="Leave reasoning out of all answers.")
]
MaxTokens = Annotated[int, typer.Option(min=1, help="Most tokens that an answer may have.")]
LogFile = Annotated[Path, typer.Option(metavar="FILE", help="File for vLLM's own output.")]


def add_serve_commands(app: typer.Typer) -> None:
    """Adds ``serve``."""
    app.command(
        "serve",
        epilog=example(
            "astromill serve --recipe recipes/demo.yaml merge.merged",
            "astromill serve models/AstroSage-70B --engine vllm --tensor-parallel-size 4",
            f"{KEY_VARIABLE}=... astromill serve models/AstroSage-8B --host 0.0.0.0",
        ),
    )(_serve)


def _serve(
    model: Model,
    recipe: RecipeOption = None,
    set_: Overrides = None,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    engine: EngineOption = "auto",
    name: Name = None,
    hide_reasoning: HideReasoning = False,
    max_tokens: MaxTokens = 4096,
    max_model_len: MaxModelLen = None,
    dtype: Dtype = "auto",
    tensor_parallel_size: TensorParallel = 1,
    api_key_env: KeyVariable = None,
    log: LogFile = Path("vllm-server.log"),
) -> None:
    """Serve a model to OpenAI-compatible clients, until Ctrl-C.

    Reasoning is told apart from the answer, in the field `reasoning`. Only this machine reaches the
    server unless --host says otherwise; clients then should need a key: see --api-key-env.
    """
    console = Console(highlight=False, soft_wrap=True)
    folder, label = find_model(model, recipe, set_ or [])
    name = name or label
    key, key_variable = _key(host, api_key_env)
    if choose_engine(engine) == "vllm":
        from core.talk.vllm_server import VllmOptions

        options = VllmOptions(
            model=folder,
            name=name,
            host=host,
            port=port,
            key=key,
            hide_reasoning=hide_reasoning,
            max_model_len=max_model_len,
            dtype=dtype,
            tensor_parallel_size=tensor_parallel_size,
            on_cpu=not has_gpu(),
            # vLLM's own name for a limit on every answer.
            extra=("--override-generation-config", json.dumps({"max_new_tokens": max_tokens})),
        )
        serve_vllm(options, log, key_variable, console)
        return
    from core.talk.local import LocalVoice
    from core.talk.server import ServerLimits, TalkServer

    voice = LocalVoice(Path(folder), name, max_model_len, dtype)
    limits = ServerLimits(max_tokens=max_tokens, default_tokens=min(1024, max_tokens))
    app = TalkServer(voice, name, key, hide_reasoning, limits).app()
    asyncio.run(serve_local(app, host, port, name, voice.chats, key_variable, console))


def _key(host: str, variable: str | None) -> tuple[str | None, str | None]:
    """Returns a server's key and the variable that holds it; warns where others reach it without.

    Args:
        host: address that it listens on.
        variable: named by the user.
    """
    key = read_key(variable)
    if key is not None:
        return key, variable or KEY_VARIABLE
    if not is_loopback(host):
        Console(stderr=True, highlight=False, soft_wrap=True).print(
            f"warning: anyone who can reach {host} may use this server: it has no key. Export one "
            f"as {KEY_VARIABLE}",
            style="yellow",
        )
    return None, None


async def serve_local(
    app: Any,
    host: str,
    port: int,
    name: str,
    chats: bool,
    key_variable: str | None,
    console: Console,
) -> None:
    """Serves until SIGINT or SIGTERM; answers in the making are ended.

    Raises:
        EngineError: the port cannot be listened on.
    """
    from aiohttp import web

    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    runner = web.AppRunner(
        app,
        access_log=None,
        shutdown_timeout=5.0,
        # A client that goes away must not hold up the next one.
        handler_cancellation=True,
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        try:
            await site.start()
        except OSError as error:
            raise EngineError(
                f"cannot listen: {error.strerror or error}",
                where=f"{host}:{port}",
                remedy="end what listens there, or choose another port: --port",
            ) from error
        bound = runner.addresses[0][1]
        console.print(ready(_address(host, bound), name, chats, key_variable), markup=False)
        await ended.wait()
    finally:
        await runner.cleanup()
    console.print("ended")


def serve_vllm(options: Any, log: Path, key_variable: str | None, console: Console) -> None:
    """Serves through vLLM until it ends, or SIGINT or SIGTERM.

    Raises:
        EngineError: vLLM does not start, or ends by itself.
    """
    from core.talk.vllm_server import VllmServer

    server = VllmServer(options, log)
    ended = threading.Event()

    def on_signal(number: int, frame: object) -> None:
        ended.set()
        raise KeyboardInterrupt

    before = {n: signal.signal(n, on_signal) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        console.print(f"starting vLLM; its output: {log}", markup=False)
        server.start()
        console.print(ready(server.url, options.name, True, key_variable), markup=False)
        code = server.wait()
        raise EngineError(
            f"vLLM ended with exit code {code}", where=str(log), remedy="its log says why"
        )
    except KeyboardInterrupt:
        console.print("ended")
    finally:
        for number in before:
            signal.signal(number, signal.SIG_IGN)
        server.stop()
        for number, handler in before.items():
            signal.signal(number, handler)


def ready(url: str, name: str, chats: bool, key_variable: str | None) -> str:
    """Returns what is printed once a server answers: how to use it. Never the key itself."""
    path, body = "/v1/completions", {"model": name, "prompt": "The Sun is", "max_tokens": 50}
    if chats:
        message = {"role": "user", "content": "What is a pulsar?"}
        path, body = "/v1/chat/completions", {"model": name, "messages": [message]}
    lines = [f"ready: {name} at {url}/v1", "", f"curl {url}{path} \\"]
    if key_variable is not None:
        lines.append(f'  -H "Authorization: Bearer ${key_variable}" \\')
    quoted = json.dumps(body).replace("'", "'\\''")
    lines += [f"  -H 'Content-Type: application/json' -d '{quoted}'", ""]
    named = f" --api-key-env {key_variable}" if key_variable not in (None, KEY_VARIABLE) else ""
    lines.append(f"or: astromill chat --server {url}{named}    Ctrl-C ends")
    return "\n".join(lines)


def is_loopback(host: str) -> bool:
    """Returns whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _address(host: str, port: int) -> str:
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://{f'[{shown}]' if ':' in shown else shown}:{port}"
