"""Replaces a collective and the slice beside it by what both come to: a smaller move, or none.

  part of this device (all_gather(x))      ->   x, or an all_to_all if the part is along another dimension
  part of this device (all_reduce(x))      ->   reduce_scatter(x)
  all_gather(reduce_scatter(x))            ->   all_reduce(x)
  all_gather(part of this device (x))      ->   x, if it is the same on all devices of the group

The part of a device is a dynamic_slice that starts at the device's place in its group: where it starts is computed from
``partition_id`` for every device, whatever ops it was written with. A collective that something else reads stays, so
only the first and the last are done then.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from passes import _mlir
from passes.partition.device_indices import DeviceIndices
from passes.partition.groups import group_key, in_blocks, is_plain, is_used_once
from passes.pipeline.base import Counters, Pass, Statistic
from passes.pipeline.collection import uncollected
from passes.program import purity
from passes.program.attributes import integer
from passes.program.types import i64_attr, shape_of

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class CancelMoves(Pass):
    """See the module's docstring."""

    name: ClassVar[str] = "cancel-moves"
    summary: ClassVar[str] = "Replace a collective and a slice of it, or of what it gathers, by less communication"
    statistics: ClassVar[tuple[Statistic, ...]] = (
        Statistic("cancelled", "gathers of parts, or parts of gathers, that gave what was there before"),
        Statistic("exchanged", "parts of all_gathers that became all_to_alls"),
        Statistic("scattered", "parts of all_reduces that became reduce_scatters"),
        Statistic("reduced", "gathered reduce_scatters that became all_reduces"),
    )
    before: ClassVar[str] = """\
func.func @main(%x: tensor<2x8xf32>) -> tensor<4x4xf32> {
  %0 = stablehlo.partition_id : tensor<ui32>
  %1 = stablehlo.convert %0 : (tensor<ui32>) -> tensor<i64>
  %zero = stablehlo.constant dense<0> : tensor<i64>
  %size = stablehlo.constant dense<4> : tensor<i64>
  %start = stablehlo.multiply %1, %size : tensor<i64>
  %2 = "stablehlo.all_gather"(%x) <{all_gather_dim = 0 : i64,
      channel_handle = #stablehlo.channel_handle<handle = 1, type = 1>,
      replica_groups = dense<[[0, 1]]> : tensor<1x2xi64>, use_global_device_ids}>
    : (tensor<2x8xf32>) -> tensor<4x8xf32>
  %3 = stablehlo.dynamic_slice %2, %zero, %start, sizes = [4, 4]
    : (tensor<4x8xf32>, tensor<i64>, tensor<i64>) -> tensor<4x4xf32>
  return %3 : tensor<4x4xf32>
}
"""
    after: ClassVar[str] = """\
func.func @main(%x: tensor<2x8xf32>) -> tensor<4x4xf32> {
  %0 = "stablehlo.all_to_all"(%x) <{channel_handle = #stablehlo.channel_handle<handle = 1, type = 1>,
      concat_dimension = 0 : i64, replica_groups = dense<[[0, 1]]> : tensor<1x2xi64>, split_count = 2 : i64,
      split_dimension = 1 : i64}> : (tensor<2x8xf32>) -> tensor<4x4xf32>
  return %0 : tensor<4x4xf32>
}
"""

    def run(self, module: Any, counters: Counters) -> None:
        """Rewrites block by block, from the first op to the last."""
        with uncollected():
            for ops in in_blocks(module, frozenset(name for name, _ in _RULES)):
                sweep = _Sweep(counters)
                for op in ops:
                    sweep.visit(op)
                sweep.erase()


class _Sweep:
    """The rewriting of one block. Ops that are replaced stay until the end, for the sake of the handles to them."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters
        self._replaced: list[Any] = []
        self._groups: dict[Any, np.ndarray] = {}
        self._indices = DeviceIndices()

    def visit(self, op: Any) -> None:
        """Replaces ``op`` if it and what it reads come to less."""
        maker = op.operands[0].owner
        if len(op.results) != 1 or isinstance(maker, _mlir.ir.Block) or maker.operation.block != op.block:
            return
        rule = _RULES.get((op.name, maker.name))
        value = rule(self, op, maker.operation) if rule is not None else None
        if value is not None:
            op.results[0].replace_all_uses_with(value)
            self._replaced.append(op)

    def erase(self) -> None:
        """Erases what was replaced, and what only that used."""
        waiting = self._replaced
        while waiting:
            op = waiting.pop()
            if any(next(result.uses, None) is not None for result in op.results):
                continue
            makers = {value.owner.operation for value in op.operands if not isinstance(value.owner, _mlir.ir.Block)}
            self._counters.removed(op, "it and the slice or collective beside it come to less")
            op.erase()
            waiting += [m for m in makers if m.name in purity.PLAIN and m not in waiting]

    # -- what comes to what ------------------------------------------------------------------------------------------

    def part_of_gathered(self, op: Any, gather: Any) -> Any | None:
        """A part of an all_gather."""
        cut = self._part(op, gather)
        if cut is None:
            return None
        source, dim = gather.operands[0], integer(gather, "all_gather_dim")
        if cut == dim:
            self._counters.add("cancelled")
            return source
        if not is_used_once(gather):
            return None
        attributes = {
            "split_dimension": i64_attr(cut),
            "concat_dimension": i64_attr(dim),
            "split_count": i64_attr(self._group_array(gather).shape[1]),
            **{key: gather.attributes[key] for key in ("replica_groups", "channel_handle")},
        }
        self._counters.add("exchanged")
        return _mlir.ir.Operation.create(
            "stablehlo.all_to_all", results=[op.results[0].type], operands=[source], attributes=attributes,
            loc=op.location, ip=_mlir.ir.InsertionPoint(op),
        ).results[0]

    def part_of_reduced(self, op: Any, reduction: Any) -> Any | None:
        """A part of an all_reduce."""
        cut = self._part(op, reduction) if is_used_once(reduction) else None
        if cut is None:
            return None
        self._counters.add("scattered")
        more = {"scatter_dimension": i64_attr(cut)}
        return _reduction("stablehlo.reduce_scatter", op, reduction, more)

    def gathered_scatter(self, op: Any, scatter: Any) -> Any | None:
        """An all_gather of a reduce_scatter."""
        if not is_used_once(scatter) or not gathers_again(op, scatter):
            return None
        self._counters.add("reduced")
        return _reduction("stablehlo.all_reduce", op, scatter, {})

    def gathered_part(self, op: Any, part: Any) -> Any | None:
        """An all_gather of parts of one value."""
        source = part.operands[0]
        if not is_plain(op) or self._part(part, op) != integer(op, "all_gather_dim"):
            return None
        if source.type != op.results[0].type or not self._is_uniform(source, op):
            return None
        self._counters.add("cancelled")
        return source

    # -- which part, and of what -------------------------------------------------------------------------------------

    def _part(self, op: Any, collective: Any) -> int | None:
        """The dimension of which the dynamic_slice ``op`` takes the device's own part in the groups of ``collective``.

        ``None`` if it takes something else, or the groups do not hold device ids.
        """
        if set(op.attributes) != {"slice_sizes"} or not is_plain(collective):
            return None
        if "channel_handle" not in collective.attributes or "use_global_device_ids" not in collective.attributes:
            return None
        groups = self._group_array(collective)
        if groups.min() < 0:
            return None
        before, after = shape_of(op.operands[0]), shape_of(op.results[0])
        cut = [dim for dim, (whole, size) in enumerate(zip(before, after, strict=True)) if whole != size]
        if len(cut) != 1 or after[cut[0]] * groups.shape[1] != before[cut[0]]:
            return None
        starts = self._indices.of(op.operands[1 + cut[0]], groups.size)
        if starts is None:
            return None
        own = [place * after[cut[0]] for place in range(groups.shape[1])]
        return cut[0] if (starts[groups] == own).all() else None

    def _group_array(self, collective: Any) -> np.ndarray:
        import numpy as np

        attribute = collective.attributes["replica_groups"]
        if attribute not in self._groups:
            self._groups[attribute] = np.array(_mlir.ir.DenseIntElementsAttr(attribute))
        return self._groups[attribute]

    def _is_uniform(self, value: Any, collective: Any) -> bool:
        """Whether ``value`` is known to be the same on all devices of a group of ``collective``."""
        owner = value.owner
        if isinstance(owner, _mlir.ir.Block):
            return False
        if owner.name == "stablehlo.constant":
            return True
        makes_equal = owner.name in ("stablehlo.all_reduce", "stablehlo.all_gather")
        return makes_equal and is_plain(owner) and group_key(owner) == group_key(collective)


# Op and the op whose result it reads -> the rule for the two.
_RULES: dict[tuple[str, str], Callable[[_Sweep, Any, Any], Any | None]] = {
    ("stablehlo.dynamic_slice", "stablehlo.all_gather"): _Sweep.part_of_gathered,
    ("stablehlo.dynamic_slice", "stablehlo.all_reduce"): _Sweep.part_of_reduced,
    ("stablehlo.all_gather", "stablehlo.reduce_scatter"): _Sweep.gathered_scatter,
    ("stablehlo.all_gather", "stablehlo.dynamic_slice"): _Sweep.gathered_part,
}


def gathers_again(gather: Any, scatter: Any) -> bool:
    """Whether an all_gather undoes the scattering of a reduce_scatter."""
    return (
        is_plain(gather) and is_plain(scatter) and group_key(gather) == group_key(scatter)
        and integer(gather, "all_gather_dim") == integer(scatter, "scatter_dimension")
    )


def _reduction(name: str, op: Any, like: Any, more: dict[str, Any]) -> Any:
    """The result of a reduction of what ``like`` reduces, in the place and with the result type of ``op``.

    ``like`` loses its region to it and is not to be used any more.
    """
    ir = _mlir.ir
    kept = {key: like.attributes[key] for key in like.attributes if key != "scatter_dimension"}
    new = ir.Operation.create(
        name, results=[op.results[0].type], operands=[like.operands[0]], attributes={**kept, **more}, regions=1,
        loc=op.location, ip=ir.InsertionPoint(op),
    )
    like.regions[0].blocks[0].append_to(new.regions[0])
    return new.results[0]
