"""Reads a rules file: the mesh, and how the arguments and results of a program are to lie on it, as TOML.

  mesh = { data = 2, model = 4 }          # major to minor

  [[arguments]]
  match = "params['*']['wq']"             # or: regex = "...", index = 3, index = [3, 4]
  dims = ["", "model"]

  [[results]]
  match = "*loss*"
  dims = []

``match`` is a pattern for the whole name: ``*`` stands for any text, ``?`` for one character, everything else for
itself. ``regex`` is searched for anywhere in the name. ``dims`` has one entry per dimension: ``""`` replicated,
``"axis"``, or ``["axis1", "axis2"]`` with the major axis first; a trailing ``?`` (``"model?"``, ``"?"``) leaves the
dimension open to more axes by propagation. Where several entries select a value, the last one holds.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NoReturn

from passes.errors import UserError, Where
from passes.program.read import read_bytes
from passes.sharding.mesh import Mesh

# More devices than any machine has, and few enough to be listed.
MAX_DEVICES = 1 << 20
_AXIS_NAME = re.compile(r"[^\W\d][\w.-]*")
_SELECTORS = ("match", "regex", "index")
_ENTRY_KEYS = (*_SELECTORS, "dims")
_FILE_KEYS = ("mesh", "arguments", "results")


@dataclass(frozen=True)
class DimRule:
    """How one dimension is sharded: over ``axes``, major to minor; ``is_open`` lets propagation add more."""

    axes: tuple[str, ...] = ()
    is_open: bool = False


@dataclass(frozen=True)
class Selector:
    """Which values an entry is about: exactly one of the fields is set.

    Attributes:
      match: Pattern for the whole name with ``*`` and ``?``.
      regex: Regular expression searched for in the name.
      indices: Positions, from 0.
    """

    match: str | None = None
    regex: str | None = None
    indices: tuple[int, ...] | None = None

    def compiled(self) -> re.Pattern[str] | None:
        """The expression to search names for, or ``None`` if values are selected by position."""
        if self.match is not None:
            parts = ({"*": ".*", "?": "."}.get(c, re.escape(c)) for c in re.sub(r"\*+", "*", self.match))
            return re.compile(rf"\A{''.join(parts)}\Z", re.DOTALL)
        return re.compile(self.regex) if self.regex is not None else None

    def __str__(self) -> str:
        if self.indices is not None:
            return f"index {', '.join(map(str, self.indices))}"
        kind, text = ("match", self.match) if self.match is not None else ("regex", self.regex)
        return f'{kind} "{_shorten(text or "")}"'


@dataclass(frozen=True)
class Entry:
    """One ``[[arguments]]`` or ``[[results]]`` entry; ``where`` is its place in the file."""

    selector: Selector
    dims: tuple[DimRule, ...]
    where: Where | None = None


@dataclass(frozen=True)
class Rules:
    """A rules file.

    Attributes:
      mesh: The mesh all entries refer to.
      arguments, results: The entries in order; later ones hold.
      source: The file's name.
    """

    mesh: Mesh
    arguments: tuple[Entry, ...] = ()
    results: tuple[Entry, ...] = ()
    source: str = "<rules>"


def load(path: str) -> Rules:
    """Reads the rules file at ``path`` (``-`` is standard input).

    Raises:
      UserError: the file cannot be read or is no rules file; placed at its file and line.
    """
    data, source = read_bytes(path)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        where = Where(source, data.count(b"\n", 0, error.start) + 1)
        raise UserError("the rules file is not text (UTF-8)", where) from None
    return parse(text, source)


def parse(text: str, source: str = "<rules>") -> Rules:
    """The rules in ``text``; ``source`` names it in messages.

    Raises:
      UserError: see `load`.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _syntax_error(str(error), text, source) from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits; brackets nested thousands deep
        raise UserError(f"not usable as TOML: {error}", Where(source)) from None
    return _Reader(_Lines(text, source)).rules(table)


def _syntax_error(message: str, text: str, source: str) -> UserError:
    lines = text.splitlines() or [""]
    place = re.search(r" \(at line (\d+), column (\d+)\)$", message)
    line, column = (int(place[1]), int(place[2])) if place else (len(lines), len(lines[-1]) + 1)
    what = re.sub(r" \(at [^()]*\)$", "", message)
    snippet = lines[line - 1] if line <= len(lines) else ""
    return UserError(f"not TOML: {what[:1].lower()}{what[1:]}", Where(source, line, column), snippet=snippet)


@dataclass
class _Lines:
    """Finds the lines of keys in the text, because the TOML reader forgets them."""

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
        header = re.compile(rf"""\s*\[\[\s*["']?{re.escape(name)}["']?\s*\]\]""")
        starts = [n for n, line in enumerate(self._lines) if header.match(line)]
        if index >= len(starts):  # written as one value: arguments = [{...}]
            return 0, len(self._lines)
        after = (n for n in range(starts[index] + 1, len(self._lines)) if self._lines[n].lstrip().startswith("[["))
        return starts[index], next(after, len(self._lines))


@dataclass
class _Reader:
    """Turns the TOML table into `Rules`, checking it on the way."""

    lines: _Lines

    def rules(self, table: dict[str, Any]) -> Rules:
        self._check_keys(table, _FILE_KEYS, None)
        if "mesh" not in table:
            example = "mesh = { data = 2, model = 4 }"
            raise UserError(f"no mesh is given; write for example: {example}", Where(self.lines.source))
        mesh = self._mesh(table["mesh"])
        arguments, results = (self._entries(table, key, mesh) for key in ("arguments", "results"))
        return Rules(mesh, arguments, results, self.lines.source)

    def _fail(self, message: str, key: str, section: tuple[str, int] | None = None) -> NoReturn:
        where = self.lines.where(key, section)
        raise UserError(message, where, snippet=self.lines.line(where))

    def _check_keys(self, table: dict[str, Any], known: tuple[str, ...], section: tuple[str, int] | None) -> None:
        for key in table:
            if key not in known:
                close = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
                hint = f"did you mean '{close[0]}'?" if close else f"known are {', '.join(known)}"
                self._fail(f"unknown key '{_shorten(key)}'; {hint}", key, section)

    def _mesh(self, value: Any) -> Mesh:
        if not isinstance(value, dict):
            self._fail(f"mesh takes axis names with sizes, as in {{ data = 2, model = 4 }}, not {_kind(value)}", "mesh")
        if not value:
            self._fail("the mesh is empty; name at least one axis with its size, as in { data = 8 }", "mesh")
        devices = 1
        for name, size in value.items():
            if not _AXIS_NAME.fullmatch(name):
                self._fail(
                    f"'{_shorten(name)}' cannot name a mesh axis; use letters, digits and _ - . after a first letter",
                    name or "mesh",
                )
            if isinstance(size, bool) or not isinstance(size, int):
                self._fail(f"the size of mesh axis '{name}' must be a whole number, not {_kind(size)}", name)
            if size < 1:
                self._fail(f"the size of mesh axis '{name}' must be 1 or more, not {size}", name)
            devices *= size
        if devices > MAX_DEVICES:
            self._fail(f"the mesh has more than {MAX_DEVICES} devices", "mesh")
        return Mesh(tuple(value.items()))

    def _entries(self, table: dict[str, Any], key: str, mesh: Mesh) -> tuple[Entry, ...]:
        value = table.get(key, [])
        if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
            self._fail(f"{key} takes tables; start each one with a line [[{key}]]", key)
        return tuple(self._entry(entry, (key, i), mesh) for i, entry in enumerate(value))

    def _entry(self, table: dict[str, Any], section: tuple[str, int], mesh: Mesh) -> Entry:
        self._check_keys(table, _ENTRY_KEYS, section)
        given = [key for key in _SELECTORS if key in table]
        if len(given) != 1:
            says = f"has {' and '.join(given)}" if given else "selects nothing"
            self._fail(f"this [[{section[0]}]] entry {says}; give it one of match, regex or index", "dims", section)
        if "dims" not in table:
            example = 'dims = ["", "model"]'
            self._fail(f"this [[{section[0]}]] entry has no dims; write for example: {example}", given[0], section)
        selector = self._selector(given[0], table[given[0]], section)
        return Entry(selector, self._dims(table["dims"], section, mesh), self.lines.where(given[0], section))

    def _selector(self, key: str, value: Any, section: tuple[str, int]) -> Selector:
        if key == "index":
            indices = value if isinstance(value, list) else [value]
            if not indices or not all(isinstance(i, int) and not isinstance(i, bool) and i >= 0 for i in indices):
                given = "this list" if isinstance(value, list) else _kind(value)
                self._fail(f"index takes a position from 0, or a list of positions, not {given}", key, section)
            return Selector(indices=tuple(indices))
        if not isinstance(value, str):
            self._fail(f"{key} takes a text, not {_kind(value)}", key, section)
        if key == "match":
            return Selector(match=value)
        try:
            re.compile(value)
        except (re.error, RecursionError, OverflowError) as error:
            self._fail(f"not a regular expression: {error}", key, section)
        return Selector(regex=value)

    def _dims(self, value: Any, section: tuple[str, int], mesh: Mesh) -> tuple[DimRule, ...]:
        if not isinstance(value, list):
            self._fail(f"dims takes a list with one entry per dimension, not {_kind(value)}", "dims", section)
        dims = tuple(self._dim(d, section) for d in value)
        counts = Counter(axis for dim in dims for axis in dim.axes)
        for axis, count in counts.items():
            if axis not in mesh.sizes:
                self._fail(f"the mesh has no axis '{_shorten(axis)}'; it has {_names(mesh.sizes)}", "dims", section)
            if count > 1:
                message = f"axis '{axis}' is used {count} times in one tensor; it can shard one dimension"
                self._fail(message, "dims", section)
        return dims

    def _dim(self, value: Any, section: tuple[str, int]) -> DimRule:
        parts = value if isinstance(value, list) else [value]
        if not all(isinstance(part, str) for part in parts):
            self._fail(
                f'an entry of dims is "" (replicated), an axis, or a list of axes, not {_kind(value)}', "dims", section
            )
        is_open = bool(parts) and parts[-1].endswith("?")
        if is_open:
            parts = [*parts[:-1], parts[-1][:-1]]
        return DimRule(tuple(part for part in parts if part), is_open)


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def _shorten(text: str) -> str:
    """``text`` on one line of a message."""
    shown = text if text.isprintable() else repr(text)[1:-1]
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


def _kind(value: Any) -> str:
    """A TOML value as a reader of the message would call it."""
    kinds = {bool: "true or false", str: "a text", list: "a list", dict: "a table"}
    if type(value) in (int, float):
        return _shorten(str(value)) if abs(value) < 1e30 else "a number"
    return kinds.get(type(value), "a date or time")
