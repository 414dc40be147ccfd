"""What a plan is, how values and ops lie under it, and what it costs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from passes.autoshard.given import Given

# (colour, axis): the axis by its position in the mesh.
Action = tuple[int, int]
Plan = tuple[Action, ...]
# For each dimension the axes that split it, major to minor.
Layout = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Price:
    """What a plan costs on one device.

    Attributes:
      seconds: Time of a run, nothing overlapping.
      local: Of these, without collectives.
      sent: Bytes sent to other devices.
      peak: Bytes of memory.
      arguments: Of these, arguments.
    """

    seconds: float
    local: float
    sent: float
    peak: float
    arguments: float


def about(plan: Plan, colours: frozenset[int]) -> Plan:
    """The actions of ``plan`` about some colours."""
    return tuple([action for action in plan if action[0] in colours])


def product(axis_sizes: Sequence[int], axes: Iterable[int]) -> int:
    """How many parts ``axes`` make."""
    return math.prod([axis_sizes[axis] for axis in axes])


def parts(axis_sizes: Sequence[int], layout: Layout) -> int:
    """Of how many parts ``layout`` is."""
    return math.prod([axis_sizes[axis] for axes in layout for axis in axes])


def allot(
    axis_sizes: Sequence[int], colours: Sequence[int], sizes: Sequence[int], plan: Plan, given: Given | None = None
) -> Layout:
    """The axes of each dimension or factor: first come, first served, as far as they divide."""
    if given is not None and given.closed:
        return given.axes
    found: list[list[int]] = [[] for _ in colours] if given is None else [list(axes) for axes in given.axes]
    taken = {axis for axes in found for axis in axes}
    made = [product(axis_sizes, axes) for axes in found]
    for colour, axis in plan:
        if axis in taken:
            continue
        for d, c in enumerate(colours):
            more = made[d] * axis_sizes[axis]
            if c == colour and (given is None or given.open[d]) and sizes[d] % more == 0:
                made[d] = more
                found[d].append(axis)
                taken.add(axis)
                break
    return tuple(map(tuple, found))
