"""Removes what nothing live depends on: ops, calls, loop-carried values, arguments and results, functions and meshes.

One sweep from the last op of each function to the first. An op is reached after everything that could use it, so what
has no uses then is dead for good. Only what goes around can keep itself alive: a value carried through a loop, an
argument of a function that is called again with what it leads to. For these `passes.optimize.liveness` asks what is
reached from live results and effects; about the whole program only if the sweep leaves a function behind of which an
argument or a result might be dead, and then a second sweep takes them out. Effects are never removed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from passes.optimize import calls, liveness, slots, transfers
from passes.optimize.calls import Calls, Signature
from passes.pipeline.base import Counters, Pass, Statistic, option
from passes.program import purity
from passes.program.entry import symbol_name
from passes.program.purity import Effect, Effects
from passes.program.walk import operations, terminator


@dataclass(frozen=True)
class DeadOps(Pass):
    """See the module's docstring."""

    name: ClassVar[str] = "dead-ops"
    summary: ClassVar[str] = "Remove ops, calls, loop carries, arguments, results, functions and meshes nothing needs"
    statistics: ClassVar[tuple[Statistic, ...]] = (
        Statistic("removed", "ops removed; one with regions counts once"),
        Statistic("removed-calls", "of these, calls of functions, composites and custom calls"),
        Statistic("removed-collectives", "of these, collectives"),
        Statistic("removed-carries", "values no longer carried through a loop"),
        Statistic("removed-results", "results removed from branches"),
        Statistic("removed-payloads", "arrays removed from a sort, reduction or scatter of several"),
        Statistic("removed-arguments", "arguments removed from private functions"),
        Statistic("removed-returns", "results removed from private functions"),
        Statistic("removed-functions", "private functions removed"),
        Statistic("removed-meshes", "meshes removed"),
    )
    before: ClassVar[str] = """\
func.func @main(%arg0: tensor<4xf32>, %arg1: tensor<i32>) -> tensor<4xf32> {
  %0:3 = stablehlo.while(%iterArg = %arg1, %iterArg_0 = %arg0, %iterArg_1 = %arg0)
    : tensor<i32>, tensor<4xf32>, tensor<4xf32>
  cond {
    %c = stablehlo.constant dense<0> : tensor<i32>
    %1 = stablehlo.compare GT, %iterArg, %c : (tensor<i32>, tensor<i32>) -> tensor<i1>
    stablehlo.return %1 : tensor<i1>
  } do {
    %c = stablehlo.constant dense<-1> : tensor<i32>
    %1 = stablehlo.add %iterArg, %c : tensor<i32>
    %2:2 = func.call @step(%iterArg_0, %iterArg_1) : (tensor<4xf32>, tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>)
    stablehlo.return %1, %2#0, %2#1 : tensor<i32>, tensor<4xf32>, tensor<4xf32>
  }
  return %0#2 : tensor<4xf32>
}
func.func private @step(%arg0: tensor<4xf32>, %arg1: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
  %0 = stablehlo.tanh %arg0 : tensor<4xf32>
  %1 = stablehlo.negate %arg1 : tensor<4xf32>
  return %0, %1 : tensor<4xf32>, tensor<4xf32>
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
    %2 = func.call @step(%iterArg_0) : (tensor<4xf32>) -> tensor<4xf32>
    stablehlo.return %1, %2 : tensor<i32>, tensor<4xf32>
  }
  return %0#1 : tensor<4xf32>
}
func.func private @step(%arg0: tensor<4xf32>) -> tensor<4xf32> {
  %0 = stablehlo.negate %arg0 : tensor<4xf32>
  return %0 : tensor<4xf32>
}
"""

    keep_calls: bool = option(False, "keep function calls as they are, used or not, and so the functions they call")
    keep_signatures: bool = option(False, "keep the arguments and results of private functions, used or not")

    def run(self, module: Any, counters: Counters) -> None:
        """Removes in place, function by function from the public ones down; a function not reached is dead."""
        kept = frozenset({"func.call"}) if self.keep_calls else frozenset[str]()
        shrunk = liveness.LiveProgram({}, {})
        while True:
            sweep = _Sweep(Effects(module, kept), counters, shrunk.signatures, shrunk.slots)
            sweep.program(module)
            if sweep.found_pairs:
                # What was an effect no longer is, up to the callers of the callers.
                shrunk = liveness.LiveProgram({}, {})
                continue
            if self.keep_calls or self.keep_signatures:
                break
            shrunk = sweep.dead_signatures(calls.functions(module))
            if not shrunk.signatures:
                break
        _remove_meshes(module, counters)


def _statistic(name: str) -> str | None:
    if name in purity.CALLEE_ATTRIBUTES:
        return "removed-calls"
    return "removed-collectives" if name in purity.COLLECTIVES else None


@dataclass
class _Sweep:
    """Removes dead ops bottom-up; what the ops that stay refer to is collected in ``calls``.

    Attributes:
      shrunk: What stays of the signatures that lose arguments or results in this sweep.
      plans: The live slots of the slotted ops for which they are known.
      dangling: The annotations that nothing uses, by what they annotate.
      suspects: Functions with a call that lets us doubt that all their arguments and results are live.
      edges: What each function that was swept refers to.
      found_pairs: A send and its receive were removed.
    """

    effects: Effects
    counters: Counters
    shrunk: dict[str, Signature]
    plans: dict[Any, list[int]]
    calls: Calls = field(default_factory=Calls)
    called: list[str] = field(default_factory=list)
    dangling: dict[Any, list[Any]] = field(default_factory=dict)
    suspects: set[str] = field(default_factory=set)
    edges: dict[str, set[str]] = field(default_factory=dict)
    loops: int = 0
    found_pairs: bool = False

    def program(self, module: Any) -> None:
        """Sweeps the functions that can be reached from the public ones and removes the others.

        Whatever else stands at module level may refer to any function.
        """
        by_name = calls.functions(module)
        self.called += [name for name, op in by_name.items() if calls.is_entry(op)]
        for view in module.regions[0].blocks[0]:
            if view.operation.name != "func.func":
                self._untouched(view.operation)
        while self.called:
            name = self.called.pop()
            function = by_name.pop(name, None)
            if function is not None:
                self._function(name, function)
        for function in by_name.values():
            self.counters.removed(function, "nothing calls it")
            function.erase()
            self.counters.add("removed-functions")

    def _function(self, name: str, function: Any) -> None:
        signature = self.shrunk.get(name)
        if signature is not None:
            slots.keep_operands(terminator(function.regions[0].blocks[0]), signature.results)
        before = len(self.called)
        self.region(function.regions[0])
        self.edges[name] = set(self.called[before:])
        if signature is not None:
            declared = calls.function_type(function)
            self.counters.add("removed-arguments", len(declared.inputs) - len(signature.arguments))
            self.counters.add("removed-returns", len(declared.results) - len(signature.results))
            calls.shrink_function(function, signature, self._release)

    def dead_signatures(self, functions: dict[str, Any]) -> liveness.LiveProgram:
        """What stays of the signatures that have dead arguments or results, and the live slots of the program.

        Only functions in which something may be dead are looked at, with those that call them. Follow a dead value that
        is used to the last one that depends on it: unless it goes around a loop or a recursion, that one is an argument
        or the result of a call, and nothing uses it.
        """
        changeable = calls.changeable(functions, self.calls)
        suspects = (self.suspects | calls.cycles(self.edges)) & changeable
        suspects |= {name for name in changeable if self._has_unused_argument(functions[name])}
        if not suspects:
            return liveness.LiveProgram({}, {})
        involved = suspects | {name for name, called in self.edges.items() if not suspects.isdisjoint(called)}
        live = liveness.live_program({name: functions[name] for name in involved}, suspects, self.effects)
        shrunk = {name: kept for name, kept in live.signatures.items() if not kept.keeps_all(functions[name])}
        return liveness.LiveProgram(shrunk, live.slots)

    def _has_unused_argument(self, function: Any) -> bool:
        return any(self._is_only_annotated(argument) for argument in function.regions[0].blocks[0].arguments)

    def region(self, region: Any) -> None:
        """Removes the dead ops of each block of ``region``, from the last to the first."""
        for block in region:
            self._block(block)

    def _block(self, block: Any) -> None:
        # Popped one by one, because a handle must not outlive an op that is erased.
        waiting = list(block)
        waiting.pop()
        ends: list[Any] = []
        while waiting:
            op = waiting.pop().operation
            # Most of a program is of this kind.
            if self.dangling or op.name not in purity.REGIONLESS or _is_unused(op):
                self._visit(op, ends)
        for pair in transfers.dead_pairs(ends):
            transfers.bypass_tokens(pair)
            for op in pair:
                self._erase(op, op.name, "nothing uses what is received")
            self.found_pairs = True

    def _visit(self, op: Any, ends: list[Any]) -> None:
        """Removes ``op`` if it is dead, or what is dead inside it; adds it to ``ends`` if it is one of a transfer."""
        name = op.name
        if _is_unused(op) or (self.dangling and all(self._is_only_annotated(result) for result in op.results)):
            effect = self.effects.of(op)
            if effect is Effect.ANNOTATION and len(op.operands) == 1:
                self.dangling.setdefault(op.operands[0], []).append(op)
                return
            if effect in (Effect.PURE, Effect.UNIQUE):
                self._erase(op, name, "no result is used")
                return
        if name in purity.REGIONLESS or (name in purity.PLAIN and not len(op.regions)):
            return
        if name == "func.call":
            self._call(op)
        elif name in transfers.ENDS:
            ends.append(op)
        elif not purity.is_known(name):
            self._untouched(op)
        else:
            self.called += self.calls.add(op)
            self._inside(op)

    def _untouched(self, op: Any) -> None:
        """Keeps the functions that an op refers to of whose regions nothing is known, as they are called there."""
        found = self.calls.add_inside(op)
        self.calls.named.update(found)
        self.called += found

    def _call(self, op: Any) -> None:
        callee = purity.callees(op)[0]
        if callee in self.shrunk:
            op = calls.shrink_call(op, self.shrunk[callee], self._release)
        self.called += self.calls.add(op)
        results = op.results
        if (self.loops and len(results) > 1) or any(next(result.uses, None) is None for result in results):
            self.suspects.add(callee)

    def _inside(self, op: Any) -> None:
        kept = self._kept_slots(op)
        is_loop = op.name == "stablehlo.while"
        self.loops += is_loop
        if kept is None:
            for region in op.regions:
                self.region(region)
        else:
            self.counters.add(slots.SLOTTED[op.name].statistic, len(op.results) - len(kept))
            slots.drop_slots(op, kept, self.region, self._release)
        self.loops -= is_loop

    def _kept_slots(self, op: Any) -> list[int] | None:
        """The live slots of ``op`` if it has dead ones; found for all ops inside ``op`` at once."""
        if liveness.kept_rule(op, self.effects) is None:
            return None
        if op not in self.plans:
            if all(next(result.uses, None) is not None for result in op.results):
                return None
            self.plans |= liveness.live_slots(op, self.effects, self.shrunk)
        kept = self.plans.pop(op)
        return kept if len(kept) < len(op.results) else None

    def _is_only_annotated(self, value: Any) -> bool:
        """Whether all uses of ``value`` are annotations that are unused themselves."""
        return sum(1 for _ in value.uses) == len(self.dangling.get(value, ()))

    def _erase(self, op: Any, name: str, why: str) -> None:
        for result in op.results:
            self._release(result)
        self.counters.removed(op, why)
        op.erase()
        self.counters.add("removed")
        statistic = _statistic(name)
        if statistic:
            self.counters.add(statistic)

    def _release(self, value: Any) -> None:
        """Erases the annotations of a value that is about to go."""
        for annotation in self.dangling.pop(value, ()):
            self._erase(annotation, annotation.name, "what it annotates is not used")


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
            counters.removed(mesh, "no sharding names it")
            mesh.erase()
            counters.add("removed-meshes")
