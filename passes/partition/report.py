"""What partitioning did, as data and as lines for a terminal."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from passes.partition.compute import Work
from passes.partition.outline import Flat
from passes.partition.padding_choice import Choice
from passes.partition.plan import Replicated
from passes.partition.reshards import Reshard
from passes.partition.side_table import SideTable
from passes.partition.summary import Traffic, local_shapes
from passes.sharding.divisibility import grouped
from passes.sharding.propagate import PropagateReport

_WAYS = {"strips": "in strips from other shards", "gathered": "by gathering it", "local": "from the shard itself"}
# How many lines a summary has on what the plan moves.
_MOST_RESHARDS = 8
_MOST_SHAPES = 12


@dataclass(frozen=True)
class Report:
    """What partitioning did.

    Attributes:
      side_table: How arguments and results lie, for runtimes.
      traffic: Collectives by kind and group size.
      replicated: Ops around which the plan replicates.
      propagation: What propagation reported: ops without a rule, axes dropped from dimensions they do not divide.
      unaliased: Arguments whose donation was dropped because the result now has another type.
      axes_of_groups: The mesh axes behind each ``replica_groups`` attribute, as users write them.
      changes: What the passes over collectives did: the statistics that are not zero, ``pass.statistic`` -> count.
      fetched: Where ops move elements along split dimensions, how often they were there or came in which way
        (`Emitter.fetched`).
      reshards: What the plan moves between devices, and for which ops.
      work: What is computed, and how much of that on several devices alike.
      flat: Composites that are none any more, because the plan does something in them that the device alone cannot.
      padding: Which dimensions that do not divide are padded, and which are whole because that is cheaper.
      numbered: With tracing, the global program as bytecode, its ops numbered; annotated, but not yet planned.
    """

    side_table: SideTable
    traffic: list[Traffic]
    replicated: list[Replicated]
    propagation: PropagateReport
    unaliased: list[str]
    axes_of_groups: dict[Any, tuple[str, ...]]
    changes: dict[str, int]
    reshards: list[Reshard]
    work: Work
    fetched: dict[str, int] = field(default_factory=dict)
    flat: tuple[Flat, ...] = ()
    padding: tuple[Choice, ...] = ()
    numbered: bytes | None = None

    def lines(self) -> list[str]:
        """The report for a terminal: the mesh, collectives with their bytes, and whatever did not go as planned."""
        mesh = self.side_table.mesh
        shape = " x ".join(f"{name}={size}" for name, size in mesh.axes)
        found = [f"mesh {shape}: {mesh.device_count} devices; collectives, with bytes each device puts in:"]
        found += [
            f"  {t.kind:<19}{','.join(t.axes) or f'{t.group_size} devices':<16}{t.count:>5} x{t.bytes:>16,} B"
            for t in self.traffic
        ]
        if not self.traffic:
            found.append("  none")
        if self.fetched:
            ways = ", ".join(f"{self.fetched[way]} {words}" for way, words in _WAYS.items() if self.fetched.get(way))
            found.append(f"ops that move elements along a split dimension fetch them: {ways}")
        found += self._changes()
        if self.reshards:
            found.append("planned for these ops, most frequent first:")
            found += [f"  {reshard}" for reshard in self.reshards[:_MOST_RESHARDS]]
        if (more := len(self.reshards) - _MOST_RESHARDS) > 0:
            found.append(f"  and {more} more, which --json lists")
        if shapes := local_shapes(self.side_table):
            found += ["local shapes:", *shapes[:_MOST_SHAPES]]
            if (more := len(shapes) - _MOST_SHAPES) > 0:
                found.append(f"  and {more} more, which --json lists")
        if self.work.whole:
            found.append(str(self.work))
        found += [f"replicated around {r.op} at {r.where}: {r.reason}" for r in self.replicated]
        found += [f"{where or 'note'}: {message}" for where, message in self.propagation.unruled]
        found += self.propagation.advice()
        found += map(str, self.padding)
        found += [f"not split: {line}" for line in grouped(self.propagation.dropped)]
        found += [str(flat) for flat in self.flat]
        found += [f"donation dropped: '{name}' and its result have different local types" for name in self.unaliased]
        return found

    def _changes(self) -> list[str]:
        moves, sums, combined = "cancel-moves", "delay-reductions", "combine-collectives"
        found = []
        if cancelled := sum(count for name, count in self.changes.items() if name.startswith(f"{moves}.")):
            found.append(f"{cancelled} slices beside collectives came to less communication")
        if delayed := self.changes.get(f"{sums}.delayed"):
            made = self.changes[f"{sums}.made"]
            found.append(
                f"{delayed} sums over devices are added up first and reduced by {made}; this changes the order of "
                "floating-point additions (--keep-sum-order leaves it)"
            )
        if count := self.changes.get("hoist-gathers.hoisted"):
            size = self.changes["hoist-gathers.bytes"]
            found.append(f"gathered before loops, not in every turn: {count}, which keeps {size:,} B while these run")
        if count := self.changes.get("merge-collectives.merged"):
            found.append(f"{count} collectives are done by the next one, over the axes of both")
        if count := self.changes.get(f"{combined}.combined"):
            found.append(f"{count} collectives are combined into {self.changes[f'{combined}.made']}")
        return found
