"""Which slots of loops and branches are live: a reachability question, answered once per outermost op.

A *slot* of a ``while`` is one carried value (operand, block arguments, yielded value, result); a slot of a ``case`` or
``if`` is one result with what each branch yields for it. A carried value may keep itself alive around the loop, alone
or through others, so liveness is found from what is used, never from what is unused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from passes import _mlir
from passes.program.purity import Effect, Effects


@dataclass(frozen=True)
class SlotRule:
    """Where the slots of an op are.

    Attributes:
      carried: The operands and the block arguments are slots too; region 0 decides whether to go on.
      yielding: Index of the first region whose terminator yields the slots; all later ones do as well.
    """

    carried: bool
    yielding: int


SLOTTED = {
    "stablehlo.while": SlotRule(carried=True, yielding=1),
    "stablehlo.case": SlotRule(carried=False, yielding=0),
    "stablehlo.if": SlotRule(carried=False, yielding=0),
}

# Attributes of a slotted op that are known to survive, or to be split by, the loss of a slot.
SLOT_ATTRIBUTES = frozenset({"sdy.sharding"})


def slot_rule(op: Any) -> SlotRule | None:
    """The slots of ``op``; ``None`` if it has none or carries an attribute that might count its results."""
    rule = SLOTTED.get(op.name)
    return rule if rule is not None and all(key in SLOT_ATTRIBUTES for key in op.attributes) else None


def terminator(block: Any) -> Any:
    """The last operation of ``block``."""
    operations = block.operations
    return operations[len(operations) - 1].operation


def live_slots(op: Any, effects: Effects) -> dict[Any, list[int]]:
    """The live slots of ``op`` and of the slotted ops inside it.

    A result of ``op`` itself is live if it has uses. Linear in the size of ``op`` (times the nesting depth, where
    regions have to be asked for effects).
    """
    graph = _Graph(effects)
    graph.slotted(op, slot_rule(op), None)
    slots = graph.found[op]
    graph.roots += [slot for slot, result in zip(slots, op.results, strict=True) if next(result.uses, None) is not None]
    live = graph.reached()
    return {
        inner: [index for index, slot in enumerate(slots) if slot in live] for inner, slots in graph.found.items()
    }


@dataclass
class _Graph:
    """Units of liveness (an op, a slot, the control of a loop or branch) and what each makes live in turn."""

    effects: Effects
    unit_of: dict[Any, int] = field(default_factory=dict)
    needs: list[list[int]] = field(default_factory=list)
    roots: list[int] = field(default_factory=list)
    found: dict[Any, list[int]] = field(default_factory=dict)

    def unit(self, needs: list[int]) -> int:
        self.needs.append(needs)
        return len(self.needs) - 1

    def units(self, values: Any) -> list[int]:
        """The units of ``values``; what is defined outside of the op in question has none."""
        return [self.unit_of[value] for value in values if value in self.unit_of]

    def slotted(self, op: Any, rule: SlotRule | None, outer: int | None) -> None:
        """Adds an op with slots; ``outer`` is the control of the op around it."""
        assert rule is not None
        control = self.unit([] if outer is None else [outer])
        inputs = list(op.operands)
        slots = [self.unit([control]) for _ in op.results]
        if rule.carried:
            for slot, value in zip(slots, inputs, strict=True):
                self.needs[slot] += self.units([value])
        else:
            self.needs[control] += self.units(inputs)
        for index, region in enumerate(op.regions):
            block = region.blocks[0]
            if rule.carried:
                self.unit_of.update(zip(block.arguments, slots, strict=True))
            self.block(block, control)
            self._yields(terminator(block), slots, control, index >= rule.yielding)
        self.unit_of.update(zip(op.results, slots, strict=True))
        self.found[op] = slots

    def _yields(self, end: Any, slots: list[int], control: int, is_slots: bool) -> None:
        for index, value in enumerate(end.operands):
            self.needs[slots[index] if is_slots else control] += self.units([value])

    def block(self, block: Any, control: int) -> None:
        operations = list(block)
        for view in operations[:-1]:
            op = view.operation
            rule = slot_rule(op)
            if rule is not None:
                self.slotted(op, rule, control)
            else:
                self._whole(op, control)

    def _whole(self, op: Any, control: int) -> None:
        """Adds an op whose results live and die together with all it uses, inside its regions too."""
        operands = self.units(op.operands)
        unit = self.unit(list(operands))
        effect = self.effects.of(op)
        if effect is Effect.EFFECT:
            self.roots.append(unit)
        elif effect is Effect.ANNOTATION:
            for operand in operands:
                self.needs[operand].append(unit)
        self.needs[unit].append(control)
        if len(op.regions):
            self._captures(op, unit)
        for result in op.results:
            self.unit_of[result] = unit

    def _captures(self, op: Any, unit: int) -> None:
        def look(inner: Any) -> Any:
            self.needs[unit] += self.units(inner.operands)
            return _mlir.ir.WalkResult.ADVANCE

        op.walk(look)

    def reached(self) -> set[int]:
        live = set(self.roots)
        waiting = list(live)
        while waiting:
            for unit in self.needs[waiting.pop()]:
                if unit not in live:
                    live.add(unit)
                    waiting.append(unit)
        return live


def drop_slots(
    op: Any, kept: list[int], sweep: Callable[[Any], None], release: Callable[[Any], None]
) -> None:
    """Replaces ``op`` by one with the ``kept`` slots only.

    ``sweep(region)`` is called for each region once its terminator yields the kept slots; it removes what that leaves
    unused. ``release(value)`` is called before a dead value goes and removes what may still refer to it.
    """
    rule = slot_rule(op)
    assert rule is not None
    operands = [op.operands[i] for i in kept] if rule.carried else list(op.operands)
    new = _mlir.ir.Operation.create(
        op.name,
        results=[op.results[i].type for i in kept],
        operands=operands,
        attributes=_kept_attributes(op, kept),
        regions=len(op.regions),
        loc=op.location,
        ip=_mlir.ir.InsertionPoint(op),
    )
    for index, region in enumerate(new.regions):
        op.regions[index].blocks[0].append_to(region)
        if index >= rule.yielding:
            _yield_only(terminator(region.blocks[0]), kept)
        sweep(region)
        if rule.carried:
            _keep_arguments(region.blocks[0], set(kept), release)
    for index in set(range(len(op.results))).difference(kept):
        release(op.results[index])
        _check_unused(op.results[index])
    for position, index in enumerate(kept):
        op.results[index].replace_all_uses_with(new.results[position])
    op.erase()


def _yield_only(end: Any, kept: list[int]) -> None:
    _mlir.ir.Operation.create(
        end.name, operands=[end.operands[i] for i in kept], loc=end.location, ip=_mlir.ir.InsertionPoint(end)
    )
    end.erase()


def _keep_arguments(block: Any, kept: set[int], release: Callable[[Any], None]) -> None:
    for index in reversed(range(len(block.arguments))):
        if index not in kept:
            release(block.arguments[index])
            _check_unused(block.arguments[index])
            block.erase_argument(index)


def _check_unused(value: Any) -> None:
    """Erasing what is still used corrupts memory without a word; better to stop on a wrong liveness."""
    if next(value.uses, None) is not None:
        raise AssertionError(f"a value is taken for dead but used: {value.type}")


def _kept_attributes(op: Any, kept: list[int]) -> dict[str, Any]:
    attributes = {key: op.attributes[key] for key in op.attributes}
    if "sdy.sharding" in attributes:
        shardings = list(_mlir.sdy.TensorShardingPerValueAttr(attributes.pop("sdy.sharding")).shardings)
        if kept:
            attributes["sdy.sharding"] = _mlir.sdy.TensorShardingPerValueAttr.get(
                [shardings[i] for i in kept], context=op.context
            )
    return attributes
