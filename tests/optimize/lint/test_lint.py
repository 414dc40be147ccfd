"""The checks together, and on real programs."""

from __future__ import annotations

from pathlib import Path

import pytest

from passes.errors import UserError
from passes.optimize.lint.lint import CHECKS, lint
from passes.program import read

EXAMPLES = Path(__file__).parents[3] / "examples"
BAD = """\
func.func @main(%a: tensor<4xf32>, %b: tensor<4xf32>) -> tensor<4xf32> {
  %0 = stablehlo.convert %a : (tensor<4xf32>) -> tensor<4xbf16>
  %1 = stablehlo.convert %0 : (tensor<4xbf16>) -> tensor<4xf32>
  return %1 : tensor<4xf32>
}
"""


def test_findings_come_in_the_order_of_the_program() -> None:
    found = lint(read.parse(BAD))
    assert [(f.check, f.where.line) for f in found] == [
        ("dead-argument", 1), ("narrow-argument", 1), ("lossy-convert", 3)]


def test_only_the_checks_asked_for_run() -> None:
    assert [f.check for f in lint(read.parse(BAD), checks=["dead-argument"])] == ["dead-argument"]
    assert lint(read.parse(BAD), checks=[]) == []


def test_an_entry_that_is_named_must_be_there() -> None:
    with pytest.raises(UserError, match="no function @f with a body"):
        lint(read.parse(BAD), entry="f")
    assert lint(read.parse("func.func private @f()\n")) == []


def test_every_check_says_what_it_is_about() -> None:
    assert all(check.summary and check.ops and name == check.name for name, check in CHECKS.items())


@pytest.mark.parametrize("path", sorted(EXAMPLES.rglob("*.mlir")), ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_the_examples_are_clean(path: Path) -> None:
    assert lint(read.read(str(path))) == []
