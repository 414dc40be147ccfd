"""What a program costs on one device: work, bytes moved to memory and between devices, time, memory.

The time of an op is the longer of computing (operations over the device's rate) and moving its bytes to and from memory
(the roofline); of a collective, its law. ``seconds`` adds all up; ``overlapped`` is what would be left if collectives
ran beside everything else, which no program reaches: the truth lies between the two.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from passes.cost.device import Device
from passes.cost.fusion import Fusion, fuse
from passes.cost.graph import Body, Graph, Node
from passes.cost.laws import sent
from passes.cost.memory import Memory, memory
from passes.pipeline.collection import uncollected
from passes.program import entry


@dataclass(slots=True)
class OpCost:
    """An op of the text and what all its runs cost together.

    Attributes:
      node: The op.
      runs: How often it runs.
      flops, transcendentals: What it computes.
      read, written: Bytes from and to memory.
      put_in: Of a collective, bytes that one device puts in.
      sent: Of a collective, bytes that one device sends in the least.
      compute, transfer, communication: Seconds of computing, of moving bytes to and from memory, of the collective.
    """

    node: Node
    runs: int
    flops: int
    transcendentals: int
    read: int
    written: int
    put_in: int
    sent: float
    compute: float
    transfer: float
    communication: float

    @property
    def seconds(self) -> float:
        """The longer of computing and moving bytes, or the collective."""
        return max(self.compute, self.transfer) + self.communication


@dataclass(frozen=True)
class Estimate:
    """What a program costs.

    Attributes:
      ops: Every op that costs anything, in the order they were met.
      memory: What it holds.
      graph: The program.
      fusions: What fusing does to each block, by the id of its body.
    """

    ops: list[OpCost]
    memory: Memory
    graph: Graph
    fusions: dict[int, Fusion] = field(repr=False)

    @property
    def flops(self) -> int:
        """Operations of one run of the program."""
        return sum(op.flops for op in self.ops)

    @property
    def transcendentals(self) -> int:
        """Elements of transcendental functions."""
        return sum(op.transcendentals for op in self.ops)

    @property
    def traffic(self) -> int:
        """Bytes from and to memory."""
        return sum(op.read + op.written for op in self.ops)

    @property
    def sent(self) -> float:
        """Bytes that one device sends to others in the least."""
        return sum(op.sent for op in self.ops)

    @property
    def local(self) -> float:
        """Seconds without collectives."""
        return sum(op.seconds - op.communication for op in self.ops)

    @property
    def communication(self) -> float:
        """Seconds in collectives."""
        return sum(op.communication for op in self.ops)

    @property
    def seconds(self) -> float:
        """Seconds if nothing overlaps."""
        return self.local + self.communication

    @property
    def overlapped(self) -> float:
        """Seconds if collectives run beside everything else."""
        return max(self.local, self.communication)


def estimate(graph: Graph, device: Device, topology: str | None = None, entry_name: str | None = None) -> Estimate:
    """What ``graph`` costs on ``device``; ``topology`` in place of the device's."""
    with uncollected():
        return _estimate(graph, device, topology, entry.find_entry(graph.program, entry_name))


def _estimate(graph: Graph, device: Device, topology: str | None, function: Any) -> Estimate:
    found: list[OpCost] = []
    fusions: dict[int, Fusion] = {}
    rates = _Rates(device)
    stack: list[tuple[Body, int]] = [(graph.entry, 1)]
    while stack:
        body, times = stack.pop()
        if id(body) not in fusions:
            fusions[id(body)] = fuse(graph, body)
        fusion = fusions[id(body)]
        for node, read, written in zip(body.nodes, fusion.read, fusion.written, strict=True):
            if node.bodies or node.callee:
                stack += [(inner, times * node.runs) for inner in graph.called(node)]
                continue
            work = node.work
            computed = work.flops + work.transcendentals
            if not (read or written or computed):
                continue
            # An op computes on the type of its first operand.
            compute = computed / rates[graph.elements[(node.operands or node.results)[0]]] if computed else 0.0
            exchanged = _exchanged(graph, node, device, topology) if node.exchange is not None else (0, 0.0, 0.0)
            found.append(OpCost(
                node, times, times * work.flops, times * work.transcendentals, times * read, times * written,
                times * exchanged[0], times * exchanged[1], times * compute,
                times * ((read + written) / device.memory_bandwidth), times * exchanged[2],
            ))
    return Estimate(found, memory(graph, function, fusions), graph, fusions)


def _exchanged(graph: Graph, node: Node, device: Device, topology: str | None) -> tuple[int, float, float]:
    """Of a collective: the bytes that one device puts in, those it sends, and seconds."""
    assert node.exchange is not None
    kind, group = node.name.removeprefix("stablehlo."), node.exchange.group
    put_in = sum([graph.bytes[v] for v in node.operands])
    return put_in, sent(kind, len(group)) * put_in, device.collective(kind, group, put_in, topology)


class _Rates(dict[str, float]):
    """Operations a second by element type, asked of the device once."""

    def __init__(self, device: Device) -> None:
        self.device = device

    def __missing__(self, element: str) -> float:
        self[element] = self.device.rate(element)
        return self[element]
