"""Rows about values carried through loops."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from leftover.effects import Effects
from leftover.equal import Numbering
from leftover.mirror import Block, Mirror, Op, Value


def carried(program: Mirror) -> Iterator[tuple[str, Op]]:
    """(row, op), once for each carried value."""
    effects = Effects(program)
    for op in program.ops:
        if op.name != "stablehlo.while":
            continue
        condition, body = op.regions[0][0], op.regions[1][0]
        yield from ((row, op) for row in _carried(op, condition, body, effects))
        if _is_false_at_once(op, condition):
            yield "while-false", op


def _carried(op: Op, condition: Block, body: Block, effects: Effects) -> Iterator[str]:
    following = body.ops[-1].operands
    live = _live(op, condition, body, effects)
    alive = [i for i in range(len(following)) if live >> i & 1]
    for index, value in enumerate(following):
        if not live >> index & 1:
            yield "while-dead"
        elif value is body.arguments[index]:
            yield "while-invariant"
    for _ in range(len(alive) - len(_classes(op, body, alive, effects))):
        yield "while-duplicate"


def _classes(op: Op, body: Block, among: list[int], effects: Effects) -> set[int]:
    """A number for each set of carried values that start equal and, as long as they are, stay equal."""
    starts: dict[Any, int] = {}
    kinds = [starts.setdefault(_start(v), len(starts)) for v in op.operands]
    following = body.ops[-1].operands
    count = len(starts)
    while count < len(kinds):
        numbering = Numbering(effects, zip(body.arguments, kinds, strict=True))
        numbering.block(body)
        refined: dict[Any, int] = {}
        kinds = [refined.setdefault((k, numbering.number(v)), len(refined))
                 for k, v in zip(kinds, following, strict=True)]
        if len(refined) == count:
            break
        count = len(refined)
    return {kinds[i] for i in among}


def _start(value: Value) -> Any:
    return value if value.constant is None else value.constant


def _live(op: Op, condition: Block, body: Block, effects: Effects) -> int:
    """The carried values that a result in use, the condition or an effect depends on, as bits."""
    depends, fixed = _dependences(body, effects)
    needed = fixed | _dependences(condition, effects)[1] | _used(condition)
    live = needed
    for index, result in enumerate(op.results):
        if result.uses:
            live |= 1 << index
    while True:
        more = live
        for index, value in enumerate(body.ops[-1].operands):
            if live >> index & 1:
                more |= depends.get(value, 0)
        if more == live:
            return live
        live = more


def _used(condition: Block) -> int:
    return sum(1 << a.index for a in condition.arguments if a.uses)


def _dependences(block: Block, effects: Effects) -> tuple[dict[Value, int], int]:
    """Of each value of ``block`` the arguments it depends on; and the arguments effects depend on."""
    depends: dict[Value, int] = {a: 1 << a.index for a in block.arguments}
    fixed = 0
    for op in block.ops[:-1]:
        bits = 0
        for operand in op.operands:
            bits |= depends.get(operand, 0)
        if op.regions:
            for inner in op.inside():
                for operand in inner.operands:
                    bits |= depends.get(operand, 0)
        if not effects.removable(op):
            fixed |= bits
        for result in op.results:
            depends[result] = bits
    return depends, fixed


def _is_false_at_once(op: Op, condition: Block) -> bool:
    returned = condition.ops[-1].operands[0]
    if returned.number is not None:
        return not returned.number
    compare = returned.defined_by("compare")
    if compare is None:
        return False
    left, right = (_initial(v, op, condition) for v in compare.operands)
    if left is None or right is None:
        return False
    direction = str(compare.attribute("comparison_direction")).rpartition(" ")[2].rstrip(">")
    outcome: bool = {
        "LT": left < right, "GT": left > right, "LE": left <= right, "GE": left >= right, "EQ": left == right,
        "NE": left != right,
    }[direction]  # fmt: skip
    return not outcome


def _initial(value: Value, op: Op, condition: Block) -> Any:
    """The number ``value`` is when the condition is computed first, if known."""
    if value.op is None and value.block is condition:
        value = op.operands[value.index]
    return value.number
