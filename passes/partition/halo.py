"""Fetches from other shards what an op reads of a split dimension: a halo, a shift, any interval affine in the shard.

Of a dimension cut into equal shards, shard ``i`` asks for the elements ``step * i + start`` up to ``length`` further;
what lies outside of the dimension is filled. Neighbours send only the strips that are asked for, one collective_permute
for each distance; where all strips together are more than the shards an all_gather would bring, it gathers.

  // 8 elements on 2 devices, each wants its 4 and one more on either side
  %low = "stablehlo.collective_permute"(%last) {source_target_pairs = [[0, 1]]} : tensor<1xf32>
  %high = "stablehlo.collective_permute"(%first) {source_target_pairs = [[1, 0]]} : tensor<1xf32>
  %window = stablehlo.concatenate %low, %own, %high, dim = 0 : tensor<6xf32>

A device that nobody sends to receives zeros, so zeros around the dimension cost nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from passes import _mlir
from passes.partition import constants
from passes.partition.collectives import Axes, Emitter, count_shards
from passes.partition.trace import fetches_for
from passes.program.types import i64_attr, shape_of, tensor_type


@dataclass(frozen=True)
class Need:
    """What each shard wants of the whole dimension: ``length`` elements, shard ``i`` from ``step * i + start`` on."""

    step: int
    start: int
    length: int

    def first(self, shard: int) -> int:
        """The first element that ``shard`` wants."""
        return self.step * shard + self.start


@dataclass(frozen=True)
class Strip:
    """The part of its shard that a device sends to the one ``distance`` shards before it (0: it keeps it)."""

    distance: int
    first: int
    size: int


@dataclass(frozen=True)
class Exchange:
    """How the needs of all shards are met.

    Attributes:
      strips: By distance, without gaps if ``joined``.
      joined: Whether the strips lie side by side as they are wanted; else each shard picks from them.
      gathered: Whether to gather the whole dimension instead.
      moved: The elements each device receives, at most.
    """

    strips: tuple[Strip, ...]
    joined: bool
    gathered: bool
    moved: int


@functools.lru_cache(maxsize=1024)
def exchange(size: int, count: int, need: Need, cyclic: bool = False) -> Exchange:
    """The cheapest way to meet ``need`` of a dimension of ``count`` shards of ``size`` elements.

    Args:
      cyclic: The dimension repeats on either side instead of ending.
    """
    strips = _strips(size, count, need, cyclic)
    moved = _moved(strips, count, cyclic)
    hull = _hull(strips, size)
    joined = bool(hull) and _moved(hull, count, cyclic) == moved
    # With as many bytes either way, one gather takes less time than several permutes.
    several = sum(s.distance != 0 for s in strips) > 1
    gathered = not cyclic and moved + several > (count - 1) * size
    return Exchange(hull if joined else strips, joined, gathered, (count - 1) * size if gathered else moved)


def _strips(size: int, count: int, need: Need, cyclic: bool) -> tuple[Strip, ...]:
    bounds: dict[int, tuple[int, int]] = {}
    for shard in range(count):
        first, last = need.first(shard), need.first(shard) + need.length - 1
        if not cyclic:
            first, last = max(first, 0), min(last, count * size - 1)
        for other in range(first // size, last // size + 1):
            low, high = max(first - other * size, 0), min(last + 1 - other * size, size)
            if low < high:
                old = bounds.get(other - shard, (low, high))
                bounds[other - shard] = (min(low, old[0]), max(high, old[1]))
    return tuple(Strip(distance, low, high - low) for distance, (low, high) in sorted(bounds.items()))


def _hull(strips: tuple[Strip, ...], size: int) -> tuple[Strip, ...]:
    """The strips made one run of elements: all but the outer ends of the outermost are whole shards."""
    if not strips:
        return ()
    first, last = strips[0], strips[-1]
    found = []
    for distance in range(first.distance, last.distance + 1):
        low = first.first if distance == first.distance else 0
        high = last.first + last.size if distance == last.distance else size
        found.append(Strip(distance, low, high - low))
    return tuple(found)


def _moved(strips: tuple[Strip, ...], count: int, cyclic: bool) -> int:
    return sum(s.size for s in strips if s.distance % count or not (cyclic or s.distance == 0))


@dataclass(frozen=True)
class Side:
    """Where an exchange happens: along ``dim`` of values that are split over ``axes`` there.

    ``number`` is that of the op it is for, where ops are numbered (`trace`).
    """

    emit: Emitter
    dim: int
    axes: Axes
    point: Any
    location: Any
    number: int | None = None

    @functools.cached_property
    def count(self) -> int:
        """The number of shards."""
        return count_shards(self.axes)

    # -- moves -------------------------------------------------------------------------------------------------------

    def window(self, value: Any, need: Need, fill: Any = None, cyclic: bool = False) -> Any:
        """What this device wants of ``value``, which holds its shard.

        Args:
          fill: The scalar that stands outside of the dimension; ``None`` for zero, or where nothing outside is wanted.
          cyclic: See `exchange`.
        """
        size = shape_of(value)[self.dim]
        fill = None if fill is None or constants.is_zero(fill) else fill
        if (uniform := constants.uniform(value)) is not None:
            filled = self._spread(uniform, self._resized(value, need.length))
            return self._fill_outside(filled, need, size, fill, always=True)
        plan = exchange(size, self.count, need, cyclic)
        self.emit.fetched["gathered" if plan.gathered else "strips" if plan.moved else "local"] += 1
        if plan.gathered:
            return self._from_whole(value, need, fill)
        if plan.joined:
            joined = self.join([self._received(value, s, cyclic) for s in plan.strips])
            begin = plan.strips[0].distance * size + plan.strips[0].first
            found = self._cut_out(joined, Need(need.step - size, need.start - begin, need.length), fill)
            return found if cyclic else self._fill_outside(found, need, size, fill)
        return self._pick(value, need, plan, fill)

    def mirror(self, value: Any) -> Any:
        """The shard at the same distance from the other end."""
        self.emit.fetched["strips"] += 1
        pairs = (pair for group in self.emit.members(self.axes) for pair in zip(group, group[::-1], strict=True))
        return self._exchanged(value, tuple(pairs))

    def _received(self, value: Any, strip: Strip, cyclic: bool) -> Any:
        """The strip that the device at ``strip.distance`` sends to this one, zeros if there is none."""
        part = self.slice(value, strip.first, strip.size)
        pairs = self.emit.shift(self.axes, strip.distance, cyclic)
        if all(source == target for source, target in pairs):
            return part
        return self._exchanged(part, pairs)

    def _exchanged(self, value: Any, pairs: tuple[tuple[int, int], ...]) -> Any:
        moved = self.emit.exchange(value, pairs, self.point, self.location)
        fetches_for(moved, self.number)
        return moved

    def _from_whole(self, value: Any, need: Need, fill: Any) -> Any:
        return self._cut_out(self._all(value), need, fill)

    def _all(self, value: Any) -> Any:
        """The whole dimension."""
        dims = [self.axes if d == self.dim else () for d in range(len(shape_of(value)))]
        whole = self.emit.gather(value, dims, self.point, self.location)
        fetches_for(whole, self.number)
        return whole

    def _cut_out(self, value: Any, need: Need, fill: Any) -> Any:
        """``need`` of a value that is the same number of elements on every device, with ``fill`` around it."""
        firsts = need.first(0), need.first(self.count - 1)
        low = max(0, -min(firsts))
        high = max(0, max(firsts) + need.length - shape_of(value)[self.dim])
        if low or high:
            value = self._pad(value, low, high, fill)
        if need.step == 0:
            return self.slice(value, need.start + low, need.length)
        return self._dynamic_slice(value, self._index(need.step, need.start + low), need.length)

    def _pick(self, value: Any, need: Need, plan: Exchange, fill: Any) -> Any:
        """Puts each strip where it belongs and takes from each what its shard holds."""
        size, total = shape_of(value)[self.dim], shape_of(value)[self.dim] * self.count
        result = self._spread(fill, self._resized(value, need.length))
        self._positions(need)
        for strip in plan.strips:
            part = self._received(value, strip, cyclic=False)
            # In the window of shard i the strip starts at (size - step) * i + distance * size + first - start.
            offset = need.length - (strip.distance * size + strip.first - need.start)
            part = self._pad(part, need.length, need.length, None)
            part = self._dynamic_slice(part, self._index(need.step - size, offset), need.length)
            begin = strip.distance * size + strip.first
            inside = self._between(need, (size, begin), (size, begin + strip.size))
            if strip.distance:
                inside = self._both(inside, self._inside(need, total))
            result = self.select(inside, part, result)
        return result

    def _fill_outside(self, value: Any, need: Need, size: int, fill: Any, always: bool = False) -> Any:
        """``value`` with ``fill`` where ``need`` is outside of the dimension; zeros are there already."""
        firsts, total = (need.first(0), need.first(self.count - 1)), size * self.count
        if (fill is None and not always) or (min(firsts) >= 0 and max(firsts) + need.length <= total):
            return value
        return self.select(self._inside(need, total), value, self._spread(fill, value.type))

    # -- reductions --------------------------------------------------------------------------------------------------

    def combined(self, kind: str, value: Any, initial: Any, before: bool) -> Any:
        """What ``value``, one element along the dimension, comes to on the shards before this one, or behind it.

        ``kind`` combines (``stablehlo.add``, ...) and leaves every element as it is where the other is ``initial``.
        """
        values = self._all(value)
        shards = self._create("stablehlo.iota", [], tensor_type([self.count], "i64"), {"iota_dimension": i64_attr(0)})
        other = self._compare("LT" if before else "GT", shards, self._index(1, 0))
        values = self.select(other, values, self._spread(initial, values.type))
        return self.emit.reduce(values, initial, self.dim, kind, self.point, self.location)

    def combine(self, kind: str, value: Any, whole: Any) -> Any:
        """``kind`` of each element of ``value`` along the dimension and of ``whole``, which has not got it."""
        dims = [d for d in range(len(shape_of(value))) if d != self.dim]
        whole = self._create("stablehlo.broadcast_in_dim", [whole], value.type, {"broadcast_dimensions": _array(dims)})
        return self._create(kind, [value, whole], value.type, {})

    # -- places ------------------------------------------------------------------------------------------------------

    def select_from(self, need: Need, begin: int, value: Any, other: Any) -> Any:
        """``value`` where ``need`` is at element ``begin`` of the dimension or behind it, else ``other``."""
        return self.select(self._where("GE", need, (0, begin)), value, other)

    def _index(self, step: int, start: int) -> Any:
        """``step * i + start`` on shard ``i``, as a scalar."""
        if step == 0:
            return self._constant(start)
        if start == 0:
            return self.emit.offset(self.axes, step, self.point, self.location)
        return self._once(("index", step, start), lambda: self._add(self._index(step, 0), self._constant(start)))

    def _positions(self, need: Need) -> Any:
        """Which elements of the dimension ``need`` is about, as a vector."""

        def make() -> Any:
            type = tensor_type([need.length], "i64")
            numbers = self._create("stablehlo.iota", [], type, {"iota_dimension": i64_attr(0)})
            return self._add(numbers, self._spread(self._index(need.step, need.start), type))

        return self._once(("positions", need), make)

    def _where(self, direction: str, need: Need, index: tuple[int, int]) -> Any:
        """Where the elements ``need`` is about are, by ``direction``, to the `_index` of ``index``."""
        return self._once(
            (direction, need, index), lambda: self._compare(direction, self._positions(need), self._index(*index))
        )

    def _between(self, need: Need, begin: tuple[int, int], end: tuple[int, int]) -> Any:
        """Which elements ``need`` is about are from the `_index` of ``begin`` on and before that of ``end``."""

        def make() -> Any:
            self._index(*begin), self._index(*end)
            return self._both(self._where("GE", need, begin), self._where("LT", need, end))

        return self._once(("between", need, begin, end), make)

    def _inside(self, need: Need, total: int) -> Any:
        """Which elements ``need`` is about are in a dimension of ``total``."""

        return self._both(self._where("GE", need, (0, 0)), self._where("LT", need, (0, total)))

    def _once(self, key: tuple[Any, ...], make: Callable[[], Any]) -> Any:
        """See `Emitter.once`."""
        return self.emit.once(self.point, (self.axes, *key), make)

    # -- building blocks ---------------------------------------------------------------------------------------------

    def slice(self, value: Any, first: int, size: int, stride: int = 1) -> Any:
        """``value[first : first + size : stride]`` along the dimension."""
        shape = shape_of(value)
        if (first, size, stride) == (0, shape[self.dim], 1):
            return value
        starts, limits, strides = [0] * len(shape), list(shape), [1] * len(shape)
        starts[self.dim], limits[self.dim], strides[self.dim] = first, first + size, stride
        attributes = {"start_indices": starts, "limit_indices": limits, "strides": strides}
        type = self._resized(value, -(-size // stride))
        return self._create("stablehlo.slice", [value], type, {k: _array(v) for k, v in attributes.items()})

    def select(self, inside: Any, value: Any, other: Any) -> Any:
        """``value`` where the vector ``inside`` holds, else ``other``."""
        type = _mlir.ir.RankedTensorType(value.type)
        if type.rank > 1:
            dims = {"broadcast_dimensions": _array([self.dim])}
            inside = self._once(
                ("broadcast", inside, self.dim, tuple(type.shape)),
                lambda: self._create("stablehlo.broadcast_in_dim", [inside], tensor_type(type.shape, "i1"), dims),
            )
        return self._create("stablehlo.select", [inside, value, other], value.type, {})

    def join(self, parts: list[Any]) -> Any:
        """``parts`` side by side."""
        if len(parts) == 1:
            return parts[0]
        type = self._resized(parts[0], sum(shape_of(part)[self.dim] for part in parts))
        return self._create("stablehlo.concatenate", parts, type, {"dimension": i64_attr(self.dim)})

    def _pad(self, value: Any, low: int, high: int, fill: Any) -> Any:
        shape = shape_of(value)
        amounts = [[amount if d == self.dim else 0 for d in range(len(shape))] for amount in (low, high, 0)]
        keys = ("edge_padding_low", "edge_padding_high", "interior_padding")
        attributes = {key: _array(amount) for key, amount in zip(keys, amounts, strict=True)}
        type = tensor_type([], _element(value))
        scalar = fill if fill is not None else self._once(("zero", type), lambda: self._spread(None, type))
        return self._create("stablehlo.pad", [value, scalar], self._resized(value, low + shape[self.dim] + high),
                            attributes)

    def _dynamic_slice(self, value: Any, start: Any, length: int) -> Any:
        zero = self._constant(0)
        type = self._resized(value, length)
        starts = [start if d == self.dim else zero for d in range(len(shape_of(value)))]
        sizes = {"slice_sizes": _array(_mlir.ir.RankedTensorType(type).shape)}
        return self._create("stablehlo.dynamic_slice", [value, *starts], type, sizes)

    def _spread(self, scalar: Any, type: Any) -> Any:
        """``scalar``, ``None`` for zero, in every element of ``type``."""
        if scalar is None:
            return self._create("stablehlo.constant", [], type, {"value": constants.zero(type)})
        return self._create("stablehlo.broadcast_in_dim", [scalar], type, {"broadcast_dimensions": _array([])})

    def _compare(self, direction: str, vector: Any, scalar: Any) -> Any:
        attributes = {"comparison_direction": _mlir.stablehlo.ComparisonDirectionAttr.get(direction, _mlir.context())}
        type = tensor_type(shape_of(vector), "i1")
        return self._create("stablehlo.compare", [vector, self._spread(scalar, vector.type)], type, attributes)

    def _add(self, left: Any, right: Any) -> Any:
        return self._create("stablehlo.add", [left, right], left.type, {})

    def _both(self, left: Any, right: Any) -> Any:
        return self._once(("and", left, right), lambda: self._create("stablehlo.and", [left, right], left.type, {}))

    def _constant(self, value: int) -> Any:
        return self.emit.constant(value, self.point, self.location)

    def _create(self, name: str, operands: list[Any], type: Any, attributes: dict[str, Any]) -> Any:
        return self.emit.create(name, operands, type, attributes, self.point, self.location)

    def _resized(self, value: Any, size: int) -> Any:
        shape = shape_of(value)
        shape[self.dim] = size
        return tensor_type(shape, _element(value))


def _element(value: Any) -> Any:
    return _mlir.ir.RankedTensorType(value.type).element_type


def _array(values: Any) -> Any:
    return _mlir.ir.DenseI64ArrayAttr.get(list(values), _mlir.context())
