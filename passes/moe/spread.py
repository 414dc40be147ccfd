"""Recognises the matrix that a dense layer weighs its experts with: weights [T,K] spread over experts by their numbers.

  matrix[t, e] = sum over k of weights[t, k] * (indices[t, k] == e)

(T may be several dimensions) as front ends write it: a one-hot of the indices times the weights, summed over slots; a
select instead of the product; or a dot. What else multiplies or adds to it is not recognised. Nothing has to be known
about the indices: experts named twice count twice, numbers beyond the experts count for nothing, here and in the
sparse form.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from passes import _mlir
from passes.moe.roles import (
    NONE,
    Found,
    Roles,
    behind,
    dot_of,
    is_zero,
    owner,
    reducing,
    tokens,
)
from passes.program.types import shape_of


@dataclass(frozen=True)
class Spread:
    """Weights and indices, both [T,K], and the roles of the dimensions of the value that they were found behind.

    Dimensions of tokens are numbered as weights and indices have them. `hot` is the comparison of indices with numbers
    of experts, false wherever a token did not select an expert; `hot_roles` leave out its slots.
    """

    weights: Any
    indices: Any
    roles: Roles
    hot: Any
    hot_roles: Roles

    @property
    def tokens(self) -> Roles:
        """The roles of tokens."""
        return tokens(self.indices.type.rank - 1)


def spread(value: Any) -> Spread | None:
    """The weights and indices that ``value`` is made of, each of its dimensions tokens, experts, or a copy."""
    # While it is not known what dimensions mean their roles are their numbers.
    numbers = tuple(str(d) if size != 1 else NONE for d, size in enumerate(shape_of(value)))
    copied = behind(value, numbers)
    op = owner(copied.value)
    found = (_of_reduce(op) or _of_dot(op)) if op is not None else None
    if found is None:
        return None
    weights, hot, inner = found
    outer = [NONE] * len(numbers)
    for role, number in zip(inner, copied.roles, strict=True):
        if number:
            outer[int(number)] = role
    # Dimensions of one token cannot be followed; any of size 1 is as good.
    single = [d for d, size in enumerate(shape_of(value)) if size == 1]
    sizes = dict(zip(inner, shape_of(copied.value), strict=True))
    for role, d in zip((r for r in inner if r not in outer and sizes[r] == 1), single, strict=False):
        outer[d] = role
    if not set(inner) <= set(outer):
        return None
    return Spread(weights, hot.indices, tuple(outer), hot.value, tuple(r if r != "k" else NONE for r in hot.roles))


@dataclass(frozen=True)
class Hot:
    """A one-hot of ``indices`` [T,K]: the comparison that it is, and the roles of its dimensions."""

    indices: Any
    value: Any
    roles: Roles


# The weights, the one-hot, the roles of the matrix.
_Parts = tuple[Any, Hot, Roles]


def _of_reduce(op: Any) -> _Parts | None:
    """reduce(one-hot * weights) or reduce(select(one-hot, weights, 0)) over slots."""
    slot = reducing(op, "stablehlo.add")
    made = owner(op.operands[0]) if slot is not None else None
    if made is None or slot is None:
        return None
    if made.name == "stablehlo.multiply":
        pairs = [(made.operands[0], made.operands[1]), (made.operands[1], made.operands[0])]
    elif made.name == "stablehlo.select" and is_zero(made.operands[2]):
        pairs = [(made.operands[0], made.operands[1])]
    else:
        return None
    for hot, weights in pairs:
        found = one_hot(hot, slot)
        if found is None:
            continue
        weighed = behind(weights, found.roles)
        if _is_table(weighed):
            return weighed.value, found, tuple(r for d, r in enumerate(found.roles) if d != slot)
    return None


def _of_dot(op: Any) -> _Parts | None:
    """dot(weights [T,K], one-hot [T,K,E]) over slots, either side first."""
    if op.name != "stablehlo.dot_general":
        return None
    dot = dot_of(op)
    if len(dot.contract[0]) != 1 or not dot.batch[0]:
        return None
    for side in (0, 1):
        hot, weights = op.operands[side], op.operands[1 - side]
        found = one_hot(hot, dot.contract[side][0])
        if found is None or weights.type.rank != hot.type.rank - 1:
            continue
        batch = [found.roles[d] for d in dot.batch[side]]
        roles = ["k"] * weights.type.rank
        for role, d in zip(batch, dot.batch[1 - side], strict=True):
            roles[d] = role
        weighed = behind(weights, tuple(roles))
        if _is_table(weighed) and "e" not in batch:
            return weighed.value, found, (*batch, "e")
    return None


def one_hot(value: Any, slot: int) -> Hot | None:
    """The one-hot that ``value``, whose dimension ``slot`` is K, is, tokens in its own order."""
    rank = value.type.rank
    op = owner(value)
    while op is not None and op.name == "stablehlo.convert":
        op = owner(op.operands[0])
    if op is None or op.name != "stablehlo.compare" or rank < 3:
        return None
    direction = _mlir.stablehlo.ComparisonDirectionAttr(op.attributes["comparison_direction"]).value
    if direction != "EQ":
        return None
    for numbers, counted in ((op.operands[0], op.operands[1]), (op.operands[1], op.operands[0])):
        for expert in (d for d in range(rank) if d != slot):
            names = iter(tokens(rank - 2))
            roles = tuple("k" if d == slot else "e" if d == expert else next(names) for d in range(rank))
            found = behind(numbers, roles, converts=True)
            if _counts(counted, expert) and _is_table(found):
                return Hot(found.value, op.results[0], roles)
    return None


def _counts(value: Any, dim: int) -> bool:
    """Whether ``value`` counts 0, 1, ... along ``dim`` and is the same along all others."""
    found = behind(value, tuple("e" if d == dim else NONE for d in range(value.type.rank)), converts=True)
    op = owner(found.value)
    if op is None or op.name != "stablehlo.iota":
        return False
    return bool(found.roles[_mlir.ir.IntegerAttr(op.attributes["iota_dimension"]).value] == "e")


def _is_table(found: Found) -> bool:
    """Whether a value has tokens and slots, in this order, and nothing else."""
    return found.roles == (*tokens(len(found.roles) - 1), "k")
