"""Where windows lie on a dimension: what each shard of the result reads, and the padding that is left to do there."""

from __future__ import annotations

from dataclasses import dataclass

from passes.partition.halo import Need
from passes.sharding.windows import Window


@dataclass(frozen=True)
class Part:
    """What one shard of an op with windows computes from.

    Attributes:
      need: The elements it reads.
      low, high: The padding to put around them, which is less than the distance of two elements.
    """

    need: Need
    low: int
    high: int


def windowed(window: Window, results: int) -> Part | None:
    """What the shards read that compute ``results`` windows each; ``None`` if they do not all read alike."""
    return _part(window, results * window.stride, results, window.size)


def contracted(window: Window, results: int, taps: int) -> Part | None:
    """What the shards read that have ``taps`` elements of every window each, and sum over them."""
    return _part(window, taps * window.dilation, results, taps)


def _part(window: Window, step: int, results: int, taps: int) -> Part | None:
    """``step`` is the distance of two shards in padded positions, where elements lie ``base`` apart."""
    if step % window.base:
        return None
    reach = (results - 1) * window.stride + (taps - 1) * window.dilation + 1
    low = window.low % window.base
    count = (reach - 1 - low) // window.base + 1
    if count < 1:
        return None
    high = reach - low - ((count - 1) * window.base + 1)
    return Part(Need(step // window.base, -(window.low // window.base), count), low, high)


def sliced(start: int, stride: int, results: int) -> Need:
    """What a shard of ``results`` elements spans of the dimension they are taken from."""
    return Need(results * stride, start, (results - 1) * stride + 1)


def padded(low: int, interior: int, results: int) -> Part | None:
    """What is in a shard of ``results`` elements of a padded dimension; ``None`` if they do not all begin alike."""
    return windowed(Window(1, low=low, base=interior + 1), results)


@dataclass(frozen=True)
class Covered:
    """What one shard of a select_and_scatter's result is made from.

    Attributes:
      operand, source: The elements it reads, and the windows that reach into it.
      first: Where its own part begins in what it computes.
    """

    operand: Need
    source: Need
    first: int


def covered(window: Window, size: int) -> Covered | None:
    """What shards of ``size`` elements read; ``None`` where windows leave gaps, begin differently or need padding."""
    if size % window.stride or window.size < window.stride or max(window.low, window.high) > 0 or window.low < 0:
        return None
    # The first window that reaches into the shard, and the last that begins in it.
    first, last = -((window.size - 1) // window.stride), size // window.stride - 1
    begin = first * window.stride
    operand = Need(size, begin, (last - first) * window.stride + window.size)
    return Covered(operand, Need(size // window.stride, first, last - first + 1), -begin)
