"""Reshapes that Shardy's planning dies on (jaxlib 0.10.2), which are replicated around instead.

Where three or more dimensions become one, or one becomes them, and two axes or more split them in an order in which
they do not divide one dimension after the other, sdy-insert-explicit-reshards ends in a segmentation fault:

  reshape 12 -> 3x2x2 over "x"=2, "y"=3     ([ijk])->([i, j, k]) {i=3, j=2, k=2}     12 split over {"x", "y"}
"""

from __future__ import annotations

from typing import Any

from passes.partition.shardings import ShardingMap
from passes.sharding.op_rule_table import unknown
from passes.sharding.sharding_rule import Rule

RESHAPE = "stablehlo.reshape"

# With fewer dimensions in one Shardy exchanges the axes.
_MANY = 3


def joins_many(rule: Rule) -> bool:
    """Whether `replicate_misfits` is worth asking about a reshape, of which programs have many."""
    mappings = (*rule.operands, *rule.results)
    return any(_are_many(rule, factors) for mapping in mappings for factors in mapping)


def _are_many(rule: Rule, factors: tuple[int, ...]) -> bool:
    return len(factors) >= _MANY and sum(rule.sizes[f] > 1 for f in factors) >= _MANY


def replicate_misfits(shardings: ShardingMap, op: Any, rule: Rule) -> Rule:
    """``rule`` of a reshape, or one that makes everything whole, where planning by ``rule`` would die."""
    sides = [(op.operands[0], rule.operands[0]), (op.results[0], rule.results[0])]
    joined = [
        (shardings.dims(value)[dim], factors)
        for value, mapping in sides for dim, factors in enumerate(mapping)
        if _are_many(rule, factors)
    ]
    if not any(axes and not _fits([axis.size for axis in axes], [rule.sizes[f] for f in factors])
               for axes, factors in joined):
        return rule
    used = {axis.name for value, _ in sides for axes in shardings.dims(value) for axis in axes}
    return unknown(op) if len(used) > 1 else rule


def _fits(axes: list[int], sizes: list[int]) -> bool:
    """Whether ``axes`` divide the dimensions of ``sizes`` that make one up, major to minor, one after the other."""
    left = iter(sizes)
    size = next(left)
    for axis in axes:
        while size == 1:
            size = next(left, 0)
        if not size or size % axis:
            return False
        size //= axis
    return True
