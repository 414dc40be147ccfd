"""Which dimensions that their axes do not divide get padded, and which are left whole.

Dimensions that one factor runs through (`padded_ops`) are chosen together and get one padded size, a multiple of every
number of shards among them. Users' own constraints are always kept. What propagation did is kept if the work it takes
off each device outweighs the data that has to move where something needs the true size.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from passes import _mlir
from passes.partition.padded_ops import Masks, paddable, rule_of
from passes.partition.shardings import MANUAL, ShardingMap
from passes.program import entry
from passes.program.types import byte_size
from passes.program.walk import terminator
from passes.sharding.flow import BRANCHES
from passes.sharding.sharding_rule import Rule

# A dimension of a value; the results of the entry function, which are no values, go by ("result", index).
Slot = tuple[Any, int]

# Reading or writing a byte of memory is the unit of cost. Moving one to another device, and FLOPs, on accelerators of
# the last years: 1-3 TB/s of memory, 50-200 GB/s between devices, 100-1000 TFLOP/s.
LINK = 16
FLOPS = 100
# Padding that makes a dimension larger than this many times its size is not worth it.
_WASTE = 2

LOOP = "stablehlo.while"
BARRIER = "stablehlo.optimization_barrier"
_STATED = frozenset({"sdy.reshard", "sdy.sharding_constraint"})


@dataclass(frozen=True)
class Group:
    """Dimensions of an op's operands and results that have one size: those of a factor, or of a loop's carry.

    Attributes:
      number: The factor; where there is none, what tells the op's groups apart.
      masks: What has to be masked if it is padded.
    """

    number: Any
    inputs: tuple[Slot, ...]
    outputs: tuple[Slot, ...]
    masks: Masks = field(default_factory=dict)

    @property
    def slots(self) -> tuple[Slot, ...]:
        return (*self.inputs, *self.outputs)


_NO_RULE = Rule((), (), ())


@dataclass(frozen=True)
class View:
    """An op with the groups of its dimensions that can be padded; everything else about it needs true sizes."""

    op: Any
    groups: tuple[Group, ...]
    rule: Rule = _NO_RULE

    @cached_property
    def at(self) -> dict[Slot, list[Group]]:
        """The groups of each slot; several, if a value is more than one operand."""
        found: dict[Slot, list[Group]] = {}
        for group in self.groups:
            for slot in dict.fromkeys(group.slots):
                found.setdefault(slot, []).append(group)
        return found


@dataclass(frozen=True)
class Choice:
    """Dimensions of one size that go together.

    Attributes:
      size: Their true size.
      padded: The size they get; equal to ``size`` if they stay whole.
      shards: Into how many shards they are cut at most.
      tensors: How many values are among them.
      reason: Why they stay whole.
    """

    size: int
    padded: int
    shards: int
    tensors: int
    reason: str = ""

    def __str__(self) -> str:
        them = "1 tensor" if self.tensors == 1 else f"{self.tensors} tensors"
        if self.padded == self.size:
            return f"not padded: dimension of {self.size} for {self.shards} shards, in {them}: {self.reason}"
        return f"padded: dimension of {self.size} to {self.padded} for {self.shards} shards, in {them}"


def merged(choices: list[Choice]) -> tuple[Choice, ...]:
    """``choices`` with those put together that differ in nothing but where they are."""
    tensors: dict[Choice, int] = {}
    for choice in choices:
        bare = replace(choice, tensors=0)
        tensors[bare] = tensors.get(bare, 0) + choice.tensors
    return tuple(replace(choice, tensors=count) for choice, count in tensors.items())


@dataclass
class Chooser:
    """Finds what to pad in the function ``function``, whose values lie as ``shardings`` say.

    Attributes:
      signature: Whether arguments and results may be padded.
      always: Whether to pad whatever does not divide, at any cost.
      stated: Arguments (``("argument", index)``) and results whose shardings users gave.
      sizes: Slot -> padded size, for each slot that gets one.
      choices: What was chosen, for the report.
    """

    function: Any
    shardings: ShardingMap
    signature: bool
    always: bool
    stated: frozenset[tuple[str, int]] = frozenset()
    sizes: dict[Slot, int] = field(default_factory=dict)
    choices: list[Choice] = field(default_factory=list)
    _views: dict[Any, View] = field(default_factory=dict)
    _seeds: list[Slot] = field(default_factory=list)
    # Type and sharding -> the dimensions that do not divide.
    _indivisible_of: dict[tuple[Any, Any], tuple[int, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        block = self.function.regions[0].blocks[0]
        self._arguments = {a: i for i, a in enumerate(block.arguments)}
        self._return = terminator(block)
        count = len(self._return.operands)
        self._results = entry.value_attribute(self.function, "res_attrs", "sdy.sharding", count)
        self._seeds = list(self._indivisible())

    def is_needed(self) -> bool:
        """Whether any dimension does not divide, and what becomes of it depends on what goes together with it.

        Else fills `choices`: it stays whole where there are so few elements for the shards that nothing can be saved.
        """
        reasons = [self._objection_by_size(slot) for slot in self._seeds]
        if self.always or not all(reasons) or any(map(self._is_stated, self._seeds)):
            return bool(self._seeds)
        for (value, dim), reason in zip(self._seeds, reasons, strict=True):
            size = self._shape(value)[dim]
            self.choices.append(Choice(size, size, self.shards((value, dim)), 1, reason))
        return False

    def known(self, op: Any) -> View | None:
        """The groups of ``op``, if it has to do with what does not divide."""
        return self._views.get(_key(op))

    def choose(self) -> None:
        """Fills `sizes` and `choices`."""
        seen: set[Slot] = set()
        for slot in self._seeds:
            if slot not in seen:
                component, views = self._component(slot)
                seen.update(component)
                self._decide(component, views)

    # -- dimensions that go together ---------------------------------------------------------------------------------

    def _indivisible(self) -> Iterator[Slot]:
        """Every dimension that its axes do not divide, in program order."""
        if self.signature:
            for value in self._arguments:
                yield from self._indivisible_dims(value)
        for value, attr in self.shardings.items():
            if self._dims(value.type, attr) and self._is_result(value):
                yield from self._indivisible_dims(value)
        if self.signature:
            for index in range(len(self._results)):
                yield from self._indivisible_dims(("result", index))

    @staticmethod
    def _is_result(value: Any) -> bool:
        """Whether an op of the program makes the value; what manual computations compute is as it is."""
        if isinstance(value.owner, _mlir.ir.Block):
            return False
        op = value.owner.operation.parent
        while op.name != "func.func":
            if op.name == MANUAL:
                return False
            op = op.parent
        return True

    def _indivisible_dims(self, value: Any) -> Iterator[Slot]:
        for dim in self._dims(self._type(value), self._attr(value)):
            yield value, dim

    def _dims(self, type: Any, attr: Any) -> tuple[int, ...]:
        """The dimensions of a value of ``type`` that do not divide if it lies as ``attr`` says."""
        if (type, attr) not in self._indivisible_of:
            sharding = self.shardings.parse(attr)
            shape = type.shape if sharding is not None and isinstance(type, _mlir.ir.RankedTensorType) else ()
            self._indivisible_of[type, attr] = tuple(
                dim for dim, size in enumerate(shape) if sharding is not None and size % sharding.factor(dim)
            )
        return self._indivisible_of[type, attr]

    def _type(self, value: Any) -> Any:
        return self._return.operands[value[1]].type if isinstance(value, tuple) else value.type

    def _attr(self, value: Any) -> Any:
        return self._results[value[1]] if isinstance(value, tuple) else self.shardings.attr(value)

    def _shape(self, value: Any) -> tuple[int, ...]:
        type = self._type(value)
        return tuple(type.shape) if isinstance(type, _mlir.ir.RankedTensorType) else ()

    def shards(self, slot: Slot) -> int:
        """Into how many shards the dimension is cut."""
        value, dim = slot
        sharding = self.shardings.parse(self._attr(value))
        return 1 if sharding is None else sharding.factor(dim)

    def _shards_left(self, slot: Slot) -> int:
        """Into how many shards axes cut the dimension if it is not padded: those that divide it, major ones first."""
        value, dim = slot
        sharding, size, left = self.shardings.parse(self._attr(value)), self._shape(value)[dim], 1
        for axis in () if sharding is None else sharding.dims[dim]:
            if size % (left * axis.size) == 0:
                left *= axis.size
        return left

    def _is_moved(self, slot: Slot) -> bool:
        """Whether a device holds a part only of a dimension that is not padded."""
        shards = self.shards(slot)
        return shards > 1 and self._shape(slot[0])[slot[1]] % shards == 0

    def _component(self, seed: Slot) -> tuple[list[Slot], list[tuple[View, Group | None]]]:
        """The slots tied to ``seed``, and for each op around them the group that ties them there."""
        slots, found = [seed], {seed}
        around: dict[Any, tuple[View, Group | None]] = {}
        for slot in slots:
            for view in self._ops_around(slot[0]):
                groups = view.at.get(slot, ())
                if not groups:
                    around[_key(view.op), None] = view, None
                for group in groups:
                    if (_key(view.op), group.number) in around:
                        continue
                    around[_key(view.op), group.number] = view, group
                    slots += (other for other in dict.fromkeys(group.slots) if other not in found)
                    found.update(group.slots)
        return slots, list(around.values())

    def _ops_around(self, value: Any) -> Iterator[View]:
        """The op that makes ``value`` and those that use it; for a terminator, the op around it."""
        if isinstance(value, tuple):
            yield self.view(self._return)
            return
        owner = value.owner
        owner = (owner.owner if isinstance(owner, _mlir.ir.Block) else owner).operation
        if owner.name != "func.func":
            yield self.view(owner)
        for use in value.uses:
            user = use.owner.operation
            yield self.view(user.parent.operation if user.name == "stablehlo.return" else user)

    def view(self, op: Any) -> View:
        """The groups of ``op``."""
        key = _key(op)
        if key not in self._views:
            self._views[key] = self._make_view(op)
        return self._views[key]

    def _make_view(self, op: Any) -> View:
        if op.name in _TIES:
            return View(op, tuple(_TIES[op.name](op)))
        if op.name == "func.return":
            return View(op, tuple(self._returned(op)) if self.signature else ())
        rule = rule_of(op)
        if rule is None:
            return View(op, ())
        groups = []
        for factor, masks in paddable(op, rule).items():
            inputs, outputs = (
                tuple((v, d) for v, mapping in zip(values, mappings, strict=True)
                      for d, factors in enumerate(mapping) if factors == (factor,))
                for values, mappings in ((op.operands, rule.operands), (op.results, rule.results))
            )
            groups.append(Group(factor, inputs, outputs, masks))
        return View(op, tuple(groups), rule)

    def _returned(self, op: Any) -> Iterator[Group]:
        for index, value in enumerate(op.operands):
            for dim in range(len(self._shape(value))):
                yield Group((index, dim), ((value, dim),), ((("result", index), dim),))

    # -- the decision ------------------------------------------------------------------------------------------------

    def _decide(self, slots: list[Slot], around: list[tuple[View, Group | None]]) -> None:
        size = self._shape(slots[0][0])[slots[0][1]]
        free = [s for s in slots if not self._is_fixed(s)]
        counts = {self.shards(s) for s in free} - {1}
        if all(size % count == 0 for count in counts):
            return
        multiple = math.lcm(*counts)
        padded = -(-size // multiple) * multiple
        sharded = [s for s in free if self.shards(s) > 1]
        reason = "" if self._is_wanted(slots) else self._objection(size, padded, multiple, sharded, around)
        tensors = len(sharded)
        if reason:
            self.choices.append(Choice(size, size, max(counts), tensors, reason))
            return
        self.choices.append(Choice(size, padded, multiple, tensors))
        self.sizes.update(dict.fromkeys(sharded, padded))

    def _is_fixed(self, slot: Slot) -> bool:
        return slot[0] in self._arguments and not self.signature

    def _is_wanted(self, slots: list[Slot]) -> bool:
        """Whether a user asked for one of the dimensions to be split as it is."""
        return self.always or any(map(self._is_stated, slots))

    def _is_stated(self, slot: Slot) -> bool:
        value, dim = slot
        if self._is_fixed(slot) or self._shape(value)[dim] % self.shards(slot) == 0:
            return False
        if isinstance(value, tuple):
            return value in self.stated
        if value in self._arguments:
            return ("argument", self._arguments[value]) in self.stated
        return not isinstance(value.owner, _mlir.ir.Block) and value.owner.operation.name in _STATED

    def _objection_by_size(self, slot: Slot) -> str:
        """Why the dimension stays whole whatever goes together with it; empty if there is no such reason."""
        size, shards, left = self._shape(slot[0])[slot[1]], self.shards(slot), self._shards_left(slot)
        if shards > _WASTE * size:
            return _too_large(shards)
        return _no_more_to_do(left) if left == size else ""

    def _taken_off(self, slot: Slot, growth: float) -> float:
        """The share of an op's work along the dimension that padding takes off each device; negative if it adds some.

        Args:
          growth: How many times as large padding makes the dimension.
        """
        return 1 / self._shards_left(slot) - growth / self.shards(slot)

    def _objection(
        self, size: int, padded: int, shards: int, slots: list[Slot], around: list[tuple[View, Group | None]]
    ) -> str:
        """Why padding would be dearer than leaving the dimensions whole; empty if it is not."""
        if padded > _WASTE * size or padded // shards >= size:
            return _too_large(padded)
        chosen = set(slots)
        saved, moved = 0.0, 0.0
        crossing: set[Any] = set()
        for view, group in around:
            if group is not None and _is_padded(group, chosen):
                among = (slot for slot in group.outputs or group.inputs if slot in chosen)
                saved += _work(view, group) * max(self._taken_off(slot, padded / size) for slot in among)
                if not group.outputs:
                    moved += 2 * sum(byte_size(v.type) for v in view.op.results)
                for value, dim in group.inputs:
                    if (value, dim) not in chosen and self._is_moved((value, dim)):
                        crossing.add(value)
            else:
                crossing |= _operands_among(view, chosen)
        moved += sum(byte_size(value.type) for value in crossing)
        if saved > LINK * moved:
            return ""
        left = max(map(self._shards_left, slots))
        if saved <= 0 and left > 1:
            return _no_more_to_do(left)
        return "padding would move more between devices than it saves"


def _too_large(padded: int) -> str:
    return f"padding to {padded} would make it more than {_WASTE} times as large"


def _no_more_to_do(left: int) -> str:
    return f"the {left} shards that divide it leave a device no more to do"


def _is_padded(group: Group, chosen: set[Slot]) -> bool:
    """Whether an op computes the dimensions of ``group`` padded, if the slots ``chosen`` are."""
    return any(slot in chosen for slot in group.outputs or group.inputs)


def _operands_among(view: View, chosen: set[Slot]) -> set[Any]:
    """The operands of an op that have a dimension among ``chosen``."""
    ranked = [v for v in view.op.operands if isinstance(v.type, _mlir.ir.RankedTensorType)]
    return {v for v in ranked if any((v, dim) in chosen for dim in range(v.type.rank))}


def _work(view: View, group: Group) -> float:
    """What an op costs that a device does only a part of: the bytes of the tensors with that dimension, and FLOPs."""
    bytes = sum(byte_size(value.type) for value, _ in group.slots if not isinstance(value, tuple))
    return bytes + (2 * math.prod(view.rule.sizes) / FLOPS if view.op.name in _PRODUCTS else 0)


_PRODUCTS = frozenset({"stablehlo.convolution", "stablehlo.dot", "stablehlo.dot_general"})


def _key(op: Any) -> Any:
    """What tells ops apart: handles of one op differ in their hash, those of its results do not."""
    return op.results[0] if len(op.results) else (op.name, *op.operands)


# -- ops that hand values on -------------------------------------------------------------------------------------------


def _tied(first: int, inputs: list[Any], outputs: list[Any]) -> Iterator[Group]:
    """The dimensions of values that have one type; ``first`` is a number no other value of the op has."""
    type = outputs[0].type
    if isinstance(type, _mlir.ir.RankedTensorType):
        for dim in range(type.rank):
            number = (first, dim)
            yield Group(number, tuple((v, dim) for v in inputs), tuple((v, dim) for v in outputs))


def _loop_ties(op: Any) -> Iterator[Group]:
    condition, body = (region.blocks[0] for region in op.regions)
    returned = returned_by(body)
    for index, result in enumerate(op.results):
        inputs = [op.operands[index], returned[index]]
        yield from _tied(index, inputs, [result, condition.arguments[index], body.arguments[index]])


def _branch_ties(op: Any) -> Iterator[Group]:
    returned = [returned_by(region.blocks[0]) for region in op.regions]
    for index, result in enumerate(op.results):
        yield from _tied(index, [values[index] for values in returned], [result])


def _pair_ties(op: Any) -> Iterator[Group]:
    for index, (operand, result) in enumerate(zip(op.operands, op.results, strict=True)):
        yield from _tied(index, [operand], [result])


def returned_by(block: Any) -> list[Any]:
    """What the terminator of ``block`` returns."""
    return list(terminator(block).operands)


_TIES = {
    LOOP: _loop_ties,
    **dict.fromkeys(BRANCHES, _branch_ties),
    BARRIER: _pair_ties,
}
