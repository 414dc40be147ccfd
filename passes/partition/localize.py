"""Turns a planned function into the per-device one: the same ops on local types, collectives where the plan has them.

Types are changed in place, op by op in program order, so an op whose row says nothing else costs a few microseconds.
What differs per op stands in `rows.ROWS`; this module knows only shardings, types and blocks.

  %0 = stablehlo.dot_general %x, %w ... : (tensor<8x16xf32>, tensor<16x32xf32>) -> tensor<8x32xf32>  // [{"data"}, {}]
  %0 = stablehlo.dot_general %x, %w ... : (tensor<4x16xf32>, tensor<16x32xf32>) -> tensor<4x32xf32>
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from passes import _mlir
from passes.errors import UserError
from passes.partition import rows
from passes.partition.collectives import Emitter
from passes.partition.composites import Decomposition
from passes.partition.consistency import Verdict, check
from passes.partition.planned import Reduction
from passes.partition.shardings import ShardingMap
from passes.partition.trace import hand_over, stand_for
from passes.program import entry
from passes.program.read import Program
from passes.program.walk import terminator
from passes.sharding.op_rules import RULE
from passes.sharding.sharding_rule import decode


@dataclass
class Localizer:
    """The state of one lowering.

    Attributes:
      shardings: Where every value lies.
      emit: Builds collectives and slices.
      partial: Values that hold a partial result -> the op that completes them (``stablehlo.add``, ...).
      summing: The ops that the audit found to reduce over split dimensions.
      reductions: Results of all_reduces made here -> what they do.
      decompositions: For composites that stay whole: decomposition, shardings of operands and results -> what it is for
        local shapes.
      inserted: Modules of these -> the function of the program that one became.
      traced: Whether ops are numbered, and to say what they stand for (`trace`).
    """

    program: Program
    shardings: ShardingMap
    emit: Emitter = field(init=False)
    partial: dict[Any, str] = field(default_factory=dict)
    summing: set[Any] = field(default_factory=set)
    reductions: dict[Any, Reduction] = field(default_factory=dict)
    decompositions: dict[Any, Decomposition] = field(default_factory=dict)
    inserted: dict[Any, Any] = field(default_factory=dict)
    traced: bool = False
    _verdicts: dict[Any, Verdict] = field(default_factory=dict)
    # Of the blocks that were audited, the ops that are to be lowered, with their rows.
    _audited: dict[Any, list[tuple[Any, rows.Row]]] = field(default_factory=dict)
    # The op that the audit is at, and what was found of it.
    _judged: tuple[Any, Verdict | None] = (None, None)

    def __post_init__(self) -> None:
        self.emit = Emitter(self.shardings.mesh)

    # -- before: can every op be lowered as planned? -----------------------------------------------------------------

    def audit(self, function: Any) -> list[tuple[Any, str]]:
        """Reads the shardings of ``function``.

        Returns:
          The ops (also in control flow) that cannot be lowered as planned, each with the reason.
        """
        found = []
        for block, ops in self.shardings.read_function(function).items():
            self._audited[block] = waiting = []
            for op, name, given in ops:
                row = rows.ROWS.get(name)
                if problem := self._problem(op, row, given):
                    found.append((op, problem))
                # Most of what has no split result stays as it is.
                if row is not None and (
                    row.lower is not rows.same or self.shardings.split(given) or op in self.summing
                ):
                    waiting.append((op, row))
        self._judged = None, None
        return found

    def _problem(self, op: Any, row: rows.Row | None, given: Any) -> str:
        if row is None:
            values = (*op.operands, *op.results)
            return "it has no row in the lowering table" if any(self.shardings.attr(v) for v in values) else ""
        if not row.checked:
            self._judged = op, None
            return row.guard(self, op)
        verdict = self._verdict(op, row.creates, given)
        if verdict.reduced:
            self.summing.add(op)
        elif row.guard is rows.no_objection:
            return verdict.problem
        self._judged = op, verdict
        return verdict.problem or row.guard(self, op)

    def verdict(self, op: Any) -> Verdict:
        """The consistency check of ``op`` against its sharding rule, on the shardings of its operands and results."""
        judged, known = self._judged
        if judged is op and known is not None:
            return known
        found = self._verdict(op, False, op.attributes.get("sdy.sharding"))
        if judged is op:
            self._judged = op, found
            if found.reduced:
                self.summing.add(op)
        return found

    def _verdict(self, op: Any, creates: bool, given: Any) -> Verdict:
        """The verdict on ``op``, of whose results ``given`` is said."""
        operands = self.shardings.attrs(op.operands)
        if not any(operands) and not self.shardings.split(given):
            return _CONSISTENT
        rule_attr = op.attributes.get(RULE)
        if rule_attr is None:
            return Verdict("it has no sharding rule")
        key = (rule_attr, operands, given)
        if key not in self._verdicts:
            rule, _ = decode(rule_attr)
            parse, results = self.shardings.parse, self.shardings.attrs(op.results)
            self._verdicts[key] = check(rule, tuple(map(parse, operands)), tuple(map(parse, results)), creates)
        return self._verdicts[key]

    # -- the lowering ------------------------------------------------------------------------------------------------

    def block(self, block: Any, returned: list[Any]) -> None:
        """Lowers every op of ``block``; what its terminator returns is moved to the shardings ``returned``."""
        for op, row in self._audited.pop(block):
            row.lower(self, op)
        self.match_operands(terminator(block), returned)

    def in_place(self, op: Any) -> None:
        """Gives the results of ``op`` their local types."""
        try:
            values = (op.result,)
        except ValueError:
            values = op.results
        for value in values:
            self.localize_value(value)

    def localize_value(self, value: Any) -> None:
        """Gives ``value`` its local type."""
        attr = self.shardings.attr(value)
        if attr is not None:
            value.set_type(self.shardings.local_type(value.type, attr))

    def replace(self, op: Any, value: Any, attr: Any) -> None:
        """Puts ``value``, which lies as ``attr`` says, in the place of the only result of ``op``."""
        expected = self.shardings.local_type(op.results[0].type, attr)
        if value.type != expected:
            raise self.error(op, f"it was lowered to {value.type} where {expected} was planned")
        if self.traced:
            hand_over(op.results[0], value)
            if op.name.startswith("sdy."):
                stand_for(value, op.operands[0])
        op.results[0].replace_all_uses_with(value)
        self.discard(op)
        self.shardings.record(value, attr)

    def discard(self, op: Any) -> None:
        """Erases ``op``, which nothing uses, and what is known about its results: their memory may serve others."""
        for value in op.results:
            self.shardings.forget(value)
            self.partial.pop(value, None)
            self.reductions.pop(value, None)
        op.erase()

    def match_operands(self, op: Any, attrs: Sequence[Any]) -> None:
        """Moves the operands of ``op`` that do not lie as ``attrs`` say (``None``: replicated)."""
        for i, (value, attr) in enumerate(zip(list(op.operands), attrs, strict=True)):
            source, target = self.shardings[value], self.shardings.parse(attr)
            if source != target:
                whole = self.shardings.whole(value.type)
                point = _mlir.ir.InsertionPoint(op)
                moved = self.emit.reshard(value, source or whole, target or whole, point, op.location)
                self.shardings.record(moved, attr)
                if self.traced:
                    stand_for(moved, value)
                op.operands[i] = moved

    def error(self, op: Any, reason: str) -> UserError:
        """The error for an op that cannot be lowered as planned."""
        return error_for(self.program, op, reason)


_CONSISTENT = Verdict()


def error_for(program: Program, op: Any, reason: str) -> UserError:
    """The error for an op of ``program`` that cannot be partitioned."""
    return program.error(f"cannot partition '{op.name}': {reason}", op)


def localize_function(localizer: Localizer, function: Any) -> None:
    """Lowers an audited function in place: argument types, body, returned values, signature."""
    ir = _mlir.ir
    block = function.regions[0].blocks[0]
    for value in block.arguments:
        localizer.localize_value(value)
    end = terminator(block)
    localizer.block(block, entry.value_attribute(function, "res_attrs", "sdy.sharding", len(end.operands)))
    signature = ir.FunctionType.get(
        [a.type for a in block.arguments], [v.type for v in end.operands], context=_mlir.context()
    )
    function.attributes["function_type"] = ir.TypeAttr.get(signature, context=_mlir.context())
