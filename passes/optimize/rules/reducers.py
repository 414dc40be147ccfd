"""What a reduction does with two elements."""

from __future__ import annotations

from typing import Any


def reducer(op: Any) -> str | None:
    """The one StableHLO op, without the dialect, that the body of a reduction of one value applies to its arguments."""
    block = op.regions[0].blocks[0]
    inside = [view.operation for view in block]
    if len(inside) != 2 or len(block.arguments) != 2:
        return None
    body, end = inside
    if {*body.operands} != {*block.arguments} or list(end.operands) != list(body.results):
        return None
    dialect, _, name = body.name.partition(".")
    return name if dialect == "stablehlo" else None
