"""Counts the collectives of a per-device program: kind, mesh axes, how many, how many bytes each device puts in."""

from __future__ import annotations

from dataclasses import asdict, dataclass
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
    """Collectives of one kind over the same mesh axes.

    Attributes:
      kind: ``all_reduce``, ...
      axes: The mesh axes that the devices of a group differ in, as users write them; empty for permutes.
      group_size: How many devices take part in one group; for permutes, in the whole exchange.
      count: How many such ops the program has; one in a loop counts once.
      bytes: What one device puts into them: the sum of the operands' local sizes.
    """

    kind: str
    axes: tuple[str, ...]
    group_size: int
    count: int
    bytes: int

    def to_json(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)


def traffic(module: Any, axes_of_groups: dict[Any, tuple[str, ...]]) -> list[Traffic]:
    """The collectives of ``module``, most bytes first.

    ``axes_of_groups`` names the axes behind each ``replica_groups`` attribute.
    """
    totals: dict[tuple[str, tuple[str, ...], int], list[int]] = {}
    for op in operations(module):
        if op.name not in COLLECTIVES:
            continue
        key = (op.name.removeprefix("stablehlo."), *axes_of(op, axes_of_groups))
        total = totals.setdefault(key, [0, 0])
        total[0] += 1
        total[1] += sum(byte_size(v.type) for v in op.operands)
    found = [Traffic(*key, count, bytes) for key, (count, bytes) in totals.items()]
    return sorted(found, key=lambda t: (-t.bytes, t.kind, t.axes))


def axes_of(op: Any, axes_of_groups: dict[Any, tuple[str, ...]]) -> tuple[tuple[str, ...], int]:
    """The axes a collective goes over (none for a permute), and the number of devices in one group."""
    attributes = op.attributes
    if "replica_groups" in attributes:
        groups = attributes["replica_groups"]
        return axes_of_groups.get(groups, ()), int(_mlir.ir.DenseElementsAttr(groups).type.shape[1])
    return (), len(set(_mlir.ir.DenseIntElementsAttr(attributes["source_target_pairs"])))
