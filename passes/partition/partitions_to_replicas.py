"""Rewrites a per-device program from partitions to replicas: one program per replica instead of one per partition.

  partition_id                                           ->   replica_id
  all_reduce(x) with a channel, groups of device ids     ->   all_reduce(x), groups of replica ids
  mhlo.num_partitions = 8, mhlo.num_replicas = 1         ->   mhlo.num_partitions = 1, mhlo.num_replicas = 8

XLA compiles such a module as it stands, on backends too that run several partitions only if their own partitioner made
them (as its CPU backend does). The numbers in the groups stay: device k runs partition k of the one and replica k of
the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from passes import _mlir
from passes.errors import UserError
from passes.pipeline.base import Counters, Pass, Statistic
from passes.program.walk import named

_PARTITION_ID, _REPLICA_ID = "stablehlo.partition_id", "stablehlo.replica_id"
_CHANNEL, _GLOBAL_IDS = "channel_handle", "use_global_device_ids"
_PARTITIONS, _REPLICAS = "mhlo.num_partitions", "mhlo.num_replicas"
# Collective -> the attributes without which its groups hold replica ids.
_COLLECTIVES = {
    **{f"stablehlo.{name}": (_CHANNEL, _GLOBAL_IDS) for name in ("all_gather", "all_reduce", "reduce_scatter")},
    **{f"stablehlo.{name}": (_CHANNEL,) for name in ("all_to_all", "collective_broadcast", "collective_permute")},
}


@dataclass(frozen=True)
class PartitionsToReplicas(Pass):
    """See the module's docstring."""

    name: ClassVar[str] = "partitions-to-replicas"
    summary: ClassVar[str] = "Rewrite a per-device program so that devices are replicas instead of partitions"
    statistics: ClassVar[tuple[Statistic, ...]] = (
        Statistic("collectives", "collectives whose groups hold replica ids now"),
        Statistic("ids", "partition_ids that became replica_ids"),
    )
    before: ClassVar[str] = """\
module attributes {mhlo.num_partitions = 2 : i32, mhlo.num_replicas = 1 : i32} {
  func.func @main(%x: tensor<4xf32>) -> (tensor<8xf32>, tensor<ui32>) {
    %0 = "stablehlo.all_gather"(%x) <{all_gather_dim = 0 : i64,
        channel_handle = #stablehlo.channel_handle<handle = 1, type = 1>,
        replica_groups = dense<[[0, 1]]> : tensor<1x2xi64>, use_global_device_ids}> : (tensor<4xf32>) -> tensor<8xf32>
    %1 = stablehlo.partition_id : tensor<ui32>
    return %0, %1 : tensor<8xf32>, tensor<ui32>
  }
}
"""
    after: ClassVar[str] = """\
module attributes {mhlo.num_partitions = 1 : i32, mhlo.num_replicas = 2 : i32} {
  func.func @main(%x: tensor<4xf32>) -> (tensor<8xf32>, tensor<ui32>) {
    %0 = "stablehlo.all_gather"(%x) <{all_gather_dim = 0 : i64,
        replica_groups = dense<[[0, 1]]> : tensor<1x2xi64>}> : (tensor<4xf32>) -> tensor<8xf32>
    %1 = stablehlo.replica_id : tensor<ui32>
    return %0, %1 : tensor<8xf32>, tensor<ui32>
  }
}
"""

    def run(self, module: Any, counters: Counters) -> None:
        """Rewrites every collective and id, and the counts on the module.

        Raises:
          UserError: the module is written for replicas already, or a collective groups something else than devices.
        """
        partitions, replicas = _count(module, _PARTITIONS), _count(module, _REPLICAS)
        if replicas > 1:
            raise UserError(f"the module is written for {replicas} replicas already")
        for op in named(module, frozenset({*_COLLECTIVES, _PARTITION_ID})):
            if op.name == _PARTITION_ID:
                _number(op, counters)
            else:
                _regroup(op, counters)
        i32 = _mlir.ir.IntegerType.get_signless(32, _mlir.context())
        module.attributes[_PARTITIONS] = _mlir.ir.IntegerAttr.get(i32, 1)
        module.attributes[_REPLICAS] = _mlir.ir.IntegerAttr.get(i32, partitions)


def _count(module: Any, key: str) -> int:
    return int(_mlir.ir.IntegerAttr(module.attributes[key]).value) if key in module.attributes else 1


def _number(op: Any, counters: Counters) -> None:
    new = _mlir.ir.Operation.create(
        _REPLICA_ID, results=[op.results[0].type], loc=op.location, ip=_mlir.ir.InsertionPoint(op)
    )
    op.results[0].replace_all_uses_with(new.results[0])
    counters.removed(op, "a replica_id takes its place")
    op.erase()
    counters.add("ids")


def _regroup(op: Any, counters: Counters) -> None:
    for key in _COLLECTIVES[op.name]:
        if key not in op.attributes:
            raise UserError(f"the groups of {op.name} do not hold device ids: it has no {key}")
        del op.attributes[key]
    counters.add("collectives")
