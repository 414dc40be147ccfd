"""Lowers slice, pad, concatenate and reverse of a split dimension: each device fetches what its part is made of.

The dimension is split alike before and after, though its size may change; both sizes have to divide.

  %1 = stablehlo.slice %0 [2:10] : (tensor<12xf32>) -> tensor<8xf32>      // 12 and 8 elements on 2 devices
  %own = stablehlo.dynamic_slice %0, %offset, sizes = [4] : (tensor<6xf32>, tensor<i64>) -> tensor<4xf32>
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from passes import _mlir
from passes.partition.collectives import count_shards
from passes.partition.geometry import padded, sliced
from passes.partition.halo import Need, Side
from passes.partition.rolls import Roll, only_rolled, rolled
from passes.partition.trace import number_of
from passes.program.attributes import integers
from passes.program.types import shape_of

if TYPE_CHECKING:
    from passes.partition.localize import Localizer


def split_dims(localizer: Localizer, op: Any) -> list[int]:
    """The dimensions of the first result of ``op`` that are split."""
    return [dim for dim, axes in enumerate(localizer.shardings.dims(op.results[0])) if axes]


def side(localizer: Localizer, op: Any, dim: int, value: Any = None) -> Side:
    """For exchanges before ``op``, along ``dim`` of ``value`` (by default its result)."""
    axes = localizer.shardings.dims(op.results[0] if value is None else value)[dim]
    return Side(localizer.emit, dim, axes, _mlir.ir.InsertionPoint(op), op.location, number_of(op))


def uneven(localizer: Localizer, op: Any) -> str:
    """Why a split dimension of ``op`` cannot be lowered: its size on one side does not divide."""
    for value in (*op.operands, *op.results):
        sharding = localizer.shardings[value]
        if sharding is None:
            continue
        for dim, size in enumerate(shape_of(value)):
            if size % sharding.factor(dim):
                return f"dimension {dim} of size {size} is split over {sharding.factor(dim)} devices"
    return ""


# -- slice -------------------------------------------------------------------------------------------------------------


def slice_lower(localizer: Localizer, op: Any) -> None:
    """slice: each device fetches the span its part is taken from, then slices that."""
    lies = localizer.shardings.dims(op.operands[0])
    whole = [size * count_shards(axes) for size, axes in zip(shape_of(op.operands[0]), lies, strict=True)]
    if (roll := rolled(op, whole)) is not None:
        _roll(localizer, op, roll)
        return
    starts, limits, strides = (integers(op, key) for key in _SLICE)
    source, local = op.operands[0], _local_shape(localizer, op)
    for dim in split_dims(localizer, op):
        at = side(localizer, op, dim)
        if (starts[dim], limits[dim], strides[dim]) != (0, shape_of(op.operands[0])[dim] * at.count, 1):
            take(localizer, op, 0, at.window(op.operands[0], sliced(starts[dim], strides[dim], local[dim])))
        starts[dim], limits[dim] = 0, shape_of(op.operands[0])[dim]
    _set(op, _SLICE, (starts, limits, strides))
    _finish(localizer, op, source, whole=local == shape_of(op.operands[0]))


_SLICE = ("start_indices", "limit_indices", "strides")


def _roll(localizer: Localizer, op: Any, roll: Roll) -> None:
    """The whole of a dimension from somewhere on and over its end: of a split one the neighbours send what it takes."""
    at = side(localizer, op, roll.dim)
    part = shape_of(roll.value)[roll.dim]
    if at.axes:
        value = at.window(roll.value, Need(part, roll.start, part), cyclic=True)
    else:
        value = at.join([at.slice(roll.value, roll.start, part - roll.start), at.slice(roll.value, 0, roll.start)])
    if value == roll.value:
        localizer.in_place(op)
    else:
        localizer.replace(op, value, localizer.shardings.attr(op.results[0]))

# -- pad ---------------------------------------------------------------------------------------------------------------


def pad_guard(localizer: Localizer, op: Any) -> str:
    """pad: with elements between, every shard begins at the same place between two of them."""
    low, high, interior = (integers(op, key) for key in _PAD)
    for dim in split_dims(localizer, op):
        part = shape_of(op.results[0])[dim] // side(localizer, op, dim).count
        if (low[dim], high[dim], interior[dim]) != (0, 0, 0) and padded(low[dim], interior[dim], part) is None:
            return f"dimension {dim} is split and padded inside, and shards do not begin alike"
    return uneven(localizer, op)


def pad_lower(localizer: Localizer, op: Any) -> None:
    """pad: each device fetches the elements in its part, with padding around them; interior padding is local."""
    low, high, interior = (integers(op, key) for key in _PAD)
    source, local = op.operands[0], _local_shape(localizer, op)
    for dim in split_dims(localizer, op):
        if not (low[dim] or high[dim] or interior[dim]):
            continue
        window = padded(low[dim], interior[dim], local[dim])
        assert window is not None
        take(localizer, op, 0, side(localizer, op, dim).window(op.operands[0], window.need, op.operands[1]))
        low[dim], high[dim] = window.low, window.high
    _set(op, _PAD, (low, high, interior))
    _finish(localizer, op, source, whole=not any((*low, *high, *interior)))


_PAD = ("edge_padding_low", "edge_padding_high", "interior_padding")

# -- concatenate, reverse ----------------------------------------------------------------------------------------------


def concatenate_lower(localizer: Localizer, op: Any) -> None:
    """concatenate: each device fetches from every operand what lies in its part, and selects."""
    dim = _mlir.ir.IntegerAttr(op.attributes["dimension"]).value
    if dim not in split_dims(localizer, op) or only_rolled(op):
        localizer.in_place(op)
        return
    at = side(localizer, op, dim)
    part = shape_of(op.results[0])[dim] // at.count
    offset, result = 0, None
    for value in op.operands:
        size = shape_of(value)[dim] * at.count
        if not size:
            continue
        piece = at.window(value, Need(part, -offset, part))
        result = piece if result is None else at.select_from(Need(part, 0, part), offset, piece, result)
        offset += size
    if result == op.operands[0]:
        localizer.in_place(op)
    else:
        localizer.replace(op, result, localizer.shardings.attr(op.results[0]))


def reverse_lower(localizer: Localizer, op: Any) -> None:
    """reverse: shards change places with those at the other end, and each is reversed."""
    reversed_dims = integers(op, "dimensions")
    for dim in split_dims(localizer, op):
        if dim in reversed_dims:
            take(localizer, op, 0, side(localizer, op, dim).mirror(op.operands[0]))
    localizer.in_place(op)


# -- helpers -----------------------------------------------------------------------------------------------------------


def take(localizer: Localizer, op: Any, number: int, value: Any) -> None:
    """Lets ``op`` read ``value``, which lies as its operand ``number`` does, instead of that."""
    localizer.shardings.record(value, localizer.shardings.attr(op.operands[number]))
    op.operands[number] = value


def _set(op: Any, keys: tuple[str, ...], values: tuple[list[int], ...]) -> None:
    for key, array in zip(keys, values, strict=True):
        op.attributes[key] = _mlir.ir.DenseI64ArrayAttr.get(array, _mlir.context())


def _local_shape(localizer: Localizer, op: Any) -> list[int]:
    result = op.results[0]
    return list(localizer.shardings.local_type(result.type, localizer.shardings.attr(result)).shape)


def _finish(localizer: Localizer, op: Any, source: Any, whole: bool) -> None:
    """Gives ``op`` its local type; if it takes its operand ``whole``, made from ``source``, that takes its place."""
    if whole and op.operands[0] != source:
        localizer.replace(op, op.operands[0], localizer.shardings.attr(op.results[0]))
    else:
        localizer.in_place(op)
