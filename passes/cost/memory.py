"""The largest amount of memory a program holds at one time, and what it holds then.

Ops run in the order of the text. A value that is in memory (`fusion`) is there from the op that makes it to the last
that reads it, directly or through values that are not in memory. Arguments stay for the whole run, except where they
are donated: then a result of the same size takes their place. Other results have a place of their own from the start,
in which values of their size may be until they are made. An elementwise result takes the place of an operand of its
size that is read for the last time, and so do updates in place. Results of a loop take the place of what it starts
from. A collective along any but the outermost dimension takes a copy.
"""

from __future__ import annotations

import math
import operator
from bisect import bisect_right, insort
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import accumulate, compress, islice
from typing import Any

from passes import _mlir
from passes.cost.fusion import ALIASES, FUSIBLE, Fusion, fuse
from passes.cost.graph import Body, Graph, Node
from passes.program import entry
from passes.program.attributes import integer

# Attributes of collectives that name dimensions.
_ALONG = {
    "stablehlo.all_gather": ("all_gather_dim",),
    "stablehlo.all_to_all": ("split_dimension", "concat_dimension"),
    "stablehlo.reduce_scatter": ("scatter_dimension",),
}
# Their results can take the place of an operand.
_TAKES_PLACE = FUSIBLE | {"stablehlo.dynamic_update_slice", "stablehlo.scatter", "stablehlo.while"}


@dataclass(frozen=True)
class Held:
    """A value that is in memory at the peak: what made it (``None`` for an argument), and its bytes."""

    value: int
    node: Node | None
    bytes: int


@dataclass
class Memory:
    """The memory of one device.

    Attributes:
      peak: Bytes of everything at the worst moment, constants aside.
      arguments: Bytes of the arguments.
      results: Bytes of the results that do not take the place of an argument.
      temporaries: What is left of the peak: ``peak - arguments - results``.
      constants: Bytes of constants that are not one value repeated; they are part of the executable.
      at: The op that runs at the peak, with the ops around it outside in; empty if there is no op.
      held: What is in memory then, largest first.
      timeline: For each op of the entry function, the bytes in memory while it runs.
      lifetimes: (value, first, last): from and to which op of the entry function a value that counts is in memory; what
        a loop holds at its own peak is there while the loop runs.
    """

    peak: int
    arguments: int
    results: int
    constants: int
    at: tuple[Node, ...]
    held: list[Held]
    timeline: list[int]
    lifetimes: list[tuple[int, int, int]]

    @property
    def temporaries(self) -> int:
        """Bytes at the peak that are neither arguments nor results."""
        return self.peak - self.arguments - self.results


def memory(graph: Graph, function: Any, fusions: dict[int, Fusion] | None = None) -> Memory:
    """The memory that running ``function``, the entry of ``graph``, takes; ``fusions`` by the id of their body."""
    sizes, body = graph.bytes, graph.entry
    donated = _donations(function, len(body.arguments))
    arguments = sum(sizes[v] for v in body.arguments)
    in_place = {body.returned[result]: argument for argument, result in donated.items() if result < len(body.returned)}
    walker = _Walker(graph, fusions if fusions is not None else {})
    # A result written into a donated argument takes no room of its own.
    free = {v for v, a in in_place.items() if sizes[v] <= sizes[body.arguments[a]]}
    free |= _reused(graph, body, _donors(function, len(body.arguments)))
    in_arguments = free.union(body.arguments)
    own = [v for v in dict.fromkeys(body.returned) if v not in in_arguments]
    results = sum([sizes[v] for v in own])
    found = walker.peak(body, frozenset(body.returned), free, own=own)
    makers = {v: node for node in body.nodes for v in node.results}
    held = [Held(v, makers.get(v), sizes[v]) for v in (*body.arguments, *own)] + found.held
    held.sort(key=lambda h: -h.bytes)
    last = len(body.nodes) - 1
    return Memory(
        arguments + results + found.bytes, arguments, results, walker.constants, found.at, held,
        [arguments + results + size for size in found.timeline], [(v, 0, last) for v in own] + found.lifetimes,
    )


def _donations(function: Any, count: int) -> dict[int, int]:
    """Argument -> the result that takes its place."""
    found = entry.value_attribute(function, "arg_attrs", "tf.aliasing_output", count)
    return {index: int(_mlir.ir.IntegerAttr(alias).value) for index, alias in enumerate(found) if alias is not None}


def _donors(function: Any, count: int) -> list[int]:
    """Arguments that any result of their size may take the place of."""
    found = entry.value_attribute(function, "arg_attrs", "jax.buffer_donor", count)
    return [index for index, attribute in enumerate(found) if attribute is not None]


def _reused(graph: Graph, body: Body, donors: Iterable[int]) -> set[int]:
    """Results that find a donor of their size, first come, first served, as XLA pairs them."""
    waiting: dict[int, deque[int]] = {}
    arguments = set(body.arguments)
    for v in dict.fromkeys(body.returned):
        if v not in arguments:
            waiting.setdefault(graph.bytes[v], deque()).append(v)
    found = set()
    for index in donors:
        if candidates := waiting.get(graph.bytes[body.arguments[index]]):
            found.add(candidates.popleft())
    return found


@dataclass
class _Peak:
    bytes: int
    at: tuple[Node, ...] = ()
    held: list[Held] = field(default_factory=list)
    timeline: list[int] = field(default_factory=list)
    lifetimes: list[tuple[int, int, int]] = field(default_factory=list)


_NOTHING = _Peak(0)


@dataclass(slots=True)
class _Life:
    """A value in memory: which, what made it, its bytes, and from and to which op it is there."""

    value: int
    node: Node
    bytes: int
    first: int
    last: int = -1


@dataclass
class _Walker:
    graph: Graph
    fusions: dict[int, Fusion]
    constants: int = 0
    known: dict[int, _Peak] = field(default_factory=dict)

    def inner(self, body: Body) -> _Peak:
        """The peak of a block that is run by an op; its arguments are someone else's buffers, which it may update."""
        if id(body) not in self.known:
            lent = {v: self.graph.bytes[v] for v in body.arguments}
            self.known[id(body)] = self.peak(body, frozenset(body.returned), set(), lent)
        return self.known[id(body)]

    def peak(
        self, body: Body, kept: frozenset[int], free: set[int], lent: dict[int, int] | None = None,
        own: Sequence[int] = (),
    ) -> _Peak:
        """What the values of ``body`` take at most.

        Args:
          body: The block; its arguments are in memory but not counted here.
          kept: Values that stay until the end.
          free: Values that take the place of something that is counted elsewhere.
          lent: Arguments whose place a result may take, with their bytes.
          own: Values that have a place of their own from the start, which is counted elsewhere.
        """
        sizes = self.graph.bytes
        if id(body) not in self.fusions:
            self.fusions[id(body)] = fuse(self.graph, body)
        stored = self.fusions[id(body)].stored
        owner = _owners(body)
        dying = _dying(body, stored, owner, kept)
        places = {owner.get(v, v): -1 for v in own}
        free = {owner.get(v, v) for v in free} | places.keys()
        live: dict[int, _Life] = {}
        ended: list[_Life] = []
        inside: dict[int, _Peak] = {}
        timeline: list[int] = []
        lent = dict(lent or {})
        now = 0
        for position, node in enumerate(body.nodes):
            ends = dying.get(position)
            if ends is None and node.name in FUSIBLE and node.results[0] not in stored:
                timeline.append(now)
                continue
            made = [v for v in node.results if v in stored and v not in owner]
            if ends is not None and made and node.name in _TAKES_PLACE:
                for v in self._handed_over(node, ends, live, lent):
                    # While this op runs, its result is what counts of the two.
                    now -= _end(live.pop(v), position - 1, ended) if v in live else lent.pop(v)
            for v in made:
                if v in places:
                    places[v] = position
                size = 0 if v in free or self._constant(node) else sizes[v]
                live[v] = _Life(v, node, size, position)
                now += size
            timeline.append(now)
            if node.bodies or node.callee:
                inside[position] = max([self.inner(inner) for inner in self.graph.called(node)], key=lambda p: p.bytes)
                timeline[-1] += inside[position].bytes
            elif node.name in _ALONG:
                inside[position] = _rearranged(self.graph, node)
                timeline[-1] += inside[position].bytes
            for v in ends or ():
                if v in live:
                    now -= _end(live.pop(v), position, ended)
        for life in live.values():
            _end(life, len(body.nodes) - 1, ended)
        ended = _elsewhere(ended, [(sizes[v], made) for v, made in places.items() if made >= 0], timeline)
        return _peak(body, ended, inside, timeline)

    def _handed_over(
        self, node: Node, ends: Iterable[int], live: dict[int, _Life], lent: dict[int, int]
    ) -> list[int]:
        """What of ``live`` and ``lent`` the results of ``node`` take the place of."""
        wanted = [self.graph.bytes[v] for v in node.results]
        found = []
        for v in ends:
            size = live[v].bytes if v in live else lent.get(v, 0)
            if size and size in wanted:
                wanted.remove(size)
                found.append(v)
        return found

    def _constant(self, node: Node) -> bool:
        if node.name != "stablehlo.constant":
            return False
        self.constants += self.graph.bytes[node.results[0]]
        return True


def _rearranged(graph: Graph, node: Node) -> _Peak:
    """The copy that a collective along any but the outermost dimension takes, for devices send whole pieces.

    Blocks of a gather arrive one after the other and are put beside each other; those to be scattered the other way.
    """
    dims = [integer(node.op, key) for key in _ALONG[node.name]]
    if all(math.prod(graph.shapes[node.operands[0]][:dim]) == 1 for dim in dims):
        return _NOTHING
    larger = [max(pair, key=graph.bytes.__getitem__) for pair in zip(node.operands, node.results, strict=True)]
    held = [Held(v, node, graph.bytes[v]) for v in larger]
    return _Peak(sum([copy.bytes for copy in held]), held=held)


def _elsewhere(lives: list[_Life], places: list[tuple[int, int]], timeline: list[int]) -> list[_Life]:
    """Takes those out of ``lives`` and ``timeline`` that are in the place of a result before it is made.

    ``places`` are bytes of results and the positions of the ops that make them. A value is put where it fits exactly.
    """
    vacant: dict[int, list[int]] = {}
    for size, made in sorted(places):
        vacant.setdefault(size, []).append(made)
    taken: list[tuple[int, int, int]] = []
    saved = [0] * (len(timeline) + 1)
    stay = []
    for life in sorted(lives, key=lambda life: life.first):
        while taken and taken[0][0] < life.first:
            _, made, size = heappop(taken)
            insort(vacant[size], made)
        fitting = vacant.get(life.bytes)
        # The result made next leaves those made later to values that live longer.
        at = bisect_right(fitting, life.last) if fitting else 0
        if not fitting or at == len(fitting):
            stay.append(life)
            continue
        heappush(taken, (life.last, fitting.pop(at), life.bytes))
        saved[life.first] += life.bytes
        saved[life.last + 1] -= life.bytes
    for position, size in enumerate(islice(accumulate(saved), len(timeline))):
        timeline[position] -= size
    return stay


def _peak(body: Body, lives: list[_Life], inside: dict[int, _Peak], timeline: list[int]) -> _Peak:
    """The worst moment of ``timeline``, to which ``lives`` and what is held ``inside`` ops add up."""
    found = _Peak(max(timeline, default=0), timeline=timeline)
    found.lifetimes = [(held.value, at, at) for at, deeper in inside.items() for held in deeper.held]
    found.lifetimes += [(life.value, life.first, life.last) for life in lives]
    if found.bytes:
        worst = timeline.index(found.bytes)
        deeper = inside.get(worst, _NOTHING)
        found.at = (body.nodes[worst], *deeper.at)
        at_peak = [life for life in lives if life.first <= worst <= life.last]
        found.held = [Held(life.value, life.node, life.bytes) for life in at_peak] + deeper.held
    return found


def _end(life: _Life, position: int, ended: list[_Life]) -> int:
    """Ends ``life``; its bytes."""
    if life.bytes:
        life.last = position
        ended.append(life)
    return life.bytes


def _owners(body: Body) -> dict[int, int]:
    """Value -> the value whose buffer it is, where that is another one."""
    owner: dict[int, int] = {}
    for node in body.nodes:
        if node.name in ALIASES:
            carried = list(zip(node.results, node.operands, strict=False))
        elif node.name == "stablehlo.while":
            # What a loop returns as it is given stays where it is.
            inner = node.bodies[1]
            unchanged = map(operator.eq, inner.arguments, inner.returned)
            carried = list(compress(zip(node.results, node.operands, strict=True), unchanged))
        else:
            continue
        for v, source in carried:
            owner[v] = owner.get(source, source)
    return owner


def _dying(body: Body, stored: set[int], owner: dict[int, int], kept: frozenset[int]) -> dict[int, list[int]]:
    """Position of an op -> the buffers that are read there for the last time."""
    last: dict[int, int] = {}
    end = len(body.nodes)
    for v in kept:
        last[owner.get(v, v)] = end
    for position in range(end - 1, -1, -1):
        node = body.nodes[position]
        until = position
        for v in node.results:
            read = last.setdefault(owner.get(v, v), position)
            # What is not in memory is computed when its reader is.
            if read > until and v not in stored and node.name in FUSIBLE:
                until = read
        for v in node.operands if not node.bodies else _read(node):
            buffer = owner.get(v, v)
            # What is met first, going backwards, is mostly read last.
            if last.setdefault(buffer, until) < until:
                last[buffer] = until
    found: dict[int, list[int]] = {}
    for v, position in last.items():
        if v in stored:
            found.setdefault(position, []).append(v)
    return found


def _read(node: Node) -> Iterable[int]:
    """What an op with blocks reads, they included."""
    found = set(node.operands)
    stack = list(node.bodies)
    while stack:
        body = stack.pop()
        found.update(body.returned)
        for inner in body.nodes:
            found.update(inner.operands)
            stack.extend(inner.bodies)
    return found
