"""Merges ops that compute the same value: dominance-scoped value numbering over the whole program.

Beyond upstream's pass it sees commuted operands and mirrored compares, calls of pure functions, collectives that differ
in their channel id only, sharding constraints, private functions that are equal, and slots of loops and branches that
hold equal values. Ops that differ in any attribute (a sharding, a frontend attribute) or whose results are in different
sharding groups stay apart, and so does what was put there to be apart: barriers, random numbers, whatever a token
orders.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal

from passes import _mlir
from passes.optimize import equal_slots
from passes.optimize.duplicate_functions import DuplicateFunctions
from passes.optimize.normal_form import COMMUTED, NORMAL_FORMS, Rule
from passes.optimize.sharding_groups import sharding_groups
from passes.optimize.structure import Key, Structure
from passes.pipeline.base import Counters, Pass, Statistic, option
from passes.pipeline.collection import uncollected
from passes.program import purity
from passes.program.annotated import is_annotated
from passes.program.purity import Effect, Effects
from passes.program.walk import operations


@dataclass(frozen=True)
class Cse(Pass):
    """See the module's docstring."""

    name: ClassVar[str] = "cse"
    summary: ClassVar[str] = "Merge ops that compute the same value, equal functions, equal slots of loops and branches"
    statistics: ClassVar[tuple[Statistic, ...]] = (
        Statistic("merged", "ops merged into an equal one"),
        Statistic("merged-calls", "of these, calls of functions, composites and custom calls"),
        Statistic("merged-collectives", "of these, collectives"),
        Statistic("merged-region-ops", "of these, ops with regions"),
        Statistic("merged-functions", "private functions merged into an equal one"),
        Statistic("merged-carries", "values carried through a loop that were replaced by an equal one"),
        Statistic("merged-results", "results of branches that were replaced by an equal one"),
    )
    before: ClassVar[str] = """\
func.func @main(%arg0: tensor<4xf32>, %arg1: tensor<4xf32>) -> tensor<4xf32> {
  %0 = stablehlo.add %arg0, %arg1 : tensor<4xf32>
  %1 = stablehlo.add %arg1, %arg0 : tensor<4xf32>
  %2 = call @square(%0) : (tensor<4xf32>) -> tensor<4xf32>
  %3 = call @square_0(%1) : (tensor<4xf32>) -> tensor<4xf32>
  %4 = stablehlo.subtract %2, %3 : tensor<4xf32>
  return %4 : tensor<4xf32>
}
func.func private @square(%arg0: tensor<4xf32>) -> tensor<4xf32> {
  %0 = stablehlo.multiply %arg0, %arg0 : tensor<4xf32>
  return %0 : tensor<4xf32>
}
func.func private @square_0(%arg0: tensor<4xf32>) -> tensor<4xf32> {
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

    sunk_constants: Literal["auto", "keep", "merge"] = option(
        "auto",
        "what to do with a constant, an iota or a scalar's broadcast inside a loop or branch that equals one outside: "
        "merge it, which makes it a captured value, or keep it where it is, so that its sharding is not tied to the "
        "one outside; auto keeps it in a module with meshes or shardings",
    )

    def run(self, module: Any, counters: Counters) -> None:
        """Merges in place; the surviving op is the first one, and its location names all it stands for."""
        structure = Structure()
        functions, groups = DuplicateFunctions.of(module, structure), sharding_groups(module)
        numbering = _Numbering(module, Effects(module), counters, structure, groups, self.sunk_constants)
        with uncollected():
            for function in functions.in_order():
                numbering.regions(function)
                functions.compare(function)
        _merge_functions(functions, counters)


def _merge_functions(functions: DuplicateFunctions, counters: Counters) -> None:
    """Removes the functions that others stand for; nothing calls them any more."""
    locations = defaultdict(list)
    for name, same in functions.replaced.items():
        function = functions.functions[name]
        locations[same].append(_locations(function))
        counters.removed(function, f"merged into the equal function @{same}")
        counters.add("merged-functions")
        function.erase()
    for name, others in locations.items():
        _fuse(functions.functions[name], others)


@dataclass(frozen=True)
class _Kind:
    """What is the same for all ops of one name.

    Attributes:
      plain: The op's effect does not depend on what it calls or contains.
      regionless: It has no regions.
      terminator: It hands values on and computes none.
      normal_form: See `passes.optimize.normal_form`.
      commuted: Whether that may have the operands in another order.
      statistic: What merges are counted as, besides ``merged``.
    """

    plain: bool
    regionless: bool
    terminator: bool
    normal_form: Rule | None
    commuted: bool
    statistic: str | None


# Before it propagates, Shardy gives each consumer its own copy of a constant, an iota and a scalar's broadcast. So that
# the copies in one block are merged here ties nothing together; but it does not move them into the consumer's region.
_BROADCASTS = frozenset({"stablehlo.broadcast_in_dim", "stablehlo.broadcast"})


def _kind(name: str) -> _Kind | None:
    """The facts about ops called ``name``; ``None`` if they are left alone, regions and all."""
    rule = purity.rule(name)
    if rule is Effect.EFFECT:
        return None
    plain = rule in (Effect.PURE, Effect.ANNOTATION) and name not in purity.CALLEE_ATTRIBUTES
    statistic = "merged-calls" if name in purity.CALLEE_ATTRIBUTES else None
    if name in purity.COLLECTIVES:
        statistic = "merged-collectives"
    return _Kind(
        plain, name in purity.REGIONLESS, name.endswith(".return"), NORMAL_FORMS.get(name), name in COMMUTED, statistic
    )


@dataclass
class _Numbering:
    """One walk over a function.

    Attributes:
      groups: The sharding groups of values.
      known: What is computed above the current op, by its key: the op that computes it.
      merged: The locations of the ops merged into the one with a key.
      merged_inside: The same for the ops inside, if the op has regions.
      depth: How many regions lie between the current op and the values it cannot see.
      scopes: The number of blocks seen.
      in_slotted: Whether the current op is inside a loop or branch.
      may_hold_equal: Whether a loop or branch since the last outermost one looked as if two of its slots were equal.
    """

    module: Any
    effects: Effects
    counters: Counters
    structure: Structure
    groups: dict[Any, frozenset[int]]
    sunk_constants: str
    known: dict[Key, Any] = field(default_factory=dict)
    merged: dict[Key, list[Any]] = field(default_factory=dict)
    merged_inside: dict[Key, list[list[Any]]] = field(default_factory=dict)
    kinds: dict[str, _Kind | None] = field(default_factory=dict)
    depth: int = 0
    scopes: int = 0
    in_slotted: bool = False
    may_hold_equal: bool = False

    @cached_property
    def keeps_sunk_constants(self) -> bool:
        return is_annotated(self.module) if self.sunk_constants == "auto" else self.sunk_constants == "keep"

    def regions(self, op: Any) -> list[Effect]:
        """Merges inside the regions of ``op``; returns the effects found there that are not `Effect.PURE`."""
        known, depth = self.known, self.depth
        if op.name in purity.CAPTURING:
            self.depth += 1
        else:
            self.known, self.depth = {}, 0
        inside = [effect for region in op.regions for block in region for effect in self._block(block)]
        self.known, self.depth = known, depth
        return inside

    def _slotted(self, op: Any) -> list[Effect]:
        """`regions` for a loop or branch; slots are compared at the outermost one, when all inside it is merged."""
        is_outermost, self.in_slotted = not self.in_slotted, True
        inside = self.regions(op)
        self.may_hold_equal = self.may_hold_equal or equal_slots.may_hold_equal(op)
        if is_outermost:
            if self.may_hold_equal:
                carries, results = equal_slots.merge_equal_slots(op, self.effects, self.groups)
                self.counters.add("merged-carries", carries)
                self.counters.add("merged-results", results)
                if carries or results:
                    inside = self.regions(op)
            self.in_slotted = self.may_hold_equal = False
        return inside

    def _block(self, block: Any) -> list[Effect]:
        impure: list[Effect] = []
        added: list[Key] = []
        self.scopes += 1
        scope = self.scopes
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
            if kind.terminator:
                continue
            has_regions = not kind.regionless and len(op.regions) > 0
            if has_regions or not kind.plain:
                inside = self._slotted(op) if name in equal_slots.CARRIES else self.regions(op)
                effect = self.effects.with_regions(op, inside)
                if effect is not Effect.PURE:
                    impure.append(effect)
                if effect in (Effect.UNIQUE, Effect.EFFECT):
                    continue
            operands: tuple[Any, ...] = tuple(op.operands)
            place: tuple[int, ...] = ()
            if self.depth and (not operands or name in _BROADCASTS) and self._stays_in_its_block(operands):
                place = (scope,)
            if operands and not has_regions and self._is_first(op, name, kind, operands, place, added):
                continue
            operands = (*operands, *place)
            key = self.structure.key(op, name, kind.normal_form, operands)
            if self.groups:
                key = (*key, tuple(self.groups.get(result) for result in op.results))
            if has_regions:
                key = self._key_with_regions(key, op, added)
            leader = self.known.get(key)
            if leader is None:
                self.known[key] = op
                added.append(key)
            else:
                self._merge(op, leader, key, kind, has_regions)
        self._leave(added)
        return impure

    def _is_first(
        self, op: Any, name: str, kind: _Kind, operands: tuple[Any, ...], place: tuple[int, ...], added: list[Key]
    ) -> bool:
        """Whether no op of that name with these operands was seen; most are the only one, and need no key yet.

        At the second one, the first one gets its key.
        """
        if self.groups:
            return False
        if kind.commuted and hash(operands[0]) > hash(operands[-1]):
            operands = operands[::-1]
        rough = (name, *operands, *place)
        first = self.known.get(rough)
        if first is None:
            self.known[rough] = op
            added.append(rough)
            return True
        if (rough, "compared") not in self.known:
            key = self.structure.key(first, name, kind.normal_form, (*first.operands, *place))
            self.known |= {(rough, "compared"): first, key: first}
            added += [(rough, "compared"), key]
        return False

    def _stays_in_its_block(self, operands: tuple[Any, ...]) -> bool:
        """Whether an op without operands, or a broadcast, is not to be merged with one outside its region."""
        return self.keeps_sunk_constants and not (operands and _mlir.ir.ShapedType(operands[0].type).rank)

    def _key_with_regions(self, key: Key, op: Any, added: list[Key]) -> Key:
        """Regions are compared only once there are two ops equal up to them, which is rare and keeps loops cheap."""
        first = self.known.get(key)
        if first is None:
            return key
        compared = (key, "compared")
        if compared not in self.known:
            first_key = (key, self.structure.regions(first, {}))
            self.known |= {compared: first, first_key: first}
            added += [compared, first_key]
        return (key, self.structure.regions(op, {}))

    def _merge(self, op: Any, leader: Any, key: Key, kind: _Kind, has_regions: bool) -> None:
        self.merged.setdefault(key, []).append(op.location)
        if has_regions:
            self.merged_inside.setdefault(key, []).append(_locations(op))
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
        if not self.depth:
            # All that is known is from this block, and most of it stands for nothing else.
            for key in list(self.merged):
                self._name_all(self.known[key], key)
            self.known.clear()
            return
        for key in added:
            leader = self.known.pop(key)
            if key in self.merged:
                self._name_all(leader, key)

    def _name_all(self, leader: Any, key: Key) -> None:
        """Gives ``leader`` the places of the ops merged into it under ``key``."""
        locations = self.merged.pop(key)
        leader.location = _mlir.ir.Location.fused([leader.location, *locations], context=leader.context)
        if key in self.merged_inside:
            _fuse(leader, self.merged_inside.pop(key))


def _locations(op: Any) -> list[Any]:
    """The locations of ``op`` and of the ops inside it."""
    return [inner.location for inner in operations(op)]


def _fuse(op: Any, others: list[list[Any]]) -> None:
    """Makes the locations of ``op``, and of the ops inside it, name those of the ``others`` that became one with it."""
    for inner, locations in zip(operations(op), zip(*others, strict=True), strict=True):
        inner.location = _mlir.ir.Location.fused([inner.location, *locations], context=op.context)
