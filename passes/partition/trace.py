"""Numbers ops so that a value of the per-device program can be told from which value of the global one it came.

While planning every op carries ``shlo.number``. With tracing on, the per-device program keeps it, together with
``shlo.sharding``, which says how each result lies; without, both are removed:

  %5 = "stablehlo.all_reduce"(%4) ... {shlo.number = 17, shlo.result = 0, shlo.sharding = "[[[\\"data\\"], []]]"}

``shlo.result`` stands where an op holds one result of the original only, such as the collective that completes it.
"""

from __future__ import annotations

import json
from typing import Any

from passes import _mlir
from passes.partition.prime_axes import PrimeMesh
from passes.partition.shardings import ShardingMap
from passes.program.walk import operations

NUMBER = "shlo.number"
RESULT = "shlo.result"
SHARDING = "shlo.sharding"
MARKS = (NUMBER, RESULT, SHARDING)


def number_operations(module: Any) -> None:
    """Gives every op with results a number of its own."""
    for number, op in enumerate(operations(module)):
        if len(op.results):
            op.attributes[NUMBER] = _integer(number)


def number_of(op: Any) -> int | None:
    """The number of ``op``, if it has one."""
    attr = op.attributes.get(NUMBER)
    return None if attr is None else int(_mlir.ir.IntegerAttr(attr).value)


def hand_over(source: Any, target: Any) -> None:
    """Lets the op of value ``target`` stand for value ``source`` from now on, instead of the op that makes it."""
    giver, taker = source.owner, target.owner
    if isinstance(giver, _mlir.ir.Block):
        return
    marks, receiver = giver.operation.attributes, taker.operation.attributes
    if NUMBER not in marks:
        return
    receiver[NUMBER] = marks[NUMBER]
    receiver[RESULT] = marks[RESULT] if RESULT in marks else _integer(source.result_number)
    if len(giver.operation.results) == 1:
        del marks[NUMBER]


def write_shardings(module: Any, shardings: ShardingMap, prime: PrimeMesh) -> None:
    """Writes ``shlo.sharding`` on every numbered op: per result, per dimension, the axes as users write them."""
    for op in operations(module):
        if NUMBER in op.attributes:
            found = [_dims(shardings[v], v.type, prime) for v in op.results]
            op.attributes[SHARDING] = _mlir.ir.StringAttr.get(json.dumps(found), _mlir.context())


def remove_marks(module: Any) -> None:
    """Removes whatever numbering and tracing wrote."""
    for op in operations(module):
        for key in MARKS:
            if key in op.attributes:
                del op.attributes[key]


def _dims(sharding: Any, type: Any, prime: PrimeMesh) -> list[list[str]]:
    if sharding is None:
        rank = _mlir.ir.RankedTensorType(type).rank if isinstance(type, _mlir.ir.RankedTensorType) else 0
        return [[] for _ in range(rank)]
    return [[axis.text(prime.original) for axis in axes] for axes in prime.restore(sharding).dims]


def _integer(value: int) -> Any:
    return _mlir.ir.IntegerAttr.get(_mlir.ir.IntegerType.get_signless(64, _mlir.context()), value)
