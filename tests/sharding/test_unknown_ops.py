"""Ops nobody has a rule for, a composite used twice with one inside, annotations of two priorities, and a constraint:
annotated, propagated, explained, and executed against the program as it was, all on the command line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

# XLA runs @TopK, row by row; no table of ours or Shardy's knows it.
MODULE = """func.func @main(%a: tensor<8x16xf32>, %b: tensor<8x16xf32>) -> tensor<8x16xf32> {
  %0 = stablehlo.add %a, %b : tensor<8x16xf32>
  %1 = stablehlo.composite "my.outer" %0 {composite_attributes = {eps = 1.0 : f32}, decomposition = @outer, version = 2 : i32} : (tensor<8x16xf32>) -> tensor<8x16xf32>
  %v, %i = stablehlo.custom_call @TopK(%1) : (tensor<8x16xf32>) -> (tensor<8x16xf32>, tensor<8x16xi32>)
  %4 = stablehlo.composite "my.outer" %v {decomposition = @outer, version = 3 : i32} : (tensor<8x16xf32>) -> tensor<8x16xf32>
  %5 = stablehlo.add %4, %a : tensor<8x16xf32>
  return %5 : tensor<8x16xf32>
}
func.func private @outer(%x: tensor<8x16xf32>) -> tensor<8x16xf32> {
  %0 = stablehlo.composite "my.inner" %x {decomposition = @inner} : (tensor<8x16xf32>) -> tensor<8x16xf32>
  %1 = stablehlo.composite "my.inner" %0 {decomposition = @inner} : (tensor<8x16xf32>) -> tensor<8x16xf32>
  return %1 : tensor<8x16xf32>
}
func.func private @inner(%x: tensor<8x16xf32>) -> tensor<8x16xf32> {
  %0 = stablehlo.tanh %x : tensor<8x16xf32>
  return %0 : tensor<8x16xf32>
}
"""  # noqa: E501

RULES = """mesh = { x = 2, y = 2 }

[[arguments]]
match = "arg0"
dims = ["x:p1", "?"]

[[arguments]]
match = "arg1"
dims = ["y:p0", "?"]

[[constraints]]
composite = "my.outer"
nth = 0
dims = ["?", "x?"]
"""

ROW_BY_ROW = """
[[rules]]
custom_call = "TopK"
rule = "row in -> row out, row out"
"""


@dataclass(frozen=True)
class Case:
    """A module and its rules file, for the command line."""

    module: Path
    rules: Path

    @property
    def words(self) -> tuple[Any, ...]:
        return self.module, "--rules", self.rules

    def write(self, rules: str) -> None:
        self.rules.write_text(rules)


@pytest.fixture
def case(tmp_path: Path) -> Case:
    (tmp_path / "special.mlir").write_text(MODULE)
    made = Case(tmp_path / "special.mlir", tmp_path / "special.toml")
    made.write(RULES + ROW_BY_ROW)
    return made


def test_all_of_it_on_the_command_line(shlo: Callable[..., Any], case: Case, tmp_path: Path) -> None:
    """With a rule for the custom call: annotated, propagated, executed by XLA and by us, explained."""
    result = shlo("shard", *case.words, "--verify", "-o", tmp_path / "sharded.mlir")
    assert result.code == 0
    assert "warning" not in result.err
    assert "executed on 4 virtual devices" in result.err
    assert "1 of 1 results equal" in result.err
    sharded = (tmp_path / "sharded.mlir").read_text()
    # Composites stay what they are; each use of the outer one has its own sharding, so its own decomposition.
    uses = [line for line in sharded.splitlines() if 'composite "my.outer"' in line]
    assert [("eps = 1.0" in use, "version = 2" in use, "version = 3" in use) for use in uses] == [
        (True, True, False), (False, False, True),
    ]
    assert ["@outer," in uses[0], "@outer_1," in uses[1]] == [True, True]
    assert sharded.count('composite "my.inner"') == 4
    # The rule is in the module now, so that partitioning needs no rules file; row by row, nothing is gathered for it.
    assert "need_replication={" in sharded
    result = shlo("partition", tmp_path / "sharded.mlir", "--verify", "-o", tmp_path / "device.mlir")
    assert result.code == 0
    assert "1 of 1 results equal (1 bit-equal)" in result.err
    assert "@TopK(%" in (tmp_path / "device.mlir").read_text()
    assert "(tensor<4x16xf32>) -> (tensor<4x16xf32>, tensor<4x16xi32>)" in (tmp_path / "device.mlir").read_text()

    words = [word for value in ("%0", "%1", "%v", "@inner%0") for word in ("--value", value)]
    told = shlo("explain", *case.words, *words).out
    assert told.startswith("%0 (add): f32[8x16] P('y', 'x')\n")
    # Who won, and by which priority.
    assert "'x' on dimension 0, which argument 0 'arg0' has on dimension 0, given" in told
    assert "because 'y' has priority 0 and 'x' priority 1; the lower number goes first" in told
    # The constraint, by its line in the rules file, and the way from it back through the composite.
    given = next(line for line in told.splitlines() if line.startswith("  given") and "the constraint" in line)
    assert given.split() == [
        "given", "the", "constraint", "on", "%1", "(composite),", "dimension", "1", f"{case.rules}:12:1",
    ]
    assert 'argument 0 of composite "my.outer"' in told
    # The custom call passes on what its rule says: rows, not columns.
    assert "%v (custom_call): f32[8x16] P('y', None)" in told
    assert "custom_call: operand 0 -> result 0, factor i of ([i, j])->([i, k], [i, k])" in told
    # Two uses of two: the inner composite's op is there four times.
    assert "copy 4 of 4: %0 (tanh): f32[8x16]" in told


def test_without_its_rule_the_custom_call_is_warned_of(shlo: Callable[..., Any], case: Case) -> None:
    case.write(RULES)
    result = shlo("shard", *case.words, "--verify", "-o", "/dev/null")
    assert result.code == 0
    assert f"{case.module}:4:12: warning: stablehlo.custom_call 'TopK' has no sharding rule" in result.err
    assert [line.strip() for line in result.err.split("letter:\n")[1].splitlines()[:3]] == [
        "[[rules]]", 'custom_call = "TopK"', 'rule = "a b -> c d, e f"',
    ]
    assert "1 of 1 results equal" in result.err
    lines = shlo("explain", *case.words, "--collectives").out.splitlines()
    gathers = [line for line in lines if "all_gather" in line and "custom_call" in line]
    assert gathers
    assert all("P(None, None)" in line and f"{case.module}:4:12" in line for line in gathers)


def test_the_advice_is_a_rule_that_works(shlo: Callable[..., Any], case: Case) -> None:
    """The lines of the warning, pasted into the rules file with rows split alike, are read and do what they say."""
    case.write(RULES)
    advice = shlo("shard", *case.words, "-o", "/dev/null").err.split("letter:\n")[1]
    case.write(RULES + advice.replace("a b -> c d, e f", "a b -> a d, a f"))
    result = shlo("partition", *case.words, "--verify", "-o", "/dev/null")
    assert result.code == 0
    assert "has no sharding rule" not in result.err
    assert "1 of 1 results equal (1 bit-equal)" in result.err


def test_the_priorities_decide(shlo: Callable[..., Any], case: Case) -> None:
    case.write(RULES.replace("y:p0", "y:p2").replace('["?", "x?"]', '["?", "?"]'))
    told = shlo("explain", *case.words, "--value", "%0").out
    assert "%0 (add): f32[8x16] P('x', None)" in told
    assert "because 'x' has priority 1 and 'y' priority 2; the lower number goes first" in told
