"""Layers with places for tokens: recognised, split over experts, their one-hot moves an all_to_all each."""

from __future__ import annotations

import numpy as np
import pytest

from passes.errors import UserError
from passes.execute.executor import Executor
from passes.execute.verify import verify
from passes.moe.capacity import rooms
from passes.partition.partition import partition
from passes.pipeline import runner
from passes.program.read import parse
from passes.program.write import to_text
from tests.moe.layer_programs import distance, on_mesh, per_device, sparsified

# GShard: 4 groups of 8 tokens, 8 experts with 2 places for each group, the best expert of each token.
GSHARD = """
func.func @main(%x: tensor<4x8x6xf32> {X}, %expert: tensor<4x8xi32>, %weight: tensor<4x8xf32>,
                %up: tensor<8x6x10xf32>, %down: tensor<8x10x6xf32>) -> tensor<4x8x6xf32> {
  %zero = stablehlo.constant dense<0.0> : tensor<f32>
  %0 = stablehlo.broadcast_in_dim %expert, dims = [0, 1] : (tensor<4x8xi32>) -> tensor<4x8x8xi32>
  %1 = stablehlo.iota dim = 2 : tensor<4x8x8xi32>
  %2 = stablehlo.compare EQ, %0, %1 : (tensor<4x8x8xi32>, tensor<4x8x8xi32>) -> tensor<4x8x8xi1>
  %hot = stablehlo.convert %2 : (tensor<4x8x8xi1>) -> tensor<4x8x8xf32>
  %3 = "stablehlo.reduce_window"(%hot, %zero) <{padding = dense<[[0, 0], [7, 0], [0, 0]]> : tensor<3x2xi64>,
    window_dimensions = array<i64: 1, 8, 1>, window_strides = array<i64: 1, 1, 1>}> ({
  ^bb0(%a: tensor<f32>, %b: tensor<f32>):
    %sum = stablehlo.add %a, %b : tensor<f32>
    stablehlo.return %sum : tensor<f32>
  }) : (tensor<4x8x8xf32>, tensor<f32>) -> tensor<4x8x8xf32>
  %4 = stablehlo.multiply %3, %hot : tensor<4x8x8xf32>
  %5 = stablehlo.reduce(%4 init: %zero) applies stablehlo.add across dimensions = [2]
    : (tensor<4x8x8xf32>, tensor<f32>) -> tensor<4x8xf32>
  %one = stablehlo.constant dense<1.0> : tensor<4x8xf32>
  %6 = stablehlo.subtract %5, %one : tensor<4x8xf32>
  %7 = stablehlo.broadcast_in_dim %6, dims = [0, 1] : (tensor<4x8xf32>) -> tensor<4x8x2xf32>
  %8 = stablehlo.iota dim = 2 : tensor<4x8x2xf32>
  %9 = stablehlo.compare EQ, %7, %8 : (tensor<4x8x2xf32>, tensor<4x8x2xf32>) -> tensor<4x8x2xi1>
  %place = stablehlo.convert %9 : (tensor<4x8x2xi1>) -> tensor<4x8x2xf32>
  %10 = stablehlo.broadcast_in_dim %hot, dims = [0, 1, 2] : (tensor<4x8x8xf32>) -> tensor<4x8x8x2xf32>
  %11 = stablehlo.broadcast_in_dim %place, dims = [0, 1, 3] : (tensor<4x8x2xf32>) -> tensor<4x8x8x2xf32>
  %dispatch = stablehlo.multiply %10, %11 : tensor<4x8x8x2xf32>
  %12 = stablehlo.broadcast_in_dim %weight, dims = [0, 1] : (tensor<4x8xf32>) -> tensor<4x8x8x2xf32>
  %combine = stablehlo.multiply %dispatch, %12 : tensor<4x8x8x2xf32>
  %13 = stablehlo.dot_general %dispatch, %x, batching_dims = [0] x [0], contracting_dims = [1] x [1]
    : (tensor<4x8x8x2xf32>, tensor<4x8x6xf32>) -> tensor<4x8x2x6xf32>
  %14 = stablehlo.transpose %13, dims = [1, 0, 2, 3] : (tensor<4x8x2x6xf32>) -> tensor<8x4x2x6xf32>
  %15 = stablehlo.dot_general %14, %up, batching_dims = [0] x [0], contracting_dims = [3] x [1]
    : (tensor<8x4x2x6xf32>, tensor<8x6x10xf32>) -> tensor<8x4x2x10xf32>
  %16 = stablehlo.tanh %15 : tensor<8x4x2x10xf32>
  %17 = stablehlo.dot_general %16, %down, batching_dims = [0] x [0], contracting_dims = [3] x [1]
    : (tensor<8x4x2x10xf32>, tensor<8x10x6xf32>) -> tensor<8x4x2x6xf32>
  %18 = stablehlo.dot_general %combine, %17, batching_dims = [0] x [1], contracting_dims = [2, 3] x [0, 2]
    : (tensor<4x8x8x2xf32>, tensor<8x4x2x6xf32>) -> tensor<4x8x6xf32>
  return %18 : tensor<4x8x6xf32>
}
"""
PLAIN = GSHARD.replace(" {X}", "")


def by_groups(axis: str) -> str:
    """Tokens, and what their router said, split by groups over an axis."""
    text = GSHARD.replace("{X}", f"{{sdy.sharding = #sdy.sharding<@mesh, [{{{axis}}}, {{}}, {{}}]>}}")
    for name in ("%expert: tensor<4x8xi32>", "%weight: tensor<4x8xf32>"):
        text = text.replace(name, f"{name} {{sdy.sharding = #sdy.sharding<@mesh, [{{{axis}}}, {{}}]>}}")
    return text


MESHES = {
    "4": ('"x"=4', '"x"', "", 2, {("all_to_all", ("x",)): 2}),
    "2x4": ('"rows"=2, "columns"=4', '"columns"', "experts=columns", 2, {("all_to_all", ("columns",)): 2}),
    "2x2, both axes": ('"a"=2, "b"=2', '"a", "b"', "", 2, {("all_to_all", ("a", "b")): 2}),
}


@pytest.mark.parametrize("mesh", MESHES)
def test_moves_are_all_to_alls(mesh: str) -> None:
    axes, groups, options, held, traffic = MESHES[mesh]
    program = on_mesh(by_groups(groups), axes, {})
    runner.run(program, f"builtin.module(moe-expert-parallel{{{options}}})")
    report = partition(program)
    assert report.side_table.arguments[3].local_shape[0] == held
    assert not report.flat and not report.replicated
    assert {(t.kind, t.axes): t.count for t in report.traffic} == traffic
    # No weights move.
    assert not any("10x6" in line or "6x10" in line for line in to_text(program.module).splitlines() if "all_" in line)
    rng = np.random.default_rng(2)
    values = [rng.standard_normal((4, 8, 6)), rng.integers(0, 8, (4, 8)), *(
        rng.standard_normal(shape) for shape in ((4, 8), (8, 6, 10), (8, 10, 6)))]
    given = [v.astype(np.int32 if v.dtype.kind == "i" else np.float32) for v in values]
    (want,) = Executor("interpreter").run_global(parse(PLAIN, "m"), given)
    found = per_device(program, report, {str(i): v for i, v in enumerate(given)})
    assert want.any() and distance(found, want) < 2e-6


def test_without_the_pass_weights_are_whole() -> None:
    """Which is what the constraint is for."""
    report = partition(on_mesh(by_groups('"x"'), '"x"=4', {}))
    assert report.side_table.arguments[3].local_shape == (8, 6, 10) and not report.traffic


def test_it_is_reported_and_left() -> None:
    program, found, counts = sparsified(PLAIN)
    assert counts == {"left": 1}
    assert str(found[0]).endswith("mixture of 8 experts with 2 places each left: its experts multiply what they have "
                                  "places for; moe-expert-parallel makes its moves all_to_alls")
    assert verify(parse(PLAIN, "m"), program).ok


def test_weights_by_softmax_are_no_move() -> None:
    """Attention with a product for each head has the same dots; nothing in it is counted for equality."""
    text = PLAIN.replace("compare EQ", "compare LE")
    assert rooms(parse(PLAIN, "m").module) and not rooms(parse(text, "m").module)


def test_experts_that_do_not_divide_are_refused() -> None:
    program = on_mesh(PLAIN, '"x"=3', {})
    with pytest.raises(UserError) as found:
        runner.run(program, "builtin.module(moe-expert-parallel)")
    assert found.value.message == ("one-hot dispatch: 8 experts do not divide by the 3 devices along x=3; they divide "
                                   "by 1, 2, 4, 8")


def test_running_it_again_changes_nothing() -> None:
    program = on_mesh(PLAIN, '"x"=4', {})
    runner.run(program, "builtin.module(moe-expert-parallel)")
    before = to_text(program.module)
    assert before.count("sdy.sharding_constraint") == 1
    runner.run(program, "builtin.module(moe-expert-parallel)")
    assert to_text(program.module) == before
