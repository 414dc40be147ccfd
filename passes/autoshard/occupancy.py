"""When values and copies of them are in memory: how many of each class at the moments at which a plan may peak."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from passes.autoshard.classes import Classes
from passes.cost.graph import Graph
from passes.cost.memory import Memory

# How many of the moments are looked at at which most is in memory; of each kind.
_MOMENTS = 48


class Occupancy:
    """Counts at some ops of the entry function, the moments.

    Attributes:
      alive: For each class of values that is ever alive, how many are at each moment.
      copies: For each class of readers, how many copies are there, if copies have to be made.
      arriving: For each class of readers, how many of its copies are made just then.
      arguments: How many arguments are of each class of values.
    """

    def __init__(self, classes: Classes, memory: Memory) -> None:
        graph, free = classes.dimensions.graph, classes.dimensions.free
        end = len(graph.entry.nodes)
        begun = _begun(graph, free)
        lifetimes = [
            (classes.of_value[begun.get(v, v)], first, last) for v, first, last in memory.lifetimes
            if v not in free or v in begun
        ]
        numbers = np.unique([k for k, _, _ in lifetimes]).astype(np.int64)
        counts = np.zeros((len(numbers), end + 1), dtype=np.int32)
        if lifetimes:
            kinds, firsts, lasts = np.array(lifetimes, dtype=np.int64).T
            rows = np.searchsorted(numbers, kinds)
            np.add.at(counts, (rows, firsts), 1)
            np.add.at(counts, (rows, lasts + 1), -1)
        counts = np.cumsum(counts, axis=1)[:, :end]
        moments = _moments(classes, numbers, counts)
        self.alive: dict[int, NDArray[np.float64]] = {
            int(k): row.astype(np.float64) for k, row in zip(numbers, counts[:, moments], strict=True)
        }
        self.copies: list[NDArray[np.float64]] = []
        self.arriving: list[NDArray[np.float64]] = []
        for readers in classes.readers:
            firsts, lasts = np.array(readers.spans).T
            # How many began by then, without those that had ended.
            there = (firsts[:, None] <= moments).sum(axis=0) - (lasts[:, None] < moments).sum(axis=0)
            self.copies.append(there.astype(np.float64))
            self.arriving.append((firsts[:, None] == moments).sum(axis=0).astype(np.float64))
        self.moments = len(moments)
        self.arguments = Counter(classes.of_value[v] for v in graph.entry.arguments)


def _begun(graph: Graph, free: set[int]) -> dict[int, int]:
    """Free values that a loop starts from, which lie as the loop's results do: value -> result."""
    found: dict[int, int] = {}
    stack = [graph.entry]
    while stack:
        for node in stack.pop().nodes:
            stack += node.bodies
            if node.name == "stablehlo.while":
                found.update((v, result) for v, result in zip(node.operands, node.results, strict=True) if v in free)
    return found


def _moments(
    classes: Classes, numbers: NDArray[np.int64], counts: NDArray[np.int32]
) -> NDArray[np.int64]:
    """Where most is alive in the program as it is, where each class has most, and where most would be gathered."""
    end = counts.shape[1]
    weights = np.array([classes.values[int(k)].bytes for k in numbers], dtype=np.float64)
    total = weights @ counts if len(numbers) else np.zeros(end)
    copies = np.zeros(end + 1)
    for readers in classes.readers:
        ends = np.array(readers.spans)
        np.add.at(copies, ends[:, 0], classes.values[readers.values].bytes)
        np.add.at(copies, ends[:, 1] + 1, -classes.values[readers.values].bytes)
    copies = np.cumsum(copies)[:end]
    found: set[int] = set()
    for amount in (total, copies, total + copies):
        found.update(np.argsort(-amount, kind="stable")[:_MOMENTS].tolist())
    found.update(np.argmax(counts, axis=1).tolist() if end and len(numbers) else [])
    return np.array(sorted(found), dtype=np.int64)
