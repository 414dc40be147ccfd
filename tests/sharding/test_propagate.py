"""Propagation end to end: closed, divisible, idempotent, with the corrected rules honoured."""

from __future__ import annotations

from pathlib import Path

import pytest

from passes.program.read import Program, parse, read
from passes.program.walk import operations
from passes.program.write import to_text
from passes.sharding.propagate import PropagateOptions, propagate

ROOT = Path(__file__).parents[2]
MESH = 'sdy.mesh @mesh = <["x"=4, "y"=2]>\n'


def shard(body: str, **options: bool) -> Program:
    program = parse(MESH + body)
    propagate(program, PropagateOptions(**options))
    return program


CALLS = """
func.func private @double(%a: tensor<8x8xf32>) -> tensor<8x8xf32> {
  %0 = stablehlo.add %a, %a : tensor<8x8xf32>
  return %0 : tensor<8x8xf32>
}
func.func @main(%a: tensor<8x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {}]>},
                %b: tensor<8x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{}, {"y"}]>})
    -> (tensor<8x8xf32>, tensor<8x8xf32>) {
  %0 = func.call @double(%a) : (tensor<8x8xf32>) -> tensor<8x8xf32>
  %1 = func.call @double(%b) : (tensor<8x8xf32>) -> tensor<8x8xf32>
  return %0, %1 : tensor<8x8xf32>, tensor<8x8xf32>
}"""


def test_functions_and_calls_stay_one_function_per_sharding() -> None:
    text = to_text(shard(CALLS).module)
    assert text.count("func.func private @double") == 2
    assert text.count("call @double") == 2
    assert text.count('#sdy.sharding<@mesh, [{"x"}, {}]>') >= 4


def test_nothing_internal_is_left() -> None:
    program = shard("""
func.func @main(%a: tensor<8x8xcomplex<f32>> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {}]>})
    -> tensor<8x8xcomplex<f32>> {
  %c = stablehlo.constant dense<(1.0, 2.0)> : tensor<complex<f32>>
  %r = stablehlo.constant dense<2.0> : tensor<f32>
  %0 = stablehlo.broadcast_in_dim %c, dims = [] : (tensor<complex<f32>>) -> tensor<8x8xcomplex<f32>>
  %1 = stablehlo.multiply %a, %0 : tensor<8x8xcomplex<f32>>
  return %1 : tensor<8x8xcomplex<f32>>
}""")
    text = to_text(program.module)
    assert "sdy.constant" not in text
    assert "stablehlo.constant dense<(1.000000e+00,2.000000e+00)>" in text
    assert "sharding_rule" not in text
    assert "stablehlo.mesh" not in text


def test_rules_of_the_user_survive_and_others_go_unless_asked_for() -> None:
    body = """
func.func @main(%a: tensor<8x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {}]>}) -> tensor<8x8xf32> {
  %0 = stablehlo.custom_call @foo(%a)
    {sdy.sharding_rule = #sdy.op_sharding_rule<([i, j])->([i, j]) {i=8, j=8}, custom>}
    : (tensor<8x8xf32>) -> tensor<8x8xf32>
  %1 = stablehlo.add %0, %0 : tensor<8x8xf32>
  return %1 : tensor<8x8xf32>
}"""
    plain, kept = to_text(shard(body).module), to_text(shard(body, keep_sharding_rules=True).module)
    assert plain.count("sdy.op_sharding_rule") == 1
    assert plain.count('sdy.sharding_per_value<[<@mesh, [{"x"}, {}]>]>') == 2
    assert ", custom>" in plain
    assert kept.count("sdy.op_sharding_rule") == 2


def test_an_axis_that_does_not_divide_is_taken_off_and_reported() -> None:
    program = parse(MESH + """
func.func @main(%a: tensor<8x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x", "y"}, {?}]>}) -> tensor<12x8xf32> {
  %c = stablehlo.constant dense<0.0> : tensor<f32>
  %0 = stablehlo.pad %a, %c, low = [4, 0], high = [0, 0], interior = [0, 0]
    : (tensor<8x8xf32>, tensor<f32>) -> tensor<12x8xf32>
  return %0 : tensor<12x8xf32>
}""")
    report = propagate(program)
    assert [(d.value, d.shape, d.dim, d.axes) for d in report.dropped] == [
        ("'result0' of @main", (12, 8), 0, ("y",)),
        ("stablehlo.pad", (12, 8), 0, ("y",)),
    ]
    assert '[{"x"}, {}]' in to_text(program.module)


# A loop that carries what calls in its body read.
LOOP = """
func.func private @row(%a: tensor<4x8xf32>, %i: tensor<i32>) -> tensor<8xf32> {
  %z = stablehlo.constant dense<0> : tensor<i32>
  %0 = stablehlo.dynamic_slice %a, %i, %z, sizes = [1, 8]
    : (tensor<4x8xf32>, tensor<i32>, tensor<i32>) -> tensor<1x8xf32>
  %1 = stablehlo.reshape %0 : (tensor<1x8xf32>) -> tensor<8xf32>
  return %1 : tensor<8xf32>
}
func.func private @unsharded(%i: tensor<i32>) -> tensor<i32> {
  %0 = stablehlo.add %i, %i : tensor<i32>
  return %0 : tensor<i32>
}
func.func @main(%a: tensor<4x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{}, {"x"}]>},
                %b: tensor<4x8xf32>, %w: tensor<8xf32>) -> (tensor<8xf32>, tensor<4x8xf32>) {
  %zero = stablehlo.constant dense<0> : tensor<i32>
  %one = stablehlo.constant dense<1> : tensor<i32>
  %four = stablehlo.constant dense<4> : tensor<i32>
  %0:4 = stablehlo.while(%i = %zero, %x = %w, %p = %a, %q = %b)
    : tensor<i32>, tensor<8xf32>, tensor<4x8xf32>, tensor<4x8xf32>
  cond {
    %1 = stablehlo.compare LT, %i, %four : (tensor<i32>, tensor<i32>) -> tensor<i1>
    stablehlo.return %1 : tensor<i1>
  } do {
    %1 = func.call @row(%p, %i) : (tensor<4x8xf32>, tensor<i32>) -> tensor<8xf32>
    %2 = func.call @row(%q, %i) : (tensor<4x8xf32>, tensor<i32>) -> tensor<8xf32>
    %3 = stablehlo.multiply %1, %2 : tensor<8xf32>
    %4 = stablehlo.add %x, %3 : tensor<8xf32>
    %5 = stablehlo.add %i, %one : tensor<i32>
    %6 = func.call @unsharded(%5) : (tensor<i32>) -> tensor<i32>
    stablehlo.return %5, %4, %p, %q : tensor<i32>, tensor<8xf32>, tensor<4x8xf32>, tensor<4x8xf32>
  }
  return %0#1, %0#3 : tensor<8xf32>, tensor<4x8xf32>
}"""

CONFLICT = """
func.func @main(%a: tensor<8x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {}]>},
                %b: tensor<8x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{}, {"x"}]>}, %c: tensor<8xf32>)
    -> (tensor<8x8xf32>, tensor<8xf32>) {
  %0 = stablehlo.add %a, %b : tensor<8x8xf32>
  %1 = sdy.sharding_constraint %0 <@mesh, [{"y"}, {?}]> : tensor<8x8xf32>
  %2 = stablehlo.dot_general %1, %a, contracting_dims = [1] x [0]
    : (tensor<8x8xf32>, tensor<8x8xf32>) -> tensor<8x8xf32>
  return %2, %c : tensor<8x8xf32>, tensor<8xf32>
}"""


@pytest.mark.parametrize("reshards", [True, False])
@pytest.mark.parametrize("body", [CALLS, LOOP, CONFLICT])
def test_propagating_twice_changes_nothing(body: str, reshards: bool) -> None:
    program = shard(body, reshards=reshards)
    once = to_text(program.module)
    propagate(program, PropagateOptions(reshards=reshards))
    assert to_text(program.module) == once


def test_propagation_reaches_its_fixed_point_in_an_exported_program() -> None:
    # The gradient of a rematerialized scan (JAX): propagation by priorities alone stops short of a call in a loop.
    program = read(str(Path(__file__).parent / "inputs" / "rnn_scan_remat.mlir"))
    propagate(program)
    once = to_text(program.module)
    propagate(program)
    assert to_text(program.module) == once


def test_both_calls_in_a_loop_are_sharded() -> None:
    text = to_text(shard(LOOP).module)
    assert text.count("call @row(") == 2
    assert text.count("func.func private @row") == 1


def test_the_signature_says_what_is_replicated() -> None:
    text = to_text(shard(CONFLICT).module)
    assert '%arg2: tensor<8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{}]>}' in text
    assert 'tensor<8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{}]>}) {' in text
    assert "?" not in text


def test_constraints_become_reshards_for_planning_and_stay_for_others() -> None:
    planned, readable = (to_text(shard(CONFLICT, reshards=r).module) for r in (True, False))
    assert ("sdy.reshard" in planned, "sharding_constraint" in planned) == (True, False)
    assert ("sdy.reshard" in readable, "sharding_constraint" in readable) == (False, True)


def test_an_entry_function_that_is_not_main() -> None:
    program = parse(MESH + CALLS.replace("@main", "@forward"))
    propagate(program, entry="forward")
    text = to_text(program.module)
    assert "func.func @forward(" in text
    assert "@main" not in text
    assert text.replace("@forward", "@main") == to_text(shard(CALLS).module)


def test_an_operation_without_a_rule_is_reported_where_it_stands() -> None:
    program = parse(MESH + """
func.func @main(%a: tensor<8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}]>}) -> tensor<8xf32> {
  %0 = stablehlo.custom_call @foo(%a) : (tensor<8xf32>) -> tensor<8xf32>
  return %0 : tensor<8xf32>
}""")
    ((where, message),) = propagate(program).unruled
    assert where is not None
    assert where.line == 4
    assert "stablehlo.custom_call 'foo' has no sharding rule" in message


def test_decoder_without_annotations_is_left_as_it_is() -> None:
    program = read(str(ROOT / "examples/decoder/forward.mlir"))
    propagate(program)
    assert not any("sdy.sharding" in op.attributes for op in operations(program.module))
