"""Nougat through transformers: batches of pages in, Markdown and how it ended out.

The decoding loop is our own, some thirty lines: rows that are done leave the batch instead of
being padded to the longest, each is watched for loops on its own (``generate`` can hold back only
the whole batch's scores, 0.8 GB a page), and each draws from its own random stream, so that a page
sampled again does not depend on its neighbours.

Same pages in the same batches on the same kind of device give the same text. Another batch size
may round logits differently.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import DynamicCache, EncoderDecoderCache, VisionEncoderDecoderModel
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.nougat.image_processing_pil_nougat import NougatImageProcessorPil
from transformers.models.nougat.tokenization_nougat import NougatTokenizer
from transformers.utils.logging import disable_progress_bar

from core.errors import EngineError
from corpus.formats.mmd import read_mmd_text
from corpus.nougat.images import PagePixels, prepare
from corpus.nougat.loops import SteadyLogits, TokenLoops
from corpus.pdf_worker import Image

log = logging.getLogger(__name__)

_MISSING = "[MISSING_PAGE_POST]"
"""What the model and its clean-up write for text they cannot give."""

_SPACES = re.compile(r"(\s)\1{7,}")
_FOOTNOTE = ("[FOOTNOTE:", "[ENDFOOTNOTE]")
_MAX_FOOTNOTES = 16
"""Footnotes of one page; with more of these marks the model has lost its way."""


class Ending(StrEnum):
    """How the reading of a page ended. Only ``FINISHED`` is a page's text."""

    FINISHED = "finished"
    LOOPED = "looped"
    TRUNCATED = "truncated"
    MISSING = "missing"


@dataclass(frozen=True)
class Attempt:
    """A page, read once.

    Args:
        text: Markdown; of a page that looped, what came before the loop.
        quality: mean probability of its tokens.
        tokens: their number, the end token included.
        ending: how it ended.
    """

    text: str
    quality: float
    tokens: int
    ending: Ending


@dataclass
class _Row:
    """A page while it is read."""

    loops: TokenLoops
    logits: SteadyLogits = field(default_factory=SteadyLogits)
    tokens: list[int] = field(default_factory=list)
    probabilities: list[float] = field(default_factory=list)
    ending: Ending | None = None

    def push(self, token: int, probability: float, largest_logit: float, end_token: int) -> None:
        self.tokens.append(token)
        self.probabilities.append(probability)
        if token == end_token:
            self.ending = Ending.FINISHED
            return
        keep = self.loops.push(token)
        steady_from = self.logits.push(largest_logit)
        if keep is None:
            keep = steady_from
        if keep is not None:
            self.ending = Ending.LOOPED
            del self.tokens[keep:], self.probabilities[keep:]


class NougatModel:
    """A loaded model.

    Args:
        model: a ``VisionEncoderDecoderModel`` in evaluation mode.
        tokenizer: its ``NougatTokenizer``.
        processor: its ``NougatImageProcessorPil``.
        max_new_tokens: longest page; the decoder's positions are a further limit.
    """

    def __init__(self, model: Any, tokenizer: Any, processor: Any, max_new_tokens: int) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._processor = processor
        self._limit = min(max_new_tokens, model.config.decoder.max_position_embeddings - 1)
        self._end: int = tokenizer.eos_token_id
        self._start = _start_token(model, tokenizer)
        special = (tokenizer.bos_token_id, tokenizer.pad_token_id, tokenizer.unk_token_id)
        self._never = torch.tensor([t for t in special if t is not None], device=model.device)

    def prepare(self, image: Image) -> PagePixels | None:
        """Returns what the model takes for a page's pixels; None for a blank page."""
        return prepare(image, self._processor)

    @torch.inference_mode()
    def read(
        self, pages: Sequence[PagePixels], temperature: float, seeds: Sequence[int]
    ) -> list[Attempt]:
        """Reads a batch of pages.

        Args:
            pages: at least one.
            temperature: 0 takes the likeliest token; above, tokens are drawn.
            seeds: of each page's draws; not used at temperature 0.
        """
        model = self._model
        rows = [_Row(TokenLoops(self._limit)) for _ in pages]
        draws = [np.random.Generator(np.random.Philox(seed)) for seed in seeds]
        alive = list(range(len(rows)))
        pixels = torch.from_numpy(np.stack([page.values for page in pages]))
        pixels = pixels.to(model.device, model.dtype)
        hidden = model.encoder(pixel_values=pixels, return_dict=True).last_hidden_state
        cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
        last = torch.full((len(rows), 1), self._start, device=model.device)
        for _ in range(self._limit):
            logits: Tensor = (
                model(
                    encoder_outputs=BaseModelOutput(last_hidden_state=hidden),
                    decoder_input_ids=last,
                    past_key_values=cache,
                    use_cache=True,
                )
                .logits[:, -1]
                .float()
            )
            noise = [draws[row] for row in alive] if temperature else []
            tokens, facts = self._choose(logits, temperature, noise)
            for row, token, (probability, largest) in zip(alive, tokens, facts, strict=True):
                rows[row].push(token, probability, largest, self._end)
            going = [place for place, row in enumerate(alive) if rows[row].ending is None]
            if not going:
                break
            last = torch.tensor([[tokens[place]] for place in going], device=model.device)
            if len(going) < len(alive):
                places = torch.tensor(going, device=model.device)
                cache.batch_select_indices(places)
                hidden = hidden[places]
                alive = [alive[place] for place in going]
        return [self._attempt(row) for row in rows]

    def _choose(
        self, logits: Tensor, temperature: float, draws: list[np.random.Generator]
    ) -> tuple[list[int], list[list[float]]]:
        """Returns each row's token, and its (probability, largest logit)."""
        largest = logits.amax(dim=-1)
        logits[:, self._never] = -torch.inf
        scores = logits
        if temperature:
            # The largest of logits / T plus Gumbel noise is a draw from softmax(logits / T).
            noise = np.stack([draw.gumbel(size=logits.shape[1]) for draw in draws])
            scores = logits / temperature + torch.from_numpy(noise).to(logits.device, logits.dtype)
        tokens = scores.argmax(dim=-1)
        chosen = logits.gather(1, tokens[:, None])[:, 0]
        facts = torch.stack([(chosen - logits.logsumexp(dim=-1)).exp(), largest], dim=1)
        return tokens.tolist(), facts.tolist()

    def _attempt(self, row: _Row) -> Attempt:
        ending = row.ending or Ending.TRUNCATED
        raw: str = self._tokenizer.decode(row.tokens, skip_special_tokens=True)
        page = read_mmd_text(self._cleaned(raw))
        text = page.text.strip()
        if page.missing and not text:
            ending = Ending.MISSING
        quality = sum(row.probabilities) / len(row.probabilities) if row.probabilities else 0.0
        return Attempt(text, quality, len(row.tokens), ending)

    def _cleaned(self, raw: str) -> str:
        """Returns the text as Nougat's authors clean it."""
        raw = _bounded(raw)
        try:
            text: str = self._tokenizer.post_process_generation(raw, fix_markdown=True)
        except Exception:
            # Rules for papers, run on whatever a model wrote: a page is worth more than they are.
            log.warning("Nougat's clean-up failed on a page; its text is kept as read")
            return raw.strip()
        # One of the rules replaces an empty string, which puts its mark between all letters.
        return raw.strip() if text.count(_MISSING) > 1 + len(raw) // 100 else text.strip()


def _bounded(raw: str) -> str:
    """Takes out what some of the clean-up's patterns need cubic time for."""
    raw = _SPACES.sub(r"\1\1", raw)
    if raw.count(_FOOTNOTE[0]) > _MAX_FOOTNOTES:
        for mark in _FOOTNOTE:
            raw = raw.replace(mark, "")
    return raw


def _start_token(model: Any, tokenizer: Any) -> int:
    for config in (model.generation_config, model.config, model.config.decoder):
        token = getattr(config, "decoder_start_token_id", None)
        if token is not None:
            return int(token)
    return int(tokenizer.bos_token_id)


def load_model(path: str, max_new_tokens: int) -> NougatModel:
    """Loads a Nougat model: onto a GPU in bfloat16 where there is one, else in float32.

    Args:
        path: folder of the model, or its name on the hub. Weights must be safetensors; no code of
            the model's own is run.
        max_new_tokens: longest page.

    Raises:
        EngineError: it cannot be loaded.
    """
    on_gpu = torch.cuda.is_available()
    quiet: Any = disable_progress_bar  # untyped in transformers
    quiet()
    try:
        make: Any = VisionEncoderDecoderModel  # untyped in transformers
        model = make.from_pretrained(
            path,
            use_safetensors=True,
            trust_remote_code=False,
            dtype=torch.bfloat16 if on_gpu else torch.float32,
        )
        tokenizer = NougatTokenizer.from_pretrained(path)
        processor = NougatImageProcessorPil.from_pretrained(path)
    except Exception as error:
        # transformers, safetensors and the hub raise classes of their own for the same thing.
        raise EngineError(
            f"the Nougat model cannot be loaded: {(str(error).splitlines() or [''])[0]}",
            where=path,
            remedy="name a folder with config, tokenizer, preprocessor and safetensors weights, "
            "or a hub name such as facebook/nougat-base",
        ) from error
    if len(tokenizer) < model.config.decoder.vocab_size / 2:
        # transformers makes an empty one where the file is missing.
        raise EngineError(
            f"the Nougat model's tokenizer has {len(tokenizer)} tokens for its "
            f"{model.config.decoder.vocab_size}",
            where=path,
            remedy="put the model's tokenizer.json beside its weights",
        )
    return NougatModel(
        model.eval().to("cuda" if on_gpu else "cpu"), tokenizer, processor, max_new_tokens
    )
