"""Which values a compiler would write to memory, and what each op then reads and writes there.

No backend writes every value: elementwise ops, broadcasts, slices and the like become part of the loop of the op that
reads them. The model is the greedy one of XLA's instruction fusion, without its limits on size: a value made by such an
op is in memory only if an op that reads whole buffers (a dot, a collective, a loop, ...) reads it, if the function
returns it, or if it has several readers and would be costly to compute again for each.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import chain

from passes.cost.graph import Body, Graph, Node
from passes.cost.work import ELEMENTWISE, TRANSCENDENTAL

# Results are the operand's buffer under another type; nothing is computed or moved.
ALIASES = frozenset({
    "stablehlo.bitcast_convert", "stablehlo.optimization_barrier", "stablehlo.reshape", "stablehlo.tuple",
    "stablehlo.get_tuple_element", "sdy.sharding_constraint", "builtin.unrealized_conversion_cast",
})
# Computed element by element inside the loop of their reader.
_MOVES = (
    "broadcast broadcast_in_dim complex concatenate constant dynamic_slice imag iota map pad partition_id real "
    "replica_id reverse slice transpose"
)
FUSIBLE = (ELEMENTWISE | TRANSCENDENTAL | ALIASES | {f"stablehlo.{name}" for name in _MOVES.split()}) - {
    "stablehlo.optimization_barrier", "stablehlo.rng",
}
# Ops with a loop of their own that takes what they read into it.
_ABSORB = frozenset({
    "stablehlo.dynamic_update_slice", "stablehlo.gather", "stablehlo.reduce", "stablehlo.scatter",
})
# Not computed again for each of several readers.
_COSTLY = TRANSCENDENTAL | {"stablehlo.divide", "stablehlo.remainder", "stablehlo.concatenate"}
# Read as much of their first operand as their result has.
_PARTS = frozenset({"stablehlo.slice", "stablehlo.dynamic_slice", "stablehlo.gather"})
# Written in place: an update is read and written, the rest of the buffer stays. Name -> position of the update, from
# the end where negative.
_IN_PLACE = {"stablehlo.dynamic_update_slice": 1, "stablehlo.scatter": -1}
_NO_READS: dict[int, int] = {}


@dataclass
class Fusion:
    """What fusing does to one block.

    Attributes:
      stored: The values of the block that are in memory, its arguments included.
      read, written: For each op, by position, the bytes it reads from and writes to memory.
    """

    stored: set[int]
    read: list[int] = field(default_factory=list)
    written: list[int] = field(default_factory=list)


def fuse(graph: Graph, body: Body) -> Fusion:
    """What fusing does to ``body``; blocks inside it are looked at on their own."""
    stored = _stored(graph, body)
    fusion = Fusion(stored)
    # Value that is not in memory -> what is read for it: value in memory -> bytes of it.
    sources: dict[int, dict[int, int]] = {}
    sizes = graph.bytes
    for node in body.nodes:
        name, results, read, written = node.name, node.results, 0, 0
        if name in FUSIBLE and results[0] not in stored:
            reads = _reads(sizes, node, sources)
            for v in results:
                sources[v] = reads
        elif name in _IN_PLACE:
            reads = dict(_reads(sizes, node, sources))
            reads.pop(node.operands[0], None)
            written = sizes[node.operands[_IN_PLACE[name]]]
            read = sum(reads.values()) + (written if name == "stablehlo.scatter" else 0)
        elif not (name in ALIASES or node.bodies or node.callee):
            read = sum(_reads(sizes, node, sources).values())
            written = sum([sizes[v] for v in results if v in stored])
        fusion.read.append(read)
        fusion.written.append(written)
    return fusion


def _stored(graph: Graph, body: Body) -> set[int]:
    """The values of ``body`` that are in memory."""
    stored = {*body.arguments, *body.returned}
    aliases, costly = [], []
    for node in body.nodes:
        if node.name in FUSIBLE:
            if node.name in ALIASES:
                aliases.append(node)
            elif node.name in _COSTLY:
                costly.append(node.results[0])
            continue
        stored.update(node.results)
        if node.name not in _ABSORB:
            stored.update(node.operands)
        for inner in node.bodies:
            stored |= _captured(graph, inner)
        if node.name in ALIASES:
            aliases.append(node)
    readers = Counter(chain.from_iterable([node.operands for node in body.nodes]))
    stored.update([v for v in costly if readers[v] > 1])
    for node in reversed(aliases):
        # One buffer under two types.
        stored.update([source for v, source in zip(node.results, node.operands, strict=False) if v in stored])
    return stored


def _captured(graph: Graph, body: Body) -> set[int]:
    """What ``body`` and the blocks in it read; values of its own are among them and do no harm."""
    found = set(body.returned)
    for node in body.nodes:
        found.update(node.operands)
        for inner in node.bodies:
            found |= _captured(graph, inner)
    return found


def _reads(sizes: list[int], node: Node, sources: dict[int, dict[int, int]]) -> dict[int, int]:
    """What ``node`` reads: value in memory -> bytes of it. Not to be changed: what reads alike shares it."""
    operands = node.operands
    if not operands:
        return _NO_READS
    if len(operands) == 1 and node.name not in _PARTS:
        [v] = operands
        inputs = sources.get(v)
        return inputs if inputs is not None else {v: sizes[v]}
    found: dict[int, int] = {}
    for v in operands:
        inputs = sources.get(v)
        if inputs is None:
            found[v] = sizes[v]
        elif not found:
            found.update(inputs)
        else:
            for source, size in inputs.items():
                found[source] = min(sizes[source], found.get(source, 0) + size)
    if node.name in _PARTS:
        part = sizes[node.results[0]]
        for v in sources.get(operands[0], (operands[0],)):
            found[v] = min(found[v], part)
    return found
