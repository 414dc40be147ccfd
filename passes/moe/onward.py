"""Which dimensions of a value are experts and tokens, followed on to what is computed from it: `roles`, forward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from passes import _mlir
from passes.moe.roles import ELEMENTWISE, NONE, Roles, dot_of, reshaped
from passes.program.attributes import integers
from passes.program.types import shape_of


def after(op: Any, number: int, roles: Roles) -> Roles | None:
    """The roles of the result of ``op``, whose operand ``number`` has ``roles``.

    Nothing if the result at an expert and token is not computed from the operand at the same place alone.
    """
    if len(op.results) != 1:
        return None
    if op.name in ELEMENTWISE:
        return roles if op.operands[number].type.rank == op.results[0].type.rank else None
    rule = _RULES.get(op.name)
    return rule(op, number, roles) if rule is not None else None


def _broadcast(op: Any, number: int, roles: Roles) -> Roles | None:
    small, large = shape_of(op.operands[0]), shape_of(op.results[0])
    found = [NONE] * len(large)
    for role, size, d in zip(roles, small, integers(op, "broadcast_dimensions"), strict=True):
        if role and size != large[d]:
            return None
        found[d] = role
    return tuple(found)


def _transpose(op: Any, number: int, roles: Roles) -> Roles | None:
    return tuple(roles[d] for d in integers(op, "permutation"))


def _reshape(op: Any, number: int, roles: Roles) -> Roles | None:
    return reshaped(shape_of(op.operands[0]), shape_of(op.results[0]), roles)


def _slice(op: Any, number: int, roles: Roles) -> Roles | None:
    sizes = zip(roles, shape_of(op.operands[0]), shape_of(op.results[0]), strict=True)
    return None if any(role and before != now for role, before, now in sizes) else roles


def _pad(op: Any, number: int, roles: Roles) -> Roles | None:
    keys = ("edge_padding_low", "edge_padding_high", "interior_padding")
    edges = zip(roles, *(integers(op, key) for key in keys), strict=True)
    return None if number or any(role and any(padding) for role, *padding in edges) else roles


def _concatenate(op: Any, number: int, roles: Roles) -> Roles | None:
    return None if roles[_mlir.ir.IntegerAttr(op.attributes["dimension"]).value] else roles


def _reduce(op: Any, number: int, roles: Roles) -> Roles | None:
    dims = integers(op, "dimensions")
    return None if number or any(roles[d] for d in dims) else tuple(r for d, r in enumerate(roles) if d not in dims)


def _dot(op: Any, number: int, roles: Roles) -> Roles | None:
    dot = dot_of(op)
    if any(roles[d] for d in dot.contract[number]):
        return None
    return tuple(NONE if (d := pair[number]) is None else roles[d] for pair in dot.sources())


_RULES: dict[str, Callable[[Any, int, Roles], Roles | None]] = {
    "stablehlo.broadcast_in_dim": _broadcast, "stablehlo.transpose": _transpose, "stablehlo.reshape": _reshape,
    "stablehlo.slice": _slice, "stablehlo.pad": _pad, "stablehlo.concatenate": _concatenate,
    "stablehlo.reduce": _reduce, "stablehlo.dot_general": _dot,
}
