"""A plan as a rules file that a person can read and edit."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from passes.autoshard.pins import Pin
from passes.autoshard.plans import Layout
from passes.program.entry import Value
from passes.sharding.mesh import Mesh
from passes.sharding.op_selection import type_text

# The entries of ``dims``, as text.
Dims = tuple[str, ...]

# Names that a front end did not give.
_UNNAMED = re.compile(r"(arg|result)\d+")


def rules_text(
    mesh: Mesh, arguments: Sequence[tuple[Value, Dims]], results: Sequence[tuple[Value, Dims]], remark: str = "",
    constraints: Sequence[str] = (),
) -> str:
    """The rules file that gives ``arguments`` and ``results`` their ``dims``, with `constraint_entries`.

    Names that differ in numbers only (layers) share an entry where their layouts agree; what has no name goes by its
    position.
    """
    axes = ", ".join(f"{name} = {size}" for name, size in mesh.axes)
    lines = [*(f"# {line}" for line in remark.splitlines()), f"mesh = {{ {axes} }}"]
    for section, values in (("arguments", arguments), ("results", results)):
        for selector, dims in _entries(values):
            lines += ["", f"[[{section}]]", selector, f"dims = [{', '.join(dims)}]"]
    return "\n".join([*lines, *constraints]) + "\n"


def constraint_entries(mesh: Mesh, ops: Sequence[Any], pins: Sequence[Pin]) -> list[str]:
    """The lines of entries for ``pins`` on ``ops``, which are all that a constraint can select, in order."""
    selected: dict[_Kind, dict[Layout, list[int]]] = defaultdict(lambda: defaultdict(list))
    for pin in pins:
        selected[_kind(ops[pin.op], pin.operand, max(0, pin.result))][pin.layout].append(pin.op)
    # All ops that an entry without ``nth`` would select.
    alike: dict[_Kind, list[int]] = defaultdict(list)
    values, names = {(kind.operand, kind.result) for kind in selected}, {kind.name for kind in selected}
    for number, op in enumerate(ops):
        for operand, result in values if op.name in names else ():
            if operand < len(op.operands) and result < len(op.results):
                alike[_kind(op, operand, result)].append(number)
    lines = []
    for kind, layouts in selected.items():
        position = {number: n for n, number in enumerate(alike[kind])}
        for layout, numbers in layouts.items():
            nth = [] if len(numbers) == len(position) else sorted(position[number] for number in numbers)
            lines += ["", "[[constraints]]", f'op = "{kind.name.removeprefix("stablehlo.")}"', f'type = "{kind.type}"']
            lines += [f"operand = {kind.operand}"] if kind.operand >= 0 else []
            lines += [f"result = {kind.result}"] if kind.result else []
            lines += [f"nth = [{', '.join(map(str, nth))}]"] if nth else []
            lines.append(f"dims = [{', '.join(_dim(mesh, axes, 0) for axes in layout)}]")
    return lines


class _Kind(NamedTuple):
    """What an entry selects by: the op's name, the type of a result, and which value is meant."""

    name: str
    type: str
    operand: int
    result: int


def _kind(op: Any, operand: int, result: int) -> _Kind:
    return _Kind(str(op.name), type_text(op.results[result].type), operand, result)


def dims(mesh: Mesh, layout: Layout, priorities: Sequence[int]) -> Dims:
    """``layout`` with a priority for each dimension."""
    return tuple(_dim(mesh, axes, priority) for axes, priority in zip(layout, priorities, strict=True))


def _dim(mesh: Mesh, axes: Sequence[int], priority: int) -> str:
    names = [mesh.axes[a][0] for a in axes]
    if names and priority:
        names[-1] += f":p{priority}"
    quoted = [f'"{name}"' for name in names]
    return f"[{', '.join(quoted)}]" if len(quoted) > 1 else quoted[0] if quoted else '""'


def _entries(values: Iterable[tuple[Value, Dims]]) -> list[tuple[str, Dims]]:
    by_pattern: dict[str, dict[Dims, list[Value]]] = defaultdict(lambda: defaultdict(list))
    for value, chosen in values:
        pattern = "" if _UNNAMED.fullmatch(value.name) else re.sub(r"\d+", r"\\d+", re.escape(value.name))
        by_pattern[pattern][chosen].append(value)
    by_position: dict[Dims, list[int]] = defaultdict(list)
    found = []
    for pattern, choices in by_pattern.items():
        if pattern and len(choices) == 1 and "'''" not in pattern:
            [chosen] = choices
            found.append((f"regex = '''^{pattern}$'''", chosen))
        else:
            for chosen, members in choices.items():
                by_position[chosen] += [v.index for v in members]
    # Positions after names: the last entry that selects a value holds.
    for chosen, positions in by_position.items():
        listed = ", ".join(map(str, sorted(positions)))
        found.append((f"index = [{listed}]", chosen))
    return found
