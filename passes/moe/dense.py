"""Recognises dense mixture-of-experts layers: a sum over experts, weighed by what `spread` finds.

  out[t] = sum over e of matrix[t, e] * summands[t, e]
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from passes import _mlir
from passes.errors import Where
from passes.moe.roles import NONE, Roles, dot_of, owner, reducing
from passes.moe.spread import Spread, spread

# The ops that a sum over experts may be.
SUMS = frozenset({"stablehlo.reduce", "stablehlo.dot_general"})


@dataclass(frozen=True)
class Dense:
    """A sum over experts.

    Attributes:
      anchor: The op that adds up.
      reader: The op that weighs: it has the summands for operand number ``side``.
      roles: The roles of the summands' dimensions.
      kept: Those of their dimensions that the result has, in its order.
      spread: Their weights.
    """

    anchor: Any
    reader: Any
    side: int
    roles: Roles
    kept: list[int]
    spread: Spread

    @property
    def summands(self) -> Any:
        """What each expert computes for each token."""
        return self.reader.operands[self.side]

    @property
    def where(self) -> Where | None:
        """Where the sum stands in the user's file."""
        return _mlir.where_of(self.anchor.location)

    @property
    def experts(self) -> int:
        """E."""
        return int(self.summands.type.shape[self.roles.index("e")])

    @property
    def what(self) -> str:
        """What was found, for people."""
        return f"dense mixture of experts ({self.tokens} tokens, {self.chosen} of {self.experts} experts)"

    @property
    def tokens(self) -> int:
        """T."""
        return math.prod(self.token_sizes)

    @property
    def token_sizes(self) -> tuple[int, ...]:
        """The sizes of the dimensions that T is made of."""
        return tuple(self.summands.type.shape[self.roles.index(role)] for role in self.spread.tokens)

    @property
    def chosen(self) -> int:
        """K."""
        return int(self.spread.indices.type.shape[-1])


def dense_of(anchor: Any) -> Dense | None:
    """The sum over experts that ``anchor``, one of `SUMS`, is, if it is one."""
    if anchor.name == "stablehlo.dot_general":
        return _of_dot(anchor)
    dim = reducing(anchor, "stablehlo.add")
    product = owner(anchor.operands[0]) if dim is not None else None
    if product is None or dim is None or product.name != "stablehlo.multiply":
        return None
    for side in (0, 1):
        weights = spread(product.operands[side])
        if weights is not None and weights.roles[dim] == "e":
            kept = [d for d in range(len(weights.roles)) if d != dim]
            return Dense(anchor, product, 1 - side, weights.roles, kept, weights)
    return None


def _of_dot(anchor: Any) -> Dense | None:
    """dot(summands, matrix): tokens are batched, experts contracted."""
    dot = dot_of(anchor)
    if not dot.batch[0] or len(dot.contract[0]) != 1:
        return None
    for side in (0, 1):
        matrix, other = anchor.operands[side], 1 - side
        if dot.free(side) or (weights := spread(matrix)) is None or weights.roles[dot.contract[side][0]] != "e":
            continue
        roles = [NONE] * anchor.operands[other].type.rank
        roles[dot.contract[other][0]] = "e"
        for d, same in zip(dot.batch[other], dot.batch[side], strict=True):
            roles[d] = weights.roles[same]
        return Dense(anchor, anchor, other, tuple(roles), [*dot.batch[other], *dot.free(other)], weights)
    return None
