"""What dead-ops removes, what it must keep, and what it counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from passes.optimize.dead_ops import DeadOps

Optimize = Callable[..., Any]

T = "tensor<4xf32>"
MESH = 'sdy.mesh @mesh = <["x"=2]>'


def main(body: str, result: str = "%a", more: str = "") -> str:
    return f"func.func @main(%a: {T}, %b: {T}) -> {T} {{\n{body}\nreturn {result} : {T}\n}}\n{more}"


PURE_FUNCTIONS = f"""
func.func private @f(%a: {T}) -> {T} {{ %0 = call @g(%a) : ({T}) -> {T} return %0 : {T} }}
func.func private @g(%a: {T}) -> {T} {{ %0 = stablehlo.tanh %a : {T} return %0 : {T} }}
"""
EFFECT_FUNCTIONS = PURE_FUNCTIONS.replace(
    f"stablehlo.tanh %a : {T}", f"stablehlo.custom_call @io(%a) {{has_side_effect = true}} : ({T}) -> {T}")
REDUCE = f"""%z = stablehlo.constant dense<0.0> : tensor<f32>
%0 = stablehlo.reduce(%a init: %z) applies stablehlo.add across dimensions = [0] : ({T}, tensor<f32>) -> tensor<f32>"""

REMOVED = {
    "an unused op": (main(f"%0 = stablehlo.tanh %a : {T}"), {"removed": 1}),
    "a chain of them": (
        main(f"%0 = stablehlo.tanh %a : {T}\n%1 = stablehlo.add %0, %a : {T}\n%2 = stablehlo.negate %1 : {T}"),
        {"removed": 3}),
    "constants and chlo": (
        main(f"%0 = stablehlo.constant dense<1.0> : {T}\n%1 = chlo.erf %0 : {T} -> {T}"), {"removed": 2}),
    "an op with regions": (main(REDUCE), {"removed": 2}),
    "an op inside a region": (
        main(REDUCE.replace("applies stablehlo.add", "").replace("-> tensor<f32>", """-> tensor<f32>
          reducer(%x: tensor<f32>, %y: tensor<f32>) {
            %dead = stablehlo.multiply %x, %y : tensor<f32>
            %s = stablehlo.add %x, %y : tensor<f32>
            stablehlo.return %s : tensor<f32>
          }""") + f"\n%1 = stablehlo.broadcast_in_dim %0, dims = [] : (tensor<f32>) -> {T}", "%1"), {"removed": 1}),
    "random numbers nobody reads": (
        main(f"""%lo = stablehlo.constant dense<0.0> : tensor<f32>
                 %n = stablehlo.constant dense<4> : tensor<1xi64>
                 %0 = stablehlo.rng %lo, %lo, %n, distribution = UNIFORM
                   : (tensor<f32>, tensor<f32>, tensor<1xi64>) -> {T}"""), {"removed": 3}),
    "a barrier none of whose results is used": (
        main(f"%0:2 = stablehlo.optimization_barrier %a, %b : {T}, {T}"), {"removed": 1}),
    "a token nobody waits for": (main("%0 = stablehlo.create_token : !stablehlo.token"), {"removed": 1}),
    "a collective": (
        main(f"""%0 = "stablehlo.all_gather"(%a) {{all_gather_dim = 0 : i64,
               replica_groups = dense<[[0, 1]]> : tensor<1x2xi64>}} : ({T}) -> tensor<8xf32>"""),
        {"removed": 1, "removed-collectives": 1}),
    "a custom call without side effects": (
        main(f"%0 = stablehlo.custom_call @f(%a) : ({T}) -> {T}"), {"removed": 1, "removed-calls": 1}),
    "a call of a pure function, and the functions": (
        main(f"%0 = call @f(%a) : ({T}) -> {T}", more=PURE_FUNCTIONS),
        {"removed": 1, "removed-calls": 1, "removed-functions": 2}),
    "a composite and its decomposition": (
        main(f'%0 = stablehlo.composite "my.op" %a {{decomposition = @f}} : ({T}) -> {T}', more=PURE_FUNCTIONS),
        {"removed": 1, "removed-calls": 1, "removed-functions": 2}),
    "private functions that only call each other": (
        main("", more=f"""
            func.func private @f(%a: {T}) -> {T} {{ %0 = call @g(%a) : ({T}) -> {T} return %0 : {T} }}
            func.func private @g(%a: {T}) -> {T} {{ %0 = call @f(%a) : ({T}) -> {T} return %0 : {T} }}"""),
        {"removed-functions": 2}),
    "a mesh nobody names": (main("", more='sdy.mesh @unused = <["y"=2]>'), {"removed-meshes": 1}),
    "a mesh only named by dead ops": (
        main(f'%0 = stablehlo.tanh %a {{sdy.sharding = #sdy.sharding_per_value<[<@mesh, [{{"x"}}]>]>}} : {T}',
             more=MESH), {"removed": 1, "removed-meshes": 1}),
    "an annotation together with what it annotates": (
        main(f"""%0 = stablehlo.tanh %a : {T}
                 %1 = sdy.sharding_constraint %0 <@mesh, [{{"x"}}]> : {T}
                 %2 = sdy.sharding_constraint %1 <@mesh, [{{}}]> : {T}
                 sdy.sharding_group %0 group_id = 0 : {T}
                 %3 = stablehlo.custom_call @Sharding(%0) {{mhlo.sharding = "{{replicated}}"}} : ({T}) -> {T}""",
             more=MESH), {"removed": 5, "removed-calls": 1, "removed-meshes": 1}),
}


@pytest.mark.parametrize("case", REMOVED)
def test_removes(optimize: Optimize, case: str) -> None:
    text, counters = REMOVED[case]
    assert optimize(DeadOps(), text).counters == counters


KEPT = {
    "what is used": main(f"%0 = stablehlo.tanh %a : {T}", "%0"),
    "a custom call with side effects and what it reads": main(f"""%0 = stablehlo.tanh %a : {T}
        %1 = stablehlo.custom_call @io(%0) {{has_side_effect = true}} : ({T}) -> {T}"""),
    "a call whose callee's callee has an effect": main(
        f"%0 = call @f(%a) : ({T}) -> {T}", "%0", more=EFFECT_FUNCTIONS),
    "a call of a declaration": main(f"%0 = call @f(%a) : ({T}) -> {T}", more=f"func.func private @f({T}) -> {T}"),
    "public functions": main("", more=PURE_FUNCTIONS.replace("private @f", "@f")),
    "@main, even if private": main("").replace("@main", "private @main"),
    "functions named by an op that is not known": main(
        f"""%t = stablehlo.create_token : !stablehlo.token
            %0 = "interpreter.run_parallel"(%a) {{programs = [[@f]]}} : ({T}) -> {T}
            %1:2 = "stablehlo.infeed"(%t) {{infeed_config = ""}} : (!stablehlo.token) -> ({T}, !stablehlo.token)
        """, "%0", more=PURE_FUNCTIONS),
    "send and receive": main(
        f"""%t = stablehlo.create_token : !stablehlo.token
            %0 = "stablehlo.send"(%a, %t) {{channel_handle = #stablehlo.channel_handle<handle = 1, type = 2>,
              is_host_transfer = true}} : ({T}, !stablehlo.token) -> !stablehlo.token
            %1:2 = "stablehlo.recv"(%t) {{channel_handle = #stablehlo.channel_handle<handle = 2, type = 3>,
              is_host_transfer = true}} : (!stablehlo.token) -> ({T}, !stablehlo.token)"""),
    "an annotation of a value that is used": main(
        f"""%0 = stablehlo.tanh %a : {T}
            %1 = sdy.sharding_constraint %0 <@mesh, [{{"x"}}]> : {T}
            %2 = sdy.sharding_constraint %1 <@mesh, [{{}}]> : {T}
            sdy.sharding_group %0 group_id = 0 : {T}
            %3 = sdy.sharding_constraint %a <@mesh, [{{}}]> : {T}""", "%0", more=MESH),
    "a mesh named by an argument": main("", more=MESH).replace(
        f"%a: {T}", f'%a: {T} {{sdy.sharding = #sdy.sharding<@mesh, [{{"x"}}]>}}'),
    "a mesh named in a string": main("", more=MESH).replace(
        f"%a: {T}", f'%a: {T} {{mhlo.frontend_attributes = {{xla.sdy.sharding = "<@mesh, [{{}}]>"}}}}'),
    "a loop with an effect": main(f"""%z = stablehlo.constant dense<0> : tensor<i32>
        %0 = stablehlo.while(%i = %z) : tensor<i32>
        cond {{
          %c = stablehlo.compare LT, %i, %z : (tensor<i32>, tensor<i32>) -> tensor<i1>
          stablehlo.return %c : tensor<i1>
        }} do {{
          %1 = stablehlo.custom_call @io(%a) {{has_side_effect = true}} : ({T}) -> {T}
          stablehlo.return %i : tensor<i32>
        }}"""),
}


@pytest.mark.parametrize("case", KEPT)
def test_keeps(optimize: Optimize, case: str) -> None:
    assert optimize(DeadOps(), KEPT[case]).counters == {}


def test_keep_calls(optimize: Optimize) -> None:
    text = main(f"%0 = stablehlo.tanh %b : {T}\n%1 = call @f(%a) : ({T}) -> {T}", more=PURE_FUNCTIONS)
    assert optimize(DeadOps(keep_calls=True), text).counters == {"removed": 1}
    # A function that calls is then no longer pure either.
    nested = main(f'%1 = stablehlo.composite "my.op" %a {{decomposition = @f}} : ({T}) -> {T}', more=PURE_FUNCTIONS)
    assert optimize(DeadOps(keep_calls=True), nested).counters == {}


def loop(carried: str, yielded: str, body: str, results: str, attributes: str = "") -> str:
    """A program around a loop that counts ``%i`` to 3; ``carried`` are names bound to ``%a`` at the start."""
    names = carried.split()
    bound = "".join(f", %{name} = %a" for name in names)
    types = "".join(f", {T}" for _ in names)
    ending = ", ".join(["%j", *yielded.split()])
    return f"""
func.func @main(%a: {T}, %b: {T}) -> ({", ".join([T] * len(results.split()))}) {{
  %z = stablehlo.constant dense<0> : tensor<i32>
  %n = stablehlo.constant dense<3> : tensor<i32>
  %r:{len(names) + 1} = stablehlo.while(%i = %z{bound}) : tensor<i32>{types} {attributes}
  cond {{
    %c = stablehlo.compare LT, %i, %n : (tensor<i32>, tensor<i32>) -> tensor<i1>
    stablehlo.return %c : tensor<i1>
  }} do {{
    %one = stablehlo.constant dense<1> : tensor<i32>
    %j = stablehlo.add %i, %one : tensor<i32>
    {body}
    stablehlo.return {ending} : tensor<i32>{types}
  }}
  return {results.replace(" ", ", ")} : {", ".join([T] * len(results.split()))}
}}
{MESH}
"""


LOOPS = {
    "a carry that keeps only itself alive": (
        loop("x y", "%0 %1", f"%0 = stablehlo.add %x, %b : {T}\n%1 = stablehlo.negate %y : {T}", "%r#2"), 1),
    "two that keep each other alive": (
        loop("x y u", "%y %x %0", f"%0 = stablehlo.negate %u : {T}", "%r#3"), 2),
    "a chain that ends in nothing": (
        loop("x y u w", "%w %x %y %0", f"%0 = stablehlo.negate %w : {T}", "%r#4"), 3),
    "a chain that ends in a result": (
        loop("x y u w", "%x %x %y %u", "", "%r#4"), 0),
    "one that is only annotated": (
        loop("x y", "%x %0", f"""%0 = stablehlo.negate %y : {T}
             %1 = sdy.sharding_constraint %x <@mesh, [{{"x"}}]> : {T}
             sdy.sharding_group %x group_id = 1 : {T}""", "%r#2"), 1),
    "one that an effect reads": (
        loop("x y", "%0 %y", f"""%0 = stablehlo.negate %x : {T}
             %1 = stablehlo.custom_call @io(%x) {{has_side_effect = true}} : ({T}) -> {T}""", "%r#2"), 0),
    "one that the condition reads, instead of the counter": (
        loop("x y", "%x %y", "", "%r#2").replace("%c = stablehlo.compare LT, %i, %n", """
             %s = stablehlo.slice %x [0:1] : (tensor<4xf32>) -> tensor<1xf32>
             %t = stablehlo.reshape %s : (tensor<1xf32>) -> tensor<f32>
             %u = stablehlo.convert %t : (tensor<f32>) -> tensor<i32>
             %c = stablehlo.compare LT, %u, %z"""), 1),
    "one that an inner loop carries for nothing": (
        loop("x y", "%q#1 %q#2", f"""
             %q:3 = stablehlo.while(%k = %z, %v = %x, %w = %y) : tensor<i32>, {T}, {T}
             cond {{
               %c = stablehlo.compare LT, %k, %n : (tensor<i32>, tensor<i32>) -> tensor<i1>
               stablehlo.return %c : tensor<i1>
             }} do {{
               %l = stablehlo.add %k, %one : tensor<i32>
               %2 = stablehlo.tanh %v : {T}
               %3 = stablehlo.negate %w : {T}
               stablehlo.return %l, %2, %3 : tensor<i32>, {T}, {T}
             }}""", "%r#2"), 2),
    "one that only feeds a branch result nobody needs": (
        loop("x y", "%q#0 %q#1", f"""
             %p = stablehlo.compare EQ, %i, %z : (tensor<i32>, tensor<i32>) -> tensor<i1>
             %q:2 = "stablehlo.if"(%p) ({{
               %2 = stablehlo.tanh %x : {T}
               stablehlo.return %2, %y : {T}, {T}
             }}, {{
               %3 = stablehlo.negate %y : {T}
               stablehlo.return %x, %3 : {T}, {T}
             }}) : (tensor<i1>) -> ({T}, {T})""", "%r#2"), 1),
}


@pytest.mark.parametrize("case", LOOPS)
def test_loop_carries(optimize: Optimize, evaluate: Any, case: str) -> None:
    from passes import _mlir

    text, dropped = LOOPS[case]
    result = optimize(DeadOps(), text)
    assert result.counters.get("removed-carries", 0) == dropped
    if "@io" not in text and "sdy." not in text.replace(MESH, ""):
        inputs = [np.array([0.5, -0.0, np.nan, 3.0], np.float32), np.ones(4, np.float32)]
        before = _mlir.ir.Module.parse(text.replace(MESH, ""), _mlir.context())
        assert evaluate(result.module, inputs) == evaluate(before, inputs)


def test_a_loop_that_is_unused_goes(optimize: Optimize) -> None:
    result = optimize(DeadOps(), loop("x", "%0", f"%0 = stablehlo.negate %x : {T}", "%b"))
    assert result.counters == {"removed": 3, "removed-meshes": 1}


def test_what_fed_a_dead_carry_goes_too(optimize: Optimize) -> None:
    first = loop("x y", "%x %y", "", "%r#2")
    again = first.replace("%x = %a", "%x = %t").replace("%r:3", f"%t = stablehlo.tanh %a : {T}\n%r:3")
    assert optimize(DeadOps(), again).counters["removed"] == 1


def test_shardings_of_the_carries_that_stay(optimize: Optimize) -> None:
    sharding = 'attributes {sdy.sharding = #sdy.sharding_per_value<[<@mesh, []>, <@mesh, [{}]>, <@mesh, [{"x"}]>]>}'
    result = optimize(DeadOps(), loop("x y", "%x %y", "", "%r#2", sharding))
    assert '#sdy.sharding_per_value<[<@mesh, []>, <@mesh, [{"x"}]>]>' in result.text


def test_attributes_that_may_count_results_keep_all_carries(optimize: Optimize) -> None:
    text = loop("x y", "%x %y", "", "%r#2", 'attributes {mhlo.sharding = "{{replicated}, {replicated}, {replicated}}"}')
    assert "removed-carries" not in optimize(DeadOps(), text).counters


BRANCHES = f"""
func.func @main(%i: tensor<i32>, %a: {T}) -> {T} {{
  %0 = stablehlo.tanh %a : {T}
  %1 = stablehlo.negate %a : {T}
  %2:2 = "stablehlo.case"(%i) ({{
    %3 = stablehlo.sine %0 : {T}
    stablehlo.return %3, %a : {T}, {T}
  }}, {{
    %3 = stablehlo.cosine %1 : {T}
    stablehlo.return %a, %3 : {T}, {T}
  }}) : (tensor<i32>) -> ({T}, {T})
  return %2#1 : {T}
}}
"""


def test_branch_results(optimize: Optimize, evaluate: Any) -> None:
    from passes import _mlir

    result = optimize(DeadOps(), BRANCHES)
    # The first branch's sine was all that needed the tanh outside.
    assert result.counters == {"removed": 2, "removed-results": 1}
    before = _mlir.ir.Module.parse(BRANCHES, _mlir.context())
    for index in range(2):
        inputs = [np.array(index, np.int32), np.arange(4, dtype=np.float32)]
        assert evaluate(result.module, inputs) == evaluate(before, inputs)


def test_a_branch_kept_for_its_effect_loses_its_results(optimize: Optimize) -> None:
    text = BRANCHES.replace("return %2#1", "return %a").replace(
        "%3 = stablehlo.sine %0", f"%e = stablehlo.custom_call @io(%1) {{has_side_effect = true}} : ({T}) -> {T}\n"
        "%3 = stablehlo.sine %0")
    result = optimize(DeadOps(), text)
    assert result.counters == {"removed": 3, "removed-results": 2}
    assert "@io" in result.text


def test_loops_deep_inside_each_other(optimize: Optimize) -> None:
    body = f"%x = stablehlo.tanh %y0 : {T}"
    ending = f"stablehlo.return %x, %y0 : {T}, {T}"
    for depth in range(30):
        body = f"""
          %r{depth}:2 = stablehlo.while(%x{depth} = %x{depth + 1}, %y{depth} = %y{depth + 1}) : {T}, {T}
          cond {{ stablehlo.return %p : tensor<i1> }} do {{ {body} {ending} }}"""
        ending = f"stablehlo.return %r{depth}#0, %r{depth}#1 : {T}, {T}"
    text = f"""func.func @main(%p: tensor<i1>, %x30: {T}, %y30: {T}) -> {T} {{ {body} return %r29#1 : {T} }}"""
    assert optimize(DeadOps(), text).counters == {"removed": 1, "removed-carries": 30}


S = "tensor<f32>"

SIGNATURES = {
    "an argument nothing reads": (main(
        f"%0 = call @f(%a, %b) : ({T}, {T}) -> {T}", "%0", more=f"""
        func.func private @f(%x: {T}, %y: {T}) -> {T} {{ %0 = stablehlo.tanh %y : {T} return %0 : {T} }}"""),
        {"removed-arguments": 1}),
    "what was computed for it": (main(
        f"%0 = stablehlo.sine %a : {T}\n%1 = call @f(%0, %b) : ({T}, {T}) -> {T}", "%1", more=f"""
        func.func private @f(%x: {T}, %y: {T}) -> {T} {{ return %y : {T} }}"""),
        {"removed-arguments": 1, "removed": 1}),
    "a result no caller uses, and what leads to it": (main(
        f"%0:2 = call @f(%a, %b) : ({T}, {T}) -> ({T}, {T})", "%0#1", more=f"""
        func.func private @f(%x: {T}, %y: {T}) -> ({T}, {T}) {{
          %0 = stablehlo.sine %x : {T} %1 = stablehlo.tanh %y : {T} return %0, %1 : {T}, {T} }}"""),
        {"removed-arguments": 1, "removed-returns": 1, "removed": 1}),
    "a result that one caller uses": (main(
        f"""%0:2 = call @f(%a) : ({T}) -> ({T}, {T})
            %1:2 = call @f(%b) : ({T}) -> ({T}, {T})
            %2 = stablehlo.add %0#0, %1#1 : {T}""", "%2", more=f"""
        func.func private @f(%x: {T}) -> ({T}, {T}) {{
          %0 = stablehlo.sine %x : {T} %1 = stablehlo.tanh %x : {T} return %0, %1 : {T}, {T} }}"""),
        {}),
    "an argument that goes from layer to layer for nothing": (main(
        f"""%0:2 = call @layer(%a, %b) : ({T}, {T}) -> ({T}, {T})
            %1:2 = call @layer(%0#0, %0#1) : ({T}, {T}) -> ({T}, {T})
            %2:2 = call @layer(%1#0, %1#1) : ({T}, {T}) -> ({T}, {T})""", "%2#0", more=f"""
        func.func private @layer(%x: {T}, %aux: {T}) -> ({T}, {T}) {{
          %0 = stablehlo.sine %x : {T} %1 = stablehlo.add %aux, %x : {T} return %0, %1 : {T}, {T} }}"""),
        {"removed-arguments": 1, "removed-returns": 1, "removed": 1}),
    "the same, around a loop": (f"""
        func.func @main(%a: {T}, %b: {T}) -> {T} {{
          %z = stablehlo.constant dense<0> : tensor<i32>
          %0:3 = stablehlo.while(%i = %z, %x = %a, %y = %b) : tensor<i32>, {T}, {T}
          cond {{
            %n = stablehlo.constant dense<3> : tensor<i32>
            %c = stablehlo.compare LT, %i, %n : (tensor<i32>, tensor<i32>) -> tensor<i1>
            stablehlo.return %c : tensor<i1>
          }} do {{
            %one = stablehlo.constant dense<1> : tensor<i32>
            %j = stablehlo.add %i, %one : tensor<i32>
            %1:2 = func.call @layer(%x, %y) : ({T}, {T}) -> ({T}, {T})
            stablehlo.return %j, %1#0, %1#1 : tensor<i32>, {T}, {T}
          }}
          return %0#1 : {T}
        }}
        func.func private @layer(%x: {T}, %aux: {T}) -> ({T}, {T}) {{
          %0 = stablehlo.sine %x : {T} %1 = stablehlo.add %aux, %x : {T} return %0, %1 : {T}, {T} }}""",
        {"removed-carries": 1, "removed-arguments": 1, "removed-returns": 1, "removed": 1}),
    "a result that is only used for a dead argument of another function": (main(
        f"""%0 = call @f(%a) : ({T}) -> {T}
            %1 = call @g(%0, %b) : ({T}, {T}) -> {T}""", "%1", more=f"""
        func.func private @f(%x: {T}) -> {T} {{ %0 = stablehlo.sine %x : {T} return %0 : {T} }}
        func.func private @g(%x: {T}, %y: {T}) -> {T} {{
          %0 = call @h(%y, %x) : ({T}, {T}) -> {T} return %0 : {T} }}
        func.func private @h(%x: {T}, %y: {T}) -> {T} {{ %0 = stablehlo.tanh %x : {T} return %0 : {T} }}"""),
        {"removed-arguments": 2, "removed": 1, "removed-calls": 1, "removed-functions": 1}),
    "what an effect reads, in a function none of whose results is used": (main(
        f"%0 = call @f(%a, %b) : ({T}, {T}) -> {T}", more=f"""
        func.func private @f(%x: {T}, %y: {T}) -> {T} {{
          %0 = stablehlo.custom_call @io(%y) {{has_side_effect = true}} : ({T}) -> {T} return %x : {T} }}"""),
        {"removed-arguments": 1, "removed-returns": 1}),
}


@pytest.mark.parametrize("case", SIGNATURES)
def test_signatures(optimize: Optimize, evaluate: Any, case: str) -> None:
    from passes import _mlir

    text, counters = SIGNATURES[case]
    result = optimize(DeadOps(), text)
    assert result.counters == counters
    if "@io" not in text:
        inputs = [np.array([0.5, -0.0, np.nan, 3.0], np.float32), np.ones(4, np.float32)]
        assert evaluate(result.module, inputs) == evaluate(_mlir.ir.Module.parse(text, _mlir.context()), inputs)


RECURSIVE = f"""
func.func private @even(%n: tensor<i32>, %x: {T}, %y: {T}) -> ({T}, {T}) {{
  %z = stablehlo.constant dense<0> : tensor<i32>
  %p = stablehlo.compare LE, %n, %z : (tensor<i32>, tensor<i32>) -> tensor<i1>
  %0:2 = "stablehlo.if"(%p) ({{
    stablehlo.return %x, %y : {T}, {T}
  }}, {{
    %1 = stablehlo.constant dense<-1> : tensor<i32>
    %2 = stablehlo.add %n, %1 : tensor<i32>
    %3 = stablehlo.negate %x : {T}
    %4 = stablehlo.sine %y : {T}
    %5:2 = func.call @odd(%2, %4, %3) : (tensor<i32>, {T}, {T}) -> ({T}, {T})
    stablehlo.return %5#1, %5#0 : {T}, {T}
  }}) : (tensor<i1>) -> ({T}, {T})
  return %0#0, %0#1 : {T}, {T}
}}
func.func private @odd(%n: tensor<i32>, %y: {T}, %x: {T}) -> ({T}, {T}) {{
  %0:2 = func.call @even(%n, %x, %y) : (tensor<i32>, {T}, {T}) -> ({T}, {T})
  return %0#1, %0#0 : {T}, {T}
}}
"""


def test_recursion(optimize: Optimize, evaluate: Any) -> None:
    from passes import _mlir

    text = main(f"%n = stablehlo.constant dense<2> : tensor<i32>\n"
                f"%0:2 = call @even(%n, %a, %b) : (tensor<i32>, {T}, {T}) -> ({T}, {T})", "%0#0", RECURSIVE)
    result = optimize(DeadOps(), text)
    assert result.counters == {
        "removed": 1, "removed-arguments": 2, "removed-returns": 2, "removed-results": 1}
    inputs = [np.arange(4, dtype=np.float32), np.ones(4, np.float32)]
    assert evaluate(result.module, inputs) == evaluate(_mlir.ir.Module.parse(text, _mlir.context()), inputs)
    both = text.replace("return %0#0 : tensor<4xf32>", f"%9 = stablehlo.add %0#0, %0#1 : {T}\nreturn %9 : {T}", 1)
    assert optimize(DeadOps(), both).counters == {}


def test_attributes_stay_with_their_argument_and_result(optimize: Optimize) -> None:
    text = main(f"""%0:3 = call @f(%a, %b) {{sdy.sharding = #sdy.sharding_per_value<[
                      <@mesh, [{{}}]>, <@mesh, [{{"x"}}]>, <@mesh, [{{?}}]>]>}} : ({T}, {T}) -> ({T}, {T}, {T})
                    %1 = stablehlo.add %0#1, %0#2 : {T}""", "%1", MESH + f"""
        func.func private @f(%x: {T} {{my.a = "x"}}, %y: {T} {{my.a = "y"}})
            -> ({T} {{my.r = "0"}}, {T} {{my.r = "1"}}, {T} {{my.r = "2"}}) {{
          %0 = stablehlo.sine %y : {T} %1 = stablehlo.tanh %y : {T}
          return %x, %0, %1 : {T}, {T}, {T} }}""")
    result = optimize(DeadOps(), text).text
    assert 'sharding_per_value<[<@mesh, [{"x"}]>, <@mesh, [{?}]>]>' in result
    assert f'@f(%arg0: {T} {{my.a = "y"}}) -> ({T} {{my.r = "1"}}, {T} {{my.r = "2"}})' in result


UNUSED = f"func.func private @f(%x: {T}, %y: {T}) -> ({T}, {T}) {{ return %y, %y : {T}, {T} }}"
CALL = f"%0:2 = call @f(%a, %b) : ({T}, {T}) -> ({T}, {T})"
SIGNATURES_KEPT = {
    "of a public function": main(CALL, "%0#0", UNUSED.replace("private ", "")),
    "of @main": UNUSED.replace("@f", "@main"),
    "of a declaration": main(CALL, "%0#0", f"func.func private @f({T}, {T}) -> ({T}, {T})"),
    "of a composite's decomposition": main(f"""{CALL}
        %1:2 = stablehlo.composite "my.op" %a, %b {{decomposition = @f}} : ({T}, {T}) -> ({T}, {T})
        %2 = stablehlo.add %0#0, %1#0 : {T}""", "%2", UNUSED),
    "of what a custom call names": main(f"""{CALL}
        %1 = stablehlo.custom_call @io(%0#0) {{called_computations = [@f], has_side_effect = true}}
          : ({T}) -> {T}""", "%0#0", UNUSED),
    "of what an unknown op names": main(f"""{CALL}
        %1:2 = "interpreter.run_parallel"(%a, %b) {{programs = [[@f]]}}
          : ({T}, {T}) -> ({T}, {T})""", "%0#0", UNUSED),
    "where a call says something about all its results": main(
        CALL.replace("(%a, %b)", '(%a, %b) {mhlo.sharding = "{{replicated}, {replicated}}"}'), "%0#0", UNUSED),
    "where an argument shares its memory with a result of a certain number": main(
        CALL, "%0#1", UNUSED.replace(f"%y: {T}", f"%y: {T} {{tf.aliasing_output = 1 : i32}}")),
}


@pytest.mark.parametrize("case", SIGNATURES_KEPT)
def test_signature_is_kept(optimize: Optimize, case: str) -> None:
    assert optimize(DeadOps(), SIGNATURES_KEPT[case]).counters == {}


def test_keep_calls_keeps_signatures(optimize: Optimize) -> None:
    assert optimize(DeadOps(keep_calls=True), main(CALL, "%0#0", UNUSED)).counters == {}


def test_keep_signatures_keeps_those_alone(optimize: Optimize) -> None:
    assert optimize(DeadOps(keep_signatures=True), main(CALL, "%0#0", UNUSED)).counters == {}
    assert optimize(DeadOps(keep_signatures=True), main(CALL, "%a", UNUSED)).counters == {
        "removed": 1, "removed-calls": 1, "removed-functions": 1}


I4 = "tensor<4xi32>"
SORT = f"""
func.func @main(%k: {T}, %v: {T}, %i: {I4}) -> RESULTS {{
  %0:3 = "stablehlo.sort"(%k, %v, %i) <{{dimension = 0 : i64, is_stable = true}}> ({{
  ^bb0(%p: {S}, %q: {S}, %r: {S}, %s: {S}, %t: tensor<i32>, %u: tensor<i32>):
    %dead = stablehlo.add %t, %u : tensor<i32>
    %1 = stablehlo.compare LT, %p, %q : ({S}, {S}) -> tensor<i1>
    stablehlo.return %1 : tensor<i1>
  }}) : ({T}, {T}, {I4}) -> ({T}, {T}, {I4})
  return RETURN
}}
"""
REDUCE_TWO = f"""
func.func @main(%k: {T}, %v: {T}, %i: {I4}) -> RESULTS {{
  %z = stablehlo.constant dense<0.0> : {S}
  %n = stablehlo.constant dense<0> : tensor<i32>
  %0:3 = stablehlo.reduce(%k init: %z), (%v init: %z), (%i init: %n) across dimensions = [0]
    : ({T}, {T}, {I4}, {S}, {S}, tensor<i32>) -> ({S}, {S}, tensor<i32>)
    reducer(%p: {S}, %q: {S}) (%r: {S}, %s: {S}) (%t: tensor<i32>, %u: tensor<i32>) {{
      %1 = stablehlo.compare GE, %p, %q : ({S}, {S}) -> tensor<i1>
      %2 = stablehlo.select %1, %p, %q : tensor<i1>, {S}
      %3 = stablehlo.add %r, %s : {S}
      %4 = stablehlo.select %1, %t, %u : tensor<i1>, tensor<i32>
      stablehlo.return %2, %3, %4 : {S}, {S}, tensor<i32>
    }}
  return RETURN
}}
"""
WINDOW = f"""
func.func @main(%k: {T}, %v: {T}, %i: {I4}) -> RESULTS {{
  %z = stablehlo.constant dense<0.0> : {S}
  %n = stablehlo.constant dense<0> : tensor<i32>
  %0:3 = "stablehlo.reduce_window"(%k, %v, %i, %z, %z, %n) <{{window_dimensions = array<i64: 2>}}> ({{
    ^bb0(%p: {S}, %r: {S}, %t: tensor<i32>, %q: {S}, %s: {S}, %u: tensor<i32>):
      %1 = stablehlo.maximum %p, %q : {S}
      %2 = stablehlo.add %r, %s : {S}
      %3 = stablehlo.subtract %t, %u : tensor<i32>
      stablehlo.return %1, %2, %3 : {S}, {S}, tensor<i32>
    }}) : ({T}, {T}, {I4}, {S}, {S}, tensor<i32>) -> (tensor<3xf32>, tensor<3xf32>, tensor<3xi32>)
  return RETURN
}}
"""
SCATTER = f"""
func.func @main(%k: {T}, %v: {T}, %i: {I4}) -> RESULTS {{
  %at = stablehlo.constant dense<[[1], [3]]> : tensor<2x1xi32>
  %f = stablehlo.constant dense<[5.0, 7.0]> : tensor<2xf32>
  %n = stablehlo.constant dense<[5, 7]> : tensor<2xi32>
  %0:3 = "stablehlo.scatter"(%k, %v, %i, %at, %f, %f, %n) <{{
      scatter_dimension_numbers = #stablehlo.scatter<inserted_window_dims = [0], scatter_dims_to_operand_dims = [0],
      index_vector_dim = 1>, unique_indices = true}}> ({{
    ^bb0(%p: {S}, %r: {S}, %t: tensor<i32>, %q: {S}, %s: {S}, %u: tensor<i32>):
      %1 = stablehlo.maximum %p, %q : {S}
      %2 = stablehlo.add %r, %s : {S}
      %3 = stablehlo.subtract %t, %u : tensor<i32>
      stablehlo.return %1, %2, %3 : {S}, {S}, tensor<i32>
    }}) : ({T}, {T}, {I4}, tensor<2x1xi32>, tensor<2xf32>, tensor<2xf32>, tensor<2xi32>) -> ({T}, {T}, {I4})
  return RETURN
}}
"""
TYPES = {"sort": (T, T, I4), "scatter": (T, T, I4), "reduce": (S, S, "tensor<i32>"),
         "reduce_window": ("tensor<3xf32>", "tensor<3xf32>", "tensor<3xi32>")}
# op, results used, payloads dropped, other ops removed
PAYLOADS = [
    (SORT, "sort", (0, 1, 2), 0, 1), (SORT, "sort", (0, 1), 1, 1), (SORT, "sort", (1,), 1, 1),
    (SORT, "sort", (2,), 1, 1), (REDUCE_TWO, "reduce", (0, 1, 2), 0, 0), (REDUCE_TWO, "reduce", (0,), 2, 3),
    (REDUCE_TWO, "reduce", (1,), 2, 4), (REDUCE_TWO, "reduce", (2,), 1, 1), (WINDOW, "reduce_window", (1, 2), 1, 1),
    (WINDOW, "reduce_window", (2,), 2, 3), (SCATTER, "scatter", (0, 2), 1, 1), (SCATTER, "scatter", (1,), 2, 3),
]


@pytest.mark.parametrize(("text", "op", "used", "dropped", "removed"), PAYLOADS)
def test_payloads(
    optimize: Optimize, evaluate: Any, text: str, op: str, used: tuple[int, ...], dropped: int, removed: int
) -> None:
    from passes import _mlir

    types = ", ".join(TYPES[op][i] for i in used)
    text = text.replace("RESULTS", f"({types})").replace(
        "RETURN", f"{', '.join(f'%0#{i}' for i in used)} : {types}")
    result = optimize(DeadOps(), text)
    assert result.counters.get("removed-payloads", 0) == dropped
    assert result.counters.get("removed", 0) == removed
    inputs = [np.array([2, 3, -1, 2], np.float32), np.array([-0.0, 4, 1, 9], np.float32), np.arange(4, dtype=np.int32)]
    assert evaluate(result.module, inputs) == evaluate(_mlir.ir.Module.parse(text, _mlir.context()), inputs)


def test_an_effect_in_a_reducer_keeps_all_payloads(optimize: Optimize) -> None:
    text = REDUCE_TWO.replace("RESULTS", S).replace("RETURN", f"%0#0 : {S}").replace(
        "%3 = stablehlo.add %r, %s", f"%e = stablehlo.custom_call @io(%r) {{has_side_effect = true}} : ({S}) -> {S}\n"
        "%3 = stablehlo.add %r, %s")
    assert optimize(DeadOps(), text).counters == {}


def test_attributes_that_may_count_results_keep_all_payloads(optimize: Optimize) -> None:
    text = SORT.replace("RESULTS", T).replace("RETURN", f"%0#0 : {T}").replace(
        f"}}) : ({T}", f'}}) {{mhlo.sharding = "{{{{replicated}}, {{replicated}}, {{replicated}}}}"}} : ({T}')
    assert "removed-payloads" not in optimize(DeadOps(), text).counters


def test_results_that_cannot_go_alone_stay(optimize: Optimize) -> None:
    several = f"({T}, {T}) -> ({T}, {T})"
    text = main(f"""%0:2 = stablehlo.custom_call @f(%a, %b) : {several}
                    %1:2 = stablehlo.optimization_barrier %0#0, %b : {T}, {T}""", "%1#0")
    assert optimize(DeadOps(), text).counters == {}


CHANNEL = "channel_handle = #stablehlo.channel_handle<handle = 1, type = 1>"


def transfer(send: str, received: str, after: str = "") -> str:
    return main(f"""%t = stablehlo.create_token : !stablehlo.token
        %x = stablehlo.sine %a : {T}
        %0:2 = "stablehlo.recv"(%t) {{{CHANNEL}}} : (!stablehlo.token) -> ({T}, !stablehlo.token)
        %1 = stablehlo.tanh %0#0 : {T}
        %y = stablehlo.cosine %a : {T}
        %2 = "stablehlo.send"(%y, %0#1) {{{send}}} : ({T}, !stablehlo.token) -> !stablehlo.token
        {after}""", received)


def test_a_transfer_nobody_reads_goes_as_a_pair(optimize: Optimize) -> None:
    assert optimize(DeadOps(), transfer(CHANNEL, "%x")).counters == {"removed": 5}
    ordered = transfer(CHANNEL, "%x", f"""%3 = stablehlo.custom_call @io(%a, %2) {{has_side_effect = true}}
        : ({T}, !stablehlo.token) -> !stablehlo.token""")
    result = optimize(DeadOps(), ordered)
    assert result.counters == {"removed": 4}
    assert "custom_call @io(%arg0, %0)" in result.text and "%0 = stablehlo.create_token" in result.text


def test_the_caller_of_a_dead_transfer_is_pure(optimize: Optimize) -> None:
    text = transfer(CHANNEL, "%x").replace("@main", "private @f") + main(f"%0 = call @f(%a, %b) : ({T}, {T}) -> {T}")
    assert optimize(DeadOps(), text).counters == {
        "removed": 4, "removed-calls": 1, "removed-functions": 1}


@pytest.mark.parametrize("text", [
    transfer(CHANNEL, "%1"),
    transfer(CHANNEL.replace("handle = 1", "handle = 2"), "%x"),
    transfer(f"{CHANNEL}, is_host_transfer = true", "%x").replace(
        f"{CHANNEL}, is", CHANNEL.replace("type = 1", "type = 2") + ", is").replace(
        f"{{{CHANNEL}}}", "{" + CHANNEL.replace("type = 1", "type = 3") + ", is_host_transfer = true}"),
    transfer(CHANNEL, "%x", f'%3 = "stablehlo.send"(%y, %2) {{{CHANNEL}}} : ({T}, !stablehlo.token) -> '
             "!stablehlo.token"),
], ids=["read", "another channel", "to the host", "two on a channel"])
def test_half_a_transfer_stays(optimize: Optimize, text: str) -> None:
    result = optimize(DeadOps(), text)
    assert result.count("stablehlo.recv") == text.count("stablehlo.recv")
    assert result.count("stablehlo.send") == text.count("stablehlo.send")


def asynchronous(done: str, result: str) -> str:
    return main(f"""
        %0 = "stablehlo.async_start"(%a) ({{
        ^bb0(%x: {T}):
          %2 = "stablehlo.all_gather"(%x) {{all_gather_dim = 0 : i64,
            replica_groups = dense<[[0, 1]]> : tensor<1x2xi64>}} : ({T}) -> tensor<8xf32>
          stablehlo.return %2 : tensor<8xf32>
        }}) : ({T}) -> !stablehlo.future<tensor<8xf32>>
        {done}""", result)


def test_asynchronous_ops(optimize: Optimize) -> None:
    done = '%1 = "stablehlo.async_done"(%0) : (!stablehlo.future<tensor<8xf32>>) -> tensor<8xf32>'
    assert optimize(DeadOps(), asynchronous(done, "%a")).counters == {"removed": 2}
    read = f"{done}\n%3 = stablehlo.slice %1 [0:4] : (tensor<8xf32>) -> {T}"
    assert optimize(DeadOps(), asynchronous(read, "%3")).counters == {}


def test_what_an_op_that_is_not_known_calls_inside_is_called_as_it_is(optimize: Optimize) -> None:
    text = main(f"""%0 = "shape.assuming"(%w) ({{
        %1:2 = func.call @f(%a, %a) : ({T}, {T}) -> ({T}, {T})
        "shape.assuming_yield"(%1#0) : ({T}) -> ()
      }}) : (!shape.witness) -> {T}""", more=UNUSED).replace(f"%b: {T}", "%w: !shape.witness")
    assert optimize(DeadOps(), text).counters == {}


def test_every_removal_is_explained() -> None:
    from passes import _mlir
    from passes.pipeline.base import Counters

    text = main(f"""%0 = stablehlo.tanh %a : {T}
        %1 = sdy.sharding_constraint %0 <@mesh, [{{}}]> : {T}
        %2 = call @f(%a) : ({T}) -> {T}""", more=PURE_FUNCTIONS + MESH)
    module = _mlir.ir.Module.parse(text, _mlir.context())
    counters = Counters(DeadOps.statistics, explain=True)
    DeadOps().run(module.operation, counters)
    assert counters.removals is not None
    assert sorted((removal.op, removal.why) for removal in counters.removals) == [
        ("func.call", "no result is used"), ("func.func", "nothing calls it"), ("func.func", "nothing calls it"),
        ("sdy.mesh", "no sharding names it"), ("sdy.sharding_constraint", "what it annotates is not used"),
        ("stablehlo.tanh", "no result is used")]
