"""The rules engine by example: one small passage per pattern."""

from __future__ import annotations

import json

import pytest

from core.errors import EngineError
from core.llm import GenerateRequest, ScoreRequest, open_engine
from core.llm.rules_qa import make_pairs
from core.llm.rules_text import split_sentences
from core.recipe.engine import Engine as EngineConfig

EXAMPLES = {
    "Jupiter is the largest planet in the Solar System.": {
        "What is the largest planet in the Solar System?": "Jupiter",
        "Which planet is the largest in the Solar System?": "Jupiter",
        "Tell me what Jupiter is.": "Jupiter is the largest planet in the Solar System.",
    },
    "The largest moon of Neptune is Triton.": {
        "What is the largest moon of Neptune?": "Triton",
        "Which moon of Neptune is the largest?": "Triton",
    },
    "Io is the most volcanically active body in the Solar System.": {
        "Which body is the most volcanically active in the Solar System?": "Io",
    },
    "The Great Red Spot is a giant storm.": {"What is the Great Red Spot?": "giant storm"},
    "The source of the energy of the Sun is nuclear fusion.": {
        "What is the source of the energy of the Sun?": "nuclear fusion",
    },
    "The main mirror of the telescope is 6.5 metres wide.": {
        "How wide is the main mirror of the telescope?": "6.5 metres",
    },
    "The period of Halley's Comet is about 76 years.": {
        "What is the period of Halley's Comet?": "76 years",
    },
    "A body that is too light for fusion is called a brown dwarf.": {
        "What is a body that is too light for fusion called?": "brown dwarf",
    },
    "Uranus was discovered by William Herschel in 1781.": {
        "Who discovered Uranus?": "William Herschel",
        "By whom was Uranus discovered?": "William Herschel",
    },
    "The first redshift was seen by Vesto Slipher.": {
        "Who saw the first redshift?": "Vesto Slipher",
    },
    "A quasar is powered by a supermassive black hole.": {
        "What is a quasar powered by?": "supermassive black hole",
    },
    "The axis of Uranus is tilted by about 98 degrees.": {
        "By how much is the axis of Uranus tilted?": "98 degrees",
    },
    "The clouds of Venus are made mostly of sulfuric acid.": {
        "What are the clouds of Venus mostly made of?": "sulfuric acid",
    },
    "The point L2 is named after Joseph-Louis Lagrange.": {
        "Who is the point L2 named after?": "Joseph-Louis Lagrange",
    },
    "Clyde Tombaugh discovered Pluto in 1930.": {
        "Who discovered Pluto?": "Clyde Tombaugh",
        "Who discovered Pluto in 1930?": "Clyde Tombaugh",
        "What did Clyde Tombaugh discover in 1930?": "Pluto",
    },
    "In 1963 Maarten Schmidt identified the first quasar.": {
        "Who identified the first quasar in 1963?": "Maarten Schmidt",
    },
    "The Juno spacecraft went into orbit around Jupiter in 2016.": {
        "Which spacecraft went into orbit around Jupiter?": "Juno",
    },
    "The rover Curiosity landed in Gale Crater in 2012.": {
        "Which rover landed in Gale Crater?": "Curiosity",
        "Where did the rover Curiosity land?": "Gale Crater",
    },
    "Mercury takes 88 days to orbit the Sun.": {
        "How long does Mercury take to orbit the Sun?": "88 days",
    },
    "Halley's Comet returns about every 76 years.": {
        "About how often does Halley's Comet return?": "every 76 years",
    },
    "Mars has two small moons.": {"How many small moons does Mars have?": "two"},
    "Mercury has a diameter of 4,879 kilometres.": {
        "What is the diameter of Mercury?": "4,879 kilometres",
    },
    "The quasar 3C 273 lies in the constellation Virgo.": {
        "Where does the quasar 3C 273 lie?": "constellation Virgo",
        "Which quasar lies in the constellation Virgo?": "3C 273",
    },
    "The Perseids come from Comet Swift-Tuttle.": {
        "What do the Perseids come from?": "Comet Swift-Tuttle",
    },
    "Iron oxide makes the surface of Mars red.": {
        "What makes the surface of Mars red?": "iron oxide",
    },
    "The Sun will become a red giant in about five billion years.": {
        "What will the Sun become in about five billion years?": "red giant",
    },
}


@pytest.mark.parametrize("sentence", EXAMPLES)
def test_pattern(sentence: str) -> None:
    found = {pair.question: pair.answer for pair in make_pairs(sentence, 50, seed=0)}
    assert found.items() >= EXAMPLES[sentence].items()


SKIPPED = [
    "It is the largest planet in the Solar System.",
    "These bands are clouds of ammonia.",
    "Is Jupiter the largest planet in the Solar System?",
    "# Jupiter is the largest planet",
    "| Jupiter | is the largest planet. |",
    "The redshift is $z = 2$ for this object.",
    "Jupiter also rotates faster.",
]


@pytest.mark.parametrize("passage", SKIPPED)
def test_nothing_is_made_of(passage: str) -> None:
    assert make_pairs(passage, 50, seed=0) == []


def test_a_cloze_hides_the_end() -> None:
    passage = "Geysers of nitrogen rise slowly from the icy surface of Triton."
    (cloze,) = [p for p in make_pairs(passage, 9, seed=0) if "___" in p.question]
    assert cloze.question.endswith("rise slowly from the icy surface of ___.")
    assert cloze.answer == "Triton"


def test_years_are_asked_for_in_two_ways() -> None:
    asked = {
        pair.question
        for seed in range(8)
        for pair in make_pairs("Uranus was discovered by William Herschel in 1781.", 9, seed)
        if pair.answer == "1781" and "___" not in pair.question
    }
    assert {question.split()[0] for question in asked} == {"In", "When"}


def test_sentences_keep_abbreviations_and_decimals_whole() -> None:
    passage = (
        "# Title\n\nGas, e.g. Helium, is 1.5 times\nas hot. J. C. Adams saw it.\n- One.\n- Two."
    )
    assert split_sentences(passage) == [
        "Gas, e.g. Helium, is 1.5 times as hot.",
        "J. C. Adams saw it.",
        "One.",
        "Two.",
    ]


def test_a_small_limit_still_covers_the_passage() -> None:
    passage = "Clyde Tombaugh discovered Pluto in 1930. Asaph Hall discovered Phobos in 1877."
    assert [p.answer for p in make_pairs(passage, 2, seed=0)] == ["Clyde Tombaugh", "Asaph Hall"]


def request(pairs: str = "5", seed: int = 3) -> GenerateRequest:
    inputs = {"title": "Planets", "passage": " ".join(EXAMPLES), "pairs": pairs}
    return GenerateRequest((), task="qa", inputs=inputs, seed=seed)


def test_the_engine_answers_in_json_and_says_what_it_is() -> None:
    engine = open_engine(EngineConfig(kind="rules"))
    assert engine.label == "rules (no language model)"
    few, many = engine.generate([request("5"), request("500")])
    pairs = json.loads(few.text)["pairs"]
    assert len(pairs) == 5
    assert all(set(pair) == {"question", "answer"} for pair in pairs)
    everything = json.loads(many.text)["pairs"]
    assert everything[:5] == pairs
    assert len(everything) > 2 * len(EXAMPLES)
    questions = [pair["question"].lower() for pair in everything]
    assert len(set(questions)) == len(questions)


def test_the_same_request_gives_the_same_text() -> None:
    engine = open_engine(EngineConfig(kind="rules"))
    assert engine.generate([request()]) == engine.generate([request()])


def test_what_it_cannot_do() -> None:
    engine = open_engine(EngineConfig(kind="rules"))
    with pytest.raises(EngineError, match="cannot do the task 'poem'"):
        engine.generate([GenerateRequest((), task="poem")])
    (score,) = engine.score([ScoreRequest("x")])
    assert "no model" in str(score.error)
    (answer,) = engine.generate([GenerateRequest((), task="qa")])
    assert "bad inputs" in str(answer.error)
