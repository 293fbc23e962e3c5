"""The arithmetic of ``{{#expr:}}``: numbers, the four operations, powers, comparisons, rounding."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable

_TOKEN = re.compile(
    r"\s*(?:(\d+\.?\d*(?:e[+-]?\d+)?|\.\d+(?:e[+-]?\d+)?)|(<=|>=|<>|!=|[-+*/^()<>=]|[a-z]+))",
    re.IGNORECASE,
)
_MAX_CHARS = 500

Operation = Callable[[float, float], float]
# Binding strength and meaning, after MediaWiki's ExprParser.
_BINARY: dict[str, tuple[int, Operation]] = {
    "or": (1, lambda a, b: float(bool(a) or bool(b))),
    "and": (2, lambda a, b: float(bool(a) and bool(b))),
    "=": (3, lambda a, b: float(a == b)),
    "!=": (3, lambda a, b: float(a != b)),
    "<>": (3, lambda a, b: float(a != b)),
    "<": (3, lambda a, b: float(a < b)),
    ">": (3, lambda a, b: float(a > b)),
    "<=": (3, lambda a, b: float(a <= b)),
    ">=": (3, lambda a, b: float(a >= b)),
    "round": (4, lambda a, b: round_half_up(a, int(b))),
    "+": (5, operator.add),
    "-": (5, operator.sub),
    "*": (6, operator.mul),
    "/": (6, operator.truediv),
    "div": (6, operator.truediv),
    "mod": (6, math.fmod),
    "^": (7, operator.pow),
}
_UNARY: dict[str, Callable[[float], float]] = {
    "-": operator.neg,
    "+": operator.pos,
    "not": lambda a: float(not a),
    "abs": abs,
    "floor": math.floor,
    "ceil": math.ceil,
    "trunc": math.trunc,
    "sqrt": math.sqrt,
    "ln": math.log,
    "exp": math.exp,
    "sin": math.sin,
    "cos": math.cos,
    "tan": math.tan,
}


def round_half_up(value: float, digits: int) -> float:
    """Rounds halves away from zero, as MediaWiki does; ``digits`` may be negative."""
    digits = max(-300, min(digits, 300))
    scaled = abs(value) * 10.0**digits if digits >= 0 else abs(value) / 10.0**-digits
    if not math.isfinite(scaled):
        return value
    # The smallest nudge: 2.675 is a little less than its decimal digits say.
    whole = math.floor(scaled * (1 + 1e-14) + 0.5)
    result = whole / 10.0**digits if digits >= 0 else whole * 10.0**-digits
    return math.copysign(result, value)


class _Reader:
    def __init__(self, tokens: list[str]) -> None:
        self._tokens, self._next = tokens, 0

    def peek(self) -> str:
        return self._tokens[self._next] if self._next < len(self._tokens) else ""

    def take(self) -> str:
        token = self.peek()
        self._next += 1
        return token

    def expression(self, strength: int = 0) -> float:
        value = self._operand()
        while (entry := _BINARY.get(self.peek())) and entry[0] > strength:
            self.take()
            value = float(entry[1](value, self.expression(entry[0])))
        return value

    def _operand(self) -> float:
        token = self.take()
        if token == "(":
            value = self.expression()
            if self.take() != ")":
                raise ValueError("bracket")
            return value
        if token in ("pi", "e"):
            return math.pi if token == "pi" else math.e
        if token in _UNARY:
            return float(
                _UNARY[token](self.expression(7) if token not in "+-" else self._operand())
            )
        return float(token)


def evaluate(source: str) -> float | None:
    """Returns an expression's value; None where it is no expression or has no finite value."""
    source = source.strip().lower().replace("−", "-").replace("×", "*")
    if not source or len(source) > _MAX_CHARS:
        return None
    tokens, position = [], 0
    while position < len(source):
        match = _TOKEN.match(source, position)
        if not match:
            return None
        tokens.append(match.group(1) or match.group(2))
        position = match.end()
    reader = _Reader(tokens)
    try:
        value = reader.expression()
    except (ValueError, ArithmeticError, TypeError, RecursionError):
        return None
    # A negative number to a broken power is complex in Python and an error in MediaWiki.
    if reader.peek() or isinstance(value, complex) or not math.isfinite(value):
        return None
    return value
