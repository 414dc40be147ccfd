"""Recovers the mesh behind tile assignments: axes that every assignment of a module is made of.

A tile assignment cuts the device number into digits and distributes these over the dimensions of a tensor. On 8 devices
``[2,4]<=[4,2]T(1,0)`` reads: dimension 0 by the minor digit (2 shards), dimension 1 by the major one (4 shards). Where
one digit begins and another ends is a *cut*, written as the number of shards before it; that example cuts at 1, 4, 8.
The axes of the mesh lie between the cuts of all assignments. A cut that does not nest with the others (2 and 3 of 6)
falls inside an axis, and Shardy's sub-axes reach it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from passes.sharding.importers.hlo_sharding import Tiled, expanded
from passes.sharding.mesh import Axis, Mesh

# As XLA's importer calls axes that have no name.
_AXIS_NAME = "_axis_{}"


@dataclass(frozen=True)
class Digit:
    """A factor of the device position: ``position // stride % size``."""

    size: int
    stride: int


# For each dimension of a tile assignment its digits, major to minor.
Parts = tuple[tuple[Digit, ...], ...]


def recover(assignments: Iterable[Tiled]) -> list[Mesh]:
    """Meshes on which every one of ``assignments`` can be expressed: one, unless their devices do not fit together."""
    by_count: dict[int, list[Tiled]] = {}
    for tiles in assignments:
        by_count.setdefault(tiles.device_count, []).append(tiles)
    return [mesh for count, group in by_count.items() for mesh in _recover_group(count, group)]


def _recover_group(count: int, group: Sequence[Tiled]) -> list[Mesh]:
    """The meshes for assignments of ``count`` devices, in whose order as many as possible can be read."""
    found = []
    left = list(dict.fromkeys(group))
    order: tuple[int, ...] = ()
    while left:
        readable = [tiles for tiles in left if parts(tiles, order) is not None]
        if len(readable) < len(left) and (better := _better_order(left, len(readable))) is not None:
            order = better
            readable = [tiles for tiles in left if parts(tiles, order) is not None]
        if readable:
            found.append(_mesh(count, order, readable))
        left = [tiles for tiles in left if tiles not in set(readable)]
        order = expanded(left[0]) if left else ()
    return found


def _better_order(assignments: Sequence[Tiled], least: int) -> tuple[int, ...] | None:
    """The order of devices, of those the assignments list, in which most, and more than ``least``, can be read."""
    best = None
    for candidate in dict.fromkeys(map(expanded, assignments)):
        readable = sum(parts(tiles, candidate) is not None for tiles in assignments)
        if readable > least:
            least, best = readable, candidate
        if least == len(assignments):
            break
    return best


def _mesh(count: int, order: tuple[int, ...], readable: Sequence[Tiled]) -> Mesh:
    cuts = {1, count}
    for tiles in readable:
        for digit in (d for dim in parts(tiles, order) or () for d in dim):
            cuts |= {count // digit.stride, count // (digit.stride * digit.size)}
    nesting = sorted(c for c in cuts if all(c % d == 0 or d % c == 0 for d in cuts))
    sizes = [after // before for before, after in itertools.pairwise(nesting)] or [1]
    axes = tuple((_AXIS_NAME.format(i), size) for i, size in enumerate(sizes))
    return Mesh(axes, () if order == tuple(range(count)) else order)


def axes_on(mesh: Mesh, tiles: Tiled) -> tuple[tuple[Axis, ...], ...] | None:
    """For each dimension of the assignment the axes of ``mesh`` it is split over; ``None`` if there are none."""
    if mesh.device_count != tiles.device_count:
        return None
    found = parts(tiles, mesh.device_ids)
    if found is None:
        return None
    dims = []
    for digits in found:
        axes: list[Axis] = []
        for digit in digits:
            part = _axes_of(mesh, digit)
            if part is None:
                return None
            axes += part
        dims.append(tuple(_merged(axes)))
    return tuple(dims)


def parts(tiles: Tiled, order: tuple[int, ...] = ()) -> Parts | None:
    """The digits of each dimension, of the position in ``order`` (empty for 0, 1, 2, ...); ``None`` if it has none."""
    digits = _digits(tiles, order)
    return None if digits is None else _distribute(digits, tiles.dims)


def _digits(tiles: Tiled, order: tuple[int, ...]) -> list[Digit] | None:
    """The digits of the positions of the assignment's devices, major to minor."""
    if not tiles.devices and not order:
        strides = [math.prod(tiles.reshape[i + 1 :]) for i in range(len(tiles.reshape))]
        return _joined(Digit(tiles.reshape[i], strides[i]) for i in tiles.transpose)
    position = {device: i for i, device in enumerate(order)}
    return _read([position.get(d, -1) if order else d for d in expanded(tiles)])


def _read(positions: list[int]) -> list[Digit] | None:
    """The digits of a permutation of 0, 1, 2, ...; ``None`` if it permutes anything but digits."""
    count = len(positions)
    digits: list[Digit] = []
    done = 1
    while done < count:
        stride = positions[done]
        size = 1
        while done * size < count and positions[done * size] == stride * size:
            size += 1
        if size == 1 or count % (done * size):
            return None
        digits.insert(0, Digit(size, stride))
        done *= size
    # The digits were read off the multiples; all other positions have to agree.
    return _joined(digits) if _positions(digits) == positions else None


def _positions(digits: Sequence[Digit]) -> list[int]:
    found = [0]
    for digit in digits:
        found = [base + i * digit.stride for base in found for i in range(digit.size)]
    return found


def _joined(digits: Iterable[Digit]) -> list[Digit]:
    """``digits`` without those of size 1, and with neighbours that are neighbours in the device number made one."""
    found: list[Digit] = []
    for digit in digits:
        if digit.size == 1:
            continue
        if found and found[-1].stride == digit.stride * digit.size:
            found[-1] = Digit(found[-1].size * digit.size, digit.stride)
        else:
            found.append(digit)
    return found


def _distribute(digits: list[Digit], dims: tuple[int, ...]) -> Parts | None:
    """Deals the digits out to dimensions of sizes ``dims``, cutting them where a dimension ends."""
    waiting = list(reversed(digits))
    found = []
    for size in dims:
        mine: list[Digit] = []
        while size > 1:
            digit = waiting.pop()
            if digit.size > size:
                if digit.size % size:
                    return None
                rest = digit.size // size
                waiting.append(Digit(rest, digit.stride))
                digit = Digit(size, digit.stride * rest)
            elif size % digit.size:
                return None
            mine.append(digit)
            size //= digit.size
        found.append(tuple(mine))
    return tuple(found)


def _axes_of(mesh: Mesh, digit: Digit) -> list[Axis] | None:
    """The axes, or parts of axes, that make up ``digit``, major to minor."""
    last = mesh.device_count // digit.stride
    first = last // digit.size
    found = []
    before = 1
    for name, size in mesh.axes:
        after = before * size
        if first % after and before % last:
            low, high = max(before, first), min(after, last)
            if low % before or low % first or after % high or last % high or high % low:
                return None
            if high > low:
                found.append(Axis(name, low // before, high // low))
        before = after
    return found


def _merged(axes: list[Axis]) -> list[Axis]:
    """``axes`` with neighbouring parts of one axis made one, as Shardy demands."""
    found: list[Axis] = []
    for axis in axes:
        last = found[-1] if found else None
        if last is not None and last.name == axis.name and last.pre_size * last.size == axis.pre_size:
            found[-1] = Axis(axis.name, last.pre_size, last.size * axis.size)
        else:
            found.append(axis)
    return found
