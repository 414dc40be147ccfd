"""Rules of a rules file on custom calls and composites: where they land, and what is refused."""

from __future__ import annotations

import pytest

from passes.errors import UserError
from passes.program.read import Program, parse
from passes.program.write import to_text
from passes.sharding.annotate import annotate
from passes.sharding.propagate import propagate
from passes.sharding.rules_file import parse as parse_rules

MESH = 'mesh = { data = 2, model = 4 }\n[[arguments]]\nindex = 0\ndims = ["data", ""]\n'
MODULE = """
func.func private @twice(%a: tensor<8x4xf32>) -> tensor<8x4xf32> {
  %0 = stablehlo.add %a, %a : tensor<8x4xf32>
  return %0 : tensor<8x4xf32>
}
func.func @main(%a: tensor<8x4xf32>, %b: tensor<4x16xf32>) -> (tensor<8x16xf32>, tensor<8x4xf32>, tensor<8xf32>) {
  %0 = stablehlo.custom_call @mm(%a, %b) : (tensor<8x4xf32>, tensor<4x16xf32>) -> tensor<8x16xf32>
  %1 = stablehlo.composite "my.twice" %a {decomposition = @twice} : (tensor<8x4xf32>) -> tensor<8x4xf32>
  %2 = stablehlo.custom_call @rows(%a) : (tensor<8x4xf32>) -> tensor<8xf32>
  return %0, %1, %2 : tensor<8x16xf32>, tensor<8x4xf32>, tensor<8xf32>
}
"""


def annotated(rules: str, module: str = MODULE) -> Program:
    program = parse(module, "m.mlir")
    annotate(program, parse_rules(MESH + rules, "r.toml"))
    assert program.module.operation.verify()
    return program


def test_a_rule_is_written_and_marked_as_the_users() -> None:
    program = annotated("""
[[rules]]
custom_call = "mm"
rule = "i k, k j -> i j"
reduction = "k"
[[rules]]
composite = "my.*"
rule = "... -> ..."
""")
    text = to_text(program.module)
    assert "([i, j], [j, k])->([i, k]) {i=8, j=4, k=16} reduction={j}, custom>" in text
    assert "([i, j])->([i, j]) {i=8, j=4}, custom>" in text
    assert text.count("sdy.sharding_rule") == 2


def test_propagation_follows_it_and_leaves_it() -> None:
    program = annotated("[[rules]]\ncustom_call = 'mm'\nrule = 'i k, k j -> i j'\n"
                        "[[rules]]\ncomposite = 'my.twice'\nrule = 'i j -> i j'")
    report = propagate(program)
    text = to_text(program.module)
    assert text.count('<@mesh, [{"data"}, {}]>]>') == 2
    assert text.count("custom>") == 2
    assert [message for _, message in report.unruled] == [
        "stablehlo.custom_call 'rows' has no sharding rule: its operands are gathered and every device runs all of it"
    ]
    assert report.advice()[1:] == ["  [[rules]]", '  custom_call = "rows"', '  rule = "a b -> c"']


def test_the_advice_can_be_pasted() -> None:
    report = propagate(annotated(""))
    # One for each custom call; shardings go through a composite without a rule.
    assert len(report.rules_to_write) == 2
    program = annotated("\n".join(line.strip() for line in report.advice()[1:]))
    assert not propagate(program).unruled


def test_the_last_rule_that_fits_holds() -> None:
    text = to_text(annotated("""
[[rules]]
custom_call = "*"
rule = "i j -> i"
[[rules]]
custom_call = "mm"
rule = "i k, k j -> i j"
""").module)
    assert "([i, j])->([i]) {i=8, j=4} need_replication={j}, custom>" in text
    assert "([i, j], [j, k])->([i, k]) {i=8, j=4, k=16} need_replication={j}, custom>" in text


@pytest.mark.parametrize(
    ("rules", "message", "line"),
    [
        ("[[rules]]\nrule = 'a -> a'", "this [[rules]] entry is for one of custom_call or composite", 6),
        ("[[rules]]\ncustom_call = 'mm'", "this [[rules]] entry has no rule", 6),
        ("[[rules]]\ncustom_call = 'mm'\nrule = 'a'", "a rule has one arrow", 7),
        ("[[rules]]\ncustom_call = 'mm'\nrule = 'a -> a'\nsizes = { a = 0 }", "sizes takes factors with", 8),
        ("[[rules]]\ncustom_call = 'mm'\nrule = 'a -> a'\nreduction = [1]", "reduction takes a text or a list", 8),
        ("[[rules]]\ncustom_call = 'mn'\nrule = 'a -> a'",
         'custom_call "mn" names no custom call; they are mm, rows', 6),
        ("[[rules]]\ncomposite = 'mm'\nrule = 'a -> a'", 'composite "mm" names no composite; they are my.twice', 6),
        ("[[rules]]\ncustom_call = 'mm'\nrule = 'a -> a'",
         "the rule does not fit stablehlo.custom_call 'mm' at m.mlir:7:8 (8x4, 4x16): it has 2 operands", 6),
    ],
)
def test_mistakes_are_told_at_their_line(rules: str, message: str, line: int) -> None:
    with pytest.raises(UserError) as caught:
        annotated(rules)
    assert message in caught.value.message
    assert caught.value.where is not None
    assert (caught.value.where.file, caught.value.where.line) == ("r.toml", line)


def test_a_call_with_a_token_cannot_have_a_rule() -> None:
    module = """
func.func @main(%a: tensor<8x4xf32>, %t: !stablehlo.token) -> tensor<8x4xf32> {
  %0 = stablehlo.custom_call @f(%a, %t) : (tensor<8x4xf32>, !stablehlo.token) -> tensor<8x4xf32>
  return %0 : tensor<8x4xf32>
}"""
    with pytest.raises(UserError, match="has an operand or result that is no tensor"):
        annotated("[[rules]]\ncustom_call = 'f'\nrule = 'a b, -> a b'", module)
