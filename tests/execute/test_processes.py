"""Several processes that share the devices of a program give the same bits as one."""

from __future__ import annotations

import numpy as np
import pytest

from passes.errors import NativeFailure, UserError
from passes.execute.arrays import same_bits
from passes.execute.executor import Executor
from passes.program.read import Program, parse

ALL = "channel_handle = #stablehlo.channel_handle<handle = 1, type = 1>, use_global_device_ids"


def every_collective() -> Program:
    groups = "replica_groups = dense<[[0, 2], [1, 3]]> : tensor<2x2xi64>"
    adds = """({
        ^bb0(%x: tensor<f32>, %y: tensor<f32>):
          %z = stablehlo.add %x, %y : tensor<f32>
          stablehlo.return %z : tensor<f32>
      })"""
    return parse(f"""
      func.func @main(%a: tensor<4x3xf32>)
          -> (tensor<4x3xf32>, tensor<8x3xf32>, tensor<2x3xf32>, tensor<4x3xf32>, tensor<4x3xf32>, tensor<ui32>) {{
        %r = "stablehlo.all_reduce"(%a) <{{{ALL}, {groups}}}> {adds} : (tensor<4x3xf32>) -> tensor<4x3xf32>
        %g = "stablehlo.all_gather"(%a) <{{all_gather_dim = 0 : i64, {ALL}, {groups}}}>
          : (tensor<4x3xf32>) -> tensor<8x3xf32>
        %s = "stablehlo.reduce_scatter"(%a) <{{scatter_dimension = 0 : i64, {ALL}, {groups}}}> {adds}
          : (tensor<4x3xf32>) -> tensor<2x3xf32>
        %t = "stablehlo.all_to_all"(%a) <{{split_dimension = 0 : i64, concat_dimension = 0 : i64,
          split_count = 2 : i64, {groups}}}> : (tensor<4x3xf32>) -> tensor<4x3xf32>
        %p = "stablehlo.collective_permute"(%a) <{{
          source_target_pairs = dense<[[0, 1], [1, 2], [2, 3], [3, 0]]> : tensor<4x2xi64>}}>
          : (tensor<4x3xf32>) -> tensor<4x3xf32>
        %i = stablehlo.partition_id : tensor<ui32>
        return %r, %g, %s, %t, %p, %i
          : tensor<4x3xf32>, tensor<8x3xf32>, tensor<2x3xf32>, tensor<4x3xf32>, tensor<4x3xf32>, tensor<ui32>
      }}""")


def shards(devices: int = 4) -> list[list[np.ndarray]]:
    random = np.random.default_rng(0)
    return [[random.standard_normal((4, 3)).astype(np.float32) for _ in range(devices)]]


@pytest.mark.parametrize("processes", [2, 4])
def test_the_same_bits_as_in_one_process(processes: int) -> None:
    alone = Executor().run_per_device(every_collective(), shards(), 4)
    shared = Executor(processes=processes).run_per_device(every_collective(), shards(), 4)
    for ours, theirs in zip(alone, shared, strict=True):
        assert all(same_bits(a, b) for a, b in zip(ours, theirs, strict=True))


def test_the_same_bits_as_from_the_interpreter() -> None:
    """Sums over devices are taken in the order of the group, whoever takes them."""
    alone = Executor().run_per_device(every_collective(), shards(), 4)
    unrolled = Executor("interpreter").run_per_device(every_collective(), shards(), 4)
    for ours, theirs in zip(alone, unrolled, strict=True):
        assert all(same_bits(a, b) for a, b in zip(ours, theirs, strict=True))


def test_devices_that_cannot_be_shared_equally() -> None:
    with pytest.raises(UserError, match="4 devices cannot be shared equally by 3 processes"):
        Executor(processes=3).run_per_device(every_collective(), shards(), 4)


def test_what_one_process_refuses_ends_all() -> None:
    program = parse("""
      func.func @main(%a: tensor<4x3xf32>) -> tensor<4x3xf32> {
        %b = stablehlo.custom_call @nobody_has_this(%a) : (tensor<4x3xf32>) -> tensor<4x3xf32>
        return %b : tensor<4x3xf32>
      }""")
    with pytest.raises(UserError, match="nobody_has_this"):
        Executor(processes=2).run_per_device(program, shards(), 4)


def test_a_time_limit_ends_all() -> None:
    program = parse("""
      func.func @main(%a: tensor<4x3xf32>) -> tensor<f32> {
        %start = stablehlo.constant dense<0.0> : tensor<f32>
        %r = stablehlo.while(%y = %start) : tensor<f32>
        cond {
          %c = stablehlo.compare EQ, %y, %y : (tensor<f32>, tensor<f32>) -> tensor<i1>
          stablehlo.return %c : tensor<i1>
        } do {
          %s = stablehlo.cosine %y : tensor<f32>
          stablehlo.return %s : tensor<f32>
        }
        return %r : tensor<f32>
      }""")
    with pytest.raises(NativeFailure, match="2 processes did not finish within 2 s"):
        Executor(processes=2, timeout=2).run_per_device(program, shards(), 4)


def test_without_a_plugin_the_platform_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    program = parse("func.func @main() -> tensor<i32> {%c = stablehlo.constant dense<7> : tensor<i32>\n"
                    "return %c : tensor<i32>}")
    monkeypatch.delenv("PJRT_NAMES_AND_LIBRARY_PATHS", raising=False)
    with pytest.raises(UserError, match="no PJRT plugin 'tpu'"):
        Executor("plugin:tpu").run_global(program, [])
    with pytest.raises(UserError, match="cannot use the PJRT plugin"):
        Executor(f"plugin:{__file__}").run_global(program, [])
