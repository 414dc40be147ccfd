"""Combines collectives that do not depend on each other into one of several operands.

  all_reduce(x), all_reduce(y)   ->   all_reduce(x, y)

Those are combined that run among the same devices with the same region, on the same element type, up to a number of
bytes that one device puts in. What uses their results moves behind the combined op, and nothing moves across an op
with an effect of its own.

Which ones may go together is decided by how many collectives still follow one (the longest chain of those that need its
result): two with the same number cannot need each other, and combining only such ones never makes a circle. Counting
from the end lets all gradients of a train step meet, which differ in how many collectives came before. An all_gather
that needs no other collective, as of parameters, can be in no circle and meets all of its kind.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

from passes import _mlir
from passes.partition.groups import blocks, combiner, group_key, is_plain
from passes.pipeline.base import Counters, Pass, Statistic, option
from passes.pipeline.collection import uncollected
from passes.program import purity
from passes.program.types import byte_size

COMBINABLE = frozenset({"stablehlo.all_reduce", "stablehlo.all_gather"})


@dataclass(frozen=True)
class CombineCollectives(Pass):
    """See the module's docstring."""

    name: ClassVar[str] = "combine-collectives"
    summary: ClassVar[str] = "Combine independent all_reduces, and all_gathers, into ones of several operands"
    statistics: ClassVar[tuple[Statistic, ...]] = (
        Statistic("combined", "collectives that became part of a combined one"),
        Statistic("made", "combined collectives"),
    )
    before: ClassVar[str] = """\
func.func @main(%x: tensor<4xf32>, %y: tensor<2x3xf32>) -> (tensor<4xf32>, tensor<2x3xf32>) {
  %0 = "stablehlo.all_reduce"(%x) <{channel_handle = #stablehlo.channel_handle<handle = 1, type = 1>,
      replica_groups = dense<[[0, 1]]> : tensor<1x2xi64>, use_global_device_ids}> ({
  ^bb0(%a: tensor<f32>, %b: tensor<f32>):
    %c = stablehlo.add %a, %b : tensor<f32>
    stablehlo.return %c : tensor<f32>
  }) : (tensor<4xf32>) -> tensor<4xf32>
  %1 = stablehlo.negate %0 : tensor<4xf32>
  %2 = "stablehlo.all_reduce"(%y) <{channel_handle = #stablehlo.channel_handle<handle = 2, type = 1>,
      replica_groups = dense<[[0, 1]]> : tensor<1x2xi64>, use_global_device_ids}> ({
  ^bb0(%a: tensor<f32>, %b: tensor<f32>):
    %c = stablehlo.add %a, %b : tensor<f32>
    stablehlo.return %c : tensor<f32>
  }) : (tensor<2x3xf32>) -> tensor<2x3xf32>
  return %1, %2 : tensor<4xf32>, tensor<2x3xf32>
}
"""
    after: ClassVar[str] = """\
func.func @main(%x: tensor<4xf32>, %y: tensor<2x3xf32>) -> (tensor<4xf32>, tensor<2x3xf32>) {
  %0:2 = "stablehlo.all_reduce"(%x, %y) <{channel_handle = #stablehlo.channel_handle<handle = 1, type = 1>,
      replica_groups = dense<[[0, 1]]> : tensor<1x2xi64>, use_global_device_ids}> ({
  ^bb0(%a: tensor<f32>, %b: tensor<f32>):
    %c = stablehlo.add %a, %b : tensor<f32>
    stablehlo.return %c : tensor<f32>
  }) : (tensor<4xf32>, tensor<2x3xf32>) -> (tensor<4xf32>, tensor<2x3xf32>)
  %1 = stablehlo.negate %0#0 : tensor<4xf32>
  return %1, %0#1 : tensor<4xf32>, tensor<2x3xf32>
}
"""

    bytes: int = option(1 << 25, "how many bytes one device puts into a combined collective at most")

    def run(self, module: Any, counters: Counters) -> None:
        """Combines block by block."""
        with uncollected():
            for block in list(blocks(module)):
                for operations in _stretches(block):
                    _combine(operations, self.bytes, counters)


def _stretches(block: Any) -> Iterator[list[Any]]:
    """The ops of ``block``, cut where an op has an effect: each stretch may be put in any order that definitions allow.

    The op that ends a stretch is its last.
    """
    stretch: list[Any] = []
    for view in list(block):
        op = view.operation
        stretch.append(op)
        if not _is_pure(op):
            yield stretch
            stretch = []
    if len(stretch) > 1:
        yield stretch


def _is_pure(op: Any) -> bool:
    return op.name in purity.PLAIN and all(
        _is_pure(view.operation) for region in op.regions for block in region for view in block
    )


@dataclass
class _Graph:
    """Who uses whom among the ops of a stretch, by their places in it.

    Attributes:
      needs: Op -> the ops whose results it, or something in its regions, uses.
    """

    operations: list[Any]
    needs: list[list[int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        place: dict[Any, int] = {}
        for number, op in enumerate(self.operations):
            self.needs.append(sorted({place[value] for value in _used(op) if value in place}))
            for value in op.results:
                place[value] = number


def _used(op: Any) -> Iterator[Any]:
    yield from op.operands
    for region in op.regions:
        for block in region:
            for view in block:
                yield from _used(view.operation)


def _combine(operations: list[Any], limit: int, counters: Counters) -> None:
    """Combines what can be among ``operations``, the last of which stays last."""
    candidates = [n for n, op in enumerate(operations) if op.name in COMBINABLE and is_plain(op)]
    if len(candidates) < 2:
        return
    graph = _Graph(operations)
    buckets = _buckets(graph, candidates, limit)
    if not buckets:
        return
    order = _order(graph, buckets)
    last = operations[-1]
    for number in order[:-1]:
        operations[number].move_before(last)
    for bucket in buckets:
        _fuse([operations[number] for number in bucket], counters)


def _buckets(graph: _Graph, candidates: list[int], limit: int) -> list[list[int]]:
    """Which of the ops ``candidates`` go together, two or more at a time."""
    before, after = _stages(graph)
    open_buckets: dict[Hashable, tuple[list[int], int]] = {}
    found = []
    for number in candidates:
        op = graph.operations[number]
        key = _key(op, before[number], after[number])
        size = byte_size(op.operands[0].type)
        bucket, filled = open_buckets.get(key, ([], 0))
        if not bucket or filled + size > limit:
            bucket, filled = [], 0
            found.append(bucket)
        bucket.append(number)
        open_buckets[key] = bucket, filled + size
    return [bucket for bucket in found if len(bucket) > 1]


def _key(op: Any, before: int, after: int) -> Hashable:
    """Collectives with equal keys may be combined; ``before`` and ``after`` count those on the longest chains."""
    element = _mlir.ir.RankedTensorType(op.operands[0].type).element_type
    if op.name == "stablehlo.all_gather":
        stage = ("first",) if before == 0 else ("before the end", after)
        return op.name, stage, group_key(op), element, str(op.attributes["all_gather_dim"])
    # A region that is not one op is like no other.
    return op.name, after, group_key(op), element, combiner(op) or op


def _stages(graph: _Graph) -> tuple[list[int], list[int]]:
    """For each op, how many collectives are on the longest chain of those it needs, and of those that need it."""
    count = len(graph.operations)
    weight = [int(op.name in purity.COLLECTIVES) for op in graph.operations]
    before, after = [0] * count, [0] * count
    for number in range(count):
        for source in graph.needs[number]:
            before[number] = max(before[number], before[source] + weight[source])
    for number in reversed(range(count)):
        for source in graph.needs[number]:
            after[source] = max(after[source], after[number] + weight[number])
    return before, after


def _order(graph: _Graph, buckets: list[list[int]]) -> list[int]:
    """The places of the ops in an order in which those of a bucket follow each other, else as they stand."""
    head = list(range(len(graph.operations)))
    members = {number: [number] for number in head}
    for bucket in buckets:
        for number in bucket:
            head[number] = bucket[-1]
            members.pop(number)
        members[bucket[-1]] = bucket
    waits: dict[int, int] = defaultdict(int)
    users: dict[int, list[int]] = defaultdict(list)
    for number, sources in enumerate(graph.needs):
        for source in sources:
            users[head[source]].append(head[number])
            waits[head[number]] += 1
    ready = [number for number in members if not waits[number]]
    order: list[int] = []
    while ready:
        number = heapq.heappop(ready)
        order += members[number]
        for user in users[number]:
            waits[user] -= 1
            if not waits[user]:
                heapq.heappush(ready, user)
    assert len(order) == len(head), "collectives were combined that need each other"
    return order


def _fuse(collectives: list[Any], counters: Counters) -> None:
    """Puts one collective in the place of several that follow each other."""
    ir, first = _mlir.ir, collectives[0]
    new = ir.Operation.create(
        first.name,
        results=[op.results[0].type for op in collectives],
        operands=[op.operands[0] for op in collectives],
        attributes={key: first.attributes[key] for key in first.attributes},
        regions=len(first.regions),
        loc=ir.Location.fused([op.location for op in collectives], context=_mlir.context()),
        ip=ir.InsertionPoint(collectives[-1]),
    )
    for old, copy in zip(first.regions, new.regions, strict=True):
        old.blocks[0].append_to(copy)
    for op, result in zip(collectives, new.results, strict=True):
        op.results[0].replace_all_uses_with(result)
        counters.removed(op, "it is part of a combined collective")
        op.erase()
    counters.add("combined", len(collectives))
    counters.add("made")
