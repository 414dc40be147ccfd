"""Makes the small ops that a lowering puts around an op: at one place, in a line each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from passes import _mlir
from passes.partition.constants import neutral
from passes.program.types import shape_of, tensor_type

if TYPE_CHECKING:
    from passes.partition.collectives import Emitter
    from passes.partition.shardings import Axes


class Builder:
    """Inserts ops right before ``op``, at its location; every method returns the value made."""

    def __init__(self, emit: Emitter, op: Any) -> None:
        self._emit = emit
        self._point = _mlir.ir.InsertionPoint(op)
        self._location = op.location

    def create(self, name: str, operands: Sequence[Any], type: Any, **attributes: Any) -> Any:
        """An op of the StableHLO dialect with one result."""
        return self._emit.create(f"stablehlo.{name}", operands, type, attributes, self._point, self._location)

    def number(self, value: int, element: Any) -> Any:
        """An integer scalar."""
        type = tensor_type([], element)
        attr = _mlir.ir.IntegerAttr.get(type.element_type, value)
        return self.create("constant", [], type, value=_mlir.ir.DenseElementsAttr.get_splat(type, attr))

    def neutral(self, type: Any, kind: str = "stablehlo.add") -> Any:
        """The splat of ``type`` that ``kind`` leaves every element unchanged by."""
        return self.create("constant", [], type, value=neutral(type, kind))

    def offset(self, axes: Axes, size: int, element: Any) -> Any:
        """Where this device's shard of ``size`` elements starts, as a scalar of an integer type."""
        return self.convert(self._emit.offset(axes, size, self._point, self._location), element)

    def is_first(self, axes: Axes) -> Any:
        """Whether this device holds the first of the shards made by ``axes``."""
        index = self._emit.shard_index(axes, self._point, self._location)
        return self.compare("EQ", index, self.number(0, "i64"))

    def convert(self, value: Any, element: Any) -> Any:
        """``value`` in another element type."""
        type = tensor_type(shape_of(value), element)
        return value if type == value.type else self.create("convert", [value], type)

    def binary(self, name: str, left: Any, right: Any) -> Any:
        """An elementwise op; the right side may be a scalar for a tensor on the left."""
        return self.create(name, [left, self.spread(right, shape_of(left))], left.type)

    def clamp(self, value: Any, high: int) -> Any:
        """``value`` between 0 and ``high``."""
        element = _mlir.ir.RankedTensorType(value.type).element_type
        return self.create("clamp", [self.number(0, element), value, self.number(high, element)], value.type)

    def compare(self, direction: str, left: Any, right: Any) -> Any:
        """A comparison of integers; the right side may be a scalar for a tensor on the left."""
        shape = shape_of(left)
        attr = _mlir.stablehlo.ComparisonDirectionAttr.get(direction, _mlir.context())
        operands = [left, self.spread(right, shape)]
        return self.create("compare", operands, tensor_type(shape, "i1"), comparison_direction=attr)

    def within(self, value: Any, size: int) -> Any:
        """Whether ``value``, of a signed integer type, is at least 0 and below ``size``."""
        element = _mlir.ir.RankedTensorType(value.type).element_type
        low = self.compare("GE", value, self.number(0, element))
        return self.binary("and", low, self.compare("LT", value, self.number(size, element)))

    def select(self, predicate: Any, yes: Any, no: Any) -> Any:
        """``yes`` where ``predicate``, which may be a scalar, holds."""
        return self.create("select", [predicate, yes, no], yes.type)

    def spread(self, value: Any, shape: Sequence[int], dims: Sequence[int] = ()) -> Any:
        """``value`` broadcast to ``shape``; its dimensions become ``dims``."""
        if shape_of(value) == list(shape):
            return value
        type = tensor_type(shape, _mlir.ir.RankedTensorType(value.type).element_type)
        return self.create("broadcast_in_dim", [value], type, broadcast_dimensions=_i64s(dims))

    def reshape(self, value: Any, shape: Sequence[int]) -> Any:
        """``value`` in another shape."""
        type = tensor_type(shape, _mlir.ir.RankedTensorType(value.type).element_type)
        return value if type == value.type else self.create("reshape", [value], type)

    def iota(self, size: int) -> Any:
        """The numbers from 0 to ``size - 1``, as ``tensor<size x i64>``."""
        dimension = _mlir.ir.IntegerAttr.get(_mlir.ir.IntegerType.get_signless(64, _mlir.context()), 0)
        return self.create("iota", [], tensor_type([size], "i64"), iota_dimension=dimension)

    def part(self, value: Any, dim: int, start: int, limit: int) -> Any:
        """Elements ``start`` to ``limit`` of dimension ``dim``."""
        shape = shape_of(value)
        starts, limits = [0] * len(shape), list(shape)
        starts[dim], limits[dim], shape[dim] = start, limit, limit - start
        type = tensor_type(shape, _mlir.ir.RankedTensorType(value.type).element_type)
        return self.create(
            "slice", [value], type,
            start_indices=_i64s(starts), limit_indices=_i64s(limits), strides=_i64s([1] * len(shape)),
        )

    def concatenate(self, values: Sequence[Any], dim: int) -> Any:
        """``values`` one after the other along ``dim``."""
        if len(values) == 1:
            return values[0]
        shape = shape_of(values[0])
        shape[dim] = sum(shape_of(value)[dim] for value in values)
        type = tensor_type(shape, _mlir.ir.RankedTensorType(values[0].type).element_type)
        dimension = _mlir.ir.IntegerAttr.get(_mlir.ir.IntegerType.get_signless(64, _mlir.context()), dim)
        return self.create("concatenate", values, type, dimension=dimension)

    def dynamic_slice(self, value: Any, starts: Sequence[Any], sizes: Sequence[int]) -> Any:
        """A slice of ``sizes`` at ``starts``."""
        type = tensor_type(sizes, _mlir.ir.RankedTensorType(value.type).element_type)
        return self.create("dynamic_slice", [value, *starts], type, slice_sizes=_i64s(sizes))

    def window(self, value: Any, dim: int, start: Any, size: int) -> Any:
        """Elements ``start + k`` for ``k`` below ``size`` along ``dim``; what addition ignores where there is none.

        ``start`` is a ``tensor<i64>`` of any value.
        """
        shape, element = shape_of(value), _mlir.ir.RankedTensorType(value.type).element_type
        margin = [size if d == dim else 0 for d in range(len(shape))]
        padded = tensor_type([s + 2 * m for s, m in zip(shape, margin, strict=True)], element)
        filling = self.neutral(tensor_type([], element))
        wide = self.create(
            "pad", [value, filling], padded,
            edge_padding_low=_i64s(margin), edge_padding_high=_i64s(margin), interior_padding=_i64s([0] * len(shape)),
        )
        zero = self.number(0, "i64")
        starts = [zero] * len(shape)
        # Beyond the margins the slice clamps to one of them, and reads nothing but filling.
        starts[dim] = self.binary("add", start, self.number(size, "i64"))
        shape[dim] = size
        return self.dynamic_slice(wide, starts, shape)


def _i64s(values: Sequence[int]) -> Any:
    return _mlir.ir.DenseI64ArrayAttr.get(list(values), _mlir.context())
