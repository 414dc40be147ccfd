"""A plan as a rules file that a person can read and edit."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

from passes.autoshard.model import Layout
from passes.program.entry import Value
from passes.sharding.mesh import Mesh

# Names that a front end did not give.
_UNNAMED = re.compile(r"(arg|result)\d+")


def rules_text(
    mesh: Mesh, arguments: Sequence[tuple[Value, Layout]], results: Sequence[tuple[Value, Layout]], remark: str = ""
) -> str:
    """The rules file that gives ``arguments`` and ``results`` their layouts.

    Names that differ in numbers only (layers) share an entry where their layouts agree; what has no name goes by its
    position.
    """
    axes = ", ".join(f"{name} = {size}" for name, size in mesh.axes)
    lines = [*(f"# {line}" for line in remark.splitlines()), f"mesh = {{ {axes} }}"]
    for section, values in (("arguments", arguments), ("results", results)):
        for selector, dims in _entries(values, mesh):
            lines += ["", f"[[{section}]]", selector, f"dims = [{', '.join(dims)}]"]
    return "\n".join(lines) + "\n"


def _entries(values: Iterable[tuple[Value, Layout]], mesh: Mesh) -> list[tuple[str, list[str]]]:
    by_pattern: dict[str, dict[Layout, list[Value]]] = defaultdict(lambda: defaultdict(list))
    for value, layout in values:
        pattern = "" if _UNNAMED.fullmatch(value.name) else re.sub(r"\d+", r"\\d+", re.escape(value.name))
        by_pattern[pattern][layout].append(value)
    by_position: dict[Layout, list[int]] = defaultdict(list)
    found = []
    for pattern, layouts in by_pattern.items():
        if pattern and len(layouts) == 1 and "'''" not in pattern:
            [layout] = layouts
            found.append((f"regex = '''^{pattern}$'''", _dims(layout, mesh)))
        else:
            for layout, members in layouts.items():
                by_position[layout] += [v.index for v in members]
    # Positions after names: the last entry that selects a value holds.
    for layout, positions in by_position.items():
        listed = ", ".join(map(str, sorted(positions)))
        found.append((f"index = [{listed}]", _dims(layout, mesh)))
    return found


def _dims(layout: Layout, mesh: Mesh) -> list[str]:
    names = [[f'"{mesh.axes[a][0]}"' for a in axes] for axes in layout]
    return [f"[{', '.join(axes)}]" if len(axes) > 1 else axes[0] if axes else '""' for axes in names]
