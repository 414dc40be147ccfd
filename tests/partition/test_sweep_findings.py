"""What the matrix, the sweep and the corpus found: each module was wrong, an error or a dead process once."""

from __future__ import annotations

import re

import pytest

from passes.execute.compare import BIT_EQUAL
from passes.execute.verify import verify
from passes.partition.partition import partition
from passes.program import read

FOUND = {
    # A complex initial value with a sharding: printing a copy of it looked for the mesh and ended the process.
    "reduce of complex numbers": """
sdy.mesh @mesh = <["x"=2]>
func.func @main(%a: tensor<8x6xcomplex<f32>> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {?}]>})
    -> tensor<6xcomplex<f32>> {
  %c = stablehlo.constant dense<(0.0, 0.0)> : tensor<complex<f32>>
  %0 = sdy.sharding_constraint %c <@mesh, []> : tensor<complex<f32>>
  %1 = stablehlo.reduce(%a init: %0) applies stablehlo.add across dimensions = [0]
      : (tensor<8x6xcomplex<f32>>, tensor<complex<f32>>) -> tensor<6xcomplex<f32>>
  return %1 : tensor<6xcomplex<f32>>
}""",
    # XLA handed the layout of the all_gather on to the fft, which fails on it.
    "gathering what an fft makes": """
sdy.mesh @mesh = <["x"=3]>
func.func @main(%a: tensor<4x6x8xcomplex<f32>> {sdy.sharding = #sdy.sharding<@mesh, [{}, {"x"}, {}]>})
    -> (tensor<4x6x8xcomplex<f32>> {sdy.sharding = #sdy.sharding<@mesh, [{}, {}, {}]>}) {
  %0 = stablehlo.fft %a, type = FFT, length = [8] : (tensor<4x6x8xcomplex<f32>>) -> tensor<4x6x8xcomplex<f32>>
  return %0 : tensor<4x6x8xcomplex<f32>>
}""",
    # The all_reduce was taken out of the program that runs, and looked at again for the fft's sake.
    "a sum beside an fft": """
sdy.mesh @mesh = <["x"=2]>
func.func @main(%a: tensor<4x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {}]>}, %b: tensor<8xcomplex<f32>>)
    -> (tensor<8xf32>, tensor<8xcomplex<f32>>) {
  %z = stablehlo.constant dense<0.0> : tensor<f32>
  %0 = stablehlo.fft %b, type = FFT, length = [8] : (tensor<8xcomplex<f32>>) -> tensor<8xcomplex<f32>>
  %1 = stablehlo.reduce(%a init: %z) applies stablehlo.add across dimensions = [0]
      : (tensor<4x8xf32>, tensor<f32>) -> tensor<8xf32>
  return %1, %0 : tensor<8xf32>, tensor<8xcomplex<f32>>
}""",
    # Shardy's planning died: the axes do not divide 3, 2 and 2 in their order.
    "one dimension of three over axes that fit none": """
sdy.mesh @mesh = <["x"=2, "y"=3]>
func.func @main(%a: tensor<12xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x", "y"}]>})
    -> (tensor<3x2x2xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"y"}, {}, {"x"}]>}) {
  %0 = stablehlo.reshape %a : (tensor<12xf32>) -> tensor<3x2x2xf32>
  return %0 : tensor<3x2x2xf32>
}""",
    "three dimensions made one over axes that fit none": """
sdy.mesh @mesh = <["x"=2, "y"=5]>
func.func @main(%a: tensor<5x2x2xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"y"}, {"x"}, {}]>})
    -> (tensor<20xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x", "y"}]>}) {
  %0 = stablehlo.reshape %a : (tensor<5x2x2xf32>) -> tensor<20xf32>
  return %0 : tensor<20xf32>
}""",
    # The sizes of the new dimensions stayed global.
    "broadcast along a split dimension": """
sdy.mesh @mesh = <["x"=2, "y"=3]>
func.func @main(%a: tensor<8x6xf32>) -> (tensor<4x8x6xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {}, {"y"}]>}) {
  %0 = "stablehlo.broadcast"(%a) <{broadcast_sizes = array<i64: 4>}> : (tensor<8x6xf32>) -> tensor<4x8x6xf32>
  return %0 : tensor<4x8x6xf32>
}""",
    # The offset was added in bf16, which cannot hold it.
    "iota in short floats": """
sdy.mesh @mesh = <["x"=4]>
func.func @main(%a: tensor<516xbf16> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}]>}) -> tensor<516xbf16> {
  %z = stablehlo.subtract %a, %a : tensor<516xbf16>
  %i = stablehlo.iota dim = 0 : tensor<516xbf16>
  %0 = stablehlo.add %z, %i : tensor<516xbf16>
  return %0 : tensor<516xbf16>
}""",
    # It stayed, and would have been the device's number where devices are replicas.
    "replica_id": """
sdy.mesh @mesh = <["x"=2]>
func.func @main(%a: tensor<8xui32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}]>}) -> tensor<8xui32> {
  %r = stablehlo.replica_id : tensor<ui32>
  %b = stablehlo.broadcast_in_dim %r, dims = [] : (tensor<ui32>) -> tensor<8xui32>
  %0 = stablehlo.add %a, %b : tensor<8xui32>
  return %0 : tensor<8xui32>
}""",
    # The bindings hand out no attribute of complex numbers that was parsed.
    "complex updates of a split operand": """
sdy.mesh @mesh = <["x"=2]>
func.func @main(%a: tensor<8xcomplex<f32>> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}]>},
                %i: tensor<512x1xi32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {}]>},
                %u: tensor<512xcomplex<f32>> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}]>})
    -> tensor<8xcomplex<f32>> {
  %0 = "stablehlo.scatter"(%a, %i, %u) <{scatter_dimension_numbers = #stablehlo.scatter<
      inserted_window_dims = [0], scatter_dims_to_operand_dims = [0], index_vector_dim = 1>}> ({
  ^bb0(%l: tensor<complex<f32>>, %r: tensor<complex<f32>>):
    %s = stablehlo.add %l, %r : tensor<complex<f32>>
    stablehlo.return %s : tensor<complex<f32>>
  }) : (tensor<8xcomplex<f32>>, tensor<512x1xi32>, tensor<512xcomplex<f32>>) -> tensor<8xcomplex<f32>>
  return %0 : tensor<8xcomplex<f32>>
}""",
    # Such a sharding has no dimensions, and was put on the mesh as it was.
    "values that one device is to have": """
sdy.mesh @mesh = <["x"=2]>
sdy.mesh @device = <[], device_ids=[1]>
func.func @main(%a: tensor<8x4xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {}]>},
                %b: tensor<8xf32> {sdy.sharding = #sdy.sharding<@device, []>})
    -> (tensor<8x4xf32>, tensor<8xf32> {sdy.sharding = #sdy.sharding<@device, []>}) {
  %0 = stablehlo.add %a, %a {sdy.sharding = #sdy.sharding_per_value<[<@device, []>]>} : tensor<8x4xf32>
  %1 = sdy.sharding_constraint %b <@device, []> : tensor<8xf32>
  return %0, %1 : tensor<8x4xf32>, tensor<8xf32>
}""",
}
# Shardy takes no rule on what has no operands or no results, and propagation splits results all the same.
ALONE = """
sdy.mesh @mesh = <["x"=2]>
func.func @main(%a: tensor<8x4xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {}]>})
    -> (tensor<8x4xf32>, tensor<8xf32>) {
  %0 = stablehlo.custom_call @give() {has_side_effect = true} : () -> tensor<8x4xf32>
  %1:2 = stablehlo.custom_call @give_two() : () -> (tensor<8x4xf32>, tensor<8xf32>)
  %2 = stablehlo.add %a, %0 : tensor<8x4xf32>
  %3 = stablehlo.add %2, %1#0 : tensor<8x4xf32>
  stablehlo.custom_call @take(%3, %1#1) {has_side_effect = true} : (tensor<8x4xf32>, tensor<8xf32>) -> ()
  return %3, %1#1 : tensor<8x4xf32>, tensor<8xf32>
}"""


@pytest.mark.parametrize("name", FOUND)
def test_equals_the_original(name: str) -> None:
    original, program = read.parse(FOUND[name], name), read.parse(FOUND[name], name)
    report = partition(program)
    found = verify(original, program, report.side_table, inputs="exact", level=BIT_EQUAL)
    assert found.ok, found.lines()


def test_calls_without_operands_or_results_are_whole() -> None:
    program = read.parse(ALONE)
    report = partition(program)
    text = str(program.module)
    assert "@take(%" in text and "(tensor<8x4xf32>, tensor<8xf32>) -> ()" in text
    assert {e.local_shape for e in report.side_table.results} == {(4, 4), (8,)}
    original, local = (read.parse(_without_calls(t)) for t in (ALONE, text))
    assert verify(original, local, report.side_table, inputs="exact", level=BIT_EQUAL).ok


def _without_calls(text: str) -> str:
    """The program with numbers in the place of what the calls give; nobody has these functions."""
    given = r"""%g = stablehlo.iota dim = 1 : tensor<8x4xf32>
      %h = stablehlo.iota dim = 0 : tensor<8xf32>
      \1:2 = stablehlo.optimization_barrier %g, %h : tensor<8x4xf32>, tensor<8xf32>"""
    text = re.sub(r"(%\w+):2 = stablehlo.custom_call @give_two.*", given, text)
    text = re.sub(r"stablehlo.custom_call @give\b.*", "stablehlo.iota dim = 0 : tensor<8x4xf32>", text)
    return re.sub(r"stablehlo.custom_call @take.*", "", text)
