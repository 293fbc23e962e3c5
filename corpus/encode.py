"""Texts to token ids: bounded memory, at the speed of the tokenizer itself.

Llama 3's tokenizers get words encoded once (:mod:`corpus.words`). For others, ``encode_batch_fast``
leaves out the character offsets nobody asks for; small batches stay in the processor's cache and
free what the tokenizer keeps for every token (about 100 bytes). Long texts are cut into pieces: one
of 10 MB in one call takes over 1 GB and five times as long as its pieces.

A text is cut only where the tokens on both sides do not change. Candidates are line ends and
spaces between words; each is tried on the text around it. A tokenizer that joins across all of
them (SentencePiece without a split into words) gets the text whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from corpus.words import word_encoder

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IntArray = npt.NDArray[np.int32]

PIECE_CHARS = 1 << 16
"""Longer texts are cut into pieces of this length or a little less."""

_BATCH_CHARS = 1 << 18
_SEARCH_CHARS = 1 << 13
"""How far before the end of a piece a place to cut is looked for."""

_WINDOW_CHARS = 64
_TRIES = 8


class TextEncoder:
    """Plain text to ids, without the special tokens that a tokenizer adds or finds in it."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, piece_chars: int = PIECE_CHARS) -> None:
        """Makes an encoder.

        Args:
            tokenizer: a fast tokenizer.
            piece_chars: longer texts are cut.
        """
        fast: Any = tokenizer  # only fast tokenizers have a backend
        self._backend: Any = fast.backend_tokenizer
        self._words = word_encoder(tokenizer, len(fast))
        self._piece_chars = piece_chars

    def encode(self, texts: Iterable[str]) -> Iterator[IntArray]:
        """Yields the ids of each text, in order; a batch of pieces is held at a time.

        The ids are those of ``tokenizer(text, add_special_tokens=False,
        split_special_tokens=True)``: special-token text is plain text.
        """
        parts: list[IntArray] = []
        for batch in self._batches(texts):
            for ids, (_, ends_text) in zip(
                self._ids([piece for piece, _ in batch]), batch, strict=True
            ):
                parts.append(ids)
                if ends_text:
                    yield parts[0] if len(parts) == 1 else np.concatenate(parts)
                    parts = []

    def _batches(self, texts: Iterable[str]) -> Iterator[list[tuple[str, bool]]]:
        batch: list[tuple[str, bool]] = []
        chars = 0
        for text in texts:
            for piece in self._pieces(text):
                batch.append(piece)
                chars += len(piece[0])
                if chars >= _BATCH_CHARS:
                    yield batch
                    batch, chars = [], 0
        if batch:
            yield batch

    def _pieces(self, text: str) -> Iterator[tuple[str, bool]]:
        """Yields a text's pieces, each with whether it is the last one."""
        start, limit = 0, self._piece_chars
        while limit < len(text):
            cut = self._cut(text, max(start, limit - _SEARCH_CHARS), limit)
            if cut is not None:
                yield text[start:cut], False
                start = cut
            limit = (cut or limit) + self._piece_chars
        yield text[start:], True

    def _cut(self, text: str, low: int, high: int) -> int | None:
        """Returns a place in (low, high] to cut at, a line end if there is one that does."""
        for mark, after in (("\n", 1), (" ", 0)):
            found = high
            for _ in range(_TRIES):
                found = text.rfind(mark, low + 1, found)
                if found < 0:
                    break
                if self._may_cut(text, found + after):
                    return found + after
        return None

    def _may_cut(self, text: str, at: int) -> bool:
        # Never within white space: how a long run of it is split may depend on its length.
        before, first, second = text[at - 1], text[at], text[at + 1 : at + 2]
        if before.isspace() == first.isspace() or (first.isspace() and second.isspace()):
            return False
        left, right = text[max(0, at - _WINDOW_CHARS) : at], text[at : at + _WINDOW_CHARS]
        both, *halves = (ids.tolist() for ids in self._ids([left + right, left, right]))
        return bool(both == halves[0] + halves[1])

    def _ids(self, texts: list[str]) -> list[IntArray]:
        backend = self._backend
        # The tokenizer is shared: whoever used it last may have left other settings.
        before = backend.encode_special_tokens
        backend.encode_special_tokens = True
        backend.no_padding()
        backend.no_truncation()
        try:
            found = [self._words.encode(text) if self._words else None for text in texts]
            left = [text for text, ids in zip(texts, found, strict=True) if ids is None]
            encodings = iter(backend.encode_batch_fast(left, add_special_tokens=False))
        finally:
            backend.encode_special_tokens = before
        return [
            np.asarray(next(encodings).ids, dtype=np.int32) if ids is None else ids for ids in found
        ]
