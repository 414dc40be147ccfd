"""Shardings on the arguments and results of functions."""

from __future__ import annotations

import functools
from typing import Any

from passes import _mlir
from passes.program.entry import Value, arguments, functions, is_declaration, results, symbol_name
from passes.program.read import Program
from passes.program.walk import operations

SHARDING = "sdy.sharding"


def by_attribute(function: Any) -> dict[str, list[Value]]:
    """The function's arguments and results by the function attribute that holds their attributes."""
    return {"arg_attrs": arguments(function), "res_attrs": results(function)}


def write(function: Any, attribute: str, values: list[Value]) -> None:
    """Writes the attributes of ``values``, all arguments or all results, back to the function."""
    ir, context = _mlir.ir, _mlir.context()
    dictionaries = [ir.DictAttr.get(v.attributes, context=context) for v in values]
    function.attributes[attribute] = ir.ArrayAttr.get(dictionaries, context=context)


def close(program: Program) -> None:
    """Says what is replicated at the borders of functions, where otherwise silence would leave it open.

    Arguments and results of an annotated function that have no sharding become replicated, and calls without shardings
    get those of the function's results.
    """
    shardings = {symbol_name(f): _close_function(f) for f in functions(program.module) if not is_declaration(f)}
    if len(shardings) < 2:
        return
    for op in operations(program.module):
        if op.name == "func.call" and SHARDING not in op.attributes:
            callee = _mlir.ir.FlatSymbolRefAttr(op.attributes["callee"]).value
            if shardings.get(callee):
                per_value = _mlir.sdy.TensorShardingPerValueAttr.get(shardings[callee], context=_mlir.context())
                op.attributes[SHARDING] = per_value


def _close_function(function: Any) -> list[Any]:
    """The shardings of the results of ``function``; empty if it carries none."""
    signature = by_attribute(function)
    given = (v.attributes[SHARDING] for values in signature.values() for v in values if SHARDING in v.attributes)
    first = next(given, None)
    if first is None:
        return []
    mesh = _mlir.sdy.TensorShardingAttr(first).mesh_or_ref
    for attribute, values in signature.items():
        missing = [v for v in values if SHARDING not in v.attributes and _is_ranked(v.type)]
        for value in missing:
            value.attributes[SHARDING] = _replicated(mesh, value.type.rank)
        if missing:
            write(function, attribute, values)
    returned = signature["res_attrs"]
    return [v.attributes[SHARDING] for v in returned] if all(SHARDING in v.attributes for v in returned) else []


def _is_ranked(type: Any) -> bool:
    return isinstance(type, _mlir.ir.RankedTensorType)


@functools.lru_cache(maxsize=256)
def _replicated(mesh: Any, rank: int) -> Any:
    sdy, context = _mlir.sdy, _mlir.context()
    whole = sdy.DimensionShardingAttr.get([], is_closed=True, context=context)
    return sdy.TensorShardingAttr.get(mesh, [whole] * rank, context=context)
