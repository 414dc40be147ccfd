"""``mhlo.sharding`` -> ``#sdy.sharding``: GSPMD's annotations on the meshes that `mesh_table` found for them."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

from passes import _mlir
from passes.sharding.importers import hlo_text, op_sharding_proto
from passes.sharding.importers.hlo_sharding import HloSharding, Malformed, Named, OnDevice, Tiled, Uniform
from passes.sharding.importers.mesh_table import MeshTable
from passes.sharding.mesh import Axis, Dims, Mesh, axis_to_attr

HLO_SHARDING = "mhlo.sharding"


@functools.lru_cache(maxsize=4096)
def read(data: bytes) -> tuple[HloSharding, ...]:
    """The sharding, or those of a tuple, that an ``mhlo.sharding`` attribute of these bytes holds.

    Raises:
      Malformed: it holds none.
    """
    if data[:1] < b" ":
        return op_sharding_proto.parse(data)
    return hlo_text.parse(data.decode(errors="replace"))


class Converter:
    """Turns shardings into attributes; equal ones are made once."""

    def __init__(self, table: MeshTable) -> None:
        self._table = table
        self._made: dict[Any, Any] = {}

    def prepare(self, shardings: Iterable[HloSharding]) -> None:
        """Has the module get the meshes that ``shardings`` need."""
        layouts = [s.layout for s in dict.fromkeys(shardings)]
        for layout in layouts:
            if isinstance(layout, Named) and layout.mesh.axes:
                self._table.name_of(layout.mesh)
        self._table.express(layout for layout in layouts if isinstance(layout, Tiled))

    def convert(self, sharding: HloSharding, rank: int, unspecified: frozenset[int] = frozenset()) -> Any:
        """``#sdy.sharding`` for a value of ``rank``; ``None`` if it is said to be manual, which an op can only be
        inside a manual computation. The dimensions ``unspecified`` are open.

        Raises:
          Malformed: the sharding is one of another rank.
        """
        key = sharding.layout, rank, unspecified
        if key not in self._made:
            self._made[key] = self._convert(sharding.layout, rank, unspecified)
        return self._made[key]

    def _convert(self, layout: Any, rank: int, unspecified: frozenset[int]) -> Any:
        if isinstance(layout, OnDevice):
            return _attribute(self._table.on_device(layout.device), self._table, ())
        if isinstance(layout, Uniform):
            return self._uniform(layout.kind, self._table.default(), rank, unspecified)
        if isinstance(layout, Tiled):
            return self._tiled(layout, rank, unspecified)
        return self._named(layout, rank, unspecified)

    def _uniform(self, kind: str, name: str, rank: int, unspecified: frozenset[int]) -> Any:
        if kind == "manual":
            return None
        closed = tuple(kind != "unknown" and dim not in unspecified for dim in range(rank))
        mesh = self._table.named[name]
        everything = tuple(mesh.axis(axis) for axis in mesh.sizes) if kind == "unreduced" else ()
        return _attribute(name, self._table, ((),) * rank, closed, unreduced=everything)

    def _tiled(self, tiles: Tiled, rank: int, unspecified: frozenset[int]) -> Any:
        _check_rank(tiles.rank, rank)
        name, dims = self._table.expressed(tiles)
        closed = tuple(dim not in unspecified for dim in range(rank))
        return _attribute(
            name, self._table, dims[:rank], closed, unreduced=_of_subgroup(tiles, dims, "unreduced")
        )

    def _named(self, named: Named, rank: int, unspecified: frozenset[int]) -> Any:
        name = self._table.name_of(named.mesh) if named.mesh.axes else self._table.default()
        if named.dims is None:
            return self._uniform(named.whole, name, rank, unspecified)
        if named.dims:
            _check_rank(len(named.dims), rank)
        dims = named.dims or ((),) * rank
        given = named.closed or (True,) * rank
        closed = tuple(is_closed and dim not in unspecified for dim, is_closed in enumerate(given))
        return _attribute(name, self._table, dims, closed, named.replicated, named.unreduced)

    def manual_axes(self, sharding: HloSharding) -> tuple[str, ...]:
        """The mesh axes that ``sharding``, which says so of some, says code is manual over.

        Raises:
          Malformed: it is over a part of an axis only.
        """
        layout = sharding.layout
        if isinstance(layout, Tiled):
            name, dims = self._table.expressed(layout)
            return _whole(_of_subgroup(layout, dims, "manual"), self._table.named[name])
        if isinstance(layout, Named) and layout.mesh.axes:
            return _whole(layout.manual or tuple(map(layout.mesh.axis, layout.mesh.sizes)), layout.mesh)
        return tuple(self._table.named[self._table.default()].sizes)


def _check_rank(given: int, rank: int) -> None:
    if given != rank:
        raise Malformed(f"expected a sharding of {rank} dimensions, as the tensor has, not of {given}")


def _of_subgroup(tiles: Tiled, dims: Dims, kind: str) -> tuple[Axis, ...]:
    last = zip(tiles.subgroups, dims[tiles.rank :], strict=True)
    return tuple(axis for subgroup, axes in last if subgroup == kind for axis in axes)


def _whole(axes: tuple[Axis, ...], mesh: Mesh) -> tuple[str, ...]:
    for axis in axes:
        if axis.size != mesh.sizes[axis.name]:
            raise Malformed(f"expected code that is manual over whole mesh axes, not over {axis.text(mesh)}")
    return tuple(axis.name for axis in sorted(axes, key=lambda a: list(mesh.sizes).index(a.name)))


def _attribute(
    name: str,
    table: MeshTable,
    dims: Dims,
    closed: tuple[bool, ...] = (),
    replicated: tuple[Axis, ...] = (),
    unreduced: tuple[Axis, ...] = (),
) -> Any:
    sdy, context, mesh = _mlir.sdy, _mlir.context(), table.named[name]

    def refer(axes: Iterable[Axis]) -> list[Any]:
        return [axis_to_attr(a, mesh) for a in axes]

    dimensions = [
        sdy.DimensionShardingAttr.get(refer(axes), is_closed=flag, context=context)
        for axes, flag in zip(dims, closed, strict=True)
    ]
    # Shardy wants these two lists in the order of the mesh.
    lists = [refer(_in_order(axes, mesh)) for axes in (replicated, unreduced)]
    return sdy.TensorShardingAttr.get(name, dimensions, *lists, context=context)


def _in_order(axes: tuple[Axis, ...], mesh: Mesh) -> list[Axis]:
    order = {name: i for i, name in enumerate(mesh.sizes)}
    return sorted(axes, key=lambda a: (order[a.name], a.pre_size))
