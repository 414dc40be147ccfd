"""``#sdy.op_sharding_rule`` as plain data, and its translation from and to the attribute.

A rule names the *factors* of an operation's dimensions: ``([i, k], [k, j])->([i, j]) {i=8, j=4, k=16} reduction={k}``.
Factors are numbered here as Shardy numbers them.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from passes import _mlir

# For one tensor, for each dimension, its factors, major to minor.
Mapping = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Rule:
    """A sharding rule.

    Attributes:
      sizes: Size of each factor.
      operands, results: The mapping of each tensor.
      reduction, need_replication, permutation, blocked: The factors of each kind.
    """

    sizes: tuple[int, ...]
    operands: tuple[Mapping, ...]
    results: tuple[Mapping, ...]
    reduction: frozenset[int] = frozenset()
    need_replication: frozenset[int] = frozenset()
    permutation: frozenset[int] = frozenset()
    blocked: frozenset[int] = frozenset()

    def replicating(self, factors: Iterable[int]) -> Rule:
        """The rule with ``factors`` moved to ``need_replication``."""
        moved = frozenset(factors)
        if moved <= self.need_replication:
            return self
        return replace(
            self,
            reduction=self.reduction - moved,
            need_replication=self.need_replication | moved,
            permutation=self.permutation - moved,
        )

    def passing(self, factors: Iterable[int]) -> Rule:
        """The rule with ``factors`` no longer permuted: shards stay where they are."""
        kept = self.permutation - frozenset(factors)
        return self if kept == self.permutation else replace(self, permutation=kept)

    def sharing(self, operands: Iterable[tuple[int, int]], results: Iterable[tuple[int, int]], size: int) -> Rule:
        """The rule with one factor of ``size`` in these (number, dimension) places of operands and results.

        Operands only: results are summed over it. Factors that stand nowhere any more are gone.
        """
        results = tuple(results)
        new = len(self.sizes)
        inputs = _with_factor(self.operands, operands, new)
        outputs = _with_factor(self.results, results, new)
        left = {f for mapping in (*inputs, *outputs) for factors in mapping for f in factors}
        number = {old: i for i, old in enumerate(sorted(left))}

        def kept(factors: Iterable[int]) -> frozenset[int]:
            return frozenset(number[f] for f in factors if f in left)

        sizes = (*self.sizes, size)
        return Rule(
            tuple(sizes[f] for f in sorted(left)),
            tuple(_renumbered(m, number) for m in inputs),
            tuple(_renumbered(m, number) for m in outputs),
            kept(self.reduction if results else self.reduction | {new}),
            kept(self.need_replication),
            kept(self.permutation),
            kept(self.blocked),
        )


def _with_factor(mappings: tuple[Mapping, ...], places: Iterable[tuple[int, int]], factor: int) -> tuple[Mapping, ...]:
    chosen = set(places)
    return tuple(
        tuple((factor,) if (i, d) in chosen else factors for d, factors in enumerate(mapping))
        for i, mapping in enumerate(mappings)
    )


def _renumbered(mapping: Mapping, number: dict[int, int]) -> Mapping:
    return tuple(tuple(number[f] for f in factors) for factors in mapping)


def factors_at(dims: Iterable[int], *mappings: Mapping) -> frozenset[int]:
    """The factors that lie in any of ``dims`` of any of ``mappings``."""
    wanted = set(dims)
    return frozenset(f for mapping in mappings for d, factors in enumerate(mapping) if d in wanted for f in factors)


def replicated(operands: Iterable[tuple[int, ...]], results: Iterable[tuple[int, ...]]) -> Rule:
    """The rule of an operation about which nothing is known, from its tensors' shapes: no dimension may be sharded."""
    sizes: list[int] = []

    def mapping(shape: tuple[int, ...]) -> Mapping:
        first = len(sizes)
        sizes.extend(shape)
        return tuple((first + d,) for d in range(len(shape)))

    operand_mappings = tuple(mapping(s) for s in operands)
    result_mappings = tuple(mapping(s) for s in results)
    return Rule(tuple(sizes), operand_mappings, result_mappings, need_replication=frozenset(range(len(sizes))))


def elementwise(shape: tuple[int, ...], operand_count: int, result_count: int) -> Rule:
    """The rule of an operation whose tensors all have ``shape`` and correspond element by element."""
    mapping = tuple((d,) for d in range(len(shape)))
    return Rule(shape, (mapping,) * operand_count, (mapping,) * result_count)


# Attributes are uniqued by the context and a large program has few different rules, so both directions are remembered.
@functools.lru_cache(maxsize=4096)
def decode(attribute: Any) -> tuple[Rule, bool]:
    """The rule in ``#sdy.op_sharding_rule``, and whether it is marked custom."""
    attr = _mlir.sdy.OpShardingRuleAttr(attribute)
    rule = Rule(
        tuple(attr.factor_sizes),
        tuple(_mapping(m) for m in attr.operand_mappings),
        tuple(_mapping(m) for m in attr.result_mappings),
        frozenset(attr.reduction_factors),
        frozenset(attr.need_replication_factors),
        frozenset(attr.permutation_factors),
        frozenset(attr.blocked_propagation_factors),
    )
    return rule, bool(attr.is_custom)


@functools.lru_cache(maxsize=4096)
def encode(rule: Rule, is_custom: bool = False) -> Any:
    """``#sdy.op_sharding_rule`` for ``rule``; the mark ``custom`` says that a user gave it."""
    return _mlir.sdy.OpShardingRuleAttr.get(
        list(rule.sizes),
        [_mapping_attr(m) for m in rule.operands],
        [_mapping_attr(m) for m in rule.results],
        sorted(rule.reduction),
        sorted(rule.need_replication),
        sorted(rule.permutation),
        sorted(rule.blocked),
        is_custom,
        context=_mlir.context(),
    )


def _mapping(attribute: Any) -> Mapping:
    sdy = _mlir.sdy
    dims = sdy.TensorMappingAttr(attribute).dim_mappings
    return tuple(tuple(sdy.DimMappingAttr(d).factor_indices) for d in dims)


def _mapping_attr(mapping: Mapping) -> Any:
    sdy, context = _mlir.sdy, _mlir.context()
    dims = [sdy.DimMappingAttr.get(list(factors), context=context) for factors in mapping]
    return sdy.TensorMappingAttr.get(dims, context=context)
