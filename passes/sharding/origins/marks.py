"""Marks that outlive propagation: which op of the program as it was read an op is, and what was given before.

  %0 = stablehlo.add %a, %b {shlo.value = 0 : i64, shlo.given = #sdy.sharding_per_value<[<@mesh, [{"x"}, {}]>]>}
"""

from __future__ import annotations

from typing import Any

from passes import _mlir
from passes.program.entry import is_declaration, value_attributes
from passes.program.types import i64_attr
from passes.program.walk import operations
from passes.sharding.signature import SHARDING

MARK = "shlo.value"
# The sharding a tensor had before propagation.
GIVEN = "shlo.given"

# Ops that hold the sharding of their one result under another name.
ALONE = frozenset({"sdy.data_flow_edge", "sdy.sharding_constraint", "sdy.reshard"})


def put_marks(module: Any) -> frozenset[int]:
    """Numbers the ops of ``module`` that hold values in `MARK`, in order; returns the numbers of annotated ones."""
    annotated = set()
    for number, op in enumerate(operations(module)):
        if len(op.results) or op.name == "sdy.manual_computation":
            op.attributes[MARK] = i64_attr(number)
            if SHARDING in op.attributes:
                annotated.add(number)
    return frozenset(annotated)


def mark_of(op: Any) -> int | None:
    """The number of the op of the original program that ``op`` is, or is a copy of."""
    attribute = op.attributes.get(MARK)
    return None if attribute is None else int(_mlir.ir.IntegerAttr(attribute).value)


def keep_given(module: Any) -> None:
    """Writes down which shardings there are before propagation."""
    ir, context = _mlir.ir, _mlir.context()
    for op in operations(module):
        attributes = op.attributes
        key = "sharding" if op.name in ALONE else SHARDING
        if key in attributes:
            attributes[GIVEN] = attributes[key]
        if op.name != "func.func" or is_declaration(op):
            continue
        for place in ("arg_attrs", "res_attrs"):
            if place in attributes:
                values = value_attributes(op, place, len(ir.ArrayAttr(attributes[place])))
                for value in values:
                    if SHARDING in value:
                        value[GIVEN] = value[SHARDING]
                dictionaries = [ir.DictAttr.get(value, context=context) for value in values]
                attributes[place] = ir.ArrayAttr.get(dictionaries, context=context)
