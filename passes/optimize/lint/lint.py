"""Runs the checks on a program: one walk, each op shown to the checks that want to see ops of its name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from passes import _mlir
from passes.errors import UserError, Where
from passes.optimize.lint.accumulations import LOW_PRECISION_SUM
from passes.optimize.lint.conversions import LOSSY_CONVERT, NARROW_ARGUMENT, NARROW_ISLAND
from passes.optimize.lint.findings import Check, Finding, Scope, Settings
from passes.optimize.lint.indices import FLOAT_INDEX
from passes.optimize.lint.loops import REPEATED_RNG, RNG_IN_LOOP
from passes.optimize.lint.sizes import DEAD_ARGUMENT, LARGE_CONSTANT
from passes.program.entry import find_entry
from passes.program.read import Program
from passes.program.walk import operations

CHECKS: dict[str, Check] = {check.name: check for check in (
    LOSSY_CONVERT, NARROW_ISLAND, LOW_PRECISION_SUM, FLOAT_INDEX, RNG_IN_LOOP, REPEATED_RNG, LARGE_CONSTANT,
    DEAD_ARGUMENT, NARROW_ARGUMENT)}  # fmt: skip

_DEFAULTS = Settings()


def lint(
    program: Program,
    settings: Settings = _DEFAULTS,
    *,
    checks: Iterable[str] = CHECKS,
    entry: str | None = None,
) -> list[Finding]:
    """What ``checks`` find in ``program``, in the order of its ops; it stays as it is.

    Raises:
      UserError: ``entry`` is no function of the program.
    """
    wanted = defaultdict(list)
    for name in checks:
        for op in CHECKS[name].ops:
            wanted[op].append(CHECKS[name])
    scope = Scope(program.module, _entry(program, entry), settings)
    return [
        Finding(check.name, _where(program, remark.location or op.location), remark.message, remark.todo)
        for op in operations(program.module.operation)
        for check in wanted.get(op.name, ())
        for remark in check.look(op.operation, scope)
    ]


def _entry(program: Program, name: str | None) -> object:
    """The entry function; a program need not have one unless it is named."""
    try:
        return find_entry(program, name)
    except UserError:
        if name is not None:
            raise
        return None


def _where(program: Program, location: object) -> Where:
    """The place of ``location``; if it has only a name, that stands behind the file's."""
    return program.in_file(_mlir.where_of(location)) or Where(program.source)
