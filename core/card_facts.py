"""The numbers on the card of a published data set or model: from manifests and a few columns.

Sources, licences and dates come from the documents that the data was made from, tokens from the
spans of the packed sequences. Texts are not read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import polars as pl

from core.errors import InputError
from core.licences import UNKNOWN, hub_licence
from core.lineage import Chain, Link

_DOCUMENT = ("doc_id", "source", "license", "text")
_SPANS = ("spans",)
_MODEL_GROUPS = ("train.", "merge.")


@dataclass(frozen=True)
class Group:
    """Documents with something in common.

    Args:
        name: of the source, licence or year.
        documents: how many.
        tokens: of theirs in the sequences; None where the data is not packed.
        licences: as the documents state them, None among them where some state none.
        first_year, last_year: of the documents with a date.
    """

    name: str
    documents: int
    tokens: int | None = None
    licences: tuple[str | None, ...] = ()
    first_year: int | None = None
    last_year: int | None = None


@dataclass(frozen=True)
class Facts:
    """What a card says beyond the manifests.

    Args:
        steps: the stages that the rows went through and those that decided about them, first to
            last; for a model those of its training data, and the models.
        sources, licences, years: the documents, grouped; licences by the name that is stated.
        languages: codes that documents state, most frequent first.
    """

    steps: list[Link]
    sources: list[Group] = field(default_factory=list)
    licences: list[Group] = field(default_factory=list)
    years: list[Group] = field(default_factory=list)
    languages: list[str] = field(default_factory=list)

    @property
    def hub_licences(self) -> list[str]:
        """The licences as the Hub names them, sorted; ``unknown`` where some state none."""
        return sorted({hub_licence(stated) or UNKNOWN for stated in self.stated_licences})

    @property
    def stated_licences(self) -> list[str | None]:
        """The licences as the documents state them; None where some state none."""
        return [group.name or None for group in self.licences]


def is_model(link: Link) -> bool:
    """Returns whether a stage's output is a model."""
    return any(file.name.startswith("model/") for file in link.manifest.files)


def gather(chain: Chain) -> Facts:
    """Returns the facts about the stage at the chain's end.

    Raises:
        InputError: a shard cannot be read.
    """
    models = _models(chain) if is_model(chain.end) else []
    packed = _packed(chain, models)
    documents = _documents(chain, packed, models)
    used: set[str] = set()
    waiting = [link.stage for link in (*packed, *documents, *models, chain.end)]
    while waiting:
        stage = waiting.pop()
        used.add(stage)
        # A model that only scored rows, and what that was trained on, is not in the data.
        before = [n for n in chain.links[stage].manifest.inputs if not n.startswith(_MODEL_GROUPS)]
        waiting += [name for name in before if name in chain.links and name not in used]
    steps = [link for name, link in chain.links.items() if name in used]
    if not documents:
        return Facts(steps)
    try:
        return _grouped(documents, _tokens(packed, documents), steps)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise InputError(
            f"cannot read the documents: {f'{error} '.splitlines()[0]}",
            where=", ".join(str(link.folder) for link in documents),
            remedy="a shard is missing, truncated or corrupt: run the recipe again",
        ) from error


def _models(chain: Chain) -> list[Link]:
    """Returns the models that the end was made from, itself among them."""
    found: list[Link] = []
    waiting = [chain.end]
    while waiting:
        link = waiting.pop(0)
        found.append(link)
        for name in link.manifest.inputs:
            before = chain.links.get(name)
            if name.startswith(_MODEL_GROUPS) and before and before not in found + waiting:
                waiting.append(before)
    return found


def _packed(chain: Chain, models: Sequence[Link]) -> list[Link]:
    """Returns the packed sequences that the end is, or that its models were trained on."""
    candidates = [chain.links[n] for m in models for n in m.manifest.inputs if n in chain.links]
    named = {link.stage: link for link in (*candidates, chain.end) if _has(link, _SPANS)}
    return list(named.values())


def _documents(chain: Chain, packed: Sequence[Link], models: Sequence[Link]) -> list[Link]:
    if _has(chain.end, _DOCUMENT):
        return [chain.end]
    starts = packed if packed or models else [chain.end]
    named = {link.stage: link for start in starts for link in chain.nearest(start, _DOCUMENT)}
    return list(named.values())


def _has(link: Link, columns: Sequence[str]) -> bool:
    return set(columns) <= set(link.columns())


def _tokens(packed: Sequence[Link], documents: Sequence[Link]) -> pl.LazyFrame | None:
    """Returns tokens by ``doc_id``; None where nothing is packed or spans name conversations."""
    shards = [path for link in packed for path in link.shards]
    if not shards:
        return None
    spans = (
        pl.scan_parquet(shards, glob=False)
        .select("spans")
        .explode("spans")
        .unnest("spans")
        .group_by("doc_id")
        .agg(pl.col("length").cast(pl.Int64).sum().alias("tokens"))
        .collect()
    )
    ids = [pl.scan_parquet(link.shards, glob=False).select("doc_id") for link in documents]
    known = pl.concat(ids).join(spans.lazy(), on="doc_id", how="semi").collect().height
    return spans.lazy() if known else None


def _grouped(documents: Sequence[Link], tokens: pl.LazyFrame | None, steps: list[Link]) -> Facts:
    rows = pl.concat(
        [
            pl.scan_parquet(link.shards, glob=False).select(
                "doc_id",
                "source",
                pl.col("license").str.strip_chars().replace("", None),
                pl.col("created").dt.year().alias("year"),
                pl.col("meta").str.json_path_match("$.language").alias("language"),
            )
            for link in documents
        ]
    )
    counted = tokens is not None
    if tokens is not None:
        rows = rows.join(tokens, on="doc_id", how="left").with_columns(
            pl.col("tokens").fill_null(0)
        )
    else:
        rows = rows.with_columns(tokens=pl.lit(0, pl.Int64))
    table = rows.drop("doc_id").collect()
    return Facts(
        steps,
        sources=_groups(table, "source", counted),
        licences=_groups(table, "license", counted),
        years=sorted(_groups(table, "year", counted), key=lambda group: group.name),
        languages=_languages(table),
    )


def _groups(table: pl.DataFrame, column: str, counted: bool) -> list[Group]:
    groups = (
        table.group_by(pl.col(column).cast(pl.String).fill_null("").alias("name"))
        .agg(
            pl.len().alias("documents"),
            pl.col("tokens").sum(),
            pl.col("license").unique().sort().alias("licences"),
            pl.col("year").min().alias("first"),
            pl.col("year").max().alias("last"),
        )
        .sort("documents", "name", descending=[True, False])
    )
    return [
        Group(
            name=row["name"],
            documents=row["documents"],
            tokens=row["tokens"] if counted else None,
            licences=tuple(row["licences"]),
            first_year=row["first"],
            last_year=row["last"],
        )
        for row in groups.iter_rows(named=True)
    ]


def _languages(table: pl.DataFrame) -> list[str]:
    # Books state "en-US" as well as "English"; only codes go into a card's metadata.
    codes = table.select(
        pl.col("language")
        .str.to_lowercase()
        .str.extract(r"^([a-z]{2,3})(?:[-_].*)?$")
        .alias("code")
    ).drop_nulls()
    counts = codes.group_by("code").len().sort("len", "code", descending=[True, False])
    return [str(code) for code in counts["code"]]


def step_reasons(steps: Sequence[Link]) -> list[tuple[str, str, int]]:
    """Returns (stage, reason, rows) of all that was rejected on the way, in order."""
    return [
        (link.stage, reason, rows)
        for link in steps
        for reason, rows in sorted(link.manifest.rejects.items(), key=lambda item: -item[1])
    ]
