"""Data contracts: the Arrow schema of every kind of row. Columns are named with their units.

Offsets named ``*_char`` count Python characters (Unicode code points) from the start of ``text``;
``end`` is exclusive.
"""

from __future__ import annotations

import pyarrow as pa

PAGE = pa.struct(
    [
        ("page", pa.int32()),
        ("start_char", pa.int64()),
        ("end_char", pa.int64()),
        ("method", pa.string()),
        ("quality", pa.float64()),
    ]
)
"""One page's part of a text, how it was read (``textlayer``, ``nougat``, ...), and how well: from 0
to 1 as the method measures it, null where it does not.
"""

ENTRY = pa.schema(
    [
        pa.field("doc_id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        ("number", pa.int32()),
        ("kind", pa.string()),
        ("split", pa.bool_()),
        ("file", pa.string()),
        ("fallback", pa.string()),
        ("sha256", pa.string()),
        ("expected", pa.int32()),
        ("title", pa.string()),
        ("license", pa.string()),
        ("created", pa.date32()),
        ("url", pa.string()),
        ("meta", pa.string()),
    ]
)
"""Something to read: a file, or a stretch of a dump, that gives ``expected`` documents or so.

``number`` is its source's place in the recipe, ``kind`` names the reader, ``split`` asks for a
document per chapter, ``file`` and ``fallback``
(read where the first fails) are JSON strings of paths from the recipe's root; ``sha256`` is the
content's hash where the catalog knows it.
"""

DOCUMENT = pa.schema(
    [
        pa.field("doc_id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        ("title", pa.string()),
        ("text", pa.string()),
        ("license", pa.string()),
        ("created", pa.date32()),
        ("url", pa.string()),
        ("meta", pa.string()),
        ("pages", pa.list_(PAGE)),
    ]
)
"""A document. ``text`` is Markdown, null until a PDF has been read; ``meta`` is a JSON object."""

DOCUMENT_STAGES = (
    "corpus.decontaminate",
    "corpus.dedup",
    "corpus.filter",
    "corpus.repetition",
    "corpus.normalize",
    "corpus.ocr",
    "corpus.ingest",
)
"""Stages whose rows are documents, the last one first; a recipe may leave some out."""

PARAGRAPH_SCORE = pa.schema(
    [
        pa.field("doc_id", pa.string(), nullable=False),
        ("paragraph", pa.int32()),
        ("start_char", pa.int64()),
        ("end_char", pa.int64()),
        ("tokens", pa.int32()),
        ("perplexity", pa.float64()),
    ]
)
"""A paragraph's perplexity, exp(-mean log P) per token; null where nothing could be scored."""

SPAN = pa.struct(
    [
        ("doc_id", pa.string()),
        ("doc_start_token", pa.int64()),
        ("start", pa.int32()),
        ("length", pa.int32()),
    ]
)


def token_sequence(sequence_length: int) -> pa.Schema:
    """Returns the schema of packed sequences of ``sequence_length`` tokens.

    ``loss_mask`` is 1 where a token is trained; ``position_ids`` restart at each document;
    ``spans`` say which tokens of which document fill which part of the sequence.
    """
    return pa.schema(
        [
            ("input_ids", pa.list_(pa.int32(), sequence_length)),
            ("loss_mask", pa.list_(pa.uint8(), sequence_length)),
            ("position_ids", pa.list_(pa.int32(), sequence_length)),
            ("spans", pa.list_(SPAN)),
        ]
    )


QA_PAIR = pa.schema(
    [
        pa.field("qa_id", pa.string(), nullable=False),
        ("doc_id", pa.string()),
        ("chunk_start_char", pa.int64()),
        ("chunk_end_char", pa.int64()),
        ("question", pa.string()),
        ("answer", pa.string()),
        ("model", pa.string()),
        ("prompt_sha256", pa.string()),
    ]
)

QA_SCORED = pa.schema(
    [
        *QA_PAIR,
        ("correctness", pa.int8()),
        ("stand_alone", pa.int8()),
        ("pertinence", pa.int8()),
        ("overall", pa.int8()),
        ("expected_scores", pa.list_(pa.float64())),
        ("judge", pa.string()),
        ("verdict_text", pa.string()),
        ("verdict_prompt_sha256", pa.string()),
    ]
)
"""A judged pair. The four scores are integers; ``expected_scores`` are the same four as means under
the judge's probabilities, null where they were not asked for; ``verdict_text`` is what it wrote.
"""

SUMMARY = pa.schema(
    [
        pa.field("doc_id", pa.string(), nullable=False),
        ("title", pa.string()),
        ("short", pa.string()),
        ("summary", pa.string()),
        ("model", pa.string()),
        ("prompt_sha256", pa.string()),
    ]
)
"""A document's summary; ``short`` is one or two sentences of it, for prompts about its passages."""

MESSAGE = pa.struct([("role", pa.string()), ("content", pa.string())])

CONVERSATION = pa.schema(
    [
        pa.field("conv_id", pa.string(), nullable=False),
        ("dataset", pa.string()),
        ("messages", pa.list_(MESSAGE)),
        ("reasoning", pa.bool_()),
        ("doc_ids", pa.list_(pa.string())),
    ]
)

MCQ_ITEM = pa.schema(
    [
        pa.field("item_id", pa.string(), nullable=False),
        ("question", pa.string()),
        ("choices", pa.list_(pa.string())),
        ("answer", pa.int32()),
        ("topic", pa.string()),
    ]
)
"""A multiple-choice question; ``answer`` is the 0-based choice, null where there is no key."""

QUESTION_CLEANED = pa.schema(
    [
        *MCQ_ITEM,
        ("verdict", pa.string()),
        ("reason", pa.string()),
        ("original", pa.string()),
        ("proposed", pa.string()),
        ("doubts", pa.list_(pa.string())),
        ("model", pa.string()),
        ("prompt_sha256", pa.string()),
    ]
)
"""A question that stays, with the verdict of a model (``keep`` or ``rewrite``) and its reason.

``original`` is the question as its file has it, ``proposed`` how the model would write it (null
where it stays). ``question`` is the one to use: the proposed one if nothing speaks against it; what
does is in ``doubts``. Choices and key are those of the file.
"""

PREDICTION = pa.schema(
    [
        pa.field("item_id", pa.string(), nullable=False),
        ("benchmark", pa.string()),
        ("model", pa.string()),
        ("mode", pa.string()),
        ("permutation", pa.int32()),
        ("order", pa.list_(pa.int32())),
        ("choice", pa.int32()),
        ("correct", pa.bool_()),
        ("logprobs", pa.list_(pa.float64())),
        ("raw_text", pa.string()),
        ("read_by", pa.string()),
    ]
)
"""A model's answer to a multiple-choice question.

Choices are numbered from 0 as the file has them, however they were shown: ``order`` has the choices
in the order shown, and permutation 0 is the file's own order, the only one that scores count.
``logprobs`` has one score per choice (nats, as compared: normalised the way the recipe says; none
where the answer was written), ``choice`` the best of them or the one read from ``raw_text`` (null
where none could be read, which counts as wrong), ``read_by`` the rule that read it. ``correct`` is
null where there is no key.
"""

HELDOUT_SCORE = pa.schema(
    [
        pa.field("doc_id", pa.string(), nullable=False),
        ("set", pa.string()),
        ("model", pa.string()),
        ("tokens", pa.int64()),
        ("bytes", pa.int64()),
        ("negative_log_likelihood", pa.float64()),
    ]
)
"""Summed negative log-likelihood (nats) of a held-out document over its scored tokens.

``bytes`` is the document's length in UTF-8: likelihood per byte compares models whose tokenizers
differ, which likelihood per token does not.
"""

MERGE_SCORE = pa.schema(
    [
        pa.field("weight", pa.float64(), nullable=False),
        pa.field("benchmark", pa.string(), nullable=False),
        ("group", pa.string()),
        ("correct", pa.int64()),
        ("total", pa.int64()),
        ("accuracy", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
    ]
)
"""A benchmark's score of one point of a merge sweep; ``weight`` is the second model's.

``total`` counts questions with a key, those that the model could not answer included; ``low`` and
``high`` are the 95% Wilson interval. Accuracy is null where no question has a key.
"""

REJECT = pa.schema(
    [
        pa.field("doc_id", pa.string(), nullable=False),
        pa.field("stage", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        ("detail", pa.string()),
        ("text", pa.string()),
    ]
)
"""A row that left the data: which, in which stage, why, and what it said."""
