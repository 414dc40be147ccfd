"""Takes all_gathers of what a loop does not change out of the loop: gathered once instead of in every turn.

  while (%w = %0) { %1 = all_gather(%w) ... }   ->   %1 = all_gather(%0); while (%w = %0, %g = %1) { ... }

The loop carries the gathered value, which takes the memory of the whole instead of the parts for as long as the loop
runs. What is converted, moved or negated before it is gathered goes along.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from passes import _mlir
from passes.partition.groups import blocks
from passes.pipeline.base import Counters, Pass, Statistic
from passes.pipeline.collection import uncollected
from passes.program.types import byte_size
from passes.program.walk import terminator

_WHILE, _GATHER = "stablehlo.while", "stablehlo.all_gather"
# What may lie between the loop's value and its all_gather: ops of one operand, as cheap to keep as to compute.
_ALONG = frozenset({_GATHER, *(f"stablehlo.{name}" for name in ("convert", "negate", "reshape", "transpose"))})


@dataclass(frozen=True)
class HoistGathers(Pass):
    """See the module's docstring."""

    name: ClassVar[str] = "hoist-gathers"
    summary: ClassVar[str] = "Gather what a loop does not change before the loop, for more memory while it runs"
    statistics: ClassVar[tuple[Statistic, ...]] = (
        Statistic("hoisted", "all_gathers taken out of loops, once for each loop"),
        Statistic("bytes", "what the gathered values take on one device while loops run"),
    )
    before: ClassVar[str] = """\
func.func @main(%w: tensor<4xf32>, %x: tensor<8xf32>, %n: tensor<i32>) -> tensor<8xf32> {
  %zero = stablehlo.constant dense<0> : tensor<i32>
  %0:3 = stablehlo.while(%i = %n, %v = %w, %y = %x) : tensor<i32>, tensor<4xf32>, tensor<8xf32>
  cond {
    %1 = stablehlo.compare GT, %i, %zero : (tensor<i32>, tensor<i32>) -> tensor<i1>
    stablehlo.return %1 : tensor<i1>
  } do {
    %one = stablehlo.constant dense<1> : tensor<i32>
    %1 = stablehlo.subtract %i, %one : tensor<i32>
    %2 = "stablehlo.all_gather"(%v) <{all_gather_dim = 0 : i64, replica_groups = dense<[[0, 1]]> : tensor<1x2xi64>}>
      : (tensor<4xf32>) -> tensor<8xf32>
    %3 = stablehlo.multiply %y, %2 : tensor<8xf32>
    stablehlo.return %1, %v, %3 : tensor<i32>, tensor<4xf32>, tensor<8xf32>
  }
  return %0#2 : tensor<8xf32>
}
"""
    after: ClassVar[str] = """\
func.func @main(%w: tensor<4xf32>, %x: tensor<8xf32>, %n: tensor<i32>) -> tensor<8xf32> {
  %zero = stablehlo.constant dense<0> : tensor<i32>
  %g = "stablehlo.all_gather"(%w) <{all_gather_dim = 0 : i64, replica_groups = dense<[[0, 1]]> : tensor<1x2xi64>}>
    : (tensor<4xf32>) -> tensor<8xf32>
  %0:4 = stablehlo.while(%i = %n, %v = %w, %y = %x, %h = %g)
    : tensor<i32>, tensor<4xf32>, tensor<8xf32>, tensor<8xf32>
  cond {
    %1 = stablehlo.compare GT, %i, %zero : (tensor<i32>, tensor<i32>) -> tensor<i1>
    stablehlo.return %1 : tensor<i1>
  } do {
    %one = stablehlo.constant dense<1> : tensor<i32>
    %1 = stablehlo.subtract %i, %one : tensor<i32>
    %2 = stablehlo.multiply %y, %h : tensor<8xf32>
    stablehlo.return %1, %v, %2, %h : tensor<i32>, tensor<4xf32>, tensor<8xf32>, tensor<8xf32>
  }
  return %0#2 : tensor<8xf32>
}
"""

    def run(self, module: Any, counters: Counters) -> None:
        """Inner loops first, so that what an outer one does not change either leaves both."""
        with uncollected():
            for block in reversed(list(blocks(module))):
                for op in [view.operation for view in block if view.operation.name == _WHILE]:
                    _hoist(op, counters)


def _hoist(loop: Any, counters: Counters) -> None:
    """Takes what it can out of ``loop``."""
    body = loop.regions[1].blocks[0]
    yielded = list(terminator(body).operands)
    unchanged = {a: loop.operands[i] for i, a in enumerate(body.arguments) if yielded[i] == a}
    # Value of the body -> the same before the loop.
    outside: dict[Any, Any] = {}
    for op in [view.operation for view in body if view.operation.name == _GATHER]:
        _copy_before(loop, _chain(op, unchanged), unchanged, outside)
    gone: set[Any] = set()
    carried = [value for value in reversed(outside) if _is_carried(value, gone)]
    if carried:
        _carry(loop, carried, [outside[value] for value in carried], counters)
        for value in (value for value in reversed(outside) if value in gone):
            op = value.owner.operation
            counters.removed(op, "its value is gathered before the loop")
            op.erase()


def _is_carried(value: Any, gone: set[Any]) -> bool:
    """Whether the loop has to carry ``value``; those that use it come first, and ``gone`` are the ones that need not
    be computed in it any more.
    """
    is_gathered = value.owner.name == _GATHER
    needed = any(not len(use.owner.results) or use.owner.results[0] not in gone for use in value.uses)
    if is_gathered or not needed:
        gone.add(value)
    return is_gathered and needed


def _chain(gather: Any, unchanged: dict[Any, Any]) -> list[Any]:
    """The ops from an unchanged value to ``gather``, both in order; empty if there is something else on the way."""
    if len(gather.operands) != 1:
        return []
    chain, op = [gather], gather
    while op.operands[0] not in unchanged:
        owner = op.operands[0].owner
        if isinstance(owner, _mlir.ir.Block) or owner.name not in _ALONG or len(owner.operands) != 1:
            return []
        op = owner.operation
        chain.append(op)
    return chain[::-1]


def _copy_before(loop: Any, chain: list[Any], unchanged: dict[Any, Any], outside: dict[Any, Any]) -> None:
    for op in chain:
        if op.results[0] not in outside:
            copy = op.clone(_mlir.ir.InsertionPoint(loop)).operation
            source = op.operands[0]
            copy.operands[0] = unchanged[source] if source in unchanged else outside[source]
            outside[op.results[0]] = copy.results[0]


def _carry(loop: Any, gathered: list[Any], values: list[Any], counters: Counters) -> None:
    """Has ``loop`` carry ``values`` and read them instead of ``gathered``."""
    ir = _mlir.ir
    types = [v.type for v in values]
    new = ir.Operation.create(
        _WHILE,
        results=[*(v.type for v in loop.results), *types],
        operands=[*loop.operands, *values],
        attributes={key: loop.attributes[key] for key in loop.attributes},
        regions=2,
        loc=loop.location,
        ip=ir.InsertionPoint(loop),
    )
    for old, region in zip(loop.regions, new.regions, strict=True):
        old.blocks[0].append_to(region)
        for value, type in zip(gathered, types, strict=True):
            region.blocks[0].add_argument(type, value.owner.location)
    body = new.regions[1].blocks[0]
    carried = list(body.arguments)[-len(values) :]
    old_return = terminator(body)
    ir.Operation.create(
        old_return.name, operands=[*old_return.operands, *carried], loc=old_return.location,
        ip=ir.InsertionPoint(old_return),
    )
    old_return.erase()
    for value, argument in zip(gathered, carried, strict=True):
        value.replace_all_uses_with(argument)
        counters.add("hoisted")
        counters.add("bytes", byte_size(argument.type))
    for old_result, result in zip(loop.results, list(new.results)[: len(loop.results)], strict=True):
        old_result.replace_all_uses_with(result)
    loop.erase()
