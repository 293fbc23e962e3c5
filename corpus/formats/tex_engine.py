"""LaTeX of any dialect to the plain LaTeX that pandoc reads without losing a word.

One pass over the tokens: macros are expanded, commands of classes and packages are replaced by what
they say, citations and references become text, floats become captions and tables. What is left is
paragraphs, headings, lists, simple tables and math. Unknown commands lose their name, never their
arguments' text.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from corpus.formats.tex_macros import Macro, arguments, substitute
from corpus.formats.tex_stream import Runaway, Stream
from corpus.formats.tex_words import (
    DROPPED,
    MATH_SYMBOLS,
    PASSED,
    SYMBOLS,
    TAKES_ARGUMENT,
    WORDS,
)

_MAX_EXPANSIONS = 100_000
_OFTEN = 2_000
_MAX_OUTPUT_CHARS = 30_000_000

Handler = Callable[["Engine"], None]
Ending = Callable[["Engine", "Scope"], None]


@dataclass
class Scope:
    """One environment that gathers its content before it is written.

    Args:
        name: of the environment.
        out: what it holds so far.
        math_outside: whether it stands in math.
        end: called with the engine and this scope when it closes.
        depth: open groups inside.
        facts: what commands inside say of it, such as captions.
        opened_math: its content is math from its start.
        argument: it is the argument of a command, processed on its own.
    """

    name: str
    math_outside: bool = False
    end: Ending | None = None
    out: list[str] = field(default_factory=list)
    depth: int = 0
    facts: dict[str, list[str]] = field(default_factory=dict)
    opened_math: bool = False
    argument: bool = False

    def text(self) -> str:
        """Returns what it holds, its groups closed."""
        closing = "}" * self.depth
        self.depth = 0
        return "".join(self.out) + closing


class Engine:
    """State of one pass over a document."""

    def __init__(self, handlers: dict[str, Handler], environments: dict[str, Handler]) -> None:
        self.handlers = handlers
        self.environments = environments
        self.stream = Stream("")
        self.macros: dict[str, Macro] = {}
        self.switches: dict[str, bool] = {}
        self.user_environments: dict[str, tuple[Macro, Macro]] = {}
        self.scopes: list[Scope] = [Scope("")]
        self.math = False
        self.facts: dict[str, list[str]] = {}
        self.labels: dict[str, tuple[str, str]] = {}
        self.current_label: tuple[str, str] = ("section", "")
        self.counters: Counter[str] = Counter()
        self.appendix = False
        self.cited: dict[str, int] = {}
        self.citations: dict[str, tuple[str, str]] = {}
        self.textual_cite = True
        self.new_first = False
        self.acronyms: dict[str, tuple[str, str]] = {}
        self.acronyms_seen: set[str] = set()
        self.unknown: Counter[str] = Counter()
        self.in_body = False
        self.stopped = False
        self.conditionals = 0
        self.banned: set[str] = set()
        self._uses: Counter[str] = Counter()
        self._written = 0

    @property
    def scope(self) -> Scope:
        """The innermost environment that gathers content."""
        return self.scopes[-1]

    def inside(self, *names: str) -> Scope | None:
        """Returns the innermost open scope of one of these names."""
        for scope in reversed(self.scopes):
            if scope.name in names:
                return scope
        return None

    def emit(self, text: str) -> None:
        """Writes LaTeX into the innermost scope."""
        if not text:
            return
        out = self.scope.out
        # \alpha followed by a letter that came out of a macro is not one longer command.
        if text[0].isalpha() and out and _ENDS_IN_COMMAND.search(out[-1]):
            out.append(" ")
        out.append(text)
        self._written += len(text)
        if self._written > _MAX_OUTPUT_CHARS:
            raise Runaway

    def open(self, name: str, end: Ending, math: bool | None = None) -> None:
        """Starts gathering an environment's content."""
        self.scopes.append(Scope(name, self.math, end))
        if len(self.scopes) > 200:
            raise Runaway
        if math is not None:
            self.math = math

    def close(self, name: str) -> bool:
        """Ends the innermost environment of this name, and those left open inside it."""
        for scope in reversed(self.scopes[1:]):
            # What stands inside an argument cannot end what is open around it.
            if scope.argument and not (scope.name == name and scope is self.scope):
                return False
            if scope.name == name:
                break
        else:
            return False
        while True:
            scope = self.scopes.pop()
            self.math = scope.math_outside
            if scope.end is not None:
                scope.end(self, scope)
            if scope.name == name:
                return True

    def expand(self, text: str, math: bool = False, name: str = "expand") -> str:
        """Returns a piece of source processed on its own: an argument, a caption."""
        outer, self.stream = self.stream, Stream(text)
        outer_math, self.math = self.math, math
        count = len(self.scopes)
        self.scopes.append(Scope(name, math, opened_math=math, argument=True))
        if count > 100:
            raise Runaway
        try:
            self._loop()
            while len(self.scopes) > count + 1:
                self.close(self.scope.name)
            return self.scope.text()
        finally:
            del self.scopes[count:]
            self.stream, self.math = outer, outer_math

    def run(self, text: str) -> str:
        """Returns a whole document processed.

        Raises:
            Runaway: its macros expand without end.
        """
        self.stream = Stream(text)
        self._loop()
        while len(self.scopes) > 1:
            self.close(self.scope.name)
        self.stopped = False
        return self.scope.text()

    def _loop(self) -> None:
        while not self.stopped and (token := self.stream.next()) is not None:
            first = token[0]
            if first == "\\":
                self.command(token)
            elif first in "{}":
                self._brace(first)
            elif first == "$":
                self._dollar(token)
            elif first in "&#_^~":
                self._special(first)
            elif first == "\n" and len(token) > 1:
                self._paragraph()
            elif self.math and not self.scope.opened_math:
                # A line end inside a formula is a blank.
                self.emit(token.replace("\n", " "))
            else:
                self.emit(token)

    def _paragraph(self) -> None:
        # TeX ends math at an empty line too; a stray dollar must not turn the rest into math.
        if self.scope.name == "equation":
            self.close("equation")
        elif self.math and not self.scope.opened_math:
            self.math = False
            self.emit("$")
        self.emit("\n" if self.math else "\n\n")

    def _brace(self, brace: str) -> None:
        scope = self.scope
        if brace == "{":
            scope.depth += 1
        elif scope.depth == 0:
            return
        else:
            scope.depth -= 1
        self.emit(brace)

    def _dollar(self, token: str) -> None:
        display = self.scope.name == "equation" and self.math
        if token == "$$" and self.math and not display:
            # The end of one formula and the start of the next.
            self.emit("$ $")
        elif token == "$$" and not display:
            self.environments["displaymath"](self)
        elif display:
            # Also "$" where "$$" was meant to end the display.
            self.close("equation")
        else:
            self.math = not self.math
            self.emit("$")

    def _special(self, char: str) -> None:
        if self.math:
            self.emit(char)
        elif char == "~":
            self.emit(" ")
        elif char == "&" and self.inside("tabular"):
            self.emit("&")
        else:
            self.emit("\\" + char if char != "^" else "\\^{}")

    def command(self, token: str) -> None:
        """Handles one control sequence."""
        name = token[1:]
        word = name.isalpha() and name.isascii()
        macro = self.macros.get(name)
        if macro is not None:
            self._use(name, macro, word)
            return
        if word and name.startswith("if") and self._conditional(name):
            return
        self.primitive(name, word)

    def _conditional(self, name: str) -> bool:
        if name in NOT_CONDITIONALS or name in self.handlers:
            return False
        self.facts["if"] = [name]
        self.handlers["if*"](self)
        return True

    def primitive(self, name: str, word: bool = True) -> None:
        """Handles a command that no macro of the document defines."""
        if name in self.handlers:
            self.handlers[name](self)
        elif name in SYMBOLS:
            self._symbol(name)
        elif name in DROPPED and not (self.math and name in _MEANS_SPACE):
            self._arguments(DROPPED[name])
        elif self.math:
            self.emit("\\" + name)
        elif name in WORDS:
            spec, template = WORDS[name]
            values = self._arguments(spec)
            if not spec:
                self._swallow_space()
            self.stream.push(substitute(template, values))
        elif not word:
            self._control_symbol(name)
        elif name in PASSED:
            self.emit("\\" + name)
        elif name in MATH_SYMBOLS:
            self._math_word(name)
        else:
            self._unknown(name)

    def _swallow_space(self) -> None:
        if self.stream.peek(2) == "{}":
            self.stream.argument()
        else:
            self.stream.skip_space()

    def _symbol(self, name: str) -> None:
        if self.stream.peek(2) == "{}":
            self.stream.argument()
        text, math = SYMBOLS[name]
        if not self.math:
            self.stream.skip_space()
        self.emit(math if self.math else text)

    def _math_word(self, name: str) -> None:
        if name in TAKES_ARGUMENT:
            self.emit(f"$\\{name}{{{self.expand(self.stream.argument(), math=True)}}}$")
        else:
            self.stream.skip_space()
            self.emit(f"$\\{name}$")

    def _control_symbol(self, name: str) -> None:
        if name in ",;:> \n\t/":
            self.emit("" if name == "/" else " ")
        elif name in "!-@":
            return
        else:
            self.emit("\\" + name)

    def _unknown(self, name: str) -> None:
        self.unknown[name] += 1
        if self.in_body:
            self.stream.option()
        # Its name is dropped; groups that follow stay as plain groups, so their text is read on.
        # Inside a sentence it is most likely a name whose definition is missing (\\gaia).
        if self.stream.peek() != "{" or self.stream.peek(2) == "{}":
            within = bool(self.scope.out) and not self.scope.out[-1].endswith("\n")
            if self.in_body and within and self.stream.peek() not in ("\n", ""):
                self.emit(name)
            else:
                self.stream.skip_space()

    def _arguments(self, spec: str) -> list[str]:
        values = []
        for kind in spec:
            if kind == "*":
                self.stream.star()
            elif kind == "o":
                self.stream.option()
            else:
                values.append(self.stream.argument())
        return values

    def _use(self, name: str, macro: Macro, word: bool) -> None:
        self._uses[name] += 1
        if self._uses[name] % 1000 == 0 and self._uses.total() > _MAX_EXPANSIONS:
            raise Runaway(*self._often())
        if macro.primitive is not None:
            self.primitive(macro.primitive, macro.primitive.isalpha())
            return
        if word and not macro.spec:
            # TeX skips blanks after a command's name.
            self.stream.skip_space()
        values = arguments(self.stream, macro)
        if macro.lookup is not None and values:
            self.stream.push(macro.lookup.get(values[0].strip(), ""))
            return
        body = substitute(macro.body, values)
        if macro.body.rstrip().endswith("\\xspace") and not self.math:
            body = body.rstrip()[: -len("\\xspace")]
            following = self.stream.peek()
            # Blanks were skipped with the name: what follows decides whether one stood there.
            if (following and following not in ".,;:!?'/)]}~-\\{" and not following.isspace()) or (
                following == "\\" and re.match(r"\\[A-Za-z]", self.stream.peek(2))
            ):
                body += " "
        try:
            self.stream.push(body)
        except Runaway:
            raise Runaway(name, *self._often()) from None

    def _often(self) -> list[str]:
        """Returns the macros that a runaway expansion went through."""
        often = [name for name, uses in self._uses.items() if uses > _OFTEN]
        return often or [self._uses.most_common(1)[0][0]]


_ENDS_IN_COMMAND = re.compile(r"\\[A-Za-z]+$")
_MEANS_SPACE = frozenset(["displaystyle", "hspace", "phantom", "hphantom", "vphantom", "notag"])
NOT_CONDITIONALS = frozenset(
    ["iff", "ifthenelse", "ifblank", "ifstrempty", "ifstrequal", "iftoggle", "ifZatZstar"]
)
"""Commands that begin like a TeX conditional and are none."""
