"""A traced per-device program says which op of the global program each op stands for, and how its results lie."""

from __future__ import annotations

import json
from pathlib import Path

from passes import _mlir
from passes.partition.partition import partition
from passes.partition.trace import MARKS, NUMBER, RESULT, SHARDING, Held, held, number_of
from passes.program import read, write
from passes.program.entry import find_entry
from passes.program.walk import operations
from passes.sharding.annotate import annotate
from passes.sharding.mesh import Sharding
from passes.sharding.rules_file import load

EXAMPLES = Path(__file__).parents[2] / "examples"


def _traced(model: str, rules: str) -> tuple[read.Program, read.Program]:
    program = read.read(str(EXAMPLES / model))
    annotate(program, load(str(EXAMPLES / rules)))
    report = partition(program, trace=True)
    assert report.numbered is not None
    return read.parse(report.numbered), program


def test_every_numbered_value_has_the_type_its_sharding_says() -> None:
    original, local = _traced("decoder/train_step.mlir", "decoder/fsdp.toml")
    numbered = {number_of(op): op for op in operations(original.module) if number_of(op) is not None}
    found = 0
    for op in operations(local.module):
        if (number := number_of(op)) is None or SHARDING not in op.attributes:
            continue
        shardings = json.loads(_mlir.ir.StringAttr(op.attributes[SHARDING]).value)
        first = _mlir.ir.IntegerAttr(op.attributes[RESULT]).value if RESULT in op.attributes else 0
        for i, dims in enumerate(shardings):
            whole = _mlir.ir.RankedTensorType(numbered[number].results[first + i].type)
            part = _mlir.ir.RankedTensorType(op.results[i].type)
            assert [n // 8 ** len(axes) for n, axes in zip(whole.shape, dims, strict=True)] == list(part.shape)
            found += 1
    assert found > 300


def test_a_number_moves_to_the_collective_that_completes_the_value() -> None:
    _, local = _traced("decoder/forward.mlir", "decoder/megatron.toml")
    reduced = [op for op in operations(local.module) if op.name == "stablehlo.all_reduce"]
    assert len(reduced) == 2
    for op in reduced:
        assert number_of(op) is not None
        assert number_of(op.operands[0].owner.operation) is None


MOVES = """
sdy.mesh @mesh = <["x"=4, "y"=2]>
func.func @main(
  %a: tensor<8x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{}, {"x"}]>},
  %b: tensor<8x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {}]>}
) -> (tensor<8x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"y"}, {}]>},
      tensor<8x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{}, {}]>}) {
  %0 = stablehlo.dot_general %a, %b, contracting_dims = [1] x [0]
    : (tensor<8x8xf32>, tensor<8x8xf32>) -> tensor<8x8xf32>
  return %0, %b : tensor<8x8xf32>, tensor<8x8xf32>
}
"""


def test_moved_arguments_and_summands_are_marked() -> None:
    program = read.parse(MOVES)
    report = partition(program, trace=True)
    mesh = report.side_table.mesh
    block = find_entry(program).regions[0].blocks[0]
    ops = [view.operation for view in block.operations]
    marks = [(str(op.name), mark) for op in ops for mark in held(op, mesh) if mark is not None]
    summands, whole, moved = (
        next(mark for name, mark in marks if name == f"stablehlo.{wanted}")
        for wanted in ("dot_general", "all_reduce", "all_gather")
    )
    assert (summands.number, summands.reduced, summands.kind) == (whole.number, (mesh.axis("x"),), "stablehlo.add")
    assert (whole.result, whole.reduced) == (0, ())
    assert (moved.number, moved.result, moved.sharding.is_replicated) == (None, 1, True)
    # Each device computes a part of the rows only, from a part of its part of the argument.
    part = Held(None, 0, Sharding(mesh, ((mesh.axis("y"),), (mesh.axis("x"),))))
    assert ("stablehlo.dynamic_slice", part) in marks


def test_without_tracing_nothing_is_left() -> None:
    program = read.read(str(EXAMPLES / "decoder/forward.mlir"))
    annotate(program, load(str(EXAMPLES / "decoder/megatron.toml")))
    assert partition(program).numbered is None
    text = write.to_text(program.module)
    assert not [mark for mark in MARKS if mark in text]
    assert NUMBER not in text
