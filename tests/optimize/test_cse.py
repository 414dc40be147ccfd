"""What cse merges, what it must keep apart, and what it counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from passes.optimize.cse import Cse
from passes.optimize.normal_form import NORMAL_FORMS
from passes.program.purity import COLLECTIVES

Optimize = Callable[..., Any]

T = "tensor<4xf32>"


def main(body: str, results: str, arguments: str = f"%a: {T}, %b: {T}", more: str = "") -> str:
    types = ", ".join([T] * len(results.split(",")))
    return f"func.func @main({arguments}) -> ({types}) {{\n{body}\nreturn {results} : {types}\n}}\n{more}"


def pair(op: str) -> str:
    """A program with ``op`` twice."""
    return main(f"%0 = {op}\n%1 = {op}", "%0, %1")


# Merged: as many ops as the program has afterwards, without the return.
MERGED = {
    "equal ops": (pair(f"stablehlo.add %a, %b : {T}"), 1),
    "constants": (pair(f"stablehlo.constant dense<1.5> : {T}"), 1),
    "constants by all their elements": (pair(f"stablehlo.constant dense<[1.0, 2.0, 3.0, 4.0]> : {T}"), 1),
    "iota": (pair(f"stablehlo.iota dim = 0 : {T}"), 1),
    "chlo": (pair(f"chlo.erf %a : {T} -> {T}"), 1),
    "a chain, once its start is merged": (
        main(f"""%0 = stablehlo.add %a, %b : {T}
                 %1 = stablehlo.add %a, %b : {T}
                 %2 = stablehlo.tanh %0 : {T}
                 %3 = stablehlo.tanh %1 : {T}
                 %4 = stablehlo.negate %2 : {T}
                 %5 = stablehlo.negate %3 : {T}""", "%4, %5"), 3),
    "addition, commuted": (main(f"%0 = stablehlo.add %a, %b : {T}\n%1 = stablehlo.add %b, %a : {T}", "%0, %1"), 1),
    "maximum, commuted": (
        main(f"%0 = stablehlo.maximum %a, %b : {T}\n%1 = stablehlo.maximum %b, %a : {T}", "%0, %1"), 1),
    "compare, mirrored": (
        main(f"""%0 = stablehlo.compare LT, %a, %b : ({T}, {T}) -> tensor<4xi1>
                 %1 = stablehlo.compare GT, %b, %a : ({T}, {T}) -> tensor<4xi1>
                 %2 = stablehlo.select %0, %a, %b : tensor<4xi1>, {T}
                 %3 = stablehlo.select %1, %a, %b : tensor<4xi1>, {T}""", "%2, %3"), 2),
    "compare for equality, commuted": (
        main(f"""%0 = stablehlo.compare EQ, %a, %b : ({T}, {T}) -> tensor<4xi1>
                 %1 = stablehlo.compare EQ, %b, %a : ({T}, {T}) -> tensor<4xi1>
                 %2 = stablehlo.select %0, %a, %b : tensor<4xi1>, {T}
                 %3 = stablehlo.select %1, %a, %b : tensor<4xi1>, {T}""", "%2, %3"), 2),
    "rng_bit_generator": (
        main(f"""%s = stablehlo.constant dense<1> : tensor<2xui64>
                 %s0, %0 = stablehlo.rng_bit_generator %s, algorithm = THREE_FRY
                   : (tensor<2xui64>) -> (tensor<2xui64>, tensor<4xui32>)
                 %s1, %1 = stablehlo.rng_bit_generator %s, algorithm = THREE_FRY
                   : (tensor<2xui64>) -> (tensor<2xui64>, tensor<4xui32>)
                 %2 = stablehlo.convert %0 : (tensor<4xui32>) -> {T}
                 %3 = stablehlo.convert %1 : (tensor<4xui32>) -> {T}""", "%2, %3"), 3),
    "a custom call without side effects": (pair(f"stablehlo.custom_call @f(%a) : ({T}) -> {T}"), 1),
    "a sharding constraint": (
        pair(f'sdy.sharding_constraint %a <@mesh, [{{"x"}}]> : {T}') + 'sdy.mesh @mesh = <["x"=2]>', 1),
    "values in one sharding group, once": (
        main(f"""%0 = stablehlo.tanh %a : {T}
                 %1 = stablehlo.tanh %a : {T}
                 sdy.sharding_group %0 group_id=0 : {T}
                 sdy.sharding_group %1 group_id=0 : {T}""", "%0, %1"), 2),
    "complex constants": (
        main(f"""%0 = stablehlo.constant dense<(1.0, 2.0)> : tensor<4xcomplex<f32>>
                 %1 = stablehlo.constant dense<(1.0, 2.0)> : tensor<4xcomplex<f32>>
                 %2 = stablehlo.real %0 : (tensor<4xcomplex<f32>>) -> {T}
                 %3 = stablehlo.real %1 : (tensor<4xcomplex<f32>>) -> {T}""", "%2, %3"), 2),
}


@pytest.mark.parametrize("case", MERGED)
def test_merges(optimize: Optimize, case: str) -> None:
    text, ops = MERGED[case]
    # Handles to ops do not keep their module alive.
    result = optimize(Cse(), text)
    body = result.module.body.operations[0].regions[0].blocks[0]
    assert len(body.operations) - 1 == ops


APART = {
    "other operands": main(f"%0 = stablehlo.subtract %a, %b : {T}\n%1 = stablehlo.subtract %b, %a : {T}", "%0, %1"),
    "other ops": main(f"%0 = stablehlo.add %a, %b : {T}\n%1 = stablehlo.multiply %a, %b : {T}", "%0, %1"),
    "other direction": main(
        f"""%0 = stablehlo.compare LT, %a, %b : ({T}, {T}) -> tensor<4xi1>
            %1 = stablehlo.compare LT, %b, %a : ({T}, {T}) -> tensor<4xi1>
            %2 = stablehlo.compare LE, %a, %b : ({T}, {T}) -> tensor<4xi1>
            %3 = stablehlo.compare NE, %a, %b : ({T}, {T}) -> tensor<4xi1>
            %4 = stablehlo.compare EQ, %a, %b : ({T}, {T}) -> tensor<4xi1>
            %5 = stablehlo.compare EQ, %a, %b, TOTALORDER : ({T}, {T}) -> tensor<4xi1>""", "%a, %b"),
    "other result type": main(
        f"""%0 = stablehlo.convert %a : ({T}) -> tensor<4xf64>
            %1 = stablehlo.convert %a : ({T}) -> tensor<4xbf16>
            %2 = stablehlo.convert %0 : (tensor<4xf64>) -> {T}
            %3 = stablehlo.convert %1 : (tensor<4xbf16>) -> {T}""", "%2, %3"),
    "zeros of either sign": main(
        f"%0 = stablehlo.constant dense<0.0> : {T}\n%1 = stablehlo.constant dense<-0.0> : {T}", "%0, %1"),
    "other complex numbers": main(
        f"""%0 = stablehlo.constant dense<(1.0, 2.0)> : tensor<4xcomplex<f32>>
            %1 = stablehlo.constant dense<(1.0, 3.0)> : tensor<4xcomplex<f32>>
            %2 = stablehlo.imag %0 : (tensor<4xcomplex<f32>>) -> {T}
            %3 = stablehlo.imag %1 : (tensor<4xcomplex<f32>>) -> {T}""", "%2, %3"),
    "a complex product, commuted": """
        func.func @main(%a: tensor<2xcomplex<f32>>, %b: tensor<2xcomplex<f32>>)
            -> (tensor<2xcomplex<f32>>, tensor<2xcomplex<f32>>) {
          %0 = stablehlo.multiply %a, %b : tensor<2xcomplex<f32>>
          %1 = stablehlo.multiply %b, %a : tensor<2xcomplex<f32>>
          return %0, %1 : tensor<2xcomplex<f32>>, tensor<2xcomplex<f32>>
        }""",
    "other precision": main(
        f"""%0 = stablehlo.dot_general %a, %b, contracting_dims = [0] x [0] : ({T}, {T}) -> tensor<f32>
            %1 = stablehlo.dot_general %a, %b, contracting_dims = [0] x [0], precision = [HIGHEST, HIGHEST]
              : ({T}, {T}) -> tensor<f32>""", "%a, %b"),
    "rng": main(
        f"""%lo = stablehlo.constant dense<0.0> : tensor<f32>
            %hi = stablehlo.constant dense<1.0> : tensor<f32>
            %n = stablehlo.constant dense<4> : tensor<1xi64>
            %0 = stablehlo.rng %lo, %hi, %n, distribution = UNIFORM : (tensor<f32>, tensor<f32>, tensor<1xi64>) -> {T}
            %1 = stablehlo.rng %lo, %hi, %n, distribution = UNIFORM : (tensor<f32>, tensor<f32>, tensor<1xi64>) -> {T}
        """, "%0, %1"),
    "optimization_barrier": pair(f"stablehlo.optimization_barrier %a : {T}"),
    "custom calls with side effects": pair(f"stablehlo.custom_call @f(%a) {{has_side_effect = true}} : ({T}) -> {T}"),
    "custom calls that a token orders": main(
        f"""%t = stablehlo.create_token : !stablehlo.token
            %0, %t0 = stablehlo.custom_call @f(%a, %t) : ({T}, !stablehlo.token) -> ({T}, !stablehlo.token)
            %1, %t1 = stablehlo.custom_call @f(%a, %t) : ({T}, !stablehlo.token) -> ({T}, !stablehlo.token)
        """, "%0, %1"),
    "infeed": main(
        f"""%t = stablehlo.create_token : !stablehlo.token
            %0:2 = "stablehlo.infeed"(%t) {{infeed_config = ""}} : (!stablehlo.token) -> ({T}, !stablehlo.token)
            %1:2 = "stablehlo.infeed"(%t) {{infeed_config = ""}} : (!stablehlo.token) -> ({T}, !stablehlo.token)
        """, "%0#0, %1#0"),
    "other shardings": main(
        f"""%0 = stablehlo.tanh %a {{sdy.sharding = #sdy.sharding_per_value<[<@mesh, [{{"x"}}]>]>}} : {T}
            %1 = stablehlo.tanh %a {{sdy.sharding = #sdy.sharding_per_value<[<@mesh, [{{}}]>]>}} : {T}
            %2 = stablehlo.tanh %a : {T}""", "%0, %1, %2", more='sdy.mesh @mesh = <["x"=2]>'),
    "other sharding groups": main(
        f"""%0 = stablehlo.tanh %a : {T}
            %1 = stablehlo.tanh %a : {T}
            %2 = stablehlo.tanh %a : {T}
            %3 = stablehlo.tanh %a : {T}
            sdy.sharding_group %0 group_id=0 : {T}
            sdy.sharding_group %1 group_id=1 : {T}
            sdy.sharding_group %2 group_id=0 : {T}
            sdy.sharding_group %2 group_id=1 : {T}""", "%0, %1, %2, %3"),
    "other sharding groups, before their import": main(
        "".join(f"""%{i} = stablehlo.tanh %a : {T}
            %t{i} = stablehlo.custom_call @xla.sdy.ShardingGroup(%{i}) {{has_side_effect = true,
              mhlo.frontend_attributes = {{xla.sdy.sharding_group_id = "{i} : i64"}}}} : ({T}) -> tuple<>
            """ for i in range(2)), "%0, %1"),
    "ops around other sharding groups": main(
        "".join(f"""%{i} = "stablehlo.if"(%p) ({{
              sdy.sharding_group %a group_id={i} : {T}
              stablehlo.return %a : {T}
            }}, {{
              stablehlo.return %b : {T}
            }}) : (tensor<i1>) -> {T}
            """ for i in range(2)), "%0, %1", f"%a: {T}, %b: {T}, %p: tensor<i1>"),
    "other frontend attributes": main(
        f"""%0 = stablehlo.tanh %a {{mhlo.frontend_attributes = {{group = "a"}}}} : {T}
            %1 = stablehlo.tanh %a {{mhlo.frontend_attributes = {{group = "b"}}}} : {T}""", "%0, %1"),
    "other sharding constraints": main(
        f"""%0 = sdy.sharding_constraint %a <@mesh, [{{"x"}}]> : {T}
            %1 = sdy.sharding_constraint %a <@mesh, [{{}}]> : {T}""", "%0, %1", more='sdy.mesh @mesh = <["x"=2]>'),
    "calls of a function with an effect": main(
        f"%0 = call @f(%a) : ({T}) -> {T}\n%1 = call @f(%a) : ({T}) -> {T}", "%0, %1",
        more=f"""func.func private @f(%a: {T}) -> {T} {{ %0 = call @g(%a) : ({T}) -> {T} return %0 : {T} }}
                 func.func private @g(%a: {T}) -> {T} {{
                   %0 = stablehlo.custom_call @io(%a) {{has_side_effect = true}} : ({T}) -> {T} return %0 : {T} }}"""),
    "calls of a function with a barrier": main(
        f"%0 = call @f(%a) : ({T}) -> {T}\n%1 = call @f(%a) : ({T}) -> {T}", "%0, %1",
        more=f"""func.func private @f(%a: {T}) -> {T} {{
                   %0 = stablehlo.optimization_barrier %a : {T} return %0 : {T} }}"""),
    "calls of a declaration": main(
        f"%0 = call @f(%a) : ({T}) -> {T}\n%1 = call @f(%a) : ({T}) -> {T}", "%0, %1",
        more=f"func.func private @f({T}) -> {T}"),
    "values of sibling branches": main(
        f"""%i = stablehlo.constant dense<0> : tensor<i32>
            %0 = "stablehlo.case"(%i) ({{
              %1 = stablehlo.tanh %a : {T}
              stablehlo.return %1 : {T}
            }}, {{
              %1 = stablehlo.tanh %a : {T}
              %2 = stablehlo.negate %1 : {T}
              stablehlo.return %2 : {T}
            }}) : (tensor<i32>) -> {T}""", "%0"),
    "functions": main(f"%0 = stablehlo.tanh %a : {T}", "%0", more=f"""
        func.func private @f(%a: {T}) -> {T} {{ %0 = stablehlo.tanh %a : {T} return %0 : {T} }}"""),
}


@pytest.mark.parametrize("case", APART)
def test_keeps_apart(optimize: Optimize, case: str) -> None:
    assert optimize(Cse(), APART[case]).counters == {}


def reduction(combine: str, twice: bool = True, over: str = "%a") -> str:
    """A program with two reductions that differ in what they combine with, unless ``combine`` is the same."""
    first, second = combine.split()
    return main(
        "%z = stablehlo.constant dense<0.0> : tensor<f32>\n" + "\n".join(
            f"""%{i} = "stablehlo.reduce"({over}, %z) ({{
              ^bb0(%x: tensor<f32>, %y: tensor<f32>):
                %s = {op} : tensor<f32>
                stablehlo.return %s : tensor<f32>
              }}) {{dimensions = array<i64: 0>}} : ({T}, tensor<f32>) -> tensor<f32>
              %w{i} = stablehlo.broadcast_in_dim %{i}, dims = [] : (tensor<f32>) -> {T}"""
            for i, op in enumerate((first.replace("_", " "), second.replace("_", " ")))
        ), "%w0, %w1")


def test_regions_are_compared(optimize: Optimize) -> None:
    add, commuted = "stablehlo.add_%x,_%y", "stablehlo.add_%y,_%x"
    least, commuted_least = "stablehlo.minimum_%x,_%y", "stablehlo.minimum_%y,_%x"
    for combine in (f"{add} {add}", f"{add} {commuted}", f"{least} {commuted_least}"):
        assert optimize(Cse(), reduction(combine)).counters == {"merged": 2, "merged-region-ops": 1}
    for other in ("stablehlo.maximum_%x,_%y", "stablehlo.add_%x,_%x"):
        assert optimize(Cse(), reduction(f"{add} {other}")).counters == {}


def test_a_third_op_finds_its_equal_among_ops_with_other_regions(optimize: Optimize) -> None:
    body = reduction("stablehlo.add_%x,_%y stablehlo.maximum_%x,_%y")
    again = body.replace("return %w0, %w1", """%2 = "stablehlo.reduce"(%a, %z) ({
        ^bb0(%p: tensor<f32>, %q: tensor<f32>):
          %s = stablehlo.maximum %p, %q : tensor<f32>
          stablehlo.return %s : tensor<f32>
        }) {dimensions = array<i64: 0>} : (tensor<4xf32>, tensor<f32>) -> tensor<f32>
        %w2 = stablehlo.broadcast_in_dim %2, dims = [] : (tensor<f32>) -> tensor<4xf32>
        %w3 = stablehlo.add %w1, %w2 : tensor<4xf32>
        return %w0, %w3""")
    result = optimize(Cse(), again)
    assert result.counters == {"merged": 2, "merged-region-ops": 1}
    assert "stablehlo.add %3, %3" in result.text


LOOP = """
func.func @main(%n: tensor<i32>, %a: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
  %one = stablehlo.constant dense<1> : tensor<i32>
  %t = stablehlo.tanh %a : tensor<4xf32>
  %r:2 = stablehlo.while(%i = %one, %x = %t) : tensor<i32>, tensor<4xf32>
  cond {
    %c = stablehlo.compare LT, %i, %n : (tensor<i32>, tensor<i32>) -> tensor<i1>
    stablehlo.return %c : tensor<i1>
  } do {
    %k = stablehlo.constant dense<1> : tensor<i32>
    %k2 = stablehlo.constant dense<1> : tensor<i32>
    %t2 = stablehlo.tanh %a : tensor<4xf32>
    %y = stablehlo.add %x, %t2 : tensor<4xf32>
    %m = stablehlo.multiply %k, %k2 : tensor<i32>
    %j = stablehlo.add %i, %m : tensor<i32>
    stablehlo.return %j, %y : tensor<i32>, tensor<4xf32>
  }
  return %r#1, %t : tensor<4xf32>, tensor<4xf32>
}
"""


def test_a_loop_s_body_sees_values_from_outside(optimize: Optimize) -> None:
    result = optimize(Cse(), LOOP)
    assert result.counters == {"merged": 3}
    assert result.count("stablehlo.tanh") == 1
    assert result.count("stablehlo.constant") == 1


# What makes a module annotated, by where it stands.
ANNOTATED = {
    "a mesh": LOOP + 'sdy.mesh @mesh = <["x"=2]>',
    "a module's attribute": f'module attributes {{mhlo.frontend_attributes = {{xla.sdy.meshes = "{{}}"}}}} {{{LOOP}}}',
    "an argument's sharding": LOOP.replace("%a: tensor<4xf32>", '%a: tensor<4xf32> {mhlo.sharding = "{replicated}"}'),
    "an op's sharding": LOOP.replace("tanh %a : ", 'tanh %a {mhlo.sharding = "{replicated}"} : '),
    "a constraint": LOOP.replace("  return", """  %s = stablehlo.custom_call @Sharding(%r#1)
        {mhlo.sharding = "{replicated}"} : (tensor<4xf32>) -> tensor<4xf32>\n  return"""),
    "a group": LOOP.replace("  return", "  sdy.sharding_group %r#1 group_id=0 : tensor<4xf32>\n  return"),
}


@pytest.mark.parametrize("case", ANNOTATED)
def test_sunk_constants_stay_in_an_annotated_module(optimize: Optimize, case: str) -> None:
    result = optimize(Cse(), ANNOTATED[case])
    assert result.counters == {"merged": 2}
    assert result.count("stablehlo.constant") == 2
    assert optimize(Cse(sunk_constants="merge"), ANNOTATED[case]).counters == {"merged": 3}


def test_a_mesh_without_axes_is_no_annotation(optimize: Optimize) -> None:
    text = LOOP.replace("  return", "  %s = sdy.sharding_constraint %r#1 <@none, [{}]> : tensor<4xf32>\n  return")
    assert optimize(Cse(), text + "sdy.mesh @none = <[]>").counters == {"merged": 3}


def test_sunk_constants_stay_on_request(optimize: Optimize) -> None:
    assert optimize(Cse(sunk_constants="keep"), LOOP).counters == {"merged": 2}


@pytest.mark.parametrize(("op", "stays"), [
    ("stablehlo.iota dim = 0 : tensor<4xf32>", True),
    ("stablehlo.broadcast_in_dim %s, dims = [] : (tensor<f32>) -> tensor<4xf32>", True),
    ("stablehlo.broadcast_in_dim %v, dims = [0] : (tensor<1xf32>) -> tensor<4xf32>", False),
])
def test_what_counts_as_a_sunk_constant(optimize: Optimize, op: str, stays: bool) -> None:
    """Shardy gives each consumer its own copy of a constant, an iota and a scalar's broadcast, but of nothing else."""
    text = main(
        f"""%0 = {op}
            %r = "stablehlo.if"(%p) ({{
              %1 = {op}
              %2 = {op}
              %3 = stablehlo.add %1, %2 : {T}
              stablehlo.return %3 : {T}
            }}, {{
              stablehlo.return %a : {T}
            }}) : (tensor<i1>) -> {T}""", "%0, %r",
        arguments=f"%a: {T}, %p: tensor<i1>, %s: tensor<f32>, %v: tensor<1xf32>")
    assert optimize(Cse(), text).counters == {"merged": 2}
    assert optimize(Cse(sunk_constants="keep"), text).counters == {"merged": 1 if stays else 2}


def test_equal_loops_are_merged(optimize: Optimize) -> None:
    loop = LOOP[LOOP.index("  %r:2"):LOOP.index("  return %r")]
    both = LOOP.replace(loop, loop + loop.replace("%r:2", "%q:2")).replace("return %r#1, %t", "return %r#1, %q#1")
    assert optimize(Cse(), both).counters == {"merged": 7, "merged-region-ops": 1}


def test_isolated_regions_see_nothing_from_outside(optimize: Optimize) -> None:
    text = main(
        f"""%c = stablehlo.constant dense<1.0> : {T}
            %0 = sdy.named_computation<"f">(%a) (%x: {T}) {{
              %k = stablehlo.constant dense<1.0> : {T}
              %1 = stablehlo.add %x, %k : {T}
              sdy.return %1 : {T}
            }} : ({T}) -> {T}""", "%0, %c")
    assert optimize(Cse(sunk_constants="merge"), text).counters == {}


def test_calls_of_pure_functions(optimize: Optimize) -> None:
    text = main(
        "\n".join(f"%{i} = call @f({x}) : ({T}) -> {T}" for i, x in enumerate(("%a", "%a", "%b"))), "%0, %1, %2",
        more=f"""func.func private @f(%a: {T}) -> {T} {{ %0 = call @g(%a) : ({T}) -> {T} return %0 : {T} }}
                 func.func private @g(%a: {T}) -> {T} {{ %0 = stablehlo.tanh %a : {T} return %0 : {T} }}""")
    assert optimize(Cse(), text).counters == {"merged": 1, "merged-calls": 1}


def test_composites(optimize: Optimize) -> None:
    op = f'stablehlo.composite "my.op" %a {{decomposition = @f}} : ({T}) -> {T}'
    more = f"func.func private @f(%a: {T}) -> {T} {{ %0 = stablehlo.tanh %a : {T} return %0 : {T} }}"
    assert optimize(Cse(), pair(op) + more).counters == {"merged": 1, "merged-calls": 1}


def collective(op: str, channel: str = "") -> str:
    reducing = """({^bb0(%x: tensor<f32>, %y: tensor<f32>):
        %s = stablehlo.add %x, %y : tensor<f32> stablehlo.return %s : tensor<f32>})"""
    region = reducing if op in ("all_reduce", "reduce_scatter") else ""
    groups = "replica_groups = dense<[[0]]> : tensor<1x1xi64>"
    attributes = {
        "all_gather": f"all_gather_dim = 0 : i64, {groups}",
        "all_reduce": groups,
        "all_to_all": f"split_dimension = 0 : i64, concat_dimension = 0 : i64, split_count = 1 : i64, {groups}",
        "collective_broadcast": groups,
        "collective_permute": "source_target_pairs = dense<[[0, 0]]> : tensor<1x2xi64>",
        "reduce_scatter": f"scatter_dimension = 0 : i64, {groups}",
    }[op]
    handle = f", channel_handle = #stablehlo.channel_handle<{channel}>" if channel else ""
    return f'"stablehlo.{op}"(%a) {region} {{{attributes}{handle}}} : ({T}) -> {T}'


COLLECTIVE_OPS = [name.removeprefix("stablehlo.") for name in sorted(COLLECTIVES) if name.startswith("stablehlo.")]


@pytest.mark.parametrize("op", COLLECTIVE_OPS)
def test_collectives_are_equal_up_to_their_channel_id(optimize: Optimize, op: str) -> None:
    def merged(first: str, second: str) -> int:
        text = main(f"%0 = {collective(op, first)}\n%1 = {collective(op, second)}", "%0, %1")
        return optimize(Cse(), text).counters.get("merged-collectives", 0)

    assert merged("handle = 1, type = 1", "handle = 2, type = 1") == 1
    assert merged("", "") == 1
    # Without a channel the groups name replicas, with one they name partitions.
    assert merged("", "handle = 2, type = 1") == 0
    assert merged("handle = 1, type = 0", "handle = 1, type = 1") == 0


def test_every_collective_with_a_channel_has_a_normal_form() -> None:
    assert {f"stablehlo.{op}" for op in COLLECTIVE_OPS} <= NORMAL_FORMS.keys()


def test_unknown_ops_are_left_alone(optimize: Optimize) -> None:
    from passes import _mlir

    context = _mlir.context()
    context.allow_unregistered_dialects = True
    try:
        op = f'"other.op"(%a) ({{ %x = stablehlo.tanh %a : {T}\n %y = stablehlo.tanh %a : {T}\n "other.end"(%x, %y)'
        assert optimize(Cse(), pair(f"{op} : ({T}, {T}) -> () }}) : ({T}) -> {T}")).counters == {}
    finally:
        context.allow_unregistered_dialects = False


def test_the_location_of_a_merged_op_names_all_it_stands_for(optimize: Optimize) -> None:
    text = main(f"""%0 = stablehlo.tanh %a : {T} loc("first")
                    %1 = stablehlo.tanh %a : {T} loc("second")
                    %2 = stablehlo.tanh %a : {T} loc("first")""", "%0, %1, %2")
    module = optimize(Cse(), text).module
    op = module.body.operations[0].regions[0].blocks[0].operations[0]
    assert str(op.location) == 'loc(fused["first", "second"])'


def test_so_do_the_locations_of_ops_inside_merged_regions(optimize: Optimize) -> None:
    text = main("".join(f"""%{i} = "stablehlo.if"(%p) ({{
          %x = stablehlo.tanh %a : {T} loc("inside {i}")
          stablehlo.return %x : {T}
        }}, {{
          stablehlo.return %a : {T}
        }}) : (tensor<i1>) -> {T} loc("{i}")
        """ for i in range(3)), "%0, %1, %2", f"%a: {T}, %p: tensor<i1>")
    module = optimize(Cse(), text).module
    op = module.body.operations[0].regions[0].blocks[0].operations[0].operation
    assert str(op.location) == 'loc(fused["0", "1", "2"])'
    assert str(op.regions[0].blocks[0].operations[0].location) == 'loc(fused["inside 0", "inside 1", "inside 2"])'
