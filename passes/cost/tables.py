"""Groups the costs of ops: by kind, by the place they come from, by collective."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from passes import _mlir
from passes.cost.estimate import OpCost
from passes.cost.program_cost import ProgramCost
from passes.partition.summary import COLLECTIVES
from passes.program.read import Program


@dataclass(frozen=True)
class Total:
    """A figure of a whole program.

    Attributes:
      title: What it is; indented where it is a part of the one above.
      unit: ``B``, ``s``, ``x`` (times) or nothing.
      of: Reads it; ``None`` where it is not known.
      alone: Whether it says anything about a program of one device.
    """

    title: str
    unit: str
    of: Callable[[ProgramCost], float | None]
    alone: bool = True


TOTALS = (
    Total("FLOPs", "", lambda c: c.estimate.flops),
    Total("transcendentals", "", lambda c: c.estimate.transcendentals),
    Total("bytes from and to memory", "B", lambda c: c.estimate.traffic),
    Total("bytes sent", "B", lambda c: c.estimate.sent, alone=False),
    Total("peak memory", "B", lambda c: c.estimate.memory.peak),
    Total("  arguments", "B", lambda c: c.estimate.memory.arguments),
    Total("  results", "B", lambda c: c.estimate.memory.results),
    Total("  temporaries", "B", lambda c: c.estimate.memory.temporaries),
    Total("seconds, nothing overlaps", "s", lambda c: c.estimate.seconds),
    Total("  computing, memory", "s", lambda c: c.estimate.local, alone=False),
    Total("  collectives", "s", lambda c: c.estimate.communication, alone=False),
    Total("seconds, all overlaps", "s", lambda c: c.estimate.overlapped, alone=False),
    Total("computed again", "x", lambda c: c.redundancy, alone=False),
)


@dataclass
class Row:
    """Ops that go under one name, together.

    Attributes:
      name: What they have in common.
      ops: How many stand in the text.
      runs: How often they run in all.
      flops, transcendentals: What they compute.
      traffic: Bytes from and to memory.
      sent: Bytes that one device sends to others in the least.
      seconds: The time of all.
    """

    name: str
    ops: int = 0
    runs: int = 0
    flops: int = 0
    transcendentals: int = 0
    traffic: int = 0
    sent: float = 0.0
    seconds: float = 0.0

    def add(self, cost: OpCost) -> None:
        """Counts ``cost`` in."""
        self.ops += 1
        self.runs += cost.runs
        self.flops += cost.flops
        self.transcendentals += cost.transcendentals
        self.traffic += cost.read + cost.written
        self.sent += cost.sent
        self.seconds += cost.seconds

    def to_json(self) -> dict[str, Any]:
        """The fields by name."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def group(costs: Iterable[OpCost], key: Callable[[OpCost], str]) -> list[Row]:
    """The rows of ``costs`` by ``key``, the most expensive first."""
    rows: dict[str, Row] = {}
    for cost in costs:
        name = key(cost)
        rows.setdefault(name, Row(name)).add(cost)
    return sorted(rows.values(), key=lambda row: (-row.seconds, row.name))


def by_op(costs: Iterable[OpCost]) -> list[Row]:
    """By the op's name."""
    return group(costs, lambda cost: cost.node.name.removeprefix("stablehlo."))


def by_place(costs: Iterable[OpCost], program: Program) -> list[Row]:
    """By the name that the op's location carries, or the place in a file where there is none."""
    known: dict[Any, str] = {}

    def place(cost: OpCost) -> str:
        location = cost.node.op.location
        if location not in known:
            known[location] = _mlir.name_of(location) or str(program.in_file(_mlir.where_of(location)) or "no location")
        return known[location]

    return group(costs, place)


def side_by_side(found: Sequence[Sequence[Row]]) -> list[tuple[str, list[Row | None]]]:
    """The rows of several programs by name, what differs most in time first; ``None`` where a program has none."""
    known = [{row.name: row for row in rows} for rows in found]
    names = dict.fromkeys(name for rows in known for name in rows)
    together = [(name, [rows.get(name) for rows in known]) for name in names]

    def spread(rows: Sequence[Row | None]) -> float:
        seconds = [row.seconds if row is not None else 0.0 for row in rows]
        return max(seconds) - min(seconds)

    return sorted(together, key=lambda pair: (-spread(pair[1]), pair[0]))


def collectives(costs: Iterable[OpCost]) -> list[Row]:
    """Collectives by kind and the number of devices of a group."""
    found = [cost for cost in costs if cost.node.name in COLLECTIVES]
    return group(found, lambda c: f"{c.node.name.removeprefix('stablehlo.')} x{len(_exchange(c).group)}")


def _exchange(cost: OpCost) -> Any:
    assert cost.node.exchange is not None
    return cost.node.exchange
