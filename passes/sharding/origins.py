"""Why a tensor lies as it does: from whom it got each axis, step by step, and what it might have got and did not.

`record` propagates with Shardy's own notes switched on: for every op, at which step which axis went from which operand
or result to which others. A chain follows them back from a tensor to an annotation. Steps only get smaller on the way,
so it ends there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from passes import _mlir
from passes.program.entry import find_entry, is_declaration, value_attributes
from passes.program.read import Program
from passes.program.types import i64_attr
from passes.program.walk import operations
from passes.sharding.flow import Flow, Output, Tensor, neighbours, outputs, results, tensor_of
from passes.sharding.keep_edges import EDGES
from passes.sharding.mesh import Axis, Mesh, axes_from_attr, meshes
from passes.sharding.op_rules import RULE
from passes.sharding.propagate import PropagateOptions, propagate_noting
from passes.sharding.sharding_rule import Mapping, Rule, decode
from passes.sharding.signature import SHARDING

# Marks an op of the program as it was read, so that it is known again after passes copied and moved it.
MARK = "shlo.value"
# The sharding a tensor had before propagation.
GIVEN = "shlo.given"

# Ops that hold the sharding of their one result under another name.
_ALONE = frozenset({"sdy.data_flow_edge", "sdy.sharding_constraint", "sdy.reshard"})

_GROUP = "sdy.sharding_group"

_NOTE = re.compile(
    r'step-(?P<step>\d+) = \[|"(?P<axis>(?:[^"\\]|\\.)*)"(?::\((?P<pre>\d+)\)(?P<size>\d+))? = '
    r"(?P<kind>operand|result)-(?P<index>\d+) -> \[(?P<targets>[^\]]*)\]"
)
_TARGET = re.compile(r"(operand|result)-(\d+)")

# Round (there are two, see `propagate`) and step in it.
Time = tuple[int, int]
_START: Time = (-1, -1)
_END: Time = (1 << 30, 0)
# For hops whose time was not noted.
_FIRST: Time = (-1, 0)
_LAST: Time = (1 << 29, 0)


def when(time: Time) -> str:
    """A time in words; the second round is what priorities left undone."""
    if time in (_FIRST, _LAST):
        return "at first" if time == _FIRST else "at last"
    round, step = time
    return f"step {step}" if not round else f"step {step} of round {round + 1}"


@dataclass(frozen=True)
class Note:
    """At ``time``, ``axis`` went from tensor ``source`` to ``target`` by op ``op``.

    Both are ``(kind, index)``: operand or result, and which.
    """

    time: Time
    axis: Axis
    op: Any
    source: tuple[str, int]
    target: tuple[str, int]


@dataclass(frozen=True)
class Step:
    """One hop of a chain.

    Attributes:
      time: When.
      op: The op it went by; a function for a hop between what is returned and the function's result.
      source, target: From which operand or result to which, as Shardy numbers them.
      source_dim, dim: From which dimension of the one to which of the other.
      factor: The factor of the op's rule that both dimensions belong to; ``None`` for data flow, which has no rule.
      rule: That rule.
    """

    time: Time
    op: Any
    source: tuple[str, int]
    target: tuple[str, int]
    source_dim: int
    dim: int
    factor: int | None = None
    rule: Rule | None = None


@dataclass(frozen=True)
class Chain:
    """How one axis came to one dimension of a tensor, from the annotation on.

    Attributes:
      axis, dim: Which axis on which dimension it is about.
      root: The tensor that was given the axis.
      root_dim: On which of its dimensions.
      priority: The priority it was given with.
      steps: The hops from there; empty for a tensor that was given the axis itself.
      complete: Whether the chain reaches an annotation; if not, Shardy's notes do not say from where it came.
    """

    axis: Axis
    dim: int
    root: Tensor
    root_dim: int
    priority: int
    steps: tuple[Step, ...]
    complete: bool = True

    @property
    def time(self) -> Time:
        """When the axis arrived."""
        return self.steps[-1].time if self.steps else _START


@dataclass(frozen=True)
class Conflict:
    """A tensor that shares a factor with another and lies differently there.

    Attributes:
      op: Where the two meet.
      factor, rule: The factor of its rule.
      dim, other_dim: The dimensions that belong to the factor.
      other: The other tensor, ``place`` says which operand or result of the op it is.
      missed: The axes the other has there and this one has not.
      chain: How the first of them came to the other.
    """

    op: Any
    factor: int
    rule: Rule
    dim: int
    other: Tensor
    other_dim: int
    place: tuple[str, int]
    missed: tuple[Axis, ...]
    chain: Chain


def record(program: Program, options: PropagateOptions | None = None, entry: str | None = None) -> Origins:
    """Propagates over ``program``, whose module is used up, and keeps what is needed to say why.

    Raises:
      UserError: see `propagate.propagate`.
    """
    function = find_entry(program, entry)
    annotated = put_marks(program.module)
    propagate_noting(program, function, options or PropagateOptions(), _keep_given)
    return Origins(program, annotated)


def put_marks(module: Any) -> frozenset[int]:
    """Numbers the ops of ``module`` in `MARK`, in order; returns the numbers of those that are annotated."""
    annotated = set()
    for number, op in enumerate(operations(module)):
        if len(op.results):
            op.attributes[MARK] = i64_attr(number)
            if SHARDING in op.attributes:
                annotated.add(number)
    return frozenset(annotated)


def mark_of(op: Any) -> int | None:
    """The number of the op of the original program that ``op`` is, or is a copy of."""
    attribute = op.attributes.get(MARK)
    return None if attribute is None else int(_mlir.ir.IntegerAttr(attribute).value)


def _keep_given(module: Any) -> None:
    """Writes down which shardings there are before propagation."""
    ir, context = _mlir.ir, _mlir.context()
    for op in operations(module):
        attributes = op.attributes
        key = "sharding" if op.name in _ALONE else SHARDING
        if key in attributes:
            attributes[GIVEN] = attributes[key]
        if op.name != "func.func" or is_declaration(op):
            continue
        for place in ("arg_attrs", "res_attrs"):
            if place in attributes:
                values = value_attributes(op, place, len(ir.ArrayAttr(attributes[place])))
                for value in values:
                    if SHARDING in value:
                        value[GIVEN] = value[SHARDING]
                dictionaries = [ir.DictAttr.get(value, context=context) for value in values]
                attributes[place] = ir.ArrayAttr.get(dictionaries, context=context)


@dataclass
class Origins:
    """A propagated module with Shardy's notes, asked for one tensor at a time."""

    program: Program
    annotated: frozenset[int]
    _flow: Flow = field(default_factory=Flow)
    _chains: dict[tuple[Tensor, Axis, int], Chain] = field(default_factory=dict)
    _signatures: dict[tuple[Any, str], list[dict[str, Any]]] = field(default_factory=dict)
    _notes: dict[Any, tuple[Note, ...]] = field(default_factory=dict)

    @cached_property
    def meshes(self) -> dict[str, Mesh]:
        """The module's meshes by name."""
        return meshes(self.program.module)

    @cached_property
    def copies(self) -> dict[int, list[Any]]:
        """For each op of the original program, the ops it became."""
        found: dict[int, list[Any]] = {}
        for op in operations(self.program.module):
            number = mark_of(op)
            if number is not None:
                found.setdefault(number, []).append(op)
        return found

    # -- what lies where -------------------------------------------------------------------------------------------

    def sharding(self, tensor: Tensor, *, given: bool = False) -> Any:
        """The ``#sdy.sharding`` of ``tensor``, before propagation if ``given``; ``None`` if it has none."""
        if isinstance(tensor, Output):
            return self._signature(tensor.function, "res_attrs")[tensor.index].get(GIVEN if given else SHARDING)
        owner = tensor.owner
        if isinstance(owner, _mlir.ir.Block):
            parent = owner.owner.operation
            if parent.name != "func.func":
                return None
            return self._signature(parent, "arg_attrs")[tensor.arg_number].get(GIVEN if given else SHARDING)
        attributes = owner.operation.attributes
        key = GIVEN if given else "sharding" if owner.name in _ALONE else SHARDING
        if key not in attributes:
            return None
        found = attributes[key]
        if _mlir.sdy.TensorShardingAttr.isinstance(found):
            return found
        per_value = _mlir.sdy.TensorShardingPerValueAttr(found).shardings
        return per_value[tensor.result_number]

    def dims(self, tensor: Tensor, *, given: bool = False) -> list[tuple[tuple[Axis, ...], int]]:
        """For each dimension of ``tensor`` the axes it is split over and their priority; empty without a sharding."""
        attribute = self.sharding(tensor, given=given)
        if attribute is None:
            return []
        sdy = _mlir.sdy
        attr = sdy.TensorShardingAttr(attribute)
        mesh = self.mesh_of(attribute)
        dimensions = [sdy.DimensionShardingAttr(d) for d in attr.dimension_shardings]
        found = [(axes_from_attr(d, mesh), d.priority or 0) for d in dimensions]
        return [
            ((*manual, *(axis for axis in axes if axis not in manual)), priority)
            for (axes, priority), manual in zip(found, self._manual(tensor, mesh, len(found)), strict=True)
        ]

    def _manual(self, tensor: Tensor, mesh: Mesh, rank: int) -> list[tuple[Axis, ...]]:
        """The manual axes on each dimension of an argument of a manual computation.

        Its edge has the other axes only, for that is what is left inside; what flows in has both.
        """
        none: list[tuple[Axis, ...]] = [()] * rank
        if isinstance(tensor, Output) or isinstance(tensor.owner, _mlir.ir.Block):
            return none
        edge = tensor.owner.operation
        if edge.name != "sdy.data_flow_edge" or not isinstance(edge.operands[0].owner, _mlir.ir.Block):
            return none
        body = edge.operands[0].owner.owner.operation
        if body.name != "sdy.manual_computation":
            return none
        sdy = _mlir.sdy
        given = sdy.TensorShardingPerValueAttr(body.attributes["in_shardings"]).shardings[edge.operands[0].arg_number]
        manual = set(sdy.ManualAxesAttr(body.attributes["manual_axes"]))
        dimensions = sdy.TensorShardingAttr(given).dimension_shardings
        return [tuple(a for a in axes_from_attr(d, mesh) if a.name in manual) for d in dimensions]

    def mesh_of(self, attribute: Any) -> Mesh:
        """The mesh of a ``#sdy.sharding``."""
        return self.meshes[_mlir.ir.FlatSymbolRefAttr(_mlir.sdy.TensorShardingAttr(attribute).mesh_or_ref).value]

    def is_closed(self, tensor: Tensor, dim: int) -> bool:
        """Whether dimension ``dim`` was given closed, so that nothing may be added to it."""
        attribute = self.sharding(tensor, given=True)
        if attribute is None:
            return False
        dimensions = _mlir.sdy.TensorShardingAttr(attribute).dimension_shardings
        return dim < len(dimensions) and bool(_mlir.sdy.DimensionShardingAttr(dimensions[dim]).is_closed)

    def _signature(self, function: Any, key: str) -> list[dict[str, Any]]:
        if (function, key) not in self._signatures:
            block = function.regions[0].blocks[0]
            count = len(block.arguments)
            if key == "res_attrs":
                type = _mlir.ir.FunctionType(_mlir.ir.TypeAttr(function.attributes["function_type"]).value)
                count = len(type.results)
            self._signatures[function, key] = value_attributes(function, key, count)
        return self._signatures[function, key]

    # -- chains ----------------------------------------------------------------------------------------------------

    def chains(self, tensor: Tensor) -> list[Chain]:
        """For each axis on each dimension of ``tensor``, how it came there."""
        found = enumerate(self.dims(tensor))
        return [self.chain(tensor, axis, dim) for dim, (axes, _) in found for axis in axes]

    def chain(self, tensor: Tensor, axis: Axis, dim: int) -> Chain:
        """How ``axis`` came to dimension ``dim`` of ``tensor``."""
        key = (tensor, axis, dim)
        if key not in self._chains:
            self._chains[key] = self._trace(tensor, axis, dim)
        return self._chains[key]

    def _trace(self, tensor: Tensor, axis: Axis, dim: int) -> Chain:
        steps: list[Step] = []
        at, at_axis, at_dim, before = tensor, axis, dim, _END
        while (priority := self._given(at, at_axis, at_dim)) is None:
            hop = self._noted_hop(at, at_axis, at_dim, before)
            leader = self._group_hop(at, at_axis, at_dim, before) if hop is None else None
            hop = hop or leader
            if hop is None:
                return Chain(axis, dim, at, at_dim, 0, tuple(reversed(steps)), complete=False)
            step, at, at_axis = hop
            # The members of a group change in one step.
            before = (step.time[0], step.time[1] + 1) if leader else step.time
            at_dim = step.source_dim
            steps.append(step)
        return Chain(axis, dim, at, at_dim, priority, tuple(reversed(steps)))

    def _given(self, tensor: Tensor, axis: Axis, dim: int) -> int | None:
        """The priority with which ``tensor`` was given ``axis``, or a part that makes it one; else ``None``."""
        given = self.dims(tensor, given=True)
        if dim >= len(given):
            return None
        axes, priority = given[dim]
        return priority if any(_contains(a, axis) for a in axes) else None

    def _noted_hop(self, tensor: Tensor, axis: Axis, dim: int, before: Time) -> tuple[Step, Tensor, Axis] | None:
        """The hop that brought ``axis`` to ``tensor``: the earliest one noted, which is before ``before``."""
        found = [
            note
            for note in self._arrivals(tensor)
            if note.time < before and _overlap(note.axis, axis)
        ]
        # A part may have come first; the whole then came with what was noted under its own name.
        for note in sorted(found, key=lambda n: (n.axis != axis, n.time)):
            hop = self._hop(note, axis, dim)
            if hop is not None:
                return hop
        return self._output_hop(tensor, axis, dim, before)

    def _group_hop(self, tensor: Tensor, axis: Axis, dim: int, before: Time) -> tuple[Step, Tensor, Axis] | None:
        """The hop from the member of the sharding group of ``tensor`` that had ``axis`` first; it has no note."""
        if isinstance(tensor, Output):
            return None
        group = next((use.owner.operation for use in tensor.uses if use.owner.name == _GROUP), None)
        if group is None:
            return None
        found = []
        members = self._members(group)
        for number, member in enumerate(members):
            if member == tensor:
                continue
            noted = self._noted_hop(member, axis, dim, before)
            if noted is not None or self._given(member, axis, dim) is not None:
                found.append((_START if noted is None else noted[0].time, number))
        if not found:
            return None
        time, leader = min(found)
        step = Step(time, group, ("member", leader), ("member", members.index(tensor)), dim, dim)
        return step, members[leader], axis

    def _members(self, group: Any) -> list[Tensor]:
        """The tensors of a sharding group, from any of its ops."""
        return self._groups[_mlir.ir.IntegerAttr(group.attributes["group_id"]).value]

    @cached_property
    def _groups(self) -> dict[int, list[Tensor]]:
        found: dict[int, list[Tensor]] = {}
        for op in operations(self.program.module):
            if op.name == _GROUP:
                members = found.setdefault(_mlir.ir.IntegerAttr(op.attributes["group_id"]).value, [])
                members.append(tensor_of(op.operands[0]))
        return found

    def _output_hop(self, tensor: Tensor, axis: Axis, dim: int, before: Time) -> tuple[Step, Tensor, Axis] | None:
        """The hop from what is returned to the function's result ``tensor``, or from an annotated result back.

        Shardy keeps the notes of a function's results on the first one, and not all, so they tell the time at best.
        """
        back = not isinstance(tensor, Output)
        ends = outputs(tensor) if back else [tensor]
        for end in ends:
            source = end if back else self._flow.returned(end)
            held = self.dims(source, given=back)
            found = next((a for a in held[dim][0] if _overlap(a, axis)), None) if dim < len(held) else None
            if found is None:
                continue
            earliest = _START if back else self.chain(source, found, dim).time
            kinds = ("result", "operand") if back else ("operand", "result")
            times = [
                note.time
                for note in self._output_notes(end.function)
                if (note.source[0], note.target[0]) == kinds and _overlap(note.axis, axis)
                and earliest < note.time < before
            ]
            time = min(times, default=_FIRST if back else _LAST)
            return Step(time, end, (kinds[0], 0), (kinds[1], 0), dim, dim), source, found
        return None

    def _hop(self, note: Note, axis: Axis, dim: int) -> tuple[Step, Tensor, Axis] | None:
        source = self.at(note.op, note.source)
        rule, factor = self._rule(note.op), None
        where = [(d, a) for d, (axes, _) in enumerate(self.dims(source)) for a in axes if _overlap(a, axis)]
        if rule is None:
            where = [(d, a) for d, a in where if d == dim]
        else:
            shared = _mapping(rule, note.target)[dim]
            where = [(d, a) for d, a in where if set(_mapping(rule, note.source)[d]) & set(shared)]
        if not where:
            return None
        source_dim, source_axis = where[0]
        if rule is not None:
            common = [f for f in _mapping(rule, note.source)[source_dim] if f in _mapping(rule, note.target)[dim]]
            factor = common[0]
        step = Step(note.time, note.op, note.source, note.target, source_dim, dim, factor, rule)
        return step, source, source_axis

    def _arrivals(self, tensor: Tensor) -> Iterator[Note]:
        """The notes whose target is ``tensor``."""
        seen = set()
        for op in neighbours(tensor):
            if op in seen:
                continue
            seen.add(op)
            for note in self._notes_at(op):
                if self.at(op, note.target) == tensor:
                    yield note

    def _notes_at(self, op: Any) -> tuple[Note, ...]:
        """What was noted at ``op``."""
        if op not in self._notes:
            attributes = op.attributes
            self._notes[op] = tuple(self._parse(attributes[EDGES], op)) if EDGES in attributes else ()
        return self._notes[op]

    def _output_notes(self, function: Any) -> tuple[Note, ...]:
        if function not in self._notes:
            kept = [a[EDGES] for a in self._signature(function, "res_attrs") if EDGES in a]
            output = Output(function, 0)
            self._notes[function] = tuple(note for attribute in kept for note in self._parse(attribute, output))
        return self._notes[function]

    def _parse(self, kept: Any, op: Any) -> Iterator[Note]:
        for round, text in enumerate(_mlir.ir.ArrayAttr(kept)):
            step = 0
            for found in _NOTE.finditer(_mlir.ir.StringAttr(text).value):
                if found["step"] is not None:
                    step = int(found["step"])
                    continue
                source = (found["kind"], int(found["index"]))
                targets = [(kind, int(index)) for kind, index in _TARGET.findall(found["targets"])]
                axis = self._axis(found, op, targets[0])
                yield from (Note((round, step), axis, op, source, target) for target in targets)

    def _axis(self, found: re.Match[str], op: Any, target: tuple[str, int]) -> Axis:
        """The axis of a note, whole or a part; of meshes that share its name, of the mesh ``target`` lies on."""
        name = found["axis"]
        if found["pre"]:
            return Axis(name, int(found["pre"]), int(found["size"]))
        wholes = {mesh.axis(name) for mesh in self.meshes.values() if name in mesh.sizes}
        if len(wholes) == 1:
            return next(iter(wholes))
        return self.mesh_of(self.sharding(self.at(op, target))).axis(name)

    def at(self, op: Any, place: tuple[str, int]) -> Tensor:
        """Operand or result ``place`` of ``op``, or member of the sharding group it is about."""
        kind, index = place
        if isinstance(op, Output):
            return op if kind == "result" else self._flow.returned(op)
        if kind == "member":
            return self._members(op)[index]
        return (self._flow.operands(op) if kind == "operand" else results(op))[index]

    def _rule(self, op: Any) -> Rule | None:
        if isinstance(op, Output) or RULE not in op.attributes:
            return None
        return decode(op.attributes[RULE])[0]

    # -- conflicts -------------------------------------------------------------------------------------------------

    def conflicts(self, tensor: Tensor) -> list[Conflict]:
        """Where ``tensor`` meets tensors that are split over axes which it did not take."""
        found: list[Conflict] = []
        for op in dict.fromkeys(neighbours(tensor)):
            rule = self._rule(op)
            if rule is not None:
                found += self._conflicts_at(tensor, op, rule)
        return found

    def _conflicts_at(self, tensor: Tensor, op: Any, rule: Rule) -> Iterator[Conflict]:
        places = [("operand", i) for i in range(len(rule.operands))] + [("result", i) for i in range(len(rule.results))]
        tensors = [self.at(op, place) for place in places]
        mine = next((p for p, t in zip(places, tensors, strict=True) if t == tensor), None)
        if mine is None:
            return
        own = self._by_factor(tensor, rule, mine)
        for place, other in zip(places, tensors, strict=True):
            if other == tensor:
                continue
            for factor, (other_dim, axes) in self._by_factor(other, rule, place).items():
                if factor in own:
                    dim, has = own[factor]
                    missed = tuple(a for a in axes if not any(_overlap(a, b) for b in has))
                    if missed and factor not in rule.need_replication | rule.blocked:
                        chain = self.chain(other, missed[0], other_dim)
                        yield Conflict(op, factor, rule, dim, other, other_dim, place, missed, chain)

    def _by_factor(self, tensor: Tensor, rule: Rule, place: tuple[str, int]) -> dict[int, tuple[int, tuple[Axis, ...]]]:
        """For each factor of ``tensor``: its dimension, and the axes there; of several factors the major ones first."""
        mapping = _mapping(rule, place)
        dims = [axes for axes, _ in self.dims(tensor)] or [()] * len(mapping)
        found: dict[int, tuple[int, tuple[Axis, ...]]] = {}
        for dim, (factors, axes) in enumerate(zip(mapping, dims, strict=False)):
            rest = list(axes)
            for factor in factors:
                room, taken = rule.sizes[factor], list[Axis]()
                while rest and room > 1 and (rest[0].size <= room or factor == factors[-1]):
                    room //= rest[0].size
                    taken.append(rest.pop(0))
                found[factor] = (dim, tuple(taken))
        return found


def _mapping(rule: Rule, place: tuple[str, int]) -> Mapping:
    return (rule.operands if place[0] == "operand" else rule.results)[place[1]]


def _overlap(a: Axis, b: Axis) -> bool:
    return a.name == b.name and a.pre_size < b.pre_size * b.size and b.pre_size < a.pre_size * a.size


def _contains(a: Axis, b: Axis) -> bool:
    """Whether ``b`` is ``a`` or a part of it."""
    return a.name == b.name and a.pre_size <= b.pre_size and b.pre_size * b.size <= a.pre_size * a.size


