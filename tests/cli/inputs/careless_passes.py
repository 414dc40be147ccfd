"""A pass that changes what programs compute."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from passes import _mlir
from passes.pipeline.base import Counters, Pass
from passes.program.walk import operations


@dataclass(frozen=True)
class SumForMax(Pass):
    """Takes every maximum for a sum."""

    name: ClassVar[str] = "sum-for-max"
    summary: ClassVar[str] = "Take every maximum for a sum"
    before: ClassVar[str] = ""
    after: ClassVar[str] = ""

    def run(self, op: Any, counters: Counters) -> None:
        ir = _mlir.ir
        for found in operations(op):
            if found.name == "stablehlo.maximum":
                new = ir.Operation.create(
                    "stablehlo.add", results=[found.results[0].type], operands=list(found.operands),
                    ip=ir.InsertionPoint(found), loc=found.location,
                )
                found.results[0].replace_all_uses_with(new.results[0])
                found.erase()
