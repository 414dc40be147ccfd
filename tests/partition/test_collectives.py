"""Groups and permutations that collectives are built from, checked against shards of a numbered tensor."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from passes.partition.collectives import common_prefix, permutation
from passes.sharding.mesh import Mesh, Sharding

MESHES = st.sampled_from(
    [
        Mesh((("x", 2), ("y", 4))),
        Mesh((("x", 3), ("y", 2))),
        Mesh((("x", 2), ("y", 2), ("z", 2))),
        Mesh((("x", 2), ("y", 2)), (2, 0, 3, 1)),
    ]
)


@given(MESHES, st.data())
def test_groups_partition_the_devices_in_shard_order(mesh: Mesh, data: st.DataObject) -> None:
    names = data.draw(st.lists(st.sampled_from([n for n, _ in mesh.axes]), unique=True))
    axes = tuple(map(mesh.axis, names))
    groups = mesh.groups(axes)
    assert sorted(d for group in groups for d in group) == sorted(mesh.devices)
    for group in groups:
        assert [mesh.shard_index(d, axes) for d in group] == list(range(len(group)))
        # Members agree on every other axis.
        others = [mesh.axis(n) for n, _ in mesh.axes if n not in names]
        assert len({tuple(mesh.coordinate(d, a) for a in others) for d in group}) == 1


@given(MESHES, st.data())
def test_a_permutation_gives_every_device_the_block_it_wants(mesh: Mesh, data: st.DataObject) -> None:
    size = data.draw(st.sampled_from(sorted({s for _, s in mesh.axes})))
    candidates = [n for n, s in mesh.axes if s == size]
    source, target = (
        Sharding(mesh, ((mesh.axis(data.draw(st.sampled_from(candidates))),), ())) for _ in range(2)
    )
    pairs = permutation(mesh, source, target)
    assert sorted(s for s, _ in pairs) == sorted(t for _, t in pairs) == sorted(mesh.devices)
    tensor = np.arange(size * 6 * 2).reshape(size * 6, 2)
    for sender, receiver in pairs:
        sent = tensor[source.slices(sender, tensor.shape)]
        assert np.array_equal(sent, tensor[target.slices(receiver, tensor.shape)])


def test_data_stays_where_it_can() -> None:
    mesh = Mesh((("x", 2), ("y", 2)))
    x, y = (Sharding(mesh, ((mesh.axis(n),),)) for n in "xy")
    assert permutation(mesh, x, y) == [(0, 0), (1, 2), (2, 1), (3, 3)]


def test_common_prefix() -> None:
    mesh = Mesh((("x", 2), ("y", 2), ("z", 2)))
    x, y, z = (mesh.axis(n) for n in "xyz")
    assert common_prefix((x, y), (x, z)) == (x,)
    assert common_prefix((x, y), (x, y, z)) == (x, y)
    assert common_prefix((x, y), (x,)) == common_prefix((x,), (x, y)) == (x,)
    assert common_prefix((y,), (x,)) == ()
