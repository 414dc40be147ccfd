"""An imported module, partitioned by XLA and run on 8 virtual devices, computes what it computed before import.

XLA reads the module before import in its own way: as GSPMD does, or by importing Shardy's strings itself.
"""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import numpy as np
import pytest

from passes.execute.executor import Executor
from passes.execute.inputs import make
from passes.execute.verify import verify
from passes.program.read import parse, read
from passes.sharding.import_shardings import import_shardings

PARTITIONS = "mhlo.num_partitions = 8 : i32, mhlo.num_replicas = 1 : i32"
T = "tensor<8x8xf32>"

GSPMD = f"""module attributes {{{PARTITIONS}}} {{
func.func private @square(%a: {T}) -> {T} {{
  %0 = stablehlo.multiply %a, %a : {T}
  return %0 : {T}
}}
func.func @main(%a: {T} {{mhlo.sharding = "{{devices=[2,4]<=[4,2]T(1,0)}}"}},
                %b: {T} {{mhlo.sharding = "{{devices=[2,2,2]0,2,1,3,4,6,5,7 last_tile_dim_replicate}}"}},
                %n: tensor<i32>) -> ({T} {{mhlo.sharding = "{{devices=[1,8]<=[8]}}"}}, tensor<8xf32>, {T}) {{
  %0 = stablehlo.dot_general %a, %b, contracting_dims = [1] x [0] {{mhlo.sharding = "{{devices=[8,1]<=[8]}}"}}
    : ({T}, {T}) -> {T}
  %1 = stablehlo.custom_call @Sharding(%0) {{backend_config = "unspecified_dims=[0]",
    mhlo.sharding = "{{devices=[1,2,4]<=[8] last_tile_dim_replicate}}"}} : ({T}) -> {T}
  %zero = stablehlo.constant dense<0.0> : tensor<f32>
  %2 = stablehlo.reduce(%1 init: %zero) applies stablehlo.add across dimensions = [0]
    : ({T}, tensor<f32>) -> tensor<8xf32>
  %c = stablehlo.constant dense<0> : tensor<i32>
  %one = stablehlo.constant dense<1> : tensor<i32>
  %3:2 = stablehlo.while(%i = %c, %x = %1) : tensor<i32>, {T}
  cond {{
    %4 = stablehlo.compare LT, %i, %n : (tensor<i32>, tensor<i32>) -> tensor<i1>
    stablehlo.return %4 : tensor<i1>
  }} do {{
    %4 = func.call @square(%x) : ({T}) -> {T}
    %5 = stablehlo.custom_call @Sharding(%4) {{mhlo.sharding = "{{replicated}}"}} : ({T}) -> {T}
    %6 = stablehlo.add %i, %one : tensor<i32>
    stablehlo.return %6, %5 : tensor<i32>, {T}
  }}
  return %1, %2, %3#1 : {T}, tensor<8xf32>, {T}
}} }}"""


def text(sharding: str) -> str:
    return sharding.replace('"', "\\22")


def strings(sharding: str) -> str:
    return f'mhlo.frontend_attributes = {{xla.sdy.sharding = "{text(sharding)}"}}'


MESHES = f'mhlo.frontend_attributes = {{xla.sdy.meshes = "{text("""{mesh = #sdy.mesh<["a"=2, "b"=4]>}""")}"}}'

SHARDY = f"""module attributes {{{MESHES}, {PARTITIONS}}} {{
func.func @main(%a: {T} {{{strings('#sdy.sharding<@mesh, [{"b":(1)2, ?}p1, {"a"}], replicated={"b":(2)2}>')}}},
                %b: {T} {{{strings('#sdy.sharding<@mesh, [{?}, {?}]>')}}}) -> ({T}, {T}) {{
  %0 = stablehlo.dot_general %a, %b, contracting_dims = [1] x [0] : ({T}, {T}) -> {T}
  %1 = stablehlo.custom_call @Sharding(%0)
    {{{strings('#sdy.sharding_per_value<[<@mesh, [{}, {"b"}]>]>')}}} : ({T}) -> {T}
  %2 = stablehlo.tanh %1 : {T}
  %3 = stablehlo.custom_call @xla.sdy.FuncResultSharding(%2) {{has_side_effect = true,
    {strings('#sdy.sharding_per_value<[<@mesh, [{"a", "b"}, {}]>]>')}}} : ({T}) -> {T}
  return %3, %0 : {T}, {T}
}} }}"""


def boundary(key: str, sharding: str) -> str:
    axes = text('#sdy<manual_axes{"a", "b"}>')
    return (f'{{mhlo.frontend_attributes = {{xla.sdy.{key} = "{text(sharding)}", xla.sdy.manual_axes = "{axes}"}}, '
            "has_side_effect = true}")


# Every device adds its number, and the sum over the devices of an axis.
MANUAL = f"""module attributes {{{MESHES}, {PARTITIONS}}} {{
func.func @main(%a: {T}) -> {T} {{
  %0 = stablehlo.custom_call @xla.sdy.GlobalToLocalShape(%a)
    {boundary("in_shardings", '#sdy.sharding_per_value<[<@mesh, [{"b"}, {"a"}]>]>')} : ({T}) -> tensor<2x4xf32>
  %1 = call @xla.sdy.manual_computation_body(%0) : (tensor<2x4xf32>) -> tensor<2x4xf32>
  %2 = stablehlo.custom_call @xla.sdy.LocalToGlobalShape(%1)
    {boundary("out_shardings", '#sdy.sharding_per_value<[<@mesh, [{"b"}, {"a"}]>]>')} : (tensor<2x4xf32>) -> {T}
  return %2 : {T}
}}
func.func @xla.sdy.manual_computation_body(%a: tensor<2x4xf32>) -> tensor<2x4xf32> {{
  %0 = stablehlo.partition_id : tensor<ui32>
  %1 = stablehlo.convert %0 : (tensor<ui32>) -> tensor<f32>
  %2 = stablehlo.broadcast_in_dim %1, dims = [] : (tensor<f32>) -> tensor<2x4xf32>
  %3 = "stablehlo.all_reduce"(%a) <{{channel_handle = #stablehlo.channel_handle<handle = 1, type = 1>,
    replica_groups = dense<[[0, 1, 2, 3], [4, 5, 6, 7]]> : tensor<2x4xi64>, use_global_device_ids}}> ({{
  ^bb0(%x: tensor<f32>, %y: tensor<f32>):
    %5 = stablehlo.add %x, %y : tensor<f32>
    stablehlo.return %5 : tensor<f32>
  }}) : (tensor<2x4xf32>) -> tensor<2x4xf32>
  %4 = stablehlo.add %2, %3 : tensor<2x4xf32>
  return %4 : tensor<2x4xf32>
}} }}"""


@pytest.mark.parametrize("before", [GSPMD, SHARDY, MANUAL], ids=["GSPMD", "Shardy", "manual"])
def test_as_before(before: str) -> None:
    imported = parse(before)
    assert import_shardings(imported)
    report = verify(parse(before), imported, inputs="exact", xla_partition=True)
    assert report.ok, "\n".join(report.lines())


# What JAX 0.10.2 lowers for GSPMD (`jax_use_shardy_partitioner=False`): shard_map nested, in a scan, over one of two
# axes, with several results and operands; shard_alike; a mesh whose devices have an order of their own.
INPUTS = sorted((Path(__file__).parent / "inputs").glob("gspmd_*.mlir"))


@pytest.mark.parametrize("path", INPUTS, ids=lambda path: path.stem)
def test_what_jax_lowers(path: Path) -> None:
    before, imported = read(str(path)), read(str(path))
    assert import_shardings(imported)
    inputs = make(before, "exact", 0).arrays
    expected, got = (Executor().run_partitioned(program, inputs, 8) for program in (before, imported))
    assert expected
    for left, right in zip(expected, got, strict=True):
        np.testing.assert_array_equal(left, right)


def shard_map(sharding: str, tiles: tuple[int, ...]) -> str:
    """Adds to every element the number of the device that holds it."""
    local = "x".join(str(8 // tile) for tile in tiles) + "xf32"
    return f"""module attributes {{{PARTITIONS}}} {{
func.func @main(%a: tensor<8x8x8xf32>) -> tensor<8x8x8xf32> {{
  %id = stablehlo.partition_id : tensor<ui32>
  %0 = stablehlo.custom_call @Sharding(%a) {{mhlo.sharding = "{sharding}"}} : (tensor<8x8x8xf32>) -> tensor<8x8x8xf32>
  %1 = stablehlo.custom_call @SPMDFullToShardShape(%0) {{mhlo.sharding = "{{manual}}"}}
    : (tensor<8x8x8xf32>) -> tensor<{local}>
  %2 = stablehlo.convert %id : (tensor<ui32>) -> tensor<f32>
  %3 = stablehlo.broadcast_in_dim %2, dims = [] : (tensor<f32>) -> tensor<{local}>
  %4 = stablehlo.add %1, %3 : tensor<{local}>
  %5 = stablehlo.custom_call @SPMDShardToFullShape(%4) {{mhlo.sharding = "{sharding}"}}
    : (tensor<{local}>) -> tensor<8x8x8xf32>
  return %5 : tensor<8x8x8xf32>
}} }}"""


def tile_assignments() -> list[tuple[str, tuple[int, ...]]]:
    """Tile assignments of 8 devices of every kind, permuted at random."""
    chance = random.Random(0)
    shapes = [tiles for tiles in itertools.product((1, 2, 4, 8), repeat=3) if np.prod(tiles) == 8]
    found = []
    for reshape in ((8,), (2, 4), (4, 2), (2, 2, 2), ()):
        tiles = chance.choice(shapes)
        if reshape:
            order = chance.sample(range(len(reshape)), len(reshape))
            devices = f"<=[{','.join(map(str, reshape))}]"
            devices += f"T({','.join(map(str, order))})" if len(order) > 1 else ""
        else:
            devices = ",".join(map(str, chance.sample(range(8), 8)))
        found.append((f"{{devices=[{','.join(map(str, tiles))}]{devices}}}", tiles))
    return found


@pytest.mark.parametrize(("sharding", "tiles"), tile_assignments())
def test_every_device_holds_the_part_that_xla_gives_it(sharding: str, tiles: tuple[int, ...]) -> None:
    before, imported = parse(shard_map(sharding, tiles)), parse(shard_map(sharding, tiles))
    import_shardings(imported)
    inputs = [np.arange(512, dtype=np.float32).reshape(8, 8, 8) * 16]
    (expected,), (got,) = (Executor().run_partitioned(program, inputs, 8) for program in (before, imported))
    assert len(np.unique(expected - inputs[0])) == 8
    np.testing.assert_array_equal(got, expected)


def test_shardings_by_name() -> None:
    """XLA's newest spelling, which the one in jaxlib does not read yet."""
    def program(argument: str, result: str) -> str:
        return f"""func.func @main(%a: {T} {argument}) -> ({T} {result}) {{
          %0 = stablehlo.dot_general %a, %a, contracting_dims = [1] x [0] : ({T}, {T}) -> {T}
          return %0 : {T}
        }}"""

    mesh = "mesh['a'=2,'b'=4], device_ids=([4,2]T(1,0))"
    imported = parse(program(
        f"""{{mhlo.sharding = "{{{mesh}, [{{'b'}}, {{'a'}}]}}"}}""",
        f"""{{mhlo.sharding = "{{{mesh}, [{{'a', ?}}, {{'b':(1)2}}]}}"}}"""))
    import_shardings(imported)
    report = verify(parse(program("", "")), imported, inputs="exact", xla_partition=True)
    assert report.ok, "\n".join(report.lines())
