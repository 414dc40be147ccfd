"""Runs the optimizations in turn until none finds anything more to do.

Merging makes values equal that rules compare, rules make ops equal and unused, removal leaves values with one use that
rules wait for, and what is known of arguments is known inside functions; so each gets its turn again as long as another
one found something.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import cycle
from typing import Any, ClassVar, Literal

from passes.optimize.cse import Cse
from passes.optimize.dead_ops import DeadOps
from passes.optimize.function_signatures import FunctionSignatures
from passes.optimize.inline import Inline
from passes.optimize.simplify import Simplify
from passes.pipeline.base import Counters, Pass, Statistic, option
from passes.pipeline.collection import uncollected
from passes.program.annotated import is_annotated

# A program that needs more turns than this has two rules that undo each other's work.
_MOST_TURNS = 100


@dataclass(frozen=True)
class Optimize(Pass):
    """See the module's docstring."""

    name: ClassVar[str] = "optimize"
    summary: ClassVar[str] = "Run inline, function-signatures, dead-ops, cse and simplify in turn until nothing changes"
    statistics: ClassVar[tuple[Statistic, ...]] = (
        Statistic("turns", "turns of one pass until nothing changed"),
        *(
            Statistic(f"{own.name}.{s.name}", s.help, s.changes)
            for own in (Inline, FunctionSignatures, DeadOps, Cse, Simplify)
            for s in own.statistics
        ),
    )
    before: ClassVar[str] = """\
func.func @main(%arg0: tensor<4xf32>) -> tensor<4xf32> {
  %c = stablehlo.constant dense<1.000000e+00> : tensor<4xf32>
  %0 = stablehlo.multiply %arg0, %c : tensor<4xf32>
  %1 = stablehlo.tanh %arg0 : tensor<4xf32>
  %2 = stablehlo.tanh %0 : tensor<4xf32>
  %3 = stablehlo.maximum %1, %2 : tensor<4xf32>
  %4 = stablehlo.sine %3 : tensor<4xf32>
  return %3 : tensor<4xf32>
}
"""
    after: ClassVar[str] = """\
func.func @main(%arg0: tensor<4xf32>) -> tensor<4xf32> {
  %0 = stablehlo.tanh %arg0 : tensor<4xf32>
  return %0 : tensor<4xf32>
}
"""

    inline: Literal["never", "trivial", "once", "all"] = option(
        "trivial", "which calls to inline, in the words of the pass inline"
    )
    fold_limit: int = option(64, "fold constants of different elements up to this many elements")
    allow_signed_zero: bool = option(False, "also drop the addition of 0.0 where it would turn -0.0 into 0.0")

    def run(self, module: Any, counters: Counters) -> None:
        """Optimizes in place."""
        with uncollected():
            self._in_turn(module, counters)

    def _in_turn(self, module: Any, counters: Counters) -> None:
        passes = self._passes(is_annotated(module))
        quiet = 0
        for turn, own in enumerate(cycle(passes)):
            if turn == _MOST_TURNS:
                raise AssertionError(f"optimize still changes the program after {turn} turns")
            counters.add("turns")
            quiet = 0 if _run(own, module, counters) else quiet + 1
            # No pass leaves itself anything to do, so the last one that changed something need not look again.
            if turn + 1 >= len(passes) and quiet >= len(passes) - 1:
                return

    def _passes(self, annotated: bool) -> tuple[Pass, ...]:
        return (
            Inline(mode=self.inline),
            FunctionSignatures(constant_limit=self.fold_limit),
            DeadOps(),
            Cse(sunk_constants="keep" if annotated else "merge"),
            Simplify(self.fold_limit, self.allow_signed_zero, annotated="yes" if annotated else "no"),
        )


def _run(own: Pass, module: Any, counters: Counters) -> bool:
    """Runs one pass and adds what it counted; returns whether it changed anything."""
    counted = Counters(own.statistics, explain=counters.removals is not None)
    own.run(module, counted)
    for name, count in counted.items():
        counters.add(f"{own.name}.{name}", count)
    if counters.removals is not None and counted.removals is not None:
        counters.removals += counted.removals
    return any(counted[s.name] for s in own.statistics if s.changes)
