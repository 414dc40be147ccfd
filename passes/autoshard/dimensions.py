"""Which dimensions of a program must be split alike if no data is to move: its colours.

Every dimension of every value, and every factor of every op's sharding rule, is a node; an op ties the dimensions of
its operands and results to its factors. Nodes tied together have one colour: batch, sequence, heads, ... Two dimensions
of one value, or two factors of one op, never have one colour, for no axis can split both: a tie that would bring that
about is cut, and data moves there if the colour is split (in attention the sequence of the keys, whose scores have the
sequence of the queries beside it). Which tie is cut depends on which come first; of several orders that is taken whose
cuts are of fewest bytes.

Colours that play the same part (the hidden dimension of each of many layers) become one by structure: what their nodes
are, apart from numbers in names.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from passes.cost.fusion import FUSIBLE
from passes.cost.graph import Body, Graph, Node
from passes.program import entry
from passes.sharding.flow import BRANCHES
from passes.sharding.op_rules import RULE
from passes.sharding.sharding_rule import Mapping, Rule, decode

# Results lie as the operands do, position by position.
_PASS_ON = frozenset({"sdy.sharding_constraint", "stablehlo.optimization_barrier"})
# What tells one layer's name from another's.
_NUMBER = re.compile(r"\d+")


@dataclass(slots=True)
class Use:
    """An op with a sharding rule.

    Attributes:
      node: The op.
      rule: Its rule.
      factors: The colour of each factor; -1 for one that cannot be split.
      times: How often it runs.
    """

    node: Node
    rule: Rule
    factors: tuple[int, ...]
    times: int


@dataclass
class Dimensions:
    """The colours of a program.

    Attributes:
      graph: The program.
      colours: For each value the colour of each dimension.
      uses: Every op with a sharding rule.
      sizes: For each colour what the number of its parts must divide: the greatest common divisor of its dimensions.
      free: Values computed from constants alone, which every device can compute in any layout.
      titles: For each colour where it is found: names of arguments with the dimension, the shortest first.
    """

    graph: Graph
    colours: list[tuple[int, ...]]
    uses: list[Use]
    sizes: list[int]
    free: set[int]
    titles: list[list[str]]


def analyse(graph: Graph, function: Any) -> Dimensions:
    """The colours of ``graph``, whose ops carry their sharding rules and whose entry function is ``function``."""
    return _Analysis(graph, [value.name for value in entry.arguments(function)]).run()


class _Forest:
    """Union-find over nodes that lie in places (values, ops); two nodes in one place never meet."""

    def __init__(self, places: list[int]) -> None:
        self.parent = list(range(len(places)))
        self.places = [{place} for place in places]

    def find(self, node: int) -> int:
        """The node that stands for the set of ``node``."""
        parent = self.parent
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    def tie(self, one: int, other: int) -> bool:
        """Ties two sets, unless some place has a node in each; whether they are one now."""
        one, other = self.find(one), self.find(other)
        if one == other:
            return True
        large, small = (one, other) if len(self.places[one]) >= len(self.places[other]) else (other, one)
        if not self.places[large].isdisjoint(self.places[small]):
            return False
        self.parent[small] = large
        self.places[large] |= self.places[small]
        self.places[small] = set()
        return True


@dataclass(slots=True)
class _Link:
    """The ties of one value to an op, or to another value, and the bytes that move if one is cut."""

    bytes: int
    ties: list[tuple[int, int]]


@dataclass(slots=True)
class _Step:
    """The links of one op: those that hold its results, and those of its operands."""

    results: list[_Link]
    operands: list[_Link]
    elementwise: bool


@dataclass(frozen=True)
class _Order:
    """In which order ties are made.

    Of an op, results come first, for an operand can be moved where it is read; then operands, the largest first.

    Attributes:
      last_first: Of operands of one size, whether the last comes first.
      elementwise_first: Whether elementwise ops come before all others.
    """

    last_first: bool
    elementwise_first: bool

    def links(self, steps: list[_Step]) -> Iterator[_Link]:
        """Links of ``steps``."""
        if self.elementwise_first:
            steps = [s for s in steps if s.elementwise] + [s for s in steps if not s.elementwise]
        for step in steps:
            yield from step.results
            operands = step.operands[::-1] if self.last_first else step.operands
            yield from sorted(operands, key=lambda link: -link.bytes)


_ORDERS = [_Order(*flags) for flags in itertools.product((False, True), repeat=2)]


class _Analysis:
    def __init__(self, graph: Graph, names: list[str]) -> None:
        self.graph = graph
        self.names = names
        # Node -> the size of the dimension or factor, what part it plays, the value or op it is in.
        self.size: list[int] = []
        self.part: list[int] = []
        self.place: list[int] = []
        self.first: list[int] = [-1] * len(graph.bytes)
        self.free: set[int] = set()
        self.steps: list[_Step] = []
        self.ruled: list[tuple[Node, Rule, int, int]] = []
        self.places = len(graph.bytes)

    def run(self) -> Dimensions:
        for i, v in enumerate(self.graph.entry.arguments):
            self._define(v, ("argument", _NUMBER.sub("", self.names[i])))
        self._body(self.graph.entry, 1)
        return self._result(min([self._tied(order) for order in _ORDERS], key=lambda found: found[0])[1])

    def _tied(self, order: _Order) -> tuple[int, _Forest]:
        """What ties made in ``order`` join, and the bytes of values with a tie that was cut."""
        forest, cut = _Forest(self.place), 0
        for link in order.links(self.steps):
            # Each tie is made, whatever becomes of the others.
            if sum(forest.tie(one, other) for one, other in link.ties) < len(link.ties):
                cut += link.bytes
        return cut, forest

    # -- nodes ---------------------------------------------------------------------------------------------------------

    def _node(self, size: int, place: int, part: tuple[Any, ...]) -> None:
        self.size.append(size)
        self.part.append(hash((size, *part)))
        self.place.append(place)

    def _define(self, value: int, maker: tuple[Any, ...]) -> None:
        if self.first[value] >= 0:
            return
        shape = self.graph.shapes[value]
        self.first[value] = len(self.size)
        for d, size in enumerate(shape):
            self._node(size, value, (*maker, d, len(shape)))

    def _alike(self, result: int, values: Iterable[int], times: int) -> None:
        """``result`` and ``values`` lie alike."""
        links = [
            _Link(times * self.graph.bytes[v], [
                (self.first[result] + d, self.first[v] + d) for d in range(len(self.graph.shapes[v]))
            ])
            for v in values
        ]
        self.steps.append(_Step(links, [], True))

    # -- ops -----------------------------------------------------------------------------------------------------------

    def _body(self, body: Body, times: int) -> None:
        for node in body.nodes:
            for i, v in enumerate(node.results):
                self._define(v, (node.name, i))
            if node.name == "stablehlo.while":
                self._loop(node, times)
            elif node.name in BRANCHES:
                for inner in node.bodies:
                    self._body(inner, times)
                    for v, result in zip(inner.returned, node.results, strict=True):
                        self._alike(result, [v], times)
            elif node.name in _PASS_ON:
                for v, result in zip(node.operands, node.results, strict=True):
                    self._alike(result, [v], times)
            elif RULE in node.op.attributes:
                self._ruled(node, decode(node.op.attributes[RULE])[0], times)
            if node.name in FUSIBLE and all(v in self.free for v in node.operands):
                self.free.update(node.results)

    def _loop(self, node: Node, times: int) -> None:
        for inner in node.bodies:
            for v in inner.arguments:
                self._define(v, ("carry",))
        condition, body = node.bodies
        self._body(condition, times * node.runs)
        self._body(body, times * node.runs)
        for i, result in enumerate(node.results):
            carried = (body.arguments[i], condition.arguments[i], body.returned[i], node.operands[i])
            self._alike(result, [v for v in carried if v not in self.free], times * node.runs)

    def _ruled(self, node: Node, rule: Rule, times: int) -> None:
        """Ties an op's dimensions through its factors."""
        first = len(self.size)
        place, self.places = self.places, self.places + 1
        stuck = rule.need_replication | rule.permutation
        for f, size in enumerate(rule.sizes):
            self._node(size, place, (node.name, "factor", f in rule.reduction))
        results, operands = (
            [self._link(v, mapping, first, stuck, times)
             for v, mapping in zip(values, mappings, strict=True) if v not in self.free]
            for values, mappings in ((node.results, rule.results), (node.operands, rule.operands))
        )
        self.steps.append(_Step(results, operands, node.name in FUSIBLE))
        self.ruled.append((node, rule, first, times))

    def _link(self, value: int, mapping: Mapping, first: int, stuck: frozenset[int], times: int) -> _Link:
        found = ((d, major(factors, self.size, first)) for d, factors in enumerate(mapping))
        ties = [(self.first[value] + d, first + f) for d, f in found if f is not None and f not in stuck]
        return _Link(times * self.graph.bytes[value], ties)

    # -- colours -------------------------------------------------------------------------------------------------------

    def _result(self, forest: _Forest) -> Dimensions:
        roots = [forest.find(node) for node in range(len(self.size))]
        signature: dict[int, int] = defaultdict(int)
        for node, root in enumerate(roots):
            # A sum of hashes does not depend on the order of nodes.
            signature[root] += self.part[node]
        number: dict[int, int] = {}
        colour = {root: number.setdefault(signature[root], len(number)) for root in signature}
        sizes = [0] * len(number)
        for node, root in enumerate(roots):
            sizes[colour[root]] = math.gcd(sizes[colour[root]], self.size[node])
        colours = [
            tuple([colour[roots[self.first[v] + d]] for d in range(len(shape))])
            for v, shape in enumerate(self.graph.shapes)
        ]
        uses = []
        for op, rule, first, times in self.ruled:
            stuck = rule.need_replication | rule.permutation
            factors = [-1 if f in stuck else colour[roots[first + f]] for f in range(len(rule.sizes))]
            uses.append(Use(op, rule, tuple(factors), times))
        return Dimensions(self.graph, colours, uses, sizes, self.free, self._titles(colours, len(number)))

    def _titles(self, colours: list[tuple[int, ...]], count: int) -> list[list[str]]:
        found: list[dict[str, None]] = [{} for _ in range(count)]
        for name, v in zip(self.names, self.graph.entry.arguments, strict=True):
            for d, c in enumerate(colours[v]):
                found[c][f"{_NUMBER.sub('*', name)}.{d}"] = None
        return [sorted(names, key=lambda n: (len(n), n)) for names in found]


def major(factors: tuple[int, ...], sizes: list[int] | tuple[int, ...], first: int = 0) -> int | None:
    """The factor that an axis on a dimension splits: its first that is larger than one."""
    return next((f for f in factors if sizes[first + f] > 1), None)
