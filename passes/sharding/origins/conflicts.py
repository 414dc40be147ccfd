"""Conflicts: what a tensor might have got from its neighbours and did not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from passes.sharding.flow import Tensor, neighbours
from passes.sharding.mesh import Axis
from passes.sharding.origins.chains import Chain, Chains, factors_of, overlap
from passes.sharding.sharding_rule import Rule


@dataclass(frozen=True)
class Conflict:
    """A tensor that shares a factor with another and lies differently there.

    Attributes:
      op: Where the two meet.
      factor, rule: The factor of its rule.
      dim, other_dim: The dimensions that belong to the factor.
      other: The other tensor, ``place`` says which operand or result of the op it is.
      missed: The axes the other has there and this one has not.
      chain: How the first of them came to the other.
    """

    op: Any
    factor: int
    rule: Rule
    dim: int
    other: Tensor
    other_dim: int
    place: tuple[str, int]
    missed: tuple[Axis, ...]
    chain: Chain


def conflicts(chains: Chains, tensor: Tensor) -> list[Conflict]:
    """Where ``tensor`` meets tensors that are split over axes which it did not take."""
    found: list[Conflict] = []
    for op in dict.fromkeys(neighbours(tensor)):
        rule = chains.notes.rule(op)
        if rule is not None:
            found += _at(chains, tensor, op, rule)
    return found


def _at(chains: Chains, tensor: Tensor, op: Any, rule: Rule) -> Iterator[Conflict]:
    places = [("operand", i) for i in range(len(rule.operands))] + [("result", i) for i in range(len(rule.results))]
    tensors = [chains.notes.at(op, place) for place in places]
    mine = next((p for p, t in zip(places, tensors, strict=True) if t == tensor), None)
    if mine is None:
        return
    own = _by_factor(chains, tensor, rule, mine)
    for place, other in zip(places, tensors, strict=True):
        if other == tensor:
            continue
        for factor, (other_dim, axes) in _by_factor(chains, other, rule, place).items():
            if factor in own:
                dim, has = own[factor]
                missed = tuple(a for a in axes if not any(overlap(a, b) for b in has))
                if missed and factor not in rule.need_replication | rule.blocked:
                    chain = chains.chain(other, missed[0], other_dim)
                    yield Conflict(op, factor, rule, dim, other, other_dim, place, missed, chain)


def _by_factor(
    chains: Chains, tensor: Tensor, rule: Rule, place: tuple[str, int]
) -> dict[int, tuple[int, tuple[Axis, ...]]]:
    """For each factor of ``tensor``: its dimension, and the axes there; of several factors the major ones first."""
    mapping = factors_of(rule, place)
    dims = [axes for axes, _ in chains.layouts.dims(tensor)] or [()] * len(mapping)
    found: dict[int, tuple[int, tuple[Axis, ...]]] = {}
    for dim, (factors, axes) in enumerate(zip(mapping, dims, strict=False)):
        rest = list(axes)
        for factor in factors:
            room, taken = rule.sizes[factor], list[Axis]()
            while rest and room > 1 and (rest[0].size <= room or factor == factors[-1]):
                room //= rest[0].size
                taken.append(rest.pop(0))
            found[factor] = (dim, tuple(taken))
    return found
