"""Writes what a rules file says about values inside a program: sharding constraints and groups.

  [[constraints]]
  op = "add"
  dims = ["data", ""]

  %0 = stablehlo.add %a, %b : tensor<8x4xf32>
  %1 = sdy.sharding_constraint %0 <@mesh, [{"data"}, {}]> : tensor<8x4xf32>
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from passes import _mlir
from passes.errors import UserError, Where
from passes.program.entry import Value
from passes.program.read import Program
from passes.program.types import i64_attr
from passes.program.walk import named
from passes.sharding import layout
from passes.sharding.divisibility import Indivisible
from passes.sharding.mesh import Mesh
from passes.sharding.op_selection import Operations, type_text
from passes.sharding.rules import Constraint, Group, glob

_GROUP = "sdy.sharding_group"


@dataclass(frozen=True)
class Constrained:
    """A value and the entry that says how it lies."""

    value: Any
    entry: Constraint


def choose(
    ops: Operations, entries: tuple[Constraint, ...], mesh: Mesh, allowed: Indivisible
) -> list[Constrained]:
    """For each value that entries select the last of them.

    Raises:
      UserError: an entry selects nothing, or its value cannot lie as it says.
    """
    chosen: dict[Any, Constraint] = {}
    for entry in entries:
        chosen.update(dict.fromkeys(ops.select(entry.selector, entry.where, entry.optional), entry))
    for value, entry in chosen.items():
        if (problem := layout.misfit(entry.layout, mesh, value.type, allowed.inside)) is not None:
            op = value.owner
            title = f"the result of '{op.name}' at {ops.program.where(op) or ops.program.source}"
            raise UserError(f"{title} {problem}", entry.where)
    return [Constrained(value, entry) for value, entry in chosen.items()]


def write(constrained: list[Constrained], mesh: Mesh, mesh_name: str) -> list[Any]:
    """Puts a constraint behind each value; all that used the value uses the constraint's result.

    Returns the constraints.
    """
    ir, made = _mlir.ir, []
    for item in constrained:
        value, op = item.value, item.value.owner.operation
        attributes = {"sharding": layout.to_attr(item.entry.layout, mesh, mesh_name, value.type.rank)}
        new = ir.Operation.create(
            "sdy.sharding_constraint", [value.type], [value], attributes, loc=op.location, ip=ir.InsertionPoint(op)
        )
        new.move_after(op)
        value.replace_all_uses_except(new.results[0], [new])
        made.append(new)
    return made


def choose_groups(ops: Operations, arguments: list[Value], block: Any, groups: tuple[Group, ...]) -> list[list[Any]]:
    """The members of each group: arguments of ``block``, and results of operations.

    Raises:
      UserError: a group selects nothing, has one member, or members of different shapes.
    """
    return [_members(ops, arguments, block, group) for group in groups]


def write_groups(program: Program, groups: list[list[Any]]) -> None:
    """Puts ``sdy.sharding_group`` behind each member, under numbers the program has not used yet."""
    if not groups:
        return
    ir = _mlir.ir
    present = named(program.module, frozenset({_GROUP}))
    used = [ir.IntegerAttr(op.attributes["group_id"]).value for op in present]
    for number, members in enumerate(groups, max(used, default=-1) + 1):
        for value in members:
            is_argument = isinstance(value.owner, ir.Block)
            before = ir.InsertionPoint.at_block_begin(value.owner) if is_argument else ir.InsertionPoint(value.owner)
            location = value.location if is_argument else value.owner.operation.location
            attributes = {"group_id": i64_attr(number)}
            new = ir.Operation.create(_GROUP, [], [value], attributes, loc=location, ip=before)
            if not is_argument:
                new.move_after(value.owner.operation)


def _members(ops: Operations, arguments: list[Value], block: Any, group: Group) -> list[Any]:
    members: dict[Any, None] = {}
    for pattern in group.arguments:
        named = [a.index for a in arguments if glob(pattern).match(a.name)]
        if not named:
            raise UserError(f'"{pattern}" names no argument', group.where)
        members.update(dict.fromkeys(block.arguments[i] for i in named))
    if group.selector is not None:
        members.update(dict.fromkeys(ops.select(group.selector, group.where)))
    _check_alike(list(members), group.where)
    return list(members)


def _check_alike(members: list[Any], where: Where | None) -> None:
    if len(members) < 2:
        raise UserError("this group has one member only; a group ties two values or more together", where)
    shapes = {tuple(getattr(v.type, "shape", ())): type_text(v.type) for v in members}
    if len(shapes) > 1:
        raise UserError(f"the members of a group have one shape; here are {', '.join(shapes.values())}", where)
