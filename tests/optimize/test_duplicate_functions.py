"""Which functions cse makes one of, which stay, and what becomes of the references to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from passes import _mlir
from passes.optimize.cse import Cse
from passes.optimize.duplicate_functions import bottom_up
from passes.pipeline.base import Counters

Optimize = Callable[..., Any]

T = "tensor<4xf32>"


def function(name: str, body: str, head: str = f"(%a: {T}) -> {T}", visibility: str = "private ") -> str:
    """A function of ``body``, whose last value is ``%r``."""
    return f"func.func {visibility}@{name}{head} {{ {body}\nreturn %r : {T} }}\n"


TANH = f"%r = stablehlo.tanh %a : {T}"


def call(name: str, value: str = "%a", result: str = "%r") -> str:
    return f"%{result[1:]} = func.call @{name}({value}) : ({T}) -> {T}"


def main(*calls: str) -> str:
    """A program that passes its argument through ``calls``, each the op up to its operand."""
    chain = [f"%v{i + 1} = {op.format(f'%v{i}')}" for i, op in enumerate(calls)]
    return (f"func.func @main(%v0: {T}) -> {T} {{\n" + "\n".join(chain) + f"\nreturn %v{len(calls)} : {T}\n}}\n")


def called(*names: str) -> str:
    return main(*(f"func.call @{name}({{}}) : ({T}) -> {T}" for name in names))


def names(result: Any) -> set[str]:
    return {_mlir.ir.StringAttr(op.attributes["sym_name"]).value for op in result.module.body.operations
            if op.operation.name == "func.func"}


# Program -> the functions left besides @main.
MERGED = {
    "equal bodies": (called("f", "g") + function("f", TANH) + function("g", TANH), {"f"}),
    "names of values and places": (
        called("f", "g") + function("f", TANH)
        + function("g", f'%r = stablehlo.tanh %q : {T} loc("elsewhere")', f"(%q: {T}) -> {T}"), {"f"}),
    "bodies that become equal": (
        called("f", "g")
        + function("f", f"%x = stablehlo.tanh %a : {T}\n%r = stablehlo.multiply %x, %x : {T}")
        + function("g", f"""%x = stablehlo.tanh %a : {T}
                            %y = stablehlo.tanh %a : {T}
                            %r = stablehlo.multiply %y, %x : {T}"""), {"f"}),
    "chains": (
        called("f", "g") + function("f", call("f1")) + function("g", call("g1"))
        + function("f1", call("f2")) + function("g1", call("g2")) + function("f2", TANH) + function("g2", TANH),
        {"f", "f1", "f2"}),
    "more than two": (
        called(*"fghk") + "".join(function(name, TANH) for name in "fgh")
        + function("k", f"%r = stablehlo.negate %a : {T}"), {"f", "k"}),
    "functions with effects": (
        called("f", "g") + "".join(
            function(name, f"%r = stablehlo.custom_call @io(%a) {{has_side_effect = true}} : ({T}) -> {T}")
            for name in "fg"), {"f"}),
    "regions": (
        called("f", "g") + "".join(function(name, f"""
            %z = stablehlo.constant dense<0.0> : tensor<f32>
            %s = stablehlo.reduce(%a init: %z) applies stablehlo.add across dimensions = [0]
              : ({T}, tensor<f32>) -> tensor<f32>
            %r = stablehlo.broadcast_in_dim %s, dims = [] : (tensor<f32>) -> {T}""") for name in "fg"), {"f"}),
    "equal attributes of arguments and results": (
        called("f", "g") + "".join(function(
            name, TANH, f'(%a: {T} {{mhlo.sharding = "{{replicated}}"}}) -> ({T} {{jax.result_info = "x"}})')
            for name in "fg"), {"f"}),
    "a function nothing calls": (called("f") + function("f", TANH) + function("g", TANH), {"f"}),
    "one referred to from an unknown op stays, its double goes": (
        called("g") + f"""func.func @other(%a: {T}) -> {T} {{
            %r = stablehlo.custom_call @x(%a) {{names = "@f"}} : ({T}) -> {T}\nreturn %r : {T} }}\n"""
        + function("f", TANH) + function("g", TANH) + function("h", TANH), {"f", "g", "other"}),
}


@pytest.mark.parametrize("case", MERGED)
def test_merges(optimize: Optimize, case: str) -> None:
    text, left = MERGED[case]
    assert names(optimize(Cse(), text)) == {"main", *left}


def sharded(name: str, sharding: str) -> str:
    return function(name, TANH, f"(%a: {T} {{sdy.sharding = #sdy.sharding<@mesh, [{{{sharding}}}]>}}) -> {T}")


def with_attribute(name: str, attribute: str) -> str:
    return function(name, TANH, f"(%a: {T}) -> {T} attributes {{{attribute}}}").replace("attributes {}", "")


APART = {
    "other bodies": function("f", TANH) + function("g", f"%r = stablehlo.negate %a : {T}"),
    "other constants": "".join(
        function(name, f"%k = stablehlo.constant dense<{k}> : {T}\n%r = stablehlo.add %a, %k : {T}")
        for name, k in (("f", "0.0"), ("g", "-0.0"))),
    "other callees": function("f", call("f1")) + function("g", call("g1"))
    + function("f1", TANH) + function("g1", f"%r = stablehlo.negate %a : {T}"),
    "public functions": function("f", TANH, visibility="") + function("g", TANH, visibility=""),
    "a public and a private function": function("f", TANH, visibility="") + function("g", TANH),
    "declarations": f"func.func private @f({T}) -> {T}\nfunc.func private @g({T}) -> {T}\n",
    "other shardings": sharded("f", '"x"') + sharded("g", "") + 'sdy.mesh @mesh = <["x"=2]>',
    "aliasing": function("f", TANH, f"(%a: {T} {{tf.aliasing_output = 0 : i32}}) -> {T}") + function("g", TANH),
    "donation": function("f", TANH, f"(%a: {T} {{jax.buffer_donor = true}}) -> {T}") + function("g", TANH),
    "result attributes": function("f", TANH, f'(%a: {T}) -> ({T} {{mhlo.sharding = "{{replicated}}"}})')
    + function("g", TANH),
    "function attributes": with_attribute("f", "no_inline") + with_attribute("g", ""),
    "shardings of ops": function("f", TANH)
    + function("g", f'%r = stablehlo.tanh %a {{mhlo.sharding = "{{replicated}}"}} : {T}'),
    "other sharding groups": "".join(
        function(name, f"sdy.sharding_group %a group_id={i} : {T}\n{TANH}") for i, name in enumerate("fg")),
    "other orders of blocks": "".join(
        f"""func.func private @{name}(%a: {T}) -> {T} {{
              %p = arith.constant true
              cf.cond_br %p, ^{first}, ^{second}
            ^bb1:
              return %a : {T}
            ^bb2:
              {TANH}
              return %r : {T}
            }}\n""" for name, first, second in (("f", "bb1", "bb2"), ("g", "bb2", "bb1"))),
    # XLA's importer refuses two calls of one.
    "bodies of shard_map": function("xla.sdy.manual_computation_body", TANH)
    + function("xla.sdy.manual_computation_body_0", TANH),
}


@pytest.mark.parametrize("case", APART)
def test_keeps_apart(optimize: Optimize, case: str) -> None:
    more = APART[case]
    first, second = ("xla.sdy.manual_computation_body", "xla.sdy.manual_computation_body_0") if "xla" in more else "fg"
    result = optimize(Cse(), called(first, second) + more)
    assert "merged-functions" not in result.counters
    assert {"main", first, second} <= names(result)


def test_functions_named_where_they_cannot_be_renamed_stay(optimize: Optimize) -> None:
    context = _mlir.context()
    context.allow_unregistered_dialects = True
    try:
        text = called("f", "g") + function("f", TANH) + function("g", TANH) + """
            "other.table"() {entries = [@g]} : () -> ()"""
        assert names(optimize(Cse(), text)) == {"main", "f", "g"}
    finally:
        context.allow_unregistered_dialects = False


def test_every_kind_of_reference_is_renamed(optimize: Optimize) -> None:
    text = main(
        f"func.call @f({{}}) : ({T}) -> {T}",
        f"func.call @g({{}}) : ({T}) -> {T}",
        f'stablehlo.composite "my.op" {{}} {{{{decomposition = @g}}}} : ({T}) -> {T}',
        f"stablehlo.custom_call @x({{}}) {{{{called_computations = [@f, @g]}}}} : ({T}) -> {T}",
    ) + function("f", TANH) + function("g", TANH)
    result = optimize(Cse(), text)
    assert result.counters == {"merged-functions": 1}
    assert "@g" not in result.text
    assert "called_computations = [@f, @f]" in result.text


def test_composites_of_equal_decompositions_keep_their_names(optimize: Optimize) -> None:
    text = main(*(f'stablehlo.composite "my.{name}" {{}} {{{{decomposition = @{name}}}}} : ({T}) -> {T}'
                  for name in "fg")) + function("f", TANH) + function("g", TANH)
    result = optimize(Cse(), text)
    assert names(result) == {"main", "f"}
    assert '"my.f"' in result.text and '"my.g"' in result.text


def test_calls_of_equal_functions_are_merged(optimize: Optimize) -> None:
    text = f"""func.func @main(%a: {T}) -> {T} {{
        {call("f", result="%x")}\n{call("g", result="%y")}
        %z = stablehlo.add %x, %y : {T} return %z : {T} }}
        """ + function("f", call("f1")) + function("g", call("g1")) + function("f1", TANH) + function("g1", TANH)
    result = optimize(Cse(), text)
    assert result.counters == {"merged-functions": 2, "merged": 1, "merged-calls": 1}


def test_a_function_whose_name_is_settled_in_a_cycle_stays(optimize: Optimize) -> None:
    """@y is equal to @z, but @x, which calls both, was done before @y was compared."""
    text = called("y") + function("y", call("x")) + function("z", call("x")) \
        + function("x", f"{call('y', result='%m')}\n{call('z', '%m')}")
    assert names(optimize(Cse(), text)) == {"main", "x", "y", "z"}


def test_places_of_both_functions_are_kept(optimize: Optimize) -> None:
    text = called("f", "g") + "".join(
        f'func.func private @{n}(%a: {T}) -> {T} {{ %r = stablehlo.tanh %a : {T} loc("in {n}")\n return %r : {T} }}'
        f' loc("{n}")\n' for n in "fg")
    module = optimize(Cse(), text).module
    kept = module.body.operations[1].operation
    assert str(kept.location) == 'loc(fused["f", "g"])'
    assert str(kept.regions[0].blocks[0].operations[0].location) == 'loc(fused["in f", "in g"])'


def test_the_program_computes_the_same(optimize: Optimize, evaluate: Any) -> None:
    text = called("f", "g", "k") + function("f", call("f1")) + function("g", call("g1")) + function("f1", TANH) \
        + function("g1", TANH) + function("k", f"{call('g1', result='%x')}\n%r = stablehlo.negate %x : {T}")
    values = [np.array([0.5, -0.0, np.inf, 3.0], np.float32)]
    expected = evaluate(_mlir.ir.Module.parse(text, _mlir.context()), values)
    result = optimize(Cse(), text)
    assert result.counters["merged-functions"] == 2
    assert evaluate(result.module, values) == expected


def test_removals_are_explained() -> None:
    text = called("f", "g") + function("f", TANH) + function("g", TANH)
    module = _mlir.ir.Module.parse(text, _mlir.context())
    counters = Counters(Cse.statistics, explain=True)
    Cse().run(module.operation, counters)
    assert [(removal.op, removal.why) for removal in counters.removals or ()] == [
        ("func.func", "merged into the equal function @f")]


def test_callees_come_first() -> None:
    called = {"a": ["b", "c"], "b": ["d"], "c": ["d", "a"], "d": [], "e": ["a", "gone"]}
    order = list(bottom_up(dict.fromkeys(called), called))
    assert sorted(order) == sorted(called)
    assert order == ["d", "b", "c", "a", "e"]


def test_a_deep_chain_of_calls_needs_no_deep_stack(optimize: Optimize) -> None:
    depth = 3000
    chain = "".join(function(f"{n}{i}", call(f"{n}{i + 1}")) for n in "fg" for i in range(depth))
    text = called("f0", "g0") + chain + function(f"f{depth}", TANH) + function(f"g{depth}", TANH)
    assert optimize(Cse(), text).counters == {"merged-functions": depth + 1}
