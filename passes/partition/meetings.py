"""Tells whether collectives in functions of their own might, or will, become fewer if the functions are inlined.

What the passes over collectives find is in one function, so a program is made a second time with the functions that
talk inlined. That takes as long as the first time, and most of those functions keep what they do to themselves:

  func.func private @_take(%table, %index) {
    ...
    %2 = stablehlo.select %inside, %1, %zero
    %3 = "stablehlo.reduce_scatter"(%2)           // reads no argument, and no equal one stands elsewhere
    %4 = stablehlo.select %valid, %3, %nan        // not linear: no sum over devices passes
    return %4
  }

The answer may be yes where nothing comes of it, not the other way round. Where something is sure to come of it, the
program need not be made with these functions first.
"""

from __future__ import annotations

from typing import Any

from passes import _mlir
from passes.partition.cancel_moves import gathers_again
from passes.partition.delay_reductions import LINEAR
from passes.partition.groups import is_used_once
from passes.partition.outline import Outliner
from passes.partition.summary import by_function
from passes.program import purity
from passes.program.entry import is_private
from passes.program.walk import operations

# The collectives that the passes make fewer by what stands before and behind them; others only by equal ones.
_COMBINED = frozenset(f"stablehlo.{name}" for name in ("all_gather", "all_reduce", "reduce_scatter"))
_MEETING = _COMBINED | {"func.return", "stablehlo.dynamic_slice"}
# How far equal ones are told apart by what they are computed from.
_DEPTH = 4


def may_meet(module: Any) -> bool:
    """Whether a collective in a private function of ``module`` might meet another, or an equal one, outside of it."""
    talking = [found for found in by_function(module, purity.COLLECTIVES) if found[2]]
    private = [found for found in talking if is_private(found[0])]
    if any(times > 1 or _reaches_out(function) for function, times, _ in private):
        return True
    alike: dict[str, list[tuple[Any, Any]]] = {}
    for function, _, ops in talking if private else ():
        for op in ops:
            alike.setdefault(op.name, []).append((function, op))
    return any(
        _may_be_equal(op, other, _DEPTH)
        for function, _, ops in private for op in ops for place, other in alike[op.name] if place != function
    )


def will_meet(outliner: Outliner) -> bool:
    """Whether a function returns a reduce_scatter for which its caller has no use but to gather it.

    One all_reduce sends as many bytes as the two, in one collective instead of two.
    """
    return any(
        _is_gathered(end, end.results[number], value) and outliner.is_called(begin, end)
        for begin, end in outliner.pairs()
        for number, value in enumerate(end.operands)
    )


def _is_gathered(end: Any, result: Any, value: Any) -> bool:
    """Whether ``value`` is scattered for the bound ``end`` alone, and its ``result`` read by what undoes that alone."""
    scatter = value.owner
    if isinstance(scatter, _mlir.ir.Block) or scatter.name != "stablehlo.reduce_scatter" or not is_used_once(scatter):
        return False
    uses = list(result.uses)
    if len(uses) != 1 or uses[0].owner.name != "stablehlo.all_gather":
        return False
    gather = uses[0].owner.operation
    return bool(gather.block == end.block) and gathers_again(gather, scatter.operation)


def _reaches_out(function: Any) -> bool:
    """Whether the passes might take a collective of ``function`` and one outside of it together.

    They see through linear ops and slices; factors that come in as arguments may turn out to be constants.
    """
    reached = set(function.regions[0].blocks[0].arguments)
    for op in operations(function):
        name = op.name
        found = not reached.isdisjoint(op.operands)
        if found and name in _MEETING:
            return True
        if name in _COMBINED or (found and name in LINEAR):
            reached.update(op.results)
    return False


def _may_be_equal(one: Any, other: Any, depth: int) -> bool:
    """Whether ops of two functions might turn out to compute the same once arguments are what calls pass."""
    if one.name != other.name or list(one.results.types) != list(other.results.types):
        return False
    if depth == 0:
        return True
    left, right = list(one.operands), list(other.operands)
    orders = [right, right[::-1]] if len(right) == 2 else [right]
    return len(left) == len(right) and any(
        all(_may_be_the_same(a, b, depth - 1) for a, b in zip(left, order, strict=True)) for order in orders
    )


def _may_be_the_same(one: Any, other: Any, depth: int) -> bool:
    makers = one.owner, other.owner
    if any(isinstance(m, _mlir.ir.Block) or m.name in purity.CALLEE_ATTRIBUTES for m in makers):
        return bool(one.type == other.type)
    return _may_be_equal(makers[0].operation, makers[1].operation, depth)
