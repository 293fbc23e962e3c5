"""The folder that the documents speak of: recipes, models, papers, and two runs, all small.

Commands are run in it as they stand in the documents. Its demo is ``recipes/demo.yaml`` with a
given tiny model in place of one that is trained, so that the corpus and the conversations are made
in seconds; what follows training is not there.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import yaml

from core.yaml_reader import read_yaml
from tests.docs.markdown import ROOT, blocks

MODELS = ("Llama-3.1-8B", "Llama-3.1-8B-Instruct", "AstroSage-8B", "AstroSage-70B")
PAPERS = 2


def make_world(folder: Path, model: Path) -> Path:
    """Fills the folder.

    Args:
        folder: empty.
        model: a tiny model with its tokenizer; it plays all models.
    """
    for name in ("recipes", "samples"):
        shutil.copytree(ROOT / name, folder / name)
    shutil.copytree(ROOT / "synth/prompts", folder / "synth/prompts")
    for name in MODELS:
        shutil.copytree(model, folder / "models" / name)
    papers = sorted((ROOT / "samples/arxiv/pdf").rglob("*.pdf"))
    (folder / "papers").mkdir()
    for paper in papers[:PAPERS]:
        shutil.copy(paper, folder / "papers")
    shutil.copy(papers[0], folder / "paper.pdf")
    for block in written_files():
        path = folder / file_name(block.text)
        path.parent.mkdir(exist_ok=True)
        path.write_text(block.text, encoding="utf-8")
    small = folder / "recipes/demo.yaml"
    small.write_text(yaml.safe_dump(small_demo(read_yaml(small.read_text())), sort_keys=False))
    return folder


def small_demo(demo: dict[str, Any]) -> dict[str, Any]:
    """Returns the demo recipe with a given model, in few shards."""
    demo["corpus"]["documents_per_shard"] = 30
    demo["corpus"]["perplexity"]["workers"] = 1
    demo["train"]["base"] = {"path": "models/Llama-3.1-8B"}
    demo["train"].pop("scorer")
    return demo


def written_files() -> list[Any]:
    """Returns the YAML blocks of the documents that are whole files, by their first line."""
    from tests.docs.markdown import pages

    found = [b for page in pages() for b in blocks(page) if b.language == "yaml"]
    return [block for block in found if file_name(block.text)]


def file_name(text: str) -> str:
    """Returns the file's name that a block's first line gives, or nothing."""
    first = text.partition("\n")[0].removeprefix("# ")
    name = first.split(":")[0].split(",")[0].strip()
    return name if text.startswith("# ") and name.endswith(".yaml") and " " not in name else ""
