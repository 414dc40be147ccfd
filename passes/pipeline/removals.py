"""The report of ``--explain-removed``: what passes took out and why, by reason and by place in the source.

    cse: 35 ops removed
      35  merged into an equal op (20 stablehlo.constant, 15 stablehlo.add)
          30  model.py:7: 20 stablehlo.constant, 10 stablehlo.add
           5  model.py:9: stablehlo.add
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from passes import _mlir
from passes.errors import Where
from passes.pipeline.base import Removal
from passes.pipeline.options import PassStatistics, Removed

_UNKNOWN = "unknown places"
# Op names in a line.
_SHOWN_OPS = 4


def collect(removals: Iterable[Removal]) -> tuple[Removed, ...]:
    """The removals of one pass without the bindings, those alike counted."""
    found = Counter((r.why, r.op, *_place(r.location)) for r in removals)
    return tuple(Removed(*key, count) for key, count in found.items())


def _place(location: Any) -> tuple[Where | None, str]:
    """The line of ``location``, or the name it carries if it has none."""
    where = _mlir.where_of(location)
    return (None, _mlir.name_of(location)) if where is None else (Where(where.file, where.line), "")


def report(passes: Sequence[PassStatistics], limit: int) -> str:
    """The report for passes that ran in this order, with at most ``limit`` places for each reason, most ops first.

    With a limit of 0 it names reasons only.
    """
    return "".join(f"{line}\n" for found in passes for line in _of_pass(found, limit))


def _of_pass(found: PassStatistics, limit: int) -> list[str]:
    if found.removals is None:
        return [f"{found.name}: a native pass, which does not say what it removes"]
    total = sum(r.count for r in found.removals)
    lines = [f"{found.name}: {total:,} op{'' if total == 1 else 's'} removed"]
    by_reason: dict[str, list[Removed]] = defaultdict(list)
    for removed in found.removals:
        by_reason[removed.why].append(removed)
    counts = {why: sum(r.count for r in group) for why, group in by_reason.items()}
    width = max((len(f"{count:,}") for count in counts.values()), default=0)
    for why, group in sorted(by_reason.items(), key=lambda item: (-counts[item[0]], item[0])):
        lines.append(f"  {counts[why]:{width},}  {why} ({_ops(_by_name(group))})")
        lines += [f"    {line}" for line in _places(group, limit, width)]
    return lines


def _places(group: list[Removed], limit: int, width: int) -> list[str]:
    by_place: dict[str, Counter[str]] = defaultdict(Counter)
    for removed in group:
        by_place[str(removed.where or removed.name or _UNKNOWN)][removed.op] += removed.count
    ordered = sorted(by_place.items(), key=lambda item: -item[1].total())
    lines = [f"{ops.total():{width},}  {place}: {_ops(ops)}" for place, ops in ordered[:limit]]
    rest = ordered[limit:]
    if rest and limit:
        count = sum(ops.total() for _, ops in rest)
        lines.append(f"{count:{width},}  at {len(rest):,} other place{'s' * (len(rest) > 1)}")
    return lines


def _by_name(group: list[Removed]) -> Counter[str]:
    found: Counter[str] = Counter()
    for removed in group:
        found[removed.op] += removed.count
    return found


def _ops(ops: Counter[str]) -> str:
    if len(ops) == 1:
        return next(iter(ops))
    shown = ops.most_common(_SHOWN_OPS)
    others = ops.total() - sum(count for _, count in shown)
    return ", ".join([*(f"{count:,} {name}" for name, count in shown), *([f"{others:,} others"] if others else [])])
