"""Which functions might have collectives that become fewer once they are inlined."""

from __future__ import annotations

import pytest

from passes.partition.meetings import may_meet, will_meet
from passes.partition.outline import CALL, Outliner
from passes.pipeline import runner
from passes.program.read import parse

T = "tensor<4xf32>"
_CHANNEL = "channel_handle = #stablehlo.channel_handle<handle = 1, type = 1>"
_OVER = f"replica_groups = dense<[[0, 1]]> : tensor<1x2xi64>, {_CHANNEL}"


def reduced(name: str, value: str) -> str:
    return f"""%{name} = "stablehlo.all_reduce"({value}) <{{{_OVER}, use_global_device_ids}}> ({{
    ^bb0(%a: tensor<f32>, %b: tensor<f32>):
      %s = stablehlo.add %a, %b : tensor<f32>
      stablehlo.return %s : tensor<f32>
    }}) : ({T}) -> {T}
    """


def permuted(name: str, value: str) -> str:
    pairs = "source_target_pairs = dense<[[0, 1], [1, 0]]> : tensor<2x2xi64>"
    return f'%{name} = "stablehlo.collective_permute"({value}) <{{{pairs}}}> : ({T}) -> {T}\n'


def unary(op: str, name: str, value: str) -> str:
    return f"%{name} = stablehlo.{op} {value} : {T}\n"


BETWEEN = unary("tanh", "0", "%x") + reduced("1", "%0") + unary("tanh", "2", "%1")


def meets(inside: str, outside: str = "", calls: int = 1) -> bool:
    """Of a function that returns ``%2`` of ``inside``, where `@main` does ``outside`` and calls it."""
    called = "\n".join(f"%r{i} = func.call @f(%x) : ({T}) -> {T}" for i in range(calls))
    text = f"""
func.func @main(%x: {T}) -> {T} {{
  {outside}
  {called}
  return %r0 : {T}
}}
func.func private @f(%x: {T}) -> {T} {{
  {inside}
  return %2 : {T}
}}
"""
    return may_meet(parse(text).module)


@pytest.mark.parametrize(
    "outside",
    ["", unary("exponential", "8", "%x") + reduced("9", "%8"), unary("tanh", "8", "%x") + permuted("9", "%8")],
    ids=["alone", "another operand", "another collective"],
)
def test_a_collective_between_ops_that_nothing_passes_stays_by_itself(outside: str) -> None:
    assert not meets(BETWEEN, outside)


@pytest.mark.parametrize(
    "inside",
    [
        reduced("1", "%x") + unary("tanh", "2", "%1"),
        unary("negate", "0", "%x") + reduced("1", "%0") + unary("tanh", "2", "%1"),
        unary("tanh", "0", "%x") + reduced("2", "%0"),
        unary("tanh", "0", "%x") + reduced("1", "%0") + unary("negate", "2", "%1"),
        BETWEEN.replace("%2", "%3") + unary("negate", "2", "%x"),
    ],
    ids=["of an argument", "of what is linear in one", "returned", "linear in it returned", "others pass"],
)
def test_what_reaches_the_boundary_may_meet_others(inside: str) -> None:
    assert meets(inside)


def test_equal_ones_may_meet_wherever_they_are() -> None:
    assert meets(BETWEEN, unary("tanh", "8", "%x") + reduced("9", "%8"))
    assert meets(BETWEEN, calls=2)
    # What a function is given may be anything.
    assert meets(BETWEEN, reduced("9", "%x"))


def test_operands_are_compared_in_either_order() -> None:
    product = "%0 = stablehlo.{op} %{a}, %{b} : " + T + "\n"
    both = unary("tanh", "t", "%x") + unary("exponential", "e", "%x")
    inside = both + product.format(op="add", a="t", b="e") + reduced("1", "%0") + unary("tanh", "2", "%1")
    same = both + product.format(op="add", a="e", b="t") + reduced("9", "%0")
    assert meets(inside, same)
    assert not meets(inside, same.replace("exponential", "log"))


def test_an_exchange_meets_equal_ones_only() -> None:
    inside = permuted("1", "%x") + unary("tanh", "2", "%1")
    assert not meets(inside)
    assert meets(inside, permuted("9", "%x"))


def test_collectives_outside_of_functions_are_no_reason() -> None:
    assert not meets(unary("tanh", "2", "%x"), reduced("9", "%x"))


def scattered(name: str, value: str, dim: int = 0) -> str:
    return f"""%{name} = "stablehlo.reduce_scatter"({value}) <{{{_OVER}, use_global_device_ids,
      scatter_dimension = {dim} : i64}}> ({{
    ^bb0(%a: tensor<f32>, %b: tensor<f32>):
      %s = stablehlo.add %a, %b : tensor<f32>
      stablehlo.return %s : tensor<f32>
    }}) : ({T}) -> tensor<2xf32>
    """


def gathered(name: str, value: str, over: str = _OVER) -> str:
    groups = f"{{{over}, use_global_device_ids, all_gather_dim = 0 : i64}}"
    return f'%{name} = "stablehlo.all_gather"({value}) <{groups}> : (tensor<2xf32>) -> {T}\n'


def surely(inside: str, outside: str) -> bool:
    """Of a function that returns ``%2``, a part, of ``inside``, with the calls and other ops of ``outside``."""
    text = f"""
func.func @main(%x: {T}) -> {T} {{
  %r = func.call @f(%x) : ({T}) -> tensor<2xf32>
  {outside}
  return %8 : {T}
}}
func.func private @f(%x: {T}) -> tensor<2xf32> {{
  {inside}
  return %2 : tensor<2xf32>
}}
"""
    program = parse(text)
    outliner = Outliner(program)
    outliner.flatten(frozenset({CALL}))
    runner.run(program, "builtin.module(inline,symbol-dce)")
    found = will_meet(outliner)
    outliner.outline()
    assert may_meet(program.module)
    return found


@pytest.mark.parametrize(("inside", "outside", "expected"), [
    (scattered("2", "%x"), gathered("8", "%r"), True),
    (scattered("2", "%x"), gathered("8", "%r", _OVER.replace("[[0, 1]]", "[[1, 0]]")), False),
    (scattered("2", "%x"), "%7 = stablehlo.tanh %r : tensor<2xf32>\n" + gathered("8", "%7"), False),
    (scattered("2", "%x"), gathered("8", "%r") + gathered("9", "%r"), False),
    (scattered("1", "%x") + "%2 = stablehlo.negate %1 : tensor<2xf32>", gathered("8", "%r"), False),
    (scattered("2", "%x") + gathered("3", "%2"), gathered("8", "%r"), False),
], ids=["gathered", "among others", "changed", "twice", "changed inside", "used inside"])
def test_a_sum_that_a_function_scatters_and_its_caller_gathers_is_sure_to_meet(
    inside: str, outside: str, expected: bool
) -> None:
    assert surely(inside, outside) is expected
