"""Keeps what Shardy's propagation wrote about its steps, as text.

  %0 = stablehlo.add %a, %b {sdy.propagation_edges = #sdy.propagation_edges<[{step-0 = ...}]>}

becomes

  %0 = stablehlo.add %a, %b {shlo.edges = ["#sdy.propagation_edges<[{step-0 = ...}]>"]}

On ``sdy.data_flow_edge`` Shardy's attribute does not verify: it names as many operands as values flow into the edge,
and the op has one. And a second propagation writes over the attribute of the first, where this pass adds an element.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from passes import _mlir
from passes.pipeline.base import Counters, Pass, Statistic
from passes.program.entry import value_attributes
from passes.program.walk import operations

EDGES = "shlo.edges"
_SHARDYS = "sdy.propagation_edges"


@dataclass(frozen=True)
class KeepEdges(Pass):
    """See the module."""

    name: ClassVar[str] = "keep-propagation-edges"
    summary: ClassVar[str] = "Keep the steps that propagation noted (debug-propagation-edge-sharding) as text"
    statistics: ClassVar[tuple[Statistic, ...]] = (
        Statistic("kept", "Operations and function results whose steps were kept"),
    )
    before: ClassVar[str] = """
sdy.mesh @mesh = <["x"=2]>
func.func @main(%a: tensor<8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}]>}) -> tensor<8xf32> {
  %0 = stablehlo.abs %a {sdy.propagation_edges = #sdy.propagation_edges<[{step-0 = [{"x" = operand-0 -> [result-0]}]}]>} : tensor<8xf32>
  return %0 : tensor<8xf32>
}
"""  # noqa: E501
    after: ClassVar[str] = """
sdy.mesh @mesh = <["x"=2]>
func.func @main(%a: tensor<8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}]>}) -> tensor<8xf32> {
  %0 = stablehlo.abs %a {shlo.edges = ["#sdy.propagation_edges<[{step-0 = [{\\22x\\22 = operand-0 -> [result-0]}]}]>"]} : tensor<8xf32>
  return %0 : tensor<8xf32>
}
"""  # noqa: E501

    def run(self, module: Any, counters: Counters) -> None:
        for op in operations(module):
            attributes = op.attributes
            if _SHARDYS in attributes:
                attributes[EDGES] = _with(attributes.get(EDGES), attributes[_SHARDYS])
                del attributes[_SHARDYS]
                counters.add("kept")
            if op.name == "func.func" and "res_attrs" in attributes:
                _keep_on_results(op, counters)


def _keep_on_results(function: Any, counters: Counters) -> None:
    ir, context = _mlir.ir, _mlir.context()
    results = value_attributes(function, "res_attrs", len(ir.ArrayAttr(function.attributes["res_attrs"])))
    for attributes in results:
        if _SHARDYS in attributes:
            attributes[EDGES] = _with(attributes.get(EDGES), attributes.pop(_SHARDYS))
            counters.add("kept")
    function.attributes["res_attrs"] = ir.ArrayAttr.get(
        [ir.DictAttr.get(attributes, context=context) for attributes in results], context=context
    )


def _with(earlier: Any, edges: Any) -> Any:
    """The texts kept ``earlier``, if any, and that of ``edges``."""
    ir, context = _mlir.ir, _mlir.context()
    texts = list(ir.ArrayAttr(earlier)) if earlier is not None else []
    return ir.ArrayAttr.get([*texts, ir.StringAttr.get(str(edges), context)], context=context)
