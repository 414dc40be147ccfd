"""Gathers that leave loops: the same on every device, how many turns the loop has; what the summary says of it."""

from __future__ import annotations

import pytest

from passes.execute.verify import verify
from passes.partition.improve import Communication
from passes.partition.partition import partition
from passes.program.read import parse
from passes.program.write import to_text
from tests.partition.collective_programs import COLUMNS, all_gather, changed_and_executed

W, G, H = "tensor<3x2xf32>", "tensor<12x2xf32>", "tensor<12x4xf32>"


def loop(turns: int, *body: str) -> str:
    """A loop over ``%y`` that carries ``%v`` unchanged; the body makes ``%z``."""
    lines = "\n".join(body)
    return f"""
func.func @main(%w: {W}, %x: {H}) -> ({W}, {H}) {{
  %zero = stablehlo.constant dense<0> : tensor<i32>
  %one = stablehlo.constant dense<1> : tensor<i32>
  %n = stablehlo.constant dense<{turns}> : tensor<i32>
  %0:3 = stablehlo.while(%i = %n, %v = %w, %y = %x) : tensor<i32>, {W}, {H}
  cond {{
    %1 = stablehlo.compare GT, %i, %zero : (tensor<i32>, tensor<i32>) -> tensor<i1>
    stablehlo.return %1 : tensor<i1>
  }} do {{
    %j = stablehlo.subtract %i, %one : tensor<i32>
    {lines}
    stablehlo.return %j, %v, %z : tensor<i32>, {W}, {H}
  }}
  return %0#1, %0#2 : {W}, {H}
}}"""


TWICE = (
    f"%a = {all_gather('%v', W, G)}", f"%b = stablehlo.negate %a : {G}", f"%c = {all_gather('%b', G, H, COLUMNS, 1)}"
)


@pytest.mark.parametrize("turns", [0, 1, 3])
@pytest.mark.parametrize(
    "last",
    [
        f"%z = stablehlo.add %y, %c : {H}",
        # What lies between is used in the loop, too.
        f"%d = stablehlo.concatenate %a, %b, dim = 1 : ({G}, {G}) -> {H}\n%z = stablehlo.add %d, %c : {H}",
    ],
)
def test_the_same_on_every_device(turns: int, last: str) -> None:
    text = loop(turns, *TWICE, last)
    before, after = changed_and_executed(text, "hoist-gathers", "interpreter")
    assert sorted(before) == sorted(after)
    changed, _ = changed_and_executed(text, "hoist-gathers")
    assert changed == before


def test_the_partitioner_does_it_on_request_and_says_what_it_keeps() -> None:
    text = """
sdy.mesh @mesh = <["x"=4]>
func.func @main(%w: tensor<8x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {}]>},
                %x: tensor<8x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {}]>}) -> tensor<8x8xf32> {
  %zero = stablehlo.constant dense<0> : tensor<i32>
  %one = stablehlo.constant dense<1> : tensor<i32>
  %n = stablehlo.constant dense<3> : tensor<i32>
  %0:3 = stablehlo.while(%i = %n, %v = %w, %y = %x) : tensor<i32>, tensor<8x8xf32>, tensor<8x8xf32>
  cond {
    %1 = stablehlo.compare GT, %i, %zero : (tensor<i32>, tensor<i32>) -> tensor<i1>
    stablehlo.return %1 : tensor<i1>
  } do {
    %1 = stablehlo.subtract %i, %one : tensor<i32>
    %2 = stablehlo.dot_general %y, %v, contracting_dims = [1] x [0]
      : (tensor<8x8xf32>, tensor<8x8xf32>) -> tensor<8x8xf32>
    %3 = stablehlo.tanh %2 : tensor<8x8xf32>
    stablehlo.return %1, %v, %3 : tensor<i32>, tensor<8x8xf32>, tensor<8x8xf32>
  }
  return %0#2 : tensor<8x8xf32>
}"""
    programs = {}
    for hoist in (False, True):
        program = parse(text)
        report = partition(program, communication=Communication(hoist=hoist))
        assert verify(parse(text), program, report.side_table).ok
        programs[hoist] = to_text(program.module)
    assert programs[False].index("stablehlo.while") < programs[False].index("stablehlo.all_gather")
    assert programs[True].index("stablehlo.while") > programs[True].index("stablehlo.all_gather")
    assert "gathered before loops, not in every turn: 1, which keeps 256 B while these run" in report.lines()
