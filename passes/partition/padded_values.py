"""Values with padded dimensions: resizing them, masking their padding, and the ops that takes.

What is made of a value stands right behind it and is made once, however many ops use it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from passes import _mlir
from passes.partition.padded_ops import Create, identity, splat
from passes.partition.shardings import ShardingMap
from passes.pipeline.base import Counters
from passes.program.types import i64_attr, tensor_type

# A size per dimension.
Shape = tuple[int, ...]


@dataclass
class Values:
    """The values of a function that is being padded.

    Attributes:
      shardings: Where they lie.
      poison: Whether padding is filled with what shows most, not with zeros.
      true: Value -> its true shape, for values that are padded.
    """

    shardings: ShardingMap
    poison: bool
    counters: Counters
    true: dict[Any, Shape] = field(default_factory=dict)
    _resized: dict[tuple[Any, Shape], Any] = field(default_factory=dict)
    _masked: dict[tuple[Any, tuple[int, ...], str], Any] = field(default_factory=dict)

    def shape(self, value: Any) -> Shape:
        """The true shape of ``value``; empty if it is no tensor."""
        if value in self.true:
            return self.true[value]
        return tuple(value.type.shape) if isinstance(value.type, _mlir.ir.RankedTensorType) else ()

    def set(self, value: Any, shape: Shape) -> None:
        """Gives ``value`` the type of ``shape``; whatever uses it has to see to that."""
        true = self.shape(value)
        if shape != true:
            value.set_type(tensor_type(shape, value.type.element_type, value.type.encoding))
            self.true[value] = true

    def resize(self, value: Any, shape: Shape) -> Any:
        """``value`` with ``shape``: dimensions are cut, or filled up, at their end."""
        if not shape or shape == tuple(value.type.shape):
            return value
        if (value, shape) not in self._resized:
            smaller = tuple(map(min, shape, value.type.shape))
            found = self._cut(value, smaller) if smaller != tuple(value.type.shape) else value
            if smaller != shape:
                found = self._fill(found, shape)
            self._resized[value, shape] = found
            if shape != self.shape(value):
                self.true[found] = self.shape(value)
        return self._resized[value, shape]

    def mask(self, value: Any, dims: tuple[int, ...], size: int, name: str) -> Any:
        """``value`` with the identity called ``name`` wherever it is beyond ``size`` along one of ``dims``."""
        key = (value, dims, name)
        if key not in self._masked:
            found = value
            for dim in dims:
                found = self._mask(found, dim, size, name)
            self._masked[key] = found
            self.true[found] = self.shape(value)
        return self._masked[key]

    def _mask(self, value: Any, dim: int, size: int, name: str) -> Any:
        self.counters.add("masks")
        ir, shardings = _mlir.ir, self.shardings
        shape, attr = tuple(value.type.shape), shardings.attr(value)
        row_attr = shardings.along(attr, dim)
        make = _After(value, shardings)
        create, length = make.create, shape[dim : dim + 1]
        numbers = tensor_type(length, "i32" if shape[dim] < 2**31 else "i64")
        iota = create("stablehlo.iota", [], numbers, {"iota_dimension": i64_attr(0)}, row_attr)
        limit = create("stablehlo.constant", [], numbers, {"value": _splat_number(numbers, size)}, row_attr)
        less = {"comparison_direction": _mlir.stablehlo.ComparisonDirectionAttr.get("LT", _mlir.context())}
        row = create("stablehlo.compare", [iota, limit], tensor_type(length, "i1"), less, row_attr)
        along = {"broadcast_dimensions": ir.DenseI64ArrayAttr.get([dim], _mlir.context())}
        within = create("stablehlo.broadcast_in_dim", [row], tensor_type(shape, "i1"), along, attr)
        others = make.splat(shape, value.type.element_type, name, attr)
        return create("stablehlo.select", [within, value, others], value.type, {}, attr)

    def _cut(self, value: Any, shape: Shape) -> Any:
        self.counters.add("slices")
        limits = {"start_indices": [0] * len(shape), "limit_indices": list(shape), "strides": [1] * len(shape)}
        return self._sized(value, "stablehlo.slice", (), shape, limits)

    def _fill(self, value: Any, shape: Shape) -> Any:
        none = [0] * len(shape)
        high = [after - before for after, before in zip(shape, value.type.shape, strict=True)]
        amounts = {"edge_padding_low": none, "edge_padding_high": high, "interior_padding": none}
        garbage = "poison" if self.poison or identity(value.type.element_type, "zero") is None else "zero"
        return self._sized(value, "stablehlo.pad", (garbage,), shape, amounts)

    def _sized(
        self, value: Any, name: str, scalars: tuple[str, ...], shape: Shape, numbers: dict[str, list[int]]
    ) -> Any:
        """An op on ``value`` and constants called ``scalars`` that gives ``shape``; dimensions it changes are whole."""
        shardings, element = self.shardings, value.type.element_type
        make = _After(value, shardings)
        operands = [make.splat((), element, scalar, None) for scalar in scalars]
        changed = [d for d, (a, b) in enumerate(zip(shape, value.type.shape, strict=True)) if a != b]
        attributes = {key: _mlir.ir.DenseI64ArrayAttr.get(n, _mlir.context()) for key, n in numbers.items()}
        attr = shardings.whole_along(shardings.attr(value), changed)
        return make.create(name, [value, *operands], tensor_type(shape, element), attributes, attr)

    def maker(self, op: Any) -> Create:
        """Makes ops before ``op``; what has the shape of its second operand lies as that does."""
        shardings = self.shardings

        def create(name: str, operands: list[Any], type: Any, attributes: dict[str, Any]) -> Any:
            like = op.operands[1]
            attr = shardings.attr(like) if list(type.shape) == list(like.type.shape) else None
            new = _mlir.ir.Operation.create(
                name, [type], operands, attributes | _annotation(attr), loc=op.location, ip=_mlir.ir.InsertionPoint(op)
            )
            shardings.record(new.results[0], attr)
            return new.results[0]

        return create


class _After:
    """Makes ops right behind the place where a value is made, one after the other."""

    def __init__(self, value: Any, shardings: ShardingMap) -> None:
        owner = value.owner
        self._shardings = shardings
        self._location = value.location
        self._block = owner if isinstance(owner, _mlir.ir.Block) else None
        self._last = None if self._block is not None else owner.operation

    def create(self, name: str, operands: list[Any], type: Any, attributes: dict[str, Any], attr: Any) -> Any:
        """The result of a new op, which lies as ``attr`` says."""
        ir = _mlir.ir
        point = ir.InsertionPoint.at_block_begin(self._block) if self._last is None else ir.InsertionPoint(self._last)
        new = ir.Operation.create(
            name, [type], operands, attributes | _annotation(attr), loc=self._location, ip=point
        ).operation
        if self._last is not None:
            new.move_after(self._last)
        self._last = new
        self._shardings.record(new.results[0], attr)
        return new.results[0]

    def splat(self, shape: Shape, element: Any, name: str, attr: Any) -> Any:
        """A tensor of the identity called ``name``; the bindings make no constants of complex numbers."""
        type = tensor_type(shape, element)
        if not isinstance(element, _mlir.ir.ComplexType):
            return self.create("stablehlo.constant", [], type, {"value": splat(shape, element, name)}, attr)
        part = self.splat(shape, _mlir.ir.ComplexType(element).element_type, name, attr)
        return self.create("stablehlo.complex", [part, part], type, {}, attr)


def _annotation(attr: Any) -> dict[str, Any]:
    if attr is None:
        return {}
    return {"sdy.sharding": _mlir.sdy.TensorShardingPerValueAttr.get([attr], context=_mlir.context())}


def _splat_number(type: Any, value: int) -> Any:
    return _mlir.ir.DenseElementsAttr.get_splat(type, _mlir.ir.IntegerAttr.get(type.element_type, value))
