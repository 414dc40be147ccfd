"""What it costs to move a tensor from one layout to another, and to complete partial sums."""

from __future__ import annotations

from collections.abc import Sequence

from passes.autoshard.plans import Layout, parts, product
from passes.cost.device import Device
from passes.cost.laws import sent
from passes.sharding.mesh import Mesh


class Mover:
    """Seconds, and bytes that one device sends, of moves on one mesh of one kind of device.

    What goes into a collective is read from memory, and what comes out is written to it.
    """

    def __init__(self, mesh: Mesh, device: Device, topology: str | None = None) -> None:
        self.mesh, self.device, self.topology = mesh, device, topology
        self.axis_sizes = [size for _, size in mesh.axes]
        self._seconds: dict[tuple[str, tuple[int, ...], int], float] = {}
        self._groups: dict[tuple[int, ...], tuple[int, ...]] = {}

    def complete(self, whole: int, made: Layout, summed: tuple[int, ...], lies: Layout) -> tuple[float, float]:
        """Adds partial results up, each device keeping its part where the result is split over the axes summed over."""
        if not summed:
            return self.move(whole, made, lies)
        here = whole / parts(self.axis_sizes, made)
        kept = tuple(axis for axes in lies for axis in axes if axis in summed)
        rest = tuple(axis for axis in summed if axis not in kept)
        seconds = size = 0.0
        if kept:
            more, bytes = self._collective("reduce_scatter", kept, here)
            seconds, size, here = seconds + more, size + bytes, here / product(self.axis_sizes, kept)
        if rest:
            more, bytes = self._collective("all_reduce", rest, here)
            seconds, size = seconds + more, size + bytes
        # What is scattered becomes the minor part of its dimension.
        left = tuple((*axes, *[a for a in wanted if a in kept]) for axes, wanted in zip(made, lies, strict=True))
        more, bytes = self.move(whole, left, lies)
        return seconds + more, size + bytes

    def move(self, whole: float, source: Layout, target: Layout) -> tuple[float, float]:
        """Exchanges axes that change their dimension, cuts along new ones, gathers along those that are gone.

        All of these leave or make the minor part of a dimension; where others are concerned, shards change places.
        """
        if source == target:
            return 0.0, 0.0
        before = {axis: d for d, axes in enumerate(source) for axis in axes}
        after = {axis: d for d, axes in enumerate(target) for axis in axes}
        here = whole / parts(self.axis_sizes, source)
        swapped = tuple(a for a, d in before.items() if after.get(a, d) != d)
        gone = tuple(a for a in before if a not in after)
        seconds = size = 0.0
        if swapped:
            seconds, size = self._collective("all_to_all", swapped, here)
        misplaced = _misplaced(source, target)
        if misplaced:
            least = whole / max(parts(self.axis_sizes, source), parts(self.axis_sizes, target))
            more, bytes = self._collective("collective_permute", misplaced, least)
            seconds, size = seconds + more, size + bytes
        here /= product(self.axis_sizes, (a for a in after if a not in before))
        if gone:
            more, bytes = self._collective("all_gather", gone, here)
            seconds, size = seconds + more, size + bytes
        return seconds, size

    def _collective(self, kind: str, axes: Sequence[int], size: float) -> tuple[float, float]:
        """Seconds, and bytes sent, of one collective over ``axes`` into which a device puts ``size`` bytes."""
        axes = tuple(sorted(axes))
        key = (kind, axes, int(size))
        if key not in self._seconds:
            if axes not in self._groups:
                named = tuple(self.mesh.axis(self.mesh.axes[a][0]) for a in axes)
                self._groups[axes] = tuple(self.mesh.groups(named)[0])
            made = size * _made(kind, product(self.axis_sizes, axes))
            self._seconds[key] = (
                self.device.collective(kind, self._groups[axes], int(size), self.topology)
                + (size + made) / self.device.memory_bandwidth
            )
        return self._seconds[key], sent(kind, product(self.axis_sizes, axes)) * size


def _made(kind: str, count: int) -> float:
    """How much larger than what a device puts in what it gets is, in a group of ``count``."""
    return {"all_gather": count, "reduce_scatter": 1 / count}.get(kind, 1.0)


def _misplaced(source: Layout, target: Layout) -> tuple[int, ...]:
    """The axes of dimensions whose common axes are not the major ones of both, in one order."""
    found: set[int] = set()
    for before, after in zip(source, target, strict=True):
        common = len(set(before) & set(after))
        if before[:common] != after[:common]:
            found.update(before, after)
    return tuple(sorted(found))
