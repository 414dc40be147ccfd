"""Holding results to a claim of equality.

The claim is a `Level`. ``bit-equal`` allows nothing but other NaN payloads, ``ulp:N`` N representable values between
expected and got, ``close`` what rounding in another order can do. Pearson's correlation is reported and never
decides: a result that is off by a factor or an offset correlates perfectly.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from passes.errors import UserError
from passes.execute.arrays import TensorType, mlir_name
from passes.execute.distance import (
    Figures,
    differs,
    element_share,
    flat,
    has_ulps,
    is_float,
    measure,
    pieces,
    root_mean_square,
    ulps,
    wide,
)


@dataclass(frozen=True)
class Level:
    """How equal two results are claimed to be: ``kind`` is ``bit-equal``, ``ulp`` or ``close``."""

    kind: str
    ulps: int = 0

    def __str__(self) -> str:
        return f"ulp:{self.ulps}" if self.kind == "ulp" else self.kind


BIT_EQUAL = Level("bit-equal")
CLOSE = Level("close")


def parse_level(text: str) -> Level:
    """Reads ``bit-equal``, ``ulp:N`` or ``close``.

    Raises:
      UserError: the text is none of them.
    """
    if text in ("bit-equal", "close"):
        return Level(text)
    name, _, number = text.partition(":")
    if name == "ulp" and number.isdecimal():
        return Level("ulp", int(number))
    raise UserError(f"'{text}' is no level of equality; write bit-equal, close or ulp:N (for example ulp:4)")


@dataclass(frozen=True)
class Tolerance:
    """What ``close`` allows for one element type.

    Attributes:
      relative_l2: The norm of the difference over the norm of the expected result.
      scale: How far the best-fitting factor between the two may be from 1. Rounding errors point in all directions and
        cancel in the fit, so this can be stricter than ``relative_l2`` and finds a result that is off by a factor.
      element: The difference of one element over the sum of its magnitude and the result's root mean square.
    """

    relative_l2: float
    scale: float
    element: float


# Rounding noise of a few dozen layers of sums in each type; a factor of 1.01 stands out in all but the 8-bit types.
_TOLERANCES = {
    "f64": Tolerance(1e-12, 1e-12, 1e-10),
    "f32": Tolerance(1e-5, 1e-5, 1e-3),
    "f16": Tolerance(4e-3, 2e-3, 5e-2),
    "bf16": Tolerance(2e-2, 6e-3, 1e-1),
}
_EIGHT_BITS = Tolerance(1e-1, 5e-2, 5e-1)


def tolerance_of(dtype: np.dtype[Any]) -> Tolerance | None:
    """What ``close`` allows for ``dtype``; ``None`` for integers and booleans, which must be equal."""
    if not is_float(dtype):
        return None
    part = mlir_name(dtype).removeprefix("complex<").removesuffix(">")
    return _TOLERANCES.get(part, _EIGHT_BITS)


@dataclass(frozen=True)
class Difference:
    """One element that differs: its index and the two values as text."""

    index: tuple[int, ...]
    expected: str
    got: str


@dataclass(frozen=True)
class Comparison:
    """The verdict about one result.

    Attributes:
      name: The result's name.
      type: Its type in MLIR's notation.
      level: The claim it was held to.
      figures: How far the two are apart.
      reason: Why the claim was refused, in a few words; empty if it holds.
      first: The first element that breaks the claim, or the first that differs if none breaks it alone.
      device: The device that holds it, for per-device programs.
    """

    name: str
    type: str
    level: Level
    figures: Figures
    reason: str = ""
    first: Difference | None = None
    device: int | None = None

    @property
    def ok(self) -> bool:
        """Whether the claim holds."""
        return not self.reason

    def to_json(self) -> dict[str, Any]:
        """The verdict as JSON data."""
        return {"ok": self.ok, **asdict(self), "level": str(self.level)}


def compare(name: str, expected: np.ndarray, got: np.ndarray, level: Level) -> Comparison:
    """Holds ``got`` to ``level`` against ``expected``."""
    types = [str(TensorType(array.shape, mlir_name(array.dtype))) for array in (expected, got)]
    if types[0] != types[1]:
        return Comparison(name, types[0], level, Figures(expected.size, expected.size), f"its type is {types[1]}")
    figures = measure(expected, got)
    first = None if figures.bit_equal else _first_difference(expected, got, level)
    return Comparison(name, types[0], level, figures, _refusal(figures, expected.dtype, level), first)


def _refusal(figures: Figures, dtype: np.dtype[Any], level: Level) -> str:
    """Why ``figures`` do not meet ``level``; empty if they do."""
    tolerance = tolerance_of(dtype)
    if figures.bit_equal:
        return ""
    if level.kind == "bit-equal" or tolerance is None:
        return f"{figures.differing} of {figures.elements} elements differ"
    if math.isinf(figures.relative_l2):
        return "NaN, infinite or nonzero elements where the original has others"
    if level.kind == "ulp" and figures.ulp is not None:
        return f"{figures.ulp} ulp apart" if figures.ulp > level.ulps else ""
    return _beyond(figures, tolerance)


def _beyond(figures: Figures, tolerance: Tolerance) -> str:
    """Which tolerance ``figures`` exceed; empty if none."""
    if figures.relative_l2 > tolerance.relative_l2:
        return f"relative L2 {figures.relative_l2:.1e} is above {tolerance.relative_l2:.0e}"
    if figures.scale is not None and abs(figures.scale - 1) > tolerance.scale:
        return f"scaled by {figures.scale:.6g}, further from 1 than {tolerance.scale:.0e}"
    if figures.worst_element > tolerance.element:
        return f"an element is off by {figures.worst_element:.1e} of the scale, above {tolerance.element:.0e}"
    return ""


def _first_difference(expected: np.ndarray, got: np.ndarray, level: Level) -> Difference:
    left, right = flat(expected), flat(got)
    place = _first_breaking(left, right, level)
    index = tuple(int(i) for i in np.unravel_index(place, expected.shape))
    return Difference(index, str(left[place]), str(right[place]))


def _first_breaking(left: np.ndarray, right: np.ndarray, level: Level) -> int:
    rms = root_mean_square(left)
    first_unequal = -1
    for start, a, b in pieces(left, right):
        unequal = differs(a, b)
        if first_unequal < 0 and unequal.any():
            first_unequal = start + int(unequal.argmax())
        breaking = unequal & _breaks(a, b, level, rms)
        if breaking.any():
            return start + int(breaking.argmax())
    return first_unequal


def _breaks(a: np.ndarray, b: np.ndarray, level: Level, rms: float) -> np.ndarray:
    """Which elements break ``level`` by themselves; for ``close`` those that stand out against the allowed norm."""
    tolerance = tolerance_of(a.dtype)
    if level.kind == "bit-equal" or tolerance is None:
        return np.ones(a.shape, bool)
    with np.errstate(all="ignore"):
        x, y = wide(a), wide(b)
        special = ~(np.isfinite(x) & np.isfinite(y))
        if level.kind == "ulp" and has_ulps(a.dtype):
            return np.asarray(special | (ulps(a, b) > level.ulps))
        return np.asarray(special | (element_share(x, y, rms) > tolerance.relative_l2))
