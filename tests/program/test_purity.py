"""The purity table knows every op of the bindings, or knows that it does not."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest

from passes.program.purity import PLAIN, RULES, Effect, Effects, callees, is_known, own_effect, worst
from passes.program.read import Program, parse

T = "tensor<4xf32>"

# Ops that must never be taken for something that may go: they talk to the outside or to another op.
EFFECTS = {
    "stablehlo.infeed", "stablehlo.outfeed", "stablehlo.recv", "stablehlo.send", "sdy.data_flow_edge",
    "sdy.func_data_flow_edge", "sdy.mesh", "func.func", "func.call_indirect", "func.constant",
}


def dialect_ops(dialect: str) -> set[str]:
    generated = import_module(f"jaxlib.mlir.dialects._{dialect}_ops_gen")
    return {c.OPERATION_NAME for c in vars(generated).values() if isinstance(c, type) and hasattr(c, "OPERATION_NAME")}


@pytest.mark.parametrize("dialect", ["stablehlo", "sdy", "func", "chlo"])
def test_every_op_of_the_dialect_is_decided(dialect: str) -> None:
    unknown = {name for name in dialect_ops(dialect) if not is_known(name)}
    assert unknown == {name for name in EFFECTS if name.startswith(f"{dialect}.")}


def test_the_table_names_no_op_that_does_not_exist() -> None:
    exist = set().union(*(dialect_ops(dialect) for dialect in ("stablehlo", "sdy", "func")))
    assert {name for name in RULES if not name.startswith("mhlo.")} <= exist


def test_worst() -> None:
    assert worst([]) is worst([Effect.PURE, Effect.ANNOTATION]) is Effect.PURE
    assert worst([Effect.UNIQUE, Effect.ANNOTATION]) is Effect.UNIQUE
    assert worst([Effect.UNIQUE, Effect.EFFECT, Effect.PURE]) is Effect.EFFECT


def program(body: str, more: str = "") -> Program:
    return parse(f"func.func @main(%a: {T}, %t: !stablehlo.token) {{ {body}\nreturn }} {more}")


def first_op(given: Program) -> Any:
    return given.module.body.operations[0].regions[0].blocks[0].operations[0].operation


CUSTOM_CALLS = {
    f"@f(%a) : ({T}) -> {T}": Effect.PURE,
    f"@f(%a) {{has_side_effect = false}} : ({T}) -> {T}": Effect.PURE,
    f"@f(%a) {{has_side_effect = true}} : ({T}) -> {T}": Effect.EFFECT,
    f"@f(%a, %t) : ({T}, !stablehlo.token) -> {T}": Effect.EFFECT,
    f"@f(%a) : ({T}) -> !stablehlo.token": Effect.EFFECT,
    f'@Sharding(%a) {{mhlo.sharding = "{{replicated}}"}} : ({T}) -> {T}': Effect.ANNOTATION,
    f"@Sharding(%a) {{has_side_effect = true}} : ({T}) -> {T}": Effect.EFFECT,
}


@pytest.mark.parametrize("call", CUSTOM_CALLS)
def test_custom_calls(call: str) -> None:
    given = program(f"%0 = stablehlo.custom_call {call}")
    assert own_effect(first_op(given)) is CUSTOM_CALLS[call]


def test_regions_count() -> None:
    def branch(op: str) -> Effect:
        given = program(f"""%0 = "stablehlo.if"(%p) ({{
            %1 = {op}
            stablehlo.return %1 : {T}
          }}, {{ stablehlo.return %a : {T} }}) : (tensor<i1>) -> {T}""").module
        return Effects(given.operation).of(first_op(Program(given, "-")))

    def program(body: str) -> Program:
        return parse(f"func.func @main(%a: {T}, %p: tensor<i1>) {{ {body}\nreturn }}")

    assert branch(f"stablehlo.tanh %a : {T}") is Effect.PURE
    assert branch(f"stablehlo.optimization_barrier %a : {T}") is Effect.UNIQUE
    assert branch(f"stablehlo.custom_call @io(%a) {{has_side_effect = true}} : ({T}) -> {T}") is Effect.EFFECT
    assert branch(f"stablehlo.custom_call @Sharding(%a) : ({T}) -> {T}") is Effect.PURE


def function(name: str, op: str) -> str:
    return f"func.func private @{name}(%a: {T}) -> {T} {{ %0 = {op} return %0 : {T} }}\n"


def call(name: str) -> str:
    return f"func.call @{name}(%a) : ({T}) -> {T}"


IO = f"stablehlo.custom_call @io(%a) {{has_side_effect = true}} : ({T}) -> {T}"
RUN_PARALLEL = f"""%p, %q = "interpreter.run_parallel"(%0, %0) {{programs = [[@f], [@"g h"]]}}
  : ({T}, {T}) -> ({T}, {T})"""

SUMMARIES = {
    "pure through two calls": (function("f", call("g")) + function("g", f"stablehlo.tanh %a : {T}"), Effect.PURE),
    "an effect two calls down": (
        function("f", call("g")) + function("g", IO), Effect.EFFECT),
    "a barrier two calls down": (
        function("f", call("g")) + function("g", f"stablehlo.optimization_barrier %a : {T}"), Effect.UNIQUE),
    "a declaration": (function("f", call("g")) + f"func.func private @g({T}) -> {T}", Effect.EFFECT),
    "a pure cycle": (function("f", call("g")) + function("g", call("f")), Effect.PURE),
    "a cycle with an effect": (
        function("f", call("g")) + function("g", call("h")) + f"""func.func private @h(%a: {T}) -> {T} {{
            %0 = {call("f")} %1 = stablehlo.custom_call @io(%0) {{has_side_effect = true}} : ({T}) -> {T}
            return %1 : {T} }}""", Effect.EFFECT),
    "a composite of an effect": (
        function("f", f'stablehlo.composite "x.y" %a {{decomposition = @g}} : ({T}) -> {T}')
        + function("g", IO), Effect.EFFECT),
    "an op nobody knows": (
        function("f", f'stablehlo.tanh %a : {T} {RUN_PARALLEL}') + function('"g h"', IO), Effect.EFFECT),
}


@pytest.mark.parametrize("case", SUMMARIES)
def test_calls_are_what_their_callees_are(case: str) -> None:
    more, effect = SUMMARIES[case]
    given = program(f"%0 = {call('f')}", more)
    assert Effects(given.module.operation).of(first_op(given)) is effect


def test_one_function_may_be_asked_about_after_another() -> None:
    """The second one calls the first, the third and another one call each other."""
    given = program(
        f"%0 = {call('f')} %1 = {call('g')} %2 = {call('h')} %3 = {call('k')}",
        function("f", f"stablehlo.optimization_barrier %a : {T}") + function("g", call("f"))
        + function("h", call("i")) + function("i", call("h")) + function("k", f"stablehlo.tanh %a : {T}"),
    )
    effects = Effects(given.module.operation)
    calls = [view.operation for view in given.module.body.operations[0].operation.regions[0].blocks[0]][:4]
    assert [effects.of(op) for op in calls] == [Effect.UNIQUE, Effect.UNIQUE, Effect.PURE, Effect.PURE]
    assert [effects.of(op) for op in calls] == [Effect.UNIQUE, Effect.UNIQUE, Effect.PURE, Effect.PURE]


def test_kept_ops_are_effects_wherever_they_are() -> None:
    given = program(f'%0 = stablehlo.composite "x.y" %a {{decomposition = @f}} : ({T}) -> {T}',
                    function("f", call("g")) + function("g", f"stablehlo.tanh %a : {T}"))
    assert Effects(given.module.operation).of(first_op(given)) is Effect.PURE
    assert Effects(given.module.operation, frozenset({"func.call"})).of(first_op(given)) is Effect.EFFECT


def test_a_chain_of_calls_may_be_longer_than_the_stack() -> None:
    chain = "".join(function(f"f{i}", call(f"f{i + 1}")) for i in range(3000))
    given = program(f"%0 = {call('f0')}", chain + function("f3000", f"stablehlo.optimization_barrier %a : {T}"))
    assert Effects(given.module.operation).of(first_op(given)) is Effect.UNIQUE


def test_callees() -> None:
    given = program(f"""
      %0 = {call("f")}
      %1 = stablehlo.composite "x.y" %a {{decomposition = @"g h"}} : ({T}) -> {T}
      %2 = stablehlo.custom_call @target(%a) {{called_computations = [@f, @k]}} : ({T}) -> {T}
      {RUN_PARALLEL}
      %4 = stablehlo.tanh %a {{note = "@nothing"}} : {T}
    """, "".join(function(name, f"stablehlo.tanh %a : {T}") for name in ("f", '"g h"', "k")))
    block = given.module.body.operations[0].regions[0].blocks[0]
    assert [(op.operation.name, callees(op.operation)) for op in block] == [
        ("func.call", ["f"]), ("stablehlo.composite", ["g h"]), ("stablehlo.custom_call", ["f", "k"]),
        ("interpreter.run_parallel", ["f", "g h"]), ("stablehlo.tanh", []), ("func.return", [])]


def test_plain_ops_need_no_second_look() -> None:
    assert "stablehlo.add" in PLAIN
    assert not PLAIN & {"func.call", "stablehlo.custom_call", "stablehlo.rng", "stablehlo.send"}
