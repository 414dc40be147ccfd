"""Random numbers in loops."""

from __future__ import annotations

from typing import Any

import pytest

from passes.errors import Where

RNG = (
    "stablehlo.rng %s, %s, %shape, distribution = UNIFORM : (tensor<f32>, tensor<f32>, tensor<1xi64>) "
    "-> tensor<4xf32>"
)
BITS = (
    "{}, {} = stablehlo.rng_bit_generator {}, algorithm = THREE_FRY : (tensor<2xui64>) "
    "-> (tensor<2xui64>, tensor<4xui32>)"
)


def loop(body: str, after: str = "", functions: str = "", state: str = "%k") -> str:
    """A loop over a counter and a state; ``body`` computes in it, and ``state`` is what it carries on."""
    return f"""\
func.func @main(%n: tensor<i32>, %s: tensor<f32>, %shape: tensor<1xi64>, %key: tensor<2xui64>) {{
  %0:2 = stablehlo.while(%i = %n, %k = %key) : tensor<i32>, tensor<2xui64>
  cond {{
    %1 = stablehlo.compare LT, %i, %n : (tensor<i32>, tensor<i32>) -> tensor<i1>
    stablehlo.return %1 : tensor<i1>
  }} do {{
    {body}
    stablehlo.return %i, {state} : tensor<i32>, tensor<2xui64>
  }}
  {after}
  return
}}
{functions}"""


def test_rng_in_a_loop(lint: Any) -> None:
    [finding] = lint("rng-in-loop", loop(f"%r = {RNG}"))
    assert finding.where == Where("in.mlir", 7, 10)
    assert finding.message.startswith("rng draws from a hidden state in each iteration of a loop")


def test_rng_in_a_branch_in_a_loop(lint: Any) -> None:
    branch = f'%r = "stablehlo.case"(%i) ({{\n%q = {RNG}\nstablehlo.return %q : tensor<4xf32>\n}})' \
        " : (tensor<i32>) -> tensor<4xf32>"
    assert len(lint("rng-in-loop", loop(branch))) == 1


DRAW = f"""\
func.func private @outer(%s: tensor<f32>, %shape: tensor<1xi64>) {{
  func.call @draw(%s, %shape) : (tensor<f32>, tensor<1xi64>) -> ()
  return
}}
func.func private @draw(%s: tensor<f32>, %shape: tensor<1xi64>) {{
  %r = {RNG}
  return
}}
"""
CALL = "func.call @outer(%s, %shape) : (tensor<f32>, tensor<1xi64>) -> ()"


def test_rng_in_a_function_that_is_called_in_a_loop(lint: Any) -> None:
    assert len(lint("rng-in-loop", loop(CALL, functions=DRAW))) == 1


@pytest.mark.parametrize("text", [loop("", after=f"%r = {RNG}"), loop("", after=CALL, functions=DRAW)])
def test_rng_outside(lint: Any, text: str) -> None:
    assert lint("rng-in-loop", text) == []


@pytest.mark.parametrize(("body", "state"), [
    (BITS.format("%a", "%b", "%key"), "%k"),
    (BITS.format("%a", "%b", "%k"), "%k"),
    ("%q = stablehlo.reshape %k : (tensor<2xui64>) -> tensor<2xui64>\n    " + BITS.format("%a", "%b", "%q"), "%k"),
    ("%q = stablehlo.constant dense<7> : tensor<2xui64>\n    " + BITS.format("%a", "%b", "%q"), "%q"),
    (BITS.format("%a", "%b", "%key"), "%a"),
])  # fmt: skip
def test_the_same_state_each_time(lint: Any, body: str, state: str) -> None:
    [finding] = lint("repeated-rng", loop(body, state=state))
    assert finding.message.startswith("rng_bit_generator starts from the same state in each iteration")


@pytest.mark.parametrize(("body", "state"), [
    (BITS.format("%a", "%b", "%k"), "%a"),
    ("%q = stablehlo.add %k, %k : tensor<2xui64>\n    " + BITS.format("%a", "%b", "%q"), "%a"),
])  # fmt: skip
def test_a_state_that_is_carried_on(lint: Any, body: str, state: str) -> None:
    assert lint("repeated-rng", loop(body, state=state)) == []


def test_no_loop(lint: Any) -> None:
    assert lint("repeated-rng", loop("", after=BITS.format("%a", "%b", "%key"))) == []
