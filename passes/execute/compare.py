"""Holding results to a claim of equality.

The claim is a `Level`. ``bit-equal`` allows nothing but other NaN payloads, ``ulp:N`` N representable values between
expected and got, ``close`` what rounding in another order can do. Pearson's correlation is reported and never
decides: a result that is off by a factor or an offset correlates perfectly.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
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
# How much further than rounding moved a result in a few tries it may be off.
_NOISE_FACTOR = 4
_EIGHT_BITS = Tolerance(1e-1, 5e-2, 5e-1)


def tolerance_of(element: str) -> Tolerance | None:
    """What ``close`` allows for an MLIR element type; ``None`` for integers and booleans, which must be equal."""
    part = element.removeprefix("complex<").removesuffix(">")
    if not part.startswith(("f", "bf")):
        return None
    return _TOLERANCES.get(part, _EIGHT_BITS)


def coarsest(elements: Iterable[str]) -> Tolerance | None:
    """The widest tolerance of some element types: what a program that computes in all of them can keep."""
    found = [t for t in map(tolerance_of, elements) if t is not None]
    return max(found, key=lambda t: t.relative_l2, default=None)


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
      noise: The relative L2 by which rounding alone moves the result, where that decided; else ``None``.
    """

    name: str
    type: str
    level: Level
    figures: Figures
    reason: str = ""
    first: Difference | None = None
    device: int | None = None
    noise: float | None = None

    @property
    def ok(self) -> bool:
        """Whether the claim holds."""
        return not self.reason

    def to_json(self) -> dict[str, Any]:
        """The verdict as JSON data."""
        return {"ok": self.ok, **asdict(self), "level": str(self.level)}


def compare(
    name: str,
    expected: np.ndarray,
    got: np.ndarray,
    level: Level,
    *,
    computed_in: Tolerance | None = None,
    noise: Sequence[Figures] = (),
) -> Comparison:
    """Holds ``got`` to ``level`` against ``expected``.

    Args:
      computed_in: The tolerance of the coarsest type that the program computes in; a float result is held to this one
        if it is wider than its own type's.
      noise: How far rounding alone moves this result; ``close`` allows a small multiple of it.
    """
    types = [str(TensorType(array.shape, mlir_name(array.dtype))) for array in (expected, got)]
    if types[0] != types[1]:
        return Comparison(name, types[0], level, Figures(expected.size, expected.size), f"its type is {types[1]}")
    figures = measure(expected, got)
    if figures.bit_equal:
        return Comparison(name, types[0], level, figures)
    tolerance = tolerance_of(mlir_name(expected.dtype))
    if tolerance is not None and computed_in is not None and computed_in.relative_l2 > tolerance.relative_l2:
        tolerance = computed_in
    first = _first_difference(expected, got, level, tolerance)
    reason = _refusal(figures, tolerance, level)
    if reason and level.kind == "close" and noise and _within_noise(figures, noise):
        return Comparison(name, types[0], level, figures, first=first, noise=max(n.relative_l2 for n in noise))
    return Comparison(name, types[0], level, figures, reason, first)


def _within_noise(figures: Figures, noise: Sequence[Figures]) -> bool:
    """Whether rounding alone explains the difference: no figure is beyond a multiple of what it does."""
    shares = [
        [n.differing, n.relative_l2, n.worst_element, abs((n.scale if n.scale is not None else 1.0) - 1)]
        for n in (figures, *noise)
    ]
    mine, others = shares[0], shares[1:]
    allowed = [_NOISE_FACTOR * max(each) for each in zip(*others, strict=True)]
    return all(math.isfinite(m) and m <= a for m, a in zip(mine, allowed, strict=True))


def _refusal(figures: Figures, tolerance: Tolerance | None, level: Level) -> str:
    """Why ``figures`` do not meet ``level``; empty if they do. Without a tolerance all bits count."""
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


def _first_difference(
    expected: np.ndarray, got: np.ndarray, level: Level, tolerance: Tolerance | None
) -> Difference:
    left, right = flat(expected), flat(got)
    place = _first_breaking(left, right, level, tolerance)
    index = tuple(int(i) for i in np.unravel_index(place, expected.shape))
    return Difference(index, str(left[place]), str(right[place]))


def _first_breaking(left: np.ndarray, right: np.ndarray, level: Level, tolerance: Tolerance | None) -> int:
    rms = root_mean_square(left)
    first_unequal = -1
    for start, a, b in pieces(left, right):
        unequal = differs(a, b)
        if first_unequal < 0 and unequal.any():
            first_unequal = start + int(unequal.argmax())
        breaking = unequal & _breaks(a, b, level, tolerance, rms)
        if breaking.any():
            return start + int(breaking.argmax())
    return first_unequal


def _breaks(a: np.ndarray, b: np.ndarray, level: Level, tolerance: Tolerance | None, rms: float) -> np.ndarray:
    """Which elements break ``level`` by themselves; for ``close`` those that stand out against the allowed norm."""
    if level.kind == "bit-equal" or tolerance is None:
        return np.ones(a.shape, bool)
    with np.errstate(all="ignore"):
        x, y = wide(a), wide(b)
        special = ~(np.isfinite(x) & np.isfinite(y))
        if level.kind == "ulp" and has_ulps(a.dtype):
            return np.asarray(special | (ulps(a, b) > level.ulps))
        return np.asarray(special | (element_share(x, y, rms) > tolerance.relative_l2))
