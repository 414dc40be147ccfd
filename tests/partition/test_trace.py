"""A traced per-device program says which op of the global program each op stands for, and how its results lie."""

from __future__ import annotations

import json
from pathlib import Path

from passes import _mlir
from passes.partition.partition import partition
from passes.partition.trace import MARKS, NUMBER, RESULT, SHARDING, number_of
from passes.program import read, write
from passes.program.walk import operations
from passes.sharding.annotate import annotate
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


def test_without_tracing_nothing_is_left() -> None:
    program = read.read(str(EXAMPLES / "decoder/forward.mlir"))
    annotate(program, load(str(EXAMPLES / "decoder/megatron.toml")))
    assert partition(program).numbered is None
    text = write.to_text(program.module)
    assert not [mark for mark in MARKS if mark in text]
    assert NUMBER not in text
