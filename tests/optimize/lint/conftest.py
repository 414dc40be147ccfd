"""Runs the checks on inline IR."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from passes.optimize.lint.findings import Finding, Settings
from passes.optimize.lint.lint import lint
from passes.program import read

Lint = Callable[..., list[Finding]]


def run(check: str, text: str, **settings: int) -> list[Finding]:
    """What ``check`` finds in ``text``, in which every other check but this one is off; the program must not change."""
    program = read.parse(text, "in.mlir")
    before = program.module.operation.get_asm(enable_debug_info=True)
    found = lint(program, Settings(**settings), checks=[check])
    assert program.module.operation.get_asm(enable_debug_info=True) == before
    return found


@pytest.fixture(name="lint")
def _lint() -> Lint:
    """`run` as a fixture."""
    return run
