"""Merging as a stage: the fine-tuned model with an instruct model, against a common base.

AstroMLab 3, section IV: DARE-TIES, density 1.0, 0.75 fine-tuned + 0.25 instruct. AstroMLab 4,
section 2.4: base is the continued-pretraining model; densities 0.9 and 0.5 and less.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from core.model_folder import model_files
from core.recipe.chat import Chat
from core.recipe.merge import Merge
from core.stage import STAGE_PREFIXES, JobResult, JobStage, StageContext
from merge.card import CARD_NAME, short_names
from merge.preflight import check_folder


class MergeInputs:
    """The models of a merge: which are stages, and where all of them are."""

    def __init__(self, section: Merge, chat: Chat | None) -> None:
        """Describes the merge.

        Args:
            section: method, base, models and their weights.
            chat: the recipe's ``synth.chat``: what text its models talk in; None without it.
        """
        self.section = section
        self.chat = chat if section.chat_template == "recipe" else None
        self.names = section.names
        self.stages = tuple(n for n in self.names if n.startswith(STAGE_PREFIXES))

    def config(self) -> dict[str, Any]:
        """Returns what a merge depends on; folders go by name and content, not by their place."""
        short = short_names(self.names)
        section = self.section.model_dump(mode="json", exclude={"sweep"})
        for entry in section["models"]:
            entry["model"] = short[entry["model"]]
        for key in ("base", "voice"):
            section[key] = short.get(section[key])
        section["hub"] = {short[name]: hub for name, hub in section["hub"].items()}
        if self.chat is not None:
            section["chat"] = self.chat.model_dump(
                mode="json", include={"date_string", "reasoning"}
            )
        return section

    def source_files(self, ctx: StageContext, where: str) -> list[Path]:
        """Returns the files of models that are the user's folders.

        Raises:
            InputError: a folder holds no whole model that can be merged.
        """
        files: list[Path] = []
        for name in self.names:
            if name not in self.stages:
                folder = Path(ctx.model_path(name))
                check_folder(folder, f"{where}: {name}")
                card = folder / CARD_NAME  # its licence goes into ours
                files += model_files(folder) + ([card] if card.is_file() else [])
        return files

    def folders(self, ctx: StageContext) -> dict[str, Path]:
        """Returns the models' folders by name, absolute, the base first."""
        return {name: Path(ctx.model_path(name)).absolute() for name in self.names}


class MergeStage(JobStage):
    """Merges models; fills ``model/``."""

    name = "merge.merged"
    description: ClassVar[str] = "merge the fine-tuned models with mergekit"
    code_version: ClassVar[int] = 2
    row_unit = "model"
    reconcile: ClassVar[str] = "every model named under merge.models goes into the one merged model"

    def __init__(self, section: Merge, chat: Chat | None = None) -> None:
        """Describes the merge.

        Args:
            section: method, base, models and their weights.
            chat: the recipe's ``synth.chat``: what text its models talk in; None without it.
        """
        self._models = MergeInputs(section, chat)
        self.inputs = self._models.stages

    def config(self) -> dict[str, Any]:
        """Returns the section and the chat text; folders are known by name and content."""
        return self._models.config()

    def source_files(self, ctx: StageContext) -> list[Path]:
        """Returns the files of models that are the user's folders."""
        return self._models.source_files(ctx, self.name)

    def run(self, ctx: StageContext, out: Path) -> JobResult:
        """Merges into ``out/model``.

        Raises:
            InputError: a model is missing, models do not fit together, or there is too little room.
        """
        # Imported here: the command line lists stages without loading PyTorch.
        from merge.run import merge_models

        section = self._models.section
        folders = self._models.folders(ctx)
        done = merge_models(section, folders, ctx.seed, self._models.chat, out / "model", self.name)
        metrics: dict[str, Any] = {
            "method": section.method,
            "tensors": done.budget.tensors,
            "parameters": done.budget.parameters,
            "stops": list(done.voice.stops),
        }
        if done.vectors is not None:
            metrics["disagreeing_share"] = round(done.vectors.disagreeing, 6)
            short = short_names(section.names)
            for entry, share in zip(section.models, done.vectors.relative, strict=True):
                metrics[f"relative_norm_{short[entry.model]}"] = round(share, 6)
        models = len(section.models)
        return JobResult(rows_in=models, rows_out=models, metrics=metrics)
