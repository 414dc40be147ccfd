"""Where a plan has to be said inside of a program: constraints for ops that would be split otherwise.

Arguments and results with their shardings leave much open: what propagation makes of them, and which of two axes an op
keeps where both want it. So the annotated program is planned up to its reshards, and its ops are compared with what the
model has priced. If any differs, constraints are put where data moves in the plan: where an op reads a value otherwise
than it lies (``operand = 1``: storage and use differ, as in FSDP), and where a result lies otherwise than it is made.
Everything between follows by propagation; what still does not, first in each chain, is constrained too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from passes import _mlir
from passes.autoshard.model import Model
from passes.autoshard.plans import Layout, Plan
from passes.cost.graph import Node
from passes.partition.partition import NORMALISE
from passes.partition.plan import with_reshards
from passes.partition.prime_axes import PrimeMesh, factor_axes
from passes.partition.shardings import ShardingMap
from passes.pipeline import runner
from passes.program.entry import find_entry
from passes.program.read import Program
from passes.program.types import i64_attr
from passes.program.walk import operations
from passes.sharding.mesh import meshes
from passes.sharding.op_selection import Operations
from passes.sharding.propagate import propagate

# The position of an op among those that constraints select from, while it is looked for.
MARK = "shlo.chosen"
# Programs of more ops than these are not planned to compare: the constraints where data moves are all they get.
LARGE = 20_000

@dataclass(frozen=True, order=True)
class Pin:
    """A constraint on what one op writes, or reads.

    Attributes:
      op: The op's position among those that constraints select from.
      operand, result: Which of its values; the other one is -1.
      layout: How it lies.
    """

    op: int
    operand: int
    result: int
    layout: Layout


def mark(program: Program) -> None:
    """Numbers the ops that constraints can select."""
    for number, op in enumerate(Operations(program).all):
        op.attributes[MARK] = i64_attr(number)


def pins_of(model: Model, plan: Plan, annotated: Callable[[list[Pin]], Program]) -> list[Pin]:
    """The constraints that make the program of ``plan`` what the model has priced, as far as constraints can.

    Args:
      model: Of a program whose ops were marked.
      plan: The plan.
      annotated: The marked program with the plan's shardings on arguments and results, and these constraints.

    Raises:
      UserError: the program cannot be planned.
    """
    wanted = _wanted(model, plan)
    moved = [pin for ops in wanted.values() for pin in ops.moves()]
    if is_large(model):
        return sorted(moved)
    if not _differing(wanted, _planned(annotated([]), model)):
        return []
    planned = _planned(annotated(moved), model)
    first = _first(_differing(wanted, planned))
    return sorted({*moved, *[pin for ops in first for pin in ops.pins(planned[ops.mark])]})


def is_large(model: Model) -> bool:
    """Whether lowering the program once takes so long that nothing is lowered to compare."""
    return len(model.classes.of_op) > LARGE


@dataclass(frozen=True)
class _Planned:
    """How an op reads its operands and writes its results."""

    operands: tuple[Layout, ...]
    results: tuple[Layout, ...]


@dataclass(frozen=True)
class _Wanted:
    """How the model splits an op.

    Attributes:
      mark: The op.
      node: It in the model's program.
      number: Its class.
      operands: The layout of each operand where it is read, ``None`` for one that can lie in any.
      stored: How each operand lies.
      made: How its results lie when they are made.
      lies: How they lie then.
    """

    mark: int
    node: Node
    number: int
    operands: tuple[Layout | None, ...]
    stored: tuple[Layout | None, ...]
    made: tuple[Layout, ...]
    lies: tuple[Layout, ...]

    def differs(self, planned: _Planned) -> bool:
        """Whether ``planned`` is something else."""
        return planned.results != self.made or bool(self._operands(planned))

    def _operands(self, planned: _Planned) -> list[int]:
        both = zip(self.operands, planned.operands, strict=True)
        return [i for i, (layout, other) in enumerate(both) if layout is not None and layout != other]

    def moves(self) -> Iterator[Pin]:
        """What says where data moves."""
        for i, (layout, other) in enumerate(zip(self.operands, self.stored, strict=True)):
            if layout is not None and layout != other:
                yield Pin(self.mark, i, -1, layout)
        for i, (layout, other) in enumerate(zip(self.made, self.lies, strict=True)):
            if layout != other:
                yield Pin(self.mark, -1, i, other)

    def pins(self, planned: _Planned) -> Iterator[Pin]:
        """What says that it is not ``planned`` so."""
        for i in self._operands(planned):
            yield Pin(self.mark, i, -1, self.operands[i] or ())
        for i, layout in enumerate(self.made):
            if planned.results[i] != layout:
                yield Pin(self.mark, -1, i, self.lies[i])


def _wanted(model: Model, plan: Plan) -> dict[int, _Wanted]:
    """What the model says of each marked op that is in its program once."""
    found: dict[int, _Wanted | None] = {}
    for use in model.dimensions.uses:
        node, number = use.node, model.classes.of_op.get(id(use.node))
        mark = _mark_of(node.op)
        if mark is None or number is None:
            continue
        ops, split = model.classes.ops[number], model.split(number, plan)
        operands = tuple(None if k < 0 else layout for k, layout in zip(ops.operands, split.wanted, strict=True))
        stored = tuple(None if k < 0 else model.layout(k, plan) for k in ops.operands)
        lies = tuple(model.layout(k, plan) for k in ops.results)
        found[mark] = None if mark in found else _Wanted(mark, node, number, operands, stored, split.made, lies)
    return {mark: wanted for mark, wanted in found.items() if wanted is not None}


def _planned(program: Program, model: Model) -> dict[int, _Planned]:
    """How marked ops are planned that are in ``program`` once; it is used up."""
    runner.run(program, NORMALISE.replace("EXCEPT", ""))
    [prime] = {prime.original: prime for prime in factor_axes(program.module).values()}.values()
    propagate(program)
    shardings = with_reshards(program, prime.mesh, meshes(program.module))
    reader = _Reader(shardings, prime, {name: i for i, (name, _) in enumerate(model.mesh.axes)})
    found: dict[int, _Planned | None] = {}
    for op in operations(find_entry(program)):
        mark = _mark_of(op)
        if mark is not None:
            found[mark] = None if mark in found else _Planned(reader.layouts(op.operands), reader.layouts(op.results))
    return {mark: planned for mark, planned in found.items() if planned is not None}


@dataclass(frozen=True)
class _Reader:
    """Reads layouts from shardings over prime axes."""

    shardings: ShardingMap
    prime: PrimeMesh
    positions: dict[str, int]

    def layouts(self, values: Iterable[Any]) -> tuple[Layout, ...]:
        """How ``values`` lie; a part of an axis is none that the model knows."""
        return tuple([self._layout(value) for value in values])

    def _layout(self, value: Any) -> Layout:
        if not isinstance(value.type, _mlir.ir.RankedTensorType):
            return ()
        return tuple([
            tuple([
                self.positions[axis.name] if axis == self.prime.original.axis(axis.name) else -1
                for axis in self.prime.restore_axes(tuple(a.name for a in axes))
            ])
            for axes in self.shardings.dims(value)
        ])


def _differing(wanted: dict[int, _Wanted], planned: dict[int, _Planned]) -> list[_Wanted]:
    return [ops for mark, ops in wanted.items() if mark in planned and ops.differs(planned[mark])]


def _first(differing: list[_Wanted]) -> list[_Wanted]:
    """Those none of whose operands comes from one that differs, with all that are equal to them."""
    late = {v for ops in differing for v in ops.node.results}
    numbers = {ops.number for ops in differing if late.isdisjoint(ops.node.operands)}
    return [ops for ops in differing if ops.number in numbers]


def _mark_of(op: Any) -> int | None:
    attr = op.attributes.get(MARK)
    return None if attr is None else int(_mlir.ir.IntegerAttr(attr).value)
