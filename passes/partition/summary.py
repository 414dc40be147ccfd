"""Counts the collectives of a per-device program: kind, axes, how often and how many bytes each device takes in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from passes import _mlir
from passes.program.types import byte_size
from passes.program.walk import operations

COLLECTIVES = frozenset(
    f"stablehlo.{name}"
    for name in (
        "all_gather", "all_reduce", "all_to_all", "collective_broadcast", "collective_permute", "reduce_scatter",
    )
)


@dataclass(frozen=True)
class Traffic:
    """Collectives of one kind over groups of one size.

    ``count`` is static: a collective in a loop counts once. ``bytes`` is the sum of the operands' per-device sizes.
    """

    kind: str
    group_size: int
    count: int
    bytes: int


def traffic(module: Any) -> list[Traffic]:
    """The collectives of ``module`` by kind and group size, most bytes first."""
    totals: dict[tuple[str, int], list[int]] = {}
    for op in operations(module):
        if op.name in COLLECTIVES:
            entry = totals.setdefault((op.name.removeprefix("stablehlo."), _group_size(op)), [0, 0])
            entry[0] += 1
            entry[1] += sum(byte_size(v.type) for v in op.operands)
    found = [Traffic(kind, size, count, bytes) for (kind, size), (count, bytes) in totals.items()]
    return sorted(found, key=lambda t: (-t.bytes, t.kind))


def _group_size(op: Any) -> int:
    """How many devices one collective joins; for a permute, how many take part in it."""
    key = "replica_groups" if "replica_groups" in op.attributes else "source_target_pairs"
    shape = _mlir.ir.ShapedType(_mlir.ir.DenseElementsAttr(op.attributes[key]).type).shape
    return int(shape[1] if key == "replica_groups" else shape[0])
