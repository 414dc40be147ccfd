"""All sites of all rows in one module."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from leftover import equal, functions, loops, shapes
from leftover.mirror import Mirror, Op, mirror


def count(module: Any) -> tuple[Mirror, dict[str, list[Op]]]:
    """The module as read, and the sites of each row that has any."""
    program = mirror(module)
    found: dict[str, list[Op]] = {}
    for row, op in _sites(program):
        found.setdefault(row, []).append(op)
    return program, found


def _sites(program: Mirror) -> Iterator[tuple[str, Op]]:
    checks = shapes.by_name()
    for op in program.ops:
        for check in checks.get(op.name, ()):
            for row in check(op):
                yield row, op
    yield from equal.duplicates(program)
    for op in equal.dead(program):
        yield "dead", op
    yield from loops.carried(program)
    yield from functions.sites(program)
