"""What became of a program on its way from one form to another: ops by kind and place, and why passes took them out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from passes import _mlir
from passes.pipeline.options import PassStatistics
from passes.program.read import Program
from passes.program.walk import operations

# (kind of op, place)
Counts = Counter[tuple[str, str]]


@dataclass(frozen=True)
class Difference:
    """Two forms of a program.

    Attributes:
      title: What it was before: a file, or the passes that ran.
      before, after: How many ops of each kind there are at each place.
      passes: What the passes between say, if passes are what is between.
    """

    title: str
    before: Counts
    after: Counts
    passes: Sequence[PassStatistics] = ()

    def to_json(self) -> dict[str, Any]:
        """Kinds with counts before and after, the same by place, and removals: pass, why, op, place, count."""
        kinds = [_by_kind(self.before), _by_kind(self.after)]
        return {
            "title": self.title,
            "kinds": [
                [kind, kinds[0][kind], kinds[1][kind]]
                for kind in sorted({*kinds[0], *kinds[1]}, key=lambda k: (kinds[1][k] - kinds[0][k], k))
            ],
            "places": [
                [kind, place, self.before[kind, place], self.after[kind, place]]
                for kind, place in sorted({*self.before, *self.after})
                if self.before[kind, place] != self.after[kind, place]
            ],
            "removals": [
                [found.name, r.why, _short(r.op), str(r.where or r.name), r.count]
                for found in self.passes for r in sorted(found.removals or (), key=lambda r: -r.count)
            ],
            "silent": [found.name for found in self.passes if found.removals is None],
        }


def counts(program: Program) -> Counts:
    """How many ops of each kind ``program`` has at each place: a name in a location, or else a line."""
    places: dict[Any, str] = {}

    def place(location: Any) -> str:
        if location not in places:
            where = program.in_file(_mlir.where_of(location))
            places[location] = _mlir.name_of(location) or (f"{where.file}:{where.line}" if where is not None else "")
        return places[location]

    return Counter((_short(op.name), place(op.location)) for op in operations(program.module))


def _by_kind(found: Counts) -> Counter[str]:
    kinds: Counter[str] = Counter()
    for (kind, _), count in found.items():
        kinds[kind] += count
    return kinds


def _short(name: str) -> str:
    return name.removeprefix("stablehlo.")
