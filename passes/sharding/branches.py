"""Lets shardings propagate through ``stablehlo.if``, of which Shardy knows nothing: it is a case meanwhile.

  %0 = "stablehlo.if"(%p) ({ true branch }, { false branch })

is, while shardings propagate,

  %1 = stablehlo.not %p : tensor<i1>
  %2 = stablehlo.convert %1 : (tensor<i1>) -> tensor<i32>
  %0 = "stablehlo.case"(%2) ({ true branch }, { false branch }) {shlo.if}
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from passes import _mlir
from passes.program.read import Program
from passes.program.walk import named

MARK = "shlo.if"
IF = "stablehlo.if"
_CASE = "stablehlo.case"


@contextmanager
def as_cases(program: Program, ifs: list[Any]) -> Iterator[None]:
    """Turns ``ifs``, those of ``program``, into cases in the body, and back then."""
    # Inner ones first: their handles do not outlive the move of the branch they are in.
    for op in reversed(ifs):
        _case_of(op)
    try:
        yield
    finally:
        if ifs:
            for op in reversed(named(program.module, frozenset({_CASE}))):
                if MARK in op.attributes:
                    _if_of(op)


def _case_of(op: Any) -> None:
    ir, context = _mlir.ir, _mlir.context()
    predicate, before = op.operands[0], ir.InsertionPoint(op)
    i32 = ir.RankedTensorType.get([], ir.IntegerType.get_signless(32, context), loc=op.location)
    inverted = ir.Operation.create("stablehlo.not", [predicate.type], [predicate], loc=op.location, ip=before)
    index = ir.Operation.create("stablehlo.convert", [i32], [inverted.results[0]], loc=op.location, ip=before)
    _replace(op, _CASE, index.results[0], _attributes(op) | {MARK: ir.UnitAttr.get(context)})


def _if_of(op: Any) -> None:
    index = op.operands[0].owner.operation
    inverted = index.operands[0].owner.operation
    attributes = _attributes(op)
    del attributes[MARK]
    _replace(op, IF, inverted.operands[0], attributes)
    for unused in (index, inverted):
        if not list(unused.results[0].uses):
            unused.erase()


def _attributes(op: Any) -> dict[str, Any]:
    return {key: op.attributes[key] for key in op.attributes}


def _replace(op: Any, name: str, operand: Any, attributes: dict[str, Any]) -> None:
    """Puts an op called ``name`` with the same branches and results in the place of ``op``."""
    ir = _mlir.ir
    types, count = [result.type for result in op.results], len(op.regions)
    new = ir.Operation.create(
        name, types, [operand], attributes, regions=count, loc=op.location, ip=ir.InsertionPoint(op)
    )
    for old, own in zip(op.regions, new.regions, strict=True):
        old.blocks[0].append_to(own)
    for old, result in zip(op.results, new.results, strict=True):
        old.replace_all_uses_with(result)
    op.erase()
