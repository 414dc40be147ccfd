"""A tensor as a grid of boxes, one for each shard, with the devices that hold it, as `jax.debug` draws them.

  ┌────────┬────────┐
  │ 0,1    │ 2,3    │
  └────────┴────────┘
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from passes.sharding.mesh import Sharding

# Boxes drawn along one dimension, devices named in one box, and grids for further dimensions; the rest is elided.
_BOXES, _DEVICES, _GRIDS = 16, 6, 8


@dataclass(frozen=True)
class Grid:
    """Two dimensions (one, or none) of a tensor: a title, and the text of each box by row and column.

    ``first`` holds the smallest device of each box, by which boxes are told apart in colour.
    """

    title: str
    boxes: tuple[tuple[str, ...], ...]
    first: tuple[tuple[int, ...], ...]

    def lines(self) -> list[str]:
        """The grid in box-drawing characters."""
        widths = [max(len(row[c]) for row in self.boxes) + 2 for c in range(len(self.boxes[0]))]

        def rule(left: str, middle: str, right: str) -> str:
            return left + middle.join("─" * w for w in widths) + right

        drawn = [rule("┌", "┬", "┐")]
        for number, row in enumerate(self.boxes):
            if number:
                drawn.append(rule("├", "┼", "┤"))
            drawn.append(f"│{'│'.join(text.center(w) for text, w in zip(row, widths, strict=True))}│")
        return [*([self.title] if self.title else []), *drawn, rule("└", "┴", "┘")]


def grids(sharding: Sharding, shape: tuple[int, ...]) -> list[Grid]:
    """Pictures of a tensor of global ``shape``.

    Tensors of up to two dimensions are drawn whole. Of others the last two dimensions that are split are drawn, and
    once for each shard of the other split dimensions.
    """
    holders = _holders(sharding)
    shown, rest = _drawn_dims(sharding, len(shape))
    counts = [sharding.factor(d) for d in range(len(shape))]
    pictures = []
    every = list(itertools.product(*(range(counts[d]) for d in rest)))
    for fixed in every[:_GRIDS]:
        at = dict(zip(rest, fixed, strict=True))
        title = ", ".join(f"dimension {d} at {_span(shape[d], counts[d], i)}" for d, i in at.items())
        pictures.append(_grid(title, holders, counts, shown, at))
    if len(every) > _GRIDS:
        last = pictures.pop()
        pictures.append(Grid(f"{last.title}; and {len(every) - _GRIDS} more like it", last.boxes, last.first))
    return pictures


def _holders(sharding: Sharding) -> dict[tuple[int, ...], list[int]]:
    """The devices that hold each shard, by its index in every dimension."""
    found: dict[tuple[int, ...], list[int]] = {}
    for device in sorted(sharding.mesh.devices):
        index = tuple(sharding.mesh.shard_index(device, axes) for axes in sharding.dims)
        found.setdefault(index, []).append(device)
    return found


def _drawn_dims(sharding: Sharding, rank: int) -> tuple[list[int], list[int]]:
    """The dimensions of the rows and columns, and the split ones that are in neither."""
    split = [d for d in range(rank) if sharding.dims[d]]
    shown = list(range(rank)) if rank <= 2 else split[-2:]
    return shown, [d for d in split if d not in shown]


def _grid(
    title: str, holders: dict[tuple[int, ...], list[int]], counts: list[int], shown: list[int], at: dict[int, int]
) -> Grid:
    rows = counts[shown[0]] if len(shown) == 2 else 1
    columns = counts[shown[-1]] if shown else 1
    boxes, first = [], []
    for row in _elided(rows):
        texts, devices = [], []
        for column in _elided(columns):
            if row is None or column is None:
                texts.append("...")
                devices.append(-1)
                continue
            place = dict(at)
            place.update(zip(shown, [row, column][-len(shown) :] if shown else [], strict=True))
            held = holders[tuple(place.get(d, 0) for d in range(len(counts)))]
            texts.append(_names(held))
            devices.append(held[0])
        boxes.append(tuple(texts))
        first.append(tuple(devices))
    return Grid(title, tuple(boxes), tuple(first))


def _elided(count: int) -> list[int | None]:
    if count <= _BOXES:
        return list(range(count))
    return [*range(_BOXES - 2), None, count - 1]


def _names(devices: list[int]) -> str:
    listed = ",".join(map(str, devices[:_DEVICES]))
    return listed if len(devices) <= _DEVICES else f"{listed},... ({len(devices)} devices)"


def _span(size: int, shards: int, index: int) -> str:
    local = size // shards
    return f"{index * local}:{(index + 1) * local}"
