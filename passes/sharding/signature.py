"""Shardings on the arguments and results of functions."""

from __future__ import annotations

import functools
from typing import Any

from passes import _mlir
from passes.program.entry import (
    Value,
    arguments,
    functions,
    is_declaration,
    results,
    set_value_attribute,
    symbol_name,
    value_attribute,
    value_types,
)
from passes.program.read import Program
from passes.program.walk import named

SHARDING = "sdy.sharding"
_SIDES = ("arg_attrs", "res_attrs")


def by_attribute(function: Any) -> dict[str, list[Value]]:
    """The function's arguments and results by the function attribute that holds their attributes."""
    return {"arg_attrs": arguments(function), "res_attrs": results(function)}


def shardings(function: Any) -> dict[str, list[Any]]:
    """The shardings of the function's arguments and results by the attribute that holds them; ``None`` where none."""
    attributes = function.attributes
    # Counting arguments takes longer than to look at what is said of them.
    counts = {} if all(key in attributes for key in _SIDES) else {k: len(v) for k, v in value_types(function).items()}
    return {key: value_attribute(function, key, SHARDING, counts.get(key, 0)) for key in _SIDES}


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
    for op in named(program.module, frozenset({"func.call"})):
        if SHARDING not in op.attributes:
            callee = _mlir.ir.FlatSymbolRefAttr(op.attributes["callee"]).value
            if shardings.get(callee):
                per_value = _mlir.sdy.TensorShardingPerValueAttr.get(shardings[callee], context=_mlir.context())
                op.attributes[SHARDING] = per_value


def _close_function(function: Any) -> list[Any]:
    """The shardings of the results of ``function``; empty if it carries none."""
    given, types = shardings(function), value_types(function)
    first = next((sharding for of_side in given.values() for sharding in of_side if sharding is not None), None)
    if first is None:
        return []
    mesh = _mlir.sdy.TensorShardingAttr(first).mesh_or_ref
    for attribute, of_side in given.items():
        missing = {
            i: _replicated(mesh, type.rank)
            for i, (sharding, type) in enumerate(zip(of_side, types[attribute], strict=True))
            if sharding is None and _is_ranked(type)
        }
        if missing:
            set_value_attribute(function, attribute, SHARDING, missing, len(of_side))
            given[attribute] = [missing.get(i, sharding) for i, sharding in enumerate(of_side)]
    returned = given["res_attrs"]
    return [] if any(sharding is None for sharding in returned) else returned


def _is_ranked(type: Any) -> bool:
    return isinstance(type, _mlir.ir.RankedTensorType)


@functools.lru_cache(maxsize=256)
def _replicated(mesh: Any, rank: int) -> Any:
    sdy, context = _mlir.sdy, _mlir.context()
    whole = sdy.DimensionShardingAttr.get([], is_closed=True, context=context)
    return sdy.TensorShardingAttr.get(mesh, [whole] * rank, context=context)
