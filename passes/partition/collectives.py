"""Emits StableHLO collectives and per-device slices for moves between shardings.

All collectives use dense replica groups over the flattened mesh and a channel of their own, so that XLA runs them
across partitions as they stand. One collective serves a whole compound group: groups list devices in shard order,
major axis first, which is the order in which shards concatenate.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from passes import _mlir
from passes.program.types import i64_attr, tensor_type
from passes.sharding.mesh import Axis, Mesh, Sharding

Axes = tuple[Axis, ...]
# (source device, target device), ...
Pairs = tuple[tuple[int, int], ...]

# XLA's channel type for device-to-device communication.
_DEVICE_TO_DEVICE = 1


class Emitter:
    """Builds collectives over one mesh; values are per-device, ``axes`` say along which mesh axes devices differ.

    Every method inserts at ``point`` (``ir.InsertionPoint``) and returns the new per-device value.

    Attributes:
      manual: Axes along which devices hold different data whatever shardings say: those of the manual computations
        around the point.
      axes_of_groups: The axes behind each ``replica_groups`` attribute made so far.
      fetched: How often what an op reads of a split dimension was there (``local``), or came in strips from other
        shards (``strips``) or by gathering the dimension (``gathered``).
    """

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        self.manual: Axes = ()
        self.axes_of_groups: dict[Any, Axes] = {}
        self.fetched: Counter[str] = Counter()
        self._channel = 0
        self._groups: dict[Axes, Any] = {}
        self._members: dict[Axes, list[list[int]]] = {}
        self._shifts: dict[tuple[Axes, int, bool], Pairs] = {}
        self._tables: dict[Pairs, Any] = {}
        # One partition_id per block: a value of an outer block captured by a loop body would change the loop's type.
        self._indices: dict[tuple[Any, Axes], Any] = {}
        self._once: dict[tuple[Any, ...], Any] = {}
        # What was made before each of the functions that the point is in, with the mark it begins with.
        self._outside: list[tuple[Any, dict[tuple[Any, ...], Any]]] = []

    # -- moves between shardings -------------------------------------------------------------------------------------

    def gather(self, value: Any, dims: Sequence[Axes], point: Any, location: Any) -> Any:
        """all_gather along every dimension with axes in ``dims``; these are the minor-most axes of that dimension."""
        for dim, axes in enumerate(dims):
            if axes:
                value = self._all_gather(value, dim, axes, point, location)
        return value

    def slice(self, value: Any, dims: Sequence[Axes], point: Any, location: Any) -> Any:
        """The part of ``value`` this device keeps when its dimensions are split further over ``dims``."""
        ir = _mlir.ir
        type = ir.RankedTensorType(value.type)
        sizes = [size // count_shards(axes) for size, axes in zip(type.shape, dims, strict=True)]
        if sizes == list(type.shape):
            return value
        starts = [
            self.offset(axes, size, point, location) if axes else self.constant(0, point, location)
            for axes, size in zip(dims, sizes, strict=True)
        ]
        return self.create(
            "stablehlo.dynamic_slice",
            [value, *starts],
            tensor_type(sizes, type.element_type),
            {"slice_sizes": ir.DenseI64ArrayAttr.get(sizes, self._context)},
            point,
            location,
        )

    def reshard(self, value: Any, source: Sharding, target: Sharding, point: Any, location: Any) -> Any:
        """Moves ``value`` from one sharding to another: gathers what the two do not share, then slices.

        Right for any pair; upstream's plan is used where it found a cheaper way.
        """
        kept = [common_prefix(a, b) for a, b in zip(source.dims, target.dims, strict=True)]
        value = self.gather(value, [a[len(k) :] for a, k in zip(source.dims, kept, strict=True)], point, location)
        return self.slice(value, [a[len(k) :] for a, k in zip(target.dims, kept, strict=True)], point, location)

    def all_to_all(self, value: Any, source: int, target: int, axes: Axes, point: Any, location: Any) -> Any:
        """Moves ``axes`` from dimension ``source`` (becomes whole) to dimension ``target`` (becomes split)."""
        ir = _mlir.ir
        type, count = ir.RankedTensorType(value.type), count_shards(axes)
        shape = list(type.shape)
        shape[source] *= count
        shape[target] //= count
        attributes = {
            "split_dimension": i64_attr(target),
            "concat_dimension": i64_attr(source),
            "split_count": i64_attr(count),
            "replica_groups": self._replica_groups(axes),
            "channel_handle": self.channel_handle(),
        }
        result = tensor_type(shape, type.element_type)
        return self._collective("stablehlo.all_to_all", value, result, attributes, point, location)

    def permute(self, value: Any, source: Sharding, target: Sharding, point: Any, location: Any) -> Any:
        """collective_permute between two shardings with equal local shapes."""
        return self.exchange(value, tuple(permutation(self.mesh, source, target, self.manual)), point, location)

    def exchange(self, value: Any, pairs: Pairs, point: Any, location: Any) -> Any:
        """collective_permute along ``pairs``; zeros where no pair ends."""
        if pairs not in self._tables:
            table = np.array(sorted(pairs), dtype=np.int64)
            self._tables[pairs] = _mlir.ir.DenseElementsAttr.get(table, context=self._context)
        attributes = {"source_target_pairs": self._tables[pairs], "channel_handle": self.channel_handle()}
        return self._collective("stablehlo.collective_permute", value, value.type, attributes, point, location)

    # -- reductions --------------------------------------------------------------------------------------------------

    def all_reduce(self, value: Any, axes: Axes, kind: str, point: Any, location: Any) -> Any:
        """all_reduce over ``axes`` with the op ``kind`` (``stablehlo.add``, ...) as its body."""
        attributes = self._grouped(axes)
        return self._reduction("stablehlo.all_reduce", [value], value.type, attributes, kind, point, location)

    def reduce_scatter(self, value: Any, dims: Sequence[Axes], kind: str, point: Any, location: Any) -> Any:
        """reduce_scatter along every dimension with axes in ``dims``; each device keeps its part of the result."""
        for dim, axes in enumerate(dims):
            if not axes:
                continue
            type = _mlir.ir.RankedTensorType(value.type)
            shape = list(type.shape)
            shape[dim] //= count_shards(axes)
            attributes = {"scatter_dimension": i64_attr(dim), **self._grouped(axes)}
            result = tensor_type(shape, type.element_type)
            value = self._reduction("stablehlo.reduce_scatter", [value], result, attributes, kind, point, location)
        return value

    def reduce(self, value: Any, initial: Any, dim: int, kind: str, point: Any, location: Any) -> Any:
        """reduce along ``dim`` on this device, with the op ``kind`` as its body."""
        type = _mlir.ir.RankedTensorType(value.type)
        result = tensor_type([n for d, n in enumerate(type.shape) if d != dim], type.element_type)
        dims = {"dimensions": _mlir.ir.DenseI64ArrayAttr.get([dim], self._context)}
        return self._reduction("stablehlo.reduce", [value, initial], result, dims, kind, point, location)

    # -- this device's place -----------------------------------------------------------------------------------------

    def offset(self, axes: Axes, size: int, point: Any, location: Any) -> Any:
        """Where this device's shard of ``size`` elements starts: shard index times ``size``, as ``tensor<i64>``."""

        def make() -> Any:
            index = self.shard_index(axes, point, location)
            return self._binary("stablehlo.multiply", index, self.constant(size, point, location), point, location)

        return self.once(point, ("offset", axes, size), make)

    def shard_index(self, axes: Axes, point: Any, location: Any) -> Any:
        """Which shard of those made by ``axes`` this device holds, as ``tensor<i64>``; computed once per block."""
        block = point.block
        key = (block, axes)
        if key not in self._indices:
            start = _mlir.ir.InsertionPoint.at_block_begin(block)
            self._indices[key] = self._compute_index(axes, start, location)
        return self._indices[key]

    def _compute_index(self, axes: Axes, point: Any, location: Any) -> Any:
        device = self.create("stablehlo.partition_id", [], tensor_type([], "ui32"), {}, point, location)
        device = self.create("stablehlo.convert", [device], tensor_type([], "i64"), {}, point, location)
        if self.mesh.device_ids:
            return self._look_up(axes, device, point, location)
        index = None
        for axis in axes:
            stride = self._stride(axis)
            digit = device
            if stride > 1:
                size = self._constant(stride, point, location)
                digit = self._binary("stablehlo.divide", digit, size, point, location)
            if stride * axis.size < self.mesh.device_count:
                size = self._constant(axis.size, point, location)
                digit = self._binary("stablehlo.remainder", digit, size, point, location)
            if index is not None:
                size = self._constant(axis.size, point, location)
                index = self._binary("stablehlo.multiply", index, size, point, location)
                digit = self._binary("stablehlo.add", index, digit, point, location)
            index = digit
        return index if index is not None else self._constant(0, point, location)

    def _look_up(self, axes: Axes, device: Any, point: Any, location: Any) -> Any:
        """The shard index from a table by device id, for meshes whose devices are not in natural order."""
        ir = _mlir.ir
        table = np.array([self.mesh.shard_index(d, axes) for d in sorted(self.mesh.devices)], dtype=np.int64)
        value = ir.DenseElementsAttr.get(table, context=self._context)
        constant = self.create("stablehlo.constant", [], value.type, {"value": value}, point, location)
        sizes = {"slice_sizes": ir.DenseI64ArrayAttr.get([1], self._context)}
        one = tensor_type([1], "i64")
        entry = self.create("stablehlo.dynamic_slice", [constant, device], one, sizes, point, location)
        return self.create("stablehlo.reshape", [entry], tensor_type([], "i64"), {}, point, location)

    def _stride(self, axis: Axis) -> int:
        """How far apart two devices are that are neighbours along ``axis``."""
        names = [name for name, _ in self.mesh.axes]
        minor = self.mesh.axes[names.index(axis.name) + 1 :]
        stride = self.mesh.sizes[axis.name] // (axis.pre_size * axis.size)
        for _, size in minor:
            stride *= size
        return stride

    # -- building blocks ---------------------------------------------------------------------------------------------

    def once(self, point: Any, key: tuple[Any, ...], make: Callable[[], Any]) -> Any:
        """What ``make`` makes at ``point``, or made under ``key`` before, in the same block.

        For what follows from the device alone, such as indices, of which a program would have thousands of equal ones.
        Points in a block only move forward, but for `shard_index`, so what is there already comes before.
        """
        key = (point.block, *key)
        if key not in self._once:
            self._once[key] = make()
        return self._once[key]

    def enter(self, mark: Any) -> None:
        """Lets `once` make everything anew up to where `leave` gets the same ``mark``.

        For what may become a function, which is the same for every call only if it holds all that it needs.
        """
        self._outside.append((mark, self._once))
        self._once = {}

    def leave(self, mark: Any) -> None:
        """Goes on with what was made before ``mark``, if that has been entered."""
        while any(entered == mark for entered, _ in self._outside):
            _, self._once = self._outside.pop()

    def constant(self, value: int, point: Any, location: Any) -> Any:
        """A scalar ``tensor<i64>`` constant."""
        return self.once(point, (value,), lambda: self._constant(value, point, location))

    def _constant(self, value: int, point: Any, location: Any) -> Any:
        type = tensor_type([], "i64")
        attr = _mlir.ir.DenseElementsAttr.get_splat(type, _mlir.ir.IntegerAttr.get(type.element_type, value))
        return self.create("stablehlo.constant", [], type, {"value": attr}, point, location)

    @property
    def _context(self) -> Any:
        return _mlir.context()

    def _all_gather(self, value: Any, dim: int, axes: Axes, point: Any, location: Any) -> Any:
        type = _mlir.ir.RankedTensorType(value.type)
        shape = list(type.shape)
        shape[dim] *= count_shards(axes)
        attributes = {"all_gather_dim": i64_attr(dim), **self._grouped(axes)}
        result = tensor_type(shape, type.element_type)
        return self._collective("stablehlo.all_gather", value, result, attributes, point, location)

    def _collective(
        self, name: str, value: Any, result: Any, attributes: dict[str, Any], point: Any, location: Any
    ) -> Any:
        """A collective without a region; without elements there is nothing to send and StableHLO allows none."""
        if 0 in _mlir.ir.RankedTensorType(result).shape:
            return self._empty(result, point, location)
        return self.create(name, [value], result, attributes, point, location)

    def _empty(self, type: Any, point: Any, location: Any) -> Any:
        attributes = {"value": _mlir.ir.Attribute.parse(f"dense<> : {type}", self._context)}
        return self.create("stablehlo.constant", [], type, attributes, point, location)

    def _reduction(
        self,
        name: str,
        operands: list[Any],
        result: Any,
        attributes: dict[str, Any],
        kind: str,
        point: Any,
        location: Any,
    ) -> Any:
        ir = _mlir.ir
        if 0 in ir.RankedTensorType(result).shape:
            return self._empty(result, point, location)
        op = ir.Operation.create(
            name, results=[result], operands=operands, attributes=attributes, regions=1, loc=location, ip=point
        )
        scalar = tensor_type([], ir.RankedTensorType(operands[0].type).element_type)
        block = op.regions[0].blocks.append(scalar, scalar, arg_locs=[location, location])
        inner = ir.InsertionPoint(block)
        reduced = self.create(kind, list(block.arguments), scalar, {}, inner, location)
        ir.Operation.create("stablehlo.return", operands=[reduced], loc=location, ip=inner)
        return op.results[0]

    def _binary(self, name: str, left: Any, right: Any, point: Any, location: Any) -> Any:
        return self.create(name, [left, right], left.type, {}, point, location)

    def create(
        self, name: str, operands: Iterable[Any], result: Any, attributes: dict[str, Any], point: Any, location: Any
    ) -> Any:
        """The result of a new op with one result."""
        op = _mlir.ir.Operation.create(
            name, results=[result], operands=list(operands), attributes=attributes, loc=location, ip=point
        )
        return op.results[0]

    def _grouped(self, axes: Axes) -> dict[str, Any]:
        return {
            "replica_groups": self._replica_groups(axes),
            "channel_handle": self.channel_handle(),
            "use_global_device_ids": _mlir.ir.UnitAttr.get(self._context),
        }

    def _replica_groups(self, axes: Axes) -> Any:
        if axes not in self._groups:
            groups = np.array(self.members(axes), dtype=np.int64)
            self._groups[axes] = _mlir.ir.DenseElementsAttr.get(groups, context=self._context)
            self.axes_of_groups[self._groups[axes]] = axes
        return self._groups[axes]

    def members(self, axes: Axes) -> list[list[int]]:
        """The devices that hold the shards made by ``axes``, in shard order, for each position on the other axes."""
        if axes not in self._members:
            self._members[axes] = self.mesh.groups(axes)
        return self._members[axes]

    def shift(self, axes: Axes, distance: int, cyclic: bool) -> Pairs:
        """From the shard at ``distance`` behind each of those made by ``axes`` to that one.

        Args:
          cyclic: The first one comes after the last one; else nothing comes from there.
        """
        key = (axes, distance, cyclic)
        if key not in self._shifts:
            self._shifts[key] = tuple(
                (group[source % len(group)], device)
                for group in self.members(axes)
                for source, device in enumerate(group, distance)
                if cyclic or 0 <= source < len(group)
            )
        return self._shifts[key]

    def channel_handle(self) -> Any:
        """A channel that no other collective has."""
        self._channel += 1
        return _mlir.stablehlo.ChannelHandle.get(self._channel, _DEVICE_TO_DEVICE, context=self._context)


def permutation(mesh: Mesh, source: Sharding, target: Sharding, manual: Axes = ()) -> list[tuple[int, int]]:
    """(source device, target device) pairs that turn ``source`` into ``target``, each device once on either side.

    Devices that hold the same block are matched to themselves first, so that data stays where it can. No data moves
    along axes that are ``manual``.
    """
    holders: dict[tuple[int, ...], list[int]] = {}
    wanters: dict[tuple[int, ...], list[int]] = {}
    for device in sorted(mesh.devices):
        for table, dims in ((holders, source.dims), (wanters, target.dims)):
            block = tuple(mesh.shard_index(device, axes) for axes in (manual, *dims))
            table.setdefault(block, []).append(device)
    pairs = []
    for block, targets in wanters.items():
        sources = holders[block]
        stay = set(sources) & set(targets)
        pairs += [(d, d) for d in stay]
        moving = (s for s in sources if s not in stay)
        pairs += zip(moving, (t for t in targets if t not in stay), strict=True)
    return sorted(pairs)


def common_prefix(a: Axes, b: Axes) -> Axes:
    """The leading axes that ``a`` and ``b`` share."""
    length = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    return a[:length]


def count_shards(axes: Axes) -> int:
    """Into how many shards ``axes`` cut a dimension."""
    count = 1
    for axis in axes:
        count *= axis.size
    return count
