"""Lowers what the plan inserted: ``sdy`` collectives to StableHLO collectives and per-device slices."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from passes import _mlir
from passes.partition.collectives import Axes
from passes.partition.trace import hand_over, mark_partial

if TYPE_CHECKING:
    from passes.partition.localize import Localizer

# What the region of a cross-device reduction may do: the ops whose partial results combine in any grouping.
COMBINERS = frozenset(
    f"stablehlo.{name}" for name in ("add", "maximum", "minimum", "multiply", "and", "or", "xor")
)
SUM = "stablehlo.add"
# Stands in the place of such an op for results that a lowering completed itself.
COMPLETE = "complete"
# sdy collectives that reduce.
REDUCES = frozenset({"sdy.all_reduce", "sdy.reduce_scatter"})

# One axis reference, and one move, inside the text of an attribute the bindings have no class for.
_AXIS = re.compile(r'"((?:[^"\\]|\\.)*)"')
_MOVE = re.compile(r"\{([^{}]*)\}: (\d+)->(\d+)")


def reduced_axes(op: Any) -> list[str]:
    """The names of the axes an ``sdy.all_reduce`` or ``sdy.reduce_scatter`` reduces over."""
    key = "reduction_axes" if "reduction_axes" in op.attributes else "reduce_scatter_axes"
    return _AXIS.findall(str(op.attributes[key]))


def _axes(localizer: Localizer, names: list[str]) -> Axes:
    return tuple(localizer.shardings.mesh.axis(name) for name in names)


def out_sharding(op: Any) -> Any:
    """How the result of an sdy collective lies."""
    return op.attributes["out_sharding" if "out_sharding" in op.attributes else "sharding"]


def _gained(localizer: Localizer, op: Any) -> list[Axes]:
    """The axes each dimension is split over after ``op`` and was not before."""
    source = localizer.shardings.dims(op.operands[0])
    target = localizer.shardings.dims_of(out_sharding(op), op.results[0].type)
    return [after[len(before) :] for before, after in zip(source, target, strict=True)]


def all_gather(localizer: Localizer, op: Any) -> None:
    """sdy.all_gather: the axes a dimension loses are gathered."""
    source = localizer.shardings.dims(op.operands[0])
    target = localizer.shardings.dims_of(out_sharding(op), op.results[0].type)
    lost = [before[len(after) :] for before, after in zip(source, target, strict=True)]
    value = localizer.emit.gather(op.operands[0], lost, _mlir.ir.InsertionPoint(op), op.location)
    localizer.replace(op, value, out_sharding(op))


def all_slice(localizer: Localizer, op: Any) -> None:
    """sdy.all_slice: each device keeps its part along the axes a dimension gains.

    Of an all_reduce over those axes that nothing else reads it is a reduce_scatter, which moves half the bytes.
    """
    value, gained, point = op.operands[0], _gained(localizer, op), _mlir.ir.InsertionPoint(op)
    reduction = localizer.reductions.get(value)
    split = {axis for axes in gained for axis in axes}
    if reduction is None or not split <= set(reduction.axes) or len(list(value.uses)) > 1:
        localizer.replace(op, localizer.emit.slice(value, gained, point, op.location), out_sharding(op))
        return
    kind, location = reduction.kind, op.location
    source = value.owner.operation.operands[0]
    scattered = localizer.emit.reduce_scatter(source, gained, kind, point, location)
    rest = tuple(axis for axis in reduction.axes if axis not in split)
    if rest:
        scattered = localizer.emit.all_reduce(scattered, rest, kind, point, location)
    hand_over(value, scattered)
    localizer.replace(op, scattered, out_sharding(op))
    localizer.discard(value.owner.operation)


def all_to_all(localizer: Localizer, op: Any) -> None:
    """sdy.all_to_all: one all_to_all for each move of axes between two dimensions."""
    value = op.operands[0]
    for names, source, target in _MOVE.findall(str(op.attributes["params"])):
        axes = _axes(localizer, _AXIS.findall(names))
        point = _mlir.ir.InsertionPoint(op)
        value = localizer.emit.all_to_all(value, int(source), int(target), axes, point, op.location)
    localizer.replace(op, value, out_sharding(op))


def collective_permute(localizer: Localizer, op: Any) -> None:
    """sdy.collective_permute: a permutation of devices between two shardings with equal local shapes."""
    value, shardings = op.operands[0], localizer.shardings
    whole = shardings.whole(op.results[0].type)
    source, target = shardings[value] or whole, shardings.parse(out_sharding(op)) or whole
    moved = localizer.emit.permute(value, source, target, _mlir.ir.InsertionPoint(op), op.location)
    localizer.replace(op, moved, out_sharding(op))


@dataclass(frozen=True)
class Reduction:
    """What an all_reduce in the lowered program does: over which axes, with which op (``stablehlo.add``, ...)."""

    axes: Axes
    kind: str


def all_reduce(localizer: Localizer, op: Any) -> None:
    """sdy.all_reduce: completes a partial result with the reduction of the op that made it."""
    value = op.operands[0]
    if localizer.partial.get(value) == COMPLETE:
        localizer.replace(op, value, out_sharding(op))
        return
    reduction = Reduction(_axes(localizer, reduced_axes(op)), localizer.partial.get(value, SUM))
    point = _mlir.ir.InsertionPoint(op)
    result = localizer.emit.all_reduce(value, reduction.axes, reduction.kind, point, op.location)
    hand_over(value, result)
    mark_partial(value, result, reduction.axes, reduction.kind)
    localizer.partial[result] = reduction.kind
    localizer.reductions[result] = reduction
    localizer.replace(op, result, out_sharding(op))


def reduce_scatter(localizer: Localizer, op: Any) -> None:
    """sdy.reduce_scatter: as all_reduce, and each device keeps its part along the axes a dimension gains."""
    value = op.operands[0]
    kind = localizer.partial.get(value, SUM)
    point = _mlir.ir.InsertionPoint(op)
    if kind == COMPLETE:
        localizer.replace(op, localizer.emit.slice(value, _gained(localizer, op), point, op.location), out_sharding(op))
        return
    result = localizer.emit.reduce_scatter(value, _gained(localizer, op), kind, point, op.location)
    hand_over(value, result)
    mark_partial(value, result, tuple(axis for axes in _gained(localizer, op) for axis in axes), kind)
    localizer.partial[result] = kind
    localizer.replace(op, result, out_sharding(op))


def reshard(localizer: Localizer, op: Any) -> None:
    """sdy.reshard, sdy.sharding_constraint: a move that the plan left whole."""
    value, shardings = op.operands[0], localizer.shardings
    whole = shardings.whole(op.results[0].type)
    source, target = shardings[value] or whole, shardings.parse(out_sharding(op)) or whole
    moved = localizer.emit.reshard(value, source, target, _mlir.ir.InsertionPoint(op), op.location)
    localizer.replace(op, moved, out_sharding(op))


LOWERINGS = {
    "sdy.all_gather": all_gather,
    "sdy.all_reduce": all_reduce,
    "sdy.all_slice": all_slice,
    "sdy.all_to_all": all_to_all,
    "sdy.collective_permute": collective_permute,
    "sdy.reduce_scatter": reduce_scatter,
    "sdy.reshard": reshard,
    "sdy.sharding_constraint": reshard,
}
