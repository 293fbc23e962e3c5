"""Dates, ages and times."""

from __future__ import annotations

import re

from corpus.wikitext.page import Call, template

MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]


def written_date(year: str, month: str, day: str, day_first: bool) -> str:
    """Returns a date in words; parts may be missing; a month may be a name or a number."""
    if month.isdecimal() and len(month) < 3 and 1 <= int(month) <= 12:
        month = MONTHS[int(month) - 1]
    day = day.lstrip("0")
    if not month:
        return year
    if not day:
        return f"{month} {year}".strip()
    if day_first:
        return f"{day} {month} {year}".strip()
    return f"{month} {day}, {year}" if year else f"{month} {day}"


def _day_first(call: Call) -> bool:
    return call.get("df").lower() in ("y", "yes", "1", "true", "t", "on")


@template("birth date", "birth date and age", "bda", "birth-date", "birth-date and age", "dob",
          "death date", "death-date", "death date and age", "dda", "death-date and age",
          "start date", "start date and age", "start-date", "end date", "end date and age",
          "end-date", "film date", "release date", "birth year and age", "birth year",
          "death year and age", "launch date", "date of birth", "opening date", "sda",
          "startdate", "release date and age", "start date text",
          "birth based on age as of date", "birth date text", "death year",
          "disappeared date and age", "birth year and age2", "television date")  # fmt: skip
def _date_of(call: Call) -> str:
    first = call.get(1)
    if first and not first.isdecimal():
        # "4 March 1950" as one argument.
        return first
    if call.name == "death year and age" or "year" in call.name:
        return written_date(first, "" if "death" in call.name else call.get(2), "", True)
    if call.name == "death date and age" or call.name == "dda":
        return written_date(first, call.get(2), call.get(3), _day_first(call))
    return written_date(first, call.get(2), call.get(3), _day_first(call)) + _time(call)


def _time(call: Call) -> str:
    if not call.name.startswith(("start date", "end date", "launch date")) or not call.get(4):
        return ""
    clock = ":".join(part.zfill(2) for part in (call.get(4), call.get(5), call.get(6)) if part)
    zone = call.get(7)
    return f", {clock}" + (" (UTC)" if zone == "Z" else "") if ":" in clock else ""


@template("dts", "date table sorting", "sort date", "date sort", "dtsh text", "date", "datetime")
def _sorted_date(call: Call) -> str:
    if call.name == "date" and call.has(1) and not call.get(1).isdecimal():
        return call.get(1)
    if not call.has(2):
        iso = re.fullmatch(r"(\d{4})-(\d\d?)(?:-(\d\d?))?", call.get(1))
        if iso:
            return written_date(iso[1], iso[2], iso[3] or "", call.get("format") != "mdy")
        return call.get(1)
    first = call.get("format") == "dmy"
    if not call.get(1).isdecimal() or (len(call.get(1)) < 3 and call.get(3).isdecimal()):
        return " ".join(part for part in call.positional()[:3] if part)
    return written_date(call.get(1), call.get(2), call.get(3), first)


@template("dtsh", "current date", "currentdate", "time interval", "age nts", "age in days nts",
          "age in years nts", "time ago", "years or months ago", "years ago",
          "age in years and days nts", "current age", "year of", "julian day now", "countdown",
          "time")  # fmt: skip
def _nothing(call: Call) -> str:
    # Depends on the day of reading, or sorts only.
    return ""


@template("age", "age in years", "age in days", "age in years and days", "age as of date", "ayd",
          "age in years, months and days", "age in months", "age in weeks and days", "ageyd",
          "age in years, months, weeks and days", "age for infant", "age at date")  # fmt: skip
def _age(call: Call) -> str:
    numbers = [part for part in call.positional() if re.fullmatch(r"\d{1,4}", part)]
    if len(numbers) < 6 or call.name not in ("age", "age in years", "age at date"):
        return ""
    first, last = [int(n) for n in numbers[:3]], [int(n) for n in numbers[3:6]]
    return str(last[0] - first[0] - ((last[1], last[2]) < (first[1], first[2])))


@template("circa", "c.", "ca.", "ca", "approx circa", "c")
def _circa(call: Call) -> str:
    if not call.get(1):
        return "c. "
    text = f"c. {call.get(1)}"
    return f"{text} – c. {call.get(2)}" if call.get(2) else text


@template("floruit", "fl.", "fl", "flourished")
def _floruit(call: Call) -> str:
    return f"fl. {call.get(1)}" if call.get(1) else "fl. "


@template("reign", "r.", "ruled")
def _reign(call: Call) -> str:
    return "r. " + "–".join(part for part in (call.get(1), call.get(2)) if part)


@template("born", "b.", "died", "d.", "bap.", "born-in", "marriage", "married")
def _life(call: Call) -> str:
    if call.name in ("marriage", "married"):
        years = "–".join(part for part in (call.get(2), call.get(3)) if part)
        return f"{call.get(1)} (m. {years})" if years else call.get(1)
    return f"{call.name[0]}. {call.first('date', 1)}".strip()


@template("oldstyledate", "old style date", "osd", "oldstyledatedy", "oldstyledatedmy",
          "old style date dy", "oldstyledateny", "old style date ny", "o.s.")  # fmt: skip
def _old_style(call: Call) -> str:
    if call.name == "o.s.":
        return "O.S."
    date = f"{call.get(1)} {call.get(2)}".strip()
    return f"{date} [O.S. {call.get(3)}]" if call.get(3) else date


@template("ce", "bce", "bc", "ad", "ad2", "a.d.", "common era")
def _era(call: Call) -> str:
    era = {"ad2": "AD", "a.d.": "AD", "common era": "CE"}.get(call.name, call.name.upper())
    return f"{call.get(1)} {era}".strip()


@template("ma", "mya", "ga", "ka", "million years ago", "bya", "geologic time", "period span",
          "period start", "period end", "fossil range", "geological range", "fossilrange",
          "long fossil range", "ybp", "bp")  # fmt: skip
def _ages_ago(call: Call) -> str:
    unit = {"ma": "Ma", "mya": "million years ago", "ga": "Ga", "ka": "ka", "bp": "BP",
            "million years ago": "million years ago", "bya": "billion years ago",
            "ybp": "years BP"}.get(call.name)  # fmt: skip
    if unit is None or not call.get(1):
        return ""
    return f"{'–'.join(p for p in call.positional()[:2] if p)} {unit}"


@template("hr", "hrs", "duration", "min", "minute", "hour", "sec", "timestamp")
def _duration(call: Call) -> str:
    hours, minutes, seconds = (call.first("h", 1), call.first("m", 2), call.first("s", 3))
    if call.name == "min" and not call.get(2):
        return call.get(1)
    if call.name == "hr" and not call.get(1):
        return ""
    parts = [part for part in (hours, minutes, seconds) if part]
    return ":".join([parts[0], *(part.zfill(2) for part in parts[1:])]) if parts else ""
