"""Lets shardings propagate into composites, which stay composites: each goes through Shardy as a call and comes back.

  %0 = stablehlo.composite "my.norm" %a {decomposition = @norm, version = 1 : i32, composite_attributes = {eps = 1.0}}

is meanwhile

  %0 = func.call @norm(%a) {shlo.composite = {name = "my.norm", version = 1 : i32, composite_attributes = {eps = 1.0}}}

Shardy inlines every call between marks, propagates, outlines it again, and merges the copies of a function whose
shardings agree. So a decomposition becomes one function for each way it is sharded, with the shardings inside. A
composite with a sharding rule of its own stays what it is: the rule says all that is to be known about it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from passes import _mlir
from passes.program.read import Program
from passes.program.walk import named
from passes.sharding.op_rules import RULE

MARK = "shlo.composite"
COMPOSITE = "stablehlo.composite"
# What a composite has of its own; everything else stays on the call.
_OWN = ("name", "version", "composite_attributes")


@contextmanager
def as_calls(program: Program, composites: list[Any]) -> Iterator[None]:
    """Turns those of ``composites``, of ``program``, that have no sharding rule into calls in the body, and back then.

    One with a region stays too: it says something that a call cannot.
    """
    found = [op for op in composites if RULE not in op.attributes and not len(op.regions)]
    for op in found:
        call_of(op)
    try:
        yield
    finally:
        if found:
            for op in named(program.module, frozenset({"func.call"})):
                if MARK in op.attributes:
                    _composite_of(op)


def call_of(composite: Any) -> Any:
    """Replaces ``composite`` by a call of its decomposition that remembers it; returns the call."""
    ir = _mlir.ir
    attributes = {key: composite.attributes[key] for key in composite.attributes}
    own = {key: attributes.pop(key) for key in _OWN if key in attributes}
    attributes["callee"] = attributes.pop("decomposition")
    attributes[MARK] = ir.DictAttr.get(own, context=_mlir.context())
    return _replace(composite, "func.call", attributes)


def name_of_composite(call: Any) -> str | None:
    """The name of the composite that ``call``, or the computation it became, is meanwhile; ``None`` if it is none."""
    if MARK not in call.attributes:
        return None
    return str(_mlir.ir.StringAttr(_mlir.ir.DictAttr(call.attributes[MARK])["name"]).value)


def _composite_of(call: Any) -> None:
    attributes = {key: call.attributes[key] for key in call.attributes}
    attributes |= {named.name: named.attr for named in _mlir.ir.DictAttr(attributes.pop(MARK))}
    attributes["decomposition"] = attributes.pop("callee")
    _replace(call, COMPOSITE, attributes)


def _replace(op: Any, name: str, attributes: dict[str, Any]) -> Any:
    """Puts an op called ``name`` with the same operands and results in the place of ``op``."""
    types, before = [result.type for result in op.results], _mlir.ir.InsertionPoint(op)
    new = _mlir.ir.Operation.create(name, types, list(op.operands), attributes, loc=op.location, ip=before)
    for old, result in zip(op.results, new.results, strict=True):
        old.replace_all_uses_with(result)
    op.erase()
    return new
