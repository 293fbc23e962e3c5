"""Merging as a stage: the fine-tuned model with an instruct model, against a common base.

AstroMLab 3, section IV: DARE-TIES, density 1.0, 0.75 fine-tuned + 0.25 instruct. AstroMLab 4,
section 2.4: base is the continued-pretraining model; densities 0.9 and 0.5 and less.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core.model_folder import model_files, require_model, tensor_shapes
from core.recipe.merge import Merge
from core.stage import STAGE_PREFIXES, JobResult, JobStage, StageContext
from merge.preflight import check_models


class MergeStage(JobStage):
    """Merges models; fills ``model/``."""

    name = "merge.merged"
    description = "merge the fine-tuned models with mergekit"
    remote = True
    row_unit = "model"
    reconcile = "every model named under merge.models goes into the one merged model"

    def __init__(self, section: Merge) -> None:
        """Describes the merge.

        Args:
            section: method, base, models and their weights.
        """
        self._section = section
        named = dict.fromkeys((section.base, *(m.model for m in section.models)))
        self._names = tuple(named)
        self.inputs = tuple(n for n in self._names if n.startswith(STAGE_PREFIXES))

    def config(self) -> dict[str, Any]:
        """Returns the section; folders are known by name and content, not by where they lie."""
        section = self._section.model_dump()
        section["base"] = self._short(self._section.base)
        for model in section["models"]:
            model["model"] = self._short(model["model"])
        return section

    def source_files(self, ctx: StageContext) -> list[Path]:
        """Returns the files of models that are the user's folders."""
        files: list[Path] = []
        for name in self._names:
            if name not in self.inputs:
                folder = Path(ctx.model_path(name))
                require_model(folder, f"{self.name}: {name}")
                files += model_files(folder)
        return files

    def run(self, ctx: StageContext, out: Path) -> JobResult:
        """Merges into ``out/model``.

        Raises:
            InputError: a model is missing, or models do not fit together.
        """
        # Imported here: the command line lists stages without loading PyTorch.
        from merge.mergekit_run import run_mergekit

        folders = {name: Path(ctx.model_path(name)).absolute() for name in self._names}
        check_models(folders, self.name)
        run_mergekit(self._section, folders, ctx.seed, out / "model")
        tensors = tensor_shapes(out / "model", self.name)
        models = len(self._section.models)
        return JobResult(
            rows_in=models,
            rows_out=models,
            metrics={"method": self._section.method, "tensors": len(tensors)},
        )

    def _short(self, name: str) -> str:
        return name if name in self.inputs else Path(name).name
