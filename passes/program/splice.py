"""Puts the ops of a block in the place of the op that stands for them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def splice(op: Any, block: Any, operands: Iterable[Any]) -> None:
    """Replaces ``op`` by the ops of ``block``, whose arguments are ``operands`` and which yields its results.

    The terminator stays in the block, which loses its other ops.
    """
    for argument, operand in zip(block.arguments, operands, strict=True):
        argument.replace_all_uses_with(operand)
    *inside, terminator = [view.operation for view in block.operations]
    for inner in inside:
        inner.move_before(op)
    for result, value in zip(op.results, terminator.operands, strict=True):
        result.replace_all_uses_with(value)
    op.erase()
