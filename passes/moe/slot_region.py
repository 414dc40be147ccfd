"""What programs compute for each slot between products with copies of weights: `slots` computes it for experts instead.

Values have a role for each of their dimensions that is slots; others are theirs alone.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from passes.moe.copies import Copy, Product, copies_per_token
from passes.moe.roles import (
    ELEMENTWISE,
    NONE,
    Roles,
    behind,
    owner,
    reducing,
    splat_of,
    through_broadcast,
    through_reshape,
    through_transpose,
)
from passes.program.attributes import integers
from passes.program.types import shape_of

Operands = list[tuple[Any, Roles]]


def _same(op: Any, roles: Roles) -> Operands | None:
    return [(v, roles if v.type.rank else ()) for v in op.operands]


def _broadcast(op: Any, roles: Roles) -> Operands | None:
    return [(op.operands[0], through_broadcast(op, roles))]


def _transpose(op: Any, roles: Roles) -> Operands | None:
    return [(op.operands[0], through_transpose(op, roles))]


def _reshape(op: Any, roles: Roles) -> Operands | None:
    before = through_reshape(op, roles)
    return None if before is None else [(op.operands[0], before)]


def _slice(op: Any, roles: Roles) -> Operands | None:
    sizes = zip(roles, shape_of(op.operands[0]), shape_of(op.results[0]), strict=True)
    return None if any(role and before != after for role, before, after in sizes) else [(op.operands[0], roles)]


def _pad(op: Any, roles: Roles) -> Operands | None:
    edges = zip(roles, *(integers(op, key) for key in ("edge_padding_low", "edge_padding_high", "interior_padding")),
                strict=True)
    is_whole = not any(role and any(padding) for role, *padding in edges)
    return [(op.operands[0], roles), (op.operands[1], ())] if is_whole else None


def _reduce(op: Any, roles: Roles) -> Operands | None:
    dim = reducing(op, "stablehlo.add")
    return None if dim is None else [(op.operands[0], (*roles[:dim], NONE, *roles[dim:])), (op.operands[1], ())]


# The operands and their roles, from the result's; nothing if slots do not stay dimensions of their own.
_BEFORE: dict[str, Callable[[Any, Roles], Operands | None]] = {
    "stablehlo.broadcast_in_dim": _broadcast, "stablehlo.transpose": _transpose, "stablehlo.reshape": _reshape,
    "stablehlo.slice": _slice, "stablehlo.pad": _pad, "stablehlo.reduce": _reduce,
    **dict.fromkeys(ELEMENTWISE, _same),
}


@dataclass
class Region:
    """What is computed from some products to others of the same copies, and the products.

    Attributes:
      copies: The copies by their values.
      products: In the order of the block.
      inside: What each value inside is computed from; in the order of the block.
      roles: Of the values inside and of what they are computed from.
      needs: For each value inside, of how many slots in a row its inputs are the same.
    """

    copies: dict[Any, Copy]
    products: list[Product]
    inside: dict[Any, Operands] = field(default_factory=dict)
    roles: dict[Any, Roles] = field(default_factory=dict)
    needs: dict[Any, set[int]] = field(default_factory=dict)

    @functools.cached_property
    def slots(self) -> dict[str, int]:
        """The sizes of dimensions of slots."""
        return self.products[0].copy.slots

    @functools.cached_property
    def by_result(self) -> dict[Any, Product]:
        """The products by their values."""
        return {p.dot.op.results[0]: p for p in self.products}

    @property
    def repeats(self) -> set[int]:
        """All of `needs`."""
        return set().union(*self.needs.values())

    def has_slots(self, roles: Roles) -> bool:
        """Whether a value is one for each slot."""
        return set(self.slots) <= set(roles)

    def grow(self) -> None:
        """Finds what is inside: what is computed from a product and leads to one."""
        seen: dict[Any, Operands] = {}
        pending = [(p.dot.op.results[0], p.roles) for p in self.products]
        while pending:
            value, roles = pending.pop()
            if value in seen or (operands := self._operands(value, roles)) is None:
                continue
            seen[value], self.roles[value] = operands, roles
            pending += operands
        for value in sorted(seen, key=functools.cmp_to_key(_in_order)):
            operands = seen[value]
            if self._is_source(value) or any(v in self.inside for v, _ in operands):
                self.inside[value] = operands
                self.needs[value] = set().union(*(self._needs(value, v, roles) for v, roles in operands))

    def is_twisted(self) -> bool:
        """Whether a value inside is used with its slots along other dimensions than it was found with."""
        every = (pair for operands in self.inside.values() for pair in operands)
        return any(value in self.inside and self.roles[value] != roles for value, roles in every)

    def _is_source(self, value: Any) -> bool:
        return value in self.by_result or value in self.copies

    def _operands(self, value: Any, roles: Roles) -> Operands | None:
        """What ``value`` is computed from, if it may be inside."""
        if value in self.by_result:
            return [(self.by_result[value].input, self.by_result[value].input_roles)]
        if value in self.copies:
            copy = self.copies[value]
            fits = all(a == b for a, b in zip(roles, copy.roles, strict=True) if b in self.slots)
            return [] if copy.table.type.rank == 2 and fits else None
        op, first = owner(value), self.products[0].dot.op
        if op is None or not self.has_slots(roles) or op.block != first.block or op.is_before_in_block(first):
            return None
        rule = _BEFORE.get(op.name)
        return rule(op, roles) if rule is not None and len(op.results) == 1 else None

    def _needs(self, user: Any, value: Any, roles: Roles) -> set[int]:
        """Of how many slots in a row ``value``, an operand of ``user``, is the same; nothing if it does not matter."""
        if value in self.inside:
            return self.needs[value]
        missing = [role for role in self.slots if role not in roles]
        if user in self.by_result:
            count = math.prod(self.slots[role] for role in missing)
            return {count if missing else copies_per_token(value, roles, self.slots)}
        if missing or splat_of(value) is not None or self.shared(value, roles) is not None:
            return set()
        return {copies_per_token(value, roles, self.slots)}

    def shared(self, value: Any, roles: Roles) -> tuple[Any, Roles] | None:
        """What ``value`` is a copy of for each slot, its dimensions with the numbers of those of ``value`` they are."""
        sizes = shape_of(value)
        numbers = tuple(role or (str(d) if sizes[d] > 1 else NONE) for d, role in enumerate(roles))
        found = behind(value, numbers)
        return None if set(self.slots) & set(found.roles) else (found.value, found.roles)


def _in_order(one: Any, other: Any) -> int:
    a, b = one.owner.operation, other.owner.operation
    return 0 if a == b else -1 if a.is_before_in_block(b) else 1
