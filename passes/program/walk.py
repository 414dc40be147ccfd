"""Walks a module."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from passes import _mlir
from passes.program.purity import REGIONLESS


def operations(root: Any, without: frozenset[str] = frozenset()) -> list[Any]:
    """Every operation inside ``root`` (itself included), in pre-order, but for those called one of ``without``.

    A list, because an exception inside a native walk's callback loses its type, and because a walk must not be running
    while the program is edited.
    """
    op = root.operation
    if (name := op.name) in REGIONLESS:
        return [] if name in without else [op]
    found: list[Any] = []
    pre_order, advance = _mlir.ir.WalkOrder.PRE_ORDER, _mlir.ir.WalkResult.ADVANCE

    def collect(op: Any) -> Any:
        found.append(op)
        return advance

    def collect_some(op: Any) -> Any:
        if op.name not in without:
            found.append(op)
        return advance

    op.walk(collect_some if without else collect, pre_order)
    return found


def named(root: Any, names: Collection[str]) -> list[Any]:
    """Every operation inside ``root`` that is called one of ``names``, in pre-order.

    Blocks are looked through in Python, which takes half the time of a native walk that calls back for each op.
    """
    op = root.operation
    found = [op] if op.name in names else []
    _collect_named(op, names, found)
    return found


def _collect_named(op: Any, names: Collection[str], found: list[Any]) -> None:
    for region in op.regions:
        for block in region:
            for view in block:
                inner = view.operation
                name = inner.name
                if name in names:
                    found.append(inner)
                if name not in REGIONLESS:
                    _collect_named(inner, names, found)
