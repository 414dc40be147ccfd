"""Which dimensions stay split though the op moves their elements: those whose lowering fetches what it needs (`halo`).

Shardy's rules, corrected, make such a dimension whole before the op. Once shardings are propagated it is known where
that can be left out: the dimension is split on either side, divides on either side, and nothing more has to be moved.

  slice [2:10] of 12 elements split over x   ([i])->([i]) {i=12} need_replication={i}   becomes   ([i])->([i]) {i=4}
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from passes import _mlir
from passes.partition import constants
from passes.partition.collectives import Axes, common_prefix, count_shards
from passes.partition.planned import SUM
from passes.partition.shardings import ShardingMap
from passes.program.attributes import integers
from passes.program.types import byte_size, shape_of
from passes.sharding.reducers import combines_across_shards, reducer
from passes.sharding.sharding_rule import Rule
from passes.sharding.windows import of_convolution, of_reduction

# The number of an operand or result, and one of its dimensions.
Place = tuple[int, int]


@dataclass(frozen=True)
class Moved:
    """A dimension whose elements an op moves: where it stands in the operands that are split with it and in results."""

    operands: tuple[Place, ...]
    results: tuple[Place, ...]


def keep_split(shardings: ShardingMap, op: Any, rule: Rule) -> Rule:
    """``rule`` of ``op`` without the replication that its lowering does not need.

    What is split over more axes than the dimension can be on both sides gets resharded first.
    """
    if not any(shardings.attrs(op.operands)):
        return rule
    for moved in MOVES[op.name](op):
        first = moved.operands[0]
        if set(rule.operands[first[0]][first[1]]) <= rule.need_replication and (axes := _kept(op, moved, shardings)):
            _lay(op, moved, axes, shardings)
            size = math.gcd(*(size for size, _ in _placed(op, moved, shardings)))
            rule = rule.sharing(moved.operands, moved.results, size)
    return rule


def _kept(op: Any, moved: Moved, shardings: ShardingMap) -> Axes:
    """The axes that the dimension can stay split over, if what it then takes is less than to gather the operands.

    Where those of one place do not divide the size in another, such as 4 rows on 4 devices of which windows make 2, it
    is the ones they share.
    """
    placed = _placed(op, moved, shardings)
    sizes, split = {size for size, _ in placed}, [axes for _, axes in placed]
    count = len(moved.operands)
    if not all(split[:count]):
        return ()
    axes = max(split, key=len)
    if any(size % count_shards(axes) for size in sizes for axes in split):
        axes = functools.reduce(common_prefix, split)
        if any(size % count_shards(axes) for size in sizes):
            return ()
    if moved.results and all(split[count:]):
        return axes
    # Results that nobody wants split are gathered afterwards, or summed, which takes as much twice.
    before = sum(byte_size(op.operands[number].type) for number, _ in moved.operands)
    after = sum(byte_size(value.type) for value in op.results)
    return axes if (after if moved.results else 2 * after) < before else ()


def _lay(op: Any, moved: Moved, axes: Axes, shardings: ShardingMap) -> None:
    """Splits the dimension over ``axes`` at most, in operands and results of ``op``; reshards to that and from it."""
    ir = _mlir.ir
    for number, dim in moved.operands:
        value = op.operands[number]
        if len(shardings.dims(value)[dim]) > len(axes):
            attr = shardings.split_along(shardings.attr(value), dim, axes)
            op.operands[number] = _resharded(value, attr, ir.InsertionPoint(op), op.location, shardings).results[0]
    for number, dim in moved.results:
        value = op.results[number]
        if len(shardings.dims(value)[dim]) > len(axes):
            attr, attrs = shardings.attr(value), list(shardings.of_results(op))
            after = _resharded(value, attr, ir.InsertionPoint.after(op), op.location, shardings)
            value.replace_all_uses_except(after.results[0], after)
            attrs[number] = shardings.split_along(attr, dim, axes)
            op.attributes["sdy.sharding"] = _mlir.sdy.TensorShardingPerValueAttr.get(attrs, context=_mlir.context())
            shardings.record(value, attrs[number])


def _resharded(value: Any, attr: Any, point: Any, location: Any, shardings: ShardingMap) -> Any:
    """The op that lays ``value`` as ``attr`` says."""
    op = _mlir.ir.Operation.create(
        "sdy.reshard", [value.type], [value], {"sharding": attr}, loc=location, ip=point
    )
    shardings.record(op.results[0], attr)
    return op


def _placed(op: Any, moved: Moved, shardings: ShardingMap) -> list[tuple[int, Axes]]:
    """The size of the dimension and the axes it is split over, in operands and in results."""
    values = [(op.operands[i], dim) for i, dim in moved.operands] + [(op.results[i], dim) for i, dim in moved.results]
    return [(shape_of(v)[d], shardings.dims(v)[d]) for v, d in values]


def _each(dims: Iterable[int], operands: int = 1, results: int = 1) -> list[Moved]:
    return [Moved(tuple((i, d) for i in range(operands)), tuple((i, d) for i in range(results))) for d in dims]


def _slice(op: Any) -> list[Moved]:
    taken = zip(*(integers(op, key) for key in ("start_indices", "limit_indices", "strides")), strict=True)
    shape = shape_of(op.operands[0])
    return _each(d for d, part in enumerate(taken) if part != (0, shape[d], 1))


def _pad(op: Any) -> list[Moved]:
    keys = ("edge_padding_low", "edge_padding_high", "interior_padding")
    amounts = zip(*(integers(op, key) for key in keys), strict=True)
    return _each(d for d, amount in enumerate(amounts) if any(amount))


def _concatenate(op: Any) -> list[Moved]:
    return _each([_mlir.ir.IntegerAttr(op.attributes["dimension"]).value], len(op.operands))


def _reverse(op: Any) -> list[Moved]:
    return _each(integers(op, "dimensions"))


def _reduce_window(op: Any) -> list[Moved]:
    """Initial values stand for what is outside of the dimension, which must not count if they are no neutral ones."""
    count = len(op.results)
    neutral = count == 1 and combines_across_shards(op, op.operands[1])
    dims = [d for d, w in enumerate(of_reduction(op)) if not w.moves_nothing and (neutral or max(w.low, w.high) <= 0)]
    return _each(dims, count, count)


def _select_and_scatter(op: Any) -> list[Moved]:
    """Windows that reach over the ends of the dimension scatter zeros, which must not count."""
    if not constants.is_zero(op.operands[2]) or reducer(op, 1) != SUM:
        return []
    moved = (d for d, w in enumerate(of_reduction(op)) if not w.moves_nothing and w.low == 0 and w.high == 0)
    return _each(moved, operands=2)


def _convolution(op: Any) -> list[Moved]:
    """The kernel's gradient has a kernel larger than its result, which is an image and split as the other one is."""
    found = []
    for spatial in of_convolution(op):
        if spatial.window.size > shape_of(op.results[0])[spatial.result] and not spatial.window.reversal:
            found.append(Moved(((0, spatial.image), (1, spatial.kernel)), ()))
        # So has a window of 3 over 2 rows.
        if not spatial.window.moves_nothing:
            found.append(Moved(((0, spatial.image),), ((0, spatial.result),)))
    return found


MOVES: dict[str, Callable[[Any], list[Moved]]] = {
    "stablehlo.concatenate": _concatenate,
    "stablehlo.convolution": _convolution,
    "stablehlo.pad": _pad,
    "stablehlo.reduce_window": _reduce_window,
    "stablehlo.reverse": _reverse,
    "stablehlo.select_and_scatter": _select_and_scatter,
    "stablehlo.slice": _slice,
}
