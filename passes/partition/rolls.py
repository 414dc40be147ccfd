"""Writes what is shifted by cutting and joining as ops whose dimension keeps its size, so that it can stay split.

A piece of one element cannot be split, and so neither could what it is cut from:

  %1 = stablehlo.slice %0 [7:8] : (tensor<8xf32>) -> tensor<1xf32>
  %2 = stablehlo.slice %0 [0:7] : (tensor<8xf32>) -> tensor<7xf32>
  %3 = stablehlo.concatenate %1, %2, dim = 0 : (tensor<1xf32>, tensor<7xf32>) -> tensor<8xf32>

becomes a cut from two copies, which is lowered as what it is, a roll (`rolled`), without the copies:

  %1 = stablehlo.concatenate %0, %0, dim = 0 : (tensor<8xf32>, tensor<8xf32>) -> tensor<16xf32>
  %3 = stablehlo.slice %1 [7:15] : (tensor<16xf32>) -> tensor<8xf32>

Joined with copies of one scalar at an end, as a shift by zeros is, it becomes a pad.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from passes import _mlir
from passes.partition import constants
from passes.program.attributes import integers
from passes.program.read import Program
from passes.program.types import i64_attr, shape_of, tensor_type
from passes.program.walk import named
from passes.sharding.op_rules import RULE

_SLICE, _CONCATENATE = "stablehlo.slice", "stablehlo.concatenate"


@dataclass(frozen=True)
class Roll:
    """A slice that takes as much as there is of ``value``, from ``start`` on and over its end into a copy of it."""

    value: Any
    dim: int
    start: int


def rolled(op: Any, whole: list[int]) -> Roll | None:
    """The roll that a slice of two joined copies is; their global shape is ``whole``."""
    maker = _maker(op.operands[0], _CONCATENATE) if op.name == _SLICE else None
    if maker is None or len(maker.operands) != 2 or maker.operands[0] != maker.operands[1]:
        return None
    dim = _mlir.ir.IntegerAttr(maker.attributes["dimension"]).value
    value, starts, limits = maker.operands[0], integers(op, "start_indices"), integers(op, "limit_indices")
    size = limits[dim] - starts[dim]
    taken = [(0, n) if d != dim else (starts[d], limits[d]) for d, n in enumerate(whole)]
    if 2 * size != whole[dim] or set(integers(op, "strides")) != {1} or taken != list(zip(starts, limits, strict=True)):
        return None
    return Roll(value, dim, starts[dim])


def only_rolled(op: Any) -> bool:
    """Whether nothing reads the joined copies that the concatenate ``op``, on global types, makes but rolls."""
    uses, whole = list(op.results[0].uses), shape_of(op.results[0])
    return bool(uses) and all(rolled(use.owner.operation, whole) is not None for use in uses)


def rewrite_shifts(program: Program) -> None:
    """Rewrites the concatenates of ``program`` that shift along a dimension; every value keeps its bits."""
    for op in named(program.module, frozenset({_CONCATENATE})):
        if RULE not in op.attributes:
            _rewrite(op)


def _rewrite(op: Any) -> None:
    dim = _mlir.ir.IntegerAttr(op.attributes["dimension"]).value
    pieces = [_piece(value, dim) for value in op.operands]
    made = _roll(op, dim, pieces) or _pad(op, dim, pieces)
    if made is None:
        return
    if "sdy.sharding" in op.attributes:
        made.attributes["sdy.sharding"] = op.attributes["sdy.sharding"]
    makers = dict.fromkeys(piece.maker for piece in pieces if piece.maker is not None)
    op.results[0].replace_all_uses_with(made.results[0])
    op.erase()
    for maker in makers:
        if not any(maker.results[0].uses):
            maker.erase()


@dataclass(frozen=True)
class _Piece:
    """``value[start:stop]`` along a dimension; ``maker`` is the slice that takes it, ``None`` if it takes all."""

    value: Any
    start: int
    stop: int
    maker: Any = None

    @property
    def filler(self) -> Any:
        """What all of the piece is, if it is one scalar: that value, or the attribute of a splat constant."""
        scalar, constant = constants.uniform(self.value), _maker(self.value, "stablehlo.constant")
        if scalar is not None or constant is None:
            return scalar
        try:
            value = constant.attributes["value"]
        except TypeError:  # complex
            return None
        return value if isinstance(value, _mlir.ir.DenseElementsAttr) and value.is_splat else None


def _piece(value: Any, dim: int) -> _Piece:
    maker, shape = _maker(value, _SLICE), shape_of(value)
    if maker is not None:
        starts, limits = integers(maker, "start_indices"), integers(maker, "limit_indices")
        others = [n for d, n in enumerate(shape_of(maker.operands[0])) if d != dim]
        if set(integers(maker, "strides")) == {1} and others == [n for d, n in enumerate(shape) if d != dim]:
            return _Piece(maker.operands[0], starts[dim], limits[dim], maker)
    return _Piece(value, 0, shape[dim])


def _roll(op: Any, dim: int, pieces: list[_Piece]) -> Any:
    """The end of a value, then its beginning."""
    if len(pieces) != 2 or pieces[0].value != pieces[1].value:
        return None
    end, beginning = pieces
    shape = shape_of(end.value)
    if (end.stop, beginning.start, beginning.stop) != (shape[dim], 0, end.start) or not 0 < end.start < shape[dim]:
        return None
    twice = [n * (1 + (d == dim)) for d, n in enumerate(shape)]
    type = tensor_type(twice, _mlir.ir.RankedTensorType(end.value.type).element_type)
    both = _create(op, _CONCATENATE, [end.value, end.value], type, {"dimension": i64_attr(dim)})
    starts = [end.start if d == dim else 0 for d in range(len(shape))]
    limits = [start + n for start, n in zip(starts, shape, strict=True)]
    ranges = {"start_indices": _array(starts), "limit_indices": _array(limits), "strides": _array([1] * len(shape))}
    return _create(op, _SLICE, [both.results[0]], op.results[0].type, ranges)


def _pad(op: Any, dim: int, pieces: list[_Piece]) -> Any:
    """A value with copies of one scalar before it, behind it or both."""
    fillers = [piece.filler for piece in pieces]
    inner = [i for i, filler in enumerate(fillers) if filler is None]
    around = [filler for filler in fillers if filler is not None]
    if len(inner) != 1 or not around or any(_as_scalar(f) != _as_scalar(around[0]) for f in around):
        return None
    piece = pieces[inner[0]]
    before, behind = (
        sum(p.stop - p.start for p in outer) for outer in (pieces[: inner[0]], pieces[inner[0] + 1 :])
    )
    cut = (piece.start, shape_of(piece.value)[dim] - piece.stop)
    if (before and cut[0]) or (behind and cut[1]):
        return None
    rank = len(shape_of(piece.value))

    def along(amount: int) -> Any:
        return _array([amount if d == dim else 0 for d in range(rank)])

    amounts = {
        "edge_padding_low": along(before - cut[0]),
        "edge_padding_high": along(behind - cut[1]),
        "interior_padding": along(0),
    }
    scalar = _as_scalar(around[0])
    if isinstance(scalar, _mlir.ir.Attribute):
        scalar = _create(op, "stablehlo.constant", [], scalar.type, {"value": scalar}).results[0]
    return _create(op, "stablehlo.pad", [piece.value, scalar], op.results[0].type, amounts)


def _as_scalar(filler: Any) -> Any:
    """A filler that can be compared: splats of any shape as the scalar they repeat."""
    if not isinstance(filler, _mlir.ir.Attribute):
        return filler
    element = _mlir.ir.RankedTensorType(filler.type).element_type
    return _mlir.ir.DenseElementsAttr.get_splat(tensor_type([], element), filler.get_splat_value())


def _maker(value: Any, name: str) -> Any:
    owner = value.owner
    return None if isinstance(owner, _mlir.ir.Block) or owner.operation.name != name else owner.operation


def _create(op: Any, name: str, operands: list[Any], type: Any, attributes: dict[str, Any]) -> Any:
    ir = _mlir.ir
    return ir.Operation.create(name, [type], operands, attributes, loc=op.location, ip=ir.InsertionPoint(op))


def _array(values: list[int]) -> Any:
    return _mlir.ir.DenseI64ArrayAttr.get(values, _mlir.context())
