"""Has products split over experts: sparse ones, and those of tokens that one-hots moved to places of experts."""

from __future__ import annotations

from typing import Any

from passes import _mlir
from passes.errors import UserError
from passes.moe.capacity import Room
from passes.moe.composites import fail, sharding_rule
from passes.moe.ops import Call
from passes.moe.roles import dot_of
from passes.moe.team import Team
from passes.program.types import shape_of
from passes.sharding.mesh import Sharding, sharding_to_attr
from passes.sharding.op_rules import RULE
from passes.sharding.sharding_rule import Rule, encode


def is_inside(op: Any) -> bool:
    """Whether ``op`` stands in a manual computation: it is the part of one device already."""
    parent = op.parent
    while parent is not None:
        if parent.operation.name == "sdy.manual_computation":
            return True
        parent = parent.operation.parent
    return False


def split_experts(product: Any, call: Call, mesh_name: str, team: Team) -> None:
    """Has a sparse product split over experts, its other dimensions open.

    What a device gets from a dispatch is meant for its experts and differs from device to device, so the axes of the
    experts must not split anything else of the product.

    Raises:
      UserError: the experts do not divide.
    """
    if RULE not in product.attributes:
        product.attributes[RULE] = encode(sharding_rule(call), is_custom=True)
    if found := team.indivisible(call.operands[1].shape[1]):
        fail(product, call.op, found)
    expert = 1 if call["is_input_a_sparse"] else 3
    weights = _constrained(product.operands[1], 1, mesh_name, team, _mlir.ir.InsertionPoint(product))
    product.operands[1] = weights
    result = product.results[0]
    users = [(use.owner.operation, use.operand_number) for use in result.uses]
    if any(user.name == _CONSTRAINT for user, _ in users):
        return
    made = _constrained(result, expert, mesh_name, team, _mlir.ir.InsertionPoint.after(product))
    for user, number in users:
        user.operands[number] = made


def split_rooms(moved: list[Room], mesh_name: str, team: Team) -> None:
    """Has what was moved to experts split over experts, and so the products that read it: the weights stay.

    Raises:
      UserError: the experts do not divide.
    """
    made: dict[Any, Any] = {}
    for room in moved:
        if found := team.indivisible(room.experts):
            raise UserError(f"one-hot dispatch: {found}", _mlir.where_of(room.dispatch.location))
        value = room.product.operands[room.side]
        if value not in made:
            room.dispatch.attributes[RULE] = _move_rule(room.dispatch, room.moved)
            made[value] = _constrained(value, room.expert, mesh_name, team, _mlir.ir.InsertionPoint(room.product))
        room.product.operands[room.side] = made[value]


def _move_rule(dispatch: Any, expert: int) -> Any:
    """The sharding rule of a one-hot move whose result has experts along ``expert``: those do not spread through it.

    The one-hots keep their groups of tokens on the devices; what they move changes from groups to experts.
    """
    dot, rank = dot_of(dispatch), dispatch.results[0].type.rank
    sizes = [*shape_of(dispatch.results[0]), *(shape_of(dispatch.operands[0])[d] for d in dot.contract[0])]
    maps = []
    for side in (0, 1):
        factors = {pair[side]: factor for factor, pair in enumerate(dot.sources()) if pair[side] is not None}
        factors |= {d: rank + i for i, d in enumerate(dot.contract[side])}
        maps.append(tuple((factors[d],) for d in range(len(factors))))
    result = tuple((d,) for d in range(rank))
    rule = Rule(tuple(sizes), tuple(maps), (result,), reduction=frozenset(range(rank, len(sizes))),
                blocked=frozenset({expert}))
    return encode(rule, is_custom=True)


_CONSTRAINT = "sdy.sharding_constraint"


def _constrained(value: Any, dim: int, mesh_name: str, team: Team, point: Any) -> Any:
    """``value`` with dimension ``dim`` split over the axes of the experts, made at ``point``."""
    owner = value.owner
    if not isinstance(owner, _mlir.ir.Block) and owner.operation.name == _CONSTRAINT:
        return value
    rank = value.type.rank
    dims = tuple(tuple(map(team.mesh.axis, team.experts)) if d == dim else () for d in range(rank))
    closed = tuple(d == dim for d in range(rank))
    attr = sharding_to_attr(mesh_name, Sharding(team.mesh, dims), closed)
    return _mlir.ir.Operation.create(
        _CONSTRAINT, [value.type], [value], {"sharding": attr}, loc=value.location, ip=point
    ).results[0]
