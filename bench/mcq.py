"""Five-shot multiple choice: our scorer against lm-eval's Hugging Face backend, in one run.

Both answer the same questions with the same model and, word for word, the same prompts, and must
give the same predictions. Measured is the processor time of this process and its children, from the
questions on disk to the predictions, with the model already loaded and after a warm-up of each; the
wall time stands beside it. lm-eval runs as it comes (batch size 1, torch's own number of threads;
ours uses one) and with batches of 16. The
questions are those of ``samples/mcq``, asked again with their choices rotated until there are
enough, or two files of MMLU's. Run ``python -m bench.mcq [--questions N] [--model FOLDER]
[--test test.csv --dev dev.csv]``; needs the package lm-eval.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("TQDM_DISABLE", "1")

import torch
from rich.console import Console
from rich.table import Table

from core.recipe.mcq import Benchmark, Mcq, ModelEngine, Shots
from core.recipe.train import TinyModel
from core.sources import SourceIndex
from core.stage import StageContext
from core.tiny import make_tiny_llama, save_model, train_tokenizer
from eval.items import Item, letter, load_items
from eval.mcq.prompts import Shown, choice_request
from eval.mcq.stage import McqStage

SAMPLES = Path(__file__).parent.parent / "samples"
TASK = "astromill_mmlu_astronomy"
SHOTS = 5
ROUNDS = 3
SHARPER = 4.0
_THREADS = torch.get_num_threads()
SHAPE = TinyModel(
    vocab_size=4096, hidden_size=128, intermediate_size=384, num_hidden_layers=4,
    num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=4096,
)  # fmt: skip


_BENCHMARK = Benchmark(
    name="mmlu", path="test.jsonl", subject="astronomy", shots=Shots(count=SHOTS, path="dev.jsonl")
)
_SECTION = Mcq(benchmarks=[_BENCHMARK], mode="letter", format="mmlu", too_long="cut")


def write_questions(path: Path, items: Sequence[Item]) -> None:
    """Writes questions as JSON lines in the layout of MMLU on the Hub: the answer is a number."""
    lines = [
        {"question": i.question, "choices": list(i.choices), "answer": i.answer} for i in items
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    path.write_text(text, encoding="utf-8")


def write_task(folder: Path, test: Path, dev: Path) -> None:
    """Writes lm-eval's own task ``mmlu_astronomy`` with files of this machine as its data."""
    import lm_eval.tasks

    builtin = Path(lm_eval.tasks.__file__).parent / "mmlu/default/mmlu_astronomy.yaml"
    files = {"test": str(test), "dev": str(dev)}
    task = {
        "include": str(builtin), "task": TASK, "dataset_path": "json", "dataset_name": None,
        "dataset_kwargs": {"data_files": files},
    }  # fmt: skip
    (folder / f"{TASK}.yaml").write_text(json.dumps(task), encoding="utf-8")


class LmEval:
    """lm-eval's Hugging Face backend on the task, the model loaded once.

    Args:
        model: the model's folder.
        tasks: folder that :func:`write_task` filled.
        batch_size: prompts at once.
        context_tokens: the model's own when absent.
        threads: torch's; our engine, in the same process, sets it to one.
    """

    def __init__(
        self,
        model: Path,
        tasks: Path,
        batch_size: int = 1,
        context_tokens: int | None = None,
        threads: int = 1,
    ) -> None:
        import lm_eval
        from lm_eval.models.huggingface import HFLM
        from lm_eval.tasks import TaskManager

        self._lm_eval = lm_eval
        self._threads = threads
        self._model: Any = HFLM(
            pretrained=str(model), device="cpu", dtype="float32", batch_size=batch_size,
            max_length=context_tokens,
        )  # fmt: skip
        self._tasks = TaskManager(include_path=str(tasks), include_defaults=False)

    def predict(self) -> list[int]:
        """Returns the choice of each question, in file order."""
        torch.set_num_threads(self._threads)
        found = self._lm_eval.simple_evaluate(
            model=self._model, tasks=[TASK], num_fewshot=SHOTS, task_manager=self._tasks,
            log_samples=True, bootstrap_iters=0, verbosity="ERROR",
        )  # fmt: skip
        samples = sorted(found["samples"][TASK], key=lambda sample: sample["doc_id"])
        totals = [[answer[0] for answer in sample["filtered_resps"]] for sample in samples]
        # As lm-eval's accuracy takes it: numpy's argmax, the first of equals.
        return [max(range(len(t)), key=t.__getitem__) for t in totals]


class Ours:
    """The stage ``eval.mcq`` on the same files, the model loaded once.

    Args:
        model: the model's folder.
        folder: where ``test.jsonl`` and ``dev.jsonl`` are.
        context_tokens: the model's own when absent.
    """

    def __init__(self, model: Path, folder: Path, context_tokens: int | None = None) -> None:
        engine = ModelEngine(max_model_len=context_tokens)
        section = _SECTION.model_copy(update={"engine": engine})
        self._ctx = StageContext(run_dir=folder / "run", root=folder, seed=0)
        self._stage = McqStage(section, {"tiny": str(model)})

    def predict(self) -> list[int]:
        """Returns the choice of each question, in file order."""
        torch.set_num_threads(1)
        sources = SourceIndex(self._ctx.root, self._ctx.run_dir / "sources.json")
        choices: list[int] = []
        for unit in self._stage.plan(self._ctx, sources):
            kept = self._stage.process(unit, self._ctx).kept
            choices += kept.column("choice").to_pylist()
        return choices


def sample_questions(count: int) -> tuple[list[Item], list[Item]]:
    """Returns questions to ask and five to show, all of our own samples.

    Questions asked again have their choices rotated, so that no prompt comes twice.
    """
    items = [
        item
        for name in ("astronomy", "general")
        for item in load_items(SAMPLES / "mcq" / f"{name}.jsonl")[0]
        if len(item.choices) == 4
    ]
    dev, asked = items[:SHOTS], items[SHOTS:]
    found: list[Item] = []
    for turn in range(4):
        for item in asked:
            assert item.answer is not None
            turned = (*item.choices[turn:], *item.choices[:turn])
            answer = (item.answer - turn) % 4
            found.append(Item(f"{item.item_id}-{turn}", item.question, turned, answer))
    return found[:count], dev


def make_model(
    folder: Path, items: Sequence[Item], dev: Sequence[Item], shape: TinyModel = SHAPE
) -> Path:
    """Writes a random Llama with a tokenizer trained on the samples.

    Args:
        folder: made here.
        items: questions that its answers are to differ on.
        dev: what is shown before them.
        shape: of the model.
    """
    texts = [path.read_text(encoding="utf-8") for path in sorted((SAMPLES).rglob("*.md"))]
    texts.append((SAMPLES / "mcq" / "astronomy.jsonl").read_text(encoding="utf-8"))
    tokenizer = train_tokenizer(texts, shape.vocab_size)
    model: Any = make_tiny_llama(shape, tokenizer, seed=1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(SHARPER if weight.dim() > 1 else 1)
        _take_away_favourite(model, tokenizer, items[:40], dev)
    save_model(model, tokenizer, folder)
    return folder


def _take_away_favourite(
    model: Any, tokenizer: Any, items: Sequence[Item], dev: Sequence[Item]
) -> None:
    """Turns the letters' output weights so that no letter is likelier over all questions.

    A random model else gives every question the same letter, and agreement would mean little.
    """
    prompts = [
        choice_request(
            Shown(item, [*range(len(item.choices))]), _SECTION, _BENCHMARK, dev, chat=False
        ).prompt
        for item in items
    ]
    states = torch.stack(
        [
            model.model(torch.tensor([tokenizer(prompt)["input_ids"]])).last_hidden_state[0, -1]
            for prompt in prompts
        ]
    )
    mean = states.mean(dim=0)
    for mark in "ABCD":
        weight = model.lm_head.weight[tokenizer(f" {mark}")["input_ids"][-1]]
        weight -= (weight @ mean) / (mean @ mean) * mean


def measure(work: Callable[[], list[int]]) -> tuple[list[int], float, float]:
    """Returns what a call gives, with its processor seconds (children too) and wall seconds."""
    before, started = os.times(), time.perf_counter()
    found = work()
    wall_seconds, after = time.perf_counter() - started, os.times()
    return found, sum(after[:4]) - sum(before[:4]), wall_seconds


def main() -> None:
    """Prints the table; exit code 1 where predictions differ."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--model", type=Path, help="model folder; default: a small one made here")
    parser.add_argument("--test", type=Path, help="questions, any layout that eval.items reads")
    parser.add_argument("--dev", type=Path, help="five solved questions")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    given = parser.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        items, dev = sample_questions(given.questions)
        if given.test and given.dev:
            items, dev = load_items(given.test)[0][: given.questions], load_items(given.dev)[0]
        write_questions(folder / "test.jsonl", items)
        write_questions(folder / "dev.jsonl", dev)
        write_task(folder, folder / "test.jsonl", folder / "dev.jsonl")
        model = given.model.resolve() if given.model else make_model(folder / "model", items, dev)
        competitors: dict[str, Callable[[], list[int]]] = {
            "ours": Ours(model, folder).predict,
            "lm-eval hf": LmEval(model, folder, threads=_THREADS).predict,
            "lm-eval hf, batches of 16": LmEval(model, folder, 16, threads=_THREADS).predict,
        }
        agree = _compare(competitors, len(items), given.rounds, console)
    sys.exit(0 if agree else 1)


def _compare(
    competitors: dict[str, Callable[[], list[int]]], questions: int, rounds: int, console: Console
) -> bool:
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in competitors}
    answers: dict[str, list[int]] = {}
    for turn in range(rounds + 1):
        for name, work in competitors.items():
            answers[name], cpu_seconds, wall_seconds = measure(work)
            if turn:  # the first round warms up
                times[name].append((cpu_seconds, wall_seconds))
    table = Table(title=f"{questions} questions, {SHOTS} shots; median of {rounds} rounds")
    for column in ("", "CPU s", "wall s", "CPU to ours", "same predictions"):
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    ours = statistics.median(cpu for cpu, _ in times["ours"])
    for name, taken in times.items():
        cpu = statistics.median(cpu_seconds for cpu_seconds, _ in taken)
        wall = statistics.median(wall_seconds for _, wall_seconds in taken)
        same = sum(a == b for a, b in zip(answers[name], answers["ours"], strict=True))
        table.add_row(
            name, f"{cpu:.2f}", f"{wall:.2f}", f"{cpu / ours:.1f}x", f"{same} of {questions}"
        )
    letters = {letter(choice): answers["ours"].count(choice) for choice in range(4)}
    table.caption = f"letters predicted: {letters}; lm-eval's threads: {_THREADS}"
    console.print(table)
    return all(found == answers["ours"] for found in answers.values())


if __name__ == "__main__":
    main()
