"""Walks a module."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from passes import _mlir
from passes.program.purity import REGIONLESS


def operations(root: Any, without: frozenset[str] = frozenset()) -> list[Any]:
    """Every operation inside ``root`` (itself included), in pre-order, but for those called one of ``without``.

    A list, because a walk must not be running while the program is edited.
    """
    return [op for op in each(root) if op.name not in without] if without else list(each(root))


def each(root: Any) -> Iterator[Any]:
    """`operations` one by one, which takes less time, for those who change nothing but attributes on the way.

    Looks through blocks, which takes less time than a native walk that calls back for each op.
    """
    op = root.operation
    yield op
    for region in () if op.name in REGIONLESS else op.regions:
        for block in region:
            for view in block:
                inner = view.operation
                if inner.name in REGIONLESS:
                    yield inner
                else:
                    yield from each(inner)


def terminator(block: Any) -> Any:
    """The last operation of ``block``."""
    operations = block.operations
    return operations[len(operations) - 1].operation


def named(root: Any, names: Collection[str]) -> list[Any]:
    """Every operation inside ``root`` (itself included) that is called one of ``names``, in pre-order.

    A native walk for patterns hands out these alone; the others take a third of the time that looking at each from here
    does. Blocks that nothing leads to are not walked through.
    """
    op = root.operation
    found: list[Any] = []

    def collect(op: Any, _: Any) -> bool:
        found.append(op.operation)
        # Nothing is rewritten.
        return True

    rewrite = _mlir.rewriting()
    patterns = rewrite.RewritePatternSet(op.context)
    for name in names:
        patterns.add(name, collect)
    rewrite.walk_and_apply_patterns(op, patterns.freeze())
    found = found if REGIONLESS.issuperset(names) else _in_pre_order(found)
    return [op, *found] if op.name in names else found


def _in_pre_order(ops: list[Any]) -> list[Any]:
    """``ops``, which are in post-order, in pre-order: each goes before those inside of it, which end in front of it."""
    found: list[Any] = []
    for op in ops:
        place = len(found)
        if len(op.regions):
            while place and _is_inside(found[place - 1], op):
                place -= 1
        found.insert(place, op)
    return found


def _is_inside(op: Any, outer: Any) -> bool:
    while (op := op.parent) is not None:
        if op == outer:
            return True
    return False
