"""TOML with the places of its keys, which the TOML reader forgets, for errors that point at them."""

from __future__ import annotations

import difflib
import re
import tomllib
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NoReturn

from passes.errors import UserError, Where

# The line that begins an entry of an array of tables.
_HEADER = re.compile(r"""\s*\[\[\s*["']?([\w.-]+)["']?\s*\]\]""")


def read(text: str, source: str) -> Table:
    """The top table of ``text``; ``source`` names it in messages.

    Raises:
      UserError: it is not TOML; placed where reading stopped.
    """
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _syntax_error(str(error), text, source) from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits; brackets nested thousands deep
        raise UserError(f"not usable as TOML: {error}", Where(source)) from None
    return Table(values, _Lines(text, source))


def _syntax_error(message: str, text: str, source: str) -> UserError:
    lines = text.splitlines() or [""]
    place = re.search(r" \(at line (\d+), column (\d+)\)$", message)
    line, column = (int(place[1]), int(place[2])) if place else (len(lines), len(lines[-1]) + 1)
    what = re.sub(r" \(at [^()]*\)$", "", message)
    snippet = lines[line - 1] if line <= len(lines) else ""
    return UserError(f"not TOML: {what[:1].lower()}{what[1:]}", Where(source, line, column), snippet=snippet)


@dataclass
class _Lines:
    """Finds the lines of keys in the text."""

    text: str
    source: str
    _lines: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self._lines = self.text.splitlines()

    def where(self, key: str, section: tuple[str, int] | None = None) -> Where:
        """The place of ``key``: at the top of the file, or in the n-th table of an array of tables."""
        first, last = self._section(section) if section else (0, len(self._lines))
        pattern = re.compile(rf"""(?:^|[\s{{,\[.])["']?{re.escape(key)}["']?\s*[=\].]""")
        for number in range(first, last):
            if found := pattern.search(self._lines[number]):
                column = self._lines[number].find(key, found.start()) + 1
                return Where(self.source, number + 1, column)
        return Where(self.source, first + 1 if section and first else 0)

    def line(self, where: Where) -> str | None:
        """The text of ``where``'s line, if it has a column to point at."""
        return self._lines[where.line - 1] if where.column else None

    def _section(self, section: tuple[str, int]) -> tuple[int, int]:
        name, index = section
        starts = self._headers.get(name, [])
        if index >= len(starts):  # written as one value: arguments = [{...}]
            return 0, len(self._lines)
        after = bisect_right(self._tables, starts[index])
        return starts[index], self._tables[after] if after < len(self._tables) else len(self._lines)

    @cached_property
    def _tables(self) -> list[int]:
        """The lines on which a table of an array begins."""
        return [n for n, line in enumerate(self._lines) if line.lstrip().startswith("[[")]

    @cached_property
    def _headers(self) -> dict[str, list[int]]:
        """Of these, the lines for each array of tables."""
        found: dict[str, list[int]] = {}
        for number in self._tables:
            if header := _HEADER.match(self._lines[number]):
                found.setdefault(header[1], []).append(number)
        return found


@dataclass(frozen=True)
class Table:
    """A table of the file, the top one or an entry of an array of tables, with typed access to its values."""

    values: dict[str, Any]
    lines: _Lines
    section: tuple[str, int] | None = None

    @property
    def source(self) -> str:
        """The file's name."""
        return self.lines.source

    @property
    def title(self) -> str:
        """What an error calls an entry: ``this [[arguments]] entry``."""
        return f"this [[{self.section[0]}]] entry" if self.section else "this file"

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def where(self, key: str) -> Where:
        """The place of ``key``."""
        return self.lines.where(key, self.section)

    def fail(self, message: str, key: str) -> NoReturn:
        """Raises a `UserError` placed at ``key``."""
        where = self.where(key)
        raise UserError(message, where, snippet=self.lines.line(where))

    def check_keys(self, known: tuple[str, ...]) -> None:
        """Refuses keys other than ``known``."""
        for key in self.values:
            if key not in known:
                close = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
                hint = f"did you mean '{close[0]}'?" if close else f"known are {', '.join(known)}"
                self.fail(f"unknown key '{shorten(key)}'; {hint}", key)

    def entries(self, key: str) -> list[Table]:
        """The entries of the array of tables ``key``; none if it is not there."""
        value = self.values.get(key, [])
        if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
            self.fail(f"{key} takes tables; start each one with a line [[{key}]]", key)
        return [Table(entry, self.lines, (key, i)) for i, entry in enumerate(value)]

    def inner(self, key: str) -> Table:
        """The table at ``key``; an empty one if it is not there."""
        value = self.values.get(key, {})
        if not isinstance(value, dict):
            self.fail(f"{key} takes a table, not {kind(value)}", key)
        return Table(value, self.lines, self.section)

    def amount(self, key: str) -> float | None:
        """The number above zero at ``key``, whole or not."""
        value = self.values.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e30:
            self.fail(f"{key} takes a number above zero, not {kind(value)}", key)
        return float(value)

    def text(self, key: str) -> str | None:
        """The text at ``key``."""
        value = self.values.get(key)
        if value is not None and not isinstance(value, str):
            self.fail(f"{key} takes a text, not {kind(value)}", key)
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """The text or list of texts at ``key``."""
        value = self.values.get(key, [])
        listed = value if isinstance(value, list) else [value]
        if not all(isinstance(item, str) for item in listed):
            self.fail(f"{key} takes a text or a list of texts, not {kind(value)}", key)
        return tuple(listed)

    def flag(self, key: str) -> bool:
        """The boolean at ``key``; false if it is not there."""
        value = self.values.get(key, False)
        if not isinstance(value, bool):
            self.fail(f"{key} is true or false, not {kind(value)}", key)
        return value

    def number(self, key: str) -> int | None:
        """The number from 0 at ``key``."""
        value = self.values.get(key)
        if value is not None and not _is_natural(value):
            self.fail(f"{key} takes a number from 0, not {kind(value)}", key)
        return value

    def positions(self, key: str) -> tuple[int, ...] | None:
        """The position from 0, or the list of them, at ``key``."""
        if key not in self.values:
            return None
        value = self.values[key]
        positions = value if isinstance(value, list) else [value]
        if not positions or not all(_is_natural(p) for p in positions):
            given = "this list" if isinstance(value, list) else kind(value)
            self.fail(f"{key} takes a position from 0, or a list of positions, not {given}", key)
        return tuple(positions)


def _is_natural(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def names(found: Iterable[str]) -> str:
    """Names in a message: ``'a', 'b'``."""
    return ", ".join(f"'{name}'" for name in found)


def shorten(text: str) -> str:
    """``text`` on one line of a message."""
    shown = text if text.isprintable() else repr(text)[1:-1]
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


def kind(value: Any) -> str:
    """A TOML value as a reader of the message would call it."""
    kinds = {bool: "true or false", str: "a text", list: "a list", dict: "a table"}
    if type(value) in (int, float):
        return shorten(str(value)) if abs(value) < 1e30 else "a number"
    return kinds.get(type(value), "a date or time")
