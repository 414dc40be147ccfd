"""What the ops of `ops` mean, in numpy: for whole tensors, and for every device of a mesh.

Whole tensors, as one device sees them: `all_to_all_dispatch` repeats all tokens ``num_devices`` times, and
`all_to_all_combine` takes the first copy. On a mesh a value is a list with one array for each device, in the order of
device numbers; what an op leaves undefined is ``undefined``, so that a test can plant NaN there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from passes.sharding.mesh import Mesh

Array = np.ndarray[Any, Any]
Shards = list[Array]


def sparse_matmul(
    a: Array, b: Array, mask: Array, *, is_input_a_sparse: bool, is_input_b_sparse: bool, undefined: float = 0.0
) -> Array:
    """The product of each block of ``a`` with each expert of ``b`` [1,E,K,N] where the mask is not zero.

    a [A,B,M,K], mask [A,B,1,E] -> [A,B,1,E,M,N]; with ``is_input_a_sparse`` a [A,E,M,K], mask [1,1,A,E] -> [A,E,M,N].
    """
    if not (is_input_a_sparse or is_input_b_sparse):
        raise ValueError("one of the inputs must be sparse")
    if is_input_a_sparse:
        product, kept = np.einsum("aemk,ekn->aemn", a, b[0]), mask[0, 0][:, :, None, None]
    else:
        product, kept = np.einsum("abmk,ekn->abemn", a, b[0])[:, :, None], mask[:, :, :, :, None, None]
    return np.where(kept != 0, product, np.array(undefined, product.dtype))


@dataclass(frozen=True)
class Cluster:
    """Which devices exchange tokens: the rings along the mesh axis ``ring``, and which device owns which experts.

    Attributes:
      experts: The axes the experts are split over, major to minor; ``ring`` is one of them.
    """

    mesh: Mesh
    ring: str
    experts: tuple[str, ...]

    def rings(self) -> list[list[int]]:
        """The devices of each ring, in order."""
        return self.mesh.groups((self.mesh.axis(self.ring),))

    def teams(self) -> list[list[int]]:
        """The devices that hold different experts and the same ring position."""
        return self.mesh.groups(tuple(self.mesh.axis(a) for a in self.experts if a != self.ring))

    def owner_table(self, experts: int) -> Array:
        """mapping[e, d]: 1 if device d owns expert e."""
        axes = tuple(map(self.mesh.axis, self.experts))
        share = experts // math.prod(axis.size for axis in axes)
        return np.array(
            [[int(self.mesh.shard_index(d, axes) == e // share) for d in range(self.mesh.device_count)]
             for e in range(experts)], np.int32,
        )

    def local_experts(self, experts: int, device: int) -> Array:
        """The experts of ``device``, in order."""
        return np.flatnonzero(self.owner_table(experts)[:, device])


def dispatch(
    cluster: Cluster, x: Shards, indices: Shards, experts: int, undefined: float = 0.0
) -> tuple[Shards, Shards]:
    """x [B,S,H] and indices [B,S,K] of each device -> [1,B*n,S,H], [1,B*n,S,K].

    A device gets the tokens of its ring that one of its experts was selected for; other rows are ``undefined``.
    """
    dispatched, metadata = list(x), list(indices)
    for ring in cluster.rings():
        tokens, chosen = (np.concatenate([v[d] for d in ring])[None] for v in (x, indices))
        for d in ring:
            wanted = np.isin(chosen, cluster.local_experts(experts, d)).any(-1, keepdims=True)
            dispatched[d] = np.where(wanted, tokens, np.array(undefined, tokens.dtype))
            metadata[d] = chosen
    return dispatched, metadata


def remap(scores: Array, metadata: Array, local: Sequence[int] | Array, reduction_size: int) -> tuple[Array, Array]:
    """scores [.,B,S,E], metadata [.,B,S,K] -> the scores of the ``local`` experts, and where a chunk needs them."""
    member: Array = np.any(metadata[..., None, :] == np.asarray(local)[:, None], axis=-1)
    picked = np.where(member, scores[..., local], np.array(0, scores.dtype))
    flat = member.reshape(-1, len(local))
    rows = math.ceil(flat.shape[0] / reduction_size)
    padded = np.zeros((rows * reduction_size, len(local)), bool)
    padded[: flat.shape[0]] = flat
    return picked, np.any(padded.reshape(rows, reduction_size, -1), axis=1)[None, None]


def combine(cluster: Cluster, y: Shards, metadata: Shards, experts: int) -> Shards:
    """y [E',B*n,S,H] and metadata [1,B*n,S,K] of each device -> [K,B,S,H]: what selected experts said of its tokens.

    The owner of an expert may be in another ring, whose devices at the same ring position have the same tokens.
    """
    found: Shards = list(y)
    chosen = metadata[0].shape[-1]
    table = cluster.owner_table(experts)
    teams = {d: team for team in cluster.teams() for d in team}
    for ring in cluster.rings():
        for position, d in enumerate(ring):
            part = metadata[d].shape[1] // len(ring)
            rows = slice(position * part, (position + 1) * part)
            near = {member for other in teams[d] for r in cluster.rings() if other in r for member in r}
            out = np.zeros((chosen, *y[d][0, rows].shape), y[d].dtype)
            for k, b, s in np.ndindex(chosen, part, metadata[d].shape[2]):
                expert = metadata[d][0, rows][b, s, k]
                owners = [o for o in np.flatnonzero(table[expert]) if o in near] if 0 <= expert < experts else []
                if owners:
                    local = cluster.local_experts(experts, int(owners[0]))
                    out[k, b, s] = y[owners[0]][np.searchsorted(local, expert), rows][b, s]
            found[d] = out
    return found
