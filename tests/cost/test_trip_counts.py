"""Trip counts are those that executing the loop counts."""

from __future__ import annotations

import itertools

import pytest

from passes.cost.trip_counts import trip_count
from passes.execute import interpreter
from passes.execute.job import Job
from passes.program import read, write
from passes.program.walk import operations

LOOP = """func.func @main() -> (tensor<i32>, tensor<i32>) {{
  %start = stablehlo.constant dense<{start}> : tensor<i32>
  %zero = stablehlo.constant dense<0> : tensor<i32>
  %one = stablehlo.constant dense<1> : tensor<i32>
  %end = stablehlo.constant dense<{end}> : tensor<i32>
  %step = stablehlo.constant dense<{step}> : tensor<i32>
  %0:2 = stablehlo.while(%i = %start, %n = %zero) : tensor<i32>, tensor<i32>
  cond {{
    %more = stablehlo.compare {direction}, {compared} : (tensor<i32>, tensor<i32>) -> tensor<i1>
    stablehlo.return %more : tensor<i1>
  }} do {{
    %m = stablehlo.add %n, %one : tensor<i32>
    %j = stablehlo.{change} : tensor<i32>
    stablehlo.return %j, %m : tensor<i32>, tensor<i32>
  }}
  return %0#0, %0#1 : tensor<i32>, tensor<i32>
}}"""

CASES = [
    (start, end, step, direction, compared, change)
    for (start, end, step, direction), compared, change in itertools.product(
        [(0, 12, 1, "LT"), (0, 12, 5, "LE"), (3, 3, 1, "LT"), (7, 0, -2, "GT"), (8, 0, -2, "GE"), (0, 6, 3, "NE"),
         (5, 1, 1, "LT")],
        ["%i, %end", "%end, %i"],
        ["add %i, %step", "add %step, %i", "subtract %i, %step"],
    )
]


def _case(start: int, end: int, step: int, direction: str, compared: str, change: str) -> str:
    swapped = {"LT": "GT", "GT": "LT", "LE": "GE", "GE": "LE", "NE": "NE"}
    return LOOP.format(
        start=start, end=end, step=-step if "subtract" in change else step,
        direction=swapped[direction] if compared.startswith("%end") else direction, compared=compared, change=change,
    )


@pytest.mark.parametrize("case", CASES, ids=lambda c: "-".join(str(p) for p in c).replace(" ", ""))
def test_count_is_what_running_it_counts(case: tuple[int, int, int, str, str, str]) -> None:
    program = read.parse(_case(*case))
    loop = next(op for op in operations(program.module) if op.name == "stablehlo.while")
    results = interpreter.execute(Job("global", write.to_bytecode(program.module), 1, []))
    assert trip_count(loop) == int(results[1][0])


@pytest.mark.parametrize("change", ["multiply %i, %step", "add %i, %n", "subtract %step, %i"])
def test_what_does_not_count_by_a_constant_is_unknown(change: str) -> None:
    program = read.parse(_case(1, 12, 2, "LT", "%i, %end", change))
    loop = next(op for op in operations(program.module) if op.name == "stablehlo.while")
    assert trip_count(loop) is None


def test_a_loop_that_never_ends_is_unknown() -> None:
    program = read.parse(_case(0, 5, 2, "NE", "%i, %end", "add %i, %step"))
    loop = next(op for op in operations(program.module) if op.name == "stablehlo.while")
    assert trip_count(loop) is None
