"""Writes a rules file into a program: the mesh, ``sdy.sharding`` on arguments and results of the entry function,
constraints on intermediates, and the sharding rules of custom calls and composites."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from passes import _mlir
from passes.errors import UserError, Where
from passes.program.entry import Value, arguments, find_entry, results, symbol_name
from passes.program.read import Program
from passes.sharding import constraints, layout, tuples, user_rules
from passes.sharding.divisibility import NOWHERE, Indivisible
from passes.sharding.mesh import Mesh, Sharding, mesh_to_attr, meshes
from passes.sharding.op_selection import LISTED, Operations, type_pattern, type_text
from passes.sharding.rules import Constraint, Entry, Layout, Rules, Selector, is_pattern
from passes.sharding.signature import SHARDING, write

MESH_NAME = "mesh"


@dataclass(frozen=True)
class Annotated:
    """An argument or result and the sharding a rule gave it; ``where`` is the rule's place in its file."""

    index: int
    name: str
    sharding: Sharding
    where: Where | None = None


@dataclass(frozen=True)
class AnnotateReport:
    """What `annotate` wrote.

    Attributes:
      mesh_name: The mesh's symbol name.
      arguments, results: The values that were annotated.
      constraints: The ``sdy.sharding_constraint`` put on values inside, which do not outlive a pass, with the entries'
        places.
      ruled: How many custom calls and composites got a sharding rule.
      warnings: Sentences about what the rules are about and the program has not, placed at their file.
    """

    mesh_name: str
    arguments: tuple[Annotated, ...]
    results: tuple[Annotated, ...]
    constraints: tuple[tuple[Any, Where | None], ...] = ()
    ruled: int = 0
    warnings: tuple[str, ...] = ()


def annotate(
    program: Program, rules: Rules, entry: str | None = None, allowed: Indivisible = NOWHERE
) -> AnnotateReport:
    """Annotates ``program``, whose entry function is the one named ``entry`` if given, in place.

    Values no rule selects keep the annotation they have, or stay open to propagation. Tuples among the arguments and
    results are dissolved first, so that their elements have names: ``state[1]``. Shardings that do not divide their
    tensor are refused where they are not ``allowed``.

    Raises:
      UserError: an entry selects nothing, has another number of dimensions than its tensor, or shards a dimension that
        its axes do not divide; a rule does not fit its operation; or the program has no entry function. The program is
        then unchanged.
    """
    tuples.dissolve_named(program, entry, inside=bool(rules.rules or rules.constraints))
    function = find_entry(program, entry)
    inputs, ops = arguments(function), Operations(program)
    chosen = {
        "arg_attrs": _choose(inputs, rules.arguments, "argument", rules.mesh, allowed),
        "res_attrs": _choose(results(function), rules.results, "result", rules.mesh, allowed),
    }
    constrained = constraints.choose(ops, rules.constraints, rules.mesh, allowed)
    groups = constraints.choose_groups(ops, inputs, function.regions[0].blocks[0], rules.groups)
    ruled = user_rules.choose(program, rules.rules)
    entries = [choice.entry for choices in chosen.values() for choice in choices if choice.entry is not None]
    _require_any(rules, [*entries, *constrained, *groups, *ruled], inputs)

    mesh_name = _ensure_mesh(program, rules.mesh)
    for key, choices in chosen.items():
        _write(function, key, mesh_name, rules.mesh, choices)
    user_rules.attach(ruled)
    constraints.write_groups(program, groups)
    written = constraints.write(constrained, rules.mesh, mesh_name)
    argument_report, result_report = (
        tuple(
            Annotated(c.value.index, c.value.name, c.sharding(rules.mesh), c.entry.where)
            for c in choices
            if c.entry is not None
        )
        for choices in chosen.values()
    )
    placed = tuple(zip(written, (c.entry.where for c in constrained), strict=True))
    warnings = _warnings(rules, [*entries, *(c.entry for c in constrained)], inputs)
    return AnnotateReport(mesh_name, argument_report, result_report, placed, len(ruled), warnings)


def _require_any(rules: Rules, chosen: list[Any], inputs: list[Value]) -> None:
    """Refuses rules that leave the program as it is: a preset made for other names."""
    if not chosen and (rules.arguments or rules.results or rules.constraints or rules.rules):
        message = "none of the entries applies to this program; `shlo shard --names` lists what it has"
        raise UserError(f"{message}{_nameless(inputs)}", Where(rules.source))


def _warnings(rules: Rules, selected: list[Entry | Constraint], inputs: list[Value]) -> tuple[str, ...]:
    """What the entries are about (`Entry.about`) of which none selects anything: most likely it goes by other names."""
    every: list[Entry | Constraint] = [*rules.arguments, *rules.results, *rules.constraints]
    found = {entry.about for entry in selected}
    missed: dict[str, list[str]] = {}
    for entry in every:
        if entry.about and entry.about not in found:
            missed.setdefault(entry.about, []).append(str(entry.where.line) if entry.where is not None else "?")
    if not missed:
        return ()
    listed = " or ".join(f"{about} (lines {', '.join(lines)})" for about, lines in missed.items())
    return (
        f"{rules.source}: warning: nothing in this program goes by the names of {listed}; "
        f"`shlo show --names` lists the names it has{_nameless(inputs)}",
    )


def _nameless(inputs: list[Value]) -> str:
    """What to do about a program whose arguments have no names."""
    if not inputs or any(value.name != f"arg{value.index}" for value in inputs):
        return ""
    return (
        "; its arguments carry none, only positions: export it with them (jax: lowered.as_text(debug_info=True)) or "
        "write a rules file that selects by index or type"
    )


@dataclass(frozen=True)
class _Choice:
    """A value with the entry that holds for it, if any does."""

    value: Value
    entry: Entry | None = None

    def sharding(self, mesh: Mesh) -> Sharding:
        """Where the value lies."""
        assert self.entry is not None
        return layout.sharding(self.entry.layout, mesh, self.value.type.rank)


def _choose(
    values: list[Value], entries: tuple[Entry, ...], noun: str, mesh: Mesh, allowed: Indivisible
) -> list[_Choice]:
    winner: dict[int, Entry] = {}
    by_name = _by_name(values)
    for entry in entries:
        winner.update(dict.fromkeys(_select(values, by_name, entry, noun), entry))
    choices = [_Choice(v, winner.get(v.index)) for v in values]
    fitting: set[tuple[Layout, Any]] = set()
    for value, entry in ((c.value, c.entry) for c in choices if c.entry is not None):
        key = (entry.layout, value.type)
        if key in fitting:
            continue
        if (problem := layout.misfit(entry.layout, mesh, value.type, allowed.signature)) is not None:
            advice = allowed.advice if layout.misfit(entry.layout, mesh, value.type, indivisible=True) is None else ""
            raise UserError(f"{noun} {value.index} '{value.name}' {problem}{advice}", entry.where)
        fitting.add(key)
    return choices


def _by_name(values: list[Value]) -> dict[str, list[Value]]:
    found: dict[str, list[Value]] = {}
    for value in values:
        found.setdefault(value.name, []).append(value)
    return found


def _select(values: list[Value], by_name: dict[str, list[Value]], entry: Entry, noun: str) -> list[int]:
    selector = entry.selector
    for index in selector.indices or ():
        if index >= len(values):
            raise UserError(f"there is no {noun} {index}; the program has {len(values)}", entry.where)
    candidates = _candidates(values, by_name, selector)
    named = [v for v in candidates if all(test(v) for test in _tests_of_name(entry))]
    selected = [v.index for v in named if all(test(v) for test in _tests_of_type(entry))]
    if not selected and not entry.optional:
        there = _existing(values, entry, noun) if not named else _types(named, noun)
        raise UserError(f"{selector} selects no {noun}; {there}", entry.where)
    return selected


def _candidates(values: list[Value], by_name: dict[str, list[Value]], selector: Selector) -> list[Value]:
    """Values among which are all that ``selector`` can mean: few, where rules have an entry for each argument."""
    if selector.indices is not None:
        return [values[i] for i in sorted(set(selector.indices))]
    if selector.match is not None and not is_pattern(selector.match):
        return by_name.get(selector.match, [])
    return values


def _tests_of_name(entry: Entry) -> Iterable[Callable[[Value], bool]]:
    pattern, indices = entry.selector.compiled(), entry.selector.indices
    if pattern is not None:
        yield lambda value: bool(pattern.search(value.name))
    if indices is not None:
        yield lambda value: value.index in indices


def _tests_of_type(entry: Entry) -> Iterable[Callable[[Value], bool]]:
    selector = entry.selector
    if selector.rank is not None:
        yield lambda value: getattr(value.type, "rank", None) == selector.rank
    if selector.type is not None:
        matches = type_pattern(selector.type)
        yield lambda value: matches(value.type)


def _existing(values: list[Value], entry: Entry, noun: str) -> str:
    """The names there are, those most like the wanted one first, and how many more."""
    names = list(dict.fromkeys(v.name for v in values))
    if not names:
        return f"the program has no {noun}s"
    wanted = entry.selector.match or entry.selector.regex or ""
    close = difflib.get_close_matches(wanted, names, n=LISTED, cutoff=0.5)
    listed = [*close, *(n for n in names if n not in close)][:LISTED]
    more = f" and {len(names) - len(listed)} more" if len(names) > len(listed) else ""
    return f"the {noun}s are {', '.join(listed)}{more}"


def _types(named: list[Value], noun: str) -> str:
    listed = list(dict.fromkeys(type_text(v.type) for v in named))
    more = f" and {len(listed) - LISTED} more" if len(listed) > LISTED else ""
    return f"the {noun}s in question are of type {', '.join(listed[:LISTED])}{more}"


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


def _write(function: Any, key: str, mesh_name: str, mesh: Mesh, choices: list[_Choice]) -> None:
    if all(c.entry is None for c in choices):
        return
    known: dict[tuple[Layout, int], Any] = {}
    for value, entry in ((c.value, c.entry) for c in choices if c.entry is not None):
        said = (entry.layout, value.type.rank)
        if said not in known:
            known[said] = layout.to_attr(entry.layout, mesh, mesh_name, value.type.rank)
        value.attributes[SHARDING] = known[said]
    write(function, key, [c.value for c in choices])
