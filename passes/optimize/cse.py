"""Merges ops that compute the same value: dominance-scoped value numbering over the whole program.

Beyond upstream's pass it sees commuted operands and mirrored compares, calls of pure functions, collectives that differ
in their channel id only, and sharding constraints. Ops that differ in any attribute (a sharding, a frontend attribute)
stay apart, and so does what was put there to be apart: barriers, random numbers, whatever a token orders.
"""

from __future__ import annotations

import gc
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

from passes import _mlir
from passes.optimize.normal_form import NORMAL_FORMS, Operands, Rule
from passes.pipeline.base import Counters, Pass, Statistic, option
from passes.program import purity
from passes.program.purity import Effect, Effects

Key = tuple[Hashable, ...]


@dataclass(frozen=True)
class Cse(Pass):
    """See the module's docstring."""

    name: ClassVar[str] = "cse"
    summary: ClassVar[str] = "Merge ops that compute the same value, also through commuted operands, calls, collectives"
    statistics: ClassVar[tuple[Statistic, ...]] = (
        Statistic("merged", "ops merged into an equal one"),
        Statistic("merged-calls", "of these, calls of functions, composites and custom calls"),
        Statistic("merged-collectives", "of these, collectives"),
        Statistic("merged-region-ops", "of these, ops with regions"),
    )
    before: ClassVar[str] = """\
func.func @main(%arg0: tensor<4xf32>, %arg1: tensor<4xf32>) -> tensor<4xf32> {
  %0 = stablehlo.add %arg0, %arg1 : tensor<4xf32>
  %1 = stablehlo.add %arg1, %arg0 : tensor<4xf32>
  %2 = call @square(%0) : (tensor<4xf32>) -> tensor<4xf32>
  %3 = call @square(%1) : (tensor<4xf32>) -> tensor<4xf32>
  %4 = stablehlo.subtract %2, %3 : tensor<4xf32>
  return %4 : tensor<4xf32>
}
func.func private @square(%arg0: tensor<4xf32>) -> tensor<4xf32> {
  %0 = stablehlo.multiply %arg0, %arg0 : tensor<4xf32>
  return %0 : tensor<4xf32>
}
"""
    after: ClassVar[str] = """\
func.func @main(%arg0: tensor<4xf32>, %arg1: tensor<4xf32>) -> tensor<4xf32> {
  %0 = stablehlo.add %arg0, %arg1 : tensor<4xf32>
  %1 = call @square(%0) : (tensor<4xf32>) -> tensor<4xf32>
  %2 = stablehlo.subtract %1, %1 : tensor<4xf32>
  return %2 : tensor<4xf32>
}
func.func private @square(%arg0: tensor<4xf32>) -> tensor<4xf32> {
  %0 = stablehlo.multiply %arg0, %arg0 : tensor<4xf32>
  return %0 : tensor<4xf32>
}
"""

    merge_sunk_constants: bool = option(
        False,
        "merge a constant inside a loop or branch with an equal one outside; by default it stays where it is, because "
        "as a captured value it would be carried through the loop, and its sharding tied to the one outside",
    )

    def run(self, module: Any, counters: Counters) -> None:
        """Merges in place; the surviving op is the first one, and its location names all it stands for."""
        numbering = _Numbering(Effects(module), counters, self.merge_sunk_constants)
        with _uncollected():
            for op in module.regions[0].blocks[0]:
                if op.operation.name == "func.func":
                    numbering.regions(op.operation)


@contextmanager
def _uncollected() -> Iterator[None]:
    """No garbage collections: they would look at every key again and again, and no key is part of a cycle."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@dataclass(frozen=True)
class _Kind:
    """What is the same for all ops of one name.

    Attributes:
      plain: The op's effect does not depend on what it calls or contains.
      normal_form: See `passes.optimize.normal_form`.
      statistic: What merges are counted as, besides ``merged``.
    """

    plain: bool
    normal_form: Rule | None
    statistic: str | None


def _kind(name: str) -> _Kind | None:
    """The facts about ops called ``name``; ``None`` if they are left alone, regions and all."""
    rule = purity.rule(name)
    if rule is Effect.EFFECT:
        return None
    plain = rule in (Effect.PURE, Effect.ANNOTATION) and name not in purity.CALLEE_ATTRIBUTES
    statistic = "merged-calls" if name in purity.CALLEE_ATTRIBUTES else None
    if name in purity.COLLECTIVES:
        statistic = "merged-collectives"
    return _Kind(plain, NORMAL_FORMS.get(name), statistic)


@dataclass
class _Numbering:
    """One walk over a function.

    Attributes:
      known: What is computed above the current op, by its key: the op that computes it.
      merged: The locations of the ops merged into the one with a key.
      heads: A number for each distinct name, attributes and result types, so that keys hold none of these.
      scopes: The number of blocks seen.
    """

    effects: Effects
    counters: Counters
    merge_sunk_constants: bool
    known: dict[Key, Any] = field(default_factory=dict)
    merged: dict[Key, list[Any]] = field(default_factory=dict)
    heads: dict[Hashable, int] = field(default_factory=dict)
    kinds: dict[str, _Kind | None] = field(default_factory=dict)
    scopes: int = 0

    def regions(self, op: Any) -> list[Effect]:
        """Merges inside the regions of ``op``; returns the effects found there that are not `Effect.PURE`."""
        outer = self.known
        if op.name not in purity.CAPTURING:
            self.known = {}
        inside = [effect for region in op.regions for block in region for effect in self._block(block)]
        self.known = outer
        return inside

    def _block(self, block: Any) -> list[Effect]:
        impure: list[Effect] = []
        added: list[Key] = []
        scope = self._scope()
        # Popped one by one, because a handle must not outlive an op that is erased.
        waiting = list(block)
        waiting.reverse()
        while waiting:
            op = waiting.pop().operation
            name = op.name
            if name not in self.kinds:
                self.kinds[name] = _kind(name)
            kind = self.kinds[name]
            if kind is None:
                impure.append(Effect.EFFECT)
                continue
            has_regions = len(op.regions) > 0
            if has_regions or not kind.plain:
                effect = self.effects.with_regions(op, self.regions(op))
                if effect is not Effect.PURE:
                    impure.append(effect)
                if effect in (Effect.UNIQUE, Effect.EFFECT):
                    continue
            key = self._key(op, name, kind.normal_form, tuple(op.operands) or scope)
            if key is None:
                continue
            if has_regions:
                key = self._key_with_regions(key, op, added)
            leader = self.known.get(key)
            if leader is None:
                self.known[key] = op
                added.append(key)
            else:
                self.merged.setdefault(key, []).append(op.location)
                self._merge(op, leader, kind, has_regions)
        self._leave(added)
        return impure

    def _scope(self) -> Operands:
        """What stands for the operands of an op without any: constants are equal inside one block only."""
        if self.merge_sunk_constants:
            return ()
        self.scopes += 1
        return (self.scopes,)

    def _key(self, op: Any, name: str, normal_form: Rule | None, operands: Operands) -> Key | None:
        """What ``op`` computes, regions aside; ``None`` if it has no results and so computes nothing."""
        types = tuple(op.results.types)
        if not types:
            return None
        try:
            attributes = tuple(op.attributes.items())
        except TypeError:
            # The bindings cannot hand out dense complex numbers. A detached copy prints in time of its own size.
            attributes = (str(op.clone(ip=False)),)
        if normal_form is not None:
            operands, attributes = normal_form(operands, attributes, types[0])
        return self.heads.setdefault((name, attributes, types), len(self.heads)), *operands

    def _key_with_regions(self, key: Key, op: Any, added: list[Key]) -> Key:
        """Regions are compared only once there are two ops equal up to them, which is rare and keeps loops cheap."""
        first = self.known.get(key)
        if first is None:
            return key
        first_key = (key, self._signature(first, {}))
        if first_key not in self.known:
            self.known[first_key] = first
            added.append(first_key)
        return (key, self._signature(op, {}))

    def _signature(self, op: Any, numbers: dict[Any, int]) -> Hashable:
        """The regions of ``op`` with every value defined inside replaced by its number in order of definition."""
        return tuple(tuple(self._block_signature(block, numbers) for block in region) for region in op.regions)

    def _block_signature(self, block: Any, numbers: dict[Any, int]) -> Hashable:
        for argument in block.arguments:
            numbers[argument] = len(numbers)
        lines: list[Hashable] = [tuple(argument.type for argument in block.arguments)]
        for view in block:
            op = view.operation
            name = op.name
            operands = tuple(numbers.get(value, value) for value in op.operands)
            key = self._key(op, name, NORMAL_FORMS.get(name), operands) or (name, operands)
            lines.append((key, self._signature(op, numbers)))
            for result in op.results:
                numbers[result] = len(numbers)
        return tuple(lines)

    def _merge(self, op: Any, leader: Any, kind: _Kind, has_regions: bool) -> None:
        self.counters.removed(op, "merged into an equal op")
        for old, new in zip(op.results, leader.results, strict=True):
            old.replace_all_uses_with(new)
        op.erase()
        self.counters.add("merged")
        if kind.statistic:
            self.counters.add(kind.statistic)
        if has_regions:
            self.counters.add("merged-region-ops")

    def _leave(self, added: list[Key]) -> None:
        """Forgets what does not dominate the ops to come; a leader then names the places of all it stands for."""
        for key in added:
            leader = self.known.pop(key)
            locations = self.merged.pop(key, None)
            if locations:
                leader.location = _mlir.ir.Location.fused([leader.location, *locations], context=leader.context)
