"""Bisection goes into loops and branches: it names the iteration or branch and the op inside, and hands that op out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from passes import _mlir
from passes.execute.arrays import same_bits
from passes.execute.bisect import search
from passes.execute.bisect_programs import search_programs
from passes.execute.executor import Executor
from passes.execute.extract import extract
from passes.execute.findings import Finding, Reproduction
from passes.execute.store import Store
from passes.execute.walk import Mode
from passes.partition.partition import partition
from passes.program.read import Program, parse
from passes.program.walk import operations

# The carried value starts as what is subtracted from it, so the order of the subtraction shows in iteration 1 first.
LOOP = """
sdy.mesh @mesh = <["x"=2, "y"=2]>
func.func @main(
  %c: tensor<8x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {"y"}]>},
  %w: tensor<8x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"y"}, {}]>}
) -> tensor<8x8xf32> {
  %zero = stablehlo.constant dense<0> : tensor<i32>
  %r:2 = stablehlo.while(%i = %zero, %h = %c) : tensor<i32>, tensor<8x8xf32>
  cond {
    %n = stablehlo.constant dense<4> : tensor<i32>
    %go = stablehlo.compare LT, %i, %n : (tensor<i32>, tensor<i32>) -> tensor<i1>
    stablehlo.return %go : tensor<i1>
  } do {
    %one = stablehlo.constant dense<1> : tensor<i32>
    %j = stablehlo.add %i, %one : tensor<i32>
    %d = stablehlo.subtract %h, %c : tensor<8x8xf32>
    %p = stablehlo.dot_general %c, %w, contracting_dims = [1] x [0]
      : (tensor<8x8xf32>, tensor<8x8xf32>) -> tensor<8x8xf32>
    %e = stablehlo.add %d, %p : tensor<8x8xf32>
    stablehlo.return %j, %e : tensor<i32>, tensor<8x8xf32>
  }
  %s = stablehlo.negate %r#1 : tensor<8x8xf32>
  return %s : tensor<8x8xf32>
}
"""
# A branch inside a loop.
BRANCH = """
sdy.mesh @mesh = <["x"=2, "y"=2]>
func.func @main(%c: tensor<8x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {"y"}]>}) -> tensor<8x8xf32> {
  %zero = stablehlo.constant dense<0> : tensor<i32>
  %r:2 = stablehlo.while(%i = %zero, %h = %c) : tensor<i32>, tensor<8x8xf32>
  cond {
    %n = stablehlo.constant dense<3> : tensor<i32>
    %go = stablehlo.compare LT, %i, %n : (tensor<i32>, tensor<i32>) -> tensor<i1>
    stablehlo.return %go : tensor<i1>
  } do {
    %one = stablehlo.constant dense<1> : tensor<i32>
    %j = stablehlo.add %i, %one : tensor<i32>
    %b = "stablehlo.case"(%i) ({
      %0 = stablehlo.negate %h : tensor<8x8xf32>
      stablehlo.return %0 : tensor<8x8xf32>
    }, {
      %0 = stablehlo.add %h, %h : tensor<8x8xf32>
      stablehlo.return %0 : tensor<8x8xf32>
    }, {
      %k = stablehlo.constant dense<2.0> : tensor<8x8xf32>
      %0 = stablehlo.subtract %h, %k : tensor<8x8xf32>
      stablehlo.return %0 : tensor<8x8xf32>
    }) : (tensor<i32>) -> tensor<8x8xf32>
    stablehlo.return %j, %b : tensor<i32>, tensor<8x8xf32>
  }
  return %r#1 : tensor<8x8xf32>
}
"""

modes = pytest.mark.parametrize("mode", ["isolated", "accumulated"])


def _first(program: Program, name: str, which: Callable[[Any], bool] = lambda op: True) -> Any:
    return next(op for op in operations(program.module) if op.name == name and which(op))


def _swapped(program: Program) -> None:
    op = _first(program, "stablehlo.subtract")
    left, right = list(op.operands)
    op.operands[0], op.operands[1] = right, left


def _maximum_for_sum(program: Program) -> None:
    inner = _first(program, "stablehlo.reduce_scatter").regions[0].blocks[0].operations[0].operation
    values = list(inner.operands)
    new = _mlir.ir.Operation.create(
        "stablehlo.maximum", [inner.results[0].type], values, ip=_mlir.ir.InsertionPoint(inner)
    )
    inner.results[0].replace_all_uses_with(new.results[0])
    inner.erase()


def _one_more(program: Program) -> None:
    text = "#stablehlo<comparison_direction LE>"
    _first(program, "stablehlo.compare").attributes["comparison_direction"] = _mlir.ir.Attribute.parse(text)


def _inject(fault: Callable[[Program], None], program: Program) -> None:
    with _mlir.context(), _mlir.ir.Location.unknown():
        fault(program)
        assert program.module.operation.verify()


def _traced(text: str, fault: Callable[[Program], None], mode: Mode) -> Finding:
    program = parse(text, "loop.mlir")
    report = partition(program, trace=True)
    assert report.numbered is not None
    numbered = parse(report.numbered, "numbered")
    assert search(numbered, program, report.side_table, mode=mode).finding is None
    _inject(fault, program)
    found = search(numbered, program, report.side_table, mode=mode).finding
    assert found is not None
    return found


@modes
@pytest.mark.parametrize(
    ("text", "fault", "name", "within"),
    [
        (LOOP, _swapped, "stablehlo.subtract", ["iteration 1 of stablehlo.while"]),
        (LOOP, _maximum_for_sum, "stablehlo.reduce_scatter", ["iteration 0 of stablehlo.while"]),
        (LOOP, _one_more, "stablehlo.compare", ["the condition of iteration 4 of stablehlo.while"]),
        (BRANCH, _swapped, "stablehlo.subtract", ["iteration 2 of stablehlo.while", "branch 2 of stablehlo.case"]),
    ],
)
def test_a_fault_in_a_region_of_a_per_device_program(
    text: str, fault: Callable[[Program], None], name: str, within: list[str], mode: Mode
) -> None:
    found = _traced(text, fault, mode)
    assert found.op_name == name
    assert [place.partition(" (op")[0] for place in found.within] == within
    assert found.within[-1] in found.headline() and found.original
    assert not found.excused


@modes
def test_the_op_inside_is_handed_out_and_shows_the_difference_by_itself(mode: Mode, tmp_path: Path) -> None:
    reproduction = _traced(LOOP, _swapped, mode).reproduction
    assert reproduction is not None
    names = [op.name for op in operations(reproduction.program.module)]
    assert "stablehlo.subtract" in names and "stablehlo.while" not in names
    got = Executor().run_per_device(reproduction.program, reproduction.inputs, reproduction.devices)
    assert all(map(same_bits, got[reproduction.result], reproduction.got))
    assert not same_bits(np.stack(reproduction.expected), np.stack(reproduction.got))
    assert extract(reproduction, tmp_path)


def test_what_only_adds_up_is_said_to() -> None:
    """A factor of 1.000005 that comes in is within the tolerance of an iteration, and not of 40."""
    text = """
    sdy.mesh @mesh = <["x"=2]>
    func.func @main(%c: tensor<8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}]>}) -> tensor<8xf32> {
      %zero = stablehlo.constant dense<0> : tensor<i32>
      %r:2 = stablehlo.while(%i = %zero, %h = %c) : tensor<i32>, tensor<8xf32>
      cond {
        %n = stablehlo.constant dense<40> : tensor<i32>
        %go = stablehlo.compare LT, %i, %n : (tensor<i32>, tensor<i32>) -> tensor<i1>
        stablehlo.return %go : tensor<i1>
      } do {
        %one = stablehlo.constant dense<1> : tensor<i32>
        %j = stablehlo.add %i, %one : tensor<i32>
        %d = stablehlo.negate %h : tensor<8xf32>
        stablehlo.return %j, %d : tensor<i32>, tensor<8xf32>
      }
      return %r#1 : tensor<8xf32>
    }"""
    program = parse(text)
    report = partition(program, trace=True)
    assert report.numbered is not None

    def scaled(program: Program) -> None:
        op = _first(program, "stablehlo.negate")
        type, end = op.results[0].type, op.block.operations[len(op.block.operations) - 1].operation
        value = {"value": _mlir.ir.Attribute.parse(f"dense<1.000005> : {type}")}
        with _mlir.ir.InsertionPoint(end):
            factor = _mlir.ir.Operation.create("stablehlo.constant", results=[type], attributes=value)
            operands = [op.results[0], factor.results[0]]
            end.operands[1] = _mlir.ir.Operation.create("stablehlo.multiply", [type], operands).results[0]

    _inject(scaled, program)
    found = search(parse(report.numbered), program, report.side_table, inputs="normal").finding
    assert found is not None and found.op_name == "stablehlo.while" and not found.within
    assert found.hints[-1] == "each of its 40 iterations is right by itself; what is wrong adds up"


@pytest.mark.parametrize(
    ("text", "fault", "name", "within"),
    [
        (LOOP, _swapped, "stablehlo.subtract", ["iteration 1 of stablehlo.while"]),
        (LOOP, _one_more, "stablehlo.compare", ["the condition of iteration 4 of stablehlo.while"]),
        (BRANCH, _swapped, "stablehlo.subtract", ["iteration 2 of stablehlo.while", "branch 2 of stablehlo.case"]),
    ],
)
def test_a_fault_in_a_region_of_a_global_program(
    text: str, fault: Callable[[Program], None], name: str, within: list[str], tmp_path: Path
) -> None:
    original, changed = parse(text), parse(text)
    _inject(fault, changed)
    found = search_programs(original, changed, store=Store(tmp_path)).finding
    assert found is not None and found.op_name == name
    assert [place.partition(" (op")[0] for place in found.within] == within
    assert isinstance(found.reproduction, Reproduction)


def test_loops_that_carry_something_else_are_left_whole(tmp_path: Path) -> None:
    """What a loop takes differs, so its iterations cannot be compared one by one."""
    original = parse(LOOP)
    changed = parse(LOOP.replace("%h = %c)", "%h = %w)"))
    found = search_programs(original, changed, store=Store(tmp_path)).finding
    assert found is not None and found.op_name == "stablehlo.while" and not found.within
