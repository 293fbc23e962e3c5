"""The synth stages of a recipe in running order: from documents to training conversations.

::

    documents -> [summaries] -> qa -> [judge -> pairs] -> conversations --+
        |            |                                                    |
        |            +-> summary_conversations ---------------------------+-> mixture -> sft_tokens
        +-> [metadata] ---------------------------------------------------+
    files -> [instruct] --------------------------------------------------+
    questions -> [control] -> control_tokens
"""

from __future__ import annotations

from collections.abc import Mapping

from core.graph import AnyStage
from core.overlap import Rules
from core.recipe.synth import Synth
from eval.items import load_items
from synth.chat_tokens import ChatTokensStage
from synth.control import ControlStage
from synth.conversations import QaConversationsStage
from synth.instruct.stage import InstructStage
from synth.judge.keep import PairsStage
from synth.judge.report import JudgeReportStage
from synth.judge.stage import JudgeStage
from synth.metadata.stage import MetadataStage
from synth.mixture.pick import MixturePickStage
from synth.mixture.plan import MixturePlanStage
from synth.mixture.rows import MixtureRowsStage
from synth.mixture.stage import MixtureStage
from synth.qa import QaStage
from synth.summaries import SummariesStage
from synth.summary_conversations import SummaryConversationsStage


def synth_stages(
    synth: Synth, documents: str, tokenizer: str, benchmarks: Mapping[str, str], rules: Rules
) -> list[AnyStage]:
    """Returns the stages of the section.

    Args:
        synth: the recipe section.
        documents: stage whose documents are asked about.
        tokenizer: train stage whose tokenizer counts and packs.
        benchmarks: name to path of the questions that must not be trained on.
        rules: what counts as one of them.
    """
    prompt = synth.chat.system_prompt
    stages: list[AnyStage] = []
    sets: list[str] = []
    if synth.summaries is not None:
        stages += [
            SummariesStage(synth.summaries, documents, tokenizer),
            SummaryConversationsStage(synth.summaries, "synth.summaries", documents, prompt),
        ]
    stages += _pairs(synth, documents, tokenizer)
    pairs = "synth.qa" if synth.judge is None else "synth.pairs"
    stages.append(QaConversationsStage(pairs, prompt))
    sets.append("synth.conversations")
    if synth.summaries is not None:
        sets.append("synth.summary_conversations")
    if synth.metadata is not None:
        stages.append(MetadataStage(synth.metadata, documents, prompt))
        sets.append("synth.metadata")
    if synth.instruct is not None:
        stages.append(InstructStage(synth.instruct))
        sets.append("synth.instruct")
    inputs = tuple(sets)
    stages += [
        MixtureRowsStage(synth.mixture, inputs, tokenizer, dict(benchmarks), rules),
        MixturePlanStage(synth.mixture, "synth.mixture_rows"),
        MixturePickStage(inputs, "synth.mixture_plan"),
        MixtureStage("synth.mixture_pick", "synth.mixture_plan"),
        ChatTokensStage("synth.sft_tokens", "synth.mixture", tokenizer, synth.chat),
    ]
    if synth.control is not None:
        stages += [
            ControlStage(synth.control, load_items, benchmarks, rules),
            ChatTokensStage("synth.control_tokens", "synth.control", tokenizer, synth.chat),
        ]
    return stages


def _pairs(synth: Synth, documents: str, tokenizer: str) -> list[AnyStage]:
    summaries = "synth.summaries" if synth.summaries is not None else None
    stages: list[AnyStage] = [QaStage(synth.qa, documents, tokenizer, summaries)]
    judge = synth.judge
    if judge is None:
        return stages
    stages.append(JudgeStage(judge, "synth.qa", documents))
    second = None
    if judge.second is not None:
        second = "synth.judge_second"
        stages.append(JudgeStage(judge.second, "synth.qa", documents, second))
    return [
        *stages,
        JudgeReportStage(judge, "synth.judge", second),
        PairsStage(judge, "synth.judge"),
    ]
