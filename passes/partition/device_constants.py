"""Takes constants out of a per-device program of which each device reads another part; parts become arguments.

  %c = stablehlo.constant dense<[1, 2, 3, 4]> : tensor<4xi32>
  %0 = stablehlo.dynamic_slice %c, %start, sizes = [2] : (tensor<4xi32>, tensor<i64>) -> tensor<2xi32>

where ``%start`` depends on the device alone becomes one more argument ``tensor<2xi32>`` of the entry function. The side
table has the constant, and where each device's part of it starts, so that no device holds the whole.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from passes import _mlir
from passes.partition.device_indices import DeviceIndices
from passes.partition.side_table import DeviceConstant, SideTable
from passes.pipeline import runner
from passes.program import entry
from passes.program.attributes import integers
from passes.program.raw import bits
from passes.program.read import Program
from passes.program.types import shape_of
from passes.program.walk import named

if TYPE_CHECKING:
    import numpy as np

_CONSTANT, _SLICE = "stablehlo.constant", "stablehlo.dynamic_slice"


def take_out_constants(program: Program, table: SideTable) -> SideTable:
    """Takes the constants out of the entry function of ``program``, which ``table`` describes, in place.

    Constants in other functions stay, and parts of one element; so do constants whose elements the bindings do not
    show: complex numbers, truth values, and what has fewer than eight bits or is a short float numpy does not know.

    Returns:
      The table with `SideTable.constants`.
    """
    function, indices = entry.find_entry(program), DeviceIndices()
    found: dict[DeviceConstant, Any] = {}
    for constant in named(function, frozenset({_CONSTANT})):
        for op, part in _parts(constant, indices, table.mesh.device_count):
            if part not in found:
                found[part] = _add_argument(function, op)
            op.results[0].replace_all_uses_with(found[part])
    if not found:
        return table
    runner.run(program, "builtin.module(dead-ops)")
    return SideTable(table.mesh, table.arguments, table.results, tuple(found))


def _parts(constant: Any, indices: DeviceIndices, devices: int) -> list[tuple[Any, DeviceConstant]]:
    """The ops that read a device's part of ``constant``, with what they read; empty if anything reads more."""
    users = [use.owner.operation for use in constant.results[0].uses]
    if not users or any(op.name != _SLICE or op.operands[0] != constant.results[0] for op in users):
        return []
    if all(math.prod(shape_of(op.results[0])) == 1 for op in users):
        # An element for each device, such as its place in the mesh: an argument would be no smaller.
        return []
    starts = [_starts(op, indices, devices) for op in users]
    type = _mlir.ir.RankedTensorType(constant.results[0].type)
    try:
        data = bits(_mlir.ir.DenseElementsAttr(constant.attributes["value"]), type)
    except TypeError:
        # The bindings do not hand out attributes of complex numbers.
        return []
    if data is None or any(each is None for each in starts):
        return []
    raw, shape = data.tobytes(), tuple(type.shape)
    return [
        (op, DeviceConstant(str(type.element_type), shape, tuple(shape_of(op.results[0])), each, raw))
        for op, each in zip(users, starts, strict=True)
        if each is not None
    ]


def _starts(op: Any, indices: DeviceIndices, devices: int) -> tuple[tuple[int, ...], ...] | None:
    """Where the dynamic_slice ``op`` starts on each device, as it clamps it; ``None`` if that depends on more."""
    columns: list[np.ndarray] = []
    sizes = integers(op, "slice_sizes")
    for value, whole, size in zip(list(op.operands)[1:], shape_of(op.operands[0]), sizes, strict=True):
        column = indices.of(value, devices)
        if column is None:
            return None
        columns.append(column.clip(0, whole - size))
    return tuple(tuple(int(column[device]) for column in columns) for device in range(devices))


def _add_argument(function: Any, op: Any) -> Any:
    """A new last argument of ``function`` of the type that ``op`` makes."""
    ir, context = _mlir.ir, _mlir.context()
    block = function.regions[0].blocks[0]
    argument = block.add_argument(op.results[0].type, op.location)
    results = ir.FunctionType(ir.TypeAttr(function.attributes["function_type"]).value).results
    type = ir.FunctionType.get([a.type for a in block.arguments], results, context=context)
    function.attributes["function_type"] = ir.TypeAttr.get(type, context=context)
    if "arg_attrs" in function.attributes:
        given = [*ir.ArrayAttr(function.attributes["arg_attrs"]), ir.DictAttr.get({}, context=context)]
        function.attributes["arg_attrs"] = ir.ArrayAttr.get(given, context=context)
    return argument
