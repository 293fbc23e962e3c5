"""Conversations about papers' metadata: preamble x question x way of naming the paper x answer.

A way of naming is used only where it means one paper of the corpus and does not give the answer
away. What is drawn depends on seed and document alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from synth.metadata.index import CorpusIndex
from synth.metadata.made_up import MadeUp
from synth.metadata.paper import Paper
from synth.metadata.wording import Ask, Chance, MetadataWording, ask, fields, fill, usable


@dataclass(frozen=True)
class Outside:
    """Where papers outside the corpus come from.

    Args:
        made_up: makes them from the corpus's papers.
        real: real ones, none of them in the corpus.
        share: of all questions that are about them.
        real_share: of these, that are about real ones where there are any.
    """

    made_up: MadeUp
    real: Sequence[Paper]
    share: float
    real_share: float


class Questioner:
    """Makes the conversations of one shard.

    Args:
        wording: the templates.
        index: of the whole corpus.
        outside: for answers that say "I do not know".
        system_prompt: of every conversation, or None.
    """

    def __init__(
        self,
        wording: MetadataWording,
        index: CorpusIndex,
        outside: Outside,
        system_prompt: str | None,
    ) -> None:
        self._wording = wording
        self._index = index
        self._outside = outside
        self._system = [{"role": "system", "content": system_prompt}] if system_prompt else []
        self.counts: Counter[str] = Counter()
        """Questions by kind, and what could not be asked."""

    @property
    def papers(self) -> int:
        """Papers that it was asked about."""
        return self.counts["documents_with_metadata"] + self.counts["documents_without_metadata"]

    def about(self, paper: Paper, count: int, seed: int) -> Iterator[dict[str, Any]]:
        """Yields ``count`` conversations about a paper, and some about papers unlike it.

        Rows of :data:`core.schema.CONVERSATION`. None where nothing can be asked.
        """
        chance = Chance(f"{seed}|metadata|{paper.doc_id}")
        pairs = self._askable(paper)
        if not pairs:
            self.counts["documents_without_metadata"] += 1
            return
        self.counts["documents_with_metadata"] += 1
        left = dict(pairs)
        share = self._outside.share
        for number in range(count):
            left = left or dict(pairs)
            kind = chance.one(sorted(left))
            names = left.pop(kind)
            yield self._known(paper, kind, chance.one(names), f"{number}", chance)
            # So many unknown ones to each known one that they are `share` of all.
            expected = share / (1 - share)
            for turn in range(int(expected) + chance.happens(expected % 1)):
                yield from self._unknown(paper, f"{number}.{turn}", chance)

    def _askable(self, paper: Paper) -> list[tuple[str, list[str]]]:
        """Returns what can be asked of a paper, each with the ways of naming it."""
        found = []
        for kind, asked in self._wording.asks.items():
            names = [n for n in self._names(paper, asked) if self._is_plain(n, paper)]
            if names and _answers(asked, paper):
                found.append((kind, names))
        return found

    def _names(self, paper: Paper, asked: Ask) -> list[str]:
        hidden = set(asked.hides)
        return [n for n in usable(self._wording.names, paper.facts) if not fields(n) & hidden]

    def _is_plain(self, name: str, paper: Paper) -> bool:
        """Tells whether a way of naming means this paper and no other."""
        named = fields(name)
        if "id" in named:
            return True
        if "title" in named:
            return self._index.titled(paper.facts["title"]) == 1
        return self._index.cited(paper.facts) == 1

    def _known(
        self, paper: Paper, kind: str, name: str, number: str, chance: Chance
    ) -> dict[str, Any]:
        asked = self._wording.asks[kind]
        facts = {**paper.facts, "paper": name.format_map(paper.facts)}
        question = ask(chance.one(self._wording.preambles), chance.one(asked.questions), facts)
        answer = fill(chance.one(_answers(asked, paper)), facts)
        self.counts[f"asked/{kind}"] += 1
        return self._row(f"metadata:{paper.doc_id}:{number}", question, answer, [paper.doc_id])

    def _unknown(self, paper: Paper, number: str, chance: Chance) -> Iterator[dict[str, Any]]:
        other = self._stranger(paper, chance)
        kinds = {
            kind: names
            for kind, asked in self._wording.asks.items()
            if other and (names := self._strange_names(other, asked))
        }
        if not other or not kinds:
            self.counts["unknown_not_made"] += 1
            return
        kind = chance.one(sorted(kinds))
        asked = self._wording.asks[kind]
        name = chance.one(kinds[kind]).format_map(other.facts)
        facts = {"paper": name, "asked": asked.asked}
        question = ask(chance.one(self._wording.preambles), chance.one(asked.questions), facts)
        answer = fill(chance.one(self._wording.unknown), facts)
        self.counts["asked/unknown"] += 1
        yield self._row(f"metadata:{paper.doc_id}:unknown:{number}", question, answer, [])

    def _strange_names(self, other: Paper, asked: Ask) -> list[str]:
        # By authors and year alone it could be one of theirs that the corpus holds.
        return [n for n in self._names(other, asked) if fields(n) & {"title", "id"}]

    def _stranger(self, paper: Paper, chance: Chance) -> Paper | None:
        outside = self._outside
        if outside.real and chance.happens(outside.real_share):
            self.counts["unknown_real"] += 1
            return chance.one(outside.real)
        return outside.made_up.like(paper, chance)

    def _row(self, conv_id: str, question: str, answer: str, doc_ids: list[str]) -> dict[str, Any]:
        return {
            "conv_id": conv_id,
            "dataset": "metadata",
            "messages": [
                *self._system,
                {"role": "user", "content": question},
                {"role": "assistant", "content": answer},
            ],
            "reasoning": False,
            "doc_ids": doc_ids,
        }


def _answers(asked: Ask, paper: Paper) -> list[str]:
    """Returns the answers that a paper's facts allow; one that says nothing of it is none."""
    facts = {**paper.facts, "paper": ""}
    return usable(asked.answers, facts)
