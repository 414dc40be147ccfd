"""A program as plain data for the estimates: ops, the values they read and make, how large these are, what ops compute.

Reading it is the one walk over the program that every estimate shares; handles of ops are kept for their names and
places only. Functions are read once, however often they are called; bodies of loops know how often they run.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from sys import intern
from typing import Any

from passes import _mlir
from passes.cost.trip_counts import trip_count
from passes.cost.work import ELEMENTWISE, NOTHING, TRANSCENDENTAL, Work, work
from passes.partition.summary import COLLECTIVES
from passes.pipeline.collection import uncollected
from passes.program import entry
from passes.program.read import Program
from passes.program.types import byte_size
from passes.sharding.flow import BRANCHES

# Besides branches and loops: ops whose regions hold ops of the program. Those of others combine two elements.
_ONCE = frozenset({"sdy.manual_computation", "sdy.named_computation"})
_CALLEE = {"func.call": "callee", "stablehlo.composite": "decomposition"}


@dataclass(frozen=True)
class Exchange:
    """Who talks to whom in a collective.

    Attributes:
      group: The devices of the first group; of a permutation, all that send or receive.
      pairs: Of a permutation, (sender, receiver).
    """

    group: tuple[int, ...]
    pairs: tuple[tuple[int, int], ...] = ()


@dataclass(slots=True)
class Node:
    """An op.

    Attributes:
      op: The op itself.
      name: Its name.
      operands, results: Values, as positions in `Graph.bytes`.
      work: What one run of it computes, without its bodies.
      bodies: Its blocks, of control flow only.
      runs: How often the bodies run when the op does; of branches only one does.
      callee: The function it calls.
      exchange: Who talks to whom, of a collective.
    """

    op: Any
    name: str
    operands: tuple[int, ...]
    results: tuple[int, ...]
    work: Work = NOTHING
    bodies: tuple[Body, ...] = ()
    runs: int = 1
    callee: str = ""
    exchange: Exchange | None = None


@dataclass(slots=True)
class Body:
    """A block: its arguments, its ops without the terminator, what it returns."""

    arguments: tuple[int, ...]
    nodes: list[Node]
    returned: tuple[int, ...]


@dataclass
class Graph:
    """A program.

    Attributes:
      program: Where it came from.
      entry: The body of the entry function.
      functions: The bodies of the functions it calls, by name.
      bytes: The size of each value.
      elements: The element type of each value, as text; empty for a token.
      shapes: The shape of each value; empty for a token.
      unknown_loops: Loops whose number of runs could not be found; they count as often as the reader was told.
    """

    program: Program
    entry: Body
    functions: dict[str, Body] = field(default_factory=dict)
    bytes: list[int] = field(default_factory=list)
    elements: list[str] = field(default_factory=list)
    shapes: list[tuple[int, ...]] = field(default_factory=list)
    unknown_loops: list[Any] = field(default_factory=list)
    _weights: dict[int, tuple[int, int]] = field(default_factory=dict)

    def called(self, node: Node) -> tuple[Body, ...]:
        """The bodies that run when ``node`` does: of branches the one with most work."""
        if node.callee:
            return (self.functions[node.callee],)
        if node.name in BRANCHES:
            return (max(node.bodies, key=self._weight),)
        return node.bodies

    def _weight(self, body: Body) -> tuple[int, int]:
        if id(body) not in self._weights:
            found = self.work_of(body)
            moved = sum(self.bytes[v] for node in body.nodes for v in node.results)
            self._weights[id(body)] = (found.flops + found.transcendentals, moved)
        return self._weights[id(body)]

    def work_of(self, body: Body, *, loops_once: bool = False) -> Work:
        """What one run of ``body`` computes; with ``loops_once`` as if each loop in it ran once."""
        flops = transcendentals = 0
        for node, times in runs(self, body, loops_once=loops_once):
            flops += times * node.work.flops
            transcendentals += times * node.work.transcendentals
        return Work(flops, transcendentals)


def read_graph(program: Program, entry_name: str | None = None, unknown_runs: int = 1) -> Graph:
    """Reads ``program``; loops whose text does not tell how often they run count ``unknown_runs`` times.

    Raises:
      UserError: there is no entry function, or a tensor has a dynamic shape.
    """
    with uncollected():
        return _Reader(program, unknown_runs).read(entry.find_entry(program, entry_name))


@dataclass
class _Reader:
    program: Program
    unknown_runs: int
    measures: list[_Measure] = field(default_factory=list)
    ids: dict[Any, int] = field(default_factory=dict)
    known: dict[Any, _Measure] = field(default_factory=dict)
    functions: dict[str, Body] = field(default_factory=dict)
    wanted: list[str] = field(default_factory=list)
    unknown: list[Any] = field(default_factory=list)

    def read(self, function: Any) -> Graph:
        body = self._body(function.regions[0].blocks[0])
        defined = {entry.symbol_name(f): f for f in entry.functions(self.program.module)}
        while self.wanted:
            name = self.wanted.pop()
            if name in self.functions:
                continue
            blocks = defined[name].regions[0].blocks
            if not len(blocks):
                raise self.program.error(f"function @{name} has no body, so what it costs is not known", defined[name])
            self.functions[name] = self._body(blocks[0])
        sizes, elements, shapes, _ = map(list, zip(*self.measures, strict=True)) if self.measures else ([], [], [], [])
        return Graph(self.program, body, self.functions, sizes, elements, shapes, self.unknown)

    def _body(self, block: Any) -> Body:
        arguments = tuple([self._define(a) for a in block.arguments])
        ids, measures, known, nodes = self.ids, self.measures, self.known, []
        for view in block.operations:
            op = view.operation
            # One text for each name, whose hash is known from then on.
            name = intern(op.name)
            operands = tuple([ids[v] for v in op.operands])
            work_of = _ONE_RESULT.get(name)
            if work_of is None:
                nodes.append(self._node(op, name, operands))
                continue
            result = op.result
            measure = known.get(result.type)
            if measure is None:
                number = self._define(result)
                measure = measures[number]
            else:
                number = ids[result] = len(measures)
                measures.append(measure)
            nodes.append(Node(op, name, operands, (number,), work_of(measure[3])))
        last = nodes.pop()
        return Body(arguments, nodes, last.operands)

    def _node(self, op: Any, name: str, operands: tuple[int, ...]) -> Node:
        if name == "stablehlo.while":
            return self._loop(op, operands)
        if name in _CALLEE:
            callee = _mlir.ir.FlatSymbolRefAttr(op.attributes[_CALLEE[name]]).value
            self.wanted.append(callee)
            return Node(op, name, operands, self._results(op), callee=callee)
        if name in BRANCHES or name in _ONCE:
            bodies = tuple([self._body(region.blocks[0]) for region in op.regions])
            return Node(op, name, operands, self._results(op), NOTHING, bodies)
        exchange = exchange_of(op) if name in COLLECTIVES else None
        return Node(op, name, operands, self._results(op), work(op), exchange=exchange)

    def _loop(self, op: Any, operands: tuple[int, ...]) -> Node:
        count = trip_count(op)
        if count is None:
            self.unknown.append(op)
        bodies = tuple([self._body(region.blocks[0]) for region in op.regions])
        runs = count if count is not None else self.unknown_runs
        return Node(op, op.name, operands, self._results(op), NOTHING, bodies, runs)

    def _results(self, op: Any) -> tuple[int, ...]:
        return tuple([self._define(v) for v in op.results])

    def _define(self, value: Any) -> int:
        type = value.type
        measure = self.known.get(type)
        if measure is None:
            size, element, shape, count = _measure(type)
            if size is None:
                reason = (
                    f"a value of type {type} has no static shape, so its size is not known; make it static first "
                    "(shlo opt --stablehlo-refine-arguments)"
                )
                owner = value.owner
                raise self.program.error(reason, getattr(owner, "owner", owner))
            measure = self.known[type] = size, element, shape, count
        number = self.ids[value] = len(self.measures)
        self.measures.append(measure)
        return number


# Bytes, element type, shape, number of elements.
_Measure = tuple[int, str, tuple[int, ...], int]


def _measure(type: Any) -> tuple[int | None, str, tuple[int, ...], int]:
    """What is measured of a value of ``type``: a token has no bytes, and of a dynamic shape they are ``None``."""
    ir = _mlir.ir
    if isinstance(type, ir.RankedTensorType):
        if not type.has_static_shape:
            return None, "", (), 0
        shape = tuple(type.shape)
        return byte_size(type), str(type.element_type), shape, math.prod(shape)
    if isinstance(type, ir.TupleType):
        sizes = [_measure(type.get_type(i))[0] for i in range(type.num_types)]
        known = [size for size in sizes if size is not None]
        return (sum(known) if len(known) == len(sizes) else None), "", (), 1
    return 0, "", (), 1


@functools.cache
def _per_element(count: int) -> Work:
    return Work(count)


@functools.cache
def _functions(count: int) -> Work:
    return Work(0, count)


def _nothing(count: int) -> Work:
    return NOTHING


# The most frequent ops, all of one result -> the work of so many elements of it. What they compute is as in `work`.
_ONE_RESULT: dict[str, Callable[[int], Work]] = {
    **{
        f"stablehlo.{name}": _nothing
        for name in ("broadcast_in_dim", "constant", "iota", "reshape", "slice", "transpose")
    },
    **dict.fromkeys(ELEMENTWISE, _per_element),
    **dict.fromkeys(TRANSCENDENTAL, _functions),
}


def runs(graph: Graph, body: Body | None = None, *, loops_once: bool = False) -> Iterator[tuple[Node, int]]:
    """Every op that runs when ``body`` (the entry function) does, with how often it does; in no particular order."""
    stack = [(body or graph.entry, 1)]
    while stack:
        inside, times = stack.pop()
        for node in inside.nodes:
            yield node, times
            if node.bodies or node.callee:
                again = times if loops_once else times * node.runs
                stack += [(inner, again) for inner in graph.called(node)]


def exchange_of(op: Any) -> Exchange:
    """Who talks to whom in the collective ``op``."""
    attributes = op.attributes
    if "replica_groups" in attributes:
        return Exchange(_first_group(attributes["replica_groups"]))
    return _permutation(attributes["source_target_pairs"])


@functools.cache
def _first_group(attr: Any) -> tuple[int, ...]:
    size = _mlir.ir.ShapedType(_mlir.ir.DenseElementsAttr(attr).type).shape[1]
    members = _mlir.ir.DenseIntElementsAttr(attr)
    return tuple(members[i] for i in range(size))


@functools.cache
def _permutation(attr: Any) -> Exchange:
    flat = list(_mlir.ir.DenseIntElementsAttr(attr))
    pairs = tuple(zip(flat[::2], flat[1::2], strict=True))
    return Exchange(tuple(dict.fromkeys(flat)), pairs)
