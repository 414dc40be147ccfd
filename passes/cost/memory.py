"""The largest amount of memory a program holds at one time, and what it holds then.

Ops run in the order of the text. A value that is in memory (`fusion`) is there from the op that makes it to the last
that reads it, directly or through values that are not in memory. Arguments stay for the whole run, except where they
are donated: then a result of the same size takes their place. An elementwise result takes the place of an operand of
its size that is read for the last time, and so do updates in place. Results of a loop take the place of what it starts
from.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from passes import _mlir
from passes.cost.fusion import ALIASES, FUSIBLE, Fusion, fuse
from passes.cost.graph import Body, Graph, Node
from passes.program import entry

_IN_PLACE = frozenset({"stablehlo.dynamic_update_slice", "stablehlo.scatter"})


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
    donated = _donations(function)
    arguments = sum(sizes[v] for v in body.arguments)
    in_place = {body.returned[result]: argument for argument, result in donated.items() if result < len(body.returned)}
    walker = _Walker(graph, fusions if fusions is not None else {})
    # A result written into a donated argument takes no room of its own.
    free = {v for v, a in in_place.items() if sizes[v] <= sizes[body.arguments[a]]}
    free |= _reused(graph, body, _donors(function))
    found = walker.peak(body, kept=frozenset(body.returned), free=free)
    results = sum(sizes[v] for v in set(body.returned) - free - set(body.arguments))
    held = [Held(v, None, sizes[v]) for v in body.arguments] + found.held
    held.sort(key=lambda h: -h.bytes)
    return Memory(
        arguments + found.bytes, arguments, results, walker.constants, found.at, held,
        [arguments + size for size in found.timeline], found.lifetimes,
    )


def _donations(function: Any) -> dict[int, int]:
    """Argument -> the result that takes its place."""
    found = {}
    for value in entry.arguments(function):
        alias = value.attributes.get("tf.aliasing_output")
        if alias is not None:
            found[value.index] = int(_mlir.ir.IntegerAttr(alias).value)
    return found


def _donors(function: Any) -> list[int]:
    """Arguments that any result of their size may take the place of."""
    return [v.index for v in entry.arguments(function) if "jax.buffer_donor" in v.attributes]


def _reused(graph: Graph, body: Body, donors: Iterable[int]) -> set[int]:
    """Results that find a donor of their size, first come, first served, as XLA pairs them."""
    waiting: dict[int, list[int]] = {}
    for v in dict.fromkeys(body.returned):
        if v not in body.arguments:
            waiting.setdefault(graph.bytes[v], []).append(v)
    found = set()
    for index in donors:
        if candidates := waiting.get(graph.bytes[body.arguments[index]]):
            found.add(candidates.pop(0))
    return found


@dataclass
class _Peak:
    bytes: int
    at: tuple[Node, ...] = ()
    held: list[Held] = field(default_factory=list)
    timeline: list[int] = field(default_factory=list)
    lifetimes: list[tuple[int, int, int]] = field(default_factory=list)


_NOTHING = _Peak(0)


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
        self, body: Body, kept: frozenset[int], free: set[int], lent: dict[int, int] | None = None
    ) -> _Peak:
        """What the values of ``body`` take at most.

        Args:
          body: The block; its arguments are in memory but not counted here.
          kept: Values that stay until the end.
          free: Values that take the place of something that is counted elsewhere.
          lent: Arguments whose place a result may take, with their bytes.
        """
        sizes = self.graph.bytes
        if id(body) not in self.fusions:
            self.fusions[id(body)] = fuse(self.graph, body)
        stored = self.fusions[id(body)].stored
        owner = _owners(body)
        dying = _dying(body, stored, owner, kept)
        live: dict[int, tuple[Node, int]] = {}
        born: dict[int, int] = {}
        lent = dict(lent or {})
        now, top = 0, _Peak(0)
        timeline = top.timeline
        for position, node in enumerate(body.nodes):
            made = [v for v in node.results if v in stored and v not in owner]
            ends = dying.get(position, ())
            if not made and not ends and not node.bodies and not node.callee:
                timeline.append(now)
                continue
            if ends and made:
                for v in self._handed_over(node, ends, live, lent):
                    # While this op runs, its result is what counts of the two.
                    now -= self._end(v, live, born, position - 1, top) if v in live else lent.pop(v)
            for v in made:
                size = 0 if v in free or self._constant(node) else sizes[v]
                live[v], born[v] = (node, size), position
                now += size
            worst = _NOTHING
            if node.bodies or node.callee:
                worst = max([self.inner(inner) for inner in self.graph.called(node)], key=lambda p: p.bytes)
            timeline.append(now + worst.bytes)
            top.lifetimes += [(h.value, position, position) for h in worst.held]
            if now + worst.bytes > top.bytes:
                top.bytes, top.at = now + worst.bytes, (node, *worst.at)
                snapshot, deeper = dict(live), worst.held
            for v in ends:
                if v in live:
                    now -= self._end(v, live, born, position, top)
        top.lifetimes += [(v, born[v], len(body.nodes) - 1) for v, (_, size) in live.items() if size]
        if top.at:
            top.held = [Held(v, node, size) for v, (node, size) in snapshot.items() if size] + deeper
        return top

    def _handed_over(
        self, node: Node, ends: Iterable[int], live: dict[int, tuple[Node, int]], lent: dict[int, int]
    ) -> list[int]:
        """What of ``live`` and ``lent`` the results of ``node`` take the place of."""
        if not (node.name in FUSIBLE or node.name in _IN_PLACE or node.name == "stablehlo.while"):
            return []
        wanted = [self.graph.bytes[v] for v in node.results]
        found = []
        for v in ends:
            size = live[v][1] if v in live else lent.get(v, 0)
            if size and size in wanted:
                wanted.remove(size)
                found.append(v)
        return found

    def _end(self, v: int, live: dict[int, tuple[Node, int]], born: dict[int, int], position: int, top: _Peak) -> int:
        """Takes ``v`` out of ``live``; its bytes."""
        size = live.pop(v)[1]
        if size:
            top.lifetimes.append((v, born[v], position))
        return size

    def _constant(self, node: Node) -> bool:
        if node.name != "stablehlo.constant":
            return False
        self.constants += self.graph.bytes[node.results[0]]
        return True


def _owners(body: Body) -> dict[int, int]:
    """Value -> the value whose buffer it is, where that is another one."""
    owner: dict[int, int] = {}
    for node in body.nodes:
        if node.name not in ALIASES and node.name != "stablehlo.while":
            continue
        for position, v in enumerate(node.results):
            if (node.name in ALIASES and position < len(node.operands)) or _carried_along(node, position):
                source = node.operands[position]
                owner[v] = owner.get(source, source)
    return owner


def _carried_along(node: Node, position: int) -> bool:
    """Whether ``node`` is a loop that returns what it starts from as this result."""
    if node.name != "stablehlo.while":
        return False
    body = node.bodies[1]
    return body.returned[position] == body.arguments[position]


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
            until = max(until, last.setdefault(owner.get(v, v), position))
        # What is not in memory is computed when its reader is.
        if until > position and (node.name not in FUSIBLE or any(v in stored for v in node.results)):
            until = position
        for v in node.operands if not node.bodies else _read(node):
            buffer = owner.get(v, v)
            if last.get(buffer, -1) < until:
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
