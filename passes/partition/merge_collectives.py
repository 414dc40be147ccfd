"""Merges a collective and the next one of its kind into one among the devices of both.

  all_reduce(all_reduce(x) among the rows) among the columns   ->   all_reduce(x) among all
  all_gather(all_gather(x)) along one dimension                ->   all_gather(x)
  reduce_scatter(reduce_scatter(x)) along one dimension        ->   reduce_scatter(x)

The groups must cross like the rows and columns of a grid. A collective that something else reads stays. Fewer bytes are
sent, and one wait is saved; gathers along different dimensions stay, for one of both would need a transpose.

Floating-point sums are added in another order then, and round otherwise where they round at all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from passes import _mlir
from passes.partition.groups import combiner, group_key, in_blocks, is_plain, is_used_once
from passes.pipeline.base import Counters, Pass, Statistic, option
from passes.pipeline.collection import uncollected

Groups = list[list[int]]


@dataclass(frozen=True)
class MergeCollectives(Pass):
    """See the module's docstring."""

    name: ClassVar[str] = "merge-collectives"
    summary: ClassVar[str] = "Merge collectives that follow each other over different axes into one over all of these"
    statistics: ClassVar[tuple[Statistic, ...]] = (
        Statistic("merged", "collectives that were taken out because the next one does their part"),
    )
    before: ClassVar[str] = """\
func.func @main(%x: tensor<4xi32>) -> tensor<4xi32> {
  %0 = "stablehlo.all_reduce"(%x) <{channel_handle = #stablehlo.channel_handle<handle = 1, type = 1>,
      replica_groups = dense<[[0, 1], [2, 3]]> : tensor<2x2xi64>, use_global_device_ids}> ({
  ^bb0(%a: tensor<i32>, %b: tensor<i32>):
    %c = stablehlo.add %a, %b : tensor<i32>
    stablehlo.return %c : tensor<i32>
  }) : (tensor<4xi32>) -> tensor<4xi32>
  %1 = "stablehlo.all_reduce"(%0) <{channel_handle = #stablehlo.channel_handle<handle = 2, type = 1>,
      replica_groups = dense<[[0, 2], [1, 3]]> : tensor<2x2xi64>, use_global_device_ids}> ({
  ^bb0(%a: tensor<i32>, %b: tensor<i32>):
    %c = stablehlo.add %a, %b : tensor<i32>
    stablehlo.return %c : tensor<i32>
  }) : (tensor<4xi32>) -> tensor<4xi32>
  return %1 : tensor<4xi32>
}
"""
    after: ClassVar[str] = """\
func.func @main(%x: tensor<4xi32>) -> tensor<4xi32> {
  %0 = "stablehlo.all_reduce"(%x) <{channel_handle = #stablehlo.channel_handle<handle = 2, type = 1>,
      replica_groups = dense<[[0, 1, 2, 3]]> : tensor<1x4xi64>, use_global_device_ids}> ({
  ^bb0(%a: tensor<i32>, %b: tensor<i32>):
    %c = stablehlo.add %a, %b : tensor<i32>
    stablehlo.return %c : tensor<i32>
  }) : (tensor<4xi32>) -> tensor<4xi32>
  return %0 : tensor<4xi32>
}
"""

    reorder_floats: bool = option(
        True, "also where sums of floating-point numbers are added in another order then, which may round otherwise"
    )

    def run(self, module: Any, counters: Counters) -> None:
        """Merges block by block, from the first op to the last, so that chains of any length become one."""
        merger = _Merger(self.reorder_floats, counters)
        with uncollected():
            for ops in in_blocks(module, frozenset(_KINDS)):
                for op in ops:
                    merger.visit(op)


@dataclass
class _Merger:
    floats: bool
    counters: Counters
    # Groups of a collective and of the next one -> those of the merged one, if there are such.
    _merged: dict[tuple[str, Any, Any], Any] = field(default_factory=dict)

    def visit(self, op: Any) -> None:
        """Merges ``op`` with the collective whose result it reads."""
        first = op.operands[0].owner
        if isinstance(first, _mlir.ir.Block) or first.name != op.name:
            return
        first = first.operation
        if first.block != op.block or not self._alike(first, op) or not is_used_once(first):
            return
        groups = self._groups(first, op)
        if groups is None:
            return
        op.attributes["replica_groups"] = groups
        op.operands[0] = first.operands[0]
        self.counters.removed(first, "the next collective does its part")
        first.erase()
        self.counters.add("merged")

    def _alike(self, first: Any, second: Any) -> bool:
        """Whether the two differ in nothing but who takes part."""
        if not is_plain(first) or not is_plain(second) or group_key(first)[1:] != group_key(second)[1:]:
            return False
        place = _KINDS[second.name].place
        if place and first.attributes[place] != second.attributes[place]:
            return False
        if not len(second.regions):
            return True
        kind = combiner(second)
        return kind is not None and kind == combiner(first) and self._may_reorder(kind, second)

    def _may_reorder(self, kind: str, op: Any) -> bool:
        element = _mlir.ir.RankedTensorType(op.results[0].type).element_type
        exact = isinstance(element, _mlir.ir.IntegerType) or kind in _SELECTS
        return kind in _SELECTS | _SUMS and (exact or self.floats)

    def _groups(self, first: Any, second: Any) -> Any:
        key = (second.name, first.attributes["replica_groups"], second.attributes["replica_groups"])
        if key not in self._merged:
            kind = _KINDS[second.name]
            merged = crossed(*kind.order(_rows(key[1]), _rows(key[2])))
            if merged and not kind.place:
                merged = sorted(map(sorted, merged))
            self._merged[key] = merged and _dense(merged)
        return self._merged[key]


@dataclass(frozen=True)
class _Kind:
    """What merging needs to know of a collective.

    Attributes:
      place: The attribute that names the dimension it works along, if any.
      order: Puts the groups of the first collective and of the second as outer and inner ones.
    """

    place: str
    order: Callable[[Groups, Groups], tuple[Groups, Groups]]


_KINDS = {
    "stablehlo.all_reduce": _Kind("", lambda first, second: (second, first)),
    # What was gathered first is in one piece in what is gathered next.
    "stablehlo.all_gather": _Kind("all_gather_dim", lambda first, second: (second, first)),
    "stablehlo.reduce_scatter": _Kind("scatter_dimension", lambda first, second: (first, second)),
}
_SELECTS = frozenset(f"stablehlo.{name}" for name in ("and", "maximum", "minimum", "or", "xor"))
_SUMS = frozenset({"stablehlo.add", "stablehlo.multiply"})


def crossed(outer: Groups, inner: Groups) -> Groups | None:
    """For each device of a group of ``outer`` in turn, the group of ``inner`` it is in, if these make up new groups.

      [[0, 2], [1, 3]], [[0, 1], [2, 3]]   ->   [[0, 1, 2, 3]]

    ``None`` if a device has different ones to talk to than those it talks to have.
    """
    inside = {device: group for group in inner for device in group}
    if sorted(inside) != sorted(device for group in outer for device in group) or min(inside, default=-1) < 0:
        return None
    found: dict[int, list[int]] = {}
    for group in outer:
        row = [device for member in group for device in inside[member]]
        if len(set(row)) < len(row):
            return None
        for device in group:
            found[device] = row
    rows = list({tuple(row): None for row in found.values()})
    if any(tuple(found[device]) != row for row in rows for device in row):
        return None
    return sorted(map(list, rows))


def _rows(attr: Any) -> Groups:
    import numpy as np

    return [list(map(int, row)) for row in np.array(_mlir.ir.DenseIntElementsAttr(attr))]


def _dense(groups: Groups) -> Any:
    import numpy as np

    return _mlir.ir.DenseElementsAttr.get(np.array(groups, dtype=np.int64), context=_mlir.context())
