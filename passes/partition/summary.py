"""Counts the collectives of a per-device program: kind, mesh axes, how many, how many bytes each device puts in."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from passes import _mlir
from passes.partition.side_table import SideTable
from passes.program import purity
from passes.program.entry import functions, symbol_name
from passes.program.types import byte_size
from passes.program.walk import named

COLLECTIVES = frozenset(
    f"stablehlo.{name}"
    for name in (
        "all_gather", "all_reduce", "all_to_all", "collective_broadcast", "collective_permute", "reduce_scatter",
    )
)


@dataclass(frozen=True)
class Traffic:
    """Collectives of one kind over the same mesh axes.

    Attributes:
      kind: ``all_reduce``, ...
      axes: The mesh axes that the devices of a group differ in, as users write them; empty for permutes.
      group_size: How many devices take part in one group; for permutes, in the whole exchange.
      count: How many such ops the program has, one in a function for each call; one in a loop counts once.
      bytes: What one device puts into them: the sum of the operands' local sizes.
    """

    kind: str
    axes: tuple[str, ...]
    group_size: int
    count: int
    bytes: int

    @property
    def wire(self) -> float:
        """The bytes each device sends if groups are rings."""
        return self.bytes * _SENT.get(self.kind, _once)(self.group_size)

    def to_json(self) -> dict[str, Any]:
        """The fields by name, and the bytes each device sends."""
        return {**asdict(self), "ring_bytes": round(self.wire)}


def _once(_: int) -> float:
    return 1.0


# Collective -> how often a device in a group of so many sends what it puts in, around a ring.
_SENT: dict[str, Callable[[int], float]] = {
    "all_gather": lambda size: size - 1.0,
    "all_reduce": lambda size: 2 * (size - 1) / size,
    "all_to_all": lambda size: (size - 1) / size,
    "reduce_scatter": lambda size: (size - 1) / size,
}


def local_shapes(table: SideTable) -> list[str]:
    """The local shapes of the arguments and results that are split, equal ones in one line."""
    found: Counter[tuple[str, str]] = Counter()
    for word, entries in (("argument", table.arguments), ("result", table.results)):
        for entry in entries:
            if not entry.sharding.is_replicated:
                part, whole = _type(entry.dtype, entry.local_shape), _type(entry.dtype, entry.global_shape)
                found[f"{part:<20} of {whole} in {entry.sharding.spec()}", word] += 1
    return [f"  {count:>4} {word + 's' * (count > 1):<10} {shape}" for (shape, word), count in found.items()]


def _type(dtype: str, shape: tuple[int, ...]) -> str:
    return f"{dtype}[{'x'.join(map(str, shape))}]"


# What may call functions.
_CALLING = frozenset(purity.CALLEE_ATTRIBUTES)
# Collectives, each with how often it is called.
Calls = Sequence[tuple[Any, int]]


def collectives(module: Any) -> Calls:
    """The collectives of ``module``."""
    return list(with_calls(module, COLLECTIVES))


def traffic(found: Calls, axes_of_groups: dict[Any, tuple[str, ...]]) -> list[Traffic]:
    """The `collectives` that were ``found``, most bytes first.

    ``axes_of_groups`` names the axes behind each ``replica_groups`` attribute.
    """
    totals: dict[tuple[str, tuple[str, ...], int], list[int]] = {}
    size = functools.cache(byte_size)
    for op, times in found:
        key = (op.name.removeprefix("stablehlo."), *axes_of(op, axes_of_groups))
        total = totals.setdefault(key, [0, 0])
        total[0] += times
        total[1] += times * sum(size(v.type) for v in op.operands)
    counted = [Traffic(*key, count, bytes) for key, (count, bytes) in totals.items()]
    return sorted(counted, key=lambda t: (-t.bytes, t.kind, t.axes))


def volume(found: Calls) -> tuple[float, int]:
    """How many bytes each device sends in the `collectives` ``found``, if groups are rings, and in how many."""
    moved = traffic(found, {})
    return sum(t.wire for t in moved), sum(t.count for t in moved)


def with_calls(module: Any, names: frozenset[str]) -> Iterator[tuple[Any, int]]:
    """The ops of ``module`` that are called one of ``names``, each with how often its function is called."""
    return ((op, times) for _, times, ops in by_function(module, names) for op in ops)


def by_function(module: Any, names: frozenset[str]) -> Iterator[tuple[Any, int, list[Any]]]:
    """The functions of ``module``, each with how often it is called and the ops in it that are called one of ``names``.

    What nothing is known to call is taken to run once.
    """
    every = {symbol_name(f): f for f in functions(module)}
    callers: dict[str, Counter[str]] = {}
    inside: dict[str, list[Any]] = {}
    for name, function in every.items():
        inside[name] = []
        for op in named(function, names | _CALLING):
            if op.name in names:
                inside[name].append(op)
                continue
            for callee in purity.callees(op):
                callers.setdefault(callee, Counter())[name] += 1
    times: dict[str, int] = {}
    for name, ops in inside.items():
        _count_calls(name, callers, times)
        yield every[name], times[name], ops


def _count_calls(name: str, callers: dict[str, Counter[str]], times: dict[str, int]) -> int:
    """How often function ``name`` is called in one run of those that nothing calls."""
    if name not in times:
        calling = callers.get(name, Counter[str]())
        times[name] = sum(n * _count_calls(c, callers, times) for c, n in calling.items()) if calling else 1
    return times[name]


def axes_of(op: Any, axes_of_groups: dict[Any, tuple[str, ...]]) -> tuple[tuple[str, ...], int]:
    """The axes a collective goes over (none for a permute), and the number of devices in one group."""
    attributes = op.attributes
    groups = attributes.get("replica_groups")
    if groups is not None:
        return axes_of_groups.get(groups, ()), int(_mlir.ir.DenseElementsAttr(groups).type.shape[1])
    return (), len(set(_mlir.ir.DenseIntElementsAttr(attributes["source_target_pairs"])))
