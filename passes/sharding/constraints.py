"""Writes what a rules file says about values inside a program: sharding constraints and groups.

  [[constraints]]
  op = "add"
  dims = ["data", ""]

  %0 = stablehlo.add %a, %b : tensor<8x4xf32>
  %1 = sdy.sharding_constraint %0 <@mesh, [{"data"}, {}]> : tensor<8x4xf32>

A constraint on an operand stands in front of the op, which alone reads its result.
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
    """A value and the entry that says how it lies; where ``reader`` is given, only where that op reads it."""

    value: Any
    entry: Constraint
    reader: Any = None


def choose(
    ops: Operations, entries: tuple[Constraint, ...], mesh: Mesh, allowed: Indivisible
) -> list[Constrained]:
    """For each value that entries select the last of them, operands first.

    Raises:
      UserError: an entry selects nothing, or its value cannot lie as it says.
    """
    chosen: dict[tuple[Any, int | None], Constrained] = {}
    for entry in entries:
        operand = entry.selector.operand
        for op in ops.select_ops(entry.selector, entry.where, entry.optional):
            if operand is None:
                value = op.results[entry.selector.result]
                chosen[value, None] = Constrained(value, entry)
            else:
                chosen[op, operand] = Constrained(op.operands[operand], entry, op)
    for item in chosen.values():
        if (problem := layout.misfit(item.entry.layout, mesh, item.value.type, allowed.inside)) is not None:
            op = item.reader or item.value.owner
            noun = "the result" if item.reader is None else f"operand {item.entry.selector.operand}"
            title = f"{noun} of '{op.name}' at {ops.program.where(op) or ops.program.source}"
            raise UserError(f"{title} {problem}", item.entry.where)
    # Those on operands first: what they read is the value as it lies.
    return sorted(chosen.values(), key=lambda item: item.reader is None)


def write(constrained: list[Constrained], mesh: Mesh, mesh_name: str) -> list[Any]:
    """Puts a constraint behind each value, or in front of the op that reads it; what uses the value uses its result.

    Returns the constraints.
    """
    ir, made = _mlir.ir, []
    for item in constrained:
        value = item.value
        op = value.owner.operation if item.reader is None else item.reader
        attributes = {"sharding": layout.to_attr(item.entry.layout, mesh, mesh_name, value.type.rank)}
        new = ir.Operation.create(
            "sdy.sharding_constraint", [value.type], [value], attributes, loc=op.location, ip=ir.InsertionPoint(op)
        )
        if item.reader is not None:
            op.operands[item.entry.selector.operand] = new.results[0]
        else:
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
