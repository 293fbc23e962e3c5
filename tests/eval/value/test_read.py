"""Tables as people write them, and what is refused."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from core.errors import InputError
from eval.value.read import read_dates, read_prices, read_scores


def write(tmp_path: Path, text: str, name: str = "table.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(text.encode("utf-8"))
    return path


def test_scores(tmp_path: Path) -> None:
    text = (
        "model,family,access,score_percent,value\nGPT-4,OpenAI,P,77.8,0.0\nA 8B,Us,open,81.9,4.12\n"
    )
    first, second = read_scores([write(tmp_path, text)])
    assert (first.name, first.family, first.access) == ("GPT-4", "OpenAI", "proprietary")
    assert second.access == "open"
    assert (second.score.value, second.score.half_width) == (81.9, pytest.approx(0.05))
    # 0.0 stands for 0.00, as the column has two decimals elsewhere.
    assert first.value is not None
    assert first.value.half_width == pytest.approx(0.005)


def test_semicolons_decimal_commas_byte_order_mark_comments_and_crlf(tmp_path: Path) -> None:
    text = "\ufeff# of our group\r\nModel;Score;Notes\r\n\r\nOurs 8B;81,9;good, cheap\r\n"
    (only,) = read_scores([write(tmp_path, text)])
    assert (only.name, only.score.value, only.family) == ("Ours 8B", 81.9, "other")
    assert only.score.half_width == pytest.approx(0.05)
    assert only.value is None


def test_percent_signs_quotes_tabs_and_typeset_minus(tmp_path: Path) -> None:
    text = 'model\tscore percent\tvalue\n"A ""big"" one"\t59.2%\t\u22122.12\n'
    (only,) = read_scores([write(tmp_path, text)])
    assert (only.name, only.score.value) == ('A "big" one', 59.2)
    assert only.value is not None
    assert only.value.value == -2.12


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("model,score\nA,eighty\n", "'eighty' is no number"),
        ("model,score\nA,\n", "there is no number"),
        ("model,score\nA,101\n", "no percentage"),
        ("model,score\nA,nan\n", "is no number"),
        ("model,score\n,80\n", "a row has no model"),
        ("model,score\nA,80\na,81\n", "there twice"),
        ("model,score\nGPT-4o,80\nGPT 4o,81\n", "there twice"),
        ("model,score\nA,0.81\nB,0.79\n", "look like shares"),
        ("model,score,access\nA,80,closed\n", "access 'closed'"),
        ("name,score\nA,80\n", "no column 'model'"),
        ("model,score\n", "no model"),
        ("", "no column 'model'"),
        ("model,score\nA, big,80\n", "3 cells under 2 columns"),
        ("model,score,Score\nA,80,70\n", "two columns are named 'score'"),
    ],
)
def test_refused_scores(tmp_path: Path, text: str, what: str) -> None:
    with pytest.raises(InputError, match=what):
        read_scores([write(tmp_path, text)])


def test_errors_name_the_line(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read_scores([write(tmp_path, "# two\nmodel,score\nA,80\n\nB,x\n")])
    assert caught.value.where.endswith("table.csv, line 5")


def test_a_missing_or_foreign_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_scores([tmp_path / "none.csv"])
    path = tmp_path / "x.csv"
    path.write_bytes(b"model,score\n\xff\xfe,80\n")
    with pytest.raises(InputError, match="cannot be read"):
        read_scores([path])


@pytest.mark.parametrize(
    "text",
    [
        "model,input_usd_per_1m_tokens,output_usd_per_1m_tokens\nGPT-4,30,60\n",
        "model,usd_per_0.1m_tokens\nGPT-4,4.5\n",
        "model,usd_per_1m_tokens\nGPT-4,45\n",
        "model,usd_per_0.1M_tokens,usd_per_1m_tokens\ngpt 4,,45\n",
    ],
)
def test_prices_in_three_ways(tmp_path: Path, text: str) -> None:
    assert read_prices(write(tmp_path, text), ["GPT-4"]) == {"gpt4": pytest.approx(4.5)}


@pytest.mark.parametrize(
    ("row", "what"),
    [("GPT-4,0,0", "above 0"), ("GPT-4,-1,3", "below 0"), ("GPT-4,1,", "there is no number")],
)
def test_refused_prices(tmp_path: Path, row: str, what: str) -> None:
    head = "model,input_usd_per_1m_tokens,output_usd_per_1m_tokens\n"
    with pytest.raises(InputError, match=what):
        read_prices(write(tmp_path, f"{head}{row}\n"), ["GPT-4"])


def test_an_unknown_name_names_the_nearest(tmp_path: Path) -> None:
    path = write(tmp_path, "model,usd_per_1m_tokens\nLlama 3.1 7B,1\n")
    with pytest.raises(InputError, match=r"'Llama 3\.1 7B'") as caught:
        read_prices(path, ["Llama 3.1 8B", "Qwen 7B"])
    assert "'Llama 3.1 8B'" in caught.value.remedy


def test_dates(tmp_path: Path) -> None:
    text = "model,released,source\nA,2023-03-14,x\nB,2025-05,x\nC,,not sure\n"
    found = read_dates(write(tmp_path, text), ["A", "B", "C"])
    assert found["a"].day == date(2023, 3, 14)
    assert (found["b"].text, found["b"].day) == ("2025-05", date(2025, 5, 15))
    assert "c" not in found


@pytest.mark.parametrize("text", ["2023-13", "May 2025", "2023-02-30", "20230314x"])
def test_refused_dates(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match="is no date"):
        read_dates(write(tmp_path, f"model,released\nA,{text}\n"), ["A"])
