"""Which slots of loops and branches cse takes for equal, and which it must not."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from passes import _mlir
from passes.optimize.cse import Cse
from passes.optimize.dead_ops import DeadOps

Optimize = Callable[..., Any]

T, I, P = "tensor<4xf32>", "tensor<i32>", "tensor<i1>"  # noqa: E741
_fresh = itertools.count()


def loop(result: str, starts: str, body: str, ends: str, counter: str = "%i", attributes: str = "") -> str:
    """A loop of three turns that carries its counter and then what ``starts`` says."""
    carried = starts.split(",")
    types = ", ".join([I] + [T] * len(carried))
    k = next(_fresh)
    return f"""%zero{k} = stablehlo.constant dense<0> : {I}
        {result}:{len(carried) + 1} = stablehlo.while({counter} = %zero{k}, {starts}) : {types} {attributes}
        cond {{
          %n{k} = stablehlo.constant dense<3> : {I}
          %p{k} = stablehlo.compare LT, {counter}, %n{k} : ({I}, {I}) -> {P}
          stablehlo.return %p{k} : {P}
        }} do {{
          {body}
          %one{k} = stablehlo.constant dense<1> : {I}
          %next{k} = stablehlo.add {counter}, %one{k} : {I}
          stablehlo.return %next{k}, {ends} : {types}
        }}
        """


def main(body: str, results: str, more: str = "") -> str:
    types = ", ".join([T] * len(results.split(",")))
    return f"func.func @main(%a: {T}, %b: {T}, %q: {P}) -> ({types}) {{\n{body}\nreturn {results} : {types}\n}}\n{more}"


def ops(**values: str) -> str:
    """``name="op operands"`` each as an op on `T`."""
    return "\n".join(f"%{name} = stablehlo.{op} : {T}" for name, op in values.items())


TWO = "%x = %a, %y = %a"

# Program -> carried values and results of branches that are replaced.
MERGED = {
    "computed alike": (
        main(loop("%r", TWO, ops(u="tanh %x", v="tanh %y"), "%u, %v"), "%r#1, %r#2"), 1, 0),
    "computed alike from outside": (
        main(loop("%r", TWO, ops(u="add %x, %b", v="add %b, %y"), "%u, %v"), "%r#1, %r#2"), 1, 0),
    "in several steps": (
        main(loop("%r", TWO, ops(s="tanh %x", u="add %s, %x", t="tanh %y", v="add %y, %t"), "%u, %v"), "%r#1, %r#2"),
        1, 0),
    "each from the other": (
        main(loop("%r", TWO, ops(u="tanh %x", v="tanh %y"), "%v, %u"), "%r#1, %r#2"), 1, 0),
    "exchanged": (main(loop("%r", TWO, "", "%y, %x"), "%r#1, %r#2"), 1, 0),
    "of which one yields the other": (main(loop("%r", TWO, "", "%x, %x"), "%r#1, %r#2"), 1, 0),
    "two pairs": (
        main(loop("%r", "%x = %a, %y = %a, %z = %b, %w = %b",
                  ops(c="add %x, %z", d="add %y, %w", e="subtract %z, %x", f="subtract %w, %y"), "%c, %d, %e, %f"),
             "%r#1, %r#2, %r#3, %r#4"), 2, 0),
    "two of three": (
        main(loop("%r", "%x = %a, %y = %a, %z = %a", ops(c="tanh %x", d="negate %y", e="tanh %z"), "%c, %d, %e"),
             "%r#1, %r#2, %r#3"), 1, 0),
    "of which only one is used after the loop": (
        main(loop("%r", TWO, ops(u="add %x, %y", v="add %y, %x"), "%u, %v"), "%r#1"), 1, 0),
    "from equal starts": (
        main(ops(c="tanh %a", d="tanh %a") + "\n" + loop("%r", "%x = %c, %y = %d", "", "%x, %y"), "%r#1, %r#2"), 1, 0),
    "beside random numbers": (
        main(loop("%r", TWO, f"""%lo = stablehlo.constant dense<0.0> : tensor<f32>
                %n = stablehlo.constant dense<4> : tensor<1xi64>
                %d = stablehlo.rng %lo, %lo, %n, distribution = UNIFORM
                  : (tensor<f32>, tensor<f32>, tensor<1xi64>) -> {T}
                {ops(u="add %x, %d", v="add %y, %d")}""", "%u, %v"), "%r#1, %r#2"), 1, 0),
    "through equal loops inside": (
        main(loop("%r", TWO,
                  loop("%s", "%xi = %x", ops(xo="tanh %xi"), "%xo", "%j")
                  + loop("%t", "%yi = %y", ops(yo="tanh %yi"), "%yo", "%k"), "%s#1, %t#1"), "%r#1, %r#2"), 1, 0),
    "through one loop inside": (
        main(loop("%r", TWO, loop("%s", "%xi = %x, %yi = %y", ops(xo="tanh %xi", yo="tanh %yi"), "%xo, %yo", "%j"),
                  "%s#1, %s#2"), "%r#1, %r#2"), 2, 0),
    "only inside a loop inside": (
        main(loop("%r", "%x = %a, %y = %b",
                  loop("%s", "%u = %x, %v = %x", ops(uo="tanh %u", vo="tanh %v"), "%uo, %vo", "%j"), "%s#1, %s#2"),
             "%r#1, %r#2"), 1, 0),
    "through a branch": (
        main(loop("%r", TWO, f"""%s:2 = "stablehlo.if"(%q) ({{
                {ops(u="tanh %x", v="tanh %y")}
                stablehlo.return %u, %v : {T}, {T}
              }}, {{
                stablehlo.return %x, %y : {T}, {T}
              }}) : ({P}) -> ({T}, {T})""", "%s#0, %s#1"), "%r#1, %r#2"), 1, 1),
    "through reductions": (
        main(loop("%r", TWO, "%z = stablehlo.constant dense<0.0> : tensor<f32>\n" + "\n".join(
            f"""%s{v} = stablehlo.reduce({v} init: %z) applies stablehlo.add across dimensions = [0]
                  : ({T}, tensor<f32>) -> tensor<f32>
                %w{v} = stablehlo.broadcast_in_dim %s{v}, dims = [] : (tensor<f32>) -> {T}""".replace("%s%", "%s")
            .replace("%w%", "%w") for v in ("%x", "%y")), "%wx, %wy"), "%r#1, %r#2"), 1, 0),
    "through calls": (
        main(loop("%r", TWO, f"""%u = func.call @f(%x) : ({T}) -> {T}
                                 %v = func.call @g(%y) : ({T}) -> {T}""", "%u, %v"), "%r#1, %r#2",
             more="".join(f"func.func private @{n}(%x: {T}) -> {T} {{ %0 = stablehlo.tanh %x : {T} return %0 : {T} }}\n"
                          for n in "fg")), 1, 0),
    "results of a branch": (
        main(f"""%s:2 = "stablehlo.if"(%q) ({{
                {ops(u="tanh %a", v="tanh %a")}
                stablehlo.return %u, %v : {T}, {T}
              }}, {{
                stablehlo.return %b, %b : {T}, {T}
              }}) : ({P}) -> ({T}, {T})""", "%s#0, %s#1"), 0, 1),
    "results of a case": (
        main(f"""%c = stablehlo.convert %q : ({P}) -> {I}
              %s:3 = "stablehlo.case"(%c) ({{ stablehlo.return %a, %b, %a : {T}, {T}, {T} }},
                {{ stablehlo.return %b, %b, %b : {T}, {T}, {T} }}) : ({I}) -> ({T}, {T}, {T})""",
             "%s#0, %s#1, %s#2"), 0, 1),
}

A = np.array([0.5, -0.0, 3.0, 1e-30], np.float32)
B = np.array([1.0, np.inf, -2.5, np.nan], np.float32)


def check(evaluate: Any, text: str, *modules: Any) -> None:
    original = _mlir.ir.Module.parse(text, _mlir.context())
    for flag in (False, True):
        inputs = [A, B, np.array(flag)]
        expected = evaluate(original, inputs)
        assert all(evaluate(module, inputs) == expected for module in modules)


@pytest.mark.parametrize("case", MERGED)
def test_merges(optimize: Optimize, evaluate: Any, case: str) -> None:
    text, carries, results = MERGED[case]
    merged = optimize(Cse(), text)
    assert (merged.counters.get("merged-carries", 0), merged.counters.get("merged-results", 0)) == (carries, results)
    final = optimize(DeadOps(), merged.text)
    removed = final.counters.get("removed-carries", 0) + final.counters.get("removed-results", 0)
    assert removed >= carries + results
    if "stablehlo.rng" not in text:
        check(evaluate, text, merged.module, final.module)


APART = {
    "other starts": main(loop("%r", "%x = %a, %y = %b", ops(u="tanh %x", v="tanh %y"), "%u, %v"), "%r#1, %r#2"),
    "zeros of either sign": main(
        f"""%c = stablehlo.constant dense<0.0> : {T}
            %d = stablehlo.constant dense<-0.0> : {T}
            {loop("%r", "%x = %c, %y = %d", "", "%x, %y")}""", "%r#1, %r#2"),
    "computed otherwise": main(loop("%r", TWO, ops(u="tanh %x", v="sine %y"), "%u, %v"), "%r#1, %r#2"),
    "computed otherwise below": main(
        loop("%r", TWO, ops(s="negate %x", u="tanh %s", t="abs %y", v="tanh %t"), "%u, %v"), "%r#1, %r#2"),
    "equal until the third turn": main(
        loop("%r", "%x = %a, %y = %a, %z = %a, %w = %a", ops(d="tanh %w"), "%y, %z, %w, %d"),
        "%r#1, %r#2, %r#3, %r#4"),
    "that depend on others that are apart": main(
        loop("%r", "%x = %a, %y = %a, %z = %a, %w = %b", ops(c="add %x, %z", d="add %y, %w"), "%c, %d, %z, %w"),
        "%r#1, %r#2"),
    "of which one stays": main(loop("%r", TWO, ops(v="tanh %y"), "%x, %v"), "%r#1, %r#2"),
    "random numbers": main(
        loop("%r", TWO, "\n".join(f"""%lo{v} = stablehlo.constant dense<0.0> : tensor<f32>
            %n{v} = stablehlo.constant dense<4> : tensor<1xi64>
            %d{v} = stablehlo.rng %lo{v}, %lo{v}, %n{v}, distribution = UNIFORM
              : (tensor<f32>, tensor<f32>, tensor<1xi64>) -> {T}""" for v in "uv")
            + "\n" + ops(u="add %x, %du", v="add %y, %dv"), "%u, %v"), "%r#1, %r#2"),
    "barriers": main(loop("%r", TWO, ops(u="optimization_barrier %x", v="optimization_barrier %y"), "%u, %v"),
                     "%r#1, %r#2"),
    "loops inside that differ": main(
        loop("%r", TWO,
             loop("%s", "%xi = %x", ops(xo="tanh %xi"), "%xo", "%j")
             + loop("%t", "%yi = %y", ops(yo="sine %yi"), "%yo", "%k"), "%s#1, %t#1"), "%r#1, %r#2"),
    "shardings of ops": main(
        loop("%r", TWO, f"""%u = stablehlo.tanh %x
                              {{sdy.sharding = #sdy.sharding_per_value<[<@mesh, [{{"x"}}]>]>}} : {T}
                            %v = stablehlo.tanh %y : {T}""", "%u, %v"), "%r#1, %r#2",
        more='sdy.mesh @mesh = <["x"=2]>'),
    "shardings of slots": main(
        loop("%r", TWO, ops(u="tanh %x", v="tanh %y"), "%u, %v", attributes="attributes {sdy.sharding = "
             '#sdy.sharding_per_value<[<@mesh, []>, <@mesh, [{"x"}]>, <@mesh, [{}]>]>}'), "%r#1, %r#2",
        more='sdy.mesh @mesh = <["x"=2]>'),
    "sharding groups of results": main(
        loop("%r", TWO, ops(u="tanh %x", v="tanh %y"), "%u, %v")
        + f"sdy.sharding_group %r#1 group_id=0 : {T}\nsdy.sharding_group %r#2 group_id=1 : {T}", "%r#1, %r#2"),
    "sharding groups inside": main(
        loop("%r", TWO, f"sdy.sharding_group %x group_id=0 : {T}\n{ops(u='tanh %x', v='tanh %y')}", "%u, %v"),
        "%r#1, %r#2"),
    "attributes that may count slots": main(
        loop("%r", TWO, ops(u="tanh %x", v="tanh %y"), "%u, %v",
             attributes='attributes {mhlo.sharding = "{{replicated}, {replicated}, {devices=[2]<=[2]}}"}'),
        "%r#1, %r#2"),
    "results that one branch yields apart": main(
        f"""%s:2 = "stablehlo.if"(%q) ({{ stablehlo.return %a, %b : {T}, {T} }},
              {{ stablehlo.return %b, %b : {T}, {T} }}) : ({P}) -> ({T}, {T})""", "%s#0, %s#1"),
    "results computed apart in the branches": main(
        f"""%s:2 = "stablehlo.if"(%q) ({{
              {ops(u="tanh %a", v="tanh %a")}
              stablehlo.return %u, %v : {T}, {T}
            }}, {{
              {ops(u="tanh %a", v="sine %a")}
              stablehlo.return %u, %v : {T}, {T}
            }}) : ({P}) -> ({T}, {T})""", "%s#0, %s#1"),
}


@pytest.mark.parametrize("case", APART)
def test_keeps_apart(optimize: Optimize, evaluate: Any, case: str) -> None:
    text = APART[case]
    result = optimize(Cse(), text)
    assert not {"merged-carries", "merged-results"} & result.counters.keys()
    if "sdy." not in text and "stablehlo.rng" not in text:
        check(evaluate, text, result.module)


def test_a_captured_argument_is_not_the_region_s_own(optimize: Optimize, evaluate: Any) -> None:
    """One reduction adds up what stands outside, the other adds up its own arguments as often."""
    def reduce(name: str, m: str, n: str, body: str) -> str:
        return f"""{name} = "stablehlo.reduce"(%a, %z) ({{
              ^bb0({m}: tensor<f32>, {n}: tensor<f32>):
                {body}
                stablehlo.return {name}c : tensor<f32>
              }}) {{dimensions = array<i64: 0>}} : ({T}, tensor<f32>) -> tensor<f32>"""

    def add(name: str, m: str, n: str) -> str:
        return f"{name} = stablehlo.add {m}, {n} : tensor<f32>"

    inside = reduce("%k", "%g", "%h", add("%kc", "%m", "%n"))
    body = "\n".join((
        "%z = stablehlo.constant dense<0.5> : tensor<f32>",
        reduce("%s", "%m", "%n", inside + "\n" + add("%sc", "%m", "%k")),
        reduce("%l", "%g", "%h", add("%lc", "%g", "%h")),
        reduce("%t", "%m", "%n", add("%tc", "%m", "%l")),
        *(f"%w{v} = stablehlo.broadcast_in_dim %{v}, dims = [] : (tensor<f32>) -> {T}" for v in "st"),
        ops(u="add %x, %ws", v="add %y, %wt")))
    text = main(loop("%r", TWO, body, "%u, %v"), "%r#1, %r#2")
    result = optimize(Cse(), text)
    assert "merged-carries" not in result.counters
    check(evaluate, text, result.module)


def test_merged_slots_make_the_ops_on_them_equal_in_the_same_run(optimize: Optimize) -> None:
    result = optimize(Cse(), main(loop("%r", TWO, ops(u="tanh %x", v="tanh %y"), "%u, %v"), "%r#1, %r#2"))
    assert result.count("stablehlo.tanh") == 1
    assert "return %0#1, %0#1" in result.text


def test_equal_slots_of_equal_shardings_are_merged(optimize: Optimize) -> None:
    text = main(
        loop("%r", TWO, ops(u="tanh %x", v="tanh %y"), "%u, %v", attributes="attributes {sdy.sharding = "
             '#sdy.sharding_per_value<[<@mesh, []>, <@mesh, [{"x"}]>, <@mesh, [{"x"}]>]>}'), "%r#1, %r#2",
        more='sdy.mesh @mesh = <["x"=2]>')
    assert optimize(Cse(), text).counters["merged-carries"] == 1


def test_deep_nests_are_numbered_once_a_round(optimize: Optimize) -> None:
    """Six loops inside each other, each with a pair that is equal only if the pair around it is."""
    body = ops(u0="tanh %x0", v0="tanh %y0")
    for depth in range(1, 6):
        i = depth - 1
        body = loop(f"%s{i}", f"%x{i} = %x{depth}, %y{i} = %y{depth}", body, f"%u{i}, %v{i}", f"%i{i}")
        body += ops(**{f"u{depth}": f"negate %s{i}#1", f"v{depth}": f"negate %s{i}#2"})
    text = main(loop("%r", "%x5 = %a, %y5 = %a", body, "%u5, %v5"), "%r#1, %r#2")
    assert optimize(Cse(), text).counters["merged-carries"] == 6


@pytest.mark.parametrize("slots", [20, 80])
def test_a_long_chain_of_slots_ends(optimize: Optimize, evaluate: Any, slots: int) -> None:
    """Each slot takes the next one's value, and only the last one's differs: none are equal but the two beside."""
    names = [f"%c{i}" for i in range(slots)]
    beside = loop("%s", "%x = %a, %y = %a", ops(u="tanh %x", v="tanh %y"), "%u, %v")
    text = main(beside + loop("%r", ", ".join(f"{name} = %a" for name in names), ops(last="sine %c0"),
                              ", ".join([*names[1:], "%last"])), f"%r#1, %r#{slots}, %s#1, %s#2")
    result = optimize(Cse(), text)
    assert result.counters["merged-carries"] == 1
    check(evaluate, text, result.module)


def test_loops_of_many_rounds_leave_those_inside_alone(optimize: Optimize) -> None:
    names = [f"%c{i}" for i in range(80)]
    inside = loop("%s", "%xi = %a, %yi = %a", ops(xo="tanh %xi", yo="tanh %yi"), "%xo, %yo", "%j")
    text = main(loop("%r", ", ".join(f"{name} = %a" for name in names), inside + ops(last="add %s#1, %s#2"),
                     ", ".join([*names[1:], "%last"])), "%r#1")
    assert optimize(Cse(), text).counters["merged-carries"] == 1
