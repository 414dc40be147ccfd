"""Numbers ops so that a value of the per-device program can be told from which value of the global one it came.

With tracing on, every op carries ``shlo.number`` while it is planned, and the per-device program keeps that, with
``shlo.sharding``, which says how each result lies:

  %5 = "stablehlo.all_reduce"(%4) ... {shlo.number = 17, shlo.result = 0, shlo.sharding = "[[[\\"data\\"], []]]"}

``shlo.result`` stands where an op holds one result of the original only, such as the collective that completes it or
one that moves it. A collective that fetches a part of its operand for one op has ``shlo.fetches_for`` with that op's
number. One that moves an argument has ``shlo.argument`` instead of a number. Ops whose results are summands
of a collective carry ``shlo.partial``: per result, which value of the original they add up to, over which axes and by
which op.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from passes import _mlir
from passes.partition.prime_axes import PrimeMesh
from passes.partition.shardings import Axes, ShardingMap
from passes.partition.side_table import axis_from_text
from passes.program.types import i64_attr
from passes.program.walk import operations
from passes.sharding.mesh import Axis, Mesh, Sharding

NUMBER = "shlo.number"
RESULT = "shlo.result"
ARGUMENT = "shlo.argument"
PARTIAL = "shlo.partial"
SHARDING = "shlo.sharding"
FETCHES_FOR = "shlo.fetches_for"
MARKS = (NUMBER, RESULT, ARGUMENT, PARTIAL, SHARDING, FETCHES_FOR)


@dataclass(frozen=True)
class Held:
    """Which value of the global program a result of the per-device program is.

    Attributes:
      number: The number of the op that makes it; ``None`` for an argument of the entry function.
      result: Which of that op's results, or which argument.
      sharding: How it lies.
      reduced: The axes over which devices hold summands of it; empty if they hold it.
      kind: The op that combines them, such as ``stablehlo.add``; empty without them.
    """

    number: int | None
    result: int
    sharding: Sharding
    reduced: Axes = ()
    kind: str = ""


def number_operations(module: Any) -> None:
    """Gives every op with results a number of its own."""
    for number, op in enumerate(operations(module)):
        if len(op.results):
            op.attributes[NUMBER] = i64_attr(number)


def number_of(op: Any) -> int | None:
    """The number of ``op``, if it has one."""
    attr = op.attributes.get(NUMBER)
    return None if attr is None else int(_mlir.ir.IntegerAttr(attr).value)


def fetches_for(moved: Any, number: int | None) -> None:
    """Notes that the op of ``moved`` fetches something for the op with that number."""
    if number is not None and not isinstance(moved.owner, _mlir.ir.Block):
        moved.owner.operation.attributes[FETCHES_FOR] = i64_attr(number)


def fetched_for(op: Any) -> int | None:
    """The number of the op that ``op`` fetches something for, if it does."""
    attr = op.attributes.get(FETCHES_FOR)
    return None if attr is None else int(_mlir.ir.IntegerAttr(attr).value)


def hand_over(source: Any, target: Any) -> None:
    """Lets the op of value ``target`` stand for value ``source`` from now on, instead of the op that makes it."""
    giver, taker = source.owner, target.owner
    # A slice of an argument without elements is the argument.
    if isinstance(giver, _mlir.ir.Block) or isinstance(taker, _mlir.ir.Block):
        return
    marks, receiver = giver.operation.attributes, taker.operation.attributes
    if NUMBER not in marks:
        return
    receiver[NUMBER] = marks[NUMBER]
    receiver[RESULT] = marks[RESULT] if RESULT in marks else i64_attr(source.result_number)
    if len(giver.operation.results) == 1:
        del marks[NUMBER]


def mark_partial(value: Any, completed: Any, axes: Axes, kind: str) -> None:
    """Notes that ``value`` holds summands of ``completed``, over ``axes``, which ``kind`` combines.

    To be called once the op of ``completed`` stands for the value (`hand_over`).
    """
    giver, marks = value.owner, completed.owner.operation.attributes
    if isinstance(giver, _mlir.ir.Block) or NUMBER not in marks:
        return
    attributes = giver.operation.attributes
    found = json.loads(_mlir.ir.StringAttr(attributes[PARTIAL]).value) if PARTIAL in attributes else {}
    number, result = (_mlir.ir.IntegerAttr(marks[key]).value for key in (NUMBER, RESULT))
    axis_names = [axis.name for axis in axes]
    found[str(value.result_number)] = {"number": number, "result": result, "axes": axis_names, "kind": kind}
    attributes[PARTIAL] = _text(found)


def stand_for(moved: Any, source: Any) -> None:
    """Lets the op of ``moved``, unless it stands for a value already, stand for the value that ``source`` holds."""
    ir = _mlir.ir
    if isinstance(moved.owner, ir.Block) or NUMBER in moved.owner.operation.attributes:
        return
    receiver, giver = moved.owner.operation.attributes, source.owner
    if isinstance(giver, ir.Block):
        if giver.owner.operation.name == "func.func":
            receiver[ARGUMENT] = i64_attr(source.arg_number)
        return
    marks = giver.operation.attributes
    if PARTIAL in marks:
        return
    if ARGUMENT in marks:
        receiver[ARGUMENT] = marks[ARGUMENT]
    elif NUMBER in marks:
        receiver[NUMBER] = marks[NUMBER]
        receiver[RESULT] = marks[RESULT] if RESULT in marks else i64_attr(source.result_number)


def write_shardings(module: Any, shardings: ShardingMap, prime: PrimeMesh) -> None:
    """Writes ``shlo.sharding`` on every marked op: per result, per dimension, the axes as users write them."""
    known: dict[Any, list[list[str]]] = {}
    for op in operations(module):
        if any(key in op.attributes for key in (NUMBER, ARGUMENT, PARTIAL)):
            found = []
            for v in op.results:
                key = shardings[v] or v.type
                if key not in known:
                    known[key] = _dims(shardings[v], v.type, prime)
                found.append(known[key])
            op.attributes[SHARDING] = _text(found)
        if PARTIAL in op.attributes:
            partial = json.loads(_mlir.ir.StringAttr(op.attributes[PARTIAL]).value)
            for entry in partial.values():
                entry["axes"] = [a.text(prime.original) for a in prime.restore_axes(tuple(entry["axes"]))]
            op.attributes[PARTIAL] = _text(partial)


def held(op: Any, mesh: Mesh) -> list[Held | None]:
    """What each result of an op of a traced program is; ``None`` where that is not known.

    Raises:
      ValueError, KeyError: the marks were not written by `write_shardings` for this ``mesh``.
    """
    attributes, ir = op.attributes, _mlir.ir
    if SHARDING not in attributes:
        return [None] * len(op.results)

    def integer(key: str) -> int | None:
        return int(ir.IntegerAttr(attributes[key]).value) if key in attributes else None

    shardings = _shardings(ir.StringAttr(attributes[SHARDING]).value, mesh)
    partial = json.loads(ir.StringAttr(attributes[PARTIAL]).value) if PARTIAL in attributes else {}
    number, argument, only = integer(NUMBER), integer(ARGUMENT), integer(RESULT)
    found: list[Held | None] = []
    for index, sharding in enumerate(shardings):
        summands = partial.get(str(index))
        if summands is not None:
            axes = _axes(summands["axes"], mesh)
            found.append(Held(summands["number"], summands["result"], sharding, axes, summands["kind"]))
        elif argument is not None:
            found.append(Held(None, argument, sharding))
        else:
            found.append(None if number is None else Held(number, index if only is None else only, sharding))
    return found


@functools.lru_cache(maxsize=4096)
def _shardings(text: str, mesh: Mesh) -> tuple[Sharding, ...]:
    """Of each result, from what `write_shardings` wrote; few texts stand on many ops."""
    return tuple(Sharding(mesh, tuple(_axes(axes, mesh) for axes in dims)) for dims in json.loads(text))


def _axes(texts: Iterable[str], mesh: Mesh) -> tuple[Axis, ...]:
    return tuple(axis_from_text(text, mesh) for text in texts)


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


def _text(data: Any) -> Any:
    return _mlir.ir.StringAttr.get(json.dumps(data), _mlir.context())
