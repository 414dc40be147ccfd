"""The rule of each operation as planning sees it: Shardy's text form, after correction."""

from __future__ import annotations

import re
from typing import Any

import pytest

from passes import _mlir
from passes.pipeline import runner
from passes.program.read import Program, parse
from passes.program.walk import operations
from passes.sharding.op_rule_table import DEFAULT_POLICY, POLICIES, WITHOUT_RULE, Support
from passes.sharding.op_rules import RULE, SETTLED, populate, strip
from passes.sharding.sharding_rule import decode, encode
from tests.partition.op_programs import PROGRAMS

# Names of operations in a program's text.
OP = re.compile(r"\b(?:stablehlo|chlo|func)\.\w+")


def module(body: str, arguments: str = "") -> Program:
    inputs = f"%a: tensor<8x8xf32>, %c: tensor<f32>, %i: tensor<i32>{arguments}"
    return parse(f"func.func @main({inputs}) {{\n{body}\nreturn\n}}")


def rules(program: Program) -> dict[str, str]:
    """Operation name -> its rule without the frame; scalar ones are left out."""
    found = {}
    for op in operations(program.module):
        if RULE in op.attributes:
            text = re.fullmatch(r"#sdy\.op_sharding_rule<(.*)>", str(op.attributes[RULE]))
            assert text is not None
            if "i" in text[1]:
                found[op.name] = text[1]
    return found


def rule_of(name: str, body: str, arguments: str = "", support: Support | None = None) -> str:
    program = module(body, arguments)
    populate(program, support)
    return rules(program)[name]


def region(op: str, type: str = "f32") -> str:
    return f"""({{
    ^bb0(%x: tensor<{type}>, %y: tensor<{type}>):
      {op}
      stablehlo.return %z : tensor<{type}>
    }})"""


ADD = region("%z = stablehlo.add %x, %y : tensor<f32>")


def reduce(reducer: str, initial: str, type: str = "f32", setup: str = "") -> str:
    return f"""{setup}
    %v = stablehlo.convert %a : (tensor<8x8xf32>) -> tensor<8x8x{type}>
    %r = stablehlo.reduce(%v init: {initial}) applies stablehlo.{reducer} across dimensions = [1]
      : (tensor<8x8x{type}>, tensor<{type}>) -> tensor<8x{type}>"""


PARTIAL = "([i, j], [])->([i]) {i=8, j=8} reduction={j}"
WHOLE = "([i, j], [])->([i]) {i=8, j=8} need_replication={j}"


@pytest.mark.parametrize(
    ("reducer", "type", "initial", "expected"),
    [
        ("add", "f32", "0.0", PARTIAL),
        ("add", "f32", "-0.0", PARTIAL),
        ("add", "f32", "1.0", WHOLE),
        ("add", "bf16", "0.0", PARTIAL),
        ("add", "i32", "0", PARTIAL),
        ("add", "i32", "7", WHOLE),
        ("multiply", "f32", "1.0", PARTIAL),
        ("multiply", "f32", "0.0", WHOLE),
        ("xor", "i32", "0", PARTIAL),
        ("xor", "i32", "1", WHOLE),
        ("maximum", "f32", "0xFF800000", PARTIAL),
        ("maximum", "f32", "3.0", PARTIAL),
        ("minimum", "i32", "3", PARTIAL),
        ("and", "i1", "true", PARTIAL),
        ("or", "i1", "true", PARTIAL),
        ("add", "complex<f32>", "(0.0, 0.0)", PARTIAL),
        ("add", "complex<f32>", "(0.0, 1.0)", WHOLE),
    ],
)
def test_reduce_stays_partial_if_the_reducer_combines_partial_results(
    reducer: str, type: str, initial: str, expected: str
) -> None:
    constant = f"%n = stablehlo.constant dense<{initial}> : tensor<{type}>"
    assert rule_of("stablehlo.reduce", reduce(reducer, "%n", type, constant)) == expected


def test_an_initial_value_is_followed_through_what_keeps_it() -> None:
    setup = """%n = sdy.constant dense<0> : tensor<1xi32>
    %m = stablehlo.reshape %n : (tensor<1xi32>) -> tensor<i32>
    %o = stablehlo.convert %m : (tensor<i32>) -> tensor<f32>"""
    assert rule_of("stablehlo.reduce", reduce("add", "%o", setup=setup)) == PARTIAL
    two = setup.replace("dense<0>", "dense<2>")
    assert rule_of("stablehlo.reduce", reduce("multiply", "%o", setup=two)) == WHOLE
    assert rule_of("stablehlo.reduce", reduce("add", "%c")) == WHOLE


def test_reduce_with_another_body_or_several_values_is_whole() -> None:
    body = """%n = stablehlo.constant dense<0.0> : tensor<f32>
    %r = stablehlo.reduce(%a init: %n) across dimensions = [1] : (tensor<8x8xf32>, tensor<f32>) -> tensor<8xf32>
    reducer(%x: tensor<f32>, %y: tensor<f32>) {{
      {0}
    }}"""
    twice = "%z = stablehlo.add %x, %x : tensor<f32> stablehlo.return %z : tensor<f32>"
    longer = (
        "%w = stablehlo.abs %y : tensor<f32> %z = stablehlo.add %x, %w : tensor<f32> stablehlo.return %z : tensor<f32>"
    )
    first = "stablehlo.return %x : tensor<f32>"
    swapped = "%z = stablehlo.add %y, %x : tensor<f32> stablehlo.return %z : tensor<f32>"
    assert [rule_of("stablehlo.reduce", body.format(b)) for b in (twice, longer, first, swapped)] == [
        WHOLE, WHOLE, WHOLE, PARTIAL,
    ]
    pairs = """%n = stablehlo.constant dense<0.0> : tensor<f32>
    %r:2 = stablehlo.reduce(%a init: %n), (%a init: %n) across dimensions = [1]
      : (tensor<8x8xf32>, tensor<8x8xf32>, tensor<f32>, tensor<f32>) -> (tensor<8xf32>, tensor<8xf32>)
    reducer(%x: tensor<f32>, %x1: tensor<f32>) (%y: tensor<f32>, %y1: tensor<f32>) {
      %z = stablehlo.add %x, %x1 : tensor<f32>
      stablehlo.return %z, %y1 : tensor<f32>, tensor<f32>
    }"""
    assert rule_of("stablehlo.reduce", pairs) == "([i, j], [i, j], [], [])->([i], [i]) {i=8, j=8} need_replication={j}"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            "%0 = stablehlo.slice %a [0:4, 0:8] : (tensor<8x8xf32>) -> tensor<4x8xf32>",
            "([i, j])->([i, j]) {i=8, j=8} need_replication={i}",
        ),
        (
            "%0 = stablehlo.pad %a, %c, low = [0, 1], high = [0, -1], interior = [0, 0]"
            " : (tensor<8x8xf32>, tensor<f32>) -> tensor<8x8xf32>",
            "([i, j], [])->([i, j]) {i=8, j=8} need_replication={j}",
        ),
        (
            "%0 = stablehlo.reverse %a, dims = [0] : tensor<8x8xf32>",
            "([i, j])->([i, j]) {i=8, j=8} need_replication={i}",
        ),
        (
            "%0 = stablehlo.concatenate %a, %a, dim = 0 : (tensor<8x8xf32>, tensor<8x8xf32>) -> tensor<16x8xf32>",
            "([i, j], [i, j])->([i, j]) {i=16, j=8} need_replication={i}",
        ),
        (
            "%0 = stablehlo.dynamic_slice %a, %i, %i, sizes = [4, 8]"
            " : (tensor<8x8xf32>, tensor<i32>, tensor<i32>) -> tensor<4x8xf32>",
            "([i, j], [], [])->([i, j]) {i=8, j=8} need_replication={i} blocked_propagation={i}",
        ),
        (
            "%0 = stablehlo.reshape %a : (tensor<8x8xf32>) -> tensor<64xf32>",
            "([i, j])->([ij]) {i=8, j=8}",
        ),
        (
            "%0 = stablehlo.fft %f, type = FFT, length = [8]"
            " : (tensor<8x8xcomplex<f32>>) -> tensor<8x8xcomplex<f32>>",
            "([i, j])->([i, j]) {i=8, j=8} need_replication={j}",
        ),
        (
            "%0:2 = stablehlo.rng_bit_generator %s, algorithm = THREE_FRY"
            " : (tensor<2xui64>) -> (tensor<2xui64>, tensor<8x8xui32>)",
            "([i])->([i], [j, k]) {i=2, j=8, k=8} need_replication={i, j, k} blocked_propagation={i}",
        ),
    ],
)
def test_dimensions_whose_elements_move_are_whole(body: str, expected: str) -> None:
    arguments = ", %f: tensor<8x8xcomplex<f32>>, %s: tensor<2xui64>"
    name = re.search(r"stablehlo\.\w+", body)
    assert name is not None
    assert rule_of(name[0], body, arguments) == expected


def test_dynamic_update_slice_passes_only_dimensions_the_update_covers() -> None:
    body = """%0 = stablehlo.dynamic_update_slice %a, %u, %i, %i
      : (tensor<8x8xf32>, tensor<4x8xf32>, tensor<i32>, tensor<i32>) -> tensor<8x8xf32>"""
    assert rule_of("stablehlo.dynamic_update_slice", body, ", %u: tensor<4x8xf32>") == (
        "([i, k], [j, k], [], [])->([i, k]) {i=8, j=4, k=8} need_replication={i, j}"
    )


def test_statistics_are_over_all_dimensions_but_that_of_the_features() -> None:
    vector, matrix = "tensor<8xf32>", "tensor<8x8xf32>"
    found = rule_of("stablehlo.batch_norm_training", f"""
      %r:3 = "stablehlo.batch_norm_training"(%a, %s, %s) <{{epsilon = 1.0e-3 : f32, feature_index = 1 : i64}}>
        : ({matrix}, {vector}, {vector}) -> ({matrix}, {vector}, {vector})""", f", %s: {vector}")
    assert found == "([i, j], [j], [j])->([i, j], [j], [j]) {i=8, j=8} need_replication={i}"


def test_reshape_without_a_common_dimension_is_whole() -> None:
    body = "%0 = stablehlo.reshape %b : (tensor<2x3xf32>) -> tensor<3x2xf32>"
    assert rule_of("stablehlo.reshape", body, ", %b: tensor<2x3xf32>") == (
        "([i, k])->([j, l]) {i=2, j=3, k=3, l=2} need_replication={i, j, k, l}"
    )


@pytest.mark.parametrize(
    ("size", "settings", "shape", "expected"),
    [
        ("1, 2", ", window_strides = array<i64: 1, 2>", "8x4", "need_replication={j}"),
        ("1, 1", ", padding = dense<[[0, 0], [1, -1]]> : tensor<2x2xi64>", "8x8", "need_replication={j}"),
        (
            "1, 1", ", base_dilations = array<i64: 1, 2>, window_strides = array<i64: 1, 2>", "8x8",
            "need_replication={j}",
        ),
        ("1, 1", "", "8x8", ""),
    ],
)
def test_windows(size: str, settings: str, shape: str, expected: str) -> None:
    body = f"""%0 = "stablehlo.reduce_window"(%a, %c) <{{window_dimensions = array<i64: {size}>{settings}}}> {ADD}
      : (tensor<8x8xf32>, tensor<f32>) -> tensor<{shape}xf32>"""
    assert rule_of("stablehlo.reduce_window", body).partition("} ")[2] == expected


def test_select_and_scatter() -> None:
    compare = """({
    ^bb0(%x: tensor<f32>, %y: tensor<f32>):
      %z = stablehlo.compare GE, %x, %y : (tensor<f32>, tensor<f32>) -> tensor<i1>
      stablehlo.return %z : tensor<i1>
    }, """
    body = f"""%0 = "stablehlo.select_and_scatter"(%a, %s, %c) <{{
      window_dimensions = array<i64: 1, 2>, window_strides = array<i64: 1, 2>}}> {compare}{ADD[1:]}
      : (tensor<8x8xf32>, tensor<8x4xf32>, tensor<f32>) -> tensor<8x8xf32>"""
    rule = rule_of("stablehlo.select_and_scatter", body, ", %s: tensor<8x4xf32>")
    assert rule.startswith("([i, k], [i, j], [])->([i, k])")
    assert rule.endswith("need_replication={j, k}")


def convolution(kernel: str, output: str, window: str, numbers: str = "[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]") -> str:
    return f"""%0 = stablehlo.convolution(%image, %kernel) dim_numbers = {numbers}, window = {{{window}}}
      {{batch_group_count = 1 : i64, feature_group_count = 1 : i64}}
      : (tensor<2x8x8x4xf32>, tensor<{kernel}xf32>) -> tensor<{output}xf32>"""


@pytest.mark.parametrize(
    ("kernel", "output", "window", "expected"),
    [
        ("3x3x4x8", "2x8x8x8", "pad = [[1, 1], [1, 1]]", "reduction={l} need_replication={j, k, n, o}"),
        ("1x1x4x8", "2x8x8x8", "", "reduction={l}"),
        ("1x1x4x8", "2x8x8x8", "pad = [[1, -1], [0, 0]]", "reduction={l} need_replication={j, n}"),
        ("1x1x4x8", "2x4x4x8", "stride = [2, 2]", "reduction={l} need_replication={j, k, n, o}"),
    ],
)
def test_convolution_spatial_dimensions(kernel: str, output: str, window: str, expected: str) -> None:
    arguments = f", %image: tensor<2x8x8x4xf32>, %kernel: tensor<{kernel}xf32>"
    rule = rule_of("stablehlo.convolution", convolution(kernel, output, window), arguments)
    assert rule.partition("} ")[2] == expected


@pytest.mark.parametrize(
    ("output", "window", "expected"),
    [
        ("1x1x4x8", "", "reduction={j, k, l}"),
        ("3x3x4x8", "pad = [[1, 1], [1, 1]]", "reduction={l} need_replication={j, k, n, o}"),
    ],
)
def test_convolution_kernel_gradient_contracts_whole_images_only(output: str, window: str, expected: str) -> None:
    body = convolution("2x8x8x8", output, window, "[f, 0, 1, b]x[i, 0, 1, o]->[0, 1, b, f]")
    rule = rule_of("stablehlo.convolution", body, ", %image: tensor<2x8x8x4xf32>, %kernel: tensor<2x8x8x8xf32>")
    assert rule.partition("} ")[2] == expected


GATHER = """%0 = "stablehlo.gather"(%a, %n) <{dimension_numbers = #stablehlo.gather<offset_dims = [1],
  collapsed_slice_dims = [0], start_index_map = [0], index_vector_dim = 1>, slice_sizes = array<i64: 1, 8>}>
  : (tensor<8x8xf32>, tensor<4x1xi32>) -> tensor<4x8xf32>"""


def test_gather_needs_the_whole_indexed_dimension_unless_lowering_can_mask() -> None:
    indices = ", %n: tensor<4x1xi32>"
    whole = rule_of("stablehlo.gather", GATHER, indices)
    assert whole == "([k, j], [i, l])->([i, j]) {i=4, j=8, k=8, l=1} need_replication={k, l}"
    masked = rule_of("stablehlo.gather", GATHER, indices, Support(gather_from_shards=True))
    assert masked == "([k, j], [i, l])->([i, j]) {i=4, j=8, k=8, l=1} reduction={k} need_replication={l}"


def scatter(reducer: str, operand: str) -> str:
    return f"""%zero = stablehlo.constant dense<0.0> : tensor<f32>
    %zeros = stablehlo.broadcast_in_dim %zero, dims = [] : (tensor<f32>) -> tensor<8x8xf32>
    %0 = "stablehlo.scatter"({operand}, %n, %u) <{{scatter_dimension_numbers = #stablehlo.scatter<
      update_window_dims = [1], inserted_window_dims = [0], scatter_dims_to_operand_dims = [0], index_vector_dim = 1>}}>
      {region(f"%z = stablehlo.{reducer} %x, %y : tensor<f32>")}
      : (tensor<8x8xf32>, tensor<4x1xi32>, tensor<4x8xf32>) -> tensor<8x8xf32>"""


@pytest.mark.parametrize(
    ("reducer", "operand", "expected"),
    [
        ("add", "%zeros", "reduction={i} need_replication={k, l}"),
        ("add", "%a", "need_replication={i, k, l}"),
        ("maximum", "%a", "reduction={i} need_replication={k, l}"),
        ("multiply", "%a", "need_replication={i, k, l}"),
        ("subtract", "%zeros", "need_replication={i, k, l}"),
    ],
)
def test_scatter_rows_are_partial_if_partial_results_combine(reducer: str, operand: str, expected: str) -> None:
    rule = rule_of("stablehlo.scatter", scatter(reducer, operand), ", %n: tensor<4x1xi32>, %u: tensor<4x8xf32>")
    assert rule.startswith("([k, j], [i, l], [i, j])->([k, j])")
    assert rule.partition("} ")[2] == expected


def test_scatter_into_shards() -> None:
    program = module(scatter("add", "%zeros"), ", %n: tensor<4x1xi32>, %u: tensor<4x8xf32>")
    populate(program, Support(scatter_into_shards=True))
    assert rules(program)["stablehlo.scatter"].partition("} ")[2] == "reduction={i} need_replication={l}"


@pytest.mark.parametrize(
    ("reducer", "expected"),
    [
        ("add", "reduction={i} need_replication={k, l}"),
        ("multiply", "reduction={i} need_replication={k, l}"),
        ("subtract", "need_replication={i, k, l}"),
    ],
)
def test_scatter_into_anything_if_the_operand_enters_once(reducer: str, expected: str) -> None:
    indices = ", %n: tensor<4x1xi32>, %u: tensor<4x8xf32>"
    rule = rule_of("stablehlo.scatter", scatter(reducer, "%a"), indices, Support(complete_by_region=True))
    assert rule.partition("} ")[2] == expected


def test_dynamic_slice_of_a_sharded_dimension_is_a_sum_and_whole() -> None:
    body = """%0 = stablehlo.dynamic_slice %a, %n, %n, sizes = [2, 8]
      : (tensor<8x8xf32>, tensor<i32>, tensor<i32>) -> tensor<2x8xf32>"""
    index = ", %n: tensor<i32>"
    alone = rule_of("stablehlo.dynamic_slice", body, index)
    assert alone == "([i, j], [], [])->([i, j]) {i=8, j=8} need_replication={i} blocked_propagation={i}"
    summed = rule_of("stablehlo.dynamic_slice", body, index, Support(slice_from_shards=True))
    assert summed == (
        "([i, j], [], [])->([k, j]) {i=8, j=8, k=2} reduction={i} need_replication={k} blocked_propagation={i}"
    )


def test_dynamic_update_slice_into_shards_needs_the_whole_update() -> None:
    body = """%0 = stablehlo.dynamic_update_slice %a, %u, %n, %n
      : (tensor<8x8xf32>, tensor<2x8xf32>, tensor<i32>, tensor<i32>) -> tensor<8x8xf32>"""
    arguments = ", %u: tensor<2x8xf32>, %n: tensor<i32>"
    rule = rule_of("stablehlo.dynamic_update_slice", body, arguments, Support(update_into_shards=True))
    assert rule == "([i, k], [j, k], [], [])->([i, k]) {i=8, j=2, k=8} need_replication={j}"


@pytest.mark.parametrize(
    ("dims", "first", "expected"),
    [
        ("1", "%x, %y", "reduction={j}"),
        # Shards of a later dimension hold elements that lie between those of others.
        ("0, 1", "%x, %y", "reduction={i} need_replication={j}"),
        ("1", "%x, %x", "reduction={j}"),
        # The region yields what it did not get.
        ("1", "%x, %d", "need_replication={j}"),
    ],
)
def test_reductions_that_choose_are_gathered_along_their_first_dimension(dims: str, first: str, expected: str) -> None:
    result = {"1": "8xf32", "0, 1": "f32"}[dims]
    body = f"""%low = stablehlo.constant dense<0xFF800000> : tensor<f32>
    %0:2 = stablehlo.reduce(%a init: %low), (%a init: %c) across dimensions = [{dims}]
      : (tensor<8x8xf32>, tensor<8x8xf32>, tensor<f32>, tensor<f32>) -> (tensor<{result}>, tensor<{result}>)
     reducer(%x: tensor<f32>, %y: tensor<f32>) (%k: tensor<f32>, %l: tensor<f32>) {{
      %p = stablehlo.compare GE, %x, %y : (tensor<f32>, tensor<f32>) -> tensor<i1>
      %d = stablehlo.add %x, %y : tensor<f32>
      %v = stablehlo.select %p, {first} : tensor<i1>, tensor<f32>
      %w = stablehlo.select %p, %k, %l : tensor<i1>, tensor<f32>
      stablehlo.return %v, %w : tensor<f32>, tensor<f32>
    }}"""
    rule = rule_of("stablehlo.reduce", body, "", Support(complete_by_region=True))
    assert rule.partition("} ")[2] == expected


def test_operations_shardy_has_no_rule_for() -> None:
    program = module("""
    %n = stablehlo.constant dense<8> : tensor<2xi32>
    %0 = stablehlo.rng %c, %c, %n, distribution = UNIFORM : (tensor<f32>, tensor<f32>, tensor<2xi32>) -> tensor<8x8xf32>
    %1 = chlo.erf %a : tensor<8x8xf32> -> tensor<8x8xf32>
    %2:2 = chlo.top_k(%a, k = 2) : tensor<8x8xf32> -> (tensor<8x2xf32>, tensor<8x2xi32>)
    %3 = stablehlo.custom_call @foo(%a, %c) : (tensor<8x8xf32>, tensor<f32>) -> tensor<4xf32>
    %4 = stablehlo.get_dimension_size %a, dim = 0 : (tensor<8x8xf32>) -> tensor<i32>
    %5 = stablehlo.iota dim = 0 : tensor<8xf32>
    %t = stablehlo.create_token : !stablehlo.token
    %6:2 = stablehlo.custom_call @bar(%a, %t)
      : (tensor<8x8xf32>, !stablehlo.token) -> (tensor<8x8xf32>, !stablehlo.token)
    """)
    unruled = populate(program)
    found = rules(program)
    assert found == {
        "stablehlo.rng": "([], [], [i])->([j, k]) {i=2, j=8, k=8} need_replication={i, j, k}",
        "chlo.erf": "([i, j])->([i, j]) {i=8, j=8}",
        "chlo.top_k": "([i, j])->([i, j], [i, j]) {i=8, j=8} need_replication={j} blocked_propagation={j}",
        "stablehlo.custom_call": "([i, j], [])->([k]) {i=8, j=8, k=4} need_replication={i, j, k}",
        "stablehlo.get_dimension_size": "([i, j])->([]) {i=8, j=8} need_replication={i, j}",
    }
    assert [u.message for u in unruled] == [
        "stablehlo.custom_call 'foo' has no sharding rule: its operands are gathered and every device runs all of it",
        "stablehlo.custom_call 'bar' has an operand or result that is no tensor; it cannot be sharded",
    ]


def test_control_flow_and_calls_have_no_rule() -> None:
    program = parse("""
func.func private @f(%a: tensor<8xf32>) -> tensor<8xf32> {
  return %a : tensor<8xf32>
}
func.func @main(%a: tensor<8xf32>, %p: tensor<i1>, %n: tensor<i32>) -> tensor<8xf32> {
  %0 = func.call @f(%a) : (tensor<8xf32>) -> tensor<8xf32>
  %1 = stablehlo.while(%x = %0) : tensor<8xf32>
   cond { stablehlo.return %p : tensor<i1> }
   do { stablehlo.return %x : tensor<8xf32> }
  %2 = "stablehlo.if"(%p) ({ stablehlo.return %1 : tensor<8xf32> }, { stablehlo.return %a : tensor<8xf32> })
    : (tensor<i1>) -> tensor<8xf32>
  %3 = "stablehlo.case"(%n) ({ stablehlo.return %2 : tensor<8xf32> }) : (tensor<i32>) -> tensor<8xf32>
  %4 = stablehlo.optimization_barrier %3 : tensor<8xf32>
  return %4 : tensor<8xf32>
}""")
    assert populate(program) == []
    assert rules(program) == {}


CUSTOM = """%0 = stablehlo.custom_call @foo(%a)
  {sdy.sharding_rule = #sdy.op_sharding_rule<([i, j])->([i, j]) {i=8, j=8} permutation={j}, custom>}
  : (tensor<8x8xf32>) -> tensor<8x8xf32>"""


def test_a_rule_of_the_user_stays() -> None:
    program = module(CUSTOM)
    assert populate(program) == []
    assert rules(program)["stablehlo.custom_call"] == "([i, j])->([i, j]) {i=8, j=8} permutation={j}, custom"


@pytest.mark.parametrize("name", sorted(SETTLED & {op for text in PROGRAMS.values() for op in OP.findall(text)}))
def test_ops_that_are_passed_over_by_name_need_no_correction(name: str) -> None:
    for text in PROGRAMS.values():
        if name not in text:
            continue
        program = parse(text)
        with _mlir.record_diagnostics():
            runner.run(program, "builtin.module(func.func(sdy-populate-op-sharding-rules))")
        for op in operations(program.module):
            if op.name == name and RULE in op.attributes:
                rule, _ = decode(op.attributes[RULE])
                assert POLICIES.get(name, DEFAULT_POLICY)(op, rule, Support()) is rule
            elif op.name == name:
                assert name in WITHOUT_RULE


def test_strip_removes_every_rule() -> None:
    program = module(CUSTOM)
    populate(program)
    strip(program)
    assert not any(RULE in op.attributes for op in operations(program.module))


def test_a_rule_survives_translation() -> None:
    program = module(GATHER, ", %n: tensor<4x1xi32>")
    populate(program)

    def check(attribute: Any) -> None:
        rule, custom = decode(attribute)
        assert not custom
        assert encode(rule) == attribute

    for op in operations(program.module):
        if RULE in op.attributes:
            check(op.attributes[RULE])
