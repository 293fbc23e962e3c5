"""Which headings stand above which paragraphs."""

from __future__ import annotations

import pytest

from core.sections import is_named, section_name, split_sections


def _found(text: str, *names: str) -> list[tuple[tuple[str, ...], list[str]]]:
    return [
        (s.path, [text[b.start_char : b.end_char] for b in s.blocks])
        for s in split_sections(text, names)
    ]


def test_headings_nest_by_level() -> None:
    text = "Front.\n\n# A\n\nOne.\n\nTwo.\n\n### B ###\n\nThree.\n\n## **C**\n\nFour.\n\n# D"
    assert _found(text) == [
        ((), ["Front."]),
        (("A",), ["# A", "One.", "Two."]),
        (("A", "B"), ["### B ###", "Three."]),
        (("A", "C"), ["## **C**", "Four."]),
        (("D",), ["# D"]),
    ]
    section = split_sections(text)[1]
    assert text[section.start_char : section.end_char] == "# A\n\nOne.\n\nTwo."
    assert [block.heading for block in section.blocks] == [True, False, False]


def test_headings_need_no_blank_lines() -> None:
    text = "# A\nOne\ntwo.\n## B\nThree.\n\nTitle\n=====\nFour.\n\nPart\n---"
    assert _found(text) == [
        (("A",), ["# A", "One\ntwo."]),
        (("A", "B"), ["## B", "Three."]),
        (("Title",), ["Title\n=====", "Four."]),
        (("Title", "Part"), ["Part\n---"]),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "```\n# comment\n\n# another\n```",
        "Words\n```\n# comment\n```",
        "$$\n# x\n$$",
        "#hashtag",
        "    # indented code",
        "# " + "long " * 100,
        "| a | b |\n| --- | --- |",
        "- item\n---",
        "",
        "  \n\n ",
    ],
)
def test_what_is_no_heading(text: str) -> None:
    assert [path for path, _ in _found(text)] == ([()] if text.strip() else [])


def test_a_name_that_stands_alone_is_a_heading_below_all_others() -> None:
    text = "## End\n\nWords.\n\n**REFERENCES**\n\n[1] A.\n\n## Appendix\n\nMore."
    assert _found(text, "references") == [
        (("End",), ["## End", "Words."]),
        (("End", "REFERENCES"), ["**REFERENCES**", "[1] A."]),
        (("Appendix",), ["## Appendix", "More."]),
    ]
    assert [path for path, _ in _found(text)] == [("End",), ("Appendix",)]


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("6. ACKNOWLEDGEMENTS", "acknowledgements"),
        ("**References:**", "references"),
        ("IV. Data & Code  Availability", "data and code availability"),
        ("A.2 Notes", "a.2 notes"),
        ("B. Notes", "notes"),
        ("3.1.2 Results", "results"),
        ("A note", "a note"),
        ("Author\u2019s \ufb01le", "author's file"),
        ("", ""),
    ],
)
def test_names_are_compared_without_numbers_case_and_marks(title: str, name: str) -> None:
    assert section_name(title) == name


def test_a_heading_may_list_several_names() -> None:
    names = {"funding", "data availability", "references and notes"}
    assert is_named("8. Funding, Data Availability", names)
    assert is_named("Funding and data availability", names)
    assert is_named("References and notes", names)
    assert not is_named("Funding and results", names)
    assert not is_named("", names)


def test_long_lines_take_no_time() -> None:
    text = "# " + " " * 200_000 + "x\n" + "a " * 200_000 + "\n==="
    assert len(split_sections(text)) == 1
