"""Decides, op by op and by bytes, between ways to lower an op whose split dimension is indexed.

Read from a split table: gather its shards, which takes ``(n - 1) * shard`` bytes per device, or sum what each device
holds, ``2 (n - 1) / n * result`` for the all_reduce; half, where the result is to be split over the same axes. If it is
in another dimension of the table's, the shards can be exchanged instead, for ``(n - 1) / n * shard``. Written with
split updates: sum up the results, or gather the updates. Sizes are known before planning, from the propagated
shardings; the decision is left to Shardy in form of the rule: a factor is reduced, or needs replication.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

from passes import _mlir
from passes.partition.shardings import Axes, ShardingMap
from passes.program.types import element_bytes, shape_of
from passes.sharding.reducers import combines_across_shards, reducer
from passes.sharding.sharding_rule import Mapping, Rule, factors_at

Choice = Callable[[ShardingMap, Any, Rule], Rule]


def read_from_shards(shardings: ShardingMap, op: Any, rule: Rule) -> Rule:
    """gather, dynamic_slice: the operand's split and indexed dimensions are gathered, or the results summed."""
    operand, result = op.operands[0], op.results[0]
    axes = _axes(shardings, operand, rule.operands[0], rule.reduction)
    if not axes:
        return rule
    tensors = [*zip(op.operands[1:], rule.operands[1:], strict=True), (result, rule.results[0])]
    clashing = _clashing(shardings, tensors, axes)
    shared = clashing & factors_at(range(len(rule.operands[0])), rule.operands[0])
    if _axes(shardings, operand, rule.operands[0], shared):
        # To have these whole, the operand would have to be gathered along other axes.
        return rule.replicating(rule.reduction)
    devices, clashing_axes = _count(axes), _axes(shardings, result, rule.results[0], clashing)
    passes = 1 if clashing and set(clashing_axes) <= set(axes) else 2
    summed = passes * (devices - 1) / devices * _bytes(shardings, result, rule.results[0], clashing)
    # Axes that the result wants in another dimension of the operand go there by an all_to_all.
    gathered = (devices - 1) / (devices if shared else 1) * _bytes(shardings, operand, rule.operands[0])
    return rule.replicating(clashing if summed < gathered else rule.reduction)


def written_to_shards(shardings: ShardingMap, op: Any, rule: Rule) -> Rule:
    """scatter: split updates are gathered, or every device combines its own and the results are reduced."""
    inputs, result = len(op.results), op.results[0]
    written = list(zip(op.operands[inputs:], rule.operands[inputs:], strict=True))
    axes = tuple(dict.fromkeys(a for v, m in written for a in _axes(shardings, v, m, rule.reduction)))
    if not axes:
        return rule
    held = [(op.operands[0], rule.operands[0]), (result, rule.results[0])]
    clashing = _clashing(shardings, held, axes)
    shared = frozenset(f for _, m in written for f in factors_at(range(len(m)), m))
    if _adds_up(op) and not clashing - shared:
        return rule
    devices, passes = _count(axes), 1 if clashing else 2
    reduced = passes * (devices - 1) / devices * _bytes(shardings, result, rule.results[0], clashing)
    gathered = (devices - 1) * sum(_bytes(shardings, v, m) for v, m in written)
    return rule.replicating(clashing if reduced < gathered else rule.reduction)


CHOICES: dict[str, Choice] = {
    "stablehlo.dynamic_slice": read_from_shards,
    "stablehlo.gather": read_from_shards,
    "stablehlo.scatter": written_to_shards,
}


def _adds_up(op: Any) -> bool:
    """Whether a scatter adds updates to nothing: such sums meet others over the same devices and go with them."""
    return reducer(op) == "stablehlo.add" and combines_across_shards(op, op.operands[0])


def _axes(shardings: ShardingMap, value: Any, mapping: Mapping, factors: frozenset[int]) -> Axes:
    """The axes of the dimensions of ``value`` that hold any of ``factors``."""
    dims = shardings.dims(value)
    return tuple(axis for dim, held in enumerate(mapping) if factors.intersection(held) for axis in dims[dim])


def _clashing(shardings: ShardingMap, tensors: Iterable[tuple[Any, Mapping]], axes: Axes) -> frozenset[int]:
    """The factors that are split over any of ``axes`` in any of these tensors."""
    found: set[int] = set()
    for value, mapping in tensors:
        dims = shardings.dims(value)
        found.update(f for dim, held in enumerate(mapping) if set(axes).intersection(dims[dim]) for f in held)
    return frozenset(found)


def _bytes(shardings: ShardingMap, value: Any, mapping: Mapping, whole: frozenset[int] = frozenset()) -> float:
    """The bytes of ``value`` on one device, dimensions with any of the factors ``whole`` not split."""
    dims = shardings.dims(value)
    shards = math.prod(_count(dims[dim]) for dim, held in enumerate(mapping) if not whole.intersection(held))
    element = _mlir.ir.RankedTensorType(value.type).element_type
    return math.prod(shape_of(value)) * element_bytes(element) / shards


def _count(axes: Axes) -> int:
    return math.prod(axis.size for axis in axes)
