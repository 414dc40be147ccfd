"""Slices beside collectives: what they come to, that every bit of every device stays, and what stays as it is."""

from __future__ import annotations

import numpy as np
import pytest

from passes.partition.cancel_moves import CancelMoves
from passes.partition.collectives import Emitter
from passes.pipeline.base import Counters
from passes.program import read
from passes.program.walk import operations
from passes.sharding.mesh import Mesh
from tests.partition.collective_programs import COLUMNS, all_gather, all_reduce, changed_and_executed, reduce_scatter

T, WIDE, NARROW = "tensor<4x8xf32>", "tensor<16x8xf32>", "tensor<4x2xf32>"

# Where a device's part starts: its place in its group of ROWS or COLUMNS times a size.
_PLACE = """
%id = stablehlo.partition_id : tensor<ui32>
%device = stablehlo.convert %id : (tensor<ui32>) -> tensor<i64>
%zero = stablehlo.constant dense<0> : tensor<i64>
%one = stablehlo.constant dense<1> : tensor<i64>
%two = stablehlo.constant dense<2> : tensor<i64>
%four = stablehlo.constant dense<4> : tensor<i64>
%row = stablehlo.remainder %device, %four : tensor<i64>
%column = stablehlo.divide %device, %four : tensor<i64>
%row_2 = stablehlo.multiply %row, %two : tensor<i64>
%row_4 = stablehlo.multiply %row, %four : tensor<i64>
%column_2 = stablehlo.multiply %column, %two : tensor<i64>
%table = stablehlo.constant dense<[0, 4, 8, 12, 0, 4, 8, 12]> : tensor<8xi64>
%entry = stablehlo.dynamic_slice %table, %device, sizes = [1] : (tensor<8xi64>, tensor<i64>) -> tensor<1xi64>
%looked_up = stablehlo.reshape %entry : (tensor<1xi64>) -> tensor<i64>
"""


def program(*body: str, returned: str = "%r", types: str = T) -> str:
    lines = "\n".join(body)
    return f"func.func @main(%x: {T}, %w: {WIDE}) -> ({types}) {{{_PLACE}{lines}\nreturn {returned} : {types}\n}}"


def part(value: str, type: str, result: str, *starts: str) -> str:
    sizes = result.removeprefix("tensor<").split("x")[:2]
    places = ", ".join(f"%{start}" for start in starts)
    types = ", ".join([type, "tensor<i64>", "tensor<i64>"])
    return f"stablehlo.dynamic_slice {value}, {places}, sizes = [{', '.join(sizes)}] : ({types}) -> {result}"


GATHERED, REDUCED = f"%g = {all_gather('%x', T, WIDE)}", f"%a = {all_reduce('%w', WIDE)}"

# Program -> the collectives it has after.
LESS = {
    "its own part": (program(GATHERED, f"%r = {part('%g', WIDE, T, 'row_4', 'zero')}"), []),
    "its own part, looked up": (program(GATHERED, f"%r = {part('%g', WIDE, T, 'looked_up', 'zero')}"), []),
    "its own part, and the whole": (
        program(GATHERED, f"%r = {part('%g', WIDE, T, 'row_4', 'zero')}", returned="%r, %g", types=f"{T}, {WIDE}"),
        ["all_gather"],
    ),
    "a part along another dimension": (
        program(GATHERED, f"%r = {part('%g', WIDE, 'tensor<16x2xf32>', 'zero', 'row_2')}", types="tensor<16x2xf32>"),
        ["all_to_all"],
    ),
    "a part of a sum": (program(REDUCED, f"%r = {part('%a', WIDE, T, 'row_4', 'zero')}"), ["reduce_scatter"]),
    "a part of a maximum": (
        program(f"%a = {all_reduce('%x', T, body='maximum')}", f"%r = {part('%a', T, NARROW, 'zero', 'row_2')}",
                types=NARROW),
        ["reduce_scatter"],
    ),
    "a gathered scatter": (
        program(f"%s = {reduce_scatter('%w', WIDE, T)}", f"%r = {all_gather('%s', T, WIDE)}", types=WIDE),
        ["all_reduce"],
    ),
    "a gathered part of a sum": (
        program(REDUCED, f"%p = {part('%a', WIDE, T, 'row_4', 'zero')}", f"%r = {all_gather('%p', T, WIDE)}",
                returned="%r, %a", types=f"{WIDE}, {WIDE}"),
        ["all_reduce"],
    ),
    "a gathered part of a sum that nothing else reads": (
        program(REDUCED, f"%p = {part('%a', WIDE, T, 'row_4', 'zero')}", f"%r = {all_gather('%p', T, WIDE)}",
                types=WIDE),
        ["all_reduce"],
    ),
}


@pytest.mark.parametrize("executor", ["xla", "interpreter"])
@pytest.mark.parametrize("case", LESS)
def test_what_comes_to_less(case: str, executor: str) -> None:
    text, expected = LESS[case]
    _, after = changed_and_executed(text, "cancel-moves", executor)
    assert after == expected


STAY = {
    "another device's part": program(
        "%next = stablehlo.add %row, %one : tensor<i64>", "%turn = stablehlo.remainder %next, %four : tensor<i64>",
        "%start = stablehlo.multiply %turn, %four : tensor<i64>", GATHERED,
        f"%r = {part('%g', WIDE, T, 'start', 'zero')}",
    ),
    "the place in other groups": program(
        f"%a = {all_reduce('%x', T, COLUMNS)}", f"%r = {part('%a', T, NARROW, 'zero', 'row_2')}", types=NARROW
    ),
    "a part that is not one of as many": program(
        GATHERED, f"%r = {part('%g', WIDE, 'tensor<8x8xf32>', 'row_4', 'zero')}", types="tensor<8x8xf32>"
    ),
    "parts along two dimensions": program(
        GATHERED, f"%r = {part('%g', WIDE, NARROW, 'row_4', 'row_2')}", types=NARROW
    ),
    "a gather that something else reads": program(
        GATHERED, f"%r = {part('%g', WIDE, 'tensor<16x2xf32>', 'zero', 'row_2')}", returned="%r, %g",
        types=f"tensor<16x2xf32>, {WIDE}",
    ),
    "a sum that something else reads": program(
        REDUCED, f"%r = {part('%a', WIDE, T, 'row_4', 'zero')}", returned="%r, %a", types=f"{T}, {WIDE}"
    ),
    "a place that comes from the data": program(
        f"%i = stablehlo.convert %x : ({T}) -> tensor<4x8xi64>",
        "%s = stablehlo.slice %i [0:1, 0:1] : (tensor<4x8xi64>) -> tensor<1x1xi64>",
        "%start = stablehlo.reshape %s : (tensor<1x1xi64>) -> tensor<i64>", GATHERED,
        f"%r = {part('%g', WIDE, T, 'start', 'zero')}",
    ),
    "a gathered part of a value of the device's own": program(
        f"%p = {part('%w', WIDE, T, 'row_4', 'zero')}", f"%r = {all_gather('%p', T, WIDE)}", types=WIDE
    ),
    "a gathered part of a sum over others": program(
        f"%a = {all_reduce('%w', WIDE, COLUMNS)}", f"%p = {part('%a', WIDE, T, 'row_4', 'zero')}",
        f"%r = {all_gather('%p', T, WIDE)}", types=WIDE,
    ),
    "a scatter gathered along another dimension": program(
        f"%s = {reduce_scatter('%w', WIDE, T)}", f"%r = {all_gather('%s', T, 'tensor<4x32xf32>', dim=1)}",
        types="tensor<4x32xf32>",
    ),
    "a scatter gathered over others": program(
        f"%s = {reduce_scatter('%w', WIDE, T)}", f"%r = {all_gather('%s', T, 'tensor<8x8xf32>', COLUMNS)}",
        types="tensor<8x8xf32>",
    ),
}


@pytest.mark.parametrize("case", STAY)
def test_what_stays(case: str) -> None:
    before, after = changed_and_executed(STAY[case], "cancel-moves")
    assert before == after


@pytest.mark.parametrize("mesh", [Mesh((("x", 2), ("y", 4))), Mesh((("x", 2), ("y", 4)), (3, 1, 7, 5, 0, 2, 6, 4))])
@pytest.mark.parametrize("names", ["x", "y", "xy", "yx"])
def test_every_part_that_the_lowering_writes_is_seen(mesh: Mesh, names: str) -> None:
    """Whatever axes a dimension is split over, and however devices are numbered."""
    axes = tuple(map(mesh.axis, names))
    count = int(np.prod([axis.size for axis in axes]))
    program = read.parse("func.func @main(%x: tensor<16x3xf32>) -> tensor<16x3xf32> { return %x : tensor<16x3xf32> }")
    function = next(op for op in operations(program.module) if op.name == "func.func")
    end = list(function.regions[0].blocks[0].operations)[-1].operation
    emit, point = Emitter(mesh), read._mlir.ir.InsertionPoint(end)
    value = emit.gather(end.operands[0], [axes, ()], point, end.location)
    end.operands[0] = emit.slice(value, [axes, ()], point, end.location)
    assert read._mlir.ir.RankedTensorType(value.type).shape[0] == 16 * count
    counters = Counters(CancelMoves.statistics)
    CancelMoves().run(program.module.operation, counters)
    assert program.module.operation.verify()
    assert counters["cancelled"] == 1
    assert [op.name for op in operations(program.module)][2:] == ["func.return"]


