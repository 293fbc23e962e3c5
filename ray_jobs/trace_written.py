"""What a conversation was written from: the pair or summary, its judge's scores, the prompts sent.

Prompts are looked up in the run's request logs (``<run>/cache/llm``), which may have been deleted;
the engine ``rules`` has none, since nothing was sent to a model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.copies import original_id
from core.lineage import Chain, Link, find_row, run_folder
from core.llm.prompt_log import find_request

PAIR_COLUMNS = ("qa_id", "chunk_start_char", "chunk_end_char")
SUMMARY_COLUMNS = ("doc_id", "summary", "short")
CRITERIA = ("correctness", "stand_alone", "pertinence", "overall")

_SUMMARY_ID = re.compile(r"summary:(?P<doc_id>.+):\d+")


@dataclass(frozen=True)
class Written:
    """A pair or a summary, and how it came about.

    Args:
        stage: whose row it is.
        row_id: its id there.
        model: that wrote it.
        prompt: what the model was sent; None where no log has it.
        scores: the judge's four, by criterion; empty where nobody judged.
        judge: which model scored.
        verdict_text: what the judge wrote.
        verdict_prompt: what the judge was sent; None where no log has it.
        doc_id: of the document it was written from.
        stretch: (start, end) of the passage in the document's text; None: all of it.
    """

    stage: str
    row_id: str
    model: str | None
    prompt: str | None
    doc_id: str
    stretch: tuple[int, int] | None
    scores: dict[str, int] = field(default_factory=dict)
    judge: str | None = None
    verdict_text: str | None = None
    verdict_prompt: str | None = None


def find_written(chain: Chain, stage: Link, conv_id: str) -> Written | None:
    """Returns what a conversation was written from, or None where nothing that is left tells.

    Args:
        chain: what the sequences were made from.
        stage: the conversation's.
        conv_id: the conversation's.
    """
    row_id = original_id(conv_id)
    for pairs in chain.nearest(stage, PAIR_COLUMNS):
        pair = find_row(pairs, "qa_id", row_id)
        if pair is not None:
            return _pair(chain, pairs, pair)
    named = _SUMMARY_ID.fullmatch(row_id)
    if named is None:
        return None
    for summaries in chain.nearest(stage, SUMMARY_COLUMNS):
        row = find_row(summaries, "doc_id", named["doc_id"])
        if row is not None:
            prompt = _prompt(chain, summaries, row, "prompt_sha256", "synth.summaries")
            return Written(
                summaries.stage, row["doc_id"], row.get("model"), prompt, row["doc_id"], None
            )
    return None


def _pair(chain: Chain, stage: Link, row: Mapping[str, Any]) -> Written:
    scores = {name: row[name] for name in CRITERIA if row.get(name) is not None}
    return Written(
        stage=stage.stage,
        row_id=row["qa_id"],
        model=row.get("model"),
        prompt=_prompt(chain, stage, row, "prompt_sha256", "synth.qa"),
        doc_id=row["doc_id"],
        stretch=(row["chunk_start_char"], row["chunk_end_char"]),
        scores=scores,
        judge=row.get("judge"),
        verdict_text=row.get("verdict_text"),
        verdict_prompt=_prompt(chain, stage, row, "verdict_prompt_sha256", "synth.judge"),
    )


def _prompt(
    chain: Chain, stage: Link, row: Mapping[str, Any], column: str, asker: str
) -> str | None:
    digest, run = row.get(column), run_folder(chain.links.get(asker, stage))
    if not digest or run is None:
        return None
    request = find_request(Path(run) / "cache" / "llm" / asker, digest)
    if request is None:
        return None
    return request.prompt or "\n\n".join(f"[{m['role']}] {m['content']}" for m in request.messages)
