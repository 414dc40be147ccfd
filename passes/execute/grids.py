"""Which small integers each argument may hold so that the program's sums of them round nowhere.

A first guess is dense. Where a sum of products of arguments is longer than its element type holds, one of the arguments
is thinned: of the elements on each of its lines only so many are other than zero, whichever of its dimensions is
summed over:

  a bf16 sum over 1024 of products   ->   one in 64 elements of the weight is 1 or -1, sums stay below 16

Sums are kept below the root of what the type holds, to leave room for what is added to and multiplied with them. Values
that are no integers any more, behind an exponential say, ask for nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from passes.execute.arrays import TensorType, tensor_type
from passes.execute.distance import is_float
from passes.execute.extents import UNKNOWN, Extent, Extents, Factor, Origin, held_exactly
from passes.execute.ranges import Domain
from passes.program.read import Program
from passes.program.types import shape_of

# Of a loop; the second finds what the first has summed up, the third that no more comes of it.
_ROUNDS = 3


@dataclass(frozen=True)
class Grid:
    """The elements of an argument: integers up to ``largest`` in magnitude, one in ``one_in`` other than zero."""

    largest: int
    one_in: int = 1

    def draw(self, type: TensorType, random: np.random.Generator) -> np.ndarray:
        """An array of such elements. Those other than zero lie evenly on every line along any dimension."""
        small, shape = np.int8, type.shape
        if self.one_in == 1:
            return random.integers(-self.largest, self.largest + 1, shape, small).astype(type.dtype)
        values = random.integers(1, self.largest + 1, shape, small)
        values *= 2 * random.integers(0, 2, shape, small) - 1
        # Along a dimension this runs through all remainders, in another order on each line.
        place = np.full((1,) * len(shape), random.integers(self.one_in), np.int32)
        for dim, size in enumerate(shape):
            order = random.permutation(size).astype(np.int32)
            place = place + np.expand_dims(order, [d for d in range(len(shape)) if d != dim])
        values[place % self.one_in != 0] = 0
        return values.astype(type.dtype)


def grids(
    program: Program, types: Sequence[TensorType], domains: Sequence[Domain | None], entry: str | None = None
) -> list[Grid]:
    """For each argument, of these types and domains, what it may hold; those of other than float types count as 1."""
    walk = _Chooser(program, types, entry)
    walk.walk([
        _extent(type, domain, walk.grids[n], Origin(n, tuple(range(len(type.shape)))))
        for n, (type, domain) in enumerate(zip(types, domains, strict=True))
    ])
    return walk.grids


def _extent(type: TensorType, domain: Domain | None, grid: Grid, origin: Origin) -> Extent:
    if domain is not None and domain.high is not None:
        return Extent(max(abs(domain.high), abs(domain.low or 0)), True)
    if type.dtype.kind == "c":
        return UNKNOWN
    # What integer arguments hold is not chosen here.
    return Extent(grid.largest, True, origin) if is_float(type.dtype) else Extent(math.inf, True)


class _Chooser(Extents):
    """Thins arguments on the way. What was bounded before holds all the more after."""

    def __init__(self, program: Program, types: Sequence[TensorType], entry: str | None) -> None:
        super().__init__(program, entry)
        self.grids = [Grid(3 if type.dtype.itemsize >= 4 else 1) for type in types]

    def line(self, argument: int, dims: tuple[int, ...]) -> float:
        return self._line(argument, dims, self.grids[argument])

    def _line(self, argument: int, dims: tuple[int, ...], grid: Grid) -> float:
        sizes = [shape_of(self.block.arguments[argument])[d] for d in dims]
        longest = max(sizes)
        return grid.largest * math.prod(sizes) // max(1, longest) * math.ceil(longest / grid.one_in)

    def inexact(self, op: Any) -> Extent:
        return UNKNOWN

    def summed(self, op: Any, factors: Sequence[Factor]) -> Extent:
        found = super().summed(op, factors)
        type = tensor_type(op.results[0].type)
        if type is None or not is_float(type.dtype) or type.dtype.kind == "c" or not found.integral:
            return found
        held = held_exactly(type)
        before, target = list(self.grids), math.isqrt(held)
        # Where there are most elements, most are left.
        for factor in sorted(factors, key=lambda f: -self._elements(f)):
            if found.magnitude > target and self._elements(factor):
                self._thin(factor, found.magnitude / target)
                found = super().summed(op, [self._current(f) for f in factors])
        if found.magnitude > held:
            self.grids = before  # In vain.
        return found

    def _elements(self, factor: Factor) -> int:
        """Of the argument that may be thinned; 0 if there is none."""
        origin = factor.extent.origin
        whole = origin is not None and any(origin.dims[d] is not None for d in factor.over)
        return math.prod(shape_of(self.block.arguments[origin.argument])) if origin is not None and whole else 0

    def _current(self, factor: Factor) -> Factor:
        """``factor`` by what its argument holds now."""
        extent = factor.extent
        if extent.origin is None:
            return factor
        largest = min(extent.magnitude, self.grids[extent.origin.argument].largest)
        return replace(factor, extent=replace(extent, magnitude=largest))

    def _thin(self, factor: Factor, excess: float) -> None:
        """Has an argument contribute less to a sum, by ``excess`` if that can be."""
        origin = factor.extent.origin
        assert origin is not None
        dims = tuple(sorted(d for n in factor.over if (d := origin.dims[n]) is not None))
        grid = self.grids[origin.argument]
        allowed = self._line(origin.argument, dims, grid) / excess
        grid = replace(grid, largest=1)
        longest = max(shape_of(self.block.arguments[origin.argument])[d] for d in dims)
        others = self._line(origin.argument, dims, grid) // max(1, math.ceil(longest / grid.one_in))
        most = max(1, int(allowed / max(1, others)))
        grid = replace(grid, one_in=max(grid.one_in, math.ceil(longest / most)))
        self.grids[origin.argument] = grid

    def _loop(self, op: Any, operands: list[Extent]) -> list[Extent]:
        """A few rounds, in which what is carried grows until the arguments that the body takes are thin enough."""
        for _ in range(_ROUNDS):
            operands = self.through(op.regions[1].blocks[0], operands)
        return operands

    def _branch(self, op: Any, operands: list[Extent]) -> list[Extent]:
        first, *others = (self.through(region.blocks[0], []) for region in op.regions)
        for other in others:
            first = [a.join(b) for a, b in zip(first, other, strict=True)]
        return first

    REGIONS: ClassVar = {
        **Extents.REGIONS, "stablehlo.while": _loop, "stablehlo.case": _branch, "stablehlo.if": _branch,
    }
