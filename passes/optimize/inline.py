"""Replaces calls by the bodies of the functions they call, as far as the mode says and no sharding is lost.

From callees to callers, so that a body is final before it is copied: the work is linear in the program that results. A
function whose only call is inlined is not copied but moved. A call that says more than whom it calls, or whose callee
says something about its arguments or results, stays, because the copy would have no place for what was said.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from passes import _mlir
from passes.optimize import calls
from passes.pipeline.base import Counters, Pass, Statistic, option
from passes.program import purity
from passes.program.entry import is_declaration


@dataclass(frozen=True)
class Inline(Pass):
    """See the module's docstring."""

    name: ClassVar[str] = "inline"
    summary: ClassVar[str] = "Replace calls by the bodies of the functions they call, where no sharding is lost"
    statistics: ClassVar[tuple[Statistic, ...]] = (
        Statistic("inlined", "calls replaced by the function's body"),
        Statistic("removed-functions", "private functions removed because all calls of them were inlined"),
        *(
            Statistic(f"kept-{reason}", f"calls kept {why}", changes=False)
            for reason, why in (
                ("recursive", "because the function calls itself, directly or through others"),
                ("by-request", "because they or the function ask not to be inlined"),
                ("for-attributes", "because of shardings or other attributes that would be lost"),
                ("inside", "inside an op that is not known or takes one op only"),
            )
        ),
    )
    before: ClassVar[str] = """\
func.func @main(%arg0: tensor<4xf32>) -> tensor<4xf32> {
  %0 = call @square(%arg0) : (tensor<4xf32>) -> tensor<4xf32>
  %1 = call @square(%0) : (tensor<4xf32>) -> tensor<4xf32>
  return %1 : tensor<4xf32>
}
func.func private @square(%arg0: tensor<4xf32>) -> tensor<4xf32> {
  %0 = stablehlo.multiply %arg0, %arg0 : tensor<4xf32>
  return %0 : tensor<4xf32>
}
"""
    after: ClassVar[str] = """\
func.func @main(%arg0: tensor<4xf32>) -> tensor<4xf32> {
  %0 = stablehlo.multiply %arg0, %arg0 : tensor<4xf32>
  %1 = stablehlo.multiply %0, %0 : tensor<4xf32>
  return %1 : tensor<4xf32>
}
"""

    mode: Literal["never", "trivial", "once", "all"] = option(
        "all",
        "which calls: never; trivial, of functions of at most one op; once, also of private functions that are called "
        "once; all, of all functions but recursive ones",
    )

    def run(self, module: Any, counters: Counters) -> None:
        """Inlines in place; the ops of an inlined body say in their locations where it was called."""
        if self.mode == "never":
            return
        functions, found, edges = calls.graph(module)
        recursive = calls.cycles(edges)
        # Copying a body adds calls of functions that were dealt with before, all of which stay.
        for name in (name for group in calls.callees_first(edges) for name in group):
            sites = found.sites.get(name, [])
            callee = functions[name]
            if not sites or not self._wants(callee, sites):
                continue
            obstacle = "kept-recursive" if name in recursive else _obstacle_in(callee)
            goes = name not in found.named and not calls.is_entry(callee)
            _inline(callee, sites, obstacle, goes, counters)

    def _wants(self, callee: Any, sites: list[Any]) -> bool:
        if is_declaration(callee) or len(callee.regions[0].blocks) > 1:
            return False
        is_trivial = len(callee.regions[0].blocks[0].operations) <= 2
        is_only_call = len(sites) == 1 and not calls.is_entry(callee)
        return self.mode == "all" or is_trivial or (self.mode == "once" and is_only_call)


# What a function or a call may carry and lose nothing when it goes.
_FUNCTION_ATTRIBUTES = frozenset({"sym_name", "sym_visibility", "function_type", "arg_attrs", "res_attrs"})
_CALL_ATTRIBUTES = frozenset({"callee"})
# What a front end notes about results; inside a program it serves nothing.
_NOTES = frozenset({"jax.result_info"})


def _obstacle_in(callee: Any) -> str | None:
    """What, if anything, keeps all calls of ``callee`` from being inlined, as the statistic that counts them."""
    attributes = callee.attributes
    per_value = [_mlir.ir.ArrayAttr(attributes[key]) for key in ("arg_attrs", "res_attrs") if key in attributes]
    said = {named.name for values in per_value for value in values for named in _mlir.ir.DictAttr(value)}
    return _obstacle(callee, _FUNCTION_ATTRIBUTES) or (None if said <= _NOTES else "kept-for-attributes")


def _obstacle_at(call: Any) -> str | None:
    """What, if anything, keeps this very call from being inlined."""
    around = call.parent.name
    if not (around == "func.func" or purity.is_known(around)) or around in _ONE_OP:
        return "kept-inside"
    return _obstacle(call, _CALL_ATTRIBUTES)


# Ops whose region is defined to hold one op.
_ONE_OP = frozenset({"stablehlo.async_start"})


def _obstacle(op: Any, harmless: frozenset[str]) -> str | None:
    others = set(op.attributes) - harmless
    if "no_inline" in others:
        return "kept-by-request"
    if "mhlo.frontend_attributes" in others:
        texts = {named.name: str(named.attr) for named in _mlir.ir.DictAttr(op.attributes["mhlo.frontend_attributes"])}
        if texts.get("inlineable") == '"false"':
            return "kept-by-request"
    return "kept-for-attributes" if others else None


def _inline(callee: Any, sites: list[Any], obstacle: str | None, goes: bool, counters: Counters) -> None:
    """Inlines ``callee`` at all ``sites`` but those that have an obstacle; it ``goes`` if it is not called then."""
    chosen = []
    for site in sites:
        against = obstacle or _obstacle_at(site)
        if against:
            counters.add(against)
        else:
            chosen.append(site)
    goes = goes and len(chosen) == len(sites)
    for position, site in enumerate(chosen):
        is_last = goes and position == len(chosen) - 1
        if is_last:
            counters.removed(callee, "all calls of it are inlined")
            counters.add("removed-functions")
        body = callee if is_last else callee.clone(ip=_mlir.ir.InsertionPoint(callee))
        _replace(site, body, counters)
        counters.add("inlined")


def _replace(call: Any, function: Any, counters: Counters) -> None:
    """Moves the body of ``function`` to ``call``; neither is there afterwards."""
    block = function.regions[0].blocks[0]
    for argument, operand in zip(block.arguments, call.operands, strict=True):
        argument.replace_all_uses_with(operand)
    *body, end = [view.operation for view in block]
    for op in body:
        _place(op, call.location)
        op.move_before(call)
    for result, value in zip(call.results, end.operands, strict=True):
        result.replace_all_uses_with(value)
    counters.removed(call, "replaced by the body of the function")
    call.erase()
    function.erase()


def _place(op: Any, caller: Any) -> None:
    """Notes on ``op`` and what is inside it that ``caller`` is where they were called from."""

    def note(inner: Any) -> Any:
        inner.location = _mlir.ir.Location.callsite(inner.location, [caller], context=inner.context)
        return _mlir.ir.WalkResult.ADVANCE

    op.walk(note)
