"""What is live: a reachability question, answered once per outermost op with slots, or once for the whole program.

A carried value may keep itself alive around a loop, alone or through others, and so may an argument of a function that
is called again with the result it leads to. So liveness is found from what is used, never from what is unused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from passes import _mlir
from passes.optimize.calls import Signature
from passes.optimize.slots import SLOTTED, SlotRule, slot_rule
from passes.program import purity
from passes.program.purity import Effect, Effects
from passes.program.walk import terminator


def live_slots(op: Any, effects: Effects, shrunk: Mapping[str, Signature]) -> dict[Any, list[int]]:
    """The live slots of ``op`` and of the slotted ops inside it.

    A result of ``op`` itself is live if it has uses; a call of one of the functions ``shrunk`` needs only the operands
    its signature keeps. Linear in the size of ``op`` (times the nesting depth, where regions have to be asked for
    effects).
    """
    graph = _Graph(effects, shrunk=shrunk)
    rule = kept_rule(op, effects)
    assert rule is not None
    graph.slotted(op, rule, graph.unit([]))
    slots = graph.found[op]
    graph.roots += [slot for slot, result in zip(slots, op.results, strict=True) if next(result.uses, None) is not None]
    return graph.live_slots(graph.reached())


class LiveProgram(NamedTuple):
    """What is live in a whole program: arguments and results of functions, and slots of ops."""

    signatures: dict[str, Signature]
    slots: dict[Any, list[int]]


def live_program(functions: dict[str, Any], changeable: set[str], effects: Effects) -> LiveProgram:
    """The live arguments and results of the functions called ``changeable``, and the live slots of all ``functions``.

    Linear in the size of the program, like `live_slots`.
    """
    graph = _Graph(effects)
    for name in changeable:
        function = functions[name]
        if len(function.regions[0].blocks) == 1:
            graph.add_signature(name, function.regions[0].blocks[0])
    for name, function in functions.items():
        graph.function(name, function)
    live = graph.reached()
    signatures = {
        name: Signature(
            [index for index, unit in enumerate(units.arguments) if unit in live],
            [index for index, unit in enumerate(units.results) if unit in live],
        )
        for name, units in graph.signatures.items()
    }
    return LiveProgram(signatures, graph.live_slots(live))


def kept_rule(op: Any, effects: Effects) -> SlotRule | None:
    """`slot_rule`, but ``None`` if an effect keeps an op that cannot do without any slot."""
    rule = slot_rule(op)
    if rule is None or rule.control_flow or effects.of(op) is not Effect.EFFECT:
        return rule
    return None


class _Units(NamedTuple):
    """The units of a function's arguments and results."""

    arguments: list[int]
    results: list[int]


@dataclass
class _Graph:
    """Units of liveness (an op, a slot, the control of a loop or branch, ...) and what each makes live in turn.

    Attributes:
      jointly: For a unit, others with which together it makes a third live.
    """

    effects: Effects
    shrunk: Mapping[str, Signature] = field(default_factory=dict)
    unit_of: dict[Any, int] = field(default_factory=dict)
    needs: list[list[int]] = field(default_factory=list)
    jointly: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    roots: list[int] = field(default_factory=list)
    found: dict[Any, list[int]] = field(default_factory=dict)
    signatures: dict[str, _Units] = field(default_factory=dict)

    def unit(self, needs: list[int]) -> int:
        self.needs.append(needs)
        return len(self.needs) - 1

    def units(self, values: Any) -> list[int]:
        """The units of ``values``; what is defined outside of the op in question has none."""
        unit_of = self.unit_of
        return [unit for value in values if (unit := unit_of.get(value)) is not None]

    def live_slots(self, live: set[int]) -> dict[Any, list[int]]:
        """The slots found that are among the ``live`` units."""
        return {
            op: [index for index, slot in enumerate(slots) if slot in live] for op, slots in self.found.items()
        }

    def add_signature(self, name: str, block: Any) -> None:
        """Adds the arguments and results of a function, so that calls seen before its body know them."""
        arguments = [self.unit([]) for _ in block.arguments]
        self.unit_of.update(zip(block.arguments, arguments, strict=True))
        self.signatures[name] = _Units(arguments, [self.unit([]) for _ in terminator(block).operands])

    def function(self, name: str, function: Any) -> None:
        """Adds the body of a function; what one returns whose results are not in question is live."""
        blocks = list(function.regions[0].blocks)
        if len(blocks) != 1:
            self._captures(function, self._root())
            return
        self.block(blocks[0], self._root())
        returned = terminator(blocks[0]).operands
        signature = self.signatures.get(name)
        if signature is None:
            self.roots += self.units(returned)
            return
        for result, value in zip(signature.results, returned, strict=True):
            self.needs[result] += self.units([value])

    def _root(self) -> int:
        self.roots.append(self.unit([]))
        return self.roots[-1]

    def slotted(self, op: Any, rule: SlotRule, outer: int) -> None:
        """Adds an op with slots; ``outer`` is the control of the op around it."""
        control = self.unit([outer])
        slots = [self.unit([control]) for _ in op.results]
        owners = {position: unit for i, unit in enumerate(slots) for position in rule.operands(i, len(slots))}
        for position, value in enumerate(op.operands):
            self.needs[owners.get(position, control)] += self.units([value])
        owners = {position: unit for i, unit in enumerate(slots) for position in rule.arguments(i, len(slots))}
        for index, region in enumerate(op.regions):
            block = region.blocks[0]
            self.unit_of.update((argument, owners[position]) for position, argument in enumerate(block.arguments))
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
            name = op.name
            if name in purity.PLAIN and name not in SLOTTED and not len(op.regions):
                self._plain(op, control)
                continue
            rule = kept_rule(op, self.effects)
            if rule is not None:
                self.slotted(op, rule, control)
            elif name == "func.call":
                self._call(op, control)
            else:
                self._whole(op, op.operands, control)

    def _plain(self, op: Any, control: int) -> None:
        """Adds what nearly all ops are: without regions and pure by their name."""
        unit = self.unit([*self.units(op.operands), control])
        for result in op.results:
            self.unit_of[result] = unit

    def _call(self, op: Any, control: int) -> None:
        callee = purity.callees(op)[0]
        units = self.signatures.get(callee)
        if units is not None:
            self._site(op, units, control)
            return
        shrunk = self.shrunk.get(callee)
        self._whole(op, op.operands if shrunk is None else [op.operands[i] for i in shrunk.arguments], control)

    def _site(self, op: Any, callee: _Units, control: int) -> None:
        """Adds a call: it needs an operand if both the call itself and the callee's argument are live."""
        executed = self.unit([control])
        if self.effects.of(op) is Effect.EFFECT:
            self.roots.append(executed)
        for argument, operand in zip(callee.arguments, op.operands, strict=True):
            for unit in self.units([operand]):
                self.jointly.setdefault(argument, []).append((executed, unit))
                self.jointly.setdefault(executed, []).append((argument, unit))
        for result, value in zip(callee.results, op.results, strict=True):
            self.unit_of[value] = self.unit([executed, result])

    def _whole(self, op: Any, operands: Any, control: int) -> None:
        """Adds an op whose results live and die together with all it uses, inside its regions too."""
        inputs = self.units(operands)
        unit = self.unit([*inputs, control])
        effect = self.effects.of(op)
        if effect is Effect.EFFECT:
            self.roots.append(unit)
        elif effect is Effect.ANNOTATION:
            for operand in inputs:
                self.needs[operand].append(unit)
        if len(op.regions):
            self._captures(op, unit)
        for result in op.results:
            self.unit_of[result] = unit

    def _captures(self, op: Any, unit: int) -> None:
        def look(inner: Any) -> Any:
            self.needs[unit] += self.units(inner.operands)
            if inner.name == "func.call":
                callee = self.signatures.get(purity.callees(inner.operation)[0])
                if callee is not None:
                    self.needs[unit] += callee.results
            return _mlir.ir.WalkResult.ADVANCE

        op.walk(look)

    def reached(self) -> set[int]:
        live = set(self.roots)
        waiting = list(live)
        while waiting:
            unit = waiting.pop()
            joint = [third for other, third in self.jointly.get(unit, ()) if other in live]
            for needed in (*self.needs[unit], *joint):
                if needed not in live:
                    live.add(needed)
                    waiting.append(needed)
        return live
