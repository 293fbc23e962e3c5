"""A recipe as stages in running order: the one place that knows how stages are wired."""

from __future__ import annotations

from core.contamination_files import benchmark_files
from core.errors import RecipeError
from core.graph import AnyStage, Pipeline
from core.overlap import Rules
from core.recipe import LoadedRecipe, Recipe
from core.recipe.corpus import Corpus, Perplexity
from core.recipe.dedup import Dedup
from core.recipe.engine import Engine
from core.recipe.sources import WikipediaSource
from core.recipe.synth import Synth
from core.recipe.train import Train
from core.schema import DOCUMENT_STAGES
from core.stage import StageContext
from corpus.catalog import CatalogStage
from corpus.decontaminate import (
    ContaminationReportStage,
    ContaminationStage,
    DecontaminateStage,
    rules_of,
)
from corpus.dedup import DedupClustersStage, DedupSignaturesStage, DedupStage
from corpus.filter import FilterStage
from corpus.ingest import IngestStage
from corpus.normalize import NormalizeStage
from corpus.ocr import OcrStage
from corpus.perplexity import PerplexityScoreStage
from corpus.repetition.stage import RepetitionStage
from corpus.replay import ReplayPlanStage, ReplayStage
from corpus.replay_sources import ReplayDocumentsStage, ReplayIndexStage
from corpus.threshold import ThresholdStage
from corpus.tokens import TokensStage
from corpus.wikipedia.stage import WikiPagesStage
from ray_jobs.eval_pipeline import eval_stages, merge_stages
from ray_jobs.stage_needs import apply_needs
from ray_jobs.synth_pipeline import synth_stages
from ray_jobs.train_runs import resolved_section
from synth.chat_tokens import ChatTokensStage
from train.base import BaseModelStage
from train.stage import TrainStage

_BASE = "train.base"
_WIKI_PAGES = "corpus.wiki_pages"


def build_pipeline(loaded: LoadedRecipe) -> Pipeline:
    """Returns the stages that a recipe asks for.

    ::

        [wiki_pages] -> catalog -> ingest -> ocr -> normalize -> repetition
                                                                    |
          +---------------------------------------------------------+
          |-> [scorer] -> score -> threshold -> filter -> dedup -> decontaminate
          |                                                             |
          +-> base (tokenizer)              [replay] -> cpt <- tokens <-+-> qa, summaries, metadata
                                                                              |
                     instruct <- chat <- instruction sets -> mixture <--------+
                                                             +-> chat -> sft
                              report <- scores <- mcq, heldout <- base, cpt, sft, merged <- merge

    Raises:
        RecipeError: a section needs another one that is absent.
        UsageError: a model reference names a stage that the recipe does not make.
    """
    recipe = loaded.recipe
    stages = _corpus(recipe)
    if recipe.train and recipe.synth:
        stages += _synth(recipe, recipe.synth, recipe.train, _last_documents(stages))
    elif recipe.synth:
        raise _needs("synth", "train")
    stages += merge_stages(recipe)
    if recipe.eval:
        stages += eval_stages(recipe.eval, recipe.name, stages)
    apply_needs(stages, recipe.cluster.stages)
    return Pipeline(stages, context_of(loaded))


def context_of(loaded: LoadedRecipe) -> StageContext:
    """Returns where the files of a recipe and its run are."""
    return StageContext(loaded.run_dir, loaded.root, loaded.recipe.seed, loaded.remote)


def _needs(section: str, other: str) -> RecipeError:
    return RecipeError(
        f"the section '{section}' needs the section '{other}'",
        where=f"key {section}",
        remedy=f"add '{other}:' to the recipe; recipes/demo.yaml has both",
    )


def _corpus(recipe: Recipe) -> list[AnyStage]:
    """Returns the stages from sources to the pretrained model."""
    corpus, train = recipe.corpus, recipe.train
    searched = [s for s in corpus.sources if isinstance(s, WikipediaSource) and s.roots]
    stages: list[AnyStage] = [WikiPagesStage(searched)] if searched else []
    stages += [
        CatalogStage(corpus, _WIKI_PAGES if searched else None),
        IngestStage(corpus, "corpus.catalog"),
        OcrStage(corpus.ocr, "corpus.ingest"),
        NormalizeStage(corpus.normalize, "corpus.ocr"),
    ]
    if corpus.repetition is not None:
        stages.append(RepetitionStage(corpus.repetition, _last(stages)))
    if train is not None:
        stages.append(BaseModelStage(train.base, _last(stages)))
    documents = "corpus.normalize" if corpus.repetition is None else "corpus.repetition"
    if corpus.perplexity is not None:
        stages += _perplexity(corpus, corpus.perplexity, train, documents)
        documents = "corpus.filter"
    if corpus.dedup is not None:
        stages += _dedup(corpus, corpus.dedup, documents)
        documents = "corpus.dedup"
    stages += _decontaminate(recipe, documents)
    if train is not None:
        stages += _pretraining(recipe, train, _last_documents(stages))
    return stages


def _last(stages: list[AnyStage]) -> str:
    return stages[-1].name


def _last_documents(stages: list[AnyStage]) -> str:
    """The stage whose documents are trained on and asked about."""
    made = {stage.name for stage in stages}
    return next(name for name in DOCUMENT_STAGES if name in made)


def _dedup(corpus: Corpus, section: Dedup, documents: str) -> list[AnyStage]:
    names = [source.name for source in corpus.sources]
    return [
        DedupSignaturesStage(section, documents),
        DedupClustersStage(section, "corpus.dedup_signatures", names),
        DedupStage(section, documents, "corpus.dedup_clusters"),
    ]


def _benchmarks(recipe: Recipe) -> dict[str, str]:
    """Returns name to path of what must not be trained on; nothing where the step is left out."""
    section = recipe.corpus.decontaminate
    if section is None:
        return {}
    scored = recipe.eval.mcq.benchmarks if recipe.eval else []
    return benchmark_files(section, [(b.name, b.path) for b in scored])


def _decontaminate(recipe: Recipe, documents: str) -> list[AnyStage]:
    section, files = recipe.corpus.decontaminate, _benchmarks(recipe)
    if section is None or not files:
        return []
    return [
        ContaminationStage(section, documents, files),
        ContaminationReportStage("corpus.contamination", files),
        DecontaminateStage(section, documents, "corpus.contamination"),
    ]


def _pretraining(recipe: Recipe, train: Train, documents: str) -> list[AnyStage]:
    tokens, replay = recipe.corpus.tokens, recipe.corpus.replay
    length, strategy = tokens.sequence_length, tokens.strategy
    cpt = resolved_section(train.cpt, "cpt", length)
    stages: list[AnyStage] = [TokensStage("corpus.tokens", documents, _BASE, length, strategy)]
    if replay is not None:
        stages += [
            ReplayIndexStage(replay, _BASE),
            ReplayPlanStage(
                replay, "corpus.replay_index", "corpus.tokens", _BASE, train.cpt.epochs
            ),
            ReplayDocumentsStage(replay, "corpus.replay_plan"),
            ReplayStage("corpus.replay_documents", "corpus.replay_plan", _BASE, length, strategy),
        ]
    mixed = "corpus.replay" if replay is not None else None
    stages.append(TrainStage("train.cpt", cpt, "corpus.tokens", cpt.init, mixed))
    return stages


def _perplexity(
    corpus: Corpus, section: Perplexity, train: Train | None, documents: str
) -> list[AnyStage]:
    stages: list[AnyStage] = []
    engine = section.engine
    if engine is None and train is None:
        raise RecipeError(
            "there is no model to score perplexity with",
            where="key corpus.perplexity.engine",
            remedy="name one there, add a 'train:' section, or leave the step out: "
            "corpus.perplexity=null",
        )
    if engine is None and train is not None and train.base.path:
        engine = Engine(kind="transformers", model=_BASE)
    elif engine is None and train is not None:
        length = corpus.tokens.sequence_length
        scorer = resolved_section(train.scorer, "scorer", length)
        stages += [
            TokensStage("corpus.scorer_tokens", documents, _BASE, length),
            TrainStage("train.scorer", scorer, "corpus.scorer_tokens", scorer.init),
        ]
        engine = Engine(kind="transformers", model="train.scorer")
    assert engine is not None
    return [
        *stages,
        PerplexityScoreStage(section, engine, documents),
        ThresholdStage(
            section,
            "corpus.perplexity_score",
            documents,
            per_source=section.per_source,
            quantile_of=section.quantile_of,
        ),
        FilterStage(documents, "corpus.perplexity_score", "corpus.threshold"),
    ]


def _trains_instruct(recipe: Recipe, train: Train) -> bool:
    """Returns whether an instruct model is made here: a recipe may merge one that is there."""
    named = [*(recipe.merge.names if recipe.merge else ())]
    named += [*(recipe.eval.models.values() if recipe.eval else ())]
    return "instruct" in train.model_fields_set or "train.instruct" in named


def _synth(recipe: Recipe, synth: Synth, train: Train, documents: str) -> list[AnyStage]:
    section = recipe.corpus.decontaminate
    benchmarks = _benchmarks(recipe)
    rules = Rules() if section is None else rules_of(section)
    length = synth.chat.sequence_length
    sft = resolved_section(train.sft, "sft", length)
    stages = synth_stages(synth, documents, _BASE, benchmarks, rules)
    stages.append(TrainStage("train.sft", sft, "synth.sft_tokens", sft.init))
    if synth.instruct is not None and _trains_instruct(recipe, train):
        instruct = resolved_section(train.instruct, "instruct", length)
        tokens = "synth.instruct_tokens"
        stages += [
            ChatTokensStage(tokens, "synth.instruct", _BASE, synth.chat),
            TrainStage("train.instruct", instruct, tokens, instruct.init),
        ]
    if synth.control is not None:
        control = resolved_section(train.control, "control", length)
        stages.append(TrainStage("train.control", control, "synth.control_tokens", control.init))
    return stages
