"""Every op program, sharded over axes that need not divide its dimensions, padded, executed and compared bit by bit.

Padding is NaN, or the largest number, in arguments and wherever the program pads, so none of it may reach a result.
"""

from __future__ import annotations

import pytest

from passes.execute.compare import BIT_EQUAL
from passes.execute.verify import verify
from passes.partition.pad_dimensions import Padding
from passes.partition.partition import partition
from passes.partition.report import Report
from passes.program import read
from passes.sharding.mesh import Mesh
from tests.partition.op_programs import PROGRAMS
from tests.partition.random_shardings import annotate

# Dimensions are 4, 6, 8 and 12, so that each mesh divides some of them.
MESHES = (
    Mesh((("x", 3), ("y", 2))),
    Mesh((("x", 2), ("y", 4))),
    Mesh((("x", 8),), (7, 6, 5, 4, 3, 2, 1, 0)),
)
FIVE = Mesh((("x", 5),))


def padded_and_executed(name: str, mesh: Mesh, seed: int) -> Report:
    original, program = (read.parse(PROGRAMS[name], name) for _ in range(2))
    shardings = annotate(program, mesh, seed, indivisible=True)
    report = partition(program, padding=Padding(arguments=True, always=True, poison=True))
    found = verify(original, program, report.side_table, inputs="exact", seed=seed, level=BIT_EQUAL)
    assert found.ok, (shardings, found.lines())
    return report


@pytest.mark.parametrize("mesh", MESHES, ids=lambda m: "x".join(str(s) for _, s in m.axes))
@pytest.mark.parametrize("name", PROGRAMS)
def test_padded_op_equals_the_original(name: str, mesh: Mesh) -> None:
    padded_and_executed(name, mesh, 0)


def test_an_axis_that_divides_nothing_pads_everything() -> None:
    report = padded_and_executed("dot batched", FIVE, 1)
    assert {choice.padded for choice in report.padding} <= {5, 10, 15} and report.padding


# A loop whose carry gets padded inside, a branch that does not, and a manual computation between them.
LOOP = """
sdy.mesh @mesh = <["x"=4, "y"=2]>
func.func @main(%a: tensor<7x6xf32>) -> tensor<7x6xf32> {
  %z = stablehlo.constant dense<0> : tensor<i32>
  %o = stablehlo.constant dense<1> : tensor<i32>
  %n = stablehlo.constant dense<3> : tensor<i32>
  %l:2 = stablehlo.while(%i = %z, %x = %a) : tensor<i32>, tensor<7x6xf32>
  cond {
    %m = stablehlo.compare LT, %i, %n : (tensor<i32>, tensor<i32>) -> tensor<i1>
    stablehlo.return %m : tensor<i1>
  } do {
    %j = stablehlo.add %i, %o : tensor<i32>
    %k = sdy.sharding_constraint %x <@mesh, [{"x"}, {}]> : tensor<7x6xf32>
    %c = "stablehlo.case"(%i) ({
      %q = stablehlo.negate %k : tensor<7x6xf32>
      stablehlo.return %q : tensor<7x6xf32>
    }, {
      %w = stablehlo.reverse %k, dims = [0] : tensor<7x6xf32>
      stablehlo.return %w : tensor<7x6xf32>
    }) : (tensor<i32>) -> tensor<7x6xf32>
    %b = stablehlo.optimization_barrier %c : tensor<7x6xf32>
    %d = stablehlo.add %b, %k : tensor<7x6xf32>
    stablehlo.return %j, %d : tensor<i32>, tensor<7x6xf32>
  }
  %e = sdy.manual_computation(%l#1) in_shardings=[<@mesh, [{?}, {"y"}]>] out_shardings=[<@mesh, [{?}, {"y"}]>]
      manual_axes={"y"} (%x: tensor<7x3xf32>) {
    %r = stablehlo.reverse %x, dims = [0] : tensor<7x3xf32>
    sdy.return %r : tensor<7x3xf32>
  } : (tensor<7x6xf32>) -> tensor<7x6xf32>
  %t = sdy.sharding_constraint %e <@mesh, [{"x"}, {}]> : tensor<7x6xf32>
  return %t : tensor<7x6xf32>
}"""


def test_control_flow_and_manual_computations() -> None:
    original, program = (read.parse(LOOP) for _ in range(2))
    report = partition(program, padding=Padding(poison=True))
    found = verify(original, program, report.side_table, inputs="exact", level=BIT_EQUAL)
    assert found.ok, found.lines()
    assert {(c.size, c.padded) for c in report.padding} == {(7, 8)}
    # Arguments and results stay as they are, and the report has the axes' own names.
    assert report.side_table.arguments[0].padded_shape is None
    assert any("does not divide by 'x'" in line for line in report.lines())
