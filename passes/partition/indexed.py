"""Ops that read or write at an index, where the indexed dimension is split: each device serves what it holds.

An index is clamped as on one device, then counted from the start of the device's shard. Reads (gather, dynamic_slice)
yield what the device holds and, for the rest, what a sum leaves unchanged: exactly one device holds an element, so the
sum over devices that completes the result is that element to the bit. The neutral element of floats is -0.0, for
0.0 + -0.0 is 0.0 and would lose the sign of a zero; infinities stay and a NaN stays one.

  gather(table, i)   ->   all_reduce(select(0 <= i - start < size, gather(shard, i - start), -0.0))

Writes (scatter, dynamic_update_slice) change what the device holds and need nothing from others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from passes import _mlir
from passes.partition.building import Builder
from passes.partition.trace import MARKS
from passes.program.attributes import integers
from passes.program.types import shape_of
from passes.sharding.reducers import selection

if TYPE_CHECKING:
    from passes.partition.localize import Localizer
    from passes.partition.shardings import Axes

_I32_SIZES = 2**31


# -- gather and scatter ------------------------------------------------------------------------------------------------


def gather_problem(localizer: Localizer, op: Any) -> str:
    """Why a planned gather cannot be lowered: a split operand dimension that slices take in part, with no index."""
    shape, sizes, numbers = shape_of(op.operands[0]), integers(op, "slice_sizes"), _gather_numbers(op)
    for dim, axes in enumerate(localizer.shardings.dims(op.operands[0])):
        if axes and dim not in numbers.operand_batching_dims and sizes[dim] != shape[dim]:
            if dim not in numbers.collapsed_slice_dims or dim not in numbers.start_index_map:
                return f"operand dimension {dim} is split and windows of it are taken"
            if selection(op.operands[0].type.element_type) is None:
                return f"operand dimension {dim} is split and indexed, and its element type has no exact sum"
    return ""


def gather_lower(localizer: Localizer, op: Any) -> None:
    """gather: slices take the local size of a split operand dimension; indexed ones yield what the device holds."""
    numbers, sizes, local = _gather_numbers(op), integers(op, "slice_sizes"), shape_of(op.operands[0])
    dims = localizer.shardings.dims(op.operands[0])
    picked = {}
    for dim, axes in enumerate(dims):
        if axes and dim in numbers.collapsed_slice_dims:
            picked[dim] = axes
        elif axes and dim not in numbers.operand_batching_dims:
            sizes[dim] = local[dim]
    op.attributes["slice_sizes"] = _i64s(sizes)
    if not picked:
        localizer.in_place(op)
        return
    build = Builder(localizer.emit, op)
    limits = [local[d] * _count(dims[d]) - sizes[d] if d in picked else local[d] - sizes[d]
              for d in numbers.start_index_map]
    parts = _components(build, op.operands[1], numbers.index_vector_dim, max(limits))
    held = None
    for position, dim in enumerate(numbers.start_index_map):
        if dim in picked or _is_unsigned(parts[position]):
            parts[position] = _signed(build, build.clamp(parts[position], limits[position]))
        if dim in picked:
            parts[position] = _from_shard(build, parts[position], picked[dim], local[dim])
            inside = build.within(parts[position], local[dim])
            held = inside if held is None else build.binary("and", held, inside)
    indices = build.concatenate(parts, min(numbers.index_vector_dim, len(shape_of(parts[0])) - 1))
    gathered = _local_copy(localizer, op)
    gathered.operands[1] = indices
    result = gathered.results[0]
    batch = [d for d in range(len(shape_of(result))) if d not in numbers.offset_dims]
    held = build.spread(build.reshape(held, [shape_of(result)[d] for d in batch]), shape_of(result), batch)
    _replace_by_partial(localizer, op, build.select(held, result, build.neutral(result.type)))


def scatter_problem(localizer: Localizer, op: Any) -> str:
    """Why a planned scatter cannot be lowered: a split operand dimension is inserted without an index."""
    numbers = _mlir.stablehlo.ScatterDimensionNumbers(op.attributes["scatter_dimension_numbers"])
    for dim in numbers.inserted_window_dims:
        if localizer.shardings.dims(op.operands[0])[dim] and dim not in numbers.scattered_dims_to_operand_dims:
            return f"operand dimension {dim} is split and has no index"
    return ""


def count_from_shard(localizer: Localizer, op: Any) -> None:
    """Makes the indices of a scatter count from the start of the shard; rows of other devices fall out of bounds.

    StableHLO drops updates out of bounds. The difference may wrap around, but only to where no shard ends.
    """
    numbers = _mlir.stablehlo.ScatterDimensionNumbers(op.attributes["scatter_dimension_numbers"])
    inputs = len(op.results)
    dims, local = localizer.shardings.dims(op.operands[0]), shape_of(op.operands[0])
    picked = {dim: dims[dim] for dim in numbers.inserted_window_dims if dims[dim]}
    if not picked:
        return
    build = Builder(localizer.emit, op)
    largest = max(local[dim] * _count(dims[dim]) for dim in numbers.scattered_dims_to_operand_dims)
    parts = _components(build, op.operands[inputs], numbers.index_vector_dim, largest)
    for position, dim in enumerate(numbers.scattered_dims_to_operand_dims):
        parts[position] = _signed(build, parts[position])
        if dim in picked:
            parts[position] = _from_shard(build, parts[position], picked[dim], local[dim])
    indices = build.concatenate(parts, min(numbers.index_vector_dim, len(shape_of(parts[0])) - 1))
    localizer.shardings.record(indices, localizer.shardings.attr(op.operands[inputs]))
    op.operands[inputs] = indices
    _unsorted(op)


def _components(build: Builder, indices: Any, vector_dim: int, largest: int) -> list[Any]:
    """The indices into each dimension, in an integer type that holds ``largest``."""
    indices = _wide(build, indices, largest)
    shape = shape_of(indices)
    if vector_dim == len(shape) or shape[vector_dim] == 1:
        return [indices]
    return [build.part(indices, vector_dim, k, k + 1) for k in range(shape[vector_dim])]


def _from_shard(build: Builder, index: Any, axes: Axes, size: int) -> Any:
    element = _mlir.ir.RankedTensorType(index.type).element_type
    return build.binary("subtract", index, build.offset(axes, size, element))


def _gather_numbers(op: Any) -> Any:
    return _mlir.stablehlo.GatherDimensionNumbers(op.attributes["dimension_numbers"])


# -- dynamic_slice and dynamic_update_slice ----------------------------------------------------------------------------


def slice_problem(localizer: Localizer, op: Any) -> str:
    """Why a planned dynamic_slice cannot be lowered: what devices hold of it cannot be summed exactly."""
    partly = _partly(localizer, op, op.results[0])
    if partly and selection(op.operands[0].type.element_type) is None:
        return f"dimension {min(partly)} is split and sliced, and its element type has no exact sum"
    return ""


def dynamic_slice_lower(localizer: Localizer, op: Any) -> None:
    """dynamic_slice: slice sizes are local; of a split dimension, what the device holds of the slice."""
    partly = _partly(localizer, op, op.results[0])
    if not partly:
        localizer.in_place(op)
        op.attributes["slice_sizes"] = _i64s(shape_of(op.results[0]))
        return
    build = Builder(localizer.emit, op)
    result = localizer.shardings.local_type(op.results[0].type, localizer.shardings.attr(op.results[0]))
    places = _places(build, op, partly, list(result.shape), op.operands[1:])
    value = build.dynamic_slice(op.operands[0], [p.start for p in places], [p.size for p in places])
    held = None
    for dim in sorted(partly):
        place = places[dim]
        if place.whole == 1:
            held = _both(build, held, build.compare("EQ", place.wanted, place.start))
        else:
            value = build.window(value, dim, build.binary("subtract", place.wanted, place.start), place.whole)
    if held is not None:
        value = build.select(held, value, build.neutral(value.type))
    _replace_by_partial(localizer, op, value)


def dynamic_update_slice_lower(localizer: Localizer, op: Any) -> None:
    """dynamic_update_slice: of a split dimension, each device writes what falls into its shard, in place."""
    partly = _partly(localizer, op, op.operands[1])
    if partly:
        build, update = Builder(localizer.emit, op), op.operands[1]
        places = _places(build, op, partly, shape_of(update), op.operands[2:])
        sizes = [place.size for place in places]
        held = None
        for dim in sorted(partly):
            place = places[dim]
            if place.whole == 1:
                written = build.compare("EQ", place.wanted, place.start)
            else:
                first = build.binary("subtract", place.start, place.wanted)
                update = build.window(update, dim, first, place.size)
                written = build.within(build.binary("add", build.iota(place.size), first), place.whole)
                written = build.spread(written, sizes, [dim])
            held = _both(build, held, written)
        present = build.dynamic_slice(op.operands[0], [p.start for p in places], sizes)
        op.operands[1] = build.select(held, update, present)
        for position, place in enumerate(places):
            op.operands[2 + position] = place.start
    localizer.in_place(op)


@dataclass(frozen=True)
class _Place:
    """Where a slice lies in one dimension of the shard; the indices are ``tensor<i64>``.

    Attributes:
      wanted: Where it starts, counted from the start of the shard; may lie outside.
      start: The start within the shard of the ``size`` elements that hold all the shard has of it.
      size: No more than the shard has.
      whole: The size of the slice.
    """

    wanted: Any
    start: Any
    size: int
    whole: int


def _places(build: Builder, op: Any, partly: dict[int, Axes], sizes: list[int], starts: Any) -> list[_Place]:
    found, shard = [], shape_of(op.operands[0])
    for dim, (start, size) in enumerate(zip(list(starts), sizes, strict=True)):
        axes = partly.get(dim, ())
        high = shard[dim] * _count(axes) - size
        clamped = build.clamp(_wide(build, start, high), high) if high else build.number(0, "i64")
        at = build.convert(clamped, "i64")
        if dim not in partly:
            found.append(_Place(at, at, size, size))
            continue
        wanted, taken = build.binary("subtract", at, build.offset(axes, shard[dim], "i64")), min(size, shard[dim])
        found.append(_Place(wanted, build.clamp(wanted, shard[dim] - taken), taken, size))
    return found


def _partly(localizer: Localizer, op: Any, part: Any) -> dict[int, Axes]:
    """The split dimensions of an op's operand of which ``part`` has some elements only, with their axes.

    Such a dimension of ``part`` is not split, any other is split as the operand is.
    """
    dims, own = localizer.shardings.dims(op.operands[0]), localizer.shardings.dims(part)
    return {dim: axes for dim, axes in enumerate(dims) if axes and not own[dim]}


def _both(build: Builder, held: Any, other: Any) -> Any:
    """Whether both hold; either may be a scalar."""
    if held is None:
        return other
    return build.binary("and", held, other) if shape_of(held) else build.binary("and", other, held)


# -- helpers -----------------------------------------------------------------------------------------------------------


def _local_copy(localizer: Localizer, op: Any) -> Any:
    """A copy of ``op`` before it, on local types, that stands for nothing of the global program."""
    copy = op.clone(ip=_mlir.ir.InsertionPoint(op)).operation
    for key in MARKS:
        if key in copy.attributes:
            del copy.attributes[key]
    for mine, original in zip(copy.results, op.results, strict=True):
        mine.set_type(localizer.shardings.local_type(original.type, localizer.shardings.attr(original)))
    _unsorted(copy)
    return copy


def _replace_by_partial(localizer: Localizer, op: Any, value: Any) -> None:
    """Puts ``value`` in the place of ``op``; the sum over the devices of the split dimensions completes it."""
    kind = selection(_mlir.ir.RankedTensorType(value.type).element_type)
    localizer.replace(op, value, localizer.shardings.attr(op.results[0]))
    localizer.partial[value] = str(kind)


def _unsorted(op: Any) -> None:
    """Takes back that indices are sorted: clamped and wrapped ones need not be."""
    if "indices_are_sorted" in op.attributes:
        op.attributes["indices_are_sorted"] = _mlir.ir.BoolAttr.get(False, _mlir.context())


def _wide(build: Builder, index: Any, largest: int) -> Any:
    """An index in a type that holds ``largest`` and every value it had."""
    element = _mlir.ir.RankedTensorType(index.type).element_type
    if element.width < 32:
        index = build.convert(index, "i32")
    return build.convert(index, "i64") if element.width < 64 and largest >= _I32_SIZES else index


def _signed(build: Builder, index: Any) -> Any:
    return build.convert(index, "i64") if _is_unsigned(index) else index


def _is_unsigned(index: Any) -> bool:
    return bool(_mlir.ir.RankedTensorType(index.type).element_type.is_unsigned)


def _count(axes: Axes) -> int:
    count = 1
    for axis in axes:
        count *= axis.size
    return count


def _i64s(values: list[int]) -> Any:
    return _mlir.ir.DenseI64ArrayAttr.get(values, _mlir.context())
