"""How large the values of a program get, and whether they are integers, from what is known about its arguments.

Magnitudes are followed forward: moves keep them, sums and products of integers grow them, and as long as they stay
below what the element type holds exactly, no partial sum in any order is rounded. A sum over whole dimensions of an
argument, moved or not, is bounded by the argument's own lines: a weight with one entry in each of its columns makes
products no larger than what it is multiplied with, however long they are.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import ml_dtypes
import numpy as np

from passes import _mlir
from passes.execute.arrays import TensorType, tensor_type
from passes.execute.distance import is_float
from passes.program.entry import find_entry, functions, symbol_name
from passes.program.read import Program
from passes.program.types import shape_of


@dataclass(frozen=True)
class Origin:
    """The argument that a value's elements come from.

    Attributes:
      argument: Its position.
      dims: For each dimension of the value the argument's dimension that it runs over whole, in whatever order;
        ``None`` for one that does not.
    """

    argument: int
    dims: tuple[int | None, ...]


@dataclass(frozen=True)
class Extent:
    """The elements of a value: the largest magnitude, whether all are integers (also as floats), whose they are."""

    magnitude: float
    integral: bool
    origin: Origin | None = None

    def join(self, other: Extent) -> Extent:
        """Elements from both."""
        return Extent(max(self.magnitude, other.magnitude), self.integral and other.integral)


UNKNOWN = Extent(math.inf, False)
TRUTH = Extent(1, True)


@dataclass(frozen=True)
class Factor:
    """One side of a sum of products.

    Attributes:
      extent: Its elements.
      terms: How many are summed.
      over: Its dimensions that the sum is over, if it is over nothing but whole ones.
    """

    extent: Extent
    terms: int
    over: tuple[int, ...] = ()


class Extents(ABC):
    """One walk through a program; what is known about its arguments comes from subclasses."""

    def __init__(self, program: Program, entry: str | None = None) -> None:
        self.functions = {symbol_name(f): f for f in functions(program.module)}
        self.block = find_entry(program, entry).regions[0].blocks[0]
        self.known: dict[Any, Extent] = {}
        self._returned: dict[tuple[str, tuple[Extent, ...]], list[Extent] | None] = {}

    @abstractmethod
    def line(self, argument: int, dims: tuple[int, ...]) -> float:
        """The largest sum of magnitudes along ``dims`` of an argument."""

    @abstractmethod
    def inexact(self, op: Any) -> Extent:
        """The result of an op that may round."""

    def walk(self, arguments: Sequence[Extent]) -> list[Extent]:
        """Follows the entry function; returns what it returns."""
        return self.through(self.block, arguments)

    def through(self, block: Any, arguments: Sequence[Extent]) -> list[Extent]:
        """Follows a block; returns what its terminator takes."""
        self.known.update(zip(block.arguments, arguments, strict=True))
        *body, last = (view.operation for view in block.operations)
        for op in body:
            self.known.update(zip(op.results, self._results(op), strict=True))
        return [self.known[v] for v in last.operands]

    def _results(self, op: Any) -> list[Extent]:
        operands = [self.known[v] for v in op.operands]
        if op.name in self.REGIONS:
            return self.REGIONS[op.name](self, op, operands)
        rule = _RULES.get(op.name)
        found = []
        for index, result in enumerate(op.results):
            type = tensor_type(result.type)
            if type is None or (rule is None and is_float(type.dtype)):
                found.append(self.inexact(op))
            elif rule is None:
                # Integers are exact whatever happens to them; how large they get is not known.
                found.append(Extent(math.inf, True))
            else:
                found.append(self._representable(op, rule(self, op, operands, index), type))
        return found

    def _representable(self, op: Any, extent: Extent, type: TensorType) -> Extent:
        """``extent``, if the type holds all its integers; moved elements are representable as they are."""
        if op.name in _MOVES or selects(op) or not is_float(type.dtype):
            return extent
        exact = type.dtype.kind != "c" and extent.integral and extent.magnitude <= held_exactly(type)
        return extent if exact else self.inexact(op)

    def total(self, factor: Factor) -> float:
        """The largest sum of magnitudes of the elements that ``factor`` sums."""
        origin = factor.extent.origin
        whole = [] if origin is None else [d for n in factor.over if (d := origin.dims[n]) is not None]
        plain = factor.terms * factor.extent.magnitude
        if origin is None or not whole:
            return plain
        sizes = shape_of(self.block.arguments[origin.argument])
        others = factor.terms // max(1, math.prod(sizes[d] for d in whole))
        return min(plain, others * self.line(origin.argument, tuple(sorted(whole))))

    def summed(self, op: Any, factors: Sequence[Factor]) -> Extent:
        """The result of an op that sums products of one element from each of ``factors``."""
        if not all(f.extent.integral for f in factors):
            return UNKNOWN
        largest = math.inf
        for index, factor in enumerate(factors):
            rest = math.prod(f.extent.magnitude for i, f in enumerate(factors) if i != index)
            largest = min(largest, self.total(factor) * rest)
        return Extent(largest, True)

    def called(self, op: Any, operands: list[Extent]) -> list[Extent]:
        """What a call or composite returns."""
        name = "decomposition" if op.name == "stablehlo.composite" else "callee"
        callee = _mlir.ir.FlatSymbolRefAttr(op.attributes[name]).value
        blocks, call = self.functions[callee].regions[0].blocks, (callee, tuple(operands))
        if call not in self._returned:
            self._returned[call] = None
            self._returned[call] = self.through(blocks[0], operands) if len(blocks) else None
        # Nothing comes back from a declaration, nor from a function that calls itself.
        return self._returned[call] or [self.inexact(op) for _ in op.results]

    # Ops that run blocks.
    REGIONS: ClassVar[dict[str, Callable[[Any, Any, list[Extent]], list[Extent]]]] = {
        "func.call": called, "stablehlo.composite": called,
    }


def held_exactly(type: TensorType) -> int:
    """The largest integer up to which a float type holds all of them."""
    return int(2 ** (ml_dtypes.finfo(type.dtype).nmant + 1))


_Rule = Callable[[Extents, Any, list[Extent], int], Extent]


def _moved(dims: Callable[[Any, tuple[int | None, ...]], Sequence[int | None]]) -> _Rule:
    """Elements of the first operand; ``dims(op, dimensions of the operand's origin)`` are those of the result."""

    def rule(walk: Extents, op: Any, operands: list[Extent], index: int) -> Extent:
        origin = operands[0].origin
        kept = origin and Origin(origin.argument, tuple(dims(op, origin.dims)))
        return replace(operands[0], origin=kept)

    return rule


def _all(op: Any, dims: tuple[int | None, ...]) -> Sequence[int | None]:
    return dims


def _transposed(op: Any, dims: tuple[int | None, ...]) -> Sequence[int | None]:
    return [dims[d] for d in _mlir.ir.DenseI64ArrayAttr(op.attributes["permutation"])]


def _broadcast(op: Any, dims: tuple[int | None, ...]) -> Sequence[int | None]:
    taken, made = shape_of(op.operands[0]), shape_of(op.results[0])
    places = {d: n for n, d in enumerate(_mlir.ir.DenseI64ArrayAttr(op.attributes["broadcast_dimensions"]))}
    return [
        dims[places[d]] if d in places and taken[places[d]] == size else None for d, size in enumerate(made)
    ]


def _same_size(op: Any, dims: tuple[int | None, ...]) -> Sequence[int | None]:
    """Of a slice: the dimensions it leaves whole."""
    sizes = zip(dims, shape_of(op.operands[0]), shape_of(op.results[0]), strict=True)
    return [dim if before == after else None for dim, before, after in sizes]


def _reshaped(op: Any, dims: tuple[int | None, ...]) -> Sequence[int | None]:
    """A dimension stays what it is if as many elements as before stand behind it."""

    def strides(shape: Sequence[int]) -> list[tuple[int, int]]:
        return [(size, math.prod(shape[d + 1 :])) for d, size in enumerate(shape)]

    before = dict(zip(strides(shape_of(op.operands[0])), dims, strict=True))
    return [before.get(place) for place in strides(shape_of(op.results[0]))]


def _first(walk: Extents, op: Any, operands: list[Extent], index: int) -> Extent:
    return replace(operands[0], origin=None)


def _same_place(walk: Extents, op: Any, operands: list[Extent], index: int) -> Extent:
    return replace(operands[index], origin=None)


def _any_of(*numbers: int) -> _Rule:
    """Elements of these operands; of all if none are named."""

    def rule(walk: Extents, op: Any, operands: list[Extent], index: int) -> Extent:
        chosen = [operands[n] for n in numbers] or operands
        result = replace(chosen[0], origin=None)
        for other in chosen[1:]:
            result = result.join(other)
        return result

    return rule


def _sum(walk: Extents, op: Any, operands: list[Extent], index: int) -> Extent:
    left, right = operands
    return Extent(left.magnitude + right.magnitude, left.integral and right.integral)


def _product(walk: Extents, op: Any, operands: list[Extent], index: int) -> Extent:
    left, right = operands
    return Extent(left.magnitude * right.magnitude, left.integral and right.integral)


def _dot_general(walk: Extents, op: Any, operands: list[Extent], index: int) -> Extent:
    numbers = _mlir.stablehlo.DotDimensionNumbers(op.attributes["dot_dimension_numbers"])
    left, right = tuple(numbers.lhs_contracting_dimensions), tuple(numbers.rhs_contracting_dimensions)
    terms = math.prod(shape_of(op.operands[0])[d] for d in left)
    return walk.summed(op, [Factor(operands[0], terms, left), Factor(operands[1], terms, right)])


def _dot(walk: Extents, op: Any, operands: list[Extent], index: int) -> Extent:
    shape = shape_of(op.operands[0])
    last = len(shape) - 1
    return walk.summed(op, [Factor(operands[0], shape[last], (last,)), Factor(operands[1], shape[last], (0,))])


def _convolution(walk: Extents, op: Any, operands: list[Extent], index: int) -> Extent:
    numbers = _mlir.stablehlo.ConvDimensionNumbers(op.attributes["dimension_numbers"])
    over = (numbers.kernel_input_feature_dimension, *numbers.kernel_spatial_dimensions)
    terms = math.prod(shape_of(op.operands[1])[d] for d in over)
    # Windows do not run over whole dimensions of the image.
    return walk.summed(op, [Factor(operands[0], terms), Factor(operands[1], terms, over)])


def _body(op: Any) -> list[str]:
    return [nested.operation.name for nested in op.regions[0].blocks[0]]


_ADDS = ["stablehlo.add", "stablehlo.return"]


def selects(op: Any) -> bool:
    """Whether ``op`` is a maximum or minimum over elements, which hands on one of them."""
    selecting = (["stablehlo.maximum", "stablehlo.return"], ["stablehlo.minimum", "stablehlo.return"])
    return op.name in ("stablehlo.reduce", "stablehlo.reduce_window") and _body(op) in selecting


def _reduce(walk: Extents, op: Any, operands: list[Extent], index: int) -> Extent:
    over = tuple(_mlir.ir.DenseI64ArrayAttr(op.attributes["dimensions"]))
    terms = math.prod(shape_of(op.operands[index])[d] for d in over)
    return _combined(walk, op, operands, index, Factor(operands[index], terms, over))


def _reduce_window(walk: Extents, op: Any, operands: list[Extent], index: int) -> Extent:
    terms = math.prod(_mlir.ir.DenseI64ArrayAttr(op.attributes["window_dimensions"]))
    return _combined(walk, op, operands, index, Factor(operands[index], terms))


def _combined(walk: Extents, op: Any, operands: list[Extent], index: int, values: Factor) -> Extent:
    initial = operands[len(operands) // 2 + index]
    if _body(op) == _ADDS:
        found = walk.summed(op, [values])
        return Extent(found.magnitude + initial.magnitude, found.integral and initial.integral)
    if selects(op):
        # The initial value of a maximum is an infinity, which only an empty reduction returns.
        return replace(values.extent, origin=None) if math.isinf(initial.magnitude) else values.extent.join(initial)
    return walk.inexact(op)


def _iota(walk: Extents, op: Any, operands: list[Extent], index: int) -> Extent:
    dimension = _mlir.ir.IntegerAttr(op.attributes["iota_dimension"]).value
    return Extent(shape_of(op.results[0])[dimension], True)


def _constant(walk: Extents, op: Any, operands: list[Extent], index: int) -> Extent:
    # The bindings hand over the elements of some types, of others those of splats, and of complex constants nothing.
    for read in (_elements, _splat):
        try:
            return of_array(read(op))
        except (AttributeError, TypeError, ValueError):
            continue
    return UNKNOWN


def _elements(op: Any) -> np.ndarray:
    return np.array(op.attributes["value"])


def _splat(op: Any) -> np.ndarray:
    return np.array(float(_mlir.ir.DenseElementsAttr(op.attributes["value"]).get_splat_value().value))


def of_array(array: np.ndarray) -> Extent:
    """The extent of given elements."""
    if array.size == 0 or array.dtype.kind == "b":
        return TRUTH
    if array.dtype.kind == "c":
        return UNKNOWN
    with np.errstate(all="ignore"):
        wide = array.astype(np.float64)
    if not np.isfinite(wide).all():
        return UNKNOWN
    return Extent(float(np.abs(wide).max()), bool((wide == np.round(wide)).all()))


def _truth(walk: Extents, op: Any, operands: list[Extent], index: int) -> Extent:
    return TRUTH


_MOVES: dict[str, _Rule] = {
    **dict.fromkeys(
        ("stablehlo.reverse", "stablehlo.negate", "stablehlo.abs", "sdy.sharding_constraint"), _moved(_all)
    ),
    **dict.fromkeys(("stablehlo.slice", "stablehlo.dynamic_slice"), _moved(_same_size)),
    "stablehlo.transpose": _moved(_transposed),
    "stablehlo.broadcast_in_dim": _moved(_broadcast),
    "stablehlo.reshape": _moved(_reshaped),
    "stablehlo.gather": _first,
    **dict.fromkeys(("stablehlo.optimization_barrier", "stablehlo.sort"), _same_place),
    **dict.fromkeys(("stablehlo.concatenate", "stablehlo.maximum", "stablehlo.minimum"), _any_of()),
    **dict.fromkeys(("stablehlo.pad", "stablehlo.dynamic_update_slice"), _any_of(0, 1)),
    "stablehlo.select": _any_of(1, 2),
    "stablehlo.clamp": _any_of(),
    "stablehlo.constant": _constant,
    "stablehlo.compare": _truth,
    "stablehlo.is_finite": _truth,
    "stablehlo.sign": _truth,
}
_RULES: dict[str, _Rule] = {
    **_MOVES,
    "stablehlo.convert": _moved(_all),
    "stablehlo.iota": _iota,
    "stablehlo.add": _sum,
    "stablehlo.subtract": _sum,
    "stablehlo.multiply": _product,
    "stablehlo.dot_general": _dot_general,
    "stablehlo.dot": _dot,
    "stablehlo.convolution": _convolution,
    "stablehlo.reduce": _reduce,
    "stablehlo.reduce_window": _reduce_window,
}
