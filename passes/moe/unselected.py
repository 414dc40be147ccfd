"""What experts compute for tokens that did not select them: who reads it, and whether it matters.

A sparse product leaves out[t, e] open where token t did not select expert e. In a forward program only the sum over
experts reads that, with weight zero. A gradient reads more of it, but multiplies with zero before it adds up over
experts or tokens: what comes back to an expert is the error of a token times its weight. Two things are known of a
value with experts and tokens:

  open   it is computed from a sparse product at the same place, so nothing is known of it where nobody selected
  zero   it was zero there before: the one-hot, what is multiplied with it, sums of such, ...

An open value may go where experts or tokens are added up if it was zero, or if what it is contracted with is. There a
select makes it zero, again or harmlessly. Zero times what an expert computes is taken for zero: as everywhere in
`sparsify`, an infinity or NaN at a place that nobody selected is not kept.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from passes.moe.onward import after
from passes.moe.products import Product, product_with, summed_product
from passes.moe.roles import Roles, dot_of, is_zero, owner, reduces_with


@dataclass(frozen=True)
class Exit:
    """An operand of an op outside that is to be made zero where nobody selected."""

    user: Any
    number: int
    roles: Roles


@dataclass
class Unselected:
    """Follows one layer on from its one-hot and its products.

    Attributes:
      anchor: The sum over experts, which goes.
      tokens: The roles of tokens.
      products: By their results; those of a gradient are added.
      summed: Products of a gradient that are added up over experts as well.
      exits: What to make zero.
      roles: Of all values with experts and tokens that are computed from the one-hot or a product.
    """

    anchor: Any
    tokens: Roles
    products: dict[Any, Product]
    summed: list[Product] = field(default_factory=list)
    exits: list[Exit] = field(default_factory=list)
    roles: dict[Any, Roles] = field(default_factory=dict)
    zero: set[Any] = field(default_factory=set)
    open: set[Any] = field(default_factory=set)

    def follow(self, hot: Any, hot_roles: Roles) -> str:
        """Finds all there is; why a product cannot be open where nobody selected, or nothing."""
        starts = {hot: hot_roles, **{value: product.roles for value, product in self.products.items()}}
        self._explore(starts)
        self.zero.add(hot)
        values = sorted(self.roles, key=functools.cmp_to_key(_in_order))
        for value in values:
            if value not in starts and (reason := self._judge(value, owner(value))):
                return reason
            if value in self.products:
                self.open.add(value)
        reasons = (self._leave(value) for value in values if value in self.open or value in self.zero)
        return next(filter(None, reasons), "")

    def _explore(self, starts: dict[Any, Roles]) -> None:
        block, pending = self.anchor.block, list(starts.items())
        while pending:
            value, roles = pending.pop()
            if value in self.roles:
                continue
            self.roles[value] = roles
            for use in value.uses:
                user = use.owner.operation
                then = after(user, use.operand_number, roles)
                if then is not None and user.block == block:
                    pending.append((user.results[0], then))

    def _judge(self, value: Any, op: Any) -> str:
        """Whether ``value`` was zero, is open, is a product."""
        own = self.roles[value]
        followed = [v in self.roles and after(op, i, self.roles[v]) for i, v in enumerate(op.operands)]
        if any(v in self.open and then and then != own for v, then in zip(op.operands, followed, strict=True)):
            return "a value is used with its experts or tokens along different dimensions"
        zeros = [v in self.zero if then == own else is_zero(v) for v, then in zip(op.operands, followed, strict=True)]
        if _ZERO.get(op.name, _never)(op, zeros):
            self.zero.add(value)
        if any(v in self.open and then == own for v, then in zip(op.operands, followed, strict=True)):
            self.open.add(value)
        if op.name == "stablehlo.dot_general" and (value in self.open or value in self.zero):
            product = product_with(op, own, self.tokens)
            if isinstance(product, Product) and not product.is_first:
                self.products[value] = product
        return ""

    def _leave(self, value: Any) -> str:
        """Notes where ``value``, which is open or was zero, goes out of what is followed; or why it cannot."""
        roles = self.roles[value]
        for use in value.uses:
            user, number = use.owner.operation, use.operand_number
            if user == self.anchor or (len(user.results) == 1 and user.results[0] in self.roles
                                       and after(user, number, roles) is not None):
                continue
            if value in self.zero and user.name == "stablehlo.dot_general" and (
                product := summed_product(user, number, roles, self.tokens)
            ):
                self.summed.append(product)
            elif value not in self.open:
                continue
            elif value in self.zero or self._is_met_by_zero(user, number, roles):
                self.exits.append(Exit(user, number, roles))
            else:
                return f"what its experts compute is also used by a {user.name}, as in a gradient"
        return ""

    def _is_met_by_zero(self, user: Any, number: int, roles: Roles) -> bool:
        """Whether ``user`` is a dot of its operand with one that was zero at the same experts and tokens."""
        if user.name != "stablehlo.dot_general" or user.operands[1 - number] not in self.zero:
            return False
        dot, other = dot_of(user), self.roles[user.operands[1 - number]]
        own, theirs = ([*dot.batch[side], *dot.contract[side]] for side in (number, 1 - number))
        same = {roles[d] for d, e in zip(own, theirs, strict=True) if roles[d] == other[e]}
        return {"e", *self.tokens} <= same


def _in_order(one: Any, other: Any) -> int:
    a, b = one.owner.operation, other.owner.operation
    return 0 if a == b else -1 if a.is_before_in_block(b) else 1


# Whether a result is zero where some operands are.
_Rule = Callable[[Any, list[bool]], bool]


def _never(op: Any, zeros: list[bool]) -> bool:
    return False


def _first(op: Any, zeros: list[bool]) -> bool:
    return zeros[0]


def _any(op: Any, zeros: list[bool]) -> bool:
    return any(zeros)


def _all(op: Any, zeros: list[bool]) -> bool:
    return all(zeros)


def _select(op: Any, zeros: list[bool]) -> bool:
    return zeros[2] and (zeros[0] or zeros[1])


def _reduce(op: Any, zeros: list[bool]) -> bool:
    return zeros[0] and reduces_with(op, "stablehlo.add")


_ZERO: dict[str, _Rule] = {
    f"stablehlo.{name}": rule
    for rule, names in (
        (_first, "abs broadcast_in_dim cbrt ceil convert divide exponential_minus_one floor log_plus_one negate "
                 "reshape round_nearest_afz round_nearest_even sign sine slice sqrt tan tanh transpose"),
        (_any, "and dot_general multiply"),
        (_all, "add concatenate maximum minimum or pad subtract"),
        (_select, "select"),
        (_reduce, "reduce"),
    )
    for name in names.split()
}
