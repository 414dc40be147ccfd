"""Whether a program rounds anywhere on given inputs; where it does not, any order of its sums gives the same bits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from passes.execute.extents import Extent, Extents, Origin, of_array
from passes.program.read import Program


class _RoundsError(Exception):
    """An op whose result may be rounded."""


def rounds_nowhere(program: Program, inputs: list[np.ndarray], entry: str | None = None) -> bool:
    """Whether every float that ``program`` computes from ``inputs`` is exact, whatever the order of its sums."""
    walk = _Judge(program, inputs, entry)
    try:
        walk.walk([replace(of_array(x), origin=Origin(n, tuple(range(x.ndim)))) for n, x in enumerate(inputs)])
    except _RoundsError:
        return False
    return True


class _Judge(Extents):
    """Knows the arguments element by element, and gives up at the first op that may round."""

    def __init__(self, program: Program, inputs: list[np.ndarray], entry: str | None) -> None:
        super().__init__(program, entry)
        self.inputs = inputs
        self.lines: dict[tuple[int, tuple[int, ...]], float] = {}

    def line(self, argument: int, dims: tuple[int, ...]) -> float:
        if (argument, dims) not in self.lines:
            sums = np.abs(self.inputs[argument].astype(np.float64)).sum(dims)
            self.lines[argument, dims] = float(sums.max(initial=0))
        return self.lines[argument, dims]

    def inexact(self, op: Any) -> Extent:
        raise _RoundsError
