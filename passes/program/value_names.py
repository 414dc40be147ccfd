"""The names of values as the program's text has them (``%12``, ``%12#1``, ``%arg0``), both ways.

MLIR forgets names when it parses. Where the locations of a program are places in its own text the names are read from
there; otherwise the text was printed by MLIR, which would print the same names again.
"""

from __future__ import annotations

import difflib
import re
from collections import deque
from collections.abc import Iterator
from typing import Any

from passes import _mlir
from passes.errors import UserError
from passes.program.entry import functions, is_declaration, symbol_name
from passes.program.read import Program

# What stands before an op at the place its location names, and at that of a block argument.
_GROUP = re.compile(r"(%[\w$.-]+)(?::(\d+))?")
_RESULTS = re.compile(rf"((?:{_GROUP.pattern}\s*,\s*)*{_GROUP.pattern})\s*=\s*$")
_ARGUMENT = re.compile(r"%[\w$.-]+")
_WANTED = re.compile(r"(?:@(?P<function>[^%]+))?(?P<name>%[\w$.-]+(?:#\d+)?)")


class ValueNames:
    """Names the values of a program; made once, for making it takes time in proportion to the program."""

    def __init__(self, program: Program) -> None:
        self._state = _mlir.ir.AsmState(program.module.operation)
        self._lines = (program.text or "").split("\n")

    def of_results(self, op: Any) -> list[str]:
        """The names of the results of ``op``."""
        count = len(op.results)
        if not count:
            return []
        before = self._line(op.location, to_column=True)
        found = _RESULTS.search(before) if before else None
        if found is None:
            return [str(value.get_name(self._state)) for value in op.results]
        names = [name for group in _GROUP.finditer(found[1]) for name in _of_group(*group.groups())]
        # A pass may have given the op other results than the text has.
        return names if len(names) == count else [f"{names[0].partition('#')[0]}#{i}" for i in range(count)]

    def of_argument(self, argument: Any) -> str:
        """The name of a block argument."""
        rest = self._line(argument.location, to_column=False)
        found = _ARGUMENT.match(rest) if rest else None
        return found[0] if found else str(argument.get_name(self._state))

    def _line(self, location: Any, *, to_column: bool) -> str | None:
        """The part of the line that ``location`` names up to its column, or from there on."""
        if not isinstance(location, _mlir.ir.FileLineColLoc):
            return None
        where = _mlir.where_of(location)
        if where is None or where.file != "-" or not 0 < where.line <= len(self._lines):
            return None
        line = self._lines[where.line - 1]
        at = where.column - 1
        if not line.isascii():
            # MLIR counts bytes.
            at = len(line.encode()[:at].decode(errors="ignore"))
        return line[:at] if to_column else line[at:]


def _of_group(name: str, count: str | None) -> list[str]:
    """The names that ``%name`` or ``%name:2`` in front of an op gives to one or several of its results."""
    return [name] if count is None else [f"{name}#{i}" for i in range(int(count))]


def find_value(program: Program, text: str, preferred: Any) -> Any:
    """The value called ``text``: ``%12``, ``%12#1``, or ``@f%12`` for one in function ``@f``.

    Without a function, the one in the function ``preferred`` if there is one, else the first.

    Raises:
      UserError: no value is called that; the closest names are given.
    """
    wanted = _WANTED.fullmatch(text)
    if wanted is None:
        raise UserError(f"'{text}' is no value; write it as the program does, %12 or %12#1 (@f%12 in function @f)")
    names, known = ValueNames(program), []
    defined = [f for f in functions(program.module) if not is_declaration(f)]
    if wanted["function"] is not None:
        inside = [f for f in defined if symbol_name(f) == wanted["function"]]
        if not inside:
            listed = ", ".join(f"@{symbol_name(f)}" for f in defined)
            raise UserError(f"there is no function @{wanted['function']}; the program has {listed}")
        defined = inside
    for function in sorted(defined, key=lambda f: f != preferred):
        for name, value in _named_values(function, names):
            if name in (wanted["name"], f"{wanted['name']}#0"):
                return value
            known.append(name)
    close = difflib.get_close_matches(wanted["name"], dict.fromkeys(known), n=3, cutoff=0.5)
    hint = f"; close ones are {', '.join(close)}" if close else ""
    raise UserError(f"no value is called {text}{hint}")


def _named_values(function: Any, names: ValueNames) -> Iterator[tuple[str, Any]]:
    pending = deque(function.regions)
    while pending:
        for block in pending.popleft().blocks:
            for argument in block.arguments:
                yield names.of_argument(argument), argument
            for view in block.operations:
                op = view.operation
                yield from zip(names.of_results(op), op.results, strict=True)
                pending.extend(op.regions)
