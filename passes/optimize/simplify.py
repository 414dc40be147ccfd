"""Replaces ops by simpler ones that compute the same bits: identities, constant folding, composed data movement.

What is replaced by what, and why that is exact, stands in the rule table (`passes.optimize.rules`) and on the page
``docs/simplify.md``. An op that carries a sharding or any other attribute that is not its own stays as it is.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from passes.errors import UserError
from passes.optimize.rewriting import Rule, Sweep
from passes.optimize.rules import RULES
from passes.pipeline.base import Counters, Pass, Statistic, option
from passes.pipeline.collection import uncollected
from passes.program.annotated import is_annotated


@dataclass(frozen=True)
class Simplify(Pass):
    """See the module's docstring."""

    name: ClassVar[str] = "simplify"
    summary: ClassVar[str] = "Replace ops by simpler ones that compute the same bits, and fold constants"
    statistics: ClassVar[tuple[Statistic, ...]] = tuple(
        Statistic(rule.name, f"{rule.pattern} became {rule.result}") for rule in RULES
    )
    before: ClassVar[str] = """\
func.func @main(%arg0: tensor<4xf32>) -> tensor<2x4xf32> {
  %c = stablehlo.constant dense<1.000000e+00> : tensor<f32>
  %0 = stablehlo.broadcast_in_dim %c, dims = [] : (tensor<f32>) -> tensor<4xf32>
  %1 = stablehlo.multiply %arg0, %0 : tensor<4xf32>
  %2 = stablehlo.reshape %1 : (tensor<4xf32>) -> tensor<1x4xf32>
  %3 = stablehlo.broadcast_in_dim %2, dims = [0, 1] : (tensor<1x4xf32>) -> tensor<2x4xf32>
  %4 = stablehlo.tanh %3 : tensor<2x4xf32>
  return %4 : tensor<2x4xf32>
}
"""
    after: ClassVar[str] = """\
func.func @main(%arg0: tensor<4xf32>) -> tensor<2x4xf32> {
  %0 = stablehlo.tanh %arg0 : tensor<4xf32>
  %1 = stablehlo.broadcast_in_dim %0, dims = [1] : (tensor<4xf32>) -> tensor<2x4xf32>
  return %1 : tensor<2x4xf32>
}
"""

    fold_limit: int = option(64, "fold constants of different elements up to this many elements")
    allow_signed_zero: bool = option(False, "also drop the addition of 0.0 where it would turn -0.0 into 0.0")
    skip: tuple[str, ...] = option((), "rules not to apply, by the names of their statistics")

    annotated: Literal["auto", "yes", "no"] = option(
        "auto",
        "whether the module counts as one with shardings, in which loops go on to carry what does not change and "
        "members of sharding groups stay; auto looks for them",
    )

    def run(self, module: Any, counters: Counters) -> None:
        """Simplifies in place, function by function, every op after those it uses."""
        options = {"fold_limit": self.fold_limit, "allow_signed_zero": self.allow_signed_zero}
        annotated = is_annotated(module) if self.annotated == "auto" else self.annotated == "yes"
        sweep = Sweep(self._rules(options), counters, options, annotated)
        with uncollected():
            for op in module.regions[0].blocks[0]:
                if op.operation.name == "func.func":
                    sweep.function(op.operation.regions[0])

    def _rules(self, options: dict[str, Any]) -> dict[str, list[Rule]]:
        names = {rule.name for rule in RULES}
        for name in self.skip:
            if name not in names:
                raise UserError(f"pass 'simplify' has no rule '{name}'; its statistics are named after the rules")
        by_op: dict[str, list[Rule]] = defaultdict(list)
        for rule in RULES:
            if rule.name not in self.skip and (not rule.needs or options[rule.needs]):
                for op in rule.ops:
                    by_op[op].append(rule)
        return dict(by_op)
