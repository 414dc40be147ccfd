"""What the matrix, the sweep and the corpus found: each module was wrong, an error or a dead process once."""

from __future__ import annotations

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
}


@pytest.mark.parametrize("name", FOUND)
def test_equals_the_original(name: str) -> None:
    original, program = read.parse(FOUND[name], name), read.parse(FOUND[name], name)
    report = partition(program)
    found = verify(original, program, report.side_table, inputs="exact", level=BIT_EQUAL)
    assert found.ok, found.lines()
