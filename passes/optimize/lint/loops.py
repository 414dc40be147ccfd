"""Random numbers drawn in loops."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from passes import _mlir
from passes.optimize.lint.findings import Check, Remark, Scope
from passes.optimize.lint.values import MOVES, definition
from passes.program.entry import functions, symbol_name
from passes.program.walk import operations

_WHILE = "stablehlo.while"


def rng(op: Any, scope: Scope) -> Iterator[Remark]:
    """``rng``, which keeps a state of its own, where a loop runs it many times."""
    if _in_loop(op, scope):
        yield Remark(
            "rng draws from a hidden state in each iteration of a loop, so no two backends agree and no run repeats",
            "draw before the loop, or carry a state through it with rng_bit_generator",
        )


def rng_bit_generator(op: Any, _: Scope) -> Iterator[Remark]:
    """A generator whose state is the same in each iteration, so that its numbers are."""
    loop = _enclosing_loop(op)
    if loop is not None and _is_invariant(op.operands[0], loop):
        yield Remark(
            "rng_bit_generator starts from the same state in each iteration of the loop and so gives the same numbers",
            "carry its output state through the loop, or move it before the loop",
        )


def _in_loop(op: Any, scope: Scope) -> bool:
    """Whether a loop is around ``op`` or around a call, direct or not, of the function it is in."""
    if _enclosing_loop(op) is not None:
        return True
    if "looped" not in scope.memory:
        scope.memory["looped"] = _functions_in_loops(scope.module)
    return symbol_name(_enclosing(op, "func.func")) in scope.memory["looped"]


def _functions_in_loops(module: Any) -> set[str]:
    """The functions that are called in a loop, or by such a function; asked only if a program has an ``rng``."""
    callees: dict[str, set[str]] = {}
    looped: set[str] = set()
    for function in functions(module):
        own = callees.setdefault(symbol_name(function), set())
        for op in operations(function):
            if op.name == "func.call":
                name = str(_mlir.ir.FlatSymbolRefAttr(op.attributes["callee"]).value)
                own.add(name)
                if _enclosing_loop(op.operation) is not None:
                    looped.add(name)
    waiting = list(looped)
    while waiting:
        more = callees.get(waiting.pop(), set()) - looped
        looped |= more
        waiting += more
    return looped


def _enclosing_loop(op: Any) -> Any:
    return _enclosing(op, _WHILE)


def _enclosing(op: Any, name: str) -> Any:
    """The innermost op called ``name`` around ``op``."""
    parent = op.parent
    while parent is not None and parent.operation.name != name:
        parent = parent.operation.parent
    return None if parent is None else parent.operation


def _is_invariant(value: Any, loop: Any) -> bool:
    """Whether ``value`` is the same in each iteration: from outside, carried unchanged, or a constant."""
    op = definition(value)
    while op is not None and op.name in MOVES:
        value = op.operands[0]
        op = definition(value)
    if op is not None:
        return bool(op.name == "stablehlo.constant" or _enclosing_loop(op) != loop)
    owner = value.owner.owner.operation
    if owner != loop:
        return not _is_inside(owner, loop)
    end = loop.regions[1].blocks[0]
    return bool(list(end)[-1].operation.operands[value.arg_number] == end.arguments[value.arg_number])


def _is_inside(op: Any, loop: Any) -> bool:
    parent = op.parent
    while parent is not None and parent.operation != loop:
        parent = parent.operation.parent
    return parent is not None


RNG_IN_LOOP = Check(
    "rng-in-loop", "rng inside loops, also through calls: its hidden state makes runs differ", ("stablehlo.rng",), rng
)
REPEATED_RNG = Check(
    "repeated-rng",
    "rng_bit_generator inside a loop that starts from the same state in each iteration",
    ("stablehlo.rng_bit_generator",),
    rng_bit_generator,
)
