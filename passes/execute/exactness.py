"""Whether a program rounds anywhere on given inputs; where it does not, any order of its sums gives the same bits.

Magnitudes are followed forward from the inputs: moves keep them, sums and products of integers grow them, and as long
as they stay below what the element type holds exactly, no partial sum in any order is rounded. Anything else counts as
rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from passes import _mlir
from passes.execute.arrays import TensorType, tensor_type
from passes.execute.distance import is_float
from passes.program.entry import find_entry
from passes.program.read import Program


@dataclass(frozen=True)
class Extent:
    """The elements of a value: the largest magnitude, and whether all are integers (also as floats)."""

    magnitude: float
    integral: bool

    def join(self, other: Extent) -> Extent:
        """Elements from both."""
        return Extent(max(self.magnitude, other.magnitude), self.integral and other.integral)


class _RoundsError(Exception):
    """An op whose result may be rounded."""


def rounds_nowhere(program: Program, inputs: list[np.ndarray], entry: str | None = None) -> bool:
    """Whether every float that ``program`` computes from ``inputs`` is exact, whatever the order of its sums."""
    block = find_entry(program, entry).regions[0].blocks[0]
    known = {a: _of_array(x) for a, x in zip(block.arguments, inputs, strict=True)}
    try:
        for op in block.operations:
            _follow(op.operation, known)
    except _RoundsError:
        return False
    return True


def _of_array(array: np.ndarray) -> Extent:
    if array.size == 0 or array.dtype.kind == "b":
        return Extent(1, True)
    if array.dtype.kind == "c":
        return Extent(math.inf, False)
    with np.errstate(all="ignore"):
        wide = array.astype(np.float64)
    if not np.isfinite(wide).all():
        return Extent(math.inf, False)
    return Extent(float(np.abs(wide).max()), bool((wide == np.round(wide)).all()))


def _follow(op: Any, known: dict[Any, Extent]) -> None:
    if op.name == "func.return":
        return
    operands = [known[v] for v in op.operands]
    rule = _RULES.get(op.name)
    for index, result in enumerate(op.results):
        type = tensor_type(result.type)
        if type is None:
            raise _RoundsError
        if rule is None:
            # Integers are exact whatever happens to them; how large they get is not known.
            if is_float(type.dtype):
                raise _RoundsError
            known[result] = Extent(math.inf, True)
        else:
            known[result] = _representable(rule(op, operands, index), type, op.name in _MOVES or _selects(op))


def _representable(extent: Extent, type: TensorType, moved: bool) -> Extent:
    """``extent``, if the type holds all its integers; moved elements are representable as they are."""
    if moved or not is_float(type.dtype):
        return extent
    if type.dtype.kind == "c" or not extent.integral:
        raise _RoundsError
    if extent.magnitude > 2 ** (ml_dtypes.finfo(type.dtype).nmant + 1):
        raise _RoundsError
    return extent


_Rule = Callable[[Any, list[Extent], int], Extent]


def _first(op: Any, operands: list[Extent], index: int) -> Extent:
    return operands[0]


def _same_place(op: Any, operands: list[Extent], index: int) -> Extent:
    return operands[index]


def _any_of(*numbers: int) -> _Rule:
    """Elements of these operands (negative: from the end); of all if none are named."""

    def rule(op: Any, operands: list[Extent], index: int) -> Extent:
        chosen = [operands[n] for n in numbers] or operands
        result = chosen[0]
        for other in chosen[1:]:
            result = result.join(other)
        return result

    return rule


def _sum(op: Any, operands: list[Extent], index: int) -> Extent:
    left, right = operands
    return Extent(left.magnitude + right.magnitude, left.integral and right.integral)


def _product(op: Any, operands: list[Extent], index: int) -> Extent:
    left, right = operands
    return Extent(left.magnitude * right.magnitude, left.integral and right.integral)


def _dot(op: Any, operands: list[Extent], index: int) -> Extent:
    numbers = _mlir.stablehlo.DotDimensionNumbers(op.attributes["dot_dimension_numbers"])
    shape = _mlir.ir.RankedTensorType(op.operands[0].type).shape
    terms = math.prod(shape[d] for d in numbers.lhs_contracting_dimensions)
    one = _product(op, operands, index)
    return Extent(terms * one.magnitude, one.integral)


def _body(op: Any) -> list[str]:
    return [nested.operation.name for nested in op.regions[0].blocks[0]]


def _selects(op: Any) -> bool:
    """Whether ``op`` is a maximum or minimum over elements, which hands on one of them."""
    selecting = (["stablehlo.maximum", "stablehlo.return"], ["stablehlo.minimum", "stablehlo.return"])
    return op.name == "stablehlo.reduce" and _body(op) in selecting


def _reduce(op: Any, operands: list[Extent], index: int) -> Extent:
    values, initial = operands[index], operands[len(operands) // 2 + index]
    if _body(op) == ["stablehlo.add", "stablehlo.return"]:
        shape = _mlir.ir.RankedTensorType(op.operands[index].type).shape
        terms = math.prod(shape[d] for d in _mlir.ir.DenseI64ArrayAttr(op.attributes["dimensions"]))
        return Extent(terms * values.magnitude + initial.magnitude, values.integral and initial.integral)
    if _selects(op):
        # The initial value of a maximum is an infinity, which only an empty reduction returns.
        return values if math.isinf(initial.magnitude) else values.join(initial)
    raise _RoundsError


def _iota(op: Any, operands: list[Extent], index: int) -> Extent:
    dimension = _mlir.ir.IntegerAttr(op.attributes["iota_dimension"]).value
    return Extent(_mlir.ir.RankedTensorType(op.results[0].type).shape[dimension], True)


def _constant(op: Any, operands: list[Extent], index: int) -> Extent:
    try:
        return _of_array(np.array(op.attributes["value"]))
    except (TypeError, ValueError):
        # The bindings do not hand over the elements of this type.
        return Extent(math.inf, False)


def _truth(op: Any, operands: list[Extent], index: int) -> Extent:
    return Extent(1, True)


_MOVES: dict[str, _Rule] = {
    **dict.fromkeys(
        (
            "stablehlo.reshape", "stablehlo.transpose", "stablehlo.broadcast_in_dim", "stablehlo.slice",
            "stablehlo.dynamic_slice", "stablehlo.gather", "stablehlo.reverse", "stablehlo.negate", "stablehlo.abs",
            "stablehlo.sign", "sdy.sharding_constraint",
        ), _first,
    ),
    **dict.fromkeys(("stablehlo.optimization_barrier", "stablehlo.sort"), _same_place),
    **dict.fromkeys(("stablehlo.concatenate", "stablehlo.maximum", "stablehlo.minimum"), _any_of()),
    **dict.fromkeys(("stablehlo.pad", "stablehlo.dynamic_update_slice"), _any_of(0, 1)),
    "stablehlo.select": _any_of(1, 2),
    "stablehlo.clamp": _any_of(),
    "stablehlo.constant": _constant,
    "stablehlo.compare": _truth,
    "stablehlo.is_finite": _truth,
}
_RULES: dict[str, _Rule] = {
    **_MOVES,
    "stablehlo.convert": _first,
    "stablehlo.iota": _iota,
    "stablehlo.add": _sum,
    "stablehlo.subtract": _sum,
    "stablehlo.multiply": _product,
    "stablehlo.dot_general": _dot,
    "stablehlo.reduce": _reduce,
}
