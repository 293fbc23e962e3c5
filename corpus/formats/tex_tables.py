"""Tables of LaTeX: any of its environments to the one simple form that becomes a pipe table."""

from __future__ import annotations

import re

from corpus.formats.tex_stream import Stream

_RULE = re.compile(
    r"\\(?:hline|toprule|midrule|bottomrule|tableline|noalign|endhead|endfirsthead|endfoot"
    r"|endlastfoot|sidehead|cline|cmidrule|addlinespace|tablebreak|hhline|specialrule|morecmidrules"
    r"|noalign|firsthline|lasthline|pagebreak|newpage|tabularnewline)\b\*?"
)
_TAKE_ARGUMENT = ("cline", "cmidrule", "noalign", "hhline")
_DISPLAY = re.compile(r"\s*\$\$(.*?)\$\$\s*", re.S)
HEADER_END = "\x06"
MAX_COLUMNS = 200
_MAX_RULES = 40


def split_rows(text: str) -> list[list[str]]:
    r"""Returns cells of a tabular's content: rows end in ``\\``, cells in ``&``, outside groups."""
    rows: list[list[str]] = [[]]
    cell: list[str] = []
    depth = 0
    for match in _TABLE_TOKEN.finditer(text):
        token = match[0]
        if token == "{":
            depth += 1
        elif token == "}":
            depth -= 1
        if depth <= 0 and token == "&":
            rows[-1].append("".join(cell))
            cell = []
        elif depth <= 0 and token.startswith("\\\\"):
            rows[-1].append("".join(cell))
            cell = []
            rows.append([])
        else:
            cell.append(token)
    rows[-1].append("".join(cell))
    return rows


_TABLE_TOKEN = re.compile(r"\\\\(?:\*)?(?:[ \t]*\[[^\]\n]{0,40}\])?|\\.|[{}&]|[^\\{}&]+", re.S)


def clean_rows(text: str) -> tuple[list[list[str]], list[list[str]]]:
    """Returns (header rows, body rows) of a tabular's content, rules taken out.

    The header is what stands before the second rule, if it is short; a table's first rule is above
    its header.
    """
    rows: list[list[str]] = []
    rules: list[int] = []
    for cells in split_rows(text):
        first, ruled = _without_rules(cells[0])
        cleaned = [first, *(_without_rules(c)[0] for c in cells[1:])]
        if ruled:
            rules.append(len(rows))
        cleaned = [_cell(c) for c in cleaned]
        if any(c.strip() for c in cleaned):
            rows.append([c for cell in cleaned for c in _spread(cell)][:MAX_COLUMNS])
    header = next((r for r in rules if 0 < r <= 4 and r < len(rows)), 1 if len(rows) > 1 else 0)
    return rows[:header], rows[header:]


def _without_rules(cell: str) -> tuple[str, bool]:
    ruled = False
    for _ in range(_MAX_RULES):
        match = _RULE.search(cell)
        if match is None:
            break
        rest = Stream(cell[match.end() :])
        if match[0].lstrip("\\").rstrip("*") in _TAKE_ARGUMENT:
            rest.match(re.compile(r"\s*\([^)]*\)"))
            rest.option()
            rest.argument()
        else:
            rest.option()
            ruled = True
        remaining = []
        while (token := rest.next()) is not None:
            remaining.append(token)
        cell = cell[: match.start()] + "".join(remaining)
    if HEADER_END in cell:
        ruled = True
        cell = cell.replace(HEADER_END, "")
    return cell, ruled


def _cell(cell: str) -> str:
    # A cell is one line: paragraphs and display formulas inside it are flattened.
    cell = _DISPLAY.sub(r" $\1$ ", cell)
    return re.sub(r"\s+", " ", cell).strip()


_MULTI = re.compile(r"\s*\x07(\d+)\x07")


def _spread(cell: str) -> list[str]:
    r"""Returns a cell with the empty ones that a ``\multicolumn`` stands for."""
    match = _MULTI.match(cell)
    if match is None:
        return [cell]
    width = min(max(int(match[1][:4]), 1), MAX_COLUMNS)
    return [cell[match.end() :].strip()] + [""] * (width - 1)


def render(header: list[list[str]], body: list[list[str]]) -> str:
    """Returns a plain tabular with one header row, or paragraphs where there is one column."""
    columns = max((len(r) for r in [*header, *body]), default=0)
    if columns == 0:
        return ""
    if columns == 1:
        return "\n\n" + "\n\n".join(r[0] for r in [*header, *body]) + "\n\n"
    padded = [r + [""] * (columns - len(r)) for r in body]
    head = _merge([r + [""] * (columns - len(r)) for r in header]) or [""] * columns
    keep = [i for i in range(columns) if any(r[i] for r in [head, *padded])]
    lines = [" & ".join(head[i] for i in keep) + r" \\ \hline"]
    lines += [" & ".join(r[i] for i in keep) + r" \\" for r in padded]
    return (
        f"\n\n\\begin{{tabular}}{{{'l' * len(keep)}}}\n" + "\n".join(lines) + "\n\\end{tabular}\n\n"
    )


def _merge(rows: list[list[str]]) -> list[str]:
    if not rows:
        return []
    return [" ".join(dict.fromkeys(c for c in column if c)) for column in zip(*rows, strict=True)]
