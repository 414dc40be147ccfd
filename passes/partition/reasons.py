"""Why each collective of a per-device program is there: which value moves, between which shardings, and for which op.

  2  all_gather  model  8,192 B  %12 (add)  P('model', None) -> P(None, None)  for dot_general at model.py:20
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from passes import _mlir
from passes.errors import Where
from passes.partition.improve import improvements
from passes.partition.report import Report
from passes.partition.side_table import SideTable
from passes.partition.summary import COLLECTIVES, axes_of
from passes.partition.trace import Held, fetched_for, held, number_of, remove_marks
from passes.pipeline.base import Counters
from passes.program import read
from passes.program.read import Program
from passes.program.types import byte_size
from passes.program.walk import operations
from passes.sharding.mesh import Sharding
from passes.sharding.origins.marks import MARK, mark_of

_REDUCES = frozenset({"stablehlo.all_reduce", "stablehlo.reduce_scatter"})


@dataclass(frozen=True)
class Source:
    """An op of the global program, or an argument or result of its entry function.

    Attributes:
      op: The op's name; ``argument`` or ``result`` for the others.
      index: Which result of the op, or which argument or result.
      mark: The op's number in the program that was marked before partitioning (`marks.MARK`), if it was in it.
      where: Its place.
      label: The name its location carries.
    """

    op: str
    index: int = 0
    mark: int | None = None
    where: Where | None = None
    label: str = ""


@dataclass(frozen=True)
class Reason:
    """One collective and why it is there.

    Attributes:
      number: Its position among the program's collectives, from 1.
      kind: ``all_gather``, ...
      axes: The mesh axes it goes over, as users write them; empty for a permutation.
      group: How many devices talk to each other.
      bytes: What each device puts in.
      value: The value that is moved or completed; ``None`` if it is one that lowering made up.
      before, after: How it lies on either side.
      reduced: The axes over which devices held summands before; empty for a move.
      summands: For a reduction the shardings of the op's operands.
      needed_by: The op that reads it in the new sharding; for a reduction the op that makes the summands.
      is_fetched: Whether the op gets what it reads, a strip or choices of others, which lies like no value does.
    """

    number: int
    kind: str
    axes: tuple[str, ...]
    group: int
    bytes: int
    value: Source | None
    before: Sharding | None
    after: Sharding | None
    reduced: tuple[str, ...]
    summands: tuple[str, ...]
    needed_by: Source | None
    is_fetched: bool


def reasons(program: Program, report: Report) -> list[Reason]:
    """Explains every collective of ``program``, which `partition` with ``trace`` made and reported on."""
    reader = _Reader(program, report)
    return [reader.reason(number, op) for number, op in enumerate(_collectives(program), start=1)]


@dataclass(frozen=True)
class Fate:
    """What becomes of planned collectives.

    Attributes:
      emitted: Those the per-device program has in the end, by kind.
      taken_out: For each planned one that is not among them, by number, why.
    """

    emitted: dict[str, int]
    taken_out: dict[int, str]


def fate(program: Program) -> Fate:
    """Does to ``program``, which `reasons` explained, what `partition` does without ``trace``; tells what that is."""
    remove_marks(program.module)
    for op in operations(program.module):
        if MARK in op.attributes:
            del op.attributes[MARK]
    planned = {f"{_PLANNED}{n}": n for n, op in enumerate(_collectives(program), start=1)}
    for name, op in zip(planned, _collectives(program), strict=True):
        # In the location, where equal ops may differ.
        op.location = _mlir.ir.Location.name(name, context=_mlir.context())
    why: dict[str, str] = {}
    for own in improvements():
        counters = Counters(own.statistics, explain=True)
        own.run(program.module.operation, counters)
        why |= {_mlir.name_of(r.location): r.why for r in counters.removals or ()}
    left = _collectives(program)
    there = {_mlir.name_of(op.location) for op in left}
    gone = {n: why.get(name, _MERGED) for name, n in planned.items() if name not in there}
    counts = Counter(str(op.name).removeprefix("stablehlo.") for op in left)
    return Fate(dict(sorted(counts.items())), gone)


_PLANNED, _MERGED = "planned collective ", "merged with another one"


def _collectives(program: Program) -> list[Any]:
    return [op for op in operations(program.module) if op.name in COLLECTIVES]


class _Reader:
    """Looks up where values of the per-device program come from in the global one."""

    def __init__(self, program: Program, report: Report) -> None:
        assert report.numbered is not None
        self._program = program
        self._table: SideTable = report.side_table
        self._axes_of_groups = report.axes_of_groups
        # Kept, for the operations of a module live no longer than it does.
        self._global = read.parse(report.numbered).module
        self._ops = {number_of(op): op for op in operations(self._global)}

    def reason(self, number: int, op: Any) -> Reason:
        """Why ``op``, the ``number``-th collective, is there."""
        axes, group = axes_of(op, self._axes_of_groups)
        source = self._held_before(op.operands[0])
        made = held(op, self._table.mesh)[0] or self._held_after(op, source)
        number_of_reader = fetched_for(op)
        fetched_by = None if number_of_reader is None else self._ops.get(number_of_reader)
        # A part of what is fetched for one op lies like nothing else.
        is_fetched = fetched_by is not None and made is None
        moved = source if is_fetched else made
        reduces = op.name in _REDUCES
        maker = self._producer(op.operands[0]) if reduces else None
        reduced = tuple(a.text(self._table.mesh) for a in source.reduced) if source is not None else ()
        return Reason(
            number,
            op.name.removeprefix("stablehlo."),
            axes,
            group,
            sum(byte_size(v.type) for v in op.operands),
            self._source(moved) if moved is not None else None,
            source.sharding if source is not None else None,
            made.sharding if made is not None else None,
            reduced,
            tuple(self._specs(maker)) if maker is not None else (),
            self._described(fetched_by, 0)
            or (self._summed(maker, source) if maker is not None else self._reader(op, made)),
            is_fetched,
        )

    def _held(self, value: Any) -> Held | None:
        """What ``value`` is of the global program, and how it lies."""
        owner = value.owner
        if not isinstance(owner, _mlir.ir.Block):
            return held(owner.operation, self._table.mesh)[int(value.result_number)]
        parent = owner.owner.operation
        if parent.name == "func.func":
            return Held(None, value.arg_number, self._table.arguments[value.arg_number].sharding)
        if parent.name == "stablehlo.while":
            return held(parent, self._table.mesh)[int(value.arg_number)]
        return None

    def _held_before(self, value: Any) -> Held | None:
        """What moves as ``value``, looking through the first parts of a move in several."""
        found = self._held(value)
        while found is None and not isinstance(value.owner, _mlir.ir.Block) and len(value.owner.operation.operands):
            value = value.owner.operation.operands[0]
            found = self._held(value)
        return found

    def _held_after(self, op: Any, source: Held | None) -> Held | None:
        """How what ``op`` moves lies in the end, if it is the first part of a move in several."""
        while source is not None and (uses := list(op.results[0].uses)):
            op = uses[-1].owner.operation
            found = held(op, self._table.mesh)
            if found and found[0] is not None:
                same = (found[0].number, found[0].result) == (source.number, source.result)
                return found[0] if same else None
            if len(op.results) != 1:
                return None
        return None

    def _source(self, value: Held) -> Source | None:
        if value.number is None:
            return Source("argument", value.result)
        return self._described(self._ops.get(value.number), value.result)

    def _described(self, op: Any, index: int) -> Source | None:
        if op is None:
            return None
        return Source(str(op.name), index, mark_of(op), self._program.where(op), _mlir.name_of(op.location))

    def _known(self, op: Any) -> Source | None:
        """An op of the per-device program; the original it stands for if that is known."""
        number = number_of(op)
        original = self._ops.get(number) if number is not None else None
        return self._described(original if original is not None else op, 0)

    def _summed(self, op: Any, summands: Held | None) -> Source | None:
        """The op of the global program whose result the summands add up to; ``op``, which makes them, if unknown."""
        original = self._ops.get(summands.number) if summands is not None and summands.reduced else None
        return self._known(op) if original is None else self._described(original, 0)

    def _producer(self, value: Any) -> Any:
        """The op that makes the summands, behind collectives that have been at work on them already."""
        owner = value.owner
        while not isinstance(owner, _mlir.ir.Block) and owner.operation.name in COLLECTIVES:
            owner = owner.operation.operands[0].owner
        return None if isinstance(owner, _mlir.ir.Block) else owner.operation

    def _specs(self, op: Any) -> Iterator[str]:
        for value in op.operands:
            found = self._held(value)
            if found is not None and found.sharding.dims:
                yield found.sharding.spec()

    def _reader(self, op: Any, moved: Held | None) -> Source | None:
        """The first op that reads what ``op`` moved for another purpose than to move it on."""
        at, seen = op, {op}
        while True:
            users = [use for value in at.results for use in value.uses]
            if not users:
                return None
            use = users[-1]  # Uses are listed last first.
            reader = use.owner.operation
            if reader.name == "func.return":
                return Source("result", use.operand_number)
            stands_for = held(reader, self._table.mesh)
            same = moved is not None and any(
                h is not None and (h.number, h.result) == (moved.number, moved.result) for h in stands_for
            )
            if not same or reader in seen or reader.name == "stablehlo.while":
                return self._known(reader)
            seen.add(reader)
            at = reader
