"""``--verify-diagnostics``: compares what MLIR says with ``// expected-error@+1 {{...}}`` comments, by MLIR's rules.

A comment expects one diagnostic of its kind (error, warning, remark, note) whose message contains the text in braces:

    // expected-error {{on this line}}
    // expected-error@+2 {{two lines down}}           also @-1, or @12 for line 12
    // expected-warning@above {{on the closest line above that holds no such comment}}    also @below
    // expected-note@unknown {{without a location}}
    // expected-error-re {{literal text with {{[0-9]+}} regular expressions in inner braces}}
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from passes.errors import UserError, Where

if TYPE_CHECKING:
    from passes._mlir import Diagnostic

_COMMENT = re.compile(
    r"expected-(?P<kind>error|warning|remark|note)(?P<re>-re)? *"
    r"(?:@(?P<place>[+-]?\d+|above|below|unknown))? *\{\{(?P<text>.*)\}\}\s*$"
)
_INNER = re.compile(r"\{\{(.*?)\}\}")
# How MLIR starts the note that shows the op an error is about; mlir-opt turns that note off when it compares.
_PRINTED_OP = "see current operation: "


@dataclass(frozen=True)
class Expected:
    """One comment: the ``line`` its diagnostic is expected on (0: no location) and the ``comment``'s own line."""

    kind: str
    line: int
    comment: int
    pattern: re.Pattern[str]
    text: str

    def matches(self, kind: str, line: int, message: str) -> bool:
        """Whether this comment expects the diagnostic."""
        return self.kind == kind and self.line == line and bool(self.pattern.search(message))


def read(text: str, source: str, first_line: int = 1) -> list[Expected]:
    """The comments in ``text``, whose first line is line ``first_line`` of ``source``.

    Raises:
      UserError: an inner expression of an ``-re`` comment is no regular expression.
    """
    found: list[Expected] = []
    waiting: list[tuple[int, re.Match[str]]] = []  # Comments with @below, until a line without comments comes.
    above = number = first_line - 1
    for number, line in enumerate(text.split("\n"), start=first_line):
        comment = _COMMENT.search(line) if "expected-" in line else None
        if comment is None:
            found += [_expected(match, number, at, source) for at, match in waiting]
            waiting.clear()
            above = number
        elif comment["place"] == "below":
            waiting.append((number, comment))
        else:
            found.append(_expected(comment, _line(comment["place"], number, above), number, source))
    found += [_expected(match, number + 1, at, source) for at, match in waiting]
    return found


def _line(place: str | None, number: int, above: int) -> int:
    if place is None:
        return number
    if place == "above":
        return above
    if place == "unknown":
        return 0
    return number + int(place) if place[0] in "+-" else int(place)


def _expected(match: re.Match[str], line: int, comment: int, source: str) -> Expected:
    text = match["text"]
    parts = _INNER.split(text) if match["re"] else [text]
    # Odd parts are the inner expressions.
    pattern = "".join(f"(?:{part})" if index % 2 else re.escape(part) for index, part in enumerate(parts))
    try:
        return Expected(match["kind"], line, comment, re.compile(pattern, re.DOTALL), text)
    except re.error as error:
        raise UserError(f"expected-{match['kind']}-re holds no regular expression: {error}",
                        Where(source, comment, match.start() + 1)) from None


def compare(expected: Iterable[Expected], said: Iterable[Diagnostic], source: str, *, only_expected: bool = False
            ) -> list[UserError]:
    """What is wrong: diagnostics nobody expected (unless ``only_expected``) and comments that were not met.

    Each diagnostic meets at most one comment and each comment at most one diagnostic; a note counts as a diagnostic
    of its own.
    """
    open_comments = list(expected)
    wrong: list[UserError] = []
    for diagnostic in _flat(said):
        line = _line_in(source, diagnostic.where)
        met = next((e for e in open_comments if e.matches(diagnostic.severity, line, diagnostic.message)), None)
        if met is not None:
            open_comments.remove(met)
        elif not only_expected and not diagnostic.message.startswith(_PRINTED_OP):
            where = Where(source, line) if line > 0 else diagnostic.where or Where(source)
            wrong.append(UserError(f"unexpected {diagnostic.severity}: {diagnostic.message}", where))
    wrong += [
        UserError(f'expected {e.kind} "{e.text}" was not produced', Where(source, e.comment)) for e in open_comments
    ]
    return wrong


def _flat(said: Iterable[Diagnostic]) -> Iterable[Diagnostic]:
    for diagnostic in said:
        yield diagnostic
        yield from _flat(diagnostic.notes)


def _line_in(source: str, where: Where | None) -> int:
    """The line in the file under test; 0 if there is no location, -1 if it lies in another file."""
    if where is None or not where.line:
        return 0
    return where.line if where.file in (source, "-") else -1
