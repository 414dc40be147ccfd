"""Which dimensions of a program must be split alike if no data is to move: its colours.

Every dimension of every value, and every factor of every op's sharding rule, is a node; an op ties the dimensions of
its operands and results to its factors. Nodes tied together have one colour: batch, sequence, heads, ... Two dimensions
of one value, or two factors of one op, never have one colour, for no axis can split both: a tie that would bring that
about is cut, and data moves there if the colour is split (in attention the sequence of the keys, whose scores have the
sequence of the queries beside it).

Colours that play the same part (the hidden dimension of each of many layers) become one by structure: what their nodes
are, apart from numbers in names.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from passes.cost.fusion import FUSIBLE
from passes.cost.graph import Body, Graph, Node
from passes.program import entry
from passes.sharding.op_rules import RULE
from passes.sharding.sharding_rule import Mapping, Rule, decode

# Results lie as the operands do, position by position.
_PASS_ON = frozenset({"stablehlo.optimization_barrier"})
_BRANCHES = frozenset({"stablehlo.case", "stablehlo.if"})
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

    def __init__(self) -> None:
        self.parent: list[int] = []
        self.places: list[set[int]] = []

    def add(self, place: int) -> int:
        """A new node in ``place``."""
        self.parent.append(len(self.parent))
        self.places.append({place})
        return len(self.parent) - 1

    def find(self, node: int) -> int:
        """The node that stands for the set of ``node``."""
        parent = self.parent
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    def tie(self, one: int, other: int) -> None:
        """Ties two sets, unless some place has a node in each."""
        one, other = self.find(one), self.find(other)
        if one == other:
            return
        large, small = (one, other) if len(self.places[one]) >= len(self.places[other]) else (other, one)
        if self.places[large].isdisjoint(self.places[small]):
            self.parent[small] = large
            self.places[large] |= self.places[small]
            self.places[small] = set()


class _Analysis:
    def __init__(self, graph: Graph, names: list[str]) -> None:
        self.graph = graph
        self.names = names
        self.forest = _Forest()
        # Node -> the size of the dimension or factor, and what part it plays.
        self.size: list[int] = []
        self.part: list[int] = []
        self.first: list[int] = [-1] * len(graph.bytes)
        self.free: set[int] = set()
        self.ruled: list[tuple[Node, Rule, int, int]] = []
        self.places = len(graph.bytes)

    def run(self) -> Dimensions:
        for i, v in enumerate(self.graph.entry.arguments):
            self._define(v, ("argument", _NUMBER.sub("", self.names[i])))
        self._body(self.graph.entry, 1)
        return self._result()

    # -- nodes ---------------------------------------------------------------------------------------------------------

    def _node(self, size: int, place: int, part: tuple[Any, ...]) -> int:
        self.size.append(size)
        self.part.append(hash((size, *part)))
        return self.forest.add(place)

    def _define(self, value: int, maker: tuple[Any, ...]) -> None:
        if self.first[value] >= 0:
            return
        shape = self.graph.shapes[value]
        self.first[value] = len(self.size)
        for d, size in enumerate(shape):
            self._node(size, value, (*maker, d, len(shape)))

    def _tie_values(self, one: int, other: int) -> None:
        """Two values that lie alike."""
        for d in range(len(self.graph.shapes[one])):
            self.forest.tie(self.first[one] + d, self.first[other] + d)

    # -- ops -----------------------------------------------------------------------------------------------------------

    def _body(self, body: Body, times: int) -> None:
        for node in body.nodes:
            for i, v in enumerate(node.results):
                self._define(v, (node.name, i))
            if node.name == "stablehlo.while":
                self._loop(node, times)
            elif node.name in _BRANCHES:
                for inner in node.bodies:
                    self._body(inner, times)
                    for v, result in zip(inner.returned, node.results, strict=True):
                        self._tie_values(result, v)
            elif node.name in _PASS_ON:
                for v, result in zip(node.operands, node.results, strict=True):
                    self._tie_values(result, v)
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
            for v in (body.arguments[i], condition.arguments[i], body.returned[i], node.operands[i]):
                if v not in self.free:
                    self._tie_values(result, v)

    def _ruled(self, node: Node, rule: Rule, times: int) -> None:
        """Ties an op's dimensions through its factors, results first: an operand can be moved where it is read."""
        first = len(self.size)
        place, self.places = self.places, self.places + 1
        stuck = rule.need_replication | rule.permutation
        for f, size in enumerate(rule.sizes):
            self._node(size, place, (node.name, "factor", f in rule.reduction))
        for values, mappings in ((node.results, rule.results), (node.operands, rule.operands)):
            for v, mapping in zip(values, mappings, strict=True):
                if v not in self.free:
                    self._tie_dims(v, mapping, first, stuck)
        self.ruled.append((node, rule, first, times))

    def _tie_dims(self, value: int, mapping: Mapping, first: int, stuck: frozenset[int]) -> None:
        for d, factors in enumerate(mapping):
            f = major(factors, self.size, first)
            if f is not None and f not in stuck:
                self.forest.tie(self.first[value] + d, first + f)

    # -- colours -------------------------------------------------------------------------------------------------------

    def _result(self) -> Dimensions:
        find = self.forest.find
        roots = [find(node) for node in range(len(self.size))]
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
