"""Tuples are dissolved wherever they only carry values, and what cannot be dissolved is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from passes.errors import UserError
from passes.execute.verify import verify
from passes.partition.partition import partition
from passes.program.read import parse
from passes.program.walk import named
from passes.program.write import to_text
from passes.sharding import names, rules_file
from passes.sharding.annotate import annotate
from passes.sharding.explain import Explainer
from passes.sharding.propagate import PropagateOptions, propagate
from passes.sharding.tuples import NAMES, dissolve
from tests.optimize.conftest import evaluate

PAIR = "tuple<tensor<8xf32>, tensor<8xf32>>"
NESTED = f"tuple<tensor<8xf32>, {PAIR}>"
X = 'sdy.sharding = #sdy.sharding<@mesh, [{"x"}]>'

# Tuples only inside: XLA runs the program before and after.
INSIDE = f"""
sdy.mesh @mesh = <["x"=8]>
func.func private @twice(%a: {NESTED}) -> {PAIR} {{
  %0 = stablehlo.get_tuple_element %a[0] : ({NESTED}) -> tensor<8xf32>
  %1 = stablehlo.get_tuple_element %a[1] : ({NESTED}) -> {PAIR}
  %2 = stablehlo.get_tuple_element %1[1] : ({PAIR}) -> tensor<8xf32>
  %3 = stablehlo.subtract %0, %2 : tensor<8xf32>
  %4 = stablehlo.tuple %3, %2 : {PAIR}
  return %4 : {PAIR}
}}
func.func @main(%a: tensor<8xf32> {{{X}}}, %b: tensor<8xf32>) -> (tensor<8xf32>, tensor<8xf32>) {{
  %0 = stablehlo.tuple %b, %b : {PAIR}
  %1 = stablehlo.tuple %a, %0 : {NESTED}
  %2 = func.call @twice(%1) : ({NESTED}) -> {PAIR}
  %3 = stablehlo.get_tuple_element %2[0] : ({PAIR}) -> tensor<8xf32>
  %4 = stablehlo.get_tuple_element %2[1] : ({PAIR}) -> tensor<8xf32>
  return %3, %4 : tensor<8xf32>, tensor<8xf32>
}}"""

INSIDE_FLAT = """
sdy.mesh @mesh = <["x"=8]>
func.func @main(%a: tensor<8xf32>, %b: tensor<8xf32>) -> (tensor<8xf32>, tensor<8xf32>) {
  %0 = stablehlo.subtract %a, %b : tensor<8xf32>
  return %0, %b : tensor<8xf32>, tensor<8xf32>
}"""


def test_tuples_inside_a_program() -> None:
    program = parse(INSIDE)
    propagate(program, PropagateOptions(reshards=False))
    text = to_text(program.module)
    assert "tuple" not in text
    assert text.count('#sdy.sharding<@mesh, [{"x"}]>') >= 4
    # The interpreter knows no tuples, XLA's own partitioner none in calls.
    report = verify(parse(INSIDE_FLAT), program, xla_partition=True)
    assert report.ok, "\n".join(report.lines())


def test_tuples_are_gone_before_a_program_is_partitioned() -> None:
    program = parse(INSIDE)
    report = partition(program)
    assert report.side_table.arguments[0].sharding.dims[0]
    found = verify(parse(INSIDE_FLAT), program, report.side_table)
    assert found.ok, "\n".join(found.lines())


def test_the_entry_takes_and_returns_elements_in_order() -> None:
    program = parse(f"""
func.func @main(%t: {NESTED} {{mhlo.note = 1 : i32}}, %c: tensor<8xf32> {{mhlo.note = 2 : i32}})
    -> ({PAIR}, tensor<8xf32>) {{
  %0 = stablehlo.get_tuple_element %t[0] : ({NESTED}) -> tensor<8xf32>
  %1 = stablehlo.get_tuple_element %t[1] : ({NESTED}) -> {PAIR}
  %2 = stablehlo.get_tuple_element %1[0] : ({PAIR}) -> tensor<8xf32>
  %3 = stablehlo.subtract %0, %2 : tensor<8xf32>
  %4 = stablehlo.subtract %3, %c : tensor<8xf32>
  return %1, %4 : {PAIR}, tensor<8xf32>
}}""")
    assert dissolve(program, named(program.module, NAMES))
    assert program.module.operation.verify()
    text = to_text(program.module)
    assert "tuple" not in text
    assert "%arg2: tensor<8xf32>, %arg3: tensor<8xf32> {mhlo.note = 2 : i32}" in text
    values = [np.random.default_rng(i).normal(size=8).astype(np.float32) for i in range(4)]
    a, b, c, d = values
    assert evaluate(program.module, values) == [b.tobytes(), c.tobytes(), (a - b - d).tobytes()]


def test_a_custom_call_with_a_tuple_for_its_result_has_several() -> None:
    alias = "#stablehlo.output_operand_alias<output_tuple_indices = [1], operand_index = 0, operand_tuple_indices = []>"
    program = parse(f"""
func.func @main(%a: tensor<8xf32>) -> tensor<8xf32> {{
  %0 = stablehlo.custom_call @foo(%a) {{output_operand_aliases = [{alias}],
    operand_layouts = [dense<0> : tensor<1xindex>],
    result_layouts = [dense<0> : tensor<1xindex>, dense<0> : tensor<1xindex>]}}
    : (tensor<8xf32>) -> {PAIR}
  %1 = stablehlo.get_tuple_element %0[1] : ({PAIR}) -> tensor<8xf32>
  return %1 : tensor<8xf32>
}}""")
    assert dissolve(program, named(program.module, NAMES))
    assert program.module.operation.verify()
    text = to_text(program.module)
    assert "%0:2 = stablehlo.custom_call @foo(%arg0)" in text
    assert "return %0#1" in text
    assert "output_tuple_indices = [1]" in text


def test_no_tuples_no_change() -> None:
    program = parse("func.func @main(%a: tensor<8xf32>) -> tensor<8xf32> {\n  return %a : tensor<8xf32>\n}")
    assert not dissolve(program, named(program.module, NAMES))


def test_a_custom_call_that_takes_a_tuple_is_refused() -> None:
    program = parse(f"""
func.func @main(%a: tensor<8xf32>) -> tensor<8xf32> {{
  %0 = stablehlo.tuple %a, %a : {PAIR}
  %1 = stablehlo.custom_call @foo(%0) : ({PAIR}) -> tensor<8xf32>
  return %1 : tensor<8xf32>
}}""")
    with pytest.raises(UserError, match=r"'stablehlo\.tuple' has a value of type tuple<.*sharding knows no tuples"):
        propagate(program)


STATE = f"""
func.func @main(%s: {NESTED} loc("state"), %b: tensor<8xf32>) -> {PAIR} {{
  %0 = stablehlo.get_tuple_element %s[0] : ({NESTED}) -> tensor<8xf32>
  %1 = stablehlo.get_tuple_element %s[1] : ({NESTED}) -> {PAIR}
  %2 = stablehlo.get_tuple_element %1[1] : ({PAIR}) -> tensor<8xf32>
  %3 = stablehlo.add %0, %2 : tensor<8xf32>
  %4 = stablehlo.tuple %3, %2 : {PAIR}
  return %4 : {PAIR}
}}"""

NAMED = """
mesh = { x = 4, y = 2 }
[[arguments]]
match = "state[1][0]"
dims = ["y"]
[[arguments]]
index = 2
dims = ["x"]
[[results]]
match = "*[1]"
dims = ["x"]
"""


def test_a_rules_file_names_elements() -> None:
    program = parse(STATE)
    report = annotate(program, rules_file.parse(NAMED))
    assert [(a.index, a.name, a.sharding.spec()) for a in report.arguments] == [
        (1, "state[1][0]", "P('y')"), (2, "state[1][1]", "P('x')"),
    ]
    assert [(a.index, a.name) for a in report.results] == [(1, "result0[1]")]
    flat = [f'match = "{name}"' for name in ("state[0]", "state[1][0]", "state[1][1]", "arg3")]
    listed = [line.split("  ")[0].strip() for line in names.listing(parse(STATE))]
    assert listed == ["# [[arguments]]", *flat, "# [[results]]", 'match = "result0[0]"', 'match = "result0[1]"']


def test_explain_knows_elements_by_their_names_and_values() -> None:
    """``%2`` and ``%4`` are gone when shardings propagate; what they were of is not."""
    program = parse(STATE)
    explainer = Explainer(program)
    explainer.ask_value("%2")
    explainer.ask_value("%4")
    explainer.ask_named("argument", "state[1][0]")
    explainer.annotated(annotate(program, rules_file.parse(NAMED)))
    answers = [answer for (answer,) in explainer.answer()]
    assert [(a.tensor, a.spec) for a in answers] == [
        ("argument 2 'state[1][1]'", "P('x')"), ("%3 (add)", "P('x')"), ("argument 1 'state[1][0]'", "P('y')"),
    ]
    assert answers[0].axes[0].chain[0].where == "<rules>:7:1"


def test_show_lists_elements(shlo: Callable[..., Any]) -> None:
    assert shlo("show", "--names", stdin=STATE).out.splitlines()[2].split() == ["argument", "f32[8]", "state[1][1]"]


def test_a_rule_for_a_custom_call_that_returns_a_tuple() -> None:
    program = parse(f"""
func.func @main(%a: tensor<8xf32>) -> tensor<8xf32> {{
  %0 = stablehlo.custom_call @both(%a) : (tensor<8xf32>) -> {PAIR}
  %1 = stablehlo.get_tuple_element %0[1] : ({PAIR}) -> tensor<8xf32>
  return %1 : tensor<8xf32>
}}""")
    rules = 'mesh = { x = 2 }\n[[rules]]\ncustom_call = "both"\nrule = "i -> i, i"'
    assert annotate(program, rules_file.parse(rules)).ruled == 1
