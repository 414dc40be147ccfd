"""Turns composites of sparse mixture-of-experts ops into custom calls of Tenstorrent's front end: `import_ops` back.

  %0 = stablehlo.composite "shlo.moe.all_to_all_combine" %y, %metadata, %mapping {composite_attributes = {...}}

becomes

  %0 = stablehlo.custom_call @tt.all_to_all_combine(%y, %metadata, %mapping) {mhlo.frontend_attributes = {cluster_axis =
    "0", num_devices = "4", num_experts_per_tok = "2", output_shard_dim = "1"}}

A composite that was such a call is again what it was, word for word, but for attributes that have changed since.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from passes import _mlir
from passes.moe.composites import moe_composites, read, remove_unused
from passes.moe.import_ops import CALL, FRONTEND, PREFIX, SAID, TARGET, TUPLE
from passes.moe.ops import Call
from passes.pipeline.base import Counters, Pass, Statistic


@dataclass(frozen=True)
class ExportOps(Pass):
    """See the module's docstring."""

    name: ClassVar[str] = "moe-export-ops"
    summary: ClassVar[str] = "Turn composites shlo.moe.* into custom calls @tt.*, their attributes as strings"
    statistics: ClassVar[tuple[Statistic, ...]] = (Statistic("exported", "composites turned into custom calls"),)
    before: ClassVar[str] = """\
func.func @main(%y: tensor<2x1x6x4xf32>, %metadata: tensor<1x1x6x1xi32>, %mapping: tensor<1x1x2x1xi32>)
    -> tensor<1x1x6x4xf32> {
  %0 = stablehlo.composite "shlo.moe.all_to_all_combine" %y, %metadata, %mapping {composite_attributes = {cluster_axis =
    0 : i64, num_devices = 1 : i64, num_experts_per_tok = 1 : i64, output_shard_dim = 2 : i64},
    decomposition = @combine}
    : (tensor<2x1x6x4xf32>, tensor<1x1x6x1xi32>, tensor<1x1x2x1xi32>) -> tensor<1x1x6x4xf32>
  return %0 : tensor<1x1x6x4xf32>
}
func.func private @combine(%y: tensor<2x1x6x4xf32>, %metadata: tensor<1x1x6x1xi32>, %mapping: tensor<1x1x2x1xi32>)
    -> tensor<1x1x6x4xf32> {
  %0 = stablehlo.slice %y [0:1, 0:1, 0:6, 0:4] : (tensor<2x1x6x4xf32>) -> tensor<1x1x6x4xf32>
  return %0 : tensor<1x1x6x4xf32>
}
"""
    after: ClassVar[str] = """\
func.func @main(%y: tensor<2x1x6x4xf32>, %metadata: tensor<1x1x6x1xi32>, %mapping: tensor<1x1x2x1xi32>)
    -> tensor<1x1x6x4xf32> {
  %0 = stablehlo.custom_call @tt.all_to_all_combine(%y, %metadata, %mapping) {mhlo.frontend_attributes = {cluster_axis =
    "0", num_devices = "1", num_experts_per_tok = "1", output_shard_dim = "2"}}
    : (tensor<2x1x6x4xf32>, tensor<1x1x6x1xi32>, tensor<1x1x2x1xi32>) -> tensor<1x1x6x4xf32>
  return %0 : tensor<1x1x6x4xf32>
}
"""

    def run(self, module: Any, counters: Counters) -> None:
        """Rewrites ``module`` in place."""
        decompositions = set()
        for composite in moe_composites(module):
            decompositions.add(_mlir.ir.FlatSymbolRefAttr(composite.attributes["decomposition"]).value)
            _export(composite, read(composite))
            counters.add("exported")
            counters.removed(composite, "turned into a custom call")
            composite.erase()
        remove_unused(module, decompositions, counters)


def _export(composite: Any, described: Call) -> None:
    ir, context = _mlir.ir, _mlir.context()
    attributes = composite.attributes
    said = {n.name: n.attr for n in ir.DictAttr(attributes[SAID])} if SAID in attributes else {}
    stated = [n.name for n in ir.DictAttr(attributes["composite_attributes"])]
    said[FRONTEND] = ir.DictAttr.get(_texts(said.get(FRONTEND), described, stated), context)
    said[TARGET] = ir.StringAttr.get(f"{PREFIX}{described.op.name}", context)
    if "sdy.sharding" in attributes:
        said["sdy.sharding"] = attributes["sdy.sharding"]
    types = [v.type for v in composite.results]
    point, location = ir.InsertionPoint(composite), composite.location
    if TUPLE not in attributes:
        values = list(ir.Operation.create(CALL, types, list(composite.operands), said, loc=location, ip=point).results)
    else:
        tuple = ir.TupleType.get_tuple(types, context)
        made = ir.Operation.create(CALL, [tuple], list(composite.operands), said, loc=location, ip=point)
        values = [_element(made.results[0], i, type, point, location) for i, type in enumerate(types)]
    for old, new in zip(composite.results, values, strict=True):
        old.replace_all_uses_with(new)


def _element(tuple: Any, index: int, type: Any, point: Any, location: Any) -> Any:
    ir = _mlir.ir
    number = ir.IntegerAttr.get(ir.IntegerType.get_signless(32, _mlir.context()), index)
    return ir.Operation.create(
        "stablehlo.get_tuple_element", [type], [tuple], {"index": number}, loc=location, ip=point
    ).results[0]


def _texts(before: Any, described: Call, stated: list[str]) -> dict[str, Any]:
    """The attributes as strings: as they were written where that still says the same."""
    ir, context = _mlir.ir, _mlir.context()
    texts = {n.name: n.attr for n in ir.DictAttr(before)} if before is not None else {}
    for name in stated:
        value = described.attributes[name]
        written = str(ir.StringAttr(texts[name]).value) if name in texts else ""
        if not _says(written, value):
            texts[name] = ir.StringAttr.get(str(value), context)
    return texts


def _says(text: str, value: int | bool) -> bool:
    if isinstance(value, bool):
        return text.lower() in (("true", "1") if value else ("false", "0"))
    return text.strip().lstrip("+-").isdigit() and int(text) == value
