"""Which programs are partitioned before they are costed, and which are per-device programs already."""

from __future__ import annotations

import pytest

from passes.cost import device
from passes.cost.program_cost import cost
from passes.partition.forms import keep_sdy
from passes.partition.partition import partition
from passes.program import read
from passes.sharding.import_shardings import import_shardings

V5E = device.load("tpu_v5e")
# As jax exports it: a global program that says for how many partitions it is.
SHARDY = """module attributes {mhlo.num_partitions = 8 : i32, mhlo.num_replicas = 1 : i32} {
  sdy.mesh @mesh = <["x"=8]>
  func.func @main(%a: tensor<16x16xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {}]>},
                  %b: tensor<16x16xf32>) -> tensor<16x16xf32> {
    %0 = stablehlo.dot %a, %b : (tensor<16x16xf32>, tensor<16x16xf32>) -> tensor<16x16xf32>
    return %0 : tensor<16x16xf32>
  }
}"""
GSPMD = """module attributes {mhlo.num_partitions = 8 : i32, mhlo.num_replicas = 1 : i32} {
  func.func @main(%a: tensor<16x16xf32> {mhlo.sharding = "{devices=[8,1]<=[8]}"},
                  %b: tensor<16x16xf32> {mhlo.sharding = "{replicated}"}) -> tensor<16x16xf32> {
    %0 = stablehlo.dot %a, %b : (tensor<16x16xf32>, tensor<16x16xf32>) -> tensor<16x16xf32>
    return %0 : tensor<16x16xf32>
  }
}"""
WHOLE = 2 * 16 * 16 * 16


@pytest.mark.parametrize("text", [SHARDY, GSPMD])
def test_a_global_program_that_names_its_partitions_is_partitioned(text: str) -> None:
    program = read.parse(text)
    import_shardings(program)
    found = cost(program, V5E)
    assert (found.devices, found.estimate.flops, found.global_flops) == (8, WHOLE // 8, WHOLE)
    assert found.partitioning is not None and found.redundancy == 1.0


@pytest.mark.parametrize("keep", [False, True])
def test_a_per_device_program_is_costed_as_it_is_also_with_its_shardings(keep: bool) -> None:
    program = read.parse(SHARDY)
    table = partition(program).side_table
    if keep:
        keep_sdy(program, table)
    found = cost(program, V5E)
    assert (found.devices, found.estimate.flops, found.partitioning) == (8, WHOLE // 8, None)


def test_a_mesh_without_axes_shards_nothing() -> None:
    found = cost(read.parse(SHARDY.replace('"x"=8', "").replace('{"x"}', "{}").replace(" = 8", " = 1")), V5E)
    assert (found.devices, found.estimate.flops, found.global_flops) == (1, WHOLE, WHOLE)
