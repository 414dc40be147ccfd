"""Everything in shards: no preset, no names, and as many shards as there are devices."""

from __future__ import annotations

import math

from passes.autoshard.autoshard import choose, prepare
from passes.autoshard.lowering import Lowering
from passes.autoshard.search import Found, Goal
from passes.autoshard.stored import by_bytes, stored
from passes.execute.verify import verify
from passes.partition.partition import partition
from passes.program import read, write
from passes.sharding import rules_file
from passes.sharding.annotate import annotate
from passes.sharding.mesh import Mesh
from tests.autoshard.plans import MESH, V5E, example

# Channels that are normalised in eight groups: sixteen shards of them can be stored, and none computed with.
GROUPED = """
func.func @main(%images: tensor<64x4x4x64xf32>, %kernel: tensor<3x3x64x64xf32>) -> tensor<64x4x4x64xf32> {
  %0 = stablehlo.convolution(%images, %kernel) dim_numbers = [b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f],
    window = {pad = [[1, 1], [1, 1]]} {batch_group_count = 1 : i64, feature_group_count = 1 : i64} :
    (tensor<64x4x4x64xf32>, tensor<3x3x64x64xf32>) -> tensor<64x4x4x64xf32>
  %1 = stablehlo.reshape %0 : (tensor<64x4x4x64xf32>) -> tensor<64x4x4x8x8xf32>
  %zero = stablehlo.constant dense<0.0> : tensor<f32>
  %2 = stablehlo.reduce(%1 init: %zero) applies stablehlo.add across dimensions = [1, 2, 4] :
    (tensor<64x4x4x8x8xf32>, tensor<f32>) -> tensor<64x8xf32>
  %3 = stablehlo.broadcast_in_dim %2, dims = [0, 3] : (tensor<64x8xf32>) -> tensor<64x4x4x8x8xf32>
  %4 = stablehlo.subtract %1, %3 : tensor<64x4x4x8x8xf32>
  %5 = stablehlo.reshape %4 : (tensor<64x4x4x8x8xf32>) -> tensor<64x4x4x64xf32>
  return %5 : tensor<64x4x4x64xf32>
}
"""


def test_arguments_lie_in_as_many_shards_as_divide_them() -> None:
    model = example("decoder/train_step").model
    price, devices = model.price(stored(model)), math.prod(model.axis_sizes)
    whole = model.price(()).arguments
    assert price.arguments <= 1.01 * whole / devices


def test_the_work_is_split_as_well_as_by_any_plan_for_one_axis() -> None:
    model = example("decoder/train_step").model
    first = stored(model)[0]
    assert model.price((first,)).local <= 1.01 * min(model.price((a,)).local for a in model.actions if a[1] == first[1])


def test_actions_come_by_what_they_split() -> None:
    model = example("decoder/train_step").model
    assert sorted(by_bytes(model)) == model.actions
    most, least = by_bytes(model)[0], by_bytes(model)[-1]
    assert model.price((most,)).arguments < model.price((least,)).arguments


def test_what_is_computed_in_groups_is_stored_in_more_shards() -> None:
    program, mesh = read.parse(GROUPED), Mesh((("data", 16),))
    source = write.to_bytecode(program.module)
    model = prepare(read.parse(GROUPED), mesh, V5E)
    found = Found(stored(model), model.price(stored(model)))
    [choice] = Lowering(model, source, program, 1).lower([found], 1, Goal())
    images, kernel = 64 * 4 * 4 * 64 * 4, 3 * 3 * 64 * 64 * 4
    assert found.price.arguments == choice.lowered.arguments == (images + kernel) / 16
    assert found.price.sent == choice.lowered.sent == kernel * 15 / 16


def test_it_is_lowered_where_it_may_be_the_best_and_runs() -> None:
    chosen = example("decoder/train_step")
    outcome = choose(chosen.program(), MESH, V5E, Goal(1.0), compare=False, certify_seconds=0)
    plan = stored(chosen.model)
    [choice] = [c for c in (outcome.best, *outcome.others) if c.plan == plan]
    program = chosen.program()
    annotate(program, rules_file.parse(choice.rules))
    assert verify(chosen.program(), program, partition(program).side_table).ok
