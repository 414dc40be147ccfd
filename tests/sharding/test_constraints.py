"""Constraints and groups of a rules file: which values they select, what is written, and that results stay the same."""

from __future__ import annotations

import re

import pytest

from passes.errors import UserError
from passes.execute.verify import verify
from passes.partition.partition import partition
from passes.program.read import Program, parse
from passes.program.write import to_text
from passes.sharding.annotate import annotate
from passes.sharding.propagate import PropagateOptions, propagate
from passes.sharding.rules_file import parse as parse_rules

MESH = "mesh = { data = 2, model = 4 }\n"
MODULE = """
func.func private @act(%a: tensor<8x4xf32>) -> tensor<8x4xf32> {
  %0 = stablehlo.tanh %a : tensor<8x4xf32> loc("act/tanh"("model.py":7:3))
  return %0 : tensor<8x4xf32>
}
func.func private @norm(%a: tensor<8x4xf32>) -> tensor<8x4xf32> {
  %0 = stablehlo.abs %a : tensor<8x4xf32>
  return %0 : tensor<8x4xf32>
}
func.func @main(%a: tensor<8x4xf32> loc("a"), %b: tensor<4x8xf32> loc("b"), %c: tensor<8x4xf32> loc("c"))
    -> (tensor<8x8xf32>, tensor<8x4xf32>) {
  %0 = stablehlo.add %a, %c : tensor<8x4xf32> loc("jit(f)/layer_0/add"("/home/me/model.py":10:3))
  %1 = func.call @act(%0) : (tensor<8x4xf32>) -> tensor<8x4xf32> loc("jit(f)/layer_1/call")
  %2 = stablehlo.add %1, %a : tensor<8x4xf32> loc(fused["jit(f)/layer_1/add", "/home/me/model.py":12:3])
  %3 = stablehlo.composite "my.norm" %2 {decomposition = @norm} : (tensor<8x4xf32>) -> tensor<8x4xf32>
  %zero = stablehlo.constant dense<0.0> : tensor<f32>
  %4 = stablehlo.reduce(%3 init: %zero) applies stablehlo.add across dimensions = [1]
    : (tensor<8x4xf32>, tensor<f32>) -> tensor<8xf32>
  %5 = stablehlo.dot_general %3, %b, contracting_dims = [1] x [0]
    : (tensor<8x4xf32>, tensor<4x8xf32>) -> tensor<8x8xf32> loc(callsite("mlp/dot" at "model.py":20:1))
  return %5, %3 : tensor<8x8xf32>, tensor<8x4xf32>
}
"""


def annotated(rules: str, module: str = MODULE) -> Program:
    program = parse(module, "m.mlir")
    annotate(program, parse_rules(MESH + rules, "r.toml"))
    assert program.module.operation.verify()
    return program


def constrained(rules: str) -> list[str]:
    """The op behind which each constraint was put, and how it lies."""
    lines = to_text(annotated(rules).module).splitlines()
    return [
        lines[n - 1].split(" = ")[1].split()[0] + " " + line.partition("<@mesh, ")[2].partition(">")[0]
        for n, line in enumerate(lines) if "sdy.sharding_constraint" in line
    ]


@pytest.mark.parametrize(
    ("selects", "expected"),
    [
        ('op = "tanh"', ["stablehlo.tanh"]),
        ('op = "stablehlo.add"', ["stablehlo.add"] * 2),
        ('op = "*.composite"', ["stablehlo.composite"]),
        ('op = "func.call"', ["call"]),
        ('op = "add"\nnth = 1', ["stablehlo.add"]),
        ('location = "jit(f)/layer_0/*"', ["stablehlo.add"]),
        ('location = "layer_1/*"', ["call", "stablehlo.add"]),
        ('location = "model.py:10"', ["stablehlo.add"]),
        ('location = "model.py:12"', ["stablehlo.add"]),
        ('location = "model.py:7"', ["stablehlo.tanh"]),
        ('location = "m.mlir:7"', ["stablehlo.abs"]),
        ('composite = "my.*"', ["stablehlo.composite"]),
        ('type = "8x4xf32"\nop = "add"', ["stablehlo.add"] * 2),
        ('type = "tensor<8x4x*>"\nop = "*"\nnth = [0, 4]', ["stablehlo.tanh", "stablehlo.add"]),
    ],
)
def test_selection(selects: str, expected: list[str]) -> None:
    found = constrained(f'[[constraints]]\n{selects}\ndims = ["data", "model"]')
    assert found == [f'{op} [{{"data"}}, {{"model"}}]' for op in expected]


def test_the_last_entry_holds_for_a_value() -> None:
    rules = '[[constraints]]\nop = "add"\ndims = ["data", ""]\n'
    rules += '[[constraints]]\nop = "add"\nnth = 0\ndims = ["", "?:p1"]'
    assert constrained(rules) == ["stablehlo.add [{}, {?}p1]", 'stablehlo.add [{"data"}, {}]']


def test_replicated_and_unreduced_axes() -> None:
    rules = '[[constraints]]\nop = "dot_general"\ndims = ["", ""]\nreplicated = ["model", "data"]'
    text = to_text(annotated(rules).module)
    assert '<@mesh, [{}, {}], replicated={"data", "model"}>' in text
    rules = '[[constraints]]\nop = "dot_general"\ndims = ["data", ""]\nunreduced = "model"'
    assert '<@mesh, [{"data"}, {}], unreduced={"model"}>' in to_text(annotated(rules).module)


@pytest.mark.parametrize(
    "rules", ['[[arguments]]\nmatch = "a"\n', '[[results]]\nindex = 0\n', '[[constraints]]\nop = "dot_general"\n']
)
def test_partition_refuses_what_is_unreduced(rules: str) -> None:
    program = annotated(rules + 'dims = ["data", ""]\nunreduced = "model"')
    with pytest.raises(UserError, match="is unreduced, which cannot be partitioned here"):
        partition(program)


def test_an_operand_lies_otherwise_for_its_reader_alone() -> None:
    text = to_text(annotated("""
[[constraints]]
op = "add"
nth = 0
dims = ["data", ""]
[[constraints]]
op = "dot_general"
operand = 1
dims = ["", "model"]
[[constraints]]
op = "add"
operand = 0
nth = 1
dims = ["model", ""]""").module)
    [read] = re.findall(r"(%\d+) = sdy.sharding_constraint %arg1 ", text)
    assert re.search(rf"stablehlo.dot_general %\d+, {read},", text)
    [second] = re.findall(r"(%\d+) = sdy.sharding_constraint %\d+ <@mesh, \[\{\"model\"\}", text)
    assert f"stablehlo.add {second}, %arg0" in text


def test_the_users_of_a_value_use_the_constraint() -> None:
    text = to_text(annotated('[[constraints]]\ncomposite = "my.norm"\ndims = ["data", ""]').module)
    name = text.partition(" = sdy.sharding_constraint")[0].rpartition("%")[2]
    assert f"stablehlo.reduce(%{name} " in text
    assert f"stablehlo.dot_general %{name}," in text
    assert text.rstrip().count(f"%{name} :") == 1


@pytest.mark.parametrize(
    ("rules", "message", "line"),
    [
        ("[[constraints]]\ndims = []", "this [[constraints]] entry selects nothing; give it one or more of op,", 3),
        ('[[constraints]]\nop = "add"', "this [[constraints]] entry has no dims", 3),
        ('[[constraints]]\nop = "ad"\ndims = []',
         'op "ad" selects none of the 8 operations; there are stablehlo.add (2)', 3),
        ('[[constraints]]\nop = "add"\nlocation = "x"\ndims = []',
         'location "x" selects none of the 2 operations that are add; there are jit(f)/layer_0/add, '
         "/home/me/model.py:10, jit(f)/layer_1/add, /home/me/model.py:12", 3),
        ('[[constraints]]\nop = "add"\ntype = "8xf32"\ndims = []',
         'type "8xf32" selects none of the 2 operations that are add; there are 8x4xf32 (2)', 3),
        ('[[constraints]]\nrank = 3\ndims = []', "rank 3 selects none of the 8 operations; there are 8x4xf32 (6)", 3),
        ('[[constraints]]\ncomposite = "x"\ndims = []',
         'composite "x" selects none of the 8 operations; there are my.norm', 3),
        ('[[constraints]]\ncustom_call = "x"\ndims = []',
         'custom_call "x" selects none of the 8 operations; there are none', 3),
        ('[[constraints]]\nop = "add"\nnth = 2\ndims = []', "there is no match 2; 2 results match, counted from 0", 3),
        ('[[constraints]]\nop = "add"\nresult = 1\ndims = []', "there is no result 1 in any of the 2 operations", 3),
        ('[[constraints]]\nop = "add"\noperand = 2\ndims = []', "there is no operand 2 in any of the 2 operations", 3),
        ('[[constraints]]\nop = "add"\noperand = 0\nresult = 0\ndims = []', "about a result or about an operand", 4),
        ('[[constraints]]\nop = "add"\noperand = 1\ndims = [""]',
         "operand 1 of 'stablehlo.add' at /home/me/model.py:10:3 has shape 8x4, that is 2 dimensions, but", 3),
        ('[[constraints]]\nop = "add"\ndims = [""]',
         "the result of 'stablehlo.add' at /home/me/model.py:10:3 has shape 8x4, that is 2 dimensions, but", 3),
        ('[[constraints]]\nop = "add"\ndims = ["", ["data", "model"]]', "does not divide by the 8 shards", 3),
        ('[[constraints]]\nop = "add"\nwhere = "x"\ndims = []', "unknown key 'where'", 4),
        ("[[groups]]", "this [[groups]] entry has no members", 2),
        ('[[groups]]\narguments = "x"', '"x" names no argument', 3),
        ('[[groups]]\narguments = "a"', "this group has one member only", 3),
        ('[[groups]]\narguments = ["a", "b"]', "the members of a group have one shape; here are 8x4xf32, 4x8xf32", 3),
    ],
)
def test_mistakes_are_told_at_their_line(rules: str, message: str, line: int) -> None:
    program = parse(MODULE, "m.mlir")
    before = to_text(program.module)
    with pytest.raises(UserError) as caught:
        annotate(program, parse_rules(MESH + rules, "r.toml"))
    assert message in caught.value.message
    assert (caught.value.where.file, caught.value.where.line) == ("r.toml", line)  # type: ignore[union-attr]
    assert to_text(program.module) == before


def test_optional_entries_may_select_nothing_but_not_all_of_them() -> None:
    optional = '[[constraints]]\nop = "sub*"\ndims = []\noptional = true\n'
    assert len(constrained(optional + '[[constraints]]\nop = "tanh"\ndims = ["", ""]')) == 1
    with pytest.raises(UserError, match="none of the entries applies to this program; `shlo shard --names`"):
        annotated(optional)


@pytest.mark.parametrize("grouped", [True, False])
def test_the_members_of_a_group_get_one_sharding(grouped: bool) -> None:
    module = """
func.func @main(%a: tensor<8x4xf32> loc("a"), %b: tensor<8x4xf32> loc("b")) -> (tensor<8x4xf32>, tensor<8x4xf32>) {
  %0 = stablehlo.tanh %b : tensor<8x4xf32>
  return %a, %0 : tensor<8x4xf32>, tensor<8x4xf32>
}"""
    rules = '[[arguments]]\nmatch = "a"\ndims = ["data", ""]\n'
    program = annotated(rules + '[[groups]]\narguments = "a"\nop = "tanh"\n' * grouped, module)
    assert to_text(program.module).count("group_id=0") == 2 * grouped
    propagate(program)
    tanh = next(line for line in to_text(program.module).splitlines() if "tanh" in line)
    assert ('[{"data"}, {}]' in tanh) is grouped


def test_numbers_of_groups_the_module_has_are_not_used_again() -> None:
    module = MODULE.replace("%zero =", "sdy.sharding_group %a group_id=3 : tensor<8x4xf32>\n%zero =")
    text = to_text(annotated('[[groups]]\narguments = ["a", "c"]\n[[groups]]\nop = "add"', module).module)
    assert [text.count(f"group_id={n}") for n in range(6)] == [0, 0, 0, 1, 2, 2]


RULES = """
[[arguments]]
match = "a"
dims = ["data:p1", ""]
[[arguments]]
match = "b"
dims = ["model", "data:p0"]
[[constraints]]
op = "add"
location = "layer_1/add"
dims = ["", "model"]
[[constraints]]
op = "reduce"
dims = [["data", "model"]]
[[groups]]
arguments = ["a", "c"]
"""


def test_xla_and_our_partition_compute_what_the_program_did() -> None:
    original = parse(MODULE)
    annotated_only = annotated(RULES)
    propagate(annotated_only, PropagateOptions(reshards=False))
    assert "sdy.sharding_constraint" in to_text(annotated_only.module)
    report = verify(original, annotated_only, xla_partition=True, inputs="exact")
    assert report.ok, report.lines()
    device = annotated(RULES)
    side_table = partition(device).side_table
    report = verify(original, device, side_table, inputs="exact")
    assert report.ok, report.lines()
    assert [e.sharding.spec() for e in side_table.arguments] == ["P('data', None)", "P('model', 'data')",
                                                                 "P('data', None)"]


def test_priorities_decide_who_is_heard_first() -> None:
    module = """
func.func @main(%a: tensor<8x8xf32> loc("a"), %b: tensor<8x8xf32> loc("b")) -> tensor<8x8xf32> {
  %0 = stablehlo.add %a, %b : tensor<8x8xf32>
  return %0 : tensor<8x8xf32>
}"""
    for first, second, expected in (("p0", "p1", '[{"data"}, {}]'), ("p1", "p0", '[{}, {"data"}]')):
        rules = f'[[arguments]]\nmatch = "a"\ndims = ["data:{first}", ""]\n'
        rules += f'[[arguments]]\nmatch = "b"\ndims = ["", "data:{second}"]\n'
        program = annotated(rules, module)
        propagate(program)
        result = to_text(program.module).partition("-> (")[2].splitlines()[0]
        assert expected in result
