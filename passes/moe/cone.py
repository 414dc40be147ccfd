"""What computes the summands of a dense layer: from tokens and the experts' weights alone, or it is not looked at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from passes.moe.products import Product, product_with
from passes.moe.roles import ELEMENTWISE, Roles, owner, through_broadcast, through_reshape, through_transpose
from passes.program.types import shape_of

_Before = list[tuple[Any, Roles]] | str


@dataclass
class Cone:
    """What computes the summands from what has no experts or no tokens.

    Attributes:
      tokens: The roles of tokens.
      roles: The roles of values with experts and tokens.
      products: The products among what makes them.
    """

    tokens: Roles
    roles: dict[Any, Roles] = field(default_factory=dict)
    products: list[Product] = field(default_factory=list)

    def grow(self, value: Any, roles: Roles) -> str:
        """Takes in what computes ``value``; why it is not the same for each expert and token alone, or nothing."""
        pending = [(value, roles)]
        while pending:
            value, roles = pending.pop()
            if not {"e", *self.tokens} <= set(roles):
                continue
            if value in self.roles:
                if self.roles[value] != roles:
                    return "a value is used with its experts or tokens along different dimensions"
                continue
            op = owner(value)
            if op is None:
                return "what its experts compute is an argument"
            self.roles[value] = roles
            before = self._before(op, roles)
            if isinstance(before, str):
                return before
            pending += before
        return "" if self.products else "its experts have no products"

    def _before(self, op: Any, roles: Roles) -> _Before:
        """The operands of ``op`` with their roles, or what is wrong with it."""
        if op.name in _LEAVES:
            return []
        if op.name in ELEMENTWISE and not len(op.regions):
            return [(v, roles if v.type.rank else ()) for v in op.operands]
        rule = _RULES.get(op.name)
        if rule is not None:
            return rule(self, op, roles)
        called = "; run inline before" if op.name in ("func.call", "stablehlo.composite") else ""
        return f"{op.name} stands between its products and their sum{called}"

    def dot(self, op: Any, roles: Roles) -> _Before:
        """A product: of tokens with the weights of all experts, or of each expert's own input."""
        product = product_with(op, roles, self.tokens)
        if isinstance(product, str):
            return product
        self.products.append(product)
        return [] if product.is_first else [(product.input, product.input_roles)]


def _broadcast(cone: Cone, op: Any, roles: Roles) -> _Before:
    return [(op.operands[0], through_broadcast(op, roles))]


def _transpose(cone: Cone, op: Any, roles: Roles) -> _Before:
    return [(op.operands[0], through_transpose(op, roles))]


def _reshape(cone: Cone, op: Any, roles: Roles) -> _Before:
    before = through_reshape(op, roles)
    return [(op.operands[0], before)] if before is not None else "a reshape joins or cuts experts or tokens"


def _slice(cone: Cone, op: Any, roles: Roles) -> _Before:
    whole = zip(shape_of(op.operands[0]), shape_of(op.results[0]), strict=True)
    cut = any(role and before != after for role, (before, after) in zip(roles, whole, strict=True))
    return "a slice takes only some experts or tokens" if cut else [(op.operands[0], roles)]


_RULES: dict[str, Callable[[Cone, Any, Roles], _Before]] = {
    "stablehlo.broadcast_in_dim": _broadcast, "stablehlo.transpose": _transpose, "stablehlo.reshape": _reshape,
    "stablehlo.slice": _slice, "stablehlo.dot_general": Cone.dot,
}
# What depends on nothing.
_LEAVES = frozenset({"stablehlo.constant", "stablehlo.iota"})
