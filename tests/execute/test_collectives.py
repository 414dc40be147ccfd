"""Every collective on virtual devices against numpy, bit for bit."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from passes.errors import UserError
from passes.execute.executor import Executor
from passes.program.read import parse

# Devices in two groups that are neither contiguous nor in order.
GROUPS = {4: [[2, 0], [1, 3]], 8: [[6, 0, 4, 2], [1, 3, 7, 5]]}
MLIR = {"float32": "f32", "bfloat16": "bf16", "int32": "i32", "float16": "f16"}


@pytest.fixture(params=[4, 8])
def devices(request: pytest.FixtureRequest) -> int:
    return int(request.param)


def dense(groups: list[list[int]]) -> str:
    return f"dense<{groups}> : tensor<{len(groups)}x{len(groups[0])}xi64>"


CHANNEL = "channel_handle = #stablehlo.channel_handle<handle = 1, type = 1>"


@pytest.fixture(params=["xla", "interpreter"])
def executor(request: pytest.FixtureRequest) -> Executor:
    return Executor(request.param)


def run(executor: Executor, op: str, result: str, shards: list[np.ndarray]) -> list[np.ndarray]:
    """``op`` of ``%a`` with result type ``result``, run on a device per shard."""
    shape = "".join(f"{s}x" for s in shards[0].shape) + MLIR[shards[0].dtype.name]
    program = parse(f"func.func @main(%a: tensor<{shape}>) -> {result} {{ {op} return %r : {result} }}")
    (found,) = executor.run_per_device(program, [shards], len(shards))
    return found


def group_of(device: int, devices: int) -> list[int]:
    return next(g for g in GROUPS[devices] if device in g)


def data(devices: int, shape: tuple[int, ...], dtype: object = np.float32) -> list[np.ndarray]:
    random = np.random.default_rng(devices)
    return [random.integers(-9, 9, shape).astype(dtype) for _ in range(devices)]


REDUCERS = {"add": sum, "maximum": np.maximum.reduce, "minimum": np.minimum.reduce, "multiply": np.multiply.reduce}


@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16, np.float16, np.int32])
@pytest.mark.parametrize("reducer", REDUCERS)
def test_all_reduce(executor: Executor, devices: int, reducer: str, dtype: object) -> None:
    shards = data(devices, (2, 3), dtype)
    t = MLIR[shards[0].dtype.name]
    found = run(
        executor,
        f"""%r = "stablehlo.all_reduce"(%a) <{{{CHANNEL}, use_global_device_ids,
            replica_groups = {dense(GROUPS[devices])}}}> ({{
            ^bb0(%x: tensor<{t}>, %y: tensor<{t}>):
              %z = stablehlo.{reducer} %x, %y : tensor<{t}>
              stablehlo.return %z : tensor<{t}> }}) : (tensor<2x3x{t}>) -> tensor<2x3x{t}>""",
        f"tensor<2x3x{t}>",
        shards,
    )
    for device in range(devices):
        members = [shards[d].astype(np.float64) for d in group_of(device, devices)]
        np.testing.assert_array_equal(found[device], REDUCERS[reducer](members).astype(dtype))


def test_reduce_scatter(executor: Executor, devices: int) -> None:
    size = devices // 2
    shards = data(devices, (3, 2 * size))
    found = run(
        executor,
        f"""%r = "stablehlo.reduce_scatter"(%a) <{{scatter_dimension = 1 : i64, {CHANNEL}, use_global_device_ids,
            replica_groups = {dense(GROUPS[devices])}}}> ({{
            ^bb0(%x: tensor<f32>, %y: tensor<f32>):
              %z = stablehlo.add %x, %y : tensor<f32>
              stablehlo.return %z : tensor<f32> }}) : (tensor<3x{2 * size}xf32>) -> tensor<3x2xf32>""",
        "tensor<3x2xf32>",
        shards,
    )
    for device in range(devices):
        group = group_of(device, devices)
        place = group.index(device)
        np.testing.assert_array_equal(found[device], sum(shards[d] for d in group)[:, 2 * place : 2 * place + 2])


def test_all_gather(executor: Executor, devices: int) -> None:
    shards = data(devices, (3, 2))
    found = run(
        executor,
        f"""%r = "stablehlo.all_gather"(%a) <{{all_gather_dim = 1 : i64, {CHANNEL}, use_global_device_ids,
            replica_groups = {dense(GROUPS[devices])}}}> : (tensor<3x2xf32>) -> tensor<3x{devices}xf32>""",
        f"tensor<3x{devices}xf32>",
        shards,
    )
    for device in range(devices):
        members = [shards[d] for d in group_of(device, devices)]
        np.testing.assert_array_equal(found[device], np.concatenate(members, axis=1))


@pytest.mark.parametrize("channel", ["", f", {CHANNEL}"])
def test_all_to_all(executor: Executor, devices: int, channel: str) -> None:
    size = devices // 2
    shards = data(devices, (size, 2))
    found = run(
        executor,
        f"""%r = "stablehlo.all_to_all"(%a) <{{split_dimension = 0 : i64, concat_dimension = 1 : i64,
            split_count = {size} : i64, replica_groups = {dense(GROUPS[devices])}{channel}}}>
            : (tensor<{size}x2xf32>) -> tensor<1x{2 * size}xf32>""",
        f"tensor<1x{2 * size}xf32>",
        shards,
    )
    for device in range(devices):
        group = group_of(device, devices)
        place = group.index(device)
        np.testing.assert_array_equal(
            found[device], np.concatenate([shards[d][place : place + 1] for d in group], axis=1)
        )


@pytest.mark.parametrize("channel", ["", f", {CHANNEL}"])
def test_collective_permute(executor: Executor, devices: int, channel: str) -> None:
    shards = data(devices, (3,))
    # Device 0 receives from nobody and so holds zeros.
    pairs = [[d, d + 1] for d in range(devices - 1)]
    found = run(
        executor,
        f"""%r = "stablehlo.collective_permute"(%a) <{{source_target_pairs = {dense(pairs)}{channel}}}>
            : (tensor<3xf32>) -> tensor<3xf32>""",
        "tensor<3xf32>",
        shards,
    )
    np.testing.assert_array_equal(found, [np.zeros(3, np.float32), *shards[:-1]])


def test_what_xla_lacks_on_cpu_is_an_error_with_its_name() -> None:
    op = f"""%r = "stablehlo.collective_broadcast"(%a) <{{replica_groups = {dense(GROUPS[4])}, {CHANNEL}}}>
             : (tensor<3xf32>) -> tensor<3xf32>"""
    with pytest.raises(UserError, match=r"collective-broadcast.*not supported"):
        run(Executor(), op, "tensor<3xf32>", data(4, (3,)))


def test_partition_id(executor: Executor, devices: int) -> None:
    found = run(executor, "%r = stablehlo.partition_id : tensor<ui32>", "tensor<ui32>", data(devices, (1,)))
    np.testing.assert_array_equal(found, np.arange(devices, dtype=np.uint32))


def test_a_sum_over_devices_gives_the_same_bits_every_time(executor: Executor) -> None:
    random = np.random.default_rng(0)
    shards = [random.standard_normal(1000).astype(np.float32) for _ in range(8)]
    op = f"""%r = "stablehlo.all_reduce"(%a) <{{{CHANNEL}, use_global_device_ids,
            replica_groups = {dense([list(range(8))])}}}> ({{
            ^bb0(%x: tensor<f32>, %y: tensor<f32>):
              %z = stablehlo.add %x, %y : tensor<f32>
              stablehlo.return %z : tensor<f32> }}) : (tensor<1000xf32>) -> tensor<1000xf32>"""
    first = run(executor, op, "tensor<1000xf32>", shards)
    for _ in range(5):
        np.testing.assert_array_equal(run(executor, op, "tensor<1000xf32>", shards), first)


def test_collectives_inside_a_loop(executor: Executor, devices: int) -> None:
    """Each round every device receives its neighbour's value and adds it to its own."""
    shards = data(devices, (2,))
    pairs = [[d, (d + 1) % devices] for d in range(devices)]
    program = parse(f"""
      func.func @main(%a: tensor<2xf32>) -> tensor<2xf32> {{
        %zero = stablehlo.constant dense<0> : tensor<i32>
        %r:2 = stablehlo.while(%x = %a, %i = %zero) : tensor<2xf32>, tensor<i32>
        cond {{
          %n = stablehlo.constant dense<3> : tensor<i32>
          %c = stablehlo.compare LT, %i, %n : (tensor<i32>, tensor<i32>) -> tensor<i1>
          stablehlo.return %c : tensor<i1>
        }} do {{
          %one = stablehlo.constant dense<1> : tensor<i32>
          %j = stablehlo.add %i, %one : tensor<i32>
          %p = "stablehlo.collective_permute"(%x) <{{source_target_pairs = {dense(pairs)}, {CHANNEL}}}>
            : (tensor<2xf32>) -> tensor<2xf32>
          %y = stablehlo.add %x, %p : tensor<2xf32>
          stablehlo.return %y, %j : tensor<2xf32>, tensor<i32>
        }}
        return %r#0 : tensor<2xf32>
      }}""")
    (found,) = executor.run_per_device(program, [shards], devices)
    values = shards
    for _ in range(3):
        values = [values[d] + values[d - 1] for d in range(devices)]
    np.testing.assert_array_equal(found, values)


def test_groups_that_replicas_cannot_express_are_refused() -> None:
    op = f"""%r = "stablehlo.all_gather"(%a) <{{all_gather_dim = 0 : i64, {CHANNEL},
             replica_groups = dense<[[0]]> : tensor<1x1xi64>}}> : (tensor<2xf32>) -> tensor<8xf32>"""
    with pytest.raises(UserError, match="replica groups do not hold device ids"):
        run(Executor(), op, "tensor<8xf32>", data(4, (2,)))


def test_arrays_gathered_together_lie_as_if_each_were_gathered_by_itself() -> None:
    """Compiled as it stands, XLA's CPU backend (jaxlib 0.10.2) mixes up the parts of ``%a``."""
    text = """
func.func @main(%w: tensor<32x32xbf16>, %b: tensor<3x2x32x8xbf16>)
    -> (tensor<4x32x64xbf16>, tensor<3x2x8x4x32xbf16>) {
  %a = stablehlo.broadcast_in_dim %w, dims = [1, 2] : (tensor<32x32xbf16>) -> tensor<1x32x32xbf16>
  %0:2 = "stablehlo.all_gather"(%a, %b) <{all_gather_dim = 2 : i64,
      channel_handle = #stablehlo.channel_handle<handle = 1, type = 1>,
      replica_groups = dense<[[0, 1]]> : tensor<1x2xi64>, use_global_device_ids}>
    : (tensor<1x32x32xbf16>, tensor<3x2x32x8xbf16>) -> (tensor<1x32x64xbf16>, tensor<3x2x64x8xbf16>)
  %1 = stablehlo.broadcast_in_dim %0#0, dims = [0, 1, 2] : (tensor<1x32x64xbf16>) -> tensor<4x32x64xbf16>
  %2 = stablehlo.dot_general %0#1, %1, contracting_dims = [2] x [2]
    : (tensor<3x2x64x8xbf16>, tensor<4x32x64xbf16>) -> tensor<3x2x8x4x32xbf16>
  return %1, %2 : tensor<4x32x64xbf16>, tensor<3x2x8x4x32xbf16>
}"""
    shapes = ((32, 32), (3, 2, 32, 8))
    random = np.random.default_rng(0)
    inputs = [[random.normal(size=shape).astype(ml_dtypes.bfloat16) for _ in range(2)] for shape in shapes]
    gathered = np.concatenate(inputs[0], axis=1)
    for found in Executor().run_per_device(parse(text), inputs, 2)[0]:
        assert np.array_equal(found, np.broadcast_to(gathered, found.shape))
