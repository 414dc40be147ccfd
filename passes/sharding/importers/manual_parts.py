"""Which ops of a block make up a manual computation, and what they need from outside."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NoReturn

from passes import _mlir
from passes.errors import UserError
from passes.program import purity
from passes.program.walk import operations
from passes.sharding.importers.scan import CUSTOM_CALLS, ENTRIES, EXITS, target_of

# Ops with another result on each device.
_VARYING = frozenset({"stablehlo.partition_id", "stablehlo.replica_id", "mhlo.partition_id", "mhlo.replica_id"})
_TERMINATORS = frozenset({"func.return", "stablehlo.return", "mhlo.return", "sdy.return"})


@dataclass(eq=False)
class Part:
    """What becomes one manual computation; the ops in the order of their block.

    Attributes:
      entries: The calls whose results it reads, of which other parts may read, too.
      inside: The ops that move into it.
      exits: The calls that its results go to.
      free: Values of the block that are computed from nothing, as constants, ``iota`` and ``partition_id`` are.
    """

    entries: dict[Any, None] = field(default_factory=dict)
    inside: list[Any] = field(default_factory=list)
    exits: list[Any] = field(default_factory=list)
    free: dict[Any, int] = field(default_factory=dict)
    merged_into: Part | None = None

    @property
    def first(self) -> Any:
        """The op that messages about the part point at."""
        return next(iter([*self.entries, *self.exits]))

    def whole(self) -> Part:
        """The part that this one became a piece of, or itself."""
        part = self
        while part.merged_into is not None:
            part = part.merged_into
        return part

    def joined(self, other: Part) -> Part:
        """One part of both, which are whole; the larger one takes the smaller one in."""
        large, small = sorted((self, other), key=lambda part: len(part.entries) + len(part.inside), reverse=True)
        large.entries |= small.entries
        large.inside += small.inside
        large.exits += small.exits
        small.merged_into = large
        return large


def parts_of(ops: list[Any]) -> list[Part]:
    """The manual parts of a block, whose ops are given.

    Ops belong together if one uses what the other computes; to read from one entry is not enough.
    """
    entered: dict[Any, Any] = {}
    part_of: dict[Any, Part] = {}
    parts: list[Part] = []
    # Value -> position of its op.
    free: dict[Any, int] = {}
    varying: set[Any] = set()
    for index, op in enumerate(ops):
        target = target_of(op) if op.name in CUSTOM_CALLS else ""
        if target in ENTRIES:
            entered.update(dict.fromkeys(op.results, op))
            continue
        used = _used(op)
        read = dict.fromkeys(entered[v] for v in used if v in entered)
        found = [part_of[v] for v in used if v in part_of]
        if not read and not found and target not in EXITS:
            varies = op.name in _VARYING or any(v in varying for v in used)
            is_free = op.name in purity.PLAIN and all(v in free for v in used)
            if is_free:
                free.update(dict.fromkeys(op.results, index))
                varying.update(op.results if varies else ())
            if is_free or not varies:
                continue
        if op.name in _TERMINATORS:
            _check_returned(read, found)
            continue
        if not found:
            found.append(Part(free=free))
            parts += found
        part = _joined(found)
        part.entries |= read
        if target in EXITS:
            part.inside += [] if part.entries or part.inside else _pulled_in(op)
            part.exits.append(op)
        else:
            part.inside.append(op)
            part_of.update(dict.fromkeys(op.results, part))
    position = {op: i for i, op in enumerate(ops)}
    # A program may ask which device it runs on without being a manual part.
    whole = [part for part in parts if part.merged_into is None and (part.entries or part.exits)]
    for part in whole:
        part.entries = dict.fromkeys(sorted(part.entries, key=position.__getitem__))
        part.inside.sort(key=position.__getitem__)
        part.exits.sort(key=position.__getitem__)
    return whole


def _check_returned(read: dict[Any, None], parts: list[Part]) -> None:
    """Raises an error if what a block returns is computed in a manual part, or read from an entry."""
    for entry in [*read, *(entry for part in parts for entry in part.whole().entries)]:
        fail(entry, "what is computed from this for each device is returned without a call that leads back to all")


def _joined(parts: Iterable[Part]) -> Part:
    """The part that ``parts`` are pieces of, after making them one."""
    first, *others = dict.fromkeys(part.whole() for part in parts)
    for other in others:
        first = first.joined(other)
    return first


def _pulled_in(exit: Any) -> list[Any]:
    """The ops that compute, from nothing a device has for itself, what only this exit uses."""
    found: dict[Any, None] = {}
    for value in exit.operands:
        owner = value.owner
        if isinstance(owner, _mlir.ir.Block):
            continue
        uses = (use.owner.operation for result in owner.operation.results for use in result.uses)
        if all(use == exit for use in uses):
            found[owner.operation] = None
    return list(found)


def _used(op: Any) -> list[Any]:
    """The values ``op`` uses, those its regions take from outside included."""
    if not len(op.regions):
        return list(op.operands)
    nested = operations(op)
    own = {result for inner in nested for result in inner.results}
    own |= {a for inner in nested for region in inner.regions for block in region for a in block.arguments}
    return [value for inner in nested for value in inner.operands if value not in own]


def captured(part: Part) -> tuple[list[Any], list[Any]]:
    """What the part needs from outside: ops that it computes for itself, in order, and values that are passed in.

    What is computed from nothing belongs inside: there each device has its own ``partition_id``, and shapes are local.
    """
    own = {result for op in (*part.entries, *part.inside) for result in op.results}
    used = [v for op in part.inside for v in _used(op)] + [v for op in part.exits for v in op.operands]
    outside = [v for v in dict.fromkeys(used) if v not in own]
    computed: dict[Any, int] = {}
    waiting = [v for v in outside if v in part.free]
    while waiting:
        value = waiting.pop()
        op = value.owner.operation
        if op not in computed:
            computed[op] = part.free[value]
            waiting += _used(op)
    return sorted(computed, key=computed.__getitem__), [v for v in outside if v not in part.free]


def place_of(part: Part) -> Any:
    """The op before which the manual computation can stand: everything it uses is there, and nobody needs it yet."""
    if part.exits:
        return part.exits[0]
    return list(part.first.block)[-1].operation


def check_order(value: Any, before: Any, part: Part) -> None:
    """Raises an error if ``value`` is not there yet at ``before``."""
    owner = value.owner
    if isinstance(owner, _mlir.ir.Block) or owner.operation.block != before.block:
        return
    if not owner.operation.is_before_in_block(before):
        fail(part.first, "this manual part needs a value that is computed after its first result, so it is no region")


def fail(op: Any, message: str) -> NoReturn:
    """Raises an error about ``op``."""
    raise UserError(message, _mlir.where_of(op.location))
