"""Recognises layers that give each expert room for a number of tokens, as GShard and Switch Transformers do.

  moved[g, e, c] = sum over s of dispatch[g, s, e, c] * x[g, s],   h[e, g, c] = moved[g, e, c] @ weights[e], ...

A one-hot `dispatch` moves the tokens s of each group g to places c of experts e (and drops what finds none); a product
for each expert follows, and what it computes is moved back the same way. There are no products to be saved here: each
expert multiplies what it has room for. What is won is where: with its tokens split over experts, as the weights are,
the two moves are an all_to_all each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from passes import _mlir
from passes.moe.roles import ELEMENTWISE, NONE, Roles, behind, dot_of, owner, through_transpose
from passes.program.types import shape_of
from passes.program.walk import named

_DOT = "stablehlo.dot_general"
# How many ops a one-hot is looked for in.
_REACH = 200


@dataclass(frozen=True)
class Room:
    """A product of what was moved to experts with their weights.

    Attributes:
      product: The dot.
      side: Which of its operands has what was moved.
      expert: The dimension of that which is experts.
      dispatch: The dot that moved it.
      moved: The dimension of its result that is experts.
      places: How many an expert has for each group.
    """

    product: Any
    side: int
    expert: int
    dispatch: Any
    moved: int
    places: int

    @property
    def experts(self) -> int:
        """E."""
        return shape_of(self.product.operands[self.side])[self.expert]


def rooms(module: Any) -> list[Room]:
    """The first products behind each such move in ``module``."""
    return [room for op in named(module, frozenset({_DOT})) if (room := _room(op)) is not None]


def _room(op: Any) -> Room | None:
    dot = dot_of(op)
    for side in (0, 1):
        weights = 1 - side
        if len(dot.batch[side]) != 1 or len(dot.contract[side]) != 1 or op.operands[weights].type.rank != 3:
            continue
        expert, inner = dot.batch[side][0], dot.contract[side][0]
        roles = tuple("e" if d == expert else NONE if d == inner else "t" for d in range(op.operands[side].type.rank))
        value = op.operands[side]
        while (made := owner(value)) is not None and made.name == "stablehlo.transpose":
            value, roles = made.operands[0], through_transpose(made, roles)
        if made is not None and made.name == _DOT and (places := _places(made, roles)):
            return Room(op, side, expert, made, roles.index("e"), places)
    return None


def _places(op: Any, roles: Roles) -> int:
    """How many places of each expert the dot ``op``, its result having ``roles``, moves tokens to; or 0."""
    dot = dot_of(op)
    if len(dot.contract[0]) != 1:
        return 0
    sources = dot.sources()
    for mask in (0, 1):
        mine = [d for d, pair in enumerate(sources) if pair[mask] is not None and pair[1 - mask] is None]
        places = [d for d in mine if roles[d] == "t"]
        is_moved = len(mine) == 2 and len(places) == 1 and "e" in {roles[d] for d in mine}
        if is_moved and _is_one_hot(op.operands[mask]):
            return shape_of(op.results[0])[places[0]]
    return 0


def _is_one_hot(value: Any) -> bool:
    """Whether ``value`` comes from a comparison with counted numbers."""
    seen: set[Any] = set()
    pending = [value]
    while pending and len(seen) < _REACH:
        op = owner(pending.pop())
        if op is None or op in seen:
            continue
        seen.add(op)
        if op.name == "stablehlo.compare" and _compares_with_count(op):
            return True
        if op.name in _THROUGH:
            pending += op.operands
    return False


def _compares_with_count(op: Any) -> bool:
    equal = _mlir.stablehlo.ComparisonDirectionAttr(op.attributes["comparison_direction"]).value == "EQ"
    made = [owner(behind(v, (NONE,) * v.type.rank, converts=True).value) for v in op.operands]
    return equal and any(m is not None and m.name == "stablehlo.iota" for m in made)


_THROUGH = ELEMENTWISE | {
    _DOT, "stablehlo.broadcast_in_dim", "stablehlo.reshape", "stablehlo.transpose", "stablehlo.reduce",
    "stablehlo.slice", "stablehlo.concatenate",
}
