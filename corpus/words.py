"""Ids of texts by way of their words, for tokenizers that split as Llama 3's does.

A byte-level BPE tokenizer splits a text into words by a regular expression and encodes each word
on its own. Most words of a corpus are ones it has encoded before, yet the tokenizer spends its time
on splitting and on keeping track of offsets. Here Python's ``regex`` splits, and a dictionary knows
the words; the tokenizer is asked for new ones. That is two to four times as fast, and exact:

* it is done only for Llama 3's own expression, with nothing that changes text before it;
* the two engines can differ only in what class a character is in (letter, number, space: each has
  its own version of Unicode). Every character is tried in both when it is first met, in all places
  where its class matters; a text with a character they disagree on is left to the tokenizer;
* a word alone is split as it is in a text: an earlier alternative of the expression cannot match
  because less follows, and the one look-ahead only tells which of two matches a space as well.
"""

from __future__ import annotations

import json
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import regex

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LLAMA_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""Of Llama 3, 3.1, 3.2 and 3.3."""

_PROBE = "a{0}a1{0}1.{0}.{0}{0} {0}\n{0}  {0}\t{0}\r'{0}'r{0}'v{0}'l{0}x"
"""A character in every neighbourhood in which its class changes a split."""

_CACHE_BYTES = 1 << 26
_WORD_BYTES = 200
"""What a word takes in the dictionary besides its characters, about."""


class WordEncoder:
    """Encodes texts word by word; its tokenizer must be set to find no special tokens in them."""

    def __init__(self, backend: Any) -> None:
        """Makes an encoder.

        Args:
            backend: a ``tokenizers.Tokenizer`` for which :func:`splits_like_llama` is true.
        """
        self._backend = backend
        self._split = regex.compile(LLAMA_SPLIT).findall
        self._ids: dict[str, tuple[int, ...]] = {}
        self._held_bytes = 0
        self._alike: set[str] = set()
        self._odd: set[str] = set()

    def encode(self, text: str) -> npt.NDArray[np.int32] | None:
        """Returns a text's ids, or None where the tokenizer itself must be asked."""
        characters = set(text)
        new = characters - self._alike
        if new:
            self._try(new - self._odd)
            if not characters.isdisjoint(self._odd):
                return None
        words = self._split(text)
        if self._held_bytes > _CACHE_BYTES:
            # The common words are back soon.
            self._ids.clear()
            self._held_bytes = 0
        self._learn(set(words).difference(self._ids))
        return np.fromiter(chain.from_iterable(map(self._ids.__getitem__, words)), np.int32)

    def _try(self, characters: set[str]) -> None:
        for character in characters:
            probe = _PROBE.format(character)
            theirs = [at for _, at in self._backend.pre_tokenizer.pre_tokenize_str(probe)]
            ours = [match.span() for match in regex.finditer(LLAMA_SPLIT, probe)]
            (self._alike if ours == theirs else self._odd).add(character)

    def _learn(self, words: set[str]) -> None:
        listed = list(words)
        encoded = self._backend.encode_batch_fast(listed, add_special_tokens=False)
        for word, encoding in zip(listed, encoded, strict=True):
            self._ids[word] = tuple(encoding.ids)
            self._held_bytes += _WORD_BYTES + 4 * len(word)


def splits_like_llama(backend: Any) -> bool:
    """Returns whether a ``tokenizers.Tokenizer`` encodes Llama 3's words and nothing else."""
    if backend.normalizer is not None or backend.pre_tokenizer is None:
        return False
    split = {
        "type": "Split",
        "pattern": {"Regex": LLAMA_SPLIT},
        "behavior": "Isolated",
        "invert": False,
    }
    steps = json.loads(backend.pre_tokenizer.__getstate__()).get("pretokenizers", [])
    if len(steps) != 2 or steps[0] != split or steps[1].get("type") != "ByteLevel":
        return False
    if steps[1].get("add_prefix_space") or steps[1].get("use_regex"):
        return False
    if type(backend.model).__name__ != "BPE" or backend.model.dropout:
        return False
    # Other added tokens would be found in the text before it is split.
    return all(token.special for token in backend.get_added_tokens_decoder().values())


@lru_cache(maxsize=2)
def word_encoder(tokenizer: PreTrainedTokenizerBase, size: int) -> WordEncoder | None:
    """Returns the word encoder of a tokenizer, or None where there can be none.

    Args:
        tokenizer: a fast tokenizer; its encoder knows the words of all texts before.
        size: of its vocabulary: one that has grown since is another.
    """
    fast: Any = tokenizer  # only fast tokenizers have a backend
    return (
        WordEncoder(fast.backend_tokenizer) if splits_like_llama(fast.backend_tokenizer) else None
    )
