"""The classes of values and of ops of a program: what lies alike, and costs the same, under any plan.

Ops that are equal but for names are one class and are looked at once, so that what a plan costs does not depend on the
depth of a program. Nothing here depends on the mesh.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from passes.autoshard.dimensions import Dimensions, Use
from passes.autoshard.given import Given
from passes.cost.fusion import Fusion


@dataclass(frozen=True)
class Values:
    """Values with the same shape and colours, which lie alike under any plan."""

    colours: tuple[int, ...]
    shape: tuple[int, ...]
    bytes: int
    given: Given | None


@dataclass
class Ops:
    """Ops that cost the same under any plan.

    Attributes:
      use: One of them.
      operands, results: Classes of values; -1 for one that is free.
      colours: Those of its factors and values.
      flops, traffic: What one run computes, and its bytes from and to memory.
      element: The element type it computes on.
      added_first: Whether partial results are added to those of another op before they are completed.
      times: How often such ops run in all.
    """

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
class Readers:
    """Values of one class that are read by the same classes of ops: each layout wanted is made once.

    Attributes:
      values: The class of values.
      wants: (class of ops, operand), of each reader.
      colours: Those of all of these.
      times: How often such values are read.
      spans: The first and last op of the entry function that read each: a copy is there as long.
    """

    values: int
    wants: tuple[tuple[int, int], ...]
    colours: frozenset[int]
    times: int = 0
    spans: list[tuple[int, int]] = field(default_factory=list)


class Classes:
    """The classes of a program.

    Attributes:
      values, ops, readers: The classes.
      of_value: The class of each value.
      of_op: The class of each op with a sharding rule, by the id of its node, where its results are not free.
    """

    def __init__(self, dimensions: Dimensions, fusions: dict[int, Fusion], given: Mapping[int, Given]) -> None:
        self.dimensions = dimensions
        self.values: list[Values] = []
        self.ops: list[Ops] = []
        self.readers: list[Readers] = []
        self.of_op: dict[int, int] = {}
        self._value_class: dict[tuple[Any, ...], int] = {}
        self._op_class: dict[tuple[Any, ...], int] = {}
        self.of_value = [self._class_of_value(v, given.get(v)) for v in range(len(dimensions.graph.bytes))]
        traffic, added_first = _traffic(dimensions, fusions), _added_first(dimensions)
        for use in dimensions.uses:
            if not all(v in dimensions.free for v in use.node.results):
                self._add(use, traffic.get(id(use.node), 0), id(use.node) in added_first)
        self._read_readers()

    def _class_of_value(self, v: int, given: Given | None) -> int:
        graph = self.dimensions.graph
        key = (self.dimensions.colours[v], graph.shapes[v], graph.bytes[v], given)
        if key not in self._value_class:
            self._value_class[key] = len(self.values)
            self.values.append(Values(*key))
        return self._value_class[key]

    def _add(self, use: Use, moved: int, added: bool) -> None:
        """Puts an op into its class."""
        node, free = use.node, self.dimensions.free
        operands = tuple([-1 if v in free else self.of_value[v] for v in node.operands])
        results = tuple([self.of_value[v] for v in node.results])
        element = self.dimensions.graph.elements[(node.operands or node.results)[0]]
        # Decoded rules are shared, so each is known by its address.
        key = (node.name, id(use.rule), use.factors, operands, results, moved, element, added)
        if key not in self._op_class:
            self._op_class[key] = len(self.ops)
            colours = {c for c in use.factors if c >= 0}
            colours.update(c for k in (*operands, *results) if k >= 0 for c in self.values[k].colours)
            work = node.work.flops + node.work.transcendentals
            self.ops.append(Ops(use, operands, results, frozenset(colours), work, moved, element, added))
        number = self.of_op[id(node)] = self._op_class[key]
        self.ops[number].times += use.times

    def _read_readers(self) -> None:
        readers: dict[int, dict[tuple[int, int], None]] = defaultdict(dict)
        times_of: dict[int, int] = {}
        spans: dict[int, tuple[int, int]] = {}
        positions, free = _positions(self.dimensions), self.dimensions.free
        for use in self.dimensions.uses:
            number = self.of_op.get(id(use.node))
            if number is None:
                continue
            at = positions[id(use.node)]
            for position, v in enumerate(use.node.operands):
                if v not in free:
                    readers[v][number, position] = None
                    times_of[v] = max(times_of.get(v, 0), use.times)
                    first, last = spans.get(v, (at, at))
                    spans[v] = min(first, at), max(last, at)
        by_wants: dict[tuple[int, tuple[tuple[int, int], ...]], Readers] = {}
        for v, found in readers.items():
            wants = (self.of_value[v], tuple(sorted(found)))
            if wants not in by_wants:
                touched = set(self.values[wants[0]].colours)
                for number, _ in wants[1]:
                    touched |= self.ops[number].colours
                by_wants[wants] = Readers(*wants, frozenset(touched))
                self.readers.append(by_wants[wants])
            by_wants[wants].times += times_of[v]
            by_wants[wants].spans.append(spans[v])


def _added_first(dimensions: Dimensions) -> set[int]:
    """Ops, by the id of their node, whose partial results are added to others before these are completed."""
    counts: dict[int, int] = defaultdict(int)
    for use in dimensions.uses:
        for v in use.node.operands:
            counts[v] += 1
    returned = set(dimensions.graph.entry.returned)
    # Value read once -> the op whose result it is, and the colours summed over.
    partial: dict[int, tuple[int, frozenset[int]]] = {}
    found = set()
    for use in dimensions.uses:
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


def _positions(dimensions: Dimensions) -> dict[int, int]:
    """Op of the entry function in or under which each op is, by the id of its node."""
    found = {}
    for position, outer in enumerate(dimensions.graph.entry.nodes):
        stack = [outer]
        while stack:
            node = stack.pop()
            found[id(node)] = position
            stack += [inner for body in node.bodies for inner in body.nodes]
    return found


def _traffic(dimensions: Dimensions, fusions: dict[int, Fusion]) -> dict[int, int]:
    """Bytes that each op reads and writes, by the id of its node."""
    found = {}
    stack = [dimensions.graph.entry]
    while stack:
        body = stack.pop()
        fusion = fusions.get(id(body))
        if fusion is not None:
            for node, read, written in zip(body.nodes, fusion.read, fusion.written, strict=True):
                found[id(node)] = read + written
                stack += node.bodies
    return found
