"""Chains: from whom a tensor got an axis, step by step, back to an annotation.

Each hop goes to an earlier step, so a chain ends.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from passes.sharding.flow import Output, Tensor, outputs
from passes.sharding.mesh import Axis
from passes.sharding.origins.layouts import Layouts
from passes.sharding.origins.notes import END, FIRST, GROUP, LAST, START, Note, Notes, Time
from passes.sharding.sharding_rule import Mapping, Rule

# A step back: the step, the tensor it starts at, and the axis there.
_Hop = tuple["Step", Tensor, Axis]


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
        return self.steps[-1].time if self.steps else START


@dataclass
class Chains:
    """Follows axes back; a chain that was asked for is kept."""

    layouts: Layouts
    notes: Notes
    _known: dict[tuple[Tensor, Axis, int], Chain] = field(default_factory=dict)
    # Chains have most of their way in common.
    _hops: dict[tuple[Tensor, Axis, int], _Hop | None] = field(default_factory=dict)
    _given: dict[tuple[Tensor, Axis, int], int | None] = field(default_factory=dict)

    def all(self, tensor: Tensor) -> list[Chain]:
        """For each axis on each dimension of ``tensor``, how it came there."""
        found = enumerate(self.layouts.dims(tensor))
        return [self.chain(tensor, axis, dim) for dim, (axes, _) in found for axis in axes]

    def chain(self, tensor: Tensor, axis: Axis, dim: int) -> Chain:
        """How ``axis`` came to dimension ``dim`` of ``tensor``."""
        key = (tensor, axis, dim)
        if key not in self._known:
            self._known[key] = self._trace(tensor, axis, dim)
        return self._known[key]

    def _trace(self, tensor: Tensor, axis: Axis, dim: int) -> Chain:
        steps: list[Step] = []
        at, at_axis, at_dim, before = tensor, axis, dim, END
        while (priority := self.given(at, at_axis, at_dim)) is None:
            hop = self.last_hop(at, at_axis, at_dim, before)
            if hop is None:
                return Chain(axis, dim, at, at_dim, 0, tuple(reversed(steps)), complete=False)
            step, at, at_axis = hop
            before, at_dim = before_step(step), step.source_dim
            steps.append(step)
        return Chain(axis, dim, at, at_dim, priority, tuple(reversed(steps)))

    def last_hop(self, tensor: Tensor, axis: Axis, dim: int, before: Time = END) -> _Hop | None:
        """The step that brought ``axis`` to ``tensor``, from which tensor, and the axis there; before ``before``."""
        key = (tensor, axis, dim)
        if key not in self._hops:
            self._hops[key] = self._hop_before(tensor, axis, dim, END)
        hop = self._hops[key]
        # The earliest of all is the earliest of those before, if it is one of them.
        return hop if hop is None or hop[0].time < before else self._hop_before(tensor, axis, dim, before)

    def _hop_before(self, tensor: Tensor, axis: Axis, dim: int, before: Time) -> _Hop | None:
        return self._noted_hop(tensor, axis, dim, before) or self._group_hop(tensor, axis, dim, before)

    def given(self, tensor: Tensor, axis: Axis, dim: int) -> int | None:
        """The priority with which ``tensor`` was given ``axis``, or a part that makes it one; else ``None``."""
        key = (tensor, axis, dim)
        if key not in self._given:
            self._given[key] = self._find_given(tensor, axis, dim)
        return self._given[key]

    def _find_given(self, tensor: Tensor, axis: Axis, dim: int) -> int | None:
        given = self.layouts.dims(tensor, given=True)
        if dim >= len(given):
            return None
        axes, priority = given[dim]
        return priority if any(_contains(a, axis) for a in axes) else None

    def _noted_hop(self, tensor: Tensor, axis: Axis, dim: int, before: Time) -> _Hop | None:
        """The hop that brought ``axis`` to ``tensor``: the earliest one noted, which is before ``before``."""
        found = [
            note
            for note in self.notes.arrivals(tensor)
            if note.time < before and overlap(note.axis, axis)
        ]
        # A part may have come first; the whole then came with what was noted under its own name.
        for note in sorted(found, key=lambda n: (n.axis != axis, n.time)):
            hop = self._hop(note, axis, dim)
            if hop is not None:
                return hop
        return self._output_hop(tensor, axis, dim, before)

    def _group_hop(self, tensor: Tensor, axis: Axis, dim: int, before: Time) -> _Hop | None:
        """The hop from the member of the sharding group of ``tensor`` that had ``axis`` first; it has no note."""
        if isinstance(tensor, Output):
            return None
        group = next((use.owner.operation for use in tensor.uses if use.owner.name == GROUP), None)
        if group is None:
            return None
        found = []
        members = self.notes.members(group)
        for number, member in enumerate(members):
            if member == tensor:
                continue
            noted = self._noted_hop(member, axis, dim, before)
            if noted is not None or self.given(member, axis, dim) is not None:
                found.append((START if noted is None else noted[0].time, number))
        if not found:
            return None
        time, leader = min(found)
        step = Step(time, group, ("member", leader), ("member", members.index(tensor)), dim, dim)
        return step, members[leader], axis

    def _output_hop(self, tensor: Tensor, axis: Axis, dim: int, before: Time) -> _Hop | None:
        """The hop from what is returned to the function's result ``tensor``, or from an annotated result back.

        Shardy keeps the notes of a function's results on the first one, and not all, so they tell the time at best.
        """
        back = not isinstance(tensor, Output)
        ends = outputs(tensor) if back else [tensor]
        for end in ends:
            source = end if back else self.notes.flow.returned(end)
            held = self.layouts.dims(source, given=back)
            found = next((a for a in held[dim][0] if overlap(a, axis)), None) if dim < len(held) else None
            if found is None:
                continue
            earliest = START if back else self.chain(source, found, dim).time
            kinds = ("result", "operand") if back else ("operand", "result")
            times = [
                note.time
                for note in self.notes.of_results(end.function)
                if (note.source[0], note.target[0]) == kinds and overlap(note.axis, axis)
                and earliest < note.time < before
            ]
            time = min(times, default=FIRST if back else LAST)
            return Step(time, end, (kinds[0], 0), (kinds[1], 0), dim, dim), source, found
        return None

    def _hop(self, note: Note, axis: Axis, dim: int) -> _Hop | None:
        source = self.notes.at(note.op, note.source)
        rule, factor = self.notes.rule(note.op), None
        where = [(d, a) for d, (axes, _) in enumerate(self.layouts.dims(source)) for a in axes if overlap(a, axis)]
        if rule is None:
            where = [(d, a) for d, a in where if d == dim]
        else:
            shared = factors_of(rule, note.target)[dim]
            where = [(d, a) for d, a in where if set(factors_of(rule, note.source)[d]) & set(shared)]
        if not where:
            return None
        source_dim, source_axis = where[0]
        if rule is not None:
            common = [f for f in factors_of(rule, note.source)[source_dim] if f in factors_of(rule, note.target)[dim]]
            factor = common[0]
        step = Step(note.time, note.op, note.source, note.target, source_dim, dim, factor, rule)
        return step, source, source_axis


def before_step(step: Step) -> Time:
    """Before when the tensor that ``step`` starts at had the axis; the members of a group change in one step."""
    return (step.time[0], step.time[1] + 1) if step.source[0] == "member" else step.time


def factors_of(rule: Rule, place: tuple[str, int]) -> Mapping:
    """The factors of each dimension of operand or result ``place``."""
    return (rule.operands if place[0] == "operand" else rule.results)[place[1]]


def overlap(a: Axis, b: Axis) -> bool:
    """Whether the two have a part in common."""
    return a.name == b.name and a.pre_size < b.pre_size * b.size and b.pre_size < a.pre_size * a.size


def _contains(a: Axis, b: Axis) -> bool:
    """Whether ``b`` is ``a`` or a part of it."""
    return a.name == b.name and a.pre_size <= b.pre_size and b.pre_size * b.size <= a.pre_size * a.size
