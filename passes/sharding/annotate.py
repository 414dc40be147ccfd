"""Writes a rules file into a program: the mesh, and ``sdy.sharding`` on arguments and results of the entry function."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from passes import _mlir
from passes.errors import UserError, Where
from passes.program.entry import Value, arguments, find_entry, results, symbol_name
from passes.program.read import Program
from passes.sharding.divisibility import explain_indivisible, shape_text
from passes.sharding.mesh import Mesh, Sharding, mesh_to_attr, meshes, sharding_to_attr
from passes.sharding.rules_file import Entry, Rules
from passes.sharding.signature import SHARDING, write

MESH_NAME = "mesh"
_LISTED = 12


@dataclass(frozen=True)
class Annotated:
    """An argument or result and the sharding a rule gave it; ``where`` is the rule's place in its file."""

    index: int
    name: str
    sharding: Sharding
    where: Where | None = None


@dataclass(frozen=True)
class AnnotateReport:
    """What `annotate` wrote: the mesh's symbol name, and which values were annotated."""

    mesh_name: str
    arguments: tuple[Annotated, ...]
    results: tuple[Annotated, ...]


def annotate(program: Program, rules: Rules, entry: str | None = None) -> AnnotateReport:
    """Annotates the entry function of ``program`` (the one named ``entry``, if given) in place.

    Values no rule selects keep the annotation they have, or stay open to propagation.

    Raises:
      UserError: an entry selects nothing, has another number of dimensions than its tensor, or shards a dimension that
        its axes do not divide; or the program has no entry function. The program is then unchanged.
    """
    function = find_entry(program, entry)
    chosen = {
        key: _choose(values, entries, noun, rules.mesh)
        for key, values, entries, noun in (
            ("arg_attrs", arguments(function), rules.arguments, "argument"),
            ("res_attrs", results(function), rules.results, "result"),
        )
    }
    mesh_name = _ensure_mesh(program, rules.mesh)
    for key, choices in chosen.items():
        _write(function, key, mesh_name, choices)
    argument_report, result_report = (
        tuple(Annotated(c.value.index, c.value.name, c.sharding, c.where) for c in choices if c.sharding is not None)
        for choices in chosen.values()
    )
    return AnnotateReport(mesh_name, argument_report, result_report)


@dataclass(frozen=True)
class _Choice:
    """A value with the sharding its last entry gives it, if any does."""

    value: Value
    sharding: Sharding | None = None
    closed: tuple[bool, ...] = ()
    where: Where | None = None


def _choose(values: list[Value], entries: tuple[Entry, ...], noun: str, mesh: Mesh) -> list[_Choice]:
    winner: dict[int, Entry] = {}
    for entry in entries:
        winner.update(dict.fromkeys(_select(values, entry, noun), entry))
    return [_choice(v, winner[v.index], noun, mesh) if v.index in winner else _Choice(v) for v in values]


def _select(values: list[Value], entry: Entry, noun: str) -> list[int]:
    pattern = entry.selector.compiled()
    if pattern is not None:
        selected = [v.index for v in values if pattern.search(v.name)]
        if not selected:
            raise UserError(f"{entry.selector} selects no {noun}; {_existing(values, entry, noun)}", entry.where)
        return selected
    indices = entry.selector.indices or ()
    for index in indices:
        if index >= len(values):
            raise UserError(f"there is no {noun} {index}; the program has {len(values)}", entry.where)
    return list(indices)


def _existing(values: list[Value], entry: Entry, noun: str) -> str:
    """The names there are, those most like the wanted one first, and how many more."""
    names = list(dict.fromkeys(v.name for v in values))
    if not names:
        return f"the program has no {noun}s"
    wanted = entry.selector.match or entry.selector.regex or ""
    close = difflib.get_close_matches(wanted, names, n=_LISTED, cutoff=0.5)
    listed = [*close, *(n for n in names if n not in close)][:_LISTED]
    more = f" and {len(names) - len(listed)} more" if len(names) > len(listed) else ""
    return f"the {noun}s are {', '.join(listed)}{more}"


def _choice(value: Value, entry: Entry, noun: str, mesh: Mesh) -> _Choice:
    title = f"{noun} {value.index} '{value.name}'"
    if not isinstance(value.type, _mlir.ir.RankedTensorType):
        raise UserError(f"{title} is no tensor with a known rank; it cannot be sharded", entry.where)
    shape = tuple(value.type.shape)
    if len(entry.dims) != len(shape):
        rank = f"{len(shape)} dimension{'' if len(shape) == 1 else 's'}"
        raise UserError(
            f"{title} has shape {shape_text(value.type)}, that is {rank}, but dims has {len(entry.dims)}", entry.where
        )
    sharding = Sharding(mesh, tuple(tuple(mesh.axis(a) for a in dim.axes) for dim in entry.dims))
    if (problem := explain_indivisible(value.type, sharding)) is not None:
        raise UserError(f"{title} {problem}", entry.where)
    return _Choice(value, sharding, tuple(not dim.is_open for dim in entry.dims), entry.where)


def _ensure_mesh(program: Program, mesh: Mesh) -> str:
    """The name of ``mesh`` in the module, which gets it if it has no equal one."""
    ir = _mlir.ir
    module = program.module
    for name, existing in meshes(module).items():
        if replace(existing, device_ids=()) == mesh and existing.devices == mesh.devices:
            return name
    taken = {symbol_name(op) for op in module.body.operations if "sym_name" in op.attributes}
    name = next(n for n in _fresh_names() if n not in taken)
    context = _mlir.context()
    ir.Operation.create(
        "sdy.mesh",
        attributes={"sym_name": ir.StringAttr.get(name, context), "mesh": mesh_to_attr(mesh)},
        loc=ir.Location.unknown(context),
        ip=ir.InsertionPoint.at_block_begin(module.body),
    )
    return name


def _fresh_names() -> Iterable[str]:
    yield MESH_NAME
    number = 0
    while True:
        yield f"{MESH_NAME}_{number}"
        number += 1


def _write(function: Any, key: str, mesh_name: str, choices: list[_Choice]) -> None:
    if not any(c.sharding for c in choices):
        return
    for choice in choices:
        if choice.sharding is not None:
            choice.value.attributes[SHARDING] = sharding_to_attr(mesh_name, choice.sharding, choice.closed)
    write(function, key, [c.value for c in choices])
