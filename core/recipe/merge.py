"""Recipe section ``merge``: fine-tuned models into one, through mergekit."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from core.recipe.base import Section

TASK_METHODS = ("dare_ties", "ties")
"""Methods that add task vectors to a base; the others mix the weights themselves."""

_WEIGHTS_SUM_WITHIN = 1e-6


class MergeInput(Section):
    """One model of the merge."""

    model: str
    """A train stage (``train.sft``) or a model folder."""
    weight: float | None = Field(None, gt=0)
    """Its share; absent with ``slerp``, which goes by ``t``."""
    density: float = Field(1.0, gt=0, le=1)
    """Share of the task vector kept; 1.0 keeps all. ``dare_ties`` prunes at random, ``ties`` the
    smallest changes; the other methods prune nothing."""


class Sweep(Section):
    """The same merge at several weights, each scored: how much of the second model is best."""

    weights: list[Annotated[float, Field(ge=0, le=1)]] = Field(min_length=1)
    """Weights of the second model; the first has the rest. With ``slerp`` they are ``t``. At 0 and
    1 nothing is merged: those points are the two models as they are."""
    keep: bool = False
    """Keep the merged models (``<run>/merge/sweep/models``), not only their scores."""
    at_once: int | None = Field(None, ge=1)
    """Merges in work at once; absent: as many as there are workers. Each needs the memory that
    ``astromill merge check`` prints."""

    @model_validator(mode="after")
    def _unique(self) -> Sweep:
        if len(set(self.weights)) < len(self.weights):
            raise ValueError("a weight stands twice under weights")
        return self


class Merge(Section):
    """DARE-TIES: AstroMLab 3, section IV (8B) and AstroMLab 4, section 2.4 (70B).

    Of the other methods, ``ties`` is Yadav et al. 2023 (arXiv:2306.01708), ``linear`` the weighted
    mean (Wortsman et al. 2022, arXiv:2203.05482), ``slerp`` goes along the arc between two models.
    """

    method: Literal["dare_ties", "ties", "linear", "slerp"] = "dare_ties"
    """How models are put together; docs/merging.md tells of each."""
    base: str | None = None
    """The model whose weights the task vectors are taken against. ``linear`` and ``slerp`` need
    none; where it is given, only the card's numbers use it."""
    models: list[MergeInput] = Field(min_length=1)
    """The models to merge; the last one is the voice unless ``voice`` says otherwise."""
    t: float | None = Field(None, ge=0, le=1)
    """``slerp`` only: 0 is the first model, 1 the second."""
    rescale: Literal["l1", "density"] = "l1"
    """``dare_ties`` only: how a pruned task vector is brought back to size. ``l1``: to its L1 norm,
    tensor by tensor, as mergekit does since 0.1.0 (February 2025). ``density``: divided by the
    density, as Yu et al. 2024 (arXiv:2311.03099) write and mergekit did before. At density 1.0
    neither does anything; on large tensors they differ by rounding."""
    voice: str | None = None
    """The model, out of those named here, whose tokenizer, generation config and settings the
    merged model takes: the one users talk to. Absent: the last of ``models``."""
    chat_template: Literal["recipe", "voice"] = "recipe"
    """``recipe``: the Llama-3.1 chat text that ``synth.chat`` trains on, with its switch for
    reasoning; without a ``synth`` section, and with ``voice``: the voice's own template."""
    out_dtype: Literal["float32", "bfloat16"] = "bfloat16"
    """Arithmetic is float32 always; this is what is written."""
    measure: bool = True
    """Read the models once more for the card: how far each is from the base, and where they pull in
    opposite directions. About a minute for 8B."""
    hub: dict[str, str] = Field(default_factory=dict)
    """Hub ids for the card, by the name a model has here:
    ``{train.base: meta-llama/Llama-3.1-8B}``."""
    sweep: Sweep | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Every model that is named, the base first, each once."""
        base = () if self.base is None else (self.base,)
        return tuple(dict.fromkeys((*base, *(m.model for m in self.models))))

    @property
    def voice_name(self) -> str:
        """The model whose tokenizer and settings the merged model takes."""
        return self.voice or self.models[-1].model

    def weights(self) -> list[float]:
        """Returns the models' weights; of ``slerp``, 1 - t and t."""
        if self.method == "slerp":
            return [1 - (self.t or 0.0), self.t or 0.0]
        return [entry.weight or 0.0 for entry in self.models]

    def at(self, weight: float) -> Merge:
        """Returns the same merge with another weight (0 < weight < 1) of the second model."""
        first, second = self.models
        if self.method == "slerp":
            changes: dict[str, object] = {"t": weight}
        else:
            models = [
                first.model_copy(update={"weight": 1 - weight}),
                second.model_copy(update={"weight": weight}),
            ]
            changes = {"models": models}
        return self.model_copy(update={**changes, "sweep": None})

    def notes(self) -> list[str]:
        """Returns what a reader of the weights should know, sentences for card and log."""
        total = sum(self.weights())
        if self.method == "slerp" or abs(total - 1) <= _WEIGHTS_SUM_WITHIN:
            return []
        if self.method == "dare_ties":
            return [
                f"The weights sum to {total:g}, not 1, and DARE-TIES does not divide by the sum: "
                "the task vectors are scaled as a whole."
            ]
        return [f"The weights sum to {total:g}; {self.method} divides by the sum of those used."]

    @model_validator(mode="after")
    def _fits_the_method(self) -> Merge:
        names = [entry.model for entry in self.models]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"'{name}' stands twice under models")
        if self.method == "slerp":
            self._check_slerp()
        else:
            self._check_weights()
        if self.method in TASK_METHODS:
            self._check_base(names)
        else:
            for entry in self.models:
                if entry.density != 1:
                    raise ValueError(
                        f"the density of '{entry.model}' has no meaning with {self.method}, which "
                        "prunes nothing: leave it out"
                    )
        if self.rescale == "density" and self.method != "dare_ties":
            raise ValueError(f"rescale has no meaning with {self.method}: leave it out")
        self._check_names()
        return self

    def _check_slerp(self) -> None:
        if len(self.models) != 2:
            raise ValueError(f"slerp merges exactly two models, and {len(self.models)} are named")
        if self.t is None:
            raise ValueError("slerp needs the key 't': 0 is the first model, 1 the second")
        for entry in self.models:
            if entry.weight is not None:
                raise ValueError(
                    f"the weight of '{entry.model}' has no meaning with slerp, which goes by t: "
                    "leave it out"
                )

    def _check_weights(self) -> None:
        if self.t is not None:
            raise ValueError(f"t has no meaning with {self.method}: leave it out")
        for entry in self.models:
            if entry.weight is None:
                raise ValueError(f"'{entry.model}' needs a weight")

    def _check_base(self, names: list[str]) -> None:
        if self.base is None:
            raise ValueError(f"{self.method} needs the key 'base': what the models were tuned from")
        if self.base in names:
            raise ValueError(f"the base '{self.base}' cannot be one of the models, too")

    def _check_names(self) -> None:
        if self.voice is not None and self.voice not in self.names:
            raise ValueError(
                f"the voice '{self.voice}' is none of the models: {', '.join(self.names)}"
            )
        for name in self.hub:
            if name not in self.names:
                raise ValueError(f"hub names '{name}', which is none of: {', '.join(self.names)}")
        if self.sweep is not None and len(self.models) != 2:
            raise ValueError(
                f"a sweep is over the weight of a second model, and {len(self.models)} are named"
            )
