"""How often the body of a ``stablehlo.while`` runs, where its text says so.

A counter that starts at a constant, grows by a constant and is compared with a constant runs a known number of times:

  %0:2 = stablehlo.while(%i = %zero, %x = %a) cond { compare LT, %i, %twelve } do { ... add %i, %one ... }
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from passes import _mlir

_AGAIN: dict[str, Callable[[int, int, int], int | None]] = {
    "LT": lambda now, end, step: max(0, -((now - end) // step)) if step > 0 else None,
    "LE": lambda now, end, step: max(0, (end - now) // step + 1) if step > 0 else None,
    "GT": lambda now, end, step: max(0, -((end - now) // -step)) if step < 0 else None,
    "GE": lambda now, end, step: max(0, (now - end) // -step + 1) if step < 0 else None,
    "NE": lambda now, end, step: _until_equal(end - now, step),
}
# What comparing reads if its operands are swapped.
_SWAPPED = {"LT": "GT", "GT": "LT", "LE": "GE", "GE": "LE", "NE": "NE"}


def _until_equal(way: int, step: int) -> int | None:
    """How many steps go ``way``, if they meet its end."""
    return way // step if step and way % step == 0 and way // step >= 0 else None


def trip_count(loop: Any) -> int | None:
    """How often the body of ``loop`` runs; ``None`` if that depends on what it computes."""
    condition, body = (region.blocks[0] for region in loop.regions)
    compare = _owner(list(condition.operations)[-1].operation.operands[0])
    if compare is None or compare.name != "stablehlo.compare":
        return None
    direction = str(compare.attributes["comparison_direction"]).split()[-1].rstrip(">")
    left, right = compare.operands
    counter, end = _carry(left, condition), _constant(right)
    if counter is None:
        counter, end, direction = _carry(right, condition), _constant(left), _SWAPPED.get(direction, "")
    if counter is None or end is None or direction not in _AGAIN:
        return None
    start = _constant(loop.operands[counter])
    step = _step(list(body.operations)[-1].operation.operands[counter], body, counter)
    if start is None or step is None:
        return None
    return _AGAIN[direction](start, end, step)


def _carry(value: Any, block: Any) -> int | None:
    """The position of ``value`` among the arguments of ``block``."""
    if not isinstance(value, _mlir.ir.BlockArgument):
        return None
    return int(value.arg_number) if value.owner == block else None


def _step(value: Any, body: Any, counter: int) -> int | None:
    """By how much the body changes its argument ``counter``, if that is what ``value`` is."""
    op = _owner(value)
    if op is None or op.name not in ("stablehlo.add", "stablehlo.subtract"):
        return None
    left, right = op.operands
    if _carry(left, body) == counter:
        step = _constant(right)
    elif op.name == "stablehlo.add" and _carry(right, body) == counter:
        step = _constant(left)
    else:
        return None
    return -step if step is not None and op.name == "stablehlo.subtract" else step


def _constant(value: Any) -> int | None:
    """The integer that ``value`` is, seen through conversions."""
    op = _owner(value)
    while op is not None and op.name in ("stablehlo.convert", "stablehlo.reshape"):
        op = _owner(op.operands[0])
    if op is None or op.name != "stablehlo.constant":
        return None
    ir = _mlir.ir
    attr = op.attributes["value"]
    if not isinstance(attr, ir.DenseIntElementsAttr) or len(attr) != 1:
        return None
    return int(attr[0])


def _owner(value: Any) -> Any:
    return None if isinstance(value, _mlir.ir.BlockArgument) else value.owner
