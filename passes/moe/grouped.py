"""Makes products of rows that are sorted by expert sparse, where a front end spelled a ragged dot as a dense one.

JAX writes `lax.ragged_dot` so for back ends that have none: every row in a copy for each expert, zero where the row is
none of the expert's group, all of them multiplied and added up:

  out[m, n] = sum over e and k of (group[e, m] ? x[m, k] : 0) * weights[e, k, n]

It becomes a sparse product whose mask is the groups, and the sum over experts of what it selects. Rows may be in one
group, in none, or in several; the numbers of experts are not needed. Each product of a row with a matrix of its group
is the one it was, and the others were zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from passes import _mlir
from passes.moe.chain import Chain, Layer
from passes.moe.composites import Decompositions
from passes.moe.maker import Maker
from passes.moe.products import unfit
from passes.moe.roles import ELEMENTWISE, Found, Roles, behind, dot_of, is_zero, owner, splat_of
from passes.pipeline.base import Counters
from passes.program.types import shape_of
from passes.program.walk import named


@dataclass(frozen=True)
class Grouped:
    """A dense product of rows [M,K] by groups.

    Attributes:
      op: The dot.
      side: Which operand has the rows, in a copy for each expert.
      rows: The rows, their dimensions called "m" and "k".
      group: Which row is in which group, [...] of "e", "m" and "k", the same along "k".
      roles: What the dimensions of `group` are called.
      expert: The dimension of the matrices that is experts; `inner`: the one that is contracted as well.
    """

    op: Any
    side: int
    rows: Found
    group: Any
    roles: Roles
    expert: int
    inner: int

    @property
    def weights(self) -> Any:
        """The matrices of all experts."""
        return self.op.operands[1 - self.side]


def grouped_of(op: Any) -> Grouped | None:
    """The product by groups that the ``dot_general`` ``op`` is, if it is one."""
    dot = dot_of(op)
    if len(dot.contract[0]) != 2 or dot.batch[0] or any(v.type.rank != 3 for v in op.operands) or unfit(op):
        return None
    for side in (0, 1):
        (row,) = dot.free(side)
        chosen = _moved(op.operands[side])
        if chosen is None:
            continue
        select, order = chosen
        for e, k in (dot.contract[side], dot.contract[side][::-1]):
            names = {row: "m", e: "e", k: "k"}
            roles = tuple(names[d] for d in order)
            group, rows = select.operands[0], behind(select.operands[1], roles)
            if set(filter(None, rows.roles)) == {"m", "k"} and is_same_along(group, roles.index("k")):
                expert, inner = (dot.contract[1 - side][dot.contract[side].index(d)] for d in (e, k))
                return Grouped(op, side, rows, group, roles, expert, inner)
    return None


def _moved(value: Any) -> tuple[Any, list[int]] | None:
    """The select, with zero, that ``value`` is, and which of its dimensions those of the select are."""
    roles = tuple(str(d) for d in range(value.type.rank))
    found = behind(value, roles)
    op = owner(found.value)
    if op is None or op.name != "stablehlo.select" or set(found.roles) != set(roles) or not is_zero(op.operands[2]):
        return None
    return op, [int(role) for role in found.roles]


def is_same_along(value: Any, dim: int) -> bool:
    """Whether ``value`` is the same all along ``dim``, as far as its ops say."""
    pending = [(value, tuple(str(int(d == dim)) for d in range(value.type.rank)))]
    while pending:
        found = behind(*pending.pop(), converts=True)
        # Broadcasts along the dimension take its role away.
        if "1" not in found.roles:
            continue
        op = owner(found.value)
        if op is None:
            return False
        if op.name == "stablehlo.iota":
            counted = _mlir.ir.IntegerAttr(op.attributes["iota_dimension"]).value
            if found.roles[counted] == "1":
                return False
        elif op.name in ELEMENTWISE:
            pending += [(v, found.roles) for v in op.operands if v.type.rank]
        elif splat_of(found.value) is None:
            return False
    return True


def grouped(module: Any, decompositions: Decompositions, counters: Counters) -> list[Layer]:
    """Rewrites the products by groups of ``module`` in place; those by the same groups are one layer."""
    layers: dict[Any, Layer] = {}
    for op in named(module, frozenset({"stablehlo.dot_general"})):
        if (found := grouped_of(op)) is None:
            continue
        experts, (rows, _) = shape_of(found.weights)[found.expert], _sizes(found)
        what = f"mixture of {experts} experts by groups of {rows} sorted rows"
        layers.setdefault((op.block, _sources(found.group)), Layer(_mlir.where_of(op.location), what))
        _rewrite(found, Chain(decompositions, rows, 1, experts))
        counters.add("products")
        counters.removed(op, "turned into a sparse product")
        op.erase()
    counters.add("layers", len(layers))
    return list(layers.values())


def _sources(group: Any) -> frozenset[Any]:
    """What the bounds of groups are counted up from."""
    found, seen, pending = set(), set(), [group]
    while pending:
        value = pending.pop()
        op = owner(value)
        if op is not None and op.name in _COUNTING:
            pending += [v for v in op.operands if v not in seen]
            seen.update(op.operands)
        elif op is None or op.name not in ("stablehlo.iota", "stablehlo.constant"):
            found.add(value)
    return frozenset(found)


_COUNTING = ELEMENTWISE | {
    "stablehlo.broadcast_in_dim", "stablehlo.concatenate", "stablehlo.pad", "stablehlo.reduce_window",
    "stablehlo.reshape", "stablehlo.slice", "stablehlo.transpose",
}


def _sizes(found: Grouped) -> list[int]:
    """The sizes of rows and of what is contracted."""
    sizes = shape_of(found.rows.value)
    return [sizes[found.rows.roles.index(role)] for role in "mk"]


def _rewrite(found: Grouped, chain: Chain) -> None:
    op = found.op
    make = Maker(_mlir.ir.InsertionPoint(op), op.location)
    rows = _table(make, found.rows, "mk")
    at_first = make.first(found.group, found.roles.index("k"))
    group = make.transpose(at_first, [[r for r in found.roles if r != "k"].index(role) for role in "me"])
    columns = 3 - found.expert - found.inner
    matrices = make.transpose(found.weights, [found.expert, found.inner, columns])
    x = make.reshape(rows, (1, chain.tokens, 1, shape_of(rows)[1]))
    made = chain.first(make, x, matrices, make.convert(group, rows.type.element_type))
    where = make.broadcast(group, shape_of(made), (0, 1))
    zero = make.full(shape_of(made), made.type.element_type, 0)
    kept = make.op("select", [where, made, zero], shape_of(made), made.type.element_type)
    total = make.reduce("add", kept, 1)
    op.results[0].replace_all_uses_with(make.transpose(total, [0, 1] if found.side == 0 else [1, 0]))


def _table(make: Maker, found: Found, order: str) -> Any:
    """``found`` with two dimensions, in this order."""
    kept = [role for role in found.roles if role]
    value = make.reshape(found.value, [n for n, role in zip(shape_of(found.value), found.roles, strict=True) if role])
    return make.transpose(value, [kept.index(role) for role in order])
