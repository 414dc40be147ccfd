"""Per-device programs with collectives, for tests of the passes over them: text and execution on virtual devices."""

from __future__ import annotations

import numpy as np

from passes.execute.executor import Executor
from passes.pipeline import runner
from passes.program.read import parse
from passes.program.types import shape_of
from passes.program.walk import operations

# Devices 0-3 and 4-7, and those four apart.
ROWS = "dense<[[0, 1, 2, 3], [4, 5, 6, 7]]> : tensor<2x4xi64>"
COLUMNS = "dense<[[0, 4], [1, 5], [2, 6], [3, 7]]> : tensor<4x2xi64>"
DEVICES = 8


def grouped(groups: str = ROWS, channel: int = 1) -> str:
    handle = f"channel_handle = #stablehlo.channel_handle<handle = {channel}, type = 1>"
    return f"{handle}, replica_groups = {groups}, use_global_device_ids"


def _reducer(type: str, body: str) -> str:
    element = type.rpartition("x")[2].removeprefix("tensor<").removesuffix(">")
    return f"""({{
      ^bb0(%left: tensor<{element}>, %right: tensor<{element}>):
        %both = stablehlo.{body} %left, %right : tensor<{element}>
        stablehlo.return %both : tensor<{element}>
      }})"""


def all_reduce(value: str, type: str, groups: str = ROWS, body: str = "add") -> str:
    return f'"stablehlo.all_reduce"({value}) <{{{grouped(groups)}}}> {_reducer(type, body)} : ({type}) -> {type}'


def reduce_scatter(value: str, type: str, result: str, groups: str = ROWS) -> str:
    attributes = f"scatter_dimension = 0 : i64, {grouped(groups)}"
    return f'"stablehlo.reduce_scatter"({value}) <{{{attributes}}}> {_reducer(type, "add")} : ({type}) -> {result}'


def all_gather(value: str, type: str, result: str, groups: str = ROWS, dim: int = 0) -> str:
    attributes = f"all_gather_dim = {dim} : i64, {grouped(groups)}"
    return f'"stablehlo.all_gather"({value}) <{{{attributes}}}> : ({type}) -> {result}'


def changed_and_executed(text: str, pipeline: str, executor: str = "xla") -> tuple[list[str], list[str]]:
    """Runs ``pipeline`` on ``text``, both programs on small integers, and compares every bit on every device.

    Returns:
      The names of the collectives before and after.
    """
    before, after = parse(text), parse(text)
    runner.run(after, f"builtin.module({pipeline})")
    random = np.random.default_rng(0)
    block = next(op for op in operations(before.module) if op.name == "func.func").regions[0].blocks[0]
    kinds = {"f32": np.float32, "i32": np.int32, "f64": np.float64}
    inputs = [
        [
            random.integers(1, 9, shape_of(value)).astype(kinds[str(value.type.element_type)])
            for _ in range(DEVICES)
        ]
        for value in block.arguments
    ]
    expected, found = (Executor(executor).run_per_device(program, inputs, DEVICES) for program in (before, after))
    for one, other in zip(expected, found, strict=True):
        for left, right in zip(one, other, strict=True):
            assert left.tobytes() == right.tobytes(), (left, right)
    return _collectives(before.module), _collectives(after.module)


def _collectives(module: object) -> list[str]:
    names = ("all_reduce", "all_gather", "reduce_scatter", "all_to_all", "collective_permute")
    return [op.name[10:] for op in operations(module) if op.name.removeprefix("stablehlo.") in names]
