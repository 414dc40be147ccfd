"""Values that lie in shards on several devices, held to the golden values that they are parts of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from passes.execute.arrays import TensorType, mlir_name, same_bits
from passes.execute.compare import Comparison, Level, Tolerance, compare
from passes.execute.distance import Figures
from passes.execute.verify import assemble, cut
from passes.partition.trace import Held
from passes.sharding.mesh import Sharding


def compare_shards(
    name: str,
    expected: np.ndarray,
    sharding: Sharding,
    shards: Sequence[np.ndarray],
    level: Level,
    computed_in: Tolerance | None = None,
) -> Comparison | None:
    """Holds the shards of a value, by device, to the golden value; ``None`` if all bits are equal.

    A refused comparison names the first device whose shard breaks the claim.
    """
    if not fits(expected, sharding):
        reason = f"a value of type {type_of(expected)} does not divide as {sharding.spec()}"
        return Comparison(name, type_of(expected), level, Figures(expected.size, expected.size), reason)
    parts = cut(expected, sharding)
    odd = [d for d, (part, shard) in enumerate(zip(parts, shards, strict=True)) if not same_array(part, shard)]
    if not odd:
        return None
    each = {d: compare(name, parts[d], shards[d], level, computed_in=computed_in) for d in odd}
    refused = [d for d in odd if not each[d].ok]
    if any(part.shape != shard.shape or part.dtype != shard.dtype for part, shard in zip(parts, shards, strict=True)):
        return replace(each[odd[0]], device=odd[0])
    whole = compare(name, expected, assemble(list(shards), sharding, expected.shape), level, computed_in=computed_in)
    if not refused:
        return whole
    # Replicas may disagree where the devices that count first are right.
    return replace(each[refused[0]] if whole.ok else whole, device=refused[0])


def same_array(left: np.ndarray, right: np.ndarray) -> bool:
    return left.shape == right.shape and left.dtype == right.dtype and same_bits(left, right)


def fits(array: np.ndarray, sharding: Sharding) -> bool:
    return len(sharding.dims) == array.ndim and all(
        size % sharding.factor(dim) == 0 for dim, size in enumerate(array.shape)
    )


# How summands on devices combine, by the op that does it.
_COMBINE: dict[str, Any] = {
    "stablehlo.add": np.add, "stablehlo.maximum": np.maximum, "stablehlo.minimum": np.minimum,
    "stablehlo.multiply": np.multiply,
}


def combine(shards: Sequence[np.ndarray], mark: Held, shape: tuple[int, ...]) -> np.ndarray | None:
    """The global value that the summands on devices add up to; ``None`` if they do not fit or cannot be combined."""
    operation = _COMBINE.get(mark.kind)
    local = mark.sharding.local_shape(shape) if len(shape) == len(mark.sharding.dims) else None
    if operation is None or any(shard.shape != local for shard in shards):
        return None
    whole = list(shards)
    for members in mark.sharding.mesh.groups(mark.reduced):
        total = shards[members[0]]
        for device in members[1:]:
            total = operation(total, shards[device])
        for device in members:
            whole[device] = total
    return assemble(whole, mark.sharding, shape)


def type_of(array: np.ndarray) -> str:
    return str(TensorType(array.shape, mlir_name(array.dtype)))
