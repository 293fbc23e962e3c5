"""A served model gives the scores of the same model in process."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from core.errors import StageError
from core.recipe.general import GeneralServer
from eval.general.lm import open_lm
from eval.general.tasks import BENCHMARKS
from tests.eval.general.conftest import FOLDERS, section

pytest.importorskip("lm_eval")

KEY = "s3cret"


def _completions(model: Any, tokenizer: Any, body: dict[str, Any]) -> dict[str, Any]:
    """Answers as vLLM does: greedy text, or log-probabilities of the prompt."""
    import torch

    prompts = body["prompt"]
    prompts = prompts if isinstance(prompts[0], list) else [prompts]
    choices = []
    for index, prompt in enumerate(prompts):
        ids = torch.tensor([prompt])
        with torch.no_grad():
            if body.get("echo"):
                told = torch.log_softmax(model(ids).logits[0].float(), dim=-1)
                rows = [(None, None)] + [
                    (float(told[at, token]), float(told[at].max()))
                    for at, token in enumerate(prompt[1:])
                ]
                values = [value for value, _ in rows] + [float(told[-1].max())]
                tops = [None if top is None else {"t": top} for _, top in rows] + [{"t": 0.0}]
                logprobs = {"token_logprobs": values, "top_logprobs": tops}
                choices.append({"index": index, "text": "", "logprobs": logprobs})
                continue
            made = model.generate(ids, max_new_tokens=body["max_tokens"], do_sample=False)
        text = tokenizer.decode(made[0, len(prompt) :], skip_special_tokens=True)
        for stop in body.get("stop") or []:
            text = text.split(stop)[0] if stop else text
        choices.append({"index": index, "text": text})
    return {"choices": choices}


@pytest.fixture(scope="module")
def server(tiny_folder: Path) -> Iterator[str]:
    """A server on loopback that holds the tiny model and wants a key."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(tiny_folder)
    tokenizer = AutoTokenizer.from_pretrained(tiny_folder)

    async def handle(request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return web.Response(status=401)
        return web.json_response(_completions(model, tokenizer, await request.json()))

    app = web.Application()
    app.router.add_post("/v1/completions", handle)
    loop = asyncio.new_event_loop()
    runner = web.AppRunner(app)
    loop.run_until_complete(runner.setup())
    site = web.TCPSite(runner, "127.0.0.1", 0)
    loop.run_until_complete(site.start())
    port = runner.addresses[0][1]
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{port}/v1"
    asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(120)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(120)


@pytest.mark.parametrize(("key", "chat"), [("musr", False), ("ifeval", True)])
def test_same_as_in_process(
    tiny_folder: Path,
    general_root: Path,
    server: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    key: str,
    chat: bool,
) -> None:
    from eval.general.harness import run_task

    monkeypatch.setenv("GENERAL_TEST_KEY", KEY)
    benchmark = next(b for b in BENCHMARKS if b.key == key)
    task = benchmark.tasks[0]
    served = GeneralServer(
        base_url=server, model="tiny", api_key_env="GENERAL_TEST_KEY", max_concurrency=4
    )
    found = []
    for number, where in enumerate((None, served)):
        lm = open_lm(str(tiny_folder), section(), where, chat)
        path = FOLDERS[benchmark.name]
        scratch = tmp_path / str(number)
        found.append(run_task(lm, general_root, path, benchmark, task, section(), scratch, chat))
    local, remote = found
    assert remote.per_question == local.per_question
    assert [s["answer"] for s in remote.samples] == [s["answer"] for s in local.samples]


def test_a_server_that_refuses_is_an_error(
    tiny_folder: Path,
    general_root: Path,
    server: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    from eval.general.harness import run_task

    monkeypatch.setenv("GENERAL_TEST_KEY", "wr0ng-k3y")
    served = GeneralServer(base_url=server, model="tiny", api_key_env="GENERAL_TEST_KEY")
    lm = open_lm(str(tiny_folder), section(), served)
    monkeypatch.setattr(lm, "max_retries", 1)
    benchmark = next(b for b in BENCHMARKS if b.key == "musr")
    with pytest.raises(StageError, match="the server") as caught:
        run_task(
            lm, general_root, FOLDERS[benchmark.name], benchmark, benchmark.tasks[0],
            section(limit=1),
            tmp_path, False,
        )  # fmt: skip
    said = f"{caught.value} {caught.value.remedy}"
    assert "401" in said
    # asyncio tells of failed tasks that nobody asked about once they are collected.
    del caught, lm
    gc.collect()
    assert "'Authorization': 'Bearer ***'" in caplog.text
    assert "wr0ng-k3y" not in said + caplog.text
