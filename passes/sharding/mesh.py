"""Meshes, axis references and shardings as plain Python data, and their translation from and to ``sdy`` attributes.

Device numbering follows Shardy: axes are listed major to minor, so on a mesh ``x=2, y=4`` device 5 sits at x=1, y=1;
``device_ids`` (if any) says which device stands at each linear position.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from passes import _mlir

# More devices than any machine has, and few enough to be listed.
MAX_DEVICES = 1 << 20


@dataclass(frozen=True, order=True)
class Axis:
    """A mesh axis, or the part of one that Shardy writes ``"x":(pre_size)size``.

    ``size`` is the number of shards it makes; a whole axis has ``pre_size`` 1 and the axis's full size.
    """

    name: str
    pre_size: int
    size: int

    def text(self, mesh: Mesh) -> str:
        """The axis as users write it: ``x``, or ``x:(1)2`` for a part."""
        return self.name if self.size == mesh.sizes[self.name] else f"{self.name}:({self.pre_size}){self.size}"


Dims = tuple[tuple[Axis, ...], ...]


@dataclass(frozen=True)
class Mesh:
    """Named axes with their sizes, major to minor; ``device_ids`` is empty for the natural order."""

    axes: tuple[tuple[str, int], ...]
    device_ids: tuple[int, ...] = ()

    @cached_property
    def sizes(self) -> dict[str, int]:
        """Axis name -> size."""
        return dict(self.axes)

    @cached_property
    def device_count(self) -> int:
        """The number of devices: the product of the axis sizes."""
        return math.prod(size for _, size in self.axes)

    @cached_property
    def devices(self) -> tuple[int, ...]:
        """The device at each linear position, major axis first."""
        return self.device_ids or tuple(range(self.device_count))

    def axis(self, name: str) -> Axis:
        """The whole axis ``name``."""
        return Axis(name, 1, self.sizes[name])

    @cached_property
    def _coordinates(self) -> dict[int, dict[str, int]]:
        table = {}
        for position, device in enumerate(self.devices):
            coordinates, rest = {}, position
            for name, size in reversed(self.axes):
                rest, coordinates[name] = divmod(rest, size)
            table[device] = coordinates
        return table

    def coordinate(self, device: int, axis: Axis) -> int:
        """``device``'s position along ``axis``, 0 to ``axis.size - 1``."""
        full = self.sizes[axis.name]
        return self._coordinates[device][axis.name] // (full // (axis.pre_size * axis.size)) % axis.size

    def shard_index(self, device: int, axes: tuple[Axis, ...]) -> int:
        """Which of the shards made by ``axes`` (major to minor) ``device`` holds."""
        index = 0
        for axis in axes:
            index = index * axis.size + self.coordinate(device, axis)
        return index

    def groups(self, axes: tuple[Axis, ...]) -> list[list[int]]:
        """Replica groups of a collective over ``axes``: devices that differ only there, in shard order.

        Groups are ordered by their position on the other axes.
        """
        found: dict[tuple[tuple[int, ...], ...], list[tuple[int, int]]] = {}
        for device in self.devices:
            key = tuple(
                tuple(d for i, d in enumerate(_digits(self, device, name, axes)) if i % 2 == 0) for name, _ in self.axes
            )
            found.setdefault(key, []).append((self.shard_index(device, axes), device))
        return [[device for _, device in sorted(members)] for members in found.values()]


def _digits(mesh: Mesh, device: int, name: str, axes: tuple[Axis, ...]) -> list[int]:
    """``device``'s coordinate on axis ``name`` as alternating digits: outside a part, inside it, outside, ..."""
    full, rest = mesh.sizes[name], mesh._coordinates[device][name]
    digits, consumed = [], 1
    for part in sorted(a for a in axes if a.name == name):
        outside = part.pre_size // consumed
        stride = full // (consumed * outside)
        digits.append(rest // stride)
        rest %= stride
        stride //= part.size
        digits.append(rest // stride)
        rest %= stride
        consumed = part.pre_size * part.size
    return [*digits, rest]


@dataclass(frozen=True)
class Sharding:
    """How one tensor lies on a mesh: for each dimension the axes it is split over, major to minor."""

    mesh: Mesh
    dims: Dims

    @property
    def is_replicated(self) -> bool:
        """Whether every device holds the whole tensor."""
        return not any(self.dims)

    def factor(self, dim: int) -> int:
        """Into how many shards dimension ``dim`` is cut."""
        return math.prod(axis.size for axis in self.dims[dim])

    def local_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape one device holds of a tensor of global ``shape``; every dimension must divide."""
        return tuple(size // self.factor(i) for i, size in enumerate(shape))

    def slices(self, device: int, shape: tuple[int, ...]) -> tuple[slice, ...]:
        """The part of a tensor of global ``shape`` that ``device`` holds."""
        local = self.local_shape(shape)
        starts = (self.mesh.shard_index(device, axes) * size for axes, size in zip(self.dims, local, strict=True))
        return tuple(slice(start, start + size) for start, size in zip(starts, local, strict=True))

    def spec(self) -> str:
        """The sharding in the look of JAX's PartitionSpec: ``P('data', None, ('x', 'y'))``."""
        return f"P({', '.join(self._entry(axes) for axes in self.dims)})"

    def _entry(self, axes: tuple[Axis, ...]) -> str:
        names = [repr(a.text(self.mesh)) for a in axes]
        if not names:
            return "None"
        return names[0] if len(names) == 1 else f"({', '.join(names)})"


def meshes(module: Any) -> dict[str, Mesh]:
    """The module's named meshes."""
    ir = _mlir.ir
    return {
        ir.StringAttr(op.attributes["sym_name"]).value: mesh_from_attr(op.attributes["mesh"])
        for op in module.body.operations
        if op.operation.name == "sdy.mesh"
    }


def mesh_from_attr(attribute: Any) -> Mesh:
    """``#sdy.mesh<...>`` as data."""
    sdy = _mlir.sdy
    attr = sdy.MeshAttr(attribute)
    axes = (sdy.MeshAxisAttr(a) for a in attr.axes)
    return Mesh(tuple((a.name, a.size) for a in axes), tuple(attr.device_ids))


def mesh_to_attr(mesh: Mesh) -> Any:
    """``#sdy.mesh<...>``."""
    sdy, context = _mlir.sdy, _mlir.context()
    axes = [sdy.MeshAxisAttr.get(name, size, context=context) for name, size in mesh.axes]
    return sdy.MeshAttr.get(axes, list(mesh.device_ids), context=context)


def sharding_from_attr(attribute: Any, named: dict[str, Mesh]) -> Sharding:
    """``#sdy.sharding<...>`` as data; ``named`` resolves its mesh reference. Open/closed and priorities are dropped."""
    sdy, ir = _mlir.sdy, _mlir.ir
    attr = sdy.TensorShardingAttr(attribute)
    reference = attr.mesh_or_ref
    mesh = (
        mesh_from_attr(reference)
        if sdy.MeshAttr.isinstance(reference)
        else named[ir.FlatSymbolRefAttr(reference).value]
    )
    return Sharding(mesh, tuple(axes_from_attr(d, mesh) for d in attr.dimension_shardings))


def axes_from_attr(dimension: Any, mesh: Mesh) -> tuple[Axis, ...]:
    """The axes of one ``#sdy.dimension_sharding``."""
    return tuple(axis_from_attr(a, mesh) for a in _mlir.sdy.DimensionShardingAttr(dimension).axes)


def axis_from_attr(attribute: Any, mesh: Mesh) -> Axis:
    """One ``#sdy<axis_ref>``."""
    sdy = _mlir.sdy
    reference = sdy.AxisRefAttr(attribute)
    if reference.sub_axis_info is None:
        return mesh.axis(reference.name)
    part = sdy.SubAxisInfoAttr(reference.sub_axis_info)
    return Axis(reference.name, part.pre_size, part.size)


def sharding_to_attr(mesh_name: str, sharding: Sharding, closed: tuple[bool, ...] | None = None) -> Any:
    """``#sdy.sharding<@mesh_name, ...>``; dimensions are closed unless ``closed`` says otherwise."""
    sdy, context = _mlir.sdy, _mlir.context()
    flags = closed if closed is not None else (True,) * len(sharding.dims)
    dims = [
        sdy.DimensionShardingAttr.get([axis_to_attr(a, sharding.mesh) for a in axes], is_closed=flag, context=context)
        for axes, flag in zip(sharding.dims, flags, strict=True)
    ]
    return sdy.TensorShardingAttr.get(mesh_name, dims, context=context)


def axis_to_attr(axis: Axis, mesh: Mesh) -> Any:
    """``#sdy<axis_ref>`` of an axis of ``mesh``, or of a part of one."""
    sdy, context = _mlir.sdy, _mlir.context()
    if axis.size == mesh.sizes[axis.name]:
        return sdy.AxisRefAttr.get(axis.name, context=context)
    part = sdy.SubAxisInfoAttr.get(axis.pre_size, axis.size, context=context)
    return sdy.AxisRefAttr.get(axis.name, part, context=context)
