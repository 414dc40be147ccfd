"""What a plan costs, without lowering it: the same laws as `cost`, on classes of ops and values that are split alike.

A plan is a list of actions, each of which splits one colour over one mesh axis; where two of them want one axis in one
value or op, the earlier one has it. So the batch over ``data`` and then the hidden dimension over ``data`` is data
parallelism with weights stored in shards: in an op with both, the batch has the axis and the weight is gathered.

  value   lies as the actions say for its dimensions
  op      is split as they say for its factors; an operand that lies otherwise is moved (once for all ops that want it
          so), a result is completed if a factor that is summed over is split, and moved if it lies otherwise; of
          results that are only added up one is completed, for partial sums are added before they are

The price is a sum over parts: all ops, values and copies with the same colours. What a part costs depends only on the
actions about its colours and is remembered, so a plan takes a fraction of a millisecond whatever the program's depth.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from passes.autoshard.classes import Classes, Ops, Readers
from passes.autoshard.dimensions import Dimensions, major
from passes.autoshard.given import Given
from passes.autoshard.moving import Mover
from passes.autoshard.occupancy import Occupancy
from passes.autoshard.plans import Action, Layout, Plan, Price, about, allot, parts
from passes.autoshard.rounds import Rounds
from passes.cost.device import Device
from passes.sharding.mesh import Mesh
from passes.sharding.sharding_rule import Rule

# For each part of a model which of its states it is in under one plan.
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """An op class under a plan.

    Attributes:
      local, communication, sent: Its time, and what completing its results takes.
      wanted, made: How its operands have to lie, and how its results lie when they are made.
    """

    local: float
    communication: float
    sent: float
    wanted: tuple[Layout, ...]
    made: tuple[Layout, ...]


@dataclass(frozen=True)
class Share:
    """What one part adds to the price of a plan; ``alive`` are bytes at each moment, arguments aside."""

    local: float
    communication: float
    sent: float
    arguments: float
    alive: NDArray[np.float64]

    @property
    def seconds(self) -> float:
        """Time, nothing overlapping."""
        return self.local + self.communication


@dataclass
class Part:
    """Classes of ops, values and readers with the same colours: a summand of prices.

    Attributes:
      colours: Only actions about these change it.
      ops, values, readers: The classes.
      floor: Seconds that it never takes less than.
    """

    colours: frozenset[int]
    ops: list[int] = field(default_factory=list)
    values: list[int] = field(default_factory=list)
    readers: list[int] = field(default_factory=list)
    floor: float = 0.0


class Model:
    """The cost of plans for one program on one mesh of one kind of device."""

    def __init__(
        self, classes: Classes, occupancy: Occupancy, mesh: Mesh, device: Device, topology: str | None = None,
        given: Mapping[int, Given] = MappingProxyType({}),
    ) -> None:
        self.classes, self.occupancy = classes, occupancy
        self.mesh, self.device, self.topology, self.given = mesh, device, topology, given
        self.axis_sizes = [size for _, size in mesh.axes]
        self.actions = self._actions()
        self.parts = self._parts()
        self._mover = Mover(mesh, device, topology)
        self._layouts: dict[tuple[int, Plan], Layout] = {}
        self._splits: dict[tuple[int, Plan], Split] = {}
        # Colour -> the parts with it.
        self._parts_of: dict[int, list[int]] = {}
        for number, part in enumerate(self.parts):
            for c in part.colours:
                self._parts_of.setdefault(c, []).append(number)
        # What parts add, a row for each part and actions about it: time without and in collectives, bytes sent, those
        # of arguments, and those at each moment.
        self._table = np.zeros((256, 4 + occupancy.moments))
        self._used = 0
        self._rows: list[dict[Plan, int]] = [{} for _ in self.parts]
        self._majors: dict[int, tuple[list[list[int | None]], list[list[int | None]]]] = {}
        self._moves: dict[tuple[int, Plan], tuple[float, float, float, float]] = {}

    @property
    def dimensions(self) -> Dimensions:
        """The colours of the program."""
        return self.classes.dimensions

    @property
    def class_of(self) -> list[int]:
        """The class of each value."""
        return self.classes.of_value

    def on(self, mesh: Mesh) -> Model:
        """The same for another mesh; nothing may be given."""
        return Model(self.classes, self.occupancy, mesh, self.device, self.topology)

    def _actions(self) -> list[Action]:
        """Every colour of an argument on every axis that divides a dimension of it there.

        Elsewhere it may not: channels in groups are stored in more shards than there are groups.
        """
        dimensions = self.dimensions
        found = {
            (c, axis)
            for v in dimensions.graph.entry.arguments
            for c, dim in zip(dimensions.colours[v], dimensions.graph.shapes[v], strict=True)
            for axis, size in enumerate(self.axis_sizes) if size > 1 and dim > 1 and dim % size == 0
        }
        return sorted(found)

    def _parts(self) -> list[Part]:
        changing = frozenset(c for c, _ in self.actions)
        found: dict[frozenset[int], Part] = {}

        def part(colours: frozenset[int]) -> Part:
            return found.setdefault(colours & changing, Part(colours & changing))

        devices = math.prod(self.axis_sizes)
        for number, ops in enumerate(self.classes.ops):
            home = part(ops.colours)
            home.ops.append(number)
            home.floor += ops.times * self._whole(ops) / devices
        for k in sorted(self.occupancy.alive.keys() | self.occupancy.arguments.keys()):
            part(frozenset(self.classes.values[k].colours)).values.append(k)
        for number, readers in enumerate(self.classes.readers):
            part(readers.colours).readers.append(number)
        return list(found.values())

    # -- layouts -------------------------------------------------------------------------------------------------------

    def layout(self, number: int, plan: Plan) -> Layout:
        """How the values of class ``number`` lie under ``plan``."""
        values = self.classes.values[number]
        own = tuple([action for action in plan if action[0] in values.colours])
        key = (number, own)
        if key not in self._layouts:
            self._layouts[key] = allot(self.axis_sizes, values.colours, values.shape, own, values.given)
        return self._layouts[key]

    def state(self, part: Part, own: Plan) -> tuple[Layout, ...]:
        """All that the actions ``own`` did to ``part``; what more actions do follows from it."""
        numbers = {*part.ops, *[op for r in part.readers for op, _ in self.classes.readers[r].wants]}
        uses = [self.classes.ops[number].use for number in sorted(numbers)]
        values = {*part.values, *[self.classes.readers[r].values for r in part.readers]}
        values |= {k for o in part.ops for k in (*self.classes.ops[o].operands, *self.classes.ops[o].results) if k >= 0}
        factors = [allot(self.axis_sizes, use.factors, use.rule.sizes, own) for use in uses]
        return (*factors, *[self.layout(k, own) for k in sorted(values)])

    @functools.cached_property
    def rounds(self) -> Rounds:
        """In which order propagation has to hear of actions."""
        return Rounds(self.classes)

    def priorities(self, number: int, plan: Plan) -> tuple[int, ...]:
        """For each dimension of the values of class ``number`` the round of propagation that hears of it."""
        return self.rounds.of_values(number, self.layout(number, plan), plan)

    # -- cost ----------------------------------------------------------------------------------------------------------

    def price(self, plan: Plan) -> Price:
        """What ``plan`` costs."""
        return self.total(self.rows(plan))

    def rows(self, plan: Plan, near: Rows | None = None, colours: Iterable[int] = ()) -> Rows:
        """What `total` adds up: the row of each part under ``plan``.

        ``near`` has those of a plan that is the same but for actions about ``colours``.
        """
        if near is None:
            return np.array([self._row(number, about(plan, part.colours)) for number, part in enumerate(self.parts)])
        found = near.copy()
        for number in {number for c in colours for number in self._parts_of[c]}:
            found[number] = self._row(number, about(plan, self.parts[number].colours))
        return found

    def total(self, rows: Rows) -> Price:
        """The price of the plan with these rows."""
        figures = self._table[rows].sum(axis=0)
        local, communication, moved, arguments = map(float, figures[:4])
        peak = arguments + float(figures[4:].max(initial=0.0))
        return Price(local + communication, local, moved, peak, arguments)

    def share(self, number: int, own: Plan) -> Share:
        """What the part ``number`` adds, by the actions of a plan about its colours."""
        at = self._row(number, own)
        row = self._table[at]
        local, communication, moved, arguments = map(float, row[:4])
        return Share(local, communication, moved, arguments, row[4:].copy())

    def _row(self, number: int, own: Plan) -> int:
        known = self._rows[number]
        if own not in known:
            share = self._share(self.parts[number], own)
            if self._used == len(self._table):
                self._table = np.concatenate([self._table, np.zeros_like(self._table)])
            row = self._table[self._used]
            row[:4] = share.local, share.communication, share.sent, share.arguments
            row[4:] = share.alive
            known[own] = self._used
            self._used += 1
        return known[own]

    def _share(self, part: Part, own: Plan) -> Share:
        local = communication = moved = arguments = 0.0
        alive = np.zeros(self.occupancy.moments)
        for number in part.ops:
            ops, split = self.classes.ops[number], self.split(number, own)
            local += ops.times * split.local
            communication += ops.times * split.communication
            moved += ops.times * split.sent
        for number in part.readers:
            readers = self.classes.readers[number]
            seconds, size, gathered, arranged = self._reading(number, readers, own)
            communication += readers.times * seconds
            moved += readers.times * size
            if gathered:
                alive += gathered * self.occupancy.copies[number] + arranged * self.occupancy.arriving[number]
        for k in part.values:
            size = self.classes.values[k].bytes / parts(self.axis_sizes, self.layout(k, own))
            arguments += size * self.occupancy.arguments[k]
            if k in self.occupancy.alive:
                alive += size * self.occupancy.alive[k]
        return Share(local, communication, moved, arguments, alive)

    def split(self, number: int, plan: Plan) -> Split:
        """The op class ``number`` under ``plan``."""
        own = about(plan, self.classes.ops[number].colours)
        key = (number, own)
        if key not in self._splits:
            self._splits[key] = self._price_op(self.classes.ops[number], own)
        return self._splits[key]

    def _price_op(self, ops: Ops, plan: Plan) -> Split:
        rule: Rule = ops.use.rule
        factors = allot(self.axis_sizes, ops.use.factors, rule.sizes, plan)
        local = self._whole(ops) / parts(self.axis_sizes, factors)
        summed = tuple(axis for f in sorted(rule.reduction) for axis in factors[f])
        made, wanted = (
            tuple([tuple([factors[f] if f is not None else () for f in dims]) for dims in majors])
            for majors in self._majors_of(rule)
        )
        seconds = size = 0.0
        for k, layout in () if ops.added_first and summed else zip(ops.results, made, strict=True):
            more, bytes = self._mover.complete(self.classes.values[k].bytes, layout, summed, self.layout(k, plan))
            seconds, size = seconds + more, size + bytes
        return Split(local, seconds, size, wanted, made)

    def _majors_of(self, rule: Rule) -> tuple[list[list[int | None]], list[list[int | None]]]:
        """For each dimension of results and of operands the factor that an axis splits; rules live as long as this."""
        if id(rule) not in self._majors:
            results, operands = (
                [[major(dim, rule.sizes) for dim in mapping] for mapping in mappings]
                for mappings in (rule.results, rule.operands)
            )
            self._majors[id(rule)] = results, operands
        return self._majors[id(rule)]

    def _whole(self, ops: Ops) -> float:
        """Seconds of one run of an op that is not split."""
        return max(ops.flops / self.device.rate(ops.element), ops.traffic / self.device.memory_bandwidth)

    def _reading(self, number: int, readers: Readers, plan: Plan) -> tuple[float, float, float, float]:
        """What moving a value to where its readers want it takes.

        Returns:
          Seconds; bytes sent; bytes of the copies; bytes in which parts of the largest copy are put beside each other.
        """
        own = about(plan, readers.colours)
        key = (number, own)
        if key not in self._moves:
            lies, whole = self.layout(readers.values, plan), self.classes.values[readers.values].bytes
            layouts = {self.split(op, own).wanted[position] for op, position in readers.wants} - {lies}
            seconds = size = extra = arranged = 0.0
            for layout in sorted(layouts):
                more, bytes = self._mover.move(whole, lies, layout)
                seconds, size = seconds + more, size + bytes
                if more:
                    copy = whole / parts(self.axis_sizes, layout)
                    extra += copy
                    if any(set(before) - set(after) for before, after in zip(lies[1:], layout[1:], strict=True)):
                        arranged = max(arranged, copy)
            self._moves[key] = seconds, size, extra, arranged
        return self._moves[key]
