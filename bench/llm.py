"""What our engines add to what they drive: vLLM in process, and a server over HTTP.

vLLM: 2,000 prompts under a JSON schema, through our engine with a request log, against plain
``LLM.generate`` of the same model object with the same prompts already rendered, in turn. HTTP: a
server of 64 slots that takes 0.2 s per answer, so 320 requests per second at best; every answer is
logged. Then vLLM's own server on this machine: how many answers fit the schema. All with a tiny
random Llama made on the spot. Run ``python -m bench.llm [--prompts N] [--skip-server]``.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jsonschema
from rich.console import Console

from core.chat import render_text
from core.llm import Engine, GenerateRequest, Generation, open_engine
from core.llm.cache import RequestLog, cached_generate
from core.recipe.engine import Engine as EngineConfig
from core.recipe.engine import Sampling
from core.recipe.train import TinyModel
from core.tiny import make_tiny_llama, save_model, train_tokenizer

SAMPLES = Path(__file__).parent.parent / "samples" / "astronomy"
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "question": {"type": "string", "minLength": 1, "maxLength": 8},
        "answer": {"type": "string", "minLength": 1, "maxLength": 8},
    },
    "required": ["question", "answer"],
    "additionalProperties": False,
}
MAX_TOKENS = 160
"""Enough for 16 characters of six tokens each and what is around them."""
ROUNDS = 5
SLOTS, LATENCY_SECONDS = 64, 0.2
CPU_SETTINGS = {
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
}


def make_model(folder: Path) -> None:
    """Saves a random Llama of 512 positions."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(SAMPLES.rglob("*.md"))]
    shape = TinyModel(
        vocab_size=1024,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
    )
    tokenizer = train_tokenizer(texts, shape.vocab_size)
    save_model(make_tiny_llama(shape, tokenizer, seed=0), tokenizer, folder)


def make_requests(number: int) -> list[GenerateRequest]:
    """Returns prompts of passages, all different, each with a seed of its own."""
    texts = " ".join(path.read_text(encoding="utf-8") for path in sorted(SAMPLES.rglob("*.md")))
    passages = [texts[n * 37 % (len(texts) - 300) :][:300] for n in range(number)]
    return [
        GenerateRequest(
            ({"role": "user", "content": f"{n}. Ask about this.\n\n{passage}"},),
            schema=SCHEMA,
            seed=n,
        )
        for n, passage in enumerate(passages)
    ]


def timed(engine: Engine, sampling: Sampling, asked: Sequence[GenerateRequest]) -> Any:
    """Returns seconds and answers of our way, with a fresh log."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        with RequestLog(Path(folder) / "log.jsonl") as log:
            answers = cached_generate(engine, sampling, asked, log)
        return time.perf_counter() - start, answers


def fitting(answers: Sequence[Generation]) -> int:
    """Counts answers that parse under the schema.

    A random model writes broken UTF-8: vLLM's grammar counts a broken character once, and its text
    holds a replacement character for each byte. Such a run counts as one here.
    """
    count = 0
    for answer in answers:
        text = re.sub("\ufffd+", "\ufffd", answer.text)
        try:
            # Under maxLength, xgrammar lets control characters into strings unescaped.
            jsonschema.validate(json.loads(text, strict=False), SCHEMA)
            count += answer.error is None
        except (ValueError, jsonschema.ValidationError):
            continue
    return count


def bench_vllm(model: Path, number: int, console: Console) -> None:
    """Our engine against the ``LLM`` inside it."""
    import vllm
    from vllm.sampling_params import StructuredOutputsParams

    sampling = Sampling(temperature=1.0, max_tokens=MAX_TOKENS)
    config = EngineConfig(kind="vllm", model="tiny", dtype="float32", sampling=sampling)
    engine: Any = open_engine(config, str(model))
    llm, asked = engine._llm, make_requests(number)
    prompts = [
        {"prompt_token_ids": llm.get_tokenizer().encode(text, add_special_tokens=False)}
        for text in (render_text(r.messages, add_generation_prompt=True) for r in asked)
    ]
    rates: dict[str, list[float]] = {"vLLM": [], "ours": []}
    engine.generate(asked[:64])
    for _ in range(ROUNDS):
        llm.reset_prefix_cache()
        start, cpu = time.perf_counter(), time.process_time()
        parameters = [
            vllm.SamplingParams(
                temperature=1.0,
                max_tokens=MAX_TOKENS,
                seed=request.seed,
                structured_outputs=StructuredOutputsParams(json=SCHEMA),
            )
            for request in asked
        ]
        outputs = llm.generate(prompts, parameters, use_tqdm=False)
        rates["vLLM"].append(number / (time.perf_counter() - start))
        llm.reset_prefix_cache()
        between = time.process_time()
        seconds, answers = timed(engine, sampling, asked)
        rates["ours"].append(number / seconds)
        costs = [(between - cpu) / number * 1e3, (time.process_time() - between) / number * 1e3]
        same = sum(o.outputs[0].text == a.text for o, a in zip(outputs, answers, strict=True))
        console.print(
            f"  vLLM {rates['vLLM'][-1]:.1f} rows/s, ours {rates['ours'][-1]:.1f} rows/s, "
            f"CPU here {costs[0]:.2f} and {costs[1]:.2f} ms/row, "
            f"{fitting(answers)} fit the schema, {same} equal to vLLM's own"
        )
    engine.close()
    theirs, ours = (statistics.median(rates[name]) for name in ("vLLM", "ours"))
    console.print(
        f"vLLM in process, medians: {ours:.1f} of {theirs:.1f} rows/s, {ours / theirs:.1%}"
    )
    # Whatever else runs on the machine only slows a round down.
    theirs, ours = (max(rates[name]) for name in ("vLLM", "ours"))
    console.print(f"vLLM in process, best rounds: {ours:.1f} of {theirs:.1f}, {ours / theirs:.1%}")


@contextmanager
def serving(command: Sequence[str], path: str) -> Iterator[int]:
    """Runs a server on a free port; ends it afterwards."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    arguments = [sys.executable, *command, "--port", str(port)]
    process = subprocess.Popen(
        arguments,
        env=os.environ | CPU_SETTINGS,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while process.poll() is None:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2):
                    break
            except OSError:
                time.sleep(0.2)
        yield port
    finally:
        process.terminate()
        process.wait()


def server_engine(port: int, sampling: Sampling) -> Engine:
    """Returns the client of a server on this machine."""
    url = f"http://127.0.0.1:{port}/v1"
    return open_engine(
        EngineConfig(
            kind="openai", model="tiny", base_url=url, max_concurrency=SLOTS, sampling=sampling
        )
    )


def bench_http(number: int, console: Console) -> None:
    """The client against a server of known speed."""
    command = ["-m", "bench.llm_server", "--seconds", str(LATENCY_SECONDS), "--slots", str(SLOTS)]
    ideal, rates = SLOTS / LATENCY_SECONDS, []
    with serving(command, "/v1/models") as port:
        engine = server_engine(port, Sampling())
        for _ in range(ROUNDS):
            before = time.process_time()
            seconds, answers = timed(engine, Sampling(), make_requests(number))
            rates.append(number / seconds)
            cpu = (time.process_time() - before) / number * 1e3
            failed = sum(answer.error is not None for answer in answers)
            console.print(f"  {rates[-1]:.1f} requests/s, {cpu:.2f} ms CPU each, {failed} failed")
    rate = statistics.median(rates)
    console.print(f"HTTP client: {rate:.1f} of {ideal:.0f} requests/s, {rate / ideal:.1%}")


def bench_server(model: Path, number: int, console: Console) -> None:
    """Asks vLLM's own server: do its answers fit?"""
    sampling = Sampling(temperature=1.0, max_tokens=MAX_TOKENS)
    command = ["-m", "vllm.entrypoints.openai.api_server", "--host", "127.0.0.1"]
    command += ["--model", str(model), "--served-model-name", "tiny", "--dtype", "float32"]
    # Chunked prefill with a seed per request kills vLLM 0.32 on a CPU.
    command += ["--enforce-eager", "--no-enable-chunked-prefill", "--structured-outputs-config"]
    command += ['{"backend": "xgrammar", "disable_any_whitespace": true}']
    with serving(command, "/health") as port:
        seconds, answers = timed(server_engine(port, sampling), sampling, make_requests(number))
    console.print(
        f"vLLM's server: {fitting(answers)} of {number} answers fit the schema, "
        f"{number / seconds:.1f} requests/s"
    )


def main() -> None:
    """Runs all three."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=2000)
    parser.add_argument("--skip-server", action="store_true", help="leave out vLLM's own server")
    arguments = parser.parse_args()
    for name, value in CPU_SETTINGS.items():
        os.environ.setdefault(name, value)
    console = Console()
    bench_http(arguments.prompts, console)
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        make_model(model)
        bench_vllm(model, arguments.prompts, console)
        if not arguments.skip_server:
            bench_server(model, arguments.prompts // 4, console)


if __name__ == "__main__":
    main()
