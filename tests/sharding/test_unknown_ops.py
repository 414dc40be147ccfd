"""Ops nobody has a rule for, a composite used twice with one inside, annotations of two priorities, and a constraint:
annotated, propagated, explained, and executed against the program as it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# XLA runs @TopK; no table of ours or Shardy's knows it.
MODULE = """sdy.mesh @mesh = <["x"=2, "y"=2]>
func.func @main(%a: tensor<8x16xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}p1, {?}]>},
                %b: tensor<8x16xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"y"}p0, {?}]>}) -> tensor<8x16xf32> {
  %0 = stablehlo.add %a, %b : tensor<8x16xf32>
  %1 = stablehlo.composite "my.outer" %0 {decomposition = @outer} : (tensor<8x16xf32>) -> tensor<8x16xf32>
  %2 = sdy.sharding_constraint %1 <@mesh, [{?}, {"x", ?}]> : tensor<8x16xf32>
  %v, %i = stablehlo.custom_call @TopK(%2) : (tensor<8x16xf32>) -> (tensor<8x16xf32>, tensor<8x16xi32>)
  %4 = stablehlo.composite "my.outer" %v {decomposition = @outer} : (tensor<8x16xf32>) -> tensor<8x16xf32>
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
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "special.mlir"
    path.write_text(MODULE)
    return path


def test_propagated_and_executed_by_xla(shlo: Callable[..., Any], file: Path) -> None:
    result = shlo("shard", file, "--verify", "-o", "/dev/null")
    assert result.code == 0
    assert "custom_call 'TopK' has no sharding rule" in result.err
    assert "1 of 1 results equal" in result.err


def test_partitioned_and_executed(shlo: Callable[..., Any], file: Path) -> None:
    result = shlo("partition", file, "--verify", "-o", "/dev/null")
    assert result.code == 0
    assert "1 of 1 results equal (1 bit-equal)" in result.err


def test_the_priority_is_the_reason(shlo: Callable[..., Any], file: Path) -> None:
    out = shlo("explain", file, "--value", "%0").out
    assert "%0 (add): f32[8x16] P('y', None)" in out
    assert "'x' on dimension 0, which argument 0 'arg0' has on dimension 0, given" in out
    assert "because 'y' has priority 0 and 'x' priority 1; the lower number goes first" in out


def test_the_priorities_decide(shlo: Callable[..., Any], file: Path) -> None:
    file.write_text(MODULE.replace('{"y"}p0', '{"y"}p2'))
    out = shlo("explain", file, "--value", "%0").out
    assert "%0 (add): f32[8x16] P('x', None)" in out
    assert "because 'x' has priority 1 and 'y' priority 2; the lower number goes first" in out


def test_the_constraint_is_the_root(shlo: Callable[..., Any], file: Path) -> None:
    lines = shlo("explain", file, "--value", "%1").out.splitlines()
    assert lines[0] == "%1 (composite): f32[8x16] P(None, 'x')"
    assert lines[3].split() == [
        "given", "%2", "(sdy.sharding_constraint),", "dimension", "1", f"{file}:6:8",
    ]


def test_the_custom_call_needs_its_operand_whole(shlo: Callable[..., Any], file: Path) -> None:
    lines = shlo("explain", file, "--collectives").out.splitlines()
    gathers = [line for line in lines if "all_gather" in line and "custom_call" in line]
    assert gathers
    assert all("P(None, None)" in line and f"{file}:7:12" in line for line in gathers)
