"""Rows about ops that compute what another op has computed: value numbering over the mirror."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from typing import Any

from leftover.effects import Effects
from leftover.mirror import Block, Mirror, Op, Value

_COMMUTATIVE = frozenset(f"stablehlo.{name}" for name in ("add", "and", "maximum", "minimum", "multiply", "or", "xor"))
_MIRRORED = {"LT": "GT", "GT": "LT", "LE": "GE", "GE": "LE", "EQ": "EQ", "NE": "NE"}
_COLLECTIVES = frozenset(f"stablehlo.{name}" for name in (
    "all_gather", "all_reduce", "all_to_all", "collective_broadcast", "collective_permute", "reduce_scatter"))
# Ops whose regions can't use values from outside.
_CLOSED = frozenset({"func.func", "sdy.manual_computation", "sdy.named_computation"})


def duplicates(program: Mirror) -> Iterator[tuple[str, Op]]:
    """(row, op) for every op equal to one that dominates it."""
    numbering = Numbering(Effects(program))
    for function in program.functions.values():
        for region in function.regions:
            for block in region:
                numbering.block(block)
    yield from numbering.sites


class Numbering:
    """Values with one number are equal.

    Args:
      given: Numbers of values from outside that are equal, or taken to be.
    """

    def __init__(self, effects: Effects, given: Iterable[tuple[Value, int]] = ()) -> None:
        self.sites: list[tuple[str, Op]] = []
        self._effects = effects
        self._numbers: dict[Value, int] = {value: -1 - number for value, number in given}
        # The ops that dominate the current one, by what they compute.
        self._known: dict[Hashable, list[Op]] = {}

    def number(self, value: Value) -> int:
        return self._numbers.setdefault(value, len(self._numbers))

    def block(self, block: Block) -> None:
        added: list[Hashable] = []
        spellings: dict[Hashable, set[str]] = {}
        for op in block.ops:
            outer = self._known
            if op.name in _CLOSED:
                self._known = {}
            for region in op.regions:
                for inner in region:
                    self.block(inner)
            self._known = outer
            if op.results and self._effects.mergeable(op):
                self._visit(op, added)
                self._spelling(op, spellings)
        for key in added:
            self._known[key].pop()

    def _visit(self, op: Op, added: list[Hashable]) -> None:
        operands, key = self._key(op)
        candidates = self._known.setdefault(key, [])
        for other in candidates:
            if not op.regions or self._same_regions(op, other):
                self.sites.append((self._row(op, other, operands), op))
                for mine, its in zip(op.results, other.results, strict=True):
                    self._numbers[mine] = self.number(its)
                return
        candidates.append(op)
        added.append(key)

    def _row(self, op: Op, other: Op, operands: list[int]) -> str:
        kind = "constant" if op.name == "stablehlo.constant" else "equal"
        if op.name in ("func.call", "stablehlo.composite"):
            return "call-duplicate"
        if [self.number(v) for v in other.operands] != operands:
            return "equal-commuted"
        return f"{kind}-{'block' if op.block is other.block else 'nested'}"

    def _spelling(self, op: Op, spellings: dict[Hashable, set[str]]) -> None:
        splat = op.result.splat
        if splat is None:
            return
        found = spellings.setdefault((splat, op.result.type), set())
        if found and op.name not in found:
            self.sites.append(("splat-twice", op))
        found.add(op.name)

    def _key(self, op: Op) -> tuple[list[int], Hashable]:
        operands = [self.number(v) for v in op.operands]
        ordered, attributes = operands, _attributes(op)
        if op.name in _COMMUTATIVE:
            ordered = sorted(operands)
        elif op.name == "stablehlo.compare" and operands[0] > operands[1]:
            ordered = operands[::-1]
            attributes = tuple((name, _mirrored(name, a)) for name, a in attributes)
        elif op.name == "stablehlo.compare":
            attributes = tuple((name, _plain(name, a)) for name, a in attributes)
        return operands, (op.name, attributes, tuple(ordered), tuple(r.type for r in op.results))

    def _same_regions(self, op: Op, other: Op) -> bool:
        renamed: dict[Value, Value] = {}
        return len(op.regions) == len(other.regions) and all(
            len(mine) == len(its) and all(self._same_blocks(a, b, renamed) for a, b in zip(mine, its, strict=True))
            for mine, its in zip(op.regions, other.regions, strict=True)
        )

    def _same_blocks(self, mine: Block, its: Block, renamed: dict[Value, Value]) -> bool:
        if [a.type for a in mine.arguments] != [a.type for a in its.arguments] or len(mine.ops) != len(its.ops):
            return False
        renamed.update(zip(mine.arguments, its.arguments, strict=True))
        return all(self._same_ops(a, b, renamed) for a, b in zip(mine.ops, its.ops, strict=True))

    def _same_ops(self, mine: Op, its: Op, renamed: dict[Value, Value]) -> bool:
        if mine.name != its.name or len(mine.operands) != len(its.operands) or len(mine.results) != len(its.results):
            return False
        for a, b in zip(mine.operands, its.operands, strict=True):
            if renamed.get(a, a) is not b and (a in renamed or self.number(a) != self.number(b)):
                return False
        if _attributes(mine) != _attributes(its) or [r.type for r in mine.results] != [r.type for r in its.results]:
            return False
        renamed.update(zip(mine.results, its.results, strict=True))
        return len(mine.regions) == len(its.regions) and all(
            len(x) == len(y) and all(self._same_blocks(a, b, renamed) for a, b in zip(x, y, strict=True))
            for x, y in zip(mine.regions, its.regions, strict=True)
        )


def _attributes(op: Op) -> tuple[tuple[str, Any], ...]:
    try:
        found = tuple(op.handle.attributes.items())
    except TypeError:
        return (("text", str(op.handle.clone(ip=False))),)
    if op.name in _COLLECTIVES:
        return tuple((name, a) for name, a in found if name != "channel_handle")
    return found


def _plain(name: str, attribute: Any) -> Any:
    return str(attribute).rpartition(" ")[2].rstrip(">") if name == "comparison_direction" else attribute


def _mirrored(name: str, attribute: Any) -> Any:
    return _MIRRORED[_plain(name, attribute)] if name == "comparison_direction" else attribute


def dead(program: Mirror) -> Iterator[Op]:
    """Ops all of whose results are used by dead ops only, or not at all."""
    effects = Effects(program)
    gone: set[Op] = set()
    for op in reversed(program.ops):
        if op.results and all(user in gone for r in op.results for user, _ in r.uses) and effects.removable(op):
            gone.add(op)
            yield op
