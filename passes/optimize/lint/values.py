"""Where values come from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from passes import _mlir

# Ops that move elements of their first operand around and change none.
MOVES = frozenset(f"stablehlo.{name}" for name in (
    "broadcast_in_dim", "broadcast", "reshape", "transpose", "slice", "reverse", "optimization_barrier"))


def definition(value: Any) -> Any:
    """The op ``value`` is a result of; ``None`` for a block argument."""
    owner = value.owner
    return None if isinstance(owner, _mlir.ir.Block) else owner.operation


def element(value: Any) -> str:
    """The text of the element type of a ranked tensor; the type's text for any other value."""
    type = value.type
    return str(_mlir.ir.RankedTensorType(type).element_type if isinstance(type, _mlir.ir.RankedTensorType) else type)


def resolve(
    value: Any,
    known: dict[Any, Any],
    sources: Callable[[Any], Sequence[Any]],
    combine: Callable[[Any, list[Any]], Any],
) -> Any:
    """What ``combine(value, what it said of its sources)`` says of ``value``.

    ``known`` keeps what was said, so that all questions about one program together look at each value once.
    """
    waiting: list[tuple[Any, Sequence[Any] | None]] = [(value, None)]
    while waiting:
        current, given = waiting.pop()
        if current in known:
            continue
        if given is None:
            given = sources(current)
            waiting.append((current, given))
            waiting += [(source, None) for source in given]
        else:
            known[current] = combine(current, [known[source] for source in given])
    return known[value]


def place(op: Any) -> str:
    """Where ``op`` is, for a message about another op: ``line 7``, or the file too if the program was made from one."""
    where = _mlir.where_of(op.location)
    if where is None:
        return ""
    return f" (line {where.line})" if where.file == "-" else f" ({where.file}:{where.line})"
