"""Walks a module."""

from __future__ import annotations

from typing import Any

from passes import _mlir


def operations(root: Any, without: frozenset[str] = frozenset()) -> list[Any]:
    """Every operation inside ``root`` (itself included), in pre-order, but for those called one of ``without``.

    A list, because an exception inside a native walk's callback loses its type, and because a walk must not be running
    while the program is edited.
    """
    found: list[Any] = []
    pre_order, advance = _mlir.ir.WalkOrder.PRE_ORDER, _mlir.ir.WalkResult.ADVANCE

    def collect(op: Any) -> Any:
        found.append(op)
        return advance

    def collect_some(op: Any) -> Any:
        if op.name not in without:
            found.append(op)
        return advance

    root.operation.walk(collect_some if without else collect, pre_order)
    return found


def named(root: Any, names: frozenset[str]) -> list[Any]:
    """Every operation inside ``root`` that is called one of ``names``, in pre-order."""
    found: list[Any] = []
    pre_order, advance = _mlir.ir.WalkOrder.PRE_ORDER, _mlir.ir.WalkResult.ADVANCE

    def collect(op: Any) -> Any:
        op = op.operation
        if op.name in names:
            found.append(op)
        return advance

    root.operation.walk(collect, pre_order)
    return found
