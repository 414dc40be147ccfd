"""Removes what nothing live depends on: ops, calls, loop-carried values, branch results, functions and meshes.

One sweep from the last op of each function to the first. An op is reached after everything that could use it, so what
has no uses then is dead for good; only a value carried around a loop can keep itself alive, and for loops
`passes.optimize.liveness` asks what is reached from live results and effects. Effects are never removed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from passes.optimize import liveness
from passes.pipeline.base import Counters, Pass, Statistic, option
from passes.program import purity
from passes.program.entry import is_private, symbol_name
from passes.program.purity import Effect, Effects
from passes.program.walk import operations


@dataclass(frozen=True)
class DeadOps(Pass):
    """See the module's docstring."""

    name: ClassVar[str] = "dead-ops"
    summary: ClassVar[str] = "Remove ops, calls, loop carries, branch results, functions and meshes nothing needs"
    statistics: ClassVar[tuple[Statistic, ...]] = (
        Statistic("removed", "ops removed; one with regions counts once"),
        Statistic("removed-calls", "of these, calls of functions, composites and custom calls"),
        Statistic("removed-collectives", "of these, collectives"),
        Statistic("removed-carries", "values no longer carried through a loop"),
        Statistic("removed-results", "results removed from branches"),
        Statistic("removed-functions", "private functions removed"),
        Statistic("removed-meshes", "meshes removed"),
    )
    before: ClassVar[str] = """\
func.func @main(%arg0: tensor<4xf32>, %arg1: tensor<i32>) -> tensor<4xf32> {
  %0 = call @square(%arg0) : (tensor<4xf32>) -> tensor<4xf32>
  %1:3 = stablehlo.while(%iterArg = %arg1, %iterArg_0 = %0, %iterArg_1 = %arg0)
    : tensor<i32>, tensor<4xf32>, tensor<4xf32>
  cond {
    %c = stablehlo.constant dense<0> : tensor<i32>
    %2 = stablehlo.compare GT, %iterArg, %c : (tensor<i32>, tensor<i32>) -> tensor<i1>
    stablehlo.return %2 : tensor<i1>
  } do {
    %c = stablehlo.constant dense<-1> : tensor<i32>
    %2 = stablehlo.add %iterArg, %c : tensor<i32>
    %3 = stablehlo.tanh %iterArg_0 : tensor<4xf32>
    %4 = stablehlo.negate %iterArg_1 : tensor<4xf32>
    stablehlo.return %2, %3, %4 : tensor<i32>, tensor<4xf32>, tensor<4xf32>
  }
  return %1#2 : tensor<4xf32>
}
func.func private @square(%arg0: tensor<4xf32>) -> tensor<4xf32> {
  %0 = stablehlo.multiply %arg0, %arg0 : tensor<4xf32>
  return %0 : tensor<4xf32>
}
"""
    after: ClassVar[str] = """\
func.func @main(%arg0: tensor<4xf32>, %arg1: tensor<i32>) -> tensor<4xf32> {
  %0:2 = stablehlo.while(%iterArg = %arg1, %iterArg_0 = %arg0) : tensor<i32>, tensor<4xf32>
  cond {
    %c = stablehlo.constant dense<0> : tensor<i32>
    %1 = stablehlo.compare GT, %iterArg, %c : (tensor<i32>, tensor<i32>) -> tensor<i1>
    stablehlo.return %1 : tensor<i1>
  } do {
    %c = stablehlo.constant dense<-1> : tensor<i32>
    %1 = stablehlo.add %iterArg, %c : tensor<i32>
    %2 = stablehlo.negate %iterArg_0 : tensor<4xf32>
    stablehlo.return %1, %2 : tensor<i32>, tensor<4xf32>
  }
  return %0#1 : tensor<4xf32>
}
"""

    keep_calls: bool = option(False, "keep function calls, used or not, and so the functions they call")

    def run(self, module: Any, counters: Counters) -> None:
        """Removes in place, function by function from the public ones down; a function not reached is dead."""
        body = module.regions[0].blocks[0]
        sweep = _Sweep(Effects(module, frozenset({"func.call"}) if self.keep_calls else frozenset()), counters)
        sweep.functions([view.operation for view in body])
        _remove_meshes(module, counters)


def _statistic(name: str) -> str | None:
    if name in purity.CALLEE_ATTRIBUTES:
        return "removed-calls"
    return "removed-collectives" if name in purity.COLLECTIVES else None


@dataclass
class _Sweep:
    """Removes dead ops bottom-up; what the ops that stay refer to is collected in ``called``."""

    effects: Effects
    counters: Counters
    called: list[str] = field(default_factory=list)
    plans: dict[Any, list[int]] = field(default_factory=dict)
    dangling: dict[Any, list[Any]] = field(default_factory=dict)

    def functions(self, top: list[Any]) -> None:
        """Sweeps the functions that can be reached from the public ones and removes the others.

        ``@main`` counts as public, as it does when an entry function is looked for, and whatever else stands at module
        level may refer to any function.
        """
        by_name = {symbol_name(op): op for op in top if op.name == "func.func"}
        self.called += [name for name, op in by_name.items() if name == "main" or not is_private(op)]
        for op in top:
            if op.name != "func.func":
                self.called += [found for inner in operations(op) for found in purity.callees(inner)]
        while self.called:
            function = by_name.pop(self.called.pop(), None)
            if function is not None:
                self.region(function.regions[0])
        for function in by_name.values():
            function.erase()
            self.counters.add("removed-functions")

    def region(self, region: Any) -> None:
        """Removes the dead ops of each block of ``region``, from the last to the first."""
        for block in region:
            # Popped one by one, because a handle must not outlive an op that is erased.
            waiting = list(block)
            waiting.pop()
            while waiting:
                self._visit(waiting.pop().operation)

    def _visit(self, op: Any) -> None:
        name = op.name
        if _is_unused(op) or (self.dangling and self._is_only_annotated(op)):
            effect = self.effects.of(op)
            if effect is Effect.ANNOTATION and len(op.operands) == 1:
                self.dangling.setdefault(op.operands[0], []).append(op)
                return
            if effect in (Effect.PURE, Effect.UNIQUE):
                self._erase(op, name)
                return
        if name in purity.PLAIN and not len(op.regions):
            return
        self.called += purity.callees(op)
        if len(op.regions) and purity.is_known(name):
            self._inside(op)

    def _inside(self, op: Any) -> None:
        kept = self._kept_slots(op)
        if kept is None:
            for region in op.regions:
                self.region(region)
            return
        dropped = len(op.results) - len(kept)
        self.counters.add("removed-carries" if liveness.SLOTTED[op.name].carried else "removed-results", dropped)
        liveness.drop_slots(op, kept, self.region, self._release)

    def _kept_slots(self, op: Any) -> list[int] | None:
        """The live slots of ``op`` if it has dead ones; found for all ops inside ``op`` at once."""
        if liveness.slot_rule(op) is None:
            return None
        if op not in self.plans:
            if all(next(result.uses, None) is not None for result in op.results):
                return None
            self.plans |= liveness.live_slots(op, self.effects)
        kept = self.plans.pop(op)
        return kept if len(kept) < len(op.results) else None

    def _is_only_annotated(self, op: Any) -> bool:
        """Whether all uses of the results of ``op`` are annotations that are unused themselves."""
        return all(sum(1 for _ in result.uses) == len(self.dangling.get(result, ())) for result in op.results)

    def _erase(self, op: Any, name: str) -> None:
        self.counters.removed(op, "no result is used")
        for result in op.results:
            self._release(result)
        op.erase()
        self.counters.add("removed")
        statistic = _statistic(name)
        if statistic:
            self.counters.add(statistic)

    def _release(self, value: Any) -> None:
        """Erases the annotations of a value that is about to go."""
        for annotation in self.dangling.pop(value, ()):
            self._erase(annotation, annotation.name)


def _is_unused(op: Any) -> bool:
    try:
        return next(op.result.uses, None) is None
    except ValueError:
        return all(next(result.uses, None) is None for result in op.results)


def _remove_meshes(module: Any, counters: Counters) -> None:
    """Removes the meshes that no attribute anywhere in the module names."""
    meshes = [view.operation for view in module.regions[0].blocks[0] if view.operation.name == "sdy.mesh"]
    if not meshes:
        return
    named = purity.symbols(attribute for op in operations(module) for attribute in purity.attributes(op))
    for mesh in meshes:
        if symbol_name(mesh) not in named:
            mesh.erase()
            counters.add("removed-meshes")
