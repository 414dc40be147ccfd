"""Padded programs compute, on one device, the bits of the original, whatever is in the padding; what gets padded."""

from __future__ import annotations

import pytest

from passes.execute.compare import BIT_EQUAL
from passes.execute.executor import Executor
from passes.execute.verify import verify
from passes.partition.pad_dimensions import PadDimensions, Padding, pad_dimensions
from passes.partition.padding_choice import Choice
from passes.pipeline.base import Counters
from passes.program import read
from passes.program.entry import find_entry
from passes.program.read import Program
from passes.program.write import to_text
from passes.sharding.divisibility import drop_indivisible, indivisible
from passes.sharding.propagate import PropagateOptions, propagate

MESH = 'sdy.mesh @mesh = <["x"=4]>\n'
A, V = "tensor<7x6xf32>", "tensor<7xf32>"
POISONED = Padding(always=True, poison=True)


def split(type: str) -> str:
    """``%s``: the argument ``%a`` of two dimensions, split along the first."""
    return f'  %s = sdy.sharding_constraint %a <@mesh, [{{"x"}}, {{}}]> : {type}\n'


def rows(body: str, result: str, arguments: str = f"%a: {A}") -> str:
    """A program whose argument ``%a`` is split along its first dimension, as ``%s``."""
    return (
        f"{MESH}func.func @main({arguments}) -> {result} {{\n"
        f"{split(A)}{body}\n  return %r : {result}\n}}"
    )


def reduced(op: str, init: str, element: str) -> str:
    type, result = f"tensor<7x6x{element}>", f"tensor<6x{element}>"
    return (
        f"{MESH}func.func @main(%a: {type}) -> {result} {{\n{split(type)}"
        f"  %c = stablehlo.constant dense<{init}> : tensor<{element}>\n"
        f"  %r = stablehlo.reduce(%s init: %c) applies stablehlo.{op} across dimensions = [0]"
        f" : ({type}, tensor<{element}>) -> {result}\n  return %r : {result}\n}}"
    )


def padded(text: str, padding: Padding = POISONED) -> tuple[Program, list[Choice], Counters]:
    """The same comes of it whether what does not divide is known or looked for."""
    (program, choices, counters), (other, *_) = (_padded(text, padding, known) for known in (True, False))
    assert to_text(program.module) == to_text(other.module)
    return program, choices, counters


def _padded(text: str, padding: Padding, known: bool) -> tuple[Program, list[Choice], Counters]:
    program = read.parse(text)
    propagate(program, PropagateOptions(keep_indivisible=True, reshards=False))
    counters = Counters(PadDimensions.statistics)
    around = [op for op, _ in indivisible(program)] if known else None
    choices = pad_dimensions(
        program.module.operation, find_entry(program), padding, frozenset(), counters, around=around
    )
    drop_indivisible(program)
    assert program.module.operation.verify()
    return program, choices, counters


REDUCTIONS = [
    *(("add", "0.0", t) for t in ("f32", "bf16", "f64", "f16")), ("add", "0", "i32"), ("add", "0", "ui8"),
    ("add", "(0.0, 0.0)", "complex<f32>"),
    *(("maximum", "0xFF800000", "f32"), ("maximum", "3.0", "f32"), ("maximum", "-128", "i8"), ("maximum", "0", "ui32")),
    *(("minimum", "0x7F800000", "f32"), ("minimum", "0xFC00", "f16"), ("minimum", "127", "i8")),
    ("multiply", "1.0", "f32"), ("multiply", "1", "i64"), ("multiply", "(1.0, 0.0)", "complex<f32>"),
    *(("and", "-1", "i32"), ("or", "0", "i32"), ("xor", "0", "i32")),
    *(("and", "true", "i1"), ("or", "false", "i1"), ("xor", "false", "i1")),
]

# Programs, with the numbers of operands that are masked and of values that are sliced back.
PROGRAMS = {
    "elementwise, sliced for the result": (rows(f"  %r = stablehlo.exponential %s : {A}", A), 0, 1),
    "garbage that becomes NaN": (
        rows(
            f"  %l = stablehlo.log %s : {A}\n  %c = stablehlo.constant dense<0.0> : tensor<f32>\n"
            f"  %r = stablehlo.reduce(%l init: %c) applies stablehlo.add across dimensions = [0, 1]"
            f" : ({A}, tensor<f32>) -> tensor<f32>", "tensor<f32>",
        ),
        1, 0,
    ),
    "transpose and dot over the padded dimension": (
        rows(
            f"  %t = stablehlo.transpose %s, dims = [1, 0] : ({A}) -> tensor<6x7xf32>\n"
            f"  %r = stablehlo.dot_general %t, %s, contracting_dims = [1] x [0] : (tensor<6x7xf32>, {A})"
            " -> tensor<6x6xf32>", "tensor<6x6xf32>",
        ),
        2, 0,
    ),
    "dot with one side that is not split": (
        rows(
            f"  %r = stablehlo.dot_general %s, %b, contracting_dims = [0] x [0] : ({A}, tensor<7x3xf32>)"
            " -> tensor<6x3xf32>", "tensor<6x3xf32>", f"%a: {A}, %b: tensor<7x3xf32>",
        ),
        2, 0,
    ),
    "a square dot with itself": (
        f"{MESH}func.func @main(%a: tensor<7x7xf32>) -> tensor<7x7xf32> {{\n"
        f"{split('tensor<7x7xf32>')}"
        "  %r = stablehlo.dot_general %s, %s, contracting_dims = [0] x [1] : (tensor<7x7xf32>, tensor<7x7xf32>)"
        " -> tensor<7x7xf32>\n  return %r : tensor<7x7xf32>\n}",
        2, 1,
    ),
    "whole numbers divided by garbage": (
        f"{MESH}func.func @main(%a: tensor<7x6xi32>) -> tensor<7x6xi32> {{\n"
        f"{split('tensor<7x6xi32>')}"
        "  %c = stablehlo.constant dense<40> : tensor<7x6xi32>\n  %o = stablehlo.constant dense<1> : tensor<7x6xi32>\n"
        "  %n = stablehlo.or %s, %o : tensor<7x6xi32>\n  %d = stablehlo.divide %c, %n : tensor<7x6xi32>\n"
        "  %r = stablehlo.remainder %d, %n : tensor<7x6xi32>\n  return %r : tensor<7x6xi32>\n}",
        1, 1,
    ),
    "broadcast, iota and constants": (
        rows(
            f"  %i = stablehlo.iota dim = 0 : {A}\n  %k = stablehlo.constant dense<2.5> : {A}\n"
            f"  %t = stablehlo.constant dense<[1., 2., 3., 4., 5., 6., 7.]> : {V}\n"
            f"  %b = stablehlo.broadcast_in_dim %t, dims = [0] : ({V}) -> {A}\n"
            f"  %0 = stablehlo.add %s, %i : {A}\n  %1 = stablehlo.multiply %0, %k : {A}\n"
            f"  %r = stablehlo.subtract %1, %b : {A}", A,
        ),
        0, 1,
    ),
    "ops that need the true size": (
        rows(
            f"  %0 = stablehlo.reverse %s, dims = [0] : {A}\n"
            f"  %1 = stablehlo.concatenate %0, %s, dim = 0 : ({A}, {A}) -> tensor<14x6xf32>\n"
            f"  %r = stablehlo.reshape %1 : (tensor<14x6xf32>) -> tensor<84xf32>", "tensor<84xf32>",
        ),
        0, 1,
    ),
    "ops that do so along the other dimension": (
        rows(
            f"  %0 = stablehlo.reverse %s, dims = [1] : {A}\n"
            f"  %1 = stablehlo.slice %0 [0:7, 2:5] : ({A}) -> tensor<7x3xf32>\n"
            f"  %2 = stablehlo.concatenate %1, %s, dim = 1 : (tensor<7x3xf32>, {A}) -> tensor<7x9xf32>\n"
            f"  %z = stablehlo.constant dense<0> : tensor<i32>\n"
            f"  %3 = stablehlo.dynamic_slice %2, %z, %i, sizes = [7, 4] : (tensor<7x9xf32>, tensor<i32>, tensor<i32>)"
            f" -> tensor<7x4xf32>\n"
            f"  %4 = stablehlo.dynamic_update_slice %s, %3, %z, %i : ({A}, tensor<7x4xf32>, tensor<i32>, tensor<i32>)"
            f" -> {A}\n  %f = stablehlo.constant dense<9.0> : tensor<f32>\n"
            f"  %r = stablehlo.pad %4, %f, low = [0, 1], high = [0, -2], interior = [0, 1] : ({A}, tensor<f32>)"
            " -> tensor<7x10xf32>", "tensor<7x10xf32>", f"%a: {A}, %i: tensor<i32>",
        ),
        0, 1,
    ),
    "rows taken from a padded table": (
        rows(
            f'  %r = "stablehlo.gather"(%s, %i) <{{dimension_numbers = #stablehlo.gather<offset_dims = [1], '
            "collapsed_slice_dims = [0], start_index_map = [0], index_vector_dim = 1>,"
            f" slice_sizes = array<i64: 1, 6>}}>"
            f" : ({A}, tensor<5xi32>) -> tensor<5x6xf32>", "tensor<5x6xf32>", f"%a: {A}, %i: tensor<5xi32>",
        ),
        0, 0,
    ),
    "rows added to a padded table": (
        rows(
            '  %r = "stablehlo.scatter"(%s, %i, %u) <{scatter_dimension_numbers = #stablehlo.scatter<update_window_dims'
            " = [1], inserted_window_dims = [0], scatter_dims_to_operand_dims = [0], index_vector_dim = 1>}> ({\n"
            "  ^bb0(%x: tensor<f32>, %y: tensor<f32>):\n    %w = stablehlo.add %x, %y : tensor<f32>\n"
            "    stablehlo.return %w : tensor<f32>\n  })"
            f" : ({A}, tensor<5xi32>, tensor<5x6xf32>) -> {A}", A, f"%a: {A}, %i: tensor<5xi32>, %u: tensor<5x6xf32>",
        ),
        0, 1,
    ),
    "padded updates": (
        rows(
            '  %r = "stablehlo.scatter"(%t, %i, %s) <{indices_are_sorted = true, scatter_dimension_numbers = '
            "#stablehlo.scatter<update_window_dims = [1], inserted_window_dims = [0],"
            " scatter_dims_to_operand_dims = [0], index_vector_dim = 1>}> ({\n"
            "  ^bb0(%x: tensor<f32>, %y: tensor<f32>):\n    stablehlo.return %y : tensor<f32>\n  })"
            f" : (tensor<9x6xf32>, tensor<7xi32>, {A}) -> tensor<9x6xf32>", "tensor<9x6xf32>",
            f"%a: {A}, %i: tensor<7xi32>, %t: tensor<9x6xf32>",
        ),
        1, 0,
    ),
    "a loop that carries a padded value": (
        rows(
            "  %z = stablehlo.constant dense<0> : tensor<i32>\n  %o = stablehlo.constant dense<1> : tensor<i32>\n"
            "  %n = stablehlo.constant dense<3> : tensor<i32>\n"
            f"  %l:2 = stablehlo.while(%i = %z, %x = %s) : tensor<i32>, {A}\n  cond {{\n"
            "    %m = stablehlo.compare LT, %i, %n : (tensor<i32>, tensor<i32>) -> tensor<i1>\n"
            "    stablehlo.return %m : tensor<i1>\n  } do {\n    %j = stablehlo.add %i, %o : tensor<i32>\n"
            f"    %y = stablehlo.add %x, %s : {A}\n    stablehlo.return %j, %y : tensor<i32>, {A}\n  }}\n"
            f"  %c = stablehlo.constant dense<0.0> : tensor<f32>\n"
            f"  %r = stablehlo.reduce(%l#1 init: %c) applies stablehlo.maximum across dimensions = [0]"
            f" : ({A}, tensor<f32>) -> tensor<6xf32>", "tensor<6xf32>",
        ),
        1, 0,
    ),
    "branches, one of which needs the true size": (
        rows(
            f'  %r = "stablehlo.if"(%p) ({{\n    %x = stablehlo.negate %s : {A}\n'
            f"    stablehlo.return %x : {A}\n  }}, {{\n"
            f"    %y = stablehlo.reverse %s, dims = [0] : {A}\n    stablehlo.return %y : {A}\n  }})"
            f" : (tensor<i1>) -> {A}", A, f"%a: {A}, %p: tensor<i1>",
        ),
        0, 2,
    ),
    "a barrier": (rows(f"  %r = stablehlo.optimization_barrier %s : {A}", A), 0, 1),
    "a custom call": (
        rows(f"  %0 = stablehlo.custom_call @Sharding(%s) : ({A}) -> {A}\n  %r = stablehlo.negate %0 : {A}", A), 0, 1,
    ),
}


@pytest.mark.parametrize(("op", "init", "element"), REDUCTIONS)
def test_reductions_keep_their_bits(op: str, init: str, element: str) -> None:
    text = reduced(op, init, element)
    program, _, counters = padded(text)
    # 1 is no identity among complex numbers that are not finite.
    assert counters["masks"] == (element != "complex<f32>" or op != "multiply")
    report = verify(read.parse(text), program, level=BIT_EQUAL, executor=Executor("interpreter"))
    assert report.ok, report.lines()


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_keep_their_bits(name: str) -> None:
    text, masks, slices = PROGRAMS[name]
    engine = "xla" if "custom call" in name else "interpreter"
    for poison in (False, True):
        program, choices, counters = padded(text, Padding(always=True, poison=poison))
        assert any(choice.padded == 8 for choice in choices)
        assert (counters["masks"], counters["slices"]) == (masks, slices), program.module
        for inputs in ("exact", "normal"):
            report = verify(
                read.parse(text), program, inputs=inputs, level=BIT_EQUAL, executor=Executor(engine)
            )
            assert report.ok, report.lines()


# -- what is padded ----------------------------------------------------------------------------------------------------

PRODUCT = f"""{MESH}func.func @main(%a: tensor<9x512xf32>, %b: tensor<512x1023xf32>) -> tensor<9xf32> {{
  %0 = stablehlo.dot_general %a, %b, contracting_dims = [1] x [0]
    {{sdy.sharding = #sdy.sharding_per_value<[<@mesh, [{{?}}, {{"x"}}]>]>}}
    : (tensor<9x512xf32>, tensor<512x1023xf32>) -> tensor<9x1023xf32>
  %c = stablehlo.constant dense<0.0> : tensor<f32>
  %1 = stablehlo.reduce(%0 init: %c) applies stablehlo.add across dimensions = [1]
    : (tensor<9x1023xf32>, tensor<f32>) -> tensor<9xf32>
  return %1 : tensor<9xf32>
}}"""
REVERSED = f"""{MESH}func.func @main(%a: {A}) -> {A} {{
  %0 = stablehlo.negate %a {{sdy.sharding = #sdy.sharding_per_value<[<@mesh, [{{"x"}}, {{?}}]>]>}} : {A}
  %1 = stablehlo.reverse %0, dims = [0] : {A}
  return %1 : {A}
}}"""


def test_what_saves_work_is_padded_without_being_asked_for() -> None:
    _, choices, _ = padded(PRODUCT, Padding())
    assert [(c.size, c.padded, c.shards) for c in choices] == [(1023, 1024, 4)]


def test_what_would_move_more_than_it_saves_stays_whole() -> None:
    program, choices, counters = padded(REVERSED, Padding())
    assert {(c.size, c.padded) for c in choices} == {(7, 7)} and "between devices" in choices[0].reason
    assert counters["padded"] == 0 and counters["whole"] == len(choices) and "stablehlo.pad" not in str(program.module)


def test_what_a_user_asks_for_is_padded_at_any_cost() -> None:
    text = REVERSED.replace(
        "%1 = stablehlo.reverse %0", f"%s = sdy.sharding_constraint %0 <@mesh, [{{\"x\"}}, {{}}]> : {A}\n"
        "  %1 = stablehlo.reverse %s"
    )
    _, choices, _ = padded(text, Padding())
    # What the reverse makes is another matter.
    assert [(c.size, c.padded) for c in choices] == [(7, 8), (7, 7)]


def test_a_dimension_that_would_double_stays_whole() -> None:
    text = PRODUCT.replace("1023", "3").replace('"x"=4', '"x"=8')
    _, choices, _ = padded(text, Padding())
    assert [(c.size, c.padded) for c in choices] == [(3, 3)] and "2 times" in choices[0].reason


def test_what_a_part_of_the_axes_divides_is_padded_if_it_then_takes_more_off_a_device() -> None:
    text = PRODUCT.replace('"x"=4', '"x"=2, "y"=2').replace('{"x"}', '{"x", "y"}')
    _, choices, _ = padded(text.replace("1023", "2"), Padding())
    assert [(c.size, c.padded) for c in choices] == [(2, 2)] and "no more to do" in choices[0].reason
    _, choices, _ = padded(text.replace("1023", "1022"), Padding())
    assert [(c.size, c.padded, c.shards) for c in choices] == [(1022, 1024, 4)]


def test_dimensions_that_one_factor_runs_through_get_one_size() -> None:
    text = """sdy.mesh @mesh = <["x"=2, "y"=3]>
func.func @main(%a: tensor<5x6xf32>) -> tensor<5x6xf32> {
  %0 = sdy.sharding_constraint %a <@mesh, [{"x"}, {}]> : tensor<5x6xf32>
  %1 = stablehlo.negate %0 : tensor<5x6xf32>
  %2 = sdy.sharding_constraint %1 <@mesh, [{"y"}, {}]> : tensor<5x6xf32>
  %3 = stablehlo.abs %2 : tensor<5x6xf32>
  return %3 : tensor<5x6xf32>
}"""
    program, choices, counters = padded(text, Padding())
    assert [(c.size, c.padded, c.shards) for c in choices] == [(5, 6, 6)]
    assert counters["slices"] == 1 and str(program.module).count("stablehlo.pad") == 1


def test_a_program_that_divides_is_left_alone() -> None:
    text = PRODUCT.replace("1023", "1024")
    program, choices, counters = padded(text, Padding(arguments=True))
    assert not choices and not any(counters.values())
    assert "sharding_rule" not in str(program.module)
