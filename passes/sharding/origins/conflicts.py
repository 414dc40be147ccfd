"""Conflicts: what a tensor might have got from its neighbours and did not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from passes import _mlir
from passes.program.walk import operations
from passes.sharding.flow import EDGE, Tensor, neighbours, results, tensor_of
from passes.sharding.mesh import Axis
from passes.sharding.op_rules import RULE
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


# A tensor at an op: which operand or result it is, and what it has for each factor (`_by_factor`).
_Side = tuple[tuple[str, int], Tensor, dict[int, tuple[int, tuple[Axis, ...]]]]


def conflicts(chains: Chains, tensor: Tensor) -> list[Conflict]:
    """Where ``tensor`` meets tensors that are split over axes which it did not take."""
    found: list[Conflict] = []
    for op in dict.fromkeys(neighbours(tensor)):
        rule = chains.notes.rule(op)
        if rule is not None:
            found += _at(chains, tensor, op, rule, _sides(chains, op, rule))
    return found


def all_conflicts(chains: Chains) -> dict[Tensor, list[Conflict]]:
    """The conflicts of every tensor that has any, in one walk.

    Most ops are like others: where rule and shardings are the same, tensors agree alike, so few are looked at closely.
    """
    found: dict[Tensor, list[Conflict]] = {}
    lies, agree = _Lies(chains), dict[Any, bool]()
    for op in operations(chains.layouts.program.module):
        attributes = op.attributes
        if RULE not in attributes:
            continue
        key = (attributes[RULE], *[lies[v] for v in op.operands], *[lies[v] for v in op.results])
        if agree.get(key, False):
            continue
        rule = chains.notes.rule(op)
        assert rule is not None
        sides = _sides(chains, op, rule)
        if key not in agree:
            agree[key] = _agree(sides)
        if agree[key]:
            continue
        for tensor in dict.fromkeys(tensor for _, tensor, _ in sides):
            if here := list(_at(chains, tensor, op, rule, sides)):
                found.setdefault(tensor, []).extend(here)
    return found


class _Lies(dict[Any, Any]):
    """Value -> its sharding; of what lies as no other does for all its sharding says, the tensor itself."""

    def __init__(self, chains: Chains) -> None:
        self.layouts = chains.layouts

    def __missing__(self, value: Any) -> Any:
        tensor = tensor_of(value)
        # Inside of a manual computation a sharding leaves out the manual axes (`Layouts.dims`).
        edge = not isinstance(tensor.owner, _mlir.ir.Block) and tensor.owner.name == EDGE
        self[value] = tensor if edge else self.layouts.sharding(tensor)
        return self[value]


def _sides(chains: Chains, op: Any, rule: Rule) -> list[_Side]:
    operands, made = chains.notes.flow.operands(op), results(op)
    places = [("operand", i) for i in range(len(rule.operands))] + [("result", i) for i in range(len(rule.results))]
    tensors = [(operands if kind == "operand" else made)[index] for kind, index in places]
    return [(p, t, _by_factor(chains, t, rule, p)) for p, t in zip(places, tensors, strict=True)]


def _agree(sides: list[_Side]) -> bool:
    """Whether all have the same axes for each factor."""
    seen: dict[int, tuple[Axis, ...]] = {}
    return all(seen.setdefault(factor, axes) == axes for _, _, own in sides for factor, (_, axes) in own.items())


def _at(chains: Chains, tensor: Tensor, op: Any, rule: Rule, sides: list[_Side]) -> Iterator[Conflict]:
    own = next((by_factor for _, other, by_factor in sides if other == tensor), None)
    if own is None:
        return
    for place, other, by_factor in sides:
        if other == tensor:
            continue
        for factor, (other_dim, axes) in by_factor.items():
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
