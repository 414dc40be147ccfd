"""Reduces a program while a predicate holds.

  from passes.execute.reduction.reduce import reduce

  smallest = reduce(program, lambda p: any(op.name == "stablehlo.while" for op in operations(p.module)))
"""

from __future__ import annotations

from collections.abc import Callable

from passes.errors import UserError
from passes.execute.reduction.search import Predicate, Search, copy, entry_name
from passes.execute.reduction.state import State
from passes.execute.reduction.steps import STEPS
from passes.program.read import Program
from passes.program.write import to_bytecode


class NotInteresting(UserError):
    """The program that was to be reduced does not satisfy the predicate."""


def reduce(
    program: Program,
    interesting: Predicate,
    *,
    entry: str | None = None,
    state: State | None = None,
    report: Callable[[Search], None] | None = None,
) -> Program:
    """The smallest program found from ``program`` for which ``interesting`` holds.

    Every program that ``interesting`` is asked about verifies, has an entry function of the same name, and is its own
    to change. The outcome is the same each time if the predicate's answers are.

    Args:
      entry: The entry function; ``None`` finds it.
      state: Where to go on from and keep what is found.
      report: Is told after each program that was judged.

    Raises:
      NotInteresting: ``interesting`` does not hold for ``program``.
    """
    data = to_bytecode(program.module)
    resumed = state.best() if state is not None else None
    if resumed is None:
        _check(copy(program), interesting)
        if state is not None:
            state.keep(data)
    search = Search(resumed or data, interesting, entry_name(program, entry), program.source, state, report)
    # A later kind of reduction may open the way for an earlier one.
    while _round(search):
        pass
    return search.program()


def _check(program: Program, interesting: Predicate) -> None:
    try:
        if interesting(program):
            return
        reason = ""
    except UserError as error:
        reason = f": {error.message}"
    raise NotInteresting(f"there is nothing to reduce: the test does not hold for {program.source} itself{reason}")


def _round(search: Search) -> bool:
    found = False
    for step in STEPS:
        found |= step(search)
    return found
