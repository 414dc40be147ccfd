"""How far two arrays of one type are apart: bits, representable values, norms, best-fitting factor, correlation.

Arrays are looked at in pieces, so that the float64 copies stay small whatever the size of the arrays.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

# Elements looked at together.
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Figures:
    """The distance of ``got`` from ``expected``.

    Attributes:
      elements: How many elements they have.
      differing: How many of these are not bit-equal (NaN equals NaN).
      ulp: The largest distance in representable values; ``None`` where it has no meaning (NaN or Inf against a number,
        types that are not sign and magnitude).
      relative_l2: ||got - expected|| / ||expected||; infinite if NaN or Inf sit at different places.
      max_abs: The largest absolute difference.
      worst_element: The largest difference over (magnitude of the element + root mean square of ``expected``).
      scale: The factor that fits ``got`` to ``expected`` best; ``None`` if ``expected`` is zero.
      pcc: Pearson's correlation; ``None`` if one of the two is constant, or holds NaN or Inf.
      nan: How many elements of ``expected`` are NaN.
    """

    elements: int
    differing: int = 0
    ulp: int | None = 0
    relative_l2: float = 0.0
    max_abs: float = 0.0
    worst_element: float = 0.0
    scale: float | None = 1.0
    pcc: float | None = 1.0
    nan: int = 0

    @property
    def bit_equal(self) -> bool:
        """Whether all bits agree, up to NaN payloads."""
        return self.differing == 0


def is_float(dtype: np.dtype[Any]) -> bool:
    """Whether elements are real or complex floating-point numbers, of numpy's or ml_dtypes' kinds."""
    return dtype.kind in "fc" or (dtype.kind == "V" and "float" in dtype.name)


def measure(expected: np.ndarray, got: np.ndarray) -> Figures:
    """The distance figures of two arrays of one type and shape."""
    left, right = flat(expected), flat(got)
    nan = int(np.count_nonzero(_is_nan(left))) if is_float(left.dtype) else 0
    differing = sum(int(np.count_nonzero(differs(a, b))) for _, a, b in pieces(left, right))
    if differing == 0:
        return Figures(left.size, nan=nan)
    with np.errstate(all="ignore"):
        sums = _Sums.of(left, right)
        ulp = _max_ulp(left, right) if sums.same_specials else None
        return sums.figures(left.size, differing, ulp, nan)


def flat(array: np.ndarray) -> np.ndarray:
    """The elements in row-major order, contiguous."""
    return np.ascontiguousarray(array).reshape(-1)


def pieces(left: np.ndarray, right: np.ndarray) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Both flat arrays piece by piece, each with the index of its first element."""
    for start in range(0, left.size, _CHUNK):
        yield start, left[start : start + _CHUNK], right[start : start + _CHUNK]


def differs(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Where the bits of two flat arrays differ, NaN being equal to NaN."""
    if left.dtype.kind == "c":
        parts = ((left.real, right.real), (left.imag, right.imag))
        return np.asarray(np.logical_or.reduce([differs(flat(a), flat(b)) for a, b in parts]))
    unequal: np.ndarray = _bits(left) != _bits(right)
    if is_float(left.dtype):
        unequal &= ~(_is_nan(left) & _is_nan(right))
    return unequal


def wide(values: np.ndarray) -> np.ndarray:
    """Integers and floats of every type as float64, complex as complex128."""
    return values.astype(np.complex128 if values.dtype.kind == "c" else np.float64)


def root_mean_square(values: np.ndarray) -> float:
    """Over the finite elements."""
    with np.errstate(all="ignore"):
        return _Sums.of(values, values).root_mean_square


def ulps(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """For each element of two flat float arrays how many representable values lie between them; 0 where one is NaN."""
    if left.dtype.kind == "c":
        parts = ((left.real, right.real), (left.imag, right.imag))
        return np.asarray(np.maximum.reduce([ulps(flat(a), flat(b)) for a, b in parts]))
    (a_negative, a), (b_negative, b) = _sign_and_magnitude(left), _sign_and_magnitude(right)
    # Across zero the way leads over both magnitudes; both zeros are one value.
    distance = np.where(a_negative == b_negative, np.maximum(a, b) - np.minimum(a, b), a + b)
    return np.where(_is_nan(left) | _is_nan(right), np.uint64(0), distance)


def has_ulps(dtype: np.dtype[Any]) -> bool:
    """Whether bits count representable values: floats that are sign and magnitude and fill their bytes."""
    if not is_float(dtype) or dtype.name == "float8_e8m0fnu":
        return False
    return dtype.kind == "c" or ml_dtypes.finfo(dtype).bits == dtype.itemsize * 8


def _is_nan(values: np.ndarray) -> np.ndarray:
    # bf16 warns about signalling NaN.
    with np.errstate(invalid="ignore"):
        return np.asarray(np.isnan(values))


_UNSIGNED = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}


def _bits(values: np.ndarray) -> np.ndarray:
    return values.view(_UNSIGNED[values.dtype.itemsize])


def _sign_and_magnitude(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    sign = np.uint64(1 << (values.dtype.itemsize * 8 - 1))
    bits = _bits(values).astype(np.uint64)
    return bits >= sign, bits & (sign - np.uint64(1))


def _max_ulp(left: np.ndarray, right: np.ndarray) -> int | None:
    if not has_ulps(left.dtype):
        return None
    return max(int(ulps(a, b).max(initial=0)) for _, a, b in pieces(left, right))


@dataclass
class _Sums:
    """Sums over the finite elements in units of ``unit``, the largest expected magnitude, so that squares fit."""

    unit: float
    count: int = 0
    expected: complex = 0.0
    got: complex = 0.0
    expected2: float = 0.0
    got2: float = 0.0
    product: float = 0.0
    difference2: float = 0.0
    largest: float = 0.0
    worst: float = 0.0
    same_specials: bool = True

    @classmethod
    def of(cls, left: np.ndarray, right: np.ndarray) -> _Sums:
        """The sums of two flat arrays. Two passes: the worst element needs the root mean square."""
        sums = cls(max((_largest_finite(a) for _, a, _ in pieces(left, right)), default=0.0) or 1.0)
        for _, a, b in pieces(left, right):
            sums._add(wide(a), wide(b))
        for _, a, b in pieces(left, right):
            sums.worst = max(sums.worst, float(element_share(wide(a), wide(b), sums.root_mean_square).max(initial=0)))
        return sums

    @property
    def root_mean_square(self) -> float:
        return self.unit * math.sqrt(self.expected2 / self.count) if self.count else 0.0

    def _add(self, a: np.ndarray, b: np.ndarray) -> None:
        finite = np.isfinite(a) & np.isfinite(b)
        # NaN must meet NaN and an infinity the same infinity.
        self.same_specials &= bool(np.array_equal(a[~finite], b[~finite], equal_nan=True))
        x, y = a[finite] / self.unit, b[finite] / self.unit
        self.count += x.size
        self.expected += x.sum()
        self.got += y.sum()
        self.expected2 += float(np.vdot(x, x).real)
        self.got2 += float(np.vdot(y, y).real)
        self.product += float(np.vdot(x, y).real)
        self.difference2 += float(np.vdot(x - y, x - y).real)
        self.largest = max(self.largest, float(np.abs(x - y).max(initial=0)) * self.unit)

    def figures(self, elements: int, differing: int, ulp: int | None, nan: int) -> Figures:
        if not self.same_specials:
            return Figures(elements, differing, None, math.inf, math.inf, math.inf, None, None, nan)
        if self.expected2 == 0:
            relative = math.inf if self.difference2 else 0.0
            return Figures(elements, differing, ulp, relative, self.largest, relative, None, None, nan)
        relative = math.sqrt(self.difference2 / self.expected2)
        scale, pcc = self.product / self.expected2, self._pcc(elements)
        return Figures(elements, differing, ulp, relative, self.largest, self.worst, scale, pcc, nan)

    def _pcc(self, elements: int) -> float | None:
        if self.count != elements:
            return None
        covariance = self.product - (self.expected.conjugate() * self.got).real / elements
        left = self.expected2 - abs(self.expected) ** 2 / elements
        right = self.got2 - abs(self.got) ** 2 / elements
        # Rounding leaves a constant array a variance a little off zero.
        constant = left <= 1e-12 * self.expected2 or right <= 1e-12 * self.got2
        return None if constant else float(covariance / math.sqrt(left * right))


def _largest_finite(values: np.ndarray) -> float:
    magnitude = np.abs(wide(values))
    return float(magnitude[np.isfinite(magnitude)].max(initial=0.0))


def element_share(expected: np.ndarray, got: np.ndarray, rms: float) -> np.ndarray:
    """Each element's difference over its magnitude plus ``rms``; 0 where either is NaN or Inf."""
    share = np.abs(expected - got) / (np.abs(expected) + rms)
    return np.where(np.isfinite(share), share, 0.0)
