"""Finds the slots of loops and branches that hold equal values: carried values that start equal and stay equal, and
results that every branch yields equally.

Whether two carried values stay equal depends on whether they, and others, are equal to begin with. So all slots of a
loop are first taken to be equal; numbering the values of the loop under that assumption tells which are not, and is
repeated until it contradicts the assumption no more. What is then still taken to be equal is equal, by induction over
the turns of the loop. Loops inside loops are numbered together with the outermost one.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from passes import _mlir
from passes.optimize import slots
from passes.optimize.normal_form import NORMAL_FORMS, Rule
from passes.optimize.structure import attributes_of
from passes.program import purity
from passes.program.purity import Effect, Effects
from passes.program.walk import terminator

Groups = dict[Any, frozenset[int]]

# In a loop that hands its values on from slot to slot, each round finds one slot different. A loop not done by then is
# taken to have no equal slots, which keeps the time linear.
_MOST_ROUNDS = 50


# Ops with slots of one value each -> whether they carry it, so that a slot has an operand and block arguments, too.
CARRIES = {"stablehlo.while": True, "stablehlo.case": False, "stablehlo.if": False}


def carries(op: Any) -> bool | None:
    """Whether the slots of ``op`` are carried; ``None`` if it has none, or attributes that might count its results."""
    return CARRIES[op.name] if op.name in CARRIES and slots.slot_rule(op) is not None else None


def may_hold_equal(op: Any) -> bool:
    """Whether two slots of ``op`` look equal: they start with one value and are computed by ops of one name."""
    is_loop = carries(op)
    if is_loop is None or len(op.results) < 2:
        return False
    yielded = [list(terminator(region.blocks[0]).operands) for region in list(op.regions)[is_loop:]]
    seen = set()
    for slot in range(len(op.results)):
        ends = tuple(_producer(values[slot]) for values in yielded)
        look: Hashable = (op.operands[slot], ends) if is_loop else (op.results[slot].type, ends)
        if look in seen:
            return True
        seen.add(look)
    return False


def _producer(value: Any) -> str | None:
    owner = value.owner
    return None if isinstance(owner, _mlir.ir.Block) else str(owner.operation.name)


def merge_equal_slots(op: Any, effects: Effects, groups: Groups) -> tuple[int, int]:
    """Replaces what slots hold by what the first slot equal to them holds, in ``op`` and the ops with slots inside it.

    The slots themselves stay; nothing uses them any more. Returns how many carried values and how many results of
    branches were replaced.
    """
    loops = branches = 0
    for slotted, equal in equal_slots(op, effects, groups):
        is_loop = CARRIES[slotted.name]
        places = [slotted.results, *(region.blocks[0].arguments for region in slotted.regions if is_loop)]
        for slot, first in enumerate(equal):
            if slot != first and sum(_replace(values[slot], values[first]) for values in places):
                loops, branches = loops + is_loop, branches + (not is_loop)
    return loops, branches


def _replace(old: Any, new: Any) -> bool:
    if next(old.uses, None) is None:
        return False
    old.replace_all_uses_with(new)
    return True


def equal_slots(op: Any, effects: Effects, groups: Groups) -> list[tuple[Any, list[int]]]:
    """For each op with slots in and including ``op``: which slot every slot is equal to, the first or itself.

    Linear in the size of ``op`` for each time the assumption has to be given up for some slots, of which there are few.
    """
    reader = _Reader(effects, groups)
    root = reader.read(op)
    for rounds in count():
        numbering = _Numbering()
        numbering.visit(root, 0)
        if not sum(slotted.split(numbering.carried[id(slotted)], rounds < _MOST_ROUNDS) for slotted in reader.carrying):
            break
    return [(slotted.op, slotted.classes or _first_of(numbering.results[id(slotted)])) for slotted in reader.slotted]


@dataclass(eq=False)
class _Op:
    """An op as `_Numbering` needs it, read once.

    Attributes:
      head: Its name, attributes and result types.
      separate: It has an effect or is never equal to another op; so its results are equal to themselves only.
      carries: See `carries`.
      slots: What is known of each slot besides its values, if it has slots: slots that differ here are never equal.
      classes: The slot each carried value is taken to be equal to.
    """

    op: Any
    name: str
    attributes: Any
    types: tuple[Any, ...]
    normal_form: Rule | None
    operands: tuple[Any, ...]
    results: list[Any]
    separate: bool
    regions: list[_Block]
    carries: bool | None
    slots: list[Hashable]
    classes: list[int] = field(default_factory=list)

    def split(self, carried: list[tuple[Hashable, ...]], is_patient: bool) -> bool:
        """Takes slots whose values were numbered differently for different; returns whether any were.

        If not ``is_patient``, takes all slots for different when any are.
        """
        before = self.classes
        self.classes = _first_of(list(zip(before, carried, strict=True)))
        is_split = self.classes != before
        if is_split and not is_patient:
            self.classes = list(range(len(before)))
        return is_split


@dataclass(eq=False)
class _Block:
    arguments: list[Any]
    ops: list[_Op]
    yields: tuple[Any, ...]


def _first_of(keys: list[Any]) -> list[int]:
    """For each of ``keys`` the position of the first one equal to it."""
    first: dict[Any, int] = {}
    return [first.setdefault(key, index) for index, key in enumerate(keys)]


@dataclass
class _Reader:
    effects: Effects
    groups: Groups
    slotted: list[_Op] = field(default_factory=list)

    @property
    def carrying(self) -> list[_Op]:
        return [op for op in self.slotted if op.carries]

    def read(self, op: Any) -> _Op:
        name = op.name
        effect = purity.rule(name) if name in purity.REGIONLESS else self.effects.of(op)
        results = list(op.results)
        is_loop = carries(op)
        found = _Op(
            op=op,
            name=name,
            attributes=attributes_of(op),
            types=tuple(op.results.types),
            normal_form=NORMAL_FORMS.get(name),
            operands=tuple(op.operands),
            results=results,
            separate=effect in (Effect.UNIQUE, Effect.EFFECT),
            regions=[self._block(block) for region in op.regions for block in region],
            carries=is_loop,
            slots=[] if is_loop is None else self._slots(op, is_loop),
        )
        if is_loop is not None:
            self.slotted.append(found)
            found.classes = _first_of(found.slots) if is_loop else []
        return found

    def _block(self, block: Any) -> _Block:
        operations = [view.operation for view in block]
        yields = tuple(value for op in operations[-1:] for value in op.operands)
        return _Block(list(block.arguments), [self.read(op) for op in operations[:-1]], yields)

    def _slots(self, op: Any, is_loop: bool) -> list[Hashable]:
        shardings = [None] * len(op.results)
        if "sdy.sharding" in op.attributes:
            shardings = list(_mlir.sdy.TensorShardingPerValueAttr(op.attributes["sdy.sharding"]).shardings)
        arguments = [region.blocks[0].arguments for region in op.regions] if is_loop else []
        return [
            (result.type, sharding, *(self.groups.get(value) for value in (result, *(a[slot] for a in arguments))))
            for slot, (result, sharding) in enumerate(zip(op.results, shardings, strict=True))
        ]


@dataclass
class _Numbering:
    """Numbers values so that those with one number are equal, if the slots taken to be equal are.

    A value from outside stands for itself. Block arguments are numbered by the depth of the op they belong to, for what
    a region computes does not depend on its names; an op with a region is numbered with its depth, because what its
    region takes from outside could be an argument of the same number.
    """

    numbers: dict[Hashable, int] = field(default_factory=dict)
    values: dict[Any, int] = field(default_factory=dict)
    carried: dict[int, list[tuple[Hashable, ...]]] = field(default_factory=dict)
    results: dict[int, list[Hashable]] = field(default_factory=dict)

    def number(self, key: Hashable) -> int:
        return self.numbers.setdefault(key, len(self.numbers))

    def of(self, values: Any) -> tuple[Hashable, ...]:
        return tuple(self.values.get(value, value) for value in values)

    def visit(self, op: _Op, depth: int) -> None:
        operands = self.of(op.operands)
        if op.carries is not None:
            results = self._loop(op, operands, depth) if op.carries else self._branch(op, operands, depth)
            self.results[id(op)] = results
        else:
            results = self._whole(op, operands, depth)
        self.values.update(zip(op.results, map(self.number, results), strict=True))

    def _whole(self, op: _Op, operands: tuple[Hashable, ...], depth: int) -> list[Hashable]:
        attributes: Hashable = op.attributes
        if op.normal_form is not None:
            operands, attributes = op.normal_form(operands, op.attributes, op.types[0])
        inside = [self._region(block, position, depth) for position, block in enumerate(op.regions)]
        key = self.number(id(op) if op.separate else (op.name, attributes, op.types, operands, (depth, *inside)
                          if inside else ()))
        return [(key, index) for index in range(len(op.results))]

    def _region(self, block: _Block, position: int, depth: int) -> Hashable:
        for index, argument in enumerate(block.arguments):
            self.values[argument] = self.number(("argument", depth, position, index, argument.type))
        self._ops(block, depth + 1)
        return len(block.arguments), self.of(block.yields)

    def _ops(self, block: _Block, depth: int) -> None:
        for op in block.ops:
            self.visit(op, depth)

    def _loop(self, op: _Op, operands: tuple[Hashable, ...], depth: int) -> list[Hashable]:
        for block in op.regions:
            for argument, first in zip(block.arguments, op.classes, strict=True):
                self.values[argument] = self.number(("argument", depth, 0, first, argument.type))
            self._ops(block, depth + 1)
        condition, body = (self.of(block.yields) for block in op.regions)
        self.carried[id(op)] = list(zip(operands, body, strict=True))
        key = self.number(id(op) if op.separate else (op.name, tuple(op.slots), tuple(op.classes), operands, condition,
                                                      body, depth))
        return [(key, first) for first in op.classes]

    def _branch(self, op: _Op, operands: tuple[Hashable, ...], depth: int) -> list[Hashable]:
        """A result is what the branches yield, chosen by the operand, whatever else the branches do."""
        for block in op.regions:
            self._ops(block, depth)
        yields = [self.of(block.yields) for block in op.regions]
        return [(op.name, operands, slot, ends) for slot, ends in zip(op.slots, zip(*yields, strict=True), strict=True)]
