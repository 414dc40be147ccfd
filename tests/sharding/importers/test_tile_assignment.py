"""The mesh recovered from tile assignments gives every device the tile that the assignment gives it."""

from __future__ import annotations

import itertools
import math

from hypothesis import given
from hypothesis import strategies as st

from passes.sharding.importers.hlo_sharding import Tiled, expanded
from passes.sharding.importers.hlo_text import parse
from passes.sharding.importers.tile_assignment import axes_on, recover
from passes.sharding.mesh import Mesh


def tiled(text: str) -> Tiled:
    (sharding,) = parse(text)
    assert isinstance(sharding.layout, Tiled)
    return sharding.layout


def check(mesh: Mesh, tiles: Tiled) -> None:
    """Compares tile by tile; only dimensions of the tensor count, for the others hold copies."""
    dims = axes_on(mesh, tiles)
    assert dims is not None
    rank = tiles.rank
    for tile, device in zip(itertools.product(*map(range, tiles.dims)), expanded(tiles), strict=True):
        assert tuple(mesh.shard_index(device, axes) for axes in dims)[:rank] == tile[:rank]


def recovered(*texts: str) -> list[Mesh]:
    """The meshes for assignments, each of which is checked on the first mesh that takes it."""
    assignments = [tiled(text) for text in texts]
    meshes = recover(assignments)
    for tiles in assignments:
        check(next(mesh for mesh in meshes if axes_on(mesh, tiles) is not None), tiles)
    return meshes


def sizes(*texts: str) -> list[list[int]]:
    return [[size for _, size in mesh.axes] for mesh in recovered(*texts)]


def test_axes_lie_between_the_cuts_of_all_assignments() -> None:
    assert sizes("{devices=[8]<=[8]}") == [[8]]
    assert sizes("{devices=[8]<=[8]}", "{devices=[4,2]<=[8]}") == [[4, 2]]
    assert sizes("{devices=[2,4]<=[4,2]T(1,0)}", "{devices=[1,2,4]<=[8] last_tile_dim_replicate}") == [[2, 2, 2]]
    assert sizes("{devices=[4,2]<=[2,4]}") == [[4, 2]], "neighbouring digits are one digit"
    assert sizes("{devices=[1,1]<=[1]}") == [[1]]


def test_cuts_that_do_not_nest_fall_inside_an_axis() -> None:
    assert sizes("{devices=[2,3]<=[6]}", "{devices=[3,2]<=[6]}") == [[6]]
    assert sizes("{devices=[2,12]<=[24]}", "{devices=[3,8]<=[24]}", "{devices=[6,4]<=[24]}") == [[6, 4]]


def test_devices_in_an_order_of_their_own() -> None:
    (mesh,) = recovered("{devices=[8]0,1,3,2,7,6,4,5}", "{devices=[2,4]0,3,7,4,1,2,6,5}")
    assert mesh.device_ids == (0, 1, 3, 2, 7, 6, 4, 5)
    (mesh,) = recovered("{devices=[2,3]<=[2,3]T(1,0)}")
    assert mesh.device_ids == (0, 3, 1, 4, 2, 5)
    (mesh,) = recovered("{devices=[2,2]0,2,1,3}")
    assert mesh.device_ids == (), "digits of the natural order need no ids"


def test_assignments_that_share_no_mesh() -> None:
    assert len(recovered("{devices=[2]<=[2]}", "{devices=[4]<=[4]}")) == 2
    assert len(recovered("{devices=[4]<=[4]}", "{devices=[4]0,1,3,2}", "{devices=[2,2]<=[4]}")) == 2
    assert len(recovered("{devices=[5]0,1,2,3,4}", "{devices=[5]0,2,1,3,4}")) == 2


def test_a_mesh_of_another_make_is_refused() -> None:
    tiles = tiled("{devices=[3,2]<=[6]}")
    assert axes_on(Mesh((("a", 2), ("b", 3))), tiles) is None
    assert axes_on(Mesh((("a", 3), ("b", 4))), tiles) is None
    assert axes_on(Mesh((("a", 6),)), tiles) is not None
    assert axes_on(Mesh((("a", 3), ("one", 1), ("b", 2))), tiles) is not None


@st.composite
def meshes_and_assignments(draw: st.DrawFn) -> tuple[tuple[int, ...], list[Tiled]]:
    """A mesh shape, device order, and assignments as a front end derives them from PartitionSpecs on that mesh."""
    shape = tuple(draw(st.lists(st.sampled_from([1, 2, 3, 4]), min_size=1, max_size=4)))
    count = math.prod(shape)
    order = draw(st.one_of(st.just(tuple(range(count))), st.permutations(range(count)).map(tuple)))
    return order, [_assignment(draw, shape, order) for _ in range(draw(st.integers(1, 4)))]


def _assignment(draw: st.DrawFn, shape: tuple[int, ...], order: tuple[int, ...]) -> Tiled:
    axes = draw(st.permutations(range(len(shape))))
    # Which dimension of a rank-2 tensor an axis splits; 2 is none.
    dims: list[list[int]] = [[], [], []]
    for axis in axes:
        dims[draw(st.integers(0, 2))].append(axis)
    sequence = [axis for dim in dims for axis in dim]
    devices = []
    for index in itertools.product(*(range(shape[axis]) for axis in sequence)):
        coordinate = dict(zip(sequence, index, strict=True))
        position = 0
        for axis, size in enumerate(shape):
            position = position * size + coordinate[axis]
        devices.append(order[position])
    tile_dims = tuple(math.prod(shape[axis] for axis in dim) for dim in dims)
    return Tiled(tile_dims, devices=tuple(devices), subgroups=("replicated",))


@given(meshes_and_assignments())
def test_shardings_on_one_mesh_are_found_on_one_mesh(case: tuple[tuple[int, ...], list[Tiled]]) -> None:
    order, assignments = case
    meshes = recover(assignments)
    for tiles in assignments:
        check(next(mesh for mesh in meshes if axes_on(mesh, tiles) is not None), tiles)
    assert len(meshes) == 1
    if order == tuple(range(len(order))):
        assert not meshes[0].device_ids
