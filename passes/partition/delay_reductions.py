"""Adds partial sums before they are reduced: one reduction over devices where several results of such are added up.

  all_reduce(x) + (t - all_reduce(y))   ->   t + all_reduce(x - y)

Reduced sums are followed upwards through ops that are linear in them and need nothing from other devices: add,
subtract, negate, transpose, reshape, products with constants. Where all those of one group meet that reach the same
sum, they are reduced, once; what else is added stays outside. Every value on the way has that one use, so no reduction
is left behind and none gets larger.

Sums modulo a power of two stay what they are to the bit. Floating-point sums are added in another order: they round
otherwise, where they round at all, may overflow otherwise, and a zero may change its sign.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from passes import _mlir
from passes.partition.groups import combiner, group_key, in_blocks, is_plain
from passes.pipeline.base import Counters, Pass, Statistic, option
from passes.pipeline.collection import uncollected

Key = tuple[Hashable, ...]


@dataclass(frozen=True)
class DelayReductions(Pass):
    """See the module's docstring."""

    name: ClassVar[str] = "delay-reductions"
    summary: ClassVar[str] = "Add partial sums before they are reduced over devices, so that one reduction serves them"
    statistics: ClassVar[tuple[Statistic, ...]] = (
        Statistic("delayed", "reductions that were taken out in favour of later ones"),
        Statistic("made", "reductions that were put where their sums meet"),
    )
    before: ClassVar[str] = """\
func.func @main(%x: tensor<4xi32>, %y: tensor<4xi32>, %t: tensor<4xi32>) -> tensor<4xi32> {
  %0 = "stablehlo.all_reduce"(%x) <{channel_handle = #stablehlo.channel_handle<handle = 1, type = 1>,
      replica_groups = dense<[[0, 1]]> : tensor<1x2xi64>, use_global_device_ids}> ({
  ^bb0(%a: tensor<i32>, %b: tensor<i32>):
    %c = stablehlo.add %a, %b : tensor<i32>
    stablehlo.return %c : tensor<i32>
  }) : (tensor<4xi32>) -> tensor<4xi32>
  %1 = stablehlo.add %t, %0 : tensor<4xi32>
  %2 = "stablehlo.all_reduce"(%y) <{channel_handle = #stablehlo.channel_handle<handle = 2, type = 1>,
      replica_groups = dense<[[0, 1]]> : tensor<1x2xi64>, use_global_device_ids}> ({
  ^bb0(%a: tensor<i32>, %b: tensor<i32>):
    %c = stablehlo.add %a, %b : tensor<i32>
    stablehlo.return %c : tensor<i32>
  }) : (tensor<4xi32>) -> tensor<4xi32>
  %3 = stablehlo.add %1, %2 : tensor<4xi32>
  return %3 : tensor<4xi32>
}
"""
    after: ClassVar[str] = """\
func.func @main(%x: tensor<4xi32>, %y: tensor<4xi32>, %t: tensor<4xi32>) -> tensor<4xi32> {
  %0 = stablehlo.add %x, %y : tensor<4xi32>
  %1 = "stablehlo.all_reduce"(%0) <{channel_handle = #stablehlo.channel_handle<handle = 2, type = 1>,
      replica_groups = dense<[[0, 1]]> : tensor<1x2xi64>, use_global_device_ids}> ({
  ^bb0(%a: tensor<i32>, %b: tensor<i32>):
    %c = stablehlo.add %a, %b : tensor<i32>
    stablehlo.return %c : tensor<i32>
  }) : (tensor<4xi32>) -> tensor<4xi32>
  %2 = stablehlo.add %t, %1 : tensor<4xi32>
  return %2 : tensor<4xi32>
}
"""

    reorder_floats: bool = option(
        True, "also where sums of floating-point numbers are added in another order then, which may round otherwise"
    )

    def run(self, module: Any, counters: Counters) -> None:
        """Rewrites block by block."""
        with uncollected():
            for reductions in in_blocks(module, _REDUCTIONS):
                if len(reductions) > 1:
                    _Block(self.reorder_floats, counters).rewrite(reductions)


@dataclass
class _Parts:
    """A value as a sum: per key what the devices still have to add up, and what is complete.

    Attributes:
      partial: Key -> the summands, before their reduction.
      count: Key -> how many reductions these stand for.
      rest: The complete part; ``None`` for none.
    """

    partial: dict[Key, Any] = field(default_factory=dict)
    count: Counter[Key] = field(default_factory=Counter)
    rest: Any = None


class _Block:
    """The rewriting of one block.

    A sum's root is the last value of a chain of linear ops each of which has one use, by the next.
    """

    def __init__(self, reorder_floats: bool, counters: Counters) -> None:
        self._floats = reorder_floats
        self._counters = counters
        # The root of each value in a chain, and whether only sums, no moves or products, lie between.
        self._roots: dict[Any, tuple[Any, bool]] = {}
        self._keys: dict[Any, Key] = {}
        self._totals: Counter[tuple[Any, Key]] = Counter()
        # The last reduction of a key that each sum leaves out: the one to be made is like it, down to its channel.
        self._templates: dict[tuple[Any, Key], Any] = {}
        self._parts: dict[Any, _Parts] = {}
        self._stale: list[Any] = []

    def rewrite(self, reductions: list[Any]) -> None:
        """Rewrites a block, in which ``reductions`` are."""
        for op in reductions:
            self._find_root(op)
        for op in reductions:
            self._count(op, op.name)
        delayed = [op for op in reductions if self._is_delayed(op)]
        for op in _in_order(delayed + self._between(delayed)):
            if op.name in _REDUCTIONS:
                self._start(op)
            else:
                self._carry(op, op.name)
        for op in reversed(self._stale):
            self._counters.removed(op, "its sum is made before the reduction over devices")
            op.erase()

    def _find_root(self, op: Any) -> None:
        """Finds the root of the result of ``op``, and with it those of all values on the way there."""
        if len(op.results) != 1:
            return
        chain: list[tuple[Any, str]] = []
        value = op.results[0]
        while value not in self._roots:
            use = _only_use(value)
            # A user in the region of another op has no root here.
            if use is None or use.owner.operation.block != op.block or not is_linear(use.owner, use.operand_number):
                self._roots[value] = value, True
            else:
                chain.append((value, use.owner.name))
                value = use.owner.results[0]
        root, plain = self._roots[value]
        for below, name in reversed(chain):
            plain = plain and name in _PLAIN
            self._roots[below] = root, plain

    def _count(self, op: Any, name: str) -> None:
        if not is_plain(op) or combiner(op) != "stablehlo.add":
            return
        value = op.results[0]
        root, plain = self._roots[value]
        element = _mlir.ir.RankedTensorType(value.type).element_type
        if root == value or not self._may_reorder(element) or (not plain and name != "stablehlo.all_reduce"):
            return
        # Moves and products know nothing of the larger shape before a reduce_scatter.
        place = str(op.attributes["scatter_dimension"]) if name != "stablehlo.all_reduce" else ""
        key = (name, place, group_key(op), element)
        self._keys[value] = key
        self._totals[root, key] += 1

    def _may_reorder(self, element: Any) -> bool:
        ir = _mlir.ir
        if isinstance(element, ir.IntegerType):
            # The sum of truth values is their disjunction, which has no difference.
            return bool(element.width > 1)
        return self._floats and isinstance(element, (ir.FloatType, ir.ComplexType))

    def _is_delayed(self, op: Any) -> bool:
        """Whether the reduction ``op`` meets others later."""
        value = op.results[0] if len(op.results) == 1 else None
        key = self._keys.get(value)
        return key is not None and self._totals[self._roots[value][0], key] > 1

    def _between(self, reductions: list[Any]) -> list[Any]:
        """The ops from ``reductions`` to their roots."""
        found: dict[Any, Any] = {}
        for op in reductions:
            value = op.results[0]
            while value != self._roots[value][0]:
                user = next(iter(value.uses)).owner.operation
                value = user.results[0]
                if value in found:
                    break
                found[value] = user
        return list(found.values())

    def _start(self, op: Any) -> None:
        """Leaves out a reduction that meets others later."""
        value = op.results[0]
        key = self._keys[value]
        self._templates[self._roots[value][0], key] = op
        self._parts[value] = _Parts({key: op.operands[0]}, Counter({key: 1}))
        self._stale.append(op)
        self._counters.add("delayed")

    def _carry(self, op: Any, name: str) -> None:
        """Carries the parts of the summands through ``op``, and reduces what has all its summands now."""
        operands = list(op.operands)
        found = [self._parts.get(value) for value in operands]
        if not any(found):
            return
        value = op.results[0]
        parts = _Parts()
        sides = [part or _Parts(rest=v) for part, v in zip(found, operands, strict=True)]
        for key in {key: None for side in sides for key in side.partial}:
            parts.partial[key] = _SUMS[name](op, [side.partial.get(key) for side in sides])
        parts.rest = _SUMS[name](op, [side.rest for side in sides])
        for side in sides:
            parts.count += side.count
        root = self._roots[value][0]
        for key in [key for key in parts.partial if parts.count[key] == self._totals[root, key]]:
            template = self._templates[root, key]
            reduced = self._reduce(op, template, parts.partial.pop(key), value.type)
            parts.rest = reduced if parts.rest is None else _make(op, "stablehlo.add", [parts.rest, reduced])
        self._stale.append(op)
        if parts.partial:
            self._parts[value] = parts
        else:
            value.replace_all_uses_with(parts.rest)

    def _reduce(self, before: Any, template: Any, value: Any, type: Any) -> Any:
        """A reduction of ``value`` like ``template``, which has been left out."""
        new = template.clone(_mlir.ir.InsertionPoint(before))
        new.operands[0] = value
        new.results[0].set_type(type)
        self._counters.add("made")
        return new.results[0]


# -- ops that are linear in an operand ---------------------------------------------------------------------------------

_REDUCTIONS = frozenset({"stablehlo.all_reduce", "stablehlo.reduce_scatter"})
# Attributes of these ops.
_OWN = frozenset({"permutation"})


def _make(op: Any, name: str, operands: list[Any]) -> Any:
    """The result of a new elementwise op before ``op``, at its location."""
    ir = _mlir.ir
    return ir.Operation.create(
        name, results=[operands[0].type], operands=operands, loc=op.location, ip=ir.InsertionPoint(op)
    ).results[0]


def _added(op: Any, sides: list[Any]) -> Any:
    left, right = sides
    if left is None or right is None:
        return right if left is None else left
    return _make(op, op.name, [left, right])


def _subtracted(op: Any, sides: list[Any]) -> Any:
    left, right = sides
    if right is None:
        return left
    if left is None:
        return _make(op, "stablehlo.negate", [right])
    return _make(op, op.name, [left, right])


def _moved(op: Any, sides: list[Any]) -> Any:
    return _with_operand(op, 0, sides)


def _with_operand(op: Any, number: int, sides: list[Any]) -> Any:
    """The result of the same op on a part of its operand ``number``."""
    if sides[number] is None:
        return None
    new = op.clone(_mlir.ir.InsertionPoint(op))
    new.operands[number] = sides[number]
    return new.results[0]


def _scaled(op: Any, sides: list[Any]) -> Any:
    """The part times the same constant."""
    return _with_operand(op, 0 if _factor(op) == 1 else 1, sides)


# Linear op -> the result from parts of its operands (``None``: the operand has no such part; then so may the result).
_SUMS = {
    "stablehlo.add": _added,
    "stablehlo.subtract": _subtracted,
    "stablehlo.negate": _moved,
    "stablehlo.reshape": _moved,
    "stablehlo.transpose": _moved,
    "stablehlo.multiply": _scaled,
    "stablehlo.divide": _scaled,
}
LINEAR = frozenset(_SUMS)
# Those that take operands of any shape.
_PLAIN = frozenset({"stablehlo.add", "stablehlo.subtract"})
_PRODUCTS = frozenset({"stablehlo.multiply", "stablehlo.divide"})
# What lies between a constant and its use as a factor.
_SPREADS = frozenset({"stablehlo.broadcast_in_dim", "stablehlo.convert", "stablehlo.reshape", "stablehlo.transpose"})


def is_linear(op: Any, number: int) -> bool:
    """Whether ``op``, of which nothing more is said, is linear in its operand ``number``."""
    name = op.name
    if name not in _SUMS or not _OWN.issuperset(op.attributes):
        return False
    return name not in _PRODUCTS or _factor(op) == 1 - number


def _factor(op: Any) -> int | None:
    """Which operand of a product is a constant; ``None`` if neither is, or the product is not linear in the other.

    The quotient of integers drops a remainder.
    """
    divides = op.name == "stablehlo.divide"
    if divides and isinstance(_mlir.ir.RankedTensorType(op.results[0].type).element_type, _mlir.ir.IntegerType):
        return None
    return next((number for number in ((1,) if divides else (1, 0)) if _is_constant(op.operands[number])), None)


def _is_constant(value: Any) -> bool:
    """Whether ``value`` is a constant that was moved or converted, and so the same on every device."""
    while not isinstance(value.owner, _mlir.ir.Block):
        op = value.owner
        if op.name == "stablehlo.constant":
            return True
        if op.name not in _SPREADS:
            return False
        value = op.operands[0]
    return False


def _in_order(ops: list[Any]) -> list[Any]:
    """Ops of one block in the order in which they stand."""

    def compare(one: Any, other: Any) -> int:
        return -1 if one.is_before_in_block(other) else 1

    return sorted(ops, key=functools.cmp_to_key(compare))


def _only_use(value: Any) -> Any | None:
    """The use of ``value`` if it has just one."""
    uses = iter(value.uses)
    first = next(uses, None)
    return first if first is not None and next(uses, None) is None else None
