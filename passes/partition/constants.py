"""Constants and iota on a split dimension.

A splat shrinks. A constant whose shards are all equal (periodic along every split dimension) becomes its own first
block: no communication and 1/k of the bytes. Any other stays whole and each device cuts its part. A split iota is the
local iota plus this device's offset, counted in integers: short floats cannot count to a thousand.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from passes import _mlir
from passes.program.raw import bits
from passes.program.types import splat, tensor_type
from passes.sharding.mesh import Sharding

if TYPE_CHECKING:
    from passes.partition.localize import Localizer

def constant_lower(localizer: Localizer, op: Any) -> None:
    """Lowers a constant with a split result."""
    ir = _mlir.ir
    result = op.results[0]
    sharding = localizer.shardings[result]
    if sharding is None:
        return
    local = localizer.shardings.local_type(result.type, localizer.shardings.attr(result))
    try:
        value = ir.DenseElementsAttr(op.attributes["value"])
    except TypeError:
        # The bindings do not hand out attributes of complex numbers.
        _cut(localizer, op, sharding)
        return
    block = _first_block(value, result.type, local, sharding)
    if block is None:
        _cut(localizer, op, sharding)
    else:
        op.attributes["value"] = block
        result.set_type(local)


def _first_block(value: Any, type: Any, local: Any, sharding: Sharding) -> Any:
    """The constant's first block if all blocks are equal to it, else ``None``."""
    ir = _mlir.ir
    if value.is_splat:
        return ir.DenseElementsAttr.get_splat(local, value.get_splat_value())
    data = bits(value, type)
    if data is None:
        return None
    shape = tuple(ir.RankedTensorType(local).shape)
    first = data[tuple(slice(0, size) for size in shape)]
    for dim, size in enumerate(shape):
        blocks = np.split(data, data.shape[dim] // size, axis=dim) if sharding.dims[dim] else [data]
        if any(not np.array_equal(blocks[0], block) for block in blocks[1:]):
            return None
        data = blocks[0]
    text = np.ascontiguousarray(first).tobytes().hex().upper()
    return ir.Attribute.parse(f'dense<"0x{text}"> : {local}', _mlir.context())


def _cut(localizer: Localizer, op: Any, sharding: Sharding) -> None:
    """Keeps the whole value and lets each device cut its part."""
    ir = _mlir.ir
    attr = localizer.shardings.attr(op.results[0])
    whole = op.clone(ip=ir.InsertionPoint(op))
    part = localizer.emit.slice(whole.results[0], sharding.dims, ir.InsertionPoint(op), op.location)
    localizer.replace(op, part, attr)


def iota_lower(localizer: Localizer, op: Any) -> None:
    """Lowers an iota with a split result: along the iota dimension each device starts at its own offset."""
    ir = _mlir.ir
    result = op.results[0]
    sharding = localizer.shardings[result]
    dimension = ir.IntegerAttr(op.attributes["iota_dimension"]).value
    if sharding is None or not sharding.dims[dimension]:
        localizer.in_place(op)
        return
    attr = localizer.shardings.attr(result)
    local = ir.RankedTensorType(localizer.shardings.local_type(result.type, attr))
    element = local.element_type
    counted = local if isinstance(element, ir.IntegerType) else tensor_type(local.shape, "i64")
    point, location, emit = ir.InsertionPoint(op), op.location, localizer.emit
    numbers = emit.create(op.name, [], counted, {"iota_dimension": op.attributes["iota_dimension"]}, point, location)
    offset = emit.offset(sharding.dims[dimension], local.shape[dimension], point, location)
    if counted.element_type != offset.type.element_type:
        scalar = tensor_type([], counted.element_type)
        offset = emit.create("stablehlo.convert", [offset], scalar, {}, point, location)
    no_dimensions = {"broadcast_dimensions": ir.DenseI64ArrayAttr.get([], _mlir.context())}
    offset = emit.create("stablehlo.broadcast_in_dim", [offset], counted, no_dimensions, point, location)
    numbers = emit.create("stablehlo.add", [numbers, offset], counted, {}, point, location)
    if counted != local:
        numbers = emit.create("stablehlo.convert", [numbers], local, {}, point, location)
    localizer.replace(op, numbers, attr)


def neutral(type: Any, kind: str = "stablehlo.add") -> Any:
    """The splat of ``type`` that the reduction ``kind`` leaves every element unchanged by: -0.0 for sums of floats."""
    element = _mlir.ir.RankedTensorType(type).element_type
    one = kind == "stablehlo.multiply"
    if isinstance(element, _mlir.ir.IntegerType):
        value = str(int(one)) if element.width > 1 else str(one).lower()
    else:
        value = "-0.0" if not one else "(1.0, 0.0)" if isinstance(element, _mlir.ir.ComplexType) else "1.0"
    return splat(value, type)


def zero(type: Any) -> Any:
    """The splat of ``type`` whose bits are all zero, which is what a device receives that nobody sends to."""
    element = _mlir.ir.RankedTensorType(type).element_type
    if not isinstance(element, _mlir.ir.IntegerType):
        return splat("0.0", type)
    return splat("0" if element.width > 1 else "false", type)


def is_zero(value: Any) -> bool:
    """Whether ``value`` is a constant of the attribute `zero` makes."""
    owner = value.owner
    if isinstance(owner, _mlir.ir.Block) or owner.operation.name != "stablehlo.constant":
        return False
    try:
        return bool(owner.operation.attributes["value"] == zero(value.type))
    except TypeError:
        # The bindings do not hand out attributes of complex numbers.
        return False


def uniform(value: Any) -> Any:
    """The scalar that ``value`` was broadcast from, ``None`` if it was not."""
    owner = value.owner
    if isinstance(owner, _mlir.ir.Block) or owner.operation.name != "stablehlo.broadcast_in_dim":
        return None
    source = owner.operation.operands[0]
    return None if _mlir.ir.RankedTensorType(source.type).rank else source
