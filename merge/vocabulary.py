"""Which number each token has: models can be merged only where every token has the same."""

from __future__ import annotations

import json
import operator
from pathlib import Path

from core.errors import InputError
from core.tokenizer import load_tokenizer

_SHOWN = 3


def read_vocabulary(folder: Path) -> dict[str, int]:
    """Returns token to number, added and control tokens included.

    Raises:
        InputError: the tokenizer cannot be read.
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        # SentencePiece and the like: only their own code reads them.
        return dict(load_tokenizer(str(folder)).get_vocab())
    try:
        content = json.loads(path.read_text("utf-8"))
        vocabulary = content["model"]["vocab"]
        if isinstance(vocabulary, list):  # Unigram: pairs of token and score, by number
            vocabulary = {token: number for number, (token, _) in enumerate(vocabulary)}
        added = {entry["content"]: entry["id"] for entry in content.get("added_tokens") or []}
        return {token: operator.index(number) for token, number in {**vocabulary, **added}.items()}
    except (OSError, ValueError, RecursionError, KeyError, TypeError) as error:
        raise InputError(
            f"cannot read the tokenizer: {type(error).__name__}: {error}",
            where=str(path),
            remedy="copy or download tokenizer.json again",
        ) from error


def difference(ours: dict[str, int], theirs: dict[str, int], our: str, their: str) -> str | None:
    """Returns a sentence on how two vocabularies differ, naming the first tokens; None: equal.

    Args:
        ours: token to number, of one model.
        theirs: of the other.
        our: name of the one.
        their: name of the other.
    """
    if ours == theirs:
        return None
    moved = sorted(
        (number, token) for token, number in ours.items() if theirs.get(token, number) != number
    )
    if moved:
        listed = ", ".join(
            f"{token!r} is {number} in {our} but {theirs[token]} in {their}"
            for number, token in moved[:_SHOWN]
        )
        return f"number {len(moved):,} tokens differently: {listed}"
    parts = []
    for name, mine, other in ((our, ours, theirs), (their, theirs, ours)):
        only = sorted((number, token) for token, number in mine.items() if token not in other)
        if only:
            listed = ", ".join(f"{token!r} ({number})" for number, token in only[:_SHOWN])
            more = ", ..." if len(only) > _SHOWN else ""
            parts.append(f"only {name} has {listed}{more}")
    return f"differ by added tokens: {'; '.join(parts)}"
