"""What a plan costs, without lowering it: the same laws as `cost`, on classes of ops and values that are split alike.

A plan is a list of actions, each of which splits one colour over one mesh axis; where two of them want one axis in one
value or op, the earlier one has it. So the batch over ``data`` and then the hidden dimension over ``data`` is data
parallelism with weights stored in shards: in an op with both, the batch has the axis and the weight is gathered.

  value   lies as the actions say for its dimensions
  op      is split as they say for its factors; an operand that lies otherwise is moved (once for all ops that want it
          so), a result is completed if a factor that is summed over is split, and moved if it lies otherwise; of
          results that are only added up one is completed, for partial sums are added before they are

Ops that are equal but for names are one class and are looked at once; what a class costs depends only on the actions
about its own colours and is remembered. So a plan takes milliseconds whatever the program's depth.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from passes.autoshard.dimensions import Dimensions, Use, major
from passes.autoshard.given import Given
from passes.cost.device import Device
from passes.cost.fusion import Fusion
from passes.cost.laws import sent
from passes.cost.memory import Memory
from passes.sharding.mesh import Mesh
from passes.sharding.sharding_rule import Mapping as RuleMapping
from passes.sharding.sharding_rule import Rule

# (colour, axis): the axis by its position in the mesh.
Action = tuple[int, int]
Plan = tuple[Action, ...]
# For each dimension the axes that split it, major to minor.
Layout = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Price:
    """What a plan costs on one device.

    Attributes:
      seconds: Time of a run, nothing overlapping.
      local: Of these, without collectives.
      sent: Bytes sent to other devices.
      peak: Bytes of memory.
      arguments: Of these, arguments.
    """

    seconds: float
    local: float
    sent: float
    peak: float
    arguments: float


@dataclass(frozen=True)
class _Done:
    """An op class under a plan: its time, what completing its results costs, and the layouts it wants and makes."""

    local: float
    communication: float
    sent: float
    wanted: tuple[Layout, ...]


@dataclass
class _Values:
    """Values with the same shape and colours, which lie alike under any plan."""

    colours: tuple[int, ...]
    shape: tuple[int, ...]
    bytes: int
    given: Given | None


@dataclass
class _Ops:
    """Ops that cost the same under any plan."""

    use: Use
    operands: tuple[int, ...]
    results: tuple[int, ...]
    colours: frozenset[int]
    flops: int
    traffic: int
    element: str
    added_first: bool
    times: int = 0


@dataclass
class _Readers:
    """Values of one class that are read by the same classes of ops: each layout wanted is made once.

    ``spans`` are the first and last op of the entry function that read each: a copy is there as long.
    """

    values: int
    wants: tuple[tuple[int, int], ...]
    colours: frozenset[int]
    times: int = 0
    spans: list[tuple[int, int]] = field(default_factory=list)


@dataclass(frozen=True)
class Part:
    """A summand of the price of plans.

    Attributes:
      colours: Only actions about these change it.
      price: Seconds and bytes sent, by those actions of a plan.
      state: What those actions did; equal states have one price, now and after any further actions.
      floor: Seconds and bytes that it is never below.
    """

    colours: frozenset[int]
    price: Callable[[Plan], tuple[float, float]]
    state: Callable[[Plan], tuple[Layout, ...]]
    floor: tuple[float, float] = (0.0, 0.0)


class Model:
    """The cost of plans for one program on one mesh of one kind of device."""

    def __init__(
        self, dimensions: Dimensions, fusions: dict[int, Fusion], memory: Memory, mesh: Mesh, device: Device,
        topology: str | None = None, given: Mapping[int, Given] = MappingProxyType({}),
    ) -> None:
        self.dimensions, self.given = dimensions, given
        self._fusions, self._memory = fusions, memory
        self.mesh, self.device, self.topology = mesh, device, topology
        self.axis_sizes = [size for _, size in mesh.axes]
        self._values: list[_Values] = []
        self._value_class: dict[tuple[Any, ...], int] = {}
        self._ops: list[_Ops] = []
        self._op_class: dict[tuple[Any, ...], int] = {}
        self._readers: list[_Readers] = []
        self._layouts: dict[tuple[int, Plan], Layout] = {}
        self._done: dict[tuple[int, Plan], _Done] = {}
        self._moves: dict[tuple[int, Plan], tuple[float, float, float]] = {}
        self._seconds: dict[tuple[str, tuple[int, ...], int], float] = {}
        self._groups: dict[tuple[int, ...], tuple[int, ...]] = {}
        self.class_of = [self._class_of_value(v) for v in range(len(dimensions.graph.bytes))]
        self._read(fusions)
        self._read_memory(memory)

    def on(self, mesh: Mesh) -> Model:
        """The same for another mesh; nothing may be given."""
        return Model(self.dimensions, self._fusions, self._memory, mesh, self.device, self.topology)

    # -- classes -------------------------------------------------------------------------------------------------------

    def _class_of_value(self, v: int) -> int:
        graph = self.dimensions.graph
        key = (self.dimensions.colours[v], graph.shapes[v], graph.bytes[v], self.given.get(v))
        if key not in self._value_class:
            self._value_class[key] = len(self._values)
            self._values.append(_Values(*key))
        return self._value_class[key]

    def _read(self, fusions: dict[int, Fusion]) -> None:
        graph, free = self.dimensions.graph, self.dimensions.free
        traffic = self._traffic(fusions)
        added_first = self._added_first()
        readers: dict[int, dict[tuple[int, int], None]] = defaultdict(dict)
        times_of: dict[int, int] = {}
        positions = self._positions()
        spans: dict[int, tuple[int, int]] = {}
        for use in self.dimensions.uses:
            node = use.node
            if all(v in free for v in node.results):
                continue
            operands = tuple([-1 if v in free else self.class_of[v] for v in node.operands])
            results = tuple([self.class_of[v] for v in node.results])
            element = graph.elements[(node.operands or node.results)[0]]
            moved = traffic.get(id(node), 0)
            # Decoded rules are shared, so each is known by its address.
            added = id(node) in added_first
            key = (node.name, id(use.rule), use.factors, operands, results, moved, element, added)
            if key not in self._op_class:
                self._op_class[key] = len(self._ops)
                colours = {c for c in use.factors if c >= 0}
                for k in (*operands, *results):
                    if k >= 0:
                        colours.update(self._values[k].colours)
                work = node.work.flops + node.work.transcendentals
                self._ops.append(_Ops(use, operands, results, frozenset(colours), work, moved, element, added))
            number = self._op_class[key]
            self._ops[number].times += use.times
            for position, v in enumerate(node.operands):
                if v not in free:
                    readers[v][number, position] = None
                    times_of[v] = max(times_of.get(v, 0), use.times)
                    at = positions[id(node)]
                    first, last = spans.get(v, (at, at))
                    spans[v] = min(first, at), max(last, at)
        by_wants: dict[tuple[int, tuple[tuple[int, int], ...]], _Readers] = {}
        for v, found in readers.items():
            wants = (self.class_of[v], tuple(sorted(found)))
            if wants not in by_wants:
                touched = set(self._values[wants[0]].colours)
                for number, _ in wants[1]:
                    touched |= self._ops[number].colours
                by_wants[wants] = _Readers(*wants, frozenset(touched))
                self._readers.append(by_wants[wants])
            by_wants[wants].times += times_of[v]
            by_wants[wants].spans.append(spans[v])

    def _added_first(self) -> set[int]:
        """Ops, by the id of their node, whose partial results are added to others before these are completed."""
        counts: dict[int, int] = defaultdict(int)
        for use in self.dimensions.uses:
            for v in use.node.operands:
                counts[v] += 1
        returned = set(self.dimensions.graph.entry.returned)
        # Value read once -> the op whose result it is, and the colours summed over.
        partial: dict[int, tuple[int, frozenset[int]]] = {}
        found = set()
        for use in self.dimensions.uses:
            node = use.node
            if len(node.results) != 1:
                continue
            result = node.results[0]
            summed = frozenset(use.factors[f] for f in use.rule.reduction) - {-1}
            if node.name == "stablehlo.add":
                one, other = (partial.get(v) for v in node.operands)
                if one is None or other is None or one[1] != other[1] or one[0] == other[0]:
                    continue
                found.add(other[0])
                summed, maker = one[1], one[0]
            else:
                maker = id(node)
            if summed and counts[result] == 1 and result not in returned:
                partial[result] = maker, summed
        return found

    def _positions(self) -> dict[int, int]:
        """Op of the entry function in or under which each op is, by the id of its node."""
        found = {}
        for position, outer in enumerate(self.dimensions.graph.entry.nodes):
            stack = [outer]
            while stack:
                node = stack.pop()
                found[id(node)] = position
                stack += [inner for body in node.bodies for inner in body.nodes]
        return found

    def _traffic(self, fusions: dict[int, Fusion]) -> dict[int, int]:
        """Bytes that each op reads and writes, by the id of its node."""
        found = {}
        stack = [self.dimensions.graph.entry]
        while stack:
            body = stack.pop()
            fusion = fusions.get(id(body))
            if fusion is not None:
                for node, read, written in zip(body.nodes, fusion.read, fusion.written, strict=True):
                    found[id(node)] = read + written
                    stack += node.bodies
        return found

    def _read_memory(self, memory: Memory) -> None:
        graph = self.dimensions.graph
        end = len(graph.entry.nodes)
        lifetimes = [(v, first, last) for v, first, last in memory.lifetimes if v not in self.dimensions.free]
        classes = np.array([self.class_of[v] for v, _, _ in lifetimes], dtype=np.int64)
        firsts = np.array([first for _, first, _ in lifetimes], dtype=np.int64)
        lasts = np.array([last for _, _, last in lifetimes], dtype=np.int64)
        # Bytes of each class at each op: as many as are alive there. One row for each class that is ever alive.
        self._alive = np.unique(classes)
        self._counts = np.zeros((len(self._alive), end + 1), dtype=np.int32)
        rows = np.searchsorted(self._alive, classes)
        np.add.at(self._counts, (rows, firsts), 1)
        np.add.at(self._counts, (rows, lasts + 1), -1)
        self._counts = np.cumsum(self._counts, axis=1)[:, :end]
        # The peak is looked for in some columns: those that are largest for the program as it is, for each class, and
        # where most would be gathered.
        weights = np.array([self._values[k].bytes for k in self._alive], dtype=np.float64)
        total = weights @ self._counts if len(self._alive) else np.zeros(end)
        copies = np.zeros(end + 1)
        for readers in self._readers:
            ends = np.array(readers.spans)
            np.add.at(copies, ends[:, 0], self._values[readers.values].bytes)
            np.add.at(copies, ends[:, 1] + 1, -self._values[readers.values].bytes)
        copies = np.cumsum(copies)[:end]
        columns: set[int] = set()
        for amount in (total, copies, total + copies):
            columns.update(np.argsort(-amount, kind="stable")[:48].tolist())
        columns.update(np.argmax(self._counts, axis=1).tolist() if end else [])
        chosen = np.array(sorted(columns), dtype=np.int64)
        self._columns = self._counts[:, chosen].astype(np.float64)
        self._copies = np.zeros((len(self._readers), len(chosen)))
        for number, readers in enumerate(self._readers):
            firsts, lasts = np.array(readers.spans).T
            # How many began by then, without those that had ended.
            self._copies[number] = (firsts[:, None] <= chosen).sum(axis=0) - (lasts[:, None] < chosen).sum(axis=0)
        self._arguments = [self.class_of[v] for v in graph.entry.arguments]
        counts: dict[int, int] = defaultdict(int)
        for k in self._arguments:
            counts[k] += 1
        self._argument_counts = dict(counts)

    # -- layouts -------------------------------------------------------------------------------------------------------

    def layout(self, number: int, plan: Plan) -> Layout:
        """How the values of class ``number`` lie under ``plan``."""
        values = self._values[number]
        own = tuple([action for action in plan if action[0] in values.colours])
        key = (number, own)
        if key not in self._layouts:
            self._layouts[key] = self._allot(values.colours, values.shape, own, values.given)
        return self._layouts[key]

    def _allot(
        self, colours: Sequence[int], sizes: Sequence[int], plan: Plan, given: Given | None = None
    ) -> Layout:
        """The axes of each dimension or factor: first come, first served, as far as they divide."""
        if given is not None and given.closed:
            return given.axes
        found: list[list[int]] = [[] for _ in colours] if given is None else [list(axes) for axes in given.axes]
        taken = {axis for axes in found for axis in axes}
        parts = [self._product(axes) for axes in found]
        for colour, axis in plan:
            if axis in taken:
                continue
            for d, c in enumerate(colours):
                more = parts[d] * self.axis_sizes[axis]
                if c == colour and (given is None or given.open[d]) and sizes[d] % more == 0:
                    parts[d] = more
                    found[d].append(axis)
                    taken.add(axis)
                    break
        return tuple(map(tuple, found))

    def priorities(self, number: int, plan: Plan) -> tuple[int, ...]:
        """For each dimension of the values of class ``number`` the round of propagation that hears of it.

        An action is heard after those before it that want its axis in some op or value, so that propagation, too,
        leaves the axis to them.
        """
        return tuple([at for _, at in self._chosen_rounds(number, plan, self._rounds(plan))])

    def in_doubt(self, plan: Plan) -> bool:
        """Whether propagation may split some ops otherwise than the model does.

        A dimension of an argument that is split by several actions has one round for all; and where an op gives the
        major axis of a dimension to another action, propagation does not keep the minor one.
        """
        rounds = self._rounds(plan)
        return any(
            ops for k in self._argument_counts for ops, _ in self._chosen_rounds(k, plan, rounds)
        ) or any(self._without_major(ops, plan) for ops in self._ops)

    def _without_major(self, ops: _Ops, plan: Plan) -> bool:
        """Whether some dimension is split over a minor axis alone."""
        own = tuple([action for action in plan if action[0] in ops.colours])
        for colour, axes in zip(ops.use.factors, self._allot(ops.use.factors, ops.use.rule.sizes, own), strict=True):
            if axes and axes != tuple(axis for c, axis in own if c == colour)[: len(axes)]:
                return True
        return False

    def _chosen_rounds(self, number: int, plan: Plan, rounds: dict[Action, int]) -> list[tuple[int, int]]:
        colours = self._values[number].colours
        dims = [[(colours[d], axis) for axis in axes] for d, axes in enumerate(self.layout(number, plan))]
        return [self._one_round([a for a in actions if a in rounds], rounds) for actions in dims]

    def _rounds(self, plan: Plan) -> dict[Action, int]:
        rounds: dict[Action, int] = {}
        for action in plan:
            rounds[action] = max([at for other, at in rounds.items() if self._rivalry(action, other)], default=-1) + 1
        return rounds

    def _rivalry(self, one: Action, other: Action) -> int:
        """In how many ops two actions want one axis."""
        return self._meetings[one[0], other[0]] if one[1] == other[1] and one != other else 0

    def _one_round(self, actions: list[Action], rounds: dict[Action, int]) -> tuple[int, int]:
        """The round for a dimension: that in which rivals change places with its actions in fewest ops; these first."""
        def overtaken(chosen: int) -> int:
            return sum(
                self._rivalry(action, other) for action in actions for other, at in rounds.items()
                if (rounds[action] < at, rounds[action] > at) != (chosen < at, chosen > at)
            )

        return min(((overtaken(rounds[a]), rounds[a]) for a in actions), default=(0, 0))

    @functools.cached_property
    def _meetings(self) -> Counter[tuple[int, int]]:
        """Pairs of colours that are in one op, and in how many."""
        found: Counter[tuple[int, int]] = Counter()
        for ops in self._ops:
            for pair in itertools.permutations(ops.colours, 2):
                found[pair] += ops.times
        return found

    def _parts(self, layout: Layout) -> int:
        return math.prod(self.axis_sizes[axis] for axes in layout for axis in axes)

    # -- cost ----------------------------------------------------------------------------------------------------------

    def price(self, plan: Plan) -> Price:
        """What ``plan`` costs."""
        local = communication = moved = 0.0
        for number, ops in enumerate(self._ops):
            found = self._op(number, ops, plan)
            local += ops.times * found.local
            communication += ops.times * found.communication
            moved += ops.times * found.sent
        gathered = np.zeros(len(self._readers))
        for number, readers in enumerate(self._readers):
            seconds, size, gathered[number] = self._reading(number, readers, plan)
            communication += readers.times * seconds
            moved += readers.times * size
        arguments = sum(
            count * self._local_bytes(k, plan) for k, count in self._argument_counts.items()
        )
        weights = np.array([self._local_bytes(int(k), plan) for k in self._alive])
        alive = float((weights @ self._columns + gathered @ self._copies).max()) if self._columns.shape[1] else 0.0
        return Price(local + communication, local, moved, arguments + alive, arguments)

    def parts(self) -> list[Part]:
        """What the time and the bytes sent of a plan are the sum of."""
        found, devices = [], math.prod(self.axis_sizes)
        for number, ops in enumerate(self._ops):
            values = sorted({k for k in (*ops.operands, *ops.results) if k >= 0})
            found.append(Part(
                ops.colours, functools.partial(self._price_of_ops, number),
                functools.partial(self._state, [number], values), (ops.times * self._whole(ops) / devices, 0.0),
            ))
        for number, readers in enumerate(self._readers):
            numbers = sorted({op for op, _ in readers.wants})
            found.append(Part(
                readers.colours, functools.partial(self._price_of_reading, number),
                functools.partial(self._state, numbers, [readers.values]),
            ))
        return found

    def _price_of_ops(self, number: int, own: Plan) -> tuple[float, float]:
        ops = self._ops[number]
        done = self._op(number, ops, own)
        return ops.times * (done.local + done.communication), ops.times * done.sent

    def _price_of_reading(self, number: int, own: Plan) -> tuple[float, float]:
        readers = self._readers[number]
        seconds, size, _ = self._reading(number, readers, own)
        return readers.times * seconds, readers.times * size

    def _state(self, ops: Sequence[int], values: Sequence[int], own: Plan) -> tuple[Layout, ...]:
        """All that the actions ``own`` did to some classes of ops and values; what more actions do follows from it."""
        uses = (self._ops[number].use for number in ops)
        factors = [self._allot(use.factors, use.rule.sizes, own) for use in uses]
        return (*factors, *[self.layout(k, own) for k in values])

    def _local_bytes(self, number: int, plan: Plan) -> float:
        return self._values[number].bytes / self._parts(self.layout(number, plan))

    def _op(self, number: int, ops: _Ops, plan: Plan) -> _Done:
        own = tuple([action for action in plan if action[0] in ops.colours])
        key = (number, own)
        if key not in self._done:
            self._done[key] = self._price_op(ops, own)
        return self._done[key]

    def _price_op(self, ops: _Ops, plan: Plan) -> _Done:
        rule: Rule = ops.use.rule
        factors = self._allot(ops.use.factors, rule.sizes, plan)
        parts = self._parts(factors)
        local = self._whole(ops) / parts
        summed = tuple(axis for f in sorted(rule.reduction) for axis in factors[f])
        seconds = size = 0.0
        for k, mapping in () if ops.added_first and summed else zip(ops.results, rule.results, strict=True):
            made = self._mapped(mapping, factors, rule.sizes)
            more, bytes = self._complete(self._values[k].bytes, made, summed, self.layout(k, plan))
            seconds, size = seconds + more, size + bytes
        wanted = tuple(self._mapped(mapping, factors, rule.sizes) for mapping in rule.operands)
        return _Done(local, seconds, size, wanted)

    def _whole(self, ops: _Ops) -> float:
        """Seconds of one run of an op that is not split."""
        return max(ops.flops / self.device.rate(ops.element), ops.traffic / self.device.memory_bandwidth)

    def _mapped(self, mapping: RuleMapping, factors: Layout, sizes: Sequence[int]) -> Layout:
        """How a tensor lies in an op whose factors are split so."""
        found = []
        for dim in mapping:
            f = major(dim, tuple(sizes))
            found.append(factors[f] if f is not None else ())
        return tuple(found)

    def _reading(self, number: int, readers: _Readers, plan: Plan) -> tuple[float, float, float]:
        """Seconds and bytes sent of moving a value to where its readers want it, and the bytes of its copies."""
        own = tuple([action for action in plan if action[0] in readers.colours])
        key = (number, own)
        if key not in self._moves:
            lies = self.layout(readers.values, plan)
            layouts = {self._op(op, self._ops[op], own).wanted[position] for op, position in readers.wants} - {lies}
            seconds = size = extra = 0.0
            for layout in sorted(layouts):
                more, bytes = self._move(self._values[readers.values].bytes, lies, layout)
                seconds, size = seconds + more, size + bytes
                if more:
                    extra += self._values[readers.values].bytes / self._parts(layout)
            self._moves[key] = seconds, size, extra
        return self._moves[key]

    def _complete(self, whole: int, made: Layout, summed: tuple[int, ...], lies: Layout) -> tuple[float, float]:
        """Adds partial results up, each device keeping its part where the result is split over the axes summed over."""
        if not summed:
            return self._move(whole, made, lies)
        here = whole / self._parts(made)
        kept = tuple(axis for axes in lies for axis in axes if axis in summed)
        rest = tuple(axis for axis in summed if axis not in kept)
        seconds = size = 0.0
        if kept:
            more, bytes = self._collective("reduce_scatter", kept, here)
            seconds, size, here = seconds + more, size + bytes, here / self._product(kept)
        if rest:
            more, bytes = self._collective("all_reduce", rest, here)
            seconds, size = seconds + more, size + bytes
        without = tuple(tuple(a for a in axes if a not in kept) for axes in lies)
        if made != without:
            more, bytes = self._move(whole / max(1, self._product(kept)), made, without)
            seconds, size = seconds + more, size + bytes
        return seconds, size

    def _move(self, whole: float, source: Layout, target: Layout) -> tuple[float, float]:
        """Exchanges axes that change their dimension, cuts along new ones, gathers along those that are gone."""
        if source == target:
            return 0.0, 0.0
        before = {axis: d for d, axes in enumerate(source) for axis in axes}
        after = {axis: d for d, axes in enumerate(target) for axis in axes}
        here = whole / self._parts(source)
        swapped = tuple(a for a, d in before.items() if after.get(a, d) != d)
        gone = tuple(a for a in before if a not in after)
        seconds = size = 0.0
        if swapped:
            seconds, size = self._collective("all_to_all", swapped, here)
        here /= self._product(tuple(a for a in after if a not in before))
        if gone:
            more, bytes = self._collective("all_gather", gone, here)
            seconds, size = seconds + more, size + bytes
        return seconds, size

    def _product(self, axes: Iterable[int]) -> int:
        return math.prod(self.axis_sizes[a] for a in axes)

    def _collective(self, kind: str, axes: tuple[int, ...], size: float) -> tuple[float, float]:
        """Seconds, and bytes sent, of one collective over ``axes`` into which a device puts ``size`` bytes."""
        axes = tuple(sorted(axes))
        key = (kind, axes, int(size))
        if key not in self._seconds:
            if axes not in self._groups:
                named = tuple(self.mesh.axis(self.mesh.axes[a][0]) for a in axes)
                self._groups[axes] = tuple(self.mesh.groups(named)[0])
            self._seconds[key] = self.device.collective(kind, self._groups[axes], int(size), self.topology)
        return self._seconds[key], sent(kind, self._product(axes)) * size
