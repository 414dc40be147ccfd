"""What the user says of the mesh and of values is found, in the forms that front ends write it."""

from __future__ import annotations

import pytest

from passes.autoshard.autoshard import choose
from passes.autoshard.given import the_mesh
from passes.autoshard.search import Goal
from passes.cost import device
from passes.errors import UserError
from passes.execute.verify import verify
from passes.partition.partition import partition
from passes.program import read
from passes.sharding.annotate import annotate
from passes.sharding.mesh import Mesh
from passes.sharding.rules_file import parse

# JAX's exports have meshes without axes, of no device and of one, beside the real one or alone.
PROGRAM = """
sdy.mesh @mesh = <["data"=2, "model"=2]>
sdy.mesh @empty_mesh = <[]>
sdy.mesh @maximal_mesh_0 = <[], device_ids=[0]>
func.func @main(%x: tensor<256x512xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"data"}, {}]>},
                %w: tensor<512x512xf32> {sdy.sharding = #sdy.sharding<@empty_mesh, [{?}, {?}]>})
    -> (tensor<256x512xf32> {jax.result_info = "y"}) {
  %0 = stablehlo.dot_general %x, %w, contracting_dims = [1] x [0]
      : (tensor<256x512xf32>, tensor<512x512xf32>) -> tensor<256x512xf32>
  return %0 : tensor<256x512xf32>
}"""
MESH = Mesh((("data", 2), ("model", 2)))


def test_meshes_without_axes_are_none() -> None:
    assert the_mesh(read.parse(PROGRAM), None) == MESH
    assert the_mesh(read.parse(PROGRAM), MESH) == MESH
    alone = PROGRAM.replace('sdy.mesh @mesh = <["data"=2, "model"=2]>\n', "").replace(
        ' {sdy.sharding = #sdy.sharding<@mesh, [{"data"}, {}]>}', "")
    assert the_mesh(read.parse(alone), MESH) == MESH
    with pytest.raises(UserError, match="no mesh: give it one with --mesh"):
        the_mesh(read.parse(alone), None)
    with pytest.raises(UserError, match="annotated for the mesh data=2,model=2, not for x=4"):
        the_mesh(read.parse(PROGRAM), Mesh((("x", 4),)))


def test_a_program_with_them_is_chosen_for_and_runs() -> None:
    outcome = choose(read.parse(PROGRAM), None, device.load("tpu_v5e"), Goal(), lowered=1)
    program = read.parse(PROGRAM)
    annotate(program, parse(outcome.best.rules))
    report = partition(program)
    assert report.side_table.arguments[0].sharding.spec().startswith("P('data'")
    found = verify(read.parse(PROGRAM), program, report.side_table, inputs="exact")
    assert found.ok, "\n".join(found.lines())


def test_dynamic_shapes_are_named_with_what_to_do() -> None:
    text = """func.func @main(%x: tensor<?x8xf32>) -> tensor<?x8xf32> {
  %0 = stablehlo.tanh %x : tensor<?x8xf32>
  return %0 : tensor<?x8xf32>
}"""
    with pytest.raises(UserError, match="sharding needs static shapes; refine them first") as caught:
        choose(read.parse(text), MESH, device.load("tpu_v5e"), Goal(), lowered=1)
    assert caught.value.where is not None and caught.value.where.line == 1
