"""Products of dense layers for which there are sparse ones: tokens, or what experts made of them, times matrices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from passes.moe.roles import Dot, Roles, dot_of


@dataclass(frozen=True)
class Product:
    """A ``dot_general`` of an input with a matrix for each expert.

    Attributes:
      side: Which operand is the input.
      input_roles: The roles of its dimensions.
      roles: Those of the result.
      expert: The dimension of the matrices [E,K,N], in whatever order, that is experts.
      inner: The one that is contracted.
    """

    dot: Dot
    side: int
    input_roles: Roles
    roles: Roles
    expert: int
    inner: int

    @property
    def is_first(self) -> bool:
        """Whether the input is the same for all experts: rows of tokens."""
        return "e" not in self.input_roles

    @property
    def is_summed(self) -> bool:
        """Whether the product is added up over experts as well, as the gradient by a layer's input is."""
        return "e" not in self.roles

    @property
    def input(self) -> Any:
        """The operand that is multiplied with the matrices."""
        return self.dot.op.operands[self.side]

    @property
    def columns(self) -> int:
        """The dimension of the matrices that is the result's."""
        return 3 - self.expert - self.inner


def unfit(op: Any) -> str:
    """Why there is no sparse product for the ``dot_general`` ``op``, whatever its operands are, or nothing."""
    if len({v.type.element_type for v in (*op.operands, *op.results)}) > 1:
        return "a product has results of another element type than its operands"
    if "precision_config" in op.attributes and "HIGH" in str(op.attributes["precision_config"]):
        return "a product states a precision, which a sparse product cannot"
    return ""


def product_with(op: Any, roles: Roles, tokens: Roles) -> Product | str:
    """The product that ``op`` is, its result having ``roles``, experts and ``tokens`` among them; or why it is none."""
    dot = dot_of(op)
    sides = dot.operand_roles(roles)
    if len(dot.contract[0]) != 1:
        return "a product contracts several dimensions at once, or none"
    if reason := unfit(op):
        return reason
    inputs = [side for side in (0, 1) if set(tokens) & set(sides[side])]
    if len(inputs) != 1:
        return "a product has tokens on both sides"
    side, count = inputs[0], len(tokens)
    if "e" not in sides[1 - side] or op.operands[1 - side].type.rank != 3:
        return "a product is with something else than a matrix for each expert"
    found = Product(dot, side, sides[side], roles, sides[1 - side].index("e"), dot.contract[1 - side][0])
    rank = op.operands[side].type.rank
    if not found.is_first and rank != count + 2:
        return "a product has more dimensions than experts, tokens and what it contracts"
    if found.is_first and rank != count + 1:
        return "a product has more dimensions than tokens and what it contracts"
    return found


def summed_product(op: Any, side: int, roles: Roles, tokens: Roles) -> Product | None:
    """The product of operand ``side``, which has ``roles``, with matrices, added up over experts, if ``op`` is one.

      out[t] = sum over e and i of x[t, e, i] * matrices[e, i]
    """
    dot = dot_of(op)
    pairs = {roles[d]: other for d, other in zip(dot.contract[side], dot.contract[1 - side], strict=True)}
    if set(pairs) != {"e", ""} or len(dot.contract[side]) != 2 or dot.batch[side] or unfit(op):
        return None
    if op.operands[1 - side].type.rank != 3 or len(roles) != len(tokens) + 2:
        return None
    result = tuple("" if (d := pair[side]) is None else roles[d] for pair in dot.sources())
    return Product(dot, side, roles, result, pairs["e"], pairs[""])
