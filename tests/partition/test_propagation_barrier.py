"""Barriers that stop shardings are identities in per-device programs, wherever they stand."""

from __future__ import annotations

import pytest

from passes.execute.compare import BIT_EQUAL
from passes.execute.verify import verify
from passes.partition.partition import partition
from passes.partition.structure import check_structure
from passes.program.read import parse
from passes.program.write import to_text

MESH = 'sdy.mesh @mesh = <["x"=2, "y"=2]>\n'
T = "tensor<8x8xf32>"
SPLIT = '{sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {"y"}]>}'
LOOP = f"""
func.func @main(%a: {T} {SPLIT}, %w: {T}) -> ({T}, {T}) {{
  %zero = stablehlo.constant dense<0> : tensor<i32>
  %one = stablehlo.constant dense<1> : tensor<i32>
  %two = stablehlo.constant dense<2> : tensor<i32>
  %0:2 = stablehlo.while(%i = %zero, %x = %a) : tensor<i32>, {T}
  cond {{
    %1 = stablehlo.compare LT, %i, %two : (tensor<i32>, tensor<i32>) -> tensor<i1>
    stablehlo.return %1 : tensor<i1>
  }} do {{
    %1 = stablehlo.add %i, %one : tensor<i32>
    %2 = sdy.propagation_barrier %x allowed_direction=DIRECTION : {T}
    %3 = stablehlo.dot_general %2, %w, contracting_dims = [1] x [0] : ({T}, {T}) -> {T}
    %4 = sdy.propagation_barrier %3 allowed_direction=DIRECTION : {T}
    stablehlo.return %1, %4 : tensor<i32>, {T}
  }}
  %5 = sdy.propagation_barrier %0#1 allowed_direction=DIRECTION : {T}
  %6 = sdy.propagation_barrier %a allowed_direction=DIRECTION : {T}
  return %5, %6 : {T}, {T}
}}
"""


@pytest.mark.parametrize("direction", ["NONE", "FORWARD", "BACKWARD"])
def test_in_a_loop_around_it_and_on_what_is_returned(direction: str) -> None:
    text = MESH + LOOP.replace("DIRECTION", direction)
    program = parse(text)
    report = partition(program)
    assert not report.replicated
    assert "sdy." not in to_text(program.module)
    assert not check_structure(program, report.side_table)
    found = verify(parse(text), program, report.side_table, inputs="exact", level=BIT_EQUAL)
    assert found.ok, "\n".join(found.lines())
