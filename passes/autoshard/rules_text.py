"""A plan as a rules file that a person can read and edit."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

from passes.autoshard.plans import Layout
from passes.program.entry import Value
from passes.sharding.mesh import Mesh

# The entries of ``dims``, as text.
Dims = tuple[str, ...]

# Names that a front end did not give.
_UNNAMED = re.compile(r"(arg|result)\d+")


def rules_text(
    mesh: Mesh, arguments: Sequence[tuple[Value, Dims]], results: Sequence[tuple[Value, Dims]], remark: str = ""
) -> str:
    """The rules file that gives ``arguments`` and ``results`` their ``dims``.

    Names that differ in numbers only (layers) share an entry where their layouts agree; what has no name goes by its
    position.
    """
    axes = ", ".join(f"{name} = {size}" for name, size in mesh.axes)
    lines = [*(f"# {line}" for line in remark.splitlines()), f"mesh = {{ {axes} }}"]
    for section, values in (("arguments", arguments), ("results", results)):
        for selector, dims in _entries(values):
            lines += ["", f"[[{section}]]", selector, f"dims = [{', '.join(dims)}]"]
    return "\n".join(lines) + "\n"


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
