"""Keeps functions and composites in the per-device program.

Calls and composites are flattened before planning, with a barrier before and one behind, that say which they were:

  %1 = stablehlo.optimization_barrier %0 {shlo.outline_begin = 0 : i32}
  %2 = stablehlo.tanh %1
  %3 = stablehlo.optimization_barrier %2 {shlo.outline_end = 0 : i32}

After the lowering, what lies between is outlined again, on local types: a function for each way in which its callers
planned it, under its old name, the others with a number behind it. If the plan moved data in a composite, or made it
depend on which device it runs on, it is not what the composite's name promises any more: it stays flat and is reported.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from itertools import count
from typing import Any

from passes import _mlir
from passes.errors import Where
from passes.partition.delay_reductions import is_linear
from passes.program.entry import functions, symbol_name
from passes.program.purity import COLLECTIVES, Effect, Effects
from passes.program.read import Program
from passes.program.walk import named, operations
from passes.sharding.user_rules import is_ruled

CALL, COMPOSITE, BARRIER = "func.call", "stablehlo.composite", "stablehlo.optimization_barrier"
BEGIN, END = "shlo.outline_begin", "shlo.outline_end"
_BARRIERS = frozenset({BARRIER})
# Op -> the attribute that names its function, which is made anew.
_FUNCTION = {CALL: "callee", COMPOSITE: "decomposition"}
# What else an op has of its own and keeps.
_KEPT = ("name", "version", "composite_attributes", "mhlo.frontend_attributes")
# What a function has of its own and keeps.
_NO_INLINE = "no_inline"
_OF_FUNCTIONS = (_NO_INLINE, "mhlo.frontend_attributes")
# The number of a channel tells transfers apart, not what they do.
_CHANNEL = re.compile(r"channel_handle<handle = \d+")
_DEVICE = frozenset({"stablehlo.partition_id", "stablehlo.replica_id"})


@dataclass(frozen=True)
class Flat:
    """A composite that stays flat: its name, where it stands, and why."""

    name: str
    where: Where | None
    reason: str

    def __str__(self) -> str:
        return f"{self.where or 'note'}: composite '{self.name}' stays flat: {self.reason}"


@dataclass(frozen=True)
class _Site:
    """A call or composite of the global program: its attributes, its function's name and attributes, its place."""

    op: str
    attributes: dict[str, Any]
    function: str
    of_function: dict[str, Any]
    where: Where | None

    @property
    def name(self) -> str:
        return str(_mlir.ir.StringAttr(self.attributes["name"]).value)


def is_bound(op: Any) -> bool:
    """Whether ``op`` is one of the two barriers around what was a call or a composite."""
    return op.name == BARRIER and (BEGIN in op.attributes or END in op.attributes)


class Keep(Enum):
    """Which calls `Outliner.outline` brings back: all, those in which no data moves between devices, or none."""

    ALL = auto()
    LOCAL = auto()
    NONE = auto()


@dataclass
class Outliner:
    """The calls and composites of one program: `flatten` takes them down, `outline` brings them back."""

    program: Program
    _known: list[_Site] = field(default_factory=list)
    _outlined: dict[str, str] = field(default_factory=dict)
    # Functions made here -> the first op in them that tells devices apart or moves data between them.
    _talks: dict[str, str] = field(default_factory=dict)
    _flat: dict[Flat, None] = field(default_factory=dict)
    _taken: set[str] = field(default_factory=set)
    # Whether a call was outlined through which a sum over devices, or a part of what they gather, may pass.
    _passes: bool = False

    @property
    def has_calls(self) -> bool:
        """Whether calls were flattened."""
        return any(site.op == CALL for site in self._known)

    def alternatives(self, may_meet: bool) -> list[Keep]:
        """What else than all calls, which were outlined last, might be kept for the collectives to become fewer.

        Only what is in one function meets. So functions that talk are better inlined where what they move meets what
        others do (``may_meet``); those that do not talk, where it passes through them.
        """
        talks = any(talk and talk not in _DEVICE for talk in self._talks.values())
        return [Keep.LOCAL] * (talks and may_meet) + [Keep.NONE] * self._passes

    def flatten(self, kept: frozenset[str]) -> None:
        """Turns every call and composite, if ``kept`` names the op, into a call between two barriers.

        All functions may be inlined then, even those that say they may not.
        Composites with a rule or a region get none, nor do calls of what has an effect, nor what has no operands or no
        results, which leaves a barrier nothing to hold.
        """
        of_functions = {symbol_name(f): _some(f, _OF_FUNCTIONS) for f in functions(self.program.module)}
        for function in functions(self.program.module):
            if _NO_INLINE in function.attributes:
                del function.attributes[_NO_INLINE]
        effects = Effects(self.program.module.operation)
        for op in named(self.program.module, kept):
            if not len(op.operands) or not len(op.results):
                continue
            if not (effects.of(op) is Effect.EFFECT if op.name == CALL else len(op.regions) or is_ruled(op)):
                self._flatten(op, of_functions)

    def _flatten(self, op: Any, of_functions: dict[str, dict[str, Any]]) -> None:
        ir = _mlir.ir
        callee = op.attributes[_FUNCTION[op.name]]
        name = ir.FlatSymbolRefAttr(callee).value
        number = ir.IntegerAttr.get(ir.IntegerType.get_signless(32, _mlir.context()), len(self._known))
        self._known.append(_Site(op.name, _some(op, _KEPT), name, of_functions[name], self.program.where(op)))
        begin = _create(op, BARRIER, list(op.operands), [v.type for v in op.operands], {BEGIN: number})
        results = [v.type for v in op.results]
        call = _create(op, CALL, list(begin.results), results, {"callee": callee})
        end = _create(op, BARRIER, list(call.results), results, {END: number})
        for old, new in zip(op.results, end.results, strict=True):
            old.replace_all_uses_with(new)
        op.erase()

    def outline(self, keep: Keep = Keep.ALL) -> tuple[Flat, ...]:
        """Outlines what can be and ``keep`` wants; returns the composites that stay flat. No barrier of these is left.

        May be called again on a copy of the program as it was before.
        """
        if not self._known:
            return ()
        self._outlined, self._talks, self._flat, self._passes = {}, {}, {}, False
        self._taken = {symbol_name(f) for f in functions(self.program.module)}
        pairs, single = _pairs(named(self.program.module, _BARRIERS))
        for op in single:
            _dissolve(op)
        for begin, end in pairs:
            site = self._site(end)
            reason = self._outline(site, begin, end, keep)
            if reason:
                if site.op == COMPOSITE:
                    self._flat[Flat(site.name, site.where, reason)] = None
                _dissolve(end)
                _dissolve(begin)
        return tuple(self._flat)

    def pairs(self) -> list[tuple[Any, Any]]:
        """The first and the last op of what was a call or a composite, inner ones first; before `outline`."""
        return _pairs(named(self.program.module, _BARRIERS))[0] if self._known else []

    def is_called(self, begin: Any, end: Any) -> bool:
        """Whether `outline` makes what is between the two a call again if it keeps all."""
        return self._site(end).op == CALL and not self._between(begin, end)[1]

    def _site(self, end: Any) -> _Site:
        number: int = _mlir.ir.IntegerAttr(end.attributes[END]).value
        return self._known[number]

    def _outline(self, site: _Site, begin: Any, end: Any, keep: Keep) -> str:
        """Replaces ``end`` and what it needs since ``begin`` by the op of ``site``, or says why not."""
        if site.op == CALL and keep is Keep.NONE:
            return "calls are inlined"
        inside, reason, talk = self._between(begin, end)
        if reason:
            return reason
        if talk in _DEVICE and site.op == COMPOSITE:
            return "each device computes something else in it"
        if talk and talk not in _DEVICE and (site.op == COMPOSITE or keep is Keep.LOCAL):
            return f"the plan puts {talk.rpartition('.')[2]} into it"
        self._passes = self._passes or (site.op == CALL and _lets_pass(inside, begin, end))
        callee = self._function(site, begin, end, inside)
        self._talks[callee] = talk
        attributes = site.attributes | {_FUNCTION[site.op]: _mlir.ir.FlatSymbolRefAttr.get(callee, _mlir.context())}
        types = [v.type for v in end.results]
        new = _create(end, site.op, list(begin.operands), types, attributes)
        for old, result in zip(end.results, new.results, strict=True):
            old.replace_all_uses_with(result)
        end.erase()
        for op in reversed(inside):
            if not any(list(v.uses) for v in op.results):
                op.erase()
        _dissolve(begin)
        return ""

    def _between(self, begin: Any, end: Any) -> tuple[list[Any], str, str]:
        """The ops ``end`` needs since ``begin``, in order; what, if anything, forbids it; an op that talks.

        The last is one that moves data between devices, else one that tells them apart. What was computed from
        constants alone may stand before ``begin``, or around the region, shared with other readers.
        """
        arguments = set(begin.results)
        found: dict[Any, Any] = {}
        pending = list(end.operands)
        talk = ""
        while pending:
            value = pending.pop()
            if value in arguments:
                continue
            if not isinstance(value.owner, _mlir.ir.Operation | _mlir.ir.OpView):
                return [], "the plan reads a value from outside in it", ""
            op = value.owner.operation
            key = op.results[0]
            if key in found:
                continue
            within = operations(op)
            talk = self._louder(talk, within)
            found[key] = op
            pending += _reads(op, within)
        return _in_order(list(found.values())), "", talk

    def _louder(self, talk: str, within: list[Any]) -> str:
        """``talk``, or what among the ops ``within`` tells more of other devices."""
        for op in within:
            name = str(op.name)
            if name == CALL:
                name = self._talks.get(_mlir.ir.FlatSymbolRefAttr(op.attributes["callee"]).value, "")
            if name in COLLECTIVES:
                return name
            if name in _DEVICE:
                talk = talk or name
        return talk

    def _function(self, site: _Site, begin: Any, end: Any, inside: list[Any]) -> str:
        """The name of a function that computes the operands of ``end`` from the results of ``begin``."""
        ir, context = _mlir.ir, _mlir.context()
        inputs, outputs = [v.type for v in begin.results], [v.type for v in end.operands]
        type = ir.FunctionType.get(inputs, outputs, context=context)
        function = ir.Operation.create(
            "func.func",
            attributes={
                **site.of_function,
                "sym_name": ir.StringAttr.get(site.function, context),
                "sym_visibility": ir.StringAttr.get("private", context),
                "function_type": ir.TypeAttr.get(type, context=context),
            },
            regions=1,
            loc=end.location,
        )
        block = function.regions[0].blocks.append(*inputs, arg_locs=[end.location] * len(inputs))
        copies = dict(zip(begin.results, block.arguments, strict=True))
        point = ir.InsertionPoint(block)
        for op in inside:
            copy = op.clone(ip=point).operation
            for inner in operations(copy):
                for i, operand in enumerate(inner.operands):
                    if operand in copies:
                        inner.operands[i] = copies[operand]
            copies |= zip(op.results, copy.results, strict=True)
        returned = [copies.get(v, v) for v in end.operands]
        ir.Operation.create("func.return", [], returned, loc=end.location, ip=point)
        return self._placed(function, site.function)

    def _placed(self, function: Any, wanted: str) -> str:
        """Puts ``function`` into the module under a name of its own, if there is none like it; returns its name."""
        text = _CHANNEL.sub("", function.get_asm(use_local_scope=True, assume_verified=True))
        if text not in self._outlined:
            name = next(n for n in _names(wanted) if n not in self._taken)
            self._taken.add(name)
            function.attributes["sym_name"] = _mlir.ir.StringAttr.get(name, _mlir.context())
            self.program.module.body.append(function)
            self._outlined[text] = name
        return self._outlined[text]


def _pairs(barriers: list[Any]) -> tuple[list[tuple[Any, Any]], list[Any]]:
    """The pairs of barriers around a composite, inner ones first, and those whose partner is gone.

    In program order they are nested like brackets, for inlining copies bodies whole.
    """
    open_at: list[Any] = []
    pairs, single = [], []
    for op in barriers:
        attributes = op.attributes
        if BEGIN in attributes:
            open_at.append(op)
        elif END in attributes:
            while open_at and open_at[-1].attributes[BEGIN] != attributes[END]:
                single.append(open_at.pop())
            if open_at:
                pairs.append((open_at.pop(), op))
            else:
                single.append(op)
    return pairs, single + open_at


def _lets_pass(inside: list[Any], begin: Any, end: Any) -> bool:
    """Whether the passes over collectives might see through a call that moves no data.

    They do if a result is an operand, or linear in one, or if it takes or gives the device's part of such a value.
    """
    reached = set(begin.results)
    for op in inside:
        found = [number for number, value in enumerate(op.operands) if value in reached]
        if found and op.name == "stablehlo.dynamic_slice":
            return True
        if any(is_linear(op, number) for number in found):
            reached |= set(op.results)
    return not reached.isdisjoint(end.operands)


def _names(wanted: str) -> Iterator[str]:
    yield wanted
    yield from (f"{wanted}_{number}" for number in count(1))


def _some(op: Any, keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: op.attributes[key] for key in keys if key in op.attributes}


def _create(before: Any, name: str, operands: list[Any], types: list[Any], attributes: dict[str, Any]) -> Any:
    point = _mlir.ir.InsertionPoint(before)
    return _mlir.ir.Operation.create(name, types, operands, attributes, loc=before.location, ip=point)


def _dissolve(barrier: Any) -> None:
    for operand, result in zip(barrier.operands, barrier.results, strict=True):
        result.replace_all_uses_with(operand)
    barrier.erase()


def _in_order(ops: list[Any]) -> list[Any]:
    """``ops`` in program order. Those around the region that most stand in, constants of a loop, come first."""
    blocks: dict[int, list[Any]] = {}
    for op in ops:
        blocks.setdefault(_depth(op), []).append(op)
    return [op for depth in sorted(blocks) for op in sorted(blocks[depth], key=functools.cmp_to_key(_before))]


def _before(one: Any, other: Any) -> int:
    return -1 if one.is_before_in_block(other) else 1


def _depth(op: Any) -> int:
    depth = 0
    while op.parent is not None:
        op, depth = op.parent, depth + 1
    return depth


def _reads(op: Any, within: list[Any]) -> list[Any]:
    """What ``op`` and the ops in its regions (all ``within``) read from outside of it."""
    if len(within) == 1:
        return list(op.operands)
    inner = {v for i in within for v in i.results}
    inner |= {a for i in within for region in i.regions for block in region for a in block.arguments}
    return [v for i in within for v in i.operands if v not in inner]
