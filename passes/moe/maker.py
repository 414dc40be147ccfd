"""Makes StableHLO ops in a program, one method per op: shapes and element types follow from the operands.

The counterpart of `writer` for programs that are there already.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from passes import _mlir
from passes.program.types import i64_attr, shape_of, tensor_type


@dataclass(frozen=True)
class Maker:
    """Makes ops at ``point``, which are said to come from ``location``."""

    point: Any
    location: Any

    def op(self, name: str, operands: Sequence[Any], shape: Sequence[int], element: Any, **attributes: Any) -> Any:
        """The result of a new ``stablehlo.name``."""
        return _mlir.ir.Operation.create(
            f"stablehlo.{name}", [tensor_type(shape, element)], list(operands), attributes, loc=self.location,
            ip=self.point,
        ).results[0]

    def full(self, shape: Sequence[int], element: Any, number: int | float) -> Any:
        """``number`` everywhere."""
        ir, kind = _mlir.ir, tensor_type((), element).element_type
        attr = ir.IntegerAttr.get(kind, int(number)) if isinstance(kind, ir.IntegerType) else ir.FloatAttr.get(
            kind, float(number), loc=ir.Location.unknown(_mlir.context()))
        return self.splat(shape, kind, attr)

    def splat(self, shape: Sequence[int], element: Any, attr: Any) -> Any:
        """The element ``attr`` everywhere."""
        value = _mlir.ir.DenseElementsAttr.get_splat(tensor_type(shape, element), attr)
        return self.op("constant", [], shape, element, value=value)

    def iota(self, shape: Sequence[int], dim: int) -> Any:
        """Counts along ``dim``, as i32."""
        return self.op("iota", [], shape, "i32", iota_dimension=i64_attr(dim))

    def reshape(self, x: Any, shape: Sequence[int]) -> Any:
        """``x`` with the same elements in another shape."""
        return x if shape_of(x) == list(shape) else self.op("reshape", [x], shape, x.type.element_type)

    def transpose(self, x: Any, order: Sequence[int]) -> Any:
        """``x`` with its dimensions in another order."""
        if list(order) == list(range(len(order))):
            return x
        shape = [shape_of(x)[d] for d in order]
        return self.op("transpose", [x], shape, x.type.element_type, permutation=self.ints(order))

    def broadcast(self, x: Any, shape: Sequence[int], dims: Sequence[int]) -> Any:
        """``broadcast_in_dim``."""
        return self.op("broadcast_in_dim", [x], shape, x.type.element_type, broadcast_dimensions=self.ints(dims))

    def first(self, x: Any, dim: int) -> Any:
        """``x`` without dimension ``dim``, of which it takes the first."""
        sizes = shape_of(x)
        limits = [1 if d == dim else size for d, size in enumerate(sizes)]
        cut = self.op("slice", [x], limits, x.type.element_type, start_indices=self.ints([0] * len(sizes)),
                      limit_indices=self.ints(limits), strides=self.ints([1] * len(sizes)))
        return self.reshape(cut, [size for d, size in enumerate(sizes) if d != dim])

    @staticmethod
    def ints(values: Sequence[int]) -> Any:
        """An attribute that is a list of numbers."""
        return _mlir.ir.DenseI64ArrayAttr.get(list(values), _mlir.context())

    def convert(self, x: Any, element: Any) -> Any:
        """``x`` in another element type."""
        type = tensor_type(shape_of(x), element)
        return x if type == x.type else self.op("convert", [x], shape_of(x), element)

    def binary(self, name: str, x: Any, y: Any) -> Any:
        """An op of two operands of one type."""
        return self.op(name, [x, y], shape_of(x), x.type.element_type)

    def equal(self, x: Any, y: Any) -> Any:
        """Where two values are equal."""
        direction = _mlir.stablehlo.ComparisonDirectionAttr.get("EQ", _mlir.context())
        return self.op("compare", [x, y], shape_of(x), "i1", comparison_direction=direction)

    def reduce(self, name: str, x: Any, dim: int) -> Any:
        """Reduces one dimension with ``stablehlo.name``, from zero."""
        ir, kind = _mlir.ir, x.type.element_type
        shape = [size for d, size in enumerate(shape_of(x)) if d != dim]
        zero = self.full((), kind, 0)
        op = ir.Operation.create(
            "stablehlo.reduce", [tensor_type(shape, kind)], [x, zero], {"dimensions": self.ints([dim])}, regions=1,
            loc=self.location, ip=self.point,
        )
        scalar = tensor_type((), kind)
        block = op.regions[0].blocks.append(scalar, scalar, arg_locs=[self.location] * 2)
        inner = Maker(ir.InsertionPoint(block), self.location)
        ir.Operation.create("stablehlo.return", operands=[inner.op(name, list(block.arguments), (), kind)],
                            loc=self.location, ip=inner.point)
        return op.results[0]
