"""Keeps composites in the per-device program where what they compute stays on the device.

Composites are flattened before planning, with a barrier before and one behind, that say which composite it was:

  %1 = stablehlo.optimization_barrier %0 {shlo.composite_begin = 0 : i32}
  %2 = stablehlo.tanh %1
  %3 = stablehlo.optimization_barrier %2 {shlo.composite_end = 0 : i32}

After the lowering, what lies between is outlined again, on local types. If the plan moved data in there, or made it
depend on which device it runs on, it is not what the composite's name promises any more: it stays flat and is reported.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from passes import _mlir
from passes.errors import Where
from passes.program.entry import functions, symbol_name
from passes.program.purity import COLLECTIVES
from passes.program.read import Program
from passes.program.walk import named, operations
from passes.sharding.user_rules import is_ruled

COMPOSITE, BARRIER = "stablehlo.composite", "stablehlo.optimization_barrier"
BEGIN, END = "shlo.composite_begin", "shlo.composite_end"
# What a composite has of its own and keeps; its decomposition is made anew.
_KEPT = ("name", "version", "composite_attributes", "mhlo.frontend_attributes")
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
class _Composite:
    """A composite of the global program: its attributes, the name of its decomposition, where it stands."""

    attributes: dict[str, Any]
    decomposition: str
    where: Where | None

    @property
    def name(self) -> str:
        return str(_mlir.ir.StringAttr(self.attributes["name"]).value)


@dataclass
class Composites:
    """The composites of one program: `flatten` takes them down, `outline` brings them back."""

    program: Program
    _known: list[_Composite] = field(default_factory=list)
    _outlined: dict[str, str] = field(default_factory=dict)
    _flat: dict[Flat, None] = field(default_factory=dict)
    _taken: set[str] = field(default_factory=set)

    def flatten(self) -> None:
        """Turns every composite into a call of its decomposition between two barriers, but those with a rule.

        Those with a region, and those without operands or results, which leave a barrier nothing to hold, get none.
        """
        for op in named(self.program.module, frozenset({COMPOSITE})):
            if len(op.operands) and len(op.results) and not len(op.regions) and not is_ruled(op):
                self._flatten(op)

    def _flatten(self, op: Any) -> None:
        ir = _mlir.ir
        attributes = {key: op.attributes[key] for key in _KEPT if key in op.attributes}
        callee = op.attributes["decomposition"]
        number = ir.IntegerAttr.get(ir.IntegerType.get_signless(32, _mlir.context()), len(self._known))
        name = ir.FlatSymbolRefAttr(callee).value
        self._known.append(_Composite(attributes, name, self.program.where(op)))
        begin = _create(op, BARRIER, list(op.operands), [v.type for v in op.operands], {BEGIN: number})
        results = [v.type for v in op.results]
        call = _create(op, "func.call", list(begin.results), results, {"callee": callee})
        end = _create(op, BARRIER, list(call.results), results, {END: number})
        for old, new in zip(op.results, end.results, strict=True):
            old.replace_all_uses_with(new)
        op.erase()

    def outline(self) -> tuple[Flat, ...]:
        """Outlines what can be; returns the composites that stay flat. No barrier of theirs is left."""
        if not self._known:
            return ()
        self._taken = {symbol_name(f) for f in functions(self.program.module)}
        pairs, single = _pairs(named(self.program.module, frozenset({BARRIER})))
        for op in single:
            _dissolve(op)
        for begin, end in pairs:
            composite = self._known[_mlir.ir.IntegerAttr(end.attributes[END]).value]
            reason = self._outline(composite, begin, end)
            if reason:
                self._flat[Flat(composite.name, composite.where, reason)] = None
                _dissolve(end)
                _dissolve(begin)
        return tuple(self._flat)

    def _outline(self, composite: _Composite, begin: Any, end: Any) -> str:
        """Replaces ``end`` and what it needs since ``begin`` by a composite, or says why not. Inner ones come first."""
        inside, reason = _between(begin, end)
        if reason:
            return reason
        callee = self._function(composite, begin, end, inside)
        attributes = composite.attributes | {"decomposition": _mlir.ir.FlatSymbolRefAttr.get(callee, _mlir.context())}
        types = [v.type for v in end.results]
        new = _create(end, COMPOSITE, list(begin.operands), types, attributes)
        for old, result in zip(end.results, new.results, strict=True):
            old.replace_all_uses_with(result)
        end.erase()
        for op in reversed(inside):
            if not any(list(v.uses) for v in op.results):
                op.erase()
        _dissolve(begin)
        return ""

    def _function(self, composite: _Composite, begin: Any, end: Any, inside: list[Any]) -> str:
        """The name of a function that computes the operands of ``end`` from the results of ``begin``."""
        ir, context = _mlir.ir, _mlir.context()
        inputs, outputs = [v.type for v in begin.results], [v.type for v in end.operands]
        type = ir.FunctionType.get(inputs, outputs, context=context)
        function = ir.Operation.create(
            "func.func",
            attributes={
                "sym_name": ir.StringAttr.get(composite.decomposition, context),
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
        return self._placed(function, composite.decomposition)

    def _placed(self, function: Any, wanted: str) -> str:
        """Puts ``function`` into the module under a name of its own, if there is none like it; returns its name."""
        text = function.get_asm(use_local_scope=True, assume_verified=True)
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


def _names(wanted: str) -> Iterator[str]:
    yield wanted
    yield from (f"{wanted}_{number}" for number in count(1))


def _create(before: Any, name: str, operands: list[Any], types: list[Any], attributes: dict[str, Any]) -> Any:
    point = _mlir.ir.InsertionPoint(before)
    return _mlir.ir.Operation.create(name, types, operands, attributes, loc=before.location, ip=point)


def _dissolve(barrier: Any) -> None:
    for operand, result in zip(barrier.operands, barrier.results, strict=True):
        result.replace_all_uses_with(operand)
    barrier.erase()


def _between(begin: Any, end: Any) -> tuple[list[Any], str]:
    """The ops ``end`` needs since ``begin``, in order, and what, if anything, forbids to outline them.

    What was computed from constants alone may stand before ``begin``, or around the region, shared with other readers.
    """
    arguments = set(begin.results)
    found: dict[Any, Any] = {}
    pending = list(end.operands)
    while pending:
        value = pending.pop()
        if value in arguments:
            continue
        if not isinstance(value.owner, _mlir.ir.Operation | _mlir.ir.OpView):
            return [], "the plan reads a value from outside in it"
        op = value.owner.operation
        key = op.results[0]
        if key in found:
            continue
        within = operations(op)
        kind = next((inner.name for inner in within if inner.name in COLLECTIVES or inner.name in _DEVICE), None)
        if kind in _DEVICE:
            return [], "each device computes something else in it"
        if kind is not None:
            return [], f"the plan puts {kind.rpartition('.')[2]} into it"
        found[key] = op
        pending += _reads(op, within)
    return _in_order(list(found.values())), ""


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
