from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from core.card_facts import gather, step_reasons
from core.card_plots import draw_card
from core.errors import InputError
from core.front_matter import split_front_matter
from core.full_card import CardOptions, cell, make_card
from core.licences import creative_commons, hub_licence, obligations
from core.lineage import follow, open_stage
from tests.made_run import documents, make_corpus, make_run, put_stage


@pytest.fixture
def run(tmp_path: Path) -> Path:
    make_corpus(tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Path) -> Path:
    """A run with sequences, conversations and a model, that tests only read."""
    run = tmp_path_factory.mktemp("made") / "run"
    make_run(run, tiny_folder)
    return run


def parts(run: Path, stage: str, options: CardOptions | None = None) -> tuple[dict[str, Any], str]:
    return split_front_matter(make_card(open_stage(run, stage), options or CardOptions()).text)


def test_the_metadata_of_documents(run: Path) -> None:
    front, text = parts(run, "corpus.normalize")
    assert front["license"] == ["cc-by-sa-4.0", "other", "unknown"]
    assert front["license_name"] == "as-stated-per-document"
    assert front["language"] == ["en"]
    assert front["size_categories"] == ["n<1K"]
    assert [config["config_name"] for config in front["configs"]] == ["default", "rejects"]
    assert text.startswith("# corpus.normalize\n\n3 documents as Markdown")


def test_tables_of_sources_licences_and_steps(run: Path) -> None:
    _, text = parts(run, "corpus.normalize")
    for line in (
        "| source | documents | licences as stated | years |",
        "| arxiv | 1 | http://arxiv.org/licenses/nonexclusive-distrib/1.0/ | 2009 |",
        "| notes\\|a b | 1 | not stated |  |",
        "| **all** | 3 | | |",
        "| CC-BY-SA-4.0 | `cc-by-sa-4.0` | 1 |",
        "| http://arxiv.org/licenses/nonexclusive-distrib/1.0/ | `other` | 1 |",
        "| not stated |  | 1 |",
        "| corpus.catalog | records | 2 | 1 | 1 | excluded_license 1 |",
        "| corpus.ocr | documents | 3 | 3 | 0 |  |",
        "| corpus.normalize | documents | 4 | 3 | 1 | empty_text 1 |",
    ):
        assert f"\n{line}\n" in text


def test_notices_and_limits(run: Path) -> None:
    _, text = parts(run, "corpus.normalize")
    for said in (
        "Attribution-ShareAlike",
        "Papers under arXiv's own licence",
        "Some documents state no licence",
        "Nougat. The weights that Meta publishes",
        "(nougat 1, textlayer 2)",
        "no decontamination step",
        "no deduplication step",
    ):
        assert said in text
    assert "not by a language model" not in text


def test_steps_that_were_taken_are_no_limits(run: Path) -> None:
    put_stage(run, "corpus.dedup_signatures", documents(), inputs=["corpus.normalize"])
    put_stage(run, "corpus.dedup_clusters", inputs=["corpus.dedup_signatures"])
    inputs = ["corpus.normalize", "corpus.dedup_clusters"]
    put_stage(run, "corpus.dedup", documents(), inputs=inputs)
    put_stage(run, "corpus.decontaminate", documents(), inputs=["corpus.dedup"])
    _, text = parts(run, "corpus.decontaminate")
    assert "decontamination step" not in text
    assert "deduplication step" not in text
    assert "<code>corpus.dedup_signatures</code>" in text, "what decided is listed as well"


def test_tokens_are_counted_by_source(made: Path) -> None:
    link = open_stage(made, "corpus.tokens")
    facts = gather(follow(link))
    tokens = {group.name: group.tokens for group in facts.sources}
    counted: dict[str, int] = {}
    names = {row["doc_id"]: row["source"] for t in documents() for row in t.to_pylist()}
    from core.shards import read_shard

    for path in link.shards:
        for spans in read_shard(path)["spans"].to_pylist():
            for span in spans:
                name = names[span["doc_id"]]
                counted[name] = counted.get(name, 0) + span["length"]
    assert tokens == counted
    assert sum(group.tokens or 0 for group in facts.licences) == sum(counted.values())
    assert [group.name for group in facts.years] == ["", "2009", "2024"]
    _, text = parts(made, "corpus.tokens")
    assert f"| **all** | 3 | {sum(counted.values())} | | |" in text
    assert "| input_ids | fixed_size_list" in text


def test_conversations_say_who_wrote_them(made: Path) -> None:
    front, text = parts(made, "synth.conversations")
    assert front["task_categories"] == ["text-generation"]
    assert "1 conversation from 3 documents of 3 sources" in text
    assert "Text of the step `synth.qa` was written by a language model (a-model)" in text
    front, _ = parts(made, "synth.qa")
    assert front["task_categories"] == ["question-answering"]


def test_the_card_of_a_model(made: Path) -> None:
    card = make_card(open_stage(made, "train.cpt"), CardOptions(repo="me/tiny"))
    front, text = split_front_matter(card.text)
    assert "license" not in front, "its training data's licences are not the model's"
    assert front["pipeline_tag"] == "text-generation"
    assert "configs" not in front
    assert 'AutoModelForCausalLM.from_pretrained("me/tiny")' in text
    assert "Of the text that the model was trained on:" in text
    assert "| last_loss | 2.5 |" in text
    steps = [link.stage for link in card.facts.steps]
    assert steps == [
        "corpus.catalog",
        "corpus.ocr",
        "corpus.normalize",
        "train.base",
        "corpus.tokens",
        "train.cpt",
    ]
    assert any("--license" in warning for warning in card.warnings)


def test_what_a_person_says_replaces_what_documents_state(run: Path) -> None:
    options = CardOptions("My data", ("odc-by",), ("en", "de"), "me/data", rejects=False)
    front, text = parts(run, "corpus.normalize", options)
    assert (front["license"], front["language"]) == ("odc-by", ["en", "de"])
    assert "license_name" not in front
    assert text.startswith("# My data\n")
    assert 'load_dataset("me/data", split="train")' in text
    assert '"rejects"' not in text


def test_the_same_run_gives_the_same_bytes(run: Path, tmp_path: Path) -> None:
    written = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        paths = make_card(open_stage(run, "corpus.normalize"), CardOptions()).write(tmp_path / name)
        written.append([(path.name, path.read_bytes()) for path in paths])
    assert [name for name, _ in written[0]] == ["README.md", "card.png"]
    assert written[0] == written[1]
    assert b"matplotlib" not in written[0][1][1].lower()


def test_nothing_to_draw(tmp_path: Path) -> None:
    put_stage(tmp_path, "corpus.other")
    facts = gather(follow(open_stage(tmp_path, "corpus.other")))
    (tmp_path / "card.png").write_bytes(b"old")
    assert not draw_card(facts, tmp_path / "card.png")
    assert not (tmp_path / "card.png").exists()


def test_history_that_is_gone_is_said(run: Path) -> None:
    shutil.rmtree(run / "corpus/catalog")
    card = make_card(open_stage(run, "corpus.normalize"), CardOptions())
    assert "Not followed further: corpus.catalog is not there." in card.text
    assert any("history is not complete" in warning for warning in card.warnings)


def test_reasons_by_step(run: Path) -> None:
    facts = gather(follow(open_stage(run, "corpus.normalize")))
    assert step_reasons(facts.steps) == [
        ("corpus.catalog", "excluded_license", 1),
        ("corpus.normalize", "empty_text", 1),
    ]


def test_a_damaged_shard_is_named(run: Path) -> None:
    link = open_stage(run, "corpus.normalize")
    link.shards[1].write_bytes(b"PAR1 nothing PAR1")
    with pytest.raises(InputError, match="cannot read"):
        make_card(link, CardOptions())


@pytest.mark.parametrize(
    ("stated", "name"),
    [
        (None, None),
        (" ", None),
        ("CC0-1.0", "cc0-1.0"),
        ("http://creativecommons.org/publicdomain/zero/1.0/", "cc0-1.0"),
        ("https://creativecommons.org/licenses/by-nc-sa/4.0/", "cc-by-nc-sa-4.0"),
        ("CC-BY-SA-3.0", "cc-by-sa-3.0"),
        (
            "Shared under Attribution-ShareAlike 3.0 Unported (CC BY-SA 3.0) license.",
            "cc-by-sa-3.0",
        ),
        ("CC BY-NC-ND 4.0", "cc-by-nc-nd-4.0"),
        ("CC BY-SA 2.5", "other"),
        ("http://arxiv.org/licenses/nonexclusive-distrib/1.0/", "other"),
        ("Public domain in the USA.", "other"),
        ("MIT", "mit"),
    ],
)
def test_licences_as_the_hub_names_them(stated: str | None, name: str | None) -> None:
    assert hub_licence(stated) == name


def test_what_licences_ask_for() -> None:
    assert creative_commons("CC BY-SA 2.5") == "cc-by-sa-2.5"
    assert obligations(["CC0-1.0", "MIT"]) == []
    (only,) = obligations(["CC BY 4.0"])
    assert "name the authors" in only
    said = " ".join(obligations(["CC-BY-NC-ND-4.0", None]))
    assert "-NC" in said
    assert "-ND" in said
    assert "state no licence" in said
    assert "ShareAlike" not in said


def test_cells_stay_cells() -> None:
    assert cell("a|b\nc <d> \\") == "a\\|b c &lt;d> \\\\"
    assert len(cell("x" * 500)) == 120
