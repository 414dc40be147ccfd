"""Composites and custom calls with a rule of the user's: partitioned in place and executed, or replicated."""

from __future__ import annotations

import pytest

from passes.errors import UserError
from passes.execute.verify import verify
from passes.partition.partition import partition
from passes.partition.report import Report
from passes.program.read import Program, parse
from passes.program.write import to_text
from passes.sharding.annotate import annotate
from passes.sharding.propagate import PropagateOptions, propagate
from passes.sharding.rules_file import parse as parse_rules

MESH = "mesh = { x = 4, y = 2 }\n"
MATMUL = "[[rules]]\ncomposite = 'my.mm'\nrule = 'i k, k j -> i j'\nreduction = 'k'\n"
ROWS = "[[arguments]]\nindex = 0\ndims = ['x', '']\n"
CONTRACTED = "[[arguments]]\nindex = 0\ndims = ['', 'x']\n[[arguments]]\nindex = 1\ndims = ['x', 'y']\n"
# A matrix product; what else its decomposition does stands in the middle.
MODULE = """
func.func private @mm(%a: tensor<8x16xf32>, %b: tensor<16x4xf32>) -> tensor<8x4xf32> {
  %0 = stablehlo.dot_general %a, %b, contracting_dims=[1]x[0]
    : (tensor<8x16xf32>, tensor<16x4xf32>) -> tensor<8x4xf32>
  INSIDE
}
func.func @main(%a: tensor<8x16xf32>, %b: tensor<16x4xf32>) -> (tensor<8x4xf32>, tensor<8x4xf32>) {
  %0 = stablehlo.composite "my.mm" %a, %b {composite_attributes = {exact = true}, decomposition = @mm}
    : (tensor<8x16xf32>, tensor<16x4xf32>) -> tensor<8x4xf32>
  %1 = stablehlo.abs %b : tensor<16x4xf32>
  %2 = stablehlo.composite "my.mm" %a, %1 {decomposition = @mm}
    : (tensor<8x16xf32>, tensor<16x4xf32>) -> tensor<8x4xf32>
  return %0, %2 : tensor<8x4xf32>, tensor<8x4xf32>
}
"""
PLAIN = MODULE.replace("INSIDE", "return %0 : tensor<8x4xf32>")


def check(original: Program, program: Program, report: Report) -> None:
    """Both programs compute the same bits, on whole numbers, whose sums are exact in any order."""
    found = verify(original, program, report.side_table, inputs="exact")
    assert found.ok, found.lines()
    assert all(result.figures.bit_equal for result in found.results)


def partitioned(module: str, rules: str) -> tuple[str, Report]:
    """The per-device program, which computes the same bits as ``module``, and the report."""
    original, program = parse(module, "m.mlir"), parse(module, "m.mlir")
    annotate(program, parse_rules(MESH + rules))
    report = partition(program)
    check(original, program, report)
    return to_text(program.module), report


def test_split_rows_need_nothing_from_other_devices() -> None:
    text, report = partitioned(PLAIN, ROWS + MATMUL)
    assert text.count('stablehlo.composite "my.mm"') == 2
    assert "composite_attributes = {exact = true}, decomposition = @mm_local} : (tensor<2x16xf32>" in text
    # Both call one decomposition, and that for whole tensors is gone.
    assert text.count("func.func private") == 1
    assert not report.traffic
    assert not report.replicated


def test_sums_of_the_rule_are_completed_behind_the_composite() -> None:
    text, report = partitioned(PLAIN, CONTRACTED + MATMUL)
    assert [(t.kind, t.axes, t.count) for t in report.traffic] == [("all_reduce", ("x",), 2)]
    inside = text[text.index("func.func private") :]
    assert "tensor<8x4xf32>, tensor<4x2xf32>) -> tensor<8x2xf32>" in inside
    assert "all_reduce" not in inside
    assert not report.replicated


MASKED = """%c = stablehlo.constant dense<NUMBER> : tensor<4x8xf32>
  %i = stablehlo.iota dim = 0 : tensor<4x8xi32>
  %z = stablehlo.constant dense<2> : tensor<4x8xi32>
  %p = stablehlo.compare EQ, %i, %z : (tensor<4x8xi32>, tensor<4x8xi32>) -> tensor<4x8xi1>
  %1 = stablehlo.transpose %0, dims = [1, 0] : (tensor<8x4xf32>) -> tensor<4x8xf32>
  %2 = stablehlo.select %p, %1, %c : tensor<4x8xi1>, tensor<4x8xf32>
  %3 = stablehlo.transpose %2, dims = [1, 0] : (tensor<4x8xf32>) -> tensor<8x4xf32>
  return %3 : tensor<8x4xf32>"""


def test_sums_of_which_elements_are_left_out_are_completed_behind_too() -> None:
    """What is left out is zero on every device, and so is its sum."""
    rules = CONTRACTED.replace("['x', 'y']", "['x', '']") + MATMUL
    text, report = partitioned(MODULE.replace("INSIDE", MASKED.replace("NUMBER", "0.0")), rules)
    assert [(t.kind, t.axes, t.count) for t in report.traffic] == [("all_reduce", ("x",), 2)]
    assert "all_reduce" not in text[text.index("func.func private") :]


@pytest.mark.parametrize("number", ["1.0", "dense"])
def test_other_elements_in_the_place_of_sums_are_not(number: str) -> None:
    """One on every device would be four in the sum."""
    module = MODULE.replace("INSIDE", MASKED.replace("NUMBER", "1.0"))
    if number == "dense":
        module = module.replace("%c = stablehlo.constant dense<1.0> :", "%c = stablehlo.iota dim = 1 :")
    rules = CONTRACTED.replace("['x', 'y']", "['x', '']") + MATMUL
    _, report = partitioned(module, rules)
    assert {r.reason for r in report.replicated} == {
        "its decomposition @mm does not end in the sum that its rule speaks of"
    }


def test_a_decomposition_that_does_more_than_sum_is_replicated() -> None:
    module = MODULE.replace("INSIDE", "%1 = stablehlo.abs %0 : tensor<8x4xf32>\nreturn %1 : tensor<8x4xf32>")
    _, report = partitioned(module, CONTRACTED + MATMUL)
    assert {r.reason for r in report.replicated} == {
        "its decomposition @mm does not end in the sum that its rule speaks of"
    }


def test_a_decomposition_that_needs_other_devices_is_replicated() -> None:
    module = MODULE.replace("INSIDE", """%1 = stablehlo.reverse %0, dims = [0] : tensor<8x4xf32>
      return %1 : tensor<8x4xf32>""")
    text, report = partitioned(module, ROWS + MATMUL)
    assert "its decomposition @mm in parts needs a stablehlo." in report.replicated[0].reason
    assert 'stablehlo.composite "my.mm"' in text


def test_one_that_knows_its_place_is_replicated() -> None:
    module = MODULE.replace("INSIDE", """%1 = stablehlo.iota dim = 0 : tensor<8x4xf32>
      %2 = stablehlo.add %0, %1 : tensor<8x4xf32>
      return %2 : tensor<8x4xf32>""")
    _, report = partitioned(module, ROWS + MATMUL)
    assert "in parts needs a stablehlo.partition_id" in report.replicated[0].reason


def test_a_factor_that_is_not_reduced_is_gathered() -> None:
    _, report = partitioned(PLAIN, CONTRACTED + MATMUL.replace("reduction", "need_replication"))
    assert {t.kind for t in report.traffic} == {"all_gather"}


def test_without_a_rule_it_is_planned_flat_and_outlined() -> None:
    text, report = partitioned(PLAIN, ROWS)
    assert text.count('stablehlo.composite "my.mm"') == 2
    assert not report.flat


NESTED = """
func.func private @inner(%a: tensor<8x16xf32>) -> tensor<8x16xf32> {
  %0 = stablehlo.abs %a : tensor<8x16xf32>
  return %0 : tensor<8x16xf32>
}
func.func private @outer(%a: tensor<8x16xf32>) -> (tensor<8x16xf32>, tensor<8x16xf32>) {
  %0 = stablehlo.composite "n.in" %a {decomposition = @inner} : (tensor<8x16xf32>) -> tensor<8x16xf32>
  %1 = stablehlo.composite "n.out" %0 {decomposition = @inner} : (tensor<8x16xf32>) -> tensor<8x16xf32>
  return %1, %a : tensor<8x16xf32>, tensor<8x16xf32>
}
func.func @main(%a: tensor<8x16xf32>, %b: tensor<8x16xf32>) -> (tensor<8x16xf32>, tensor<8x16xf32>, tensor<8x16xf32>) {
  %0:2 = stablehlo.composite "n.outer" %a {decomposition = @outer} : (tensor<8x16xf32>) -> (tensor<8x16xf32>,
    tensor<8x16xf32>)
  %1:2 = stablehlo.composite "n.outer" %b {decomposition = @outer} : (tensor<8x16xf32>) -> (tensor<8x16xf32>,
    tensor<8x16xf32>)
  return %0#0, %0#1, %1#0 : tensor<8x16xf32>, tensor<8x16xf32>, tensor<8x16xf32>
}
"""


def test_nested_composites_and_one_callee_under_two_shardings() -> None:
    rules = "".join(f"[[rules]]\ncomposite = '{name}'\nrule = '{rule}'\n" for name, rule in (
        ("n.in", "a b -> a b"), ("n.outer", "a b -> a b, a b")
    ))
    text, report = partitioned(NESTED, rules + ROWS + "[[arguments]]\nindex = 1\ndims = ['', 'y']\n")
    assert not report.traffic
    assert not report.replicated
    for shape in ("2x16", "8x8"):
        assert 'composite "n.in" %arg0 {decomposition' in text
        assert f"(tensor<{shape}xf32>) -> (tensor<{shape}xf32>, tensor<{shape}xf32>)" in text
    # It has no rule, but needs nothing from other devices either.
    assert 'composite "n.out"' in text


@pytest.mark.parametrize("axis", ["x", "y"])
def test_a_custom_call_runs_on_local_types(axis: str) -> None:
    module = """
func.func @main(%a: tensor<8x16xf32>, %b: tensor<16x4xf32>) -> tensor<8x4xf32> {
  %0 = stablehlo.custom_call @mm(%a, %b) : (tensor<8x16xf32>, tensor<16x4xf32>) -> tensor<8x4xf32>
  return %0 : tensor<8x4xf32>
}"""
    rules = MATMUL.replace("composite", "custom_call").replace("my.mm", "mm")
    rules += f"[[arguments]]\nindex = 0\ndims = ['', '{axis}']\n"
    original, program = parse(module), parse(module)
    annotate(program, parse_rules(MESH + rules))
    report = partition(program)
    assert not report.replicated
    assert [(t.kind, t.axes, t.count) for t in report.traffic] == [("all_reduce", (axis,), 1)]
    # No engine has such a call, so that both programs are executed with what it stands for in its place.
    check(_known(original), _known(program), report)


def _known(program: Program) -> Program:
    """``program`` with matrix products in place of the calls of @mm."""
    text = to_text(program.module).replace("stablehlo.custom_call @mm(", "stablehlo.dot(").replace(
        "stablehlo.dot(%arg0, %arg1)", "stablehlo.dot %arg0, %arg1"
    )
    return parse(text)


def test_a_factor_that_is_permuted_is_gathered_and_the_others_stay_split() -> None:
    program = parse("""
func.func @main(%a: tensor<8x16xf32>) -> tensor<8x16xf32> {
  %0 = stablehlo.custom_call @roll(%a) : (tensor<8x16xf32>) -> tensor<8x16xf32>
  return %0 : tensor<8x16xf32>
}""")
    rules = "[[rules]]\ncustom_call = 'roll'\nrule = 'i j -> i j'\npermutation = 'j'\n"
    annotate(program, parse_rules(MESH + rules + "[[arguments]]\nindex = 0\ndims = ['x', 'y']\n"))
    report = partition(program)
    assert not report.replicated
    assert [(t.kind, t.axes) for t in report.traffic] == [("all_to_all", ("y",))]
    assert "@roll(%0) : (tensor<1x16xf32>) -> tensor<1x16xf32>" in to_text(program.module)


CHOLESKY = """
func.func @main(%a: tensor<8x3x3xf32>) -> (tensor<8x3x3xf32>, tensor<8xi32>) {
  %t = stablehlo.transpose %a, dims = [0, 2, 1] : (tensor<8x3x3xf32>) -> tensor<8x3x3xf32>
  %0 = stablehlo.dot_general %a, %t, batching_dims = [0] x [0], contracting_dims = [2] x [1]
    : (tensor<8x3x3xf32>, tensor<8x3x3xf32>) -> tensor<8x3x3xf32>
  %1:2 = stablehlo.custom_call @lapack_spotrf_ffi(%0) {
      backend_config = {uplo = 76 : ui8}, api_version = 4 : i32,
      operand_layouts = [dense<[1, 2, 0]> : tensor<3xindex>],
      result_layouts = [dense<[1, 2, 0]> : tensor<3xindex>, dense<[0]> : tensor<1xindex>]
    } : (tensor<8x3x3xf32>) -> (tensor<8x3x3xf32>, tensor<8xi32>)
  return %1#0, %1#1 : tensor<8x3x3xf32>, tensor<8xi32>
}"""


BATCHES = """
[[rules]]
custom_call = "lapack_spotrf_ffi"
rule = "... i j -> ... i j, ..."
need_replication = ["i", "j"]
[[arguments]]
index = 0
dims = ["x", "", ""]
"""


@pytest.mark.parametrize(("module", "rules"), [(PLAIN, CONTRACTED + MATMUL), (CHOLESKY, BATCHES)])
def test_xla_takes_what_was_propagated_along_rules(module: str, rules: str) -> None:
    original, program = parse(module), parse(module)
    annotate(program, parse_rules(MESH + rules))
    propagate(program, PropagateOptions(reshards=False))
    found = verify(original, program, inputs="exact", xla_partition=True)
    assert found.ok, found.lines()
    # The rule is still there for our own partitioner.
    report = partition(program, trace=True)
    assert not report.replicated
    check(original, program, report)


def test_a_kernel_of_the_cpu_runs_on_each_devices_part() -> None:
    text, report = partitioned(CHOLESKY, BATCHES)
    assert not report.traffic
    assert "(tensor<2x3x3xf32>) -> (tensor<2x3x3xf32>, tensor<2xi32>)" in text


TALKING = """
func.func private @sum(%a: tensor<4xf32>) -> tensor<4xf32> {
  %0 = "stablehlo.all_reduce"(%a) <{replica_groups = dense<[[0, 1, 2, 3, 4, 5, 6, 7]]> : tensor<1x8xi64>,
    channel_handle = #stablehlo.channel_handle<handle = 9, type = 1>, use_global_device_ids}> ({
  ^bb0(%l: tensor<f32>, %r: tensor<f32>):
    %1 = stablehlo.add %l, %r : tensor<f32>
    stablehlo.return %1 : tensor<f32>
  }) : (tensor<4xf32>) -> tensor<4xf32>
  return %0 : tensor<4xf32>
}
sdy.mesh @mesh = <["x"=4, "y"=2]>
func.func @main(%a: tensor<32xf32>) -> tensor<4xf32> {
  %0 = sdy.manual_computation(%a) in_shardings=[<@mesh, [{"x", "y"}]>] out_shardings=[<@mesh, [{}]>]
      manual_axes={AXES} (%b: tensor<4xf32>) {
    %1 = stablehlo.composite "my.sum" %b {decomposition = @sum, sdy.sharding_rule =
      #sdy.op_sharding_rule<([i])->([i]) {i=4}, custom>} : (tensor<4xf32>) -> tensor<4xf32>
    sdy.return %1 : tensor<4xf32>
  } : (tensor<32xf32>) -> tensor<4xf32>
  return %0 : tensor<4xf32>
}
"""


def test_devices_may_talk_in_a_composite_of_a_manual_computation() -> None:
    text = TALKING.replace("AXES", '"x", "y"')
    original, program = parse(text, "m.mlir"), parse(text, "m.mlir")
    report = partition(program)
    assert 'stablehlo.composite "my.sum"' in to_text(program.module)
    check(original, program, report)


def test_devices_may_not_talk_in_any_other_composite() -> None:
    head, _, tail = TALKING.partition("func.func @main")
    text = head + """func.func @main(%b: tensor<4xf32>) -> tensor<4xf32> {
    %1 = stablehlo.composite "my.sum" %b {decomposition = @sum, sdy.sharding_rule =
      #sdy.op_sharding_rule<([i])->([i]) {i=4}, custom>} : (tensor<4xf32>) -> tensor<4xf32>
    return %1 : tensor<4xf32>
}"""
    assert tail
    with pytest.raises(UserError, match="moves data between devices and does not stand in a manual computation"):
        partition(parse(text, "m.mlir"))
