"""Code between custom calls that say "from here on each device for itself" -> ``sdy.manual_computation``.

    %1 = custom_call @SPMDFullToShardShape(%0)         %4 = sdy.manual_computation(%0) ... (%1) {
    %2 = call @body(%1)                          ->      %2 = call @body(%1)
    %4 = custom_call @SPMDShardToFullShape(%2)           sdy.return %2 }

A manual computation is what is reached from one entry (`scan.ENTRIES`) up to the exits (`scan.EXITS`), together with
whatever shares a value with that. GSPMD and Shardy have a pair of calls each; they write shardings at different places.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from passes import _mlir
from passes.pipeline.base import Counters
from passes.program.entry import arguments, is_private, symbol_name
from passes.program.splice import splice
from passes.program.walk import operations
from passes.sharding.importers.annotations import Annotations, quoting, rank_of, unspecified_dims
from passes.sharding.importers.frontend import IN_SHARDINGS, MANUAL_AXES, OUT_SHARDINGS
from passes.sharding.importers.gspmd import HLO_SHARDING
from passes.sharding.importers.hlo_sharding import HloSharding, Malformed
from passes.sharding.importers.manual_parts import Part, captured, check_order, fail, parts_of, place_of
from passes.sharding.importers.scan import CUSTOM_CALLS, ENTRIES, target_of, title_of
from passes.sharding.mesh import Mesh, Sharding, sharding_to_attr
from passes.sharding.signature import SHARDING

_BODY = "xla.sdy.manual_computation_body"


@dataclass(frozen=True)
class _Boundary:
    """What the entries, exits and calls of a part say about its shardings."""

    ins: list[Any]
    outs: list[Any]
    manual_axes: Any


class ManualComputations:
    """Builds the manual computations of a module whose annotating calls are replaced already."""

    def __init__(self, annotations: Annotations, said_manual: dict[Any, HloSharding], counters: Counters) -> None:
        self._said_manual = said_manual
        self._annotations = annotations
        self._counters = counters
        # Ops by their first result, because the hash of an op follows its operands and attributes.
        self._constraints: dict[Any, None] = {}
        self._copied: dict[Any, int] = {}

    def build(self, boundaries: Iterable[Any]) -> list[Any]:
        """Builds them in every block that holds one of ``boundaries``; returns the calls that stand inside."""
        calls = []
        for block in dict.fromkeys(op.block for op in boundaries):
            ops = [view.operation for view in block]
            entries = [op for op in ops if _target(op) in ENTRIES]
            parts = parts_of(ops)
            for part in parts:
                calls += [op for op in part.inside if op.name == "func.call"]
                self._build(part)
            self._clean([op for part in parts for op in part.exits] + entries)
        return calls

    def _build(self, part: Part) -> None:
        computed, passed = captured(part)
        made, inner = self._create(part, passed)
        _fill(made, part, inner, computed)
        outer = (result for op in part.exits for result in op.results)
        for old, new in zip(outer, made.results, strict=True):
            old.replace_all_uses_with(new)
        self._counters.add("manual-computations")
        self._copied |= {op.results[0]: part.free[op.results[0]] for op in computed}
        for op in part.inside:
            if op.name == "func.call":
                self._annotations.take(op)

    def _create(self, part: Part, passed: list[Any]) -> tuple[Any, list[Any]]:
        """The op without its code, and the values that its block arguments stand for, those ``passed`` at the end."""
        before = place_of(part)
        boundary = self._boundary(part)
        entered = [(o, r) for op in part.entries for o, r in zip(op.operands, op.results, strict=True)]
        operands = [self._unconstrained(o) for o, _ in entered] + passed
        for value in operands:
            check_order(value, before, part)
        made = _mlir.ir.Operation.create(
            "sdy.manual_computation",
            results=[result.type for op in part.exits for result in op.results],
            operands=operands,
            attributes={
                "in_shardings": _per_value([*boundary.ins, *(self._whole(v, boundary) for v in passed)]),
                "out_shardings": _per_value(boundary.outs),
                "manual_axes": boundary.manual_axes,
            },
            loc=(part.inside[0] if part.inside else part.first).location,
            regions=1,
            ip=_mlir.ir.InsertionPoint(before),
        )
        return made, [r for _, r in entered] + passed

    def _clean(self, boundaries: list[Any]) -> None:
        """Takes away ``boundaries``, the constraints that only they used, and ops of which only copies are used.

        Not before all parts of a block are built, so that no new op can be mistaken for one of these.
        """
        for op in (*boundaries, *(value.owner.operation for value in self._constraints)):
            self._erase(op)
        for value in sorted(self._copied, key=self._copied.__getitem__, reverse=True):
            op = value.owner.operation
            if all(next(result.uses, None) is None for result in op.results):
                self._erase(op)
        self._constraints.clear()
        self._copied.clear()

    def _erase(self, op: Any) -> None:
        self._counters.removed(op, "turned into sdy.manual_computation")
        op.erase()

    # -- shardings -------------------------------------------------------------------------------------------------

    def _boundary(self, part: Part) -> _Boundary:
        call = next((op for op in part.inside if op.name == "func.call"), None)
        manual = [self._manual_axes(op) for op in (*part.entries, *part.exits, *([call] if call else []))]
        found = [m for m in manual if m is not None]
        if not found:
            fail(part.first, f"@{target_of(part.first)} does not say over which axes its code is manual")
        if any(m != found[0] for m in found):
            fail(part.first, "the calls around this manual part disagree about the axes it is manual over")
        ins = [s for op in part.entries for s in self._shardings(op, IN_SHARDINGS, list(op.operands), call)]
        outs = [s for op in part.exits for s in self._shardings(op, OUT_SHARDINGS, list(op.results), call)]
        return _Boundary(ins, outs, found[0])

    def _manual_axes(self, op: Any) -> Any:
        split, hlo = self._annotations.read(op)
        text = split.texts.get(MANUAL_AXES)
        if text is not None:
            with quoting(MANUAL_AXES, text, op.location, title_of(op)):
                return self._annotations.frontend.manual_axes(text)
        before = tuple(self._said_manual[v] for v in op.operands if v in self._said_manual)
        # GSPMD says inside, behind an entry and before an exit, over which axes it is manual in all. Outside it is so
        # over those of a manual computation around this one.
        inside, outside = (hlo, before) if _target(op) in ENTRIES else (before, hlo)
        if op.name == "func.call" or not inside or not inside[0].is_manual:
            return None
        with quoting(HLO_SHARDING, inside[0].text, op.location, title_of(op)):
            axes = self._annotations.converter.manual_axes(inside[0])
        known = self._annotations.converter.manual_axes(outside[0]) if outside and outside[0].is_manual else ()
        names = ", ".join(f'"{axis}"' for axis in axes if axis not in known)
        return _mlir.ir.Attribute.parse(f"#sdy<manual_axes{{{names}}}>", _mlir.context())

    def _shardings(self, op: Any, key: str, values: list[Any], call: Any) -> list[Any]:
        """The shardings of the global ``values`` at a boundary: its operands or its results."""
        split, hlo = self._annotations.read(op)
        types = [v.type for v in values]
        for source in (split, *([self._annotations.read(call)[0]] if call else [])):
            text = source.texts.get(key)
            if text is not None:
                with quoting(key, text, op.location, title_of(op)):
                    return self._annotations.frontend.per_value(key, text, types)
        if key == IN_SHARDINGS:
            return [self._known(op, v) for v in values]
        if not hlo:
            fail(op, f"@{target_of(op)} carries no {HLO_SHARDING} and no {OUT_SHARDINGS}")
        with quoting(HLO_SHARDING, hlo[0].text, op.location, title_of(op)):
            found = self._annotations.converter.convert(hlo[0], rank_of(types[0]), unspecified_dims(op))
            if found is None:
                raise Malformed("expected how the whole tensor is sharded")
        return [found]

    def _known(self, entry: Any, value: Any) -> Any:
        """How the operand of an entry is sharded, as its own annotation says."""
        owner = value.owner
        found = None
        if isinstance(owner, _mlir.ir.Block):
            function = owner.owner.operation
            if function.name == "func.func":
                found = arguments(function)[value.arg_number].attributes.get(SHARDING)
        elif owner.name == "sdy.sharding_constraint":
            found = owner.attributes["sharding"]
        elif SHARDING in owner.attributes:
            per_value = _mlir.sdy.TensorShardingPerValueAttr(owner.attributes[SHARDING])
            found = list(per_value.shardings)[value.result_number]
        if found is None:
            target = target_of(entry)
            fail(entry, f"nothing says how the operand of @{target} is sharded; put it through @Sharding first")
        return found

    def _unconstrained(self, value: Any) -> Any:
        """What a constraint that only entries use constrains; the manual computation says the same."""
        owner = value.owner
        if isinstance(owner, _mlir.ir.Block) or owner.operation.name != "sdy.sharding_constraint":
            return value
        if any(_target(use.owner.operation) not in ENTRIES for use in value.uses):
            return value
        self._constraints[value] = None
        return owner.operation.operands[0]

    def _whole(self, value: Any, boundary: _Boundary) -> Any:
        """A value of the same shape inside and outside is whole on every device."""
        reference = _mlir.sdy.TensorShardingAttr([*boundary.ins, *boundary.outs][0]).mesh_or_ref
        name = _mlir.ir.FlatSymbolRefAttr(reference).value
        mesh: Mesh = self._annotations.table.named[name]
        return sharding_to_attr(name, Sharding(mesh, ((),) * rank_of(value.type)))


# -- moving ops --------------------------------------------------------------------------------------------------------


def _fill(made: Any, part: Part, inner: list[Any], computed: list[Any]) -> None:
    """Gives a manual computation its block: copies of the ops ``computed``, then the ops inside the part."""
    ir = _mlir.ir
    block = made.regions[0].blocks.append(*(v.type for v in inner), arg_locs=[v.location for v in inner])
    renamed = dict(zip(inner, block.arguments, strict=True))
    for op in computed:
        renamed |= zip(op.results, _cloned(op, block, renamed), strict=True)
    for op in part.inside:
        block.append(op)
        _rename(op, renamed)
    returned = [renamed.get(v, v) for op in part.exits for v in op.operands]
    with ir.InsertionPoint(block), ir.Location.unknown(_mlir.context()):
        ir.Operation.create("sdy.return", operands=returned)


def _per_value(shardings: list[Any]) -> Any:
    return _mlir.sdy.TensorShardingPerValueAttr.get(shardings, context=_mlir.context())


def _target(op: Any) -> str:
    return target_of(op) if op.name in CUSTOM_CALLS else ""


def _cloned(op: Any, block: Any, renamed: dict[Any, Any]) -> list[Any]:
    """The results of a copy of ``op`` at the end of ``block``."""
    made = op.clone().operation
    block.append(made)
    _rename(made, renamed)
    return list(made.results)


def _rename(op: Any, renamed: dict[Any, Any]) -> None:
    for inner in operations(op) if len(op.regions) else (op,):
        for old in [v for v in inner.operands if v in renamed]:
            inner.replace_uses_of_with(old, renamed[old])


# -- bodies ------------------------------------------------------------------------------------------------------------


def inline_bodies(calls: Iterable[Any], functions: Iterable[Any], called: Counter[str]) -> None:
    """Puts the bodies of functions that only one of ``calls``, inside manual computations, refers to in its place.

    Front ends make such a function for each manual computation. One whose signature carries shardings keeps them.
    """
    by_name = {symbol_name(f): f for f in functions}
    for call in calls:
        name = _mlir.ir.FlatSymbolRefAttr(call.attributes["callee"]).value
        function = by_name.get(name)
        if function is None or called[name] != 1 or not (is_private(function) or _BODY in name):
            continue
        if len(function.regions[0].blocks) != 1 or any(SHARDING in v.attributes for v in arguments(function)):
            continue
        splice(call, function.regions[0].blocks[0], call.operands)
        function.erase()
