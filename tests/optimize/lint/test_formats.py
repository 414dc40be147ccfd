"""Which number formats hold which; checked against what numpy converts there and back."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest

from passes.execute.arrays import NUMPY_NAMES, dtype_of
from passes.optimize.lint.formats import FLOATS, exact_integers, holds, integer

NAMES = [
    "f64", "f32", "f16", "bf16", "f8E5M2", "f8E5M2FNUZ", "f8E4M3FN", "f8E4M3", "f8E4M3FNUZ", "f8E4M3B11FNUZ", "f8E3M4",
    "i8", "i16", "i32", "i64", "ui8", "ui16", "ui32",
]  # fmt: skip


def edges(name: str) -> list[np.ndarray]:
    """Values at the edges of a type: its largest and smallest, and the neighbours of 1."""
    dtype = dtype_of(name)
    if integer(name):
        info = np.iinfo(dtype)
        return list(np.array([info.min, info.max, info.max - 1, 0, 1], dtype))
    limits, one = ml_dtypes.finfo(dtype), np.array(1, dtype)
    return [np.asarray(v, dtype) for v in (
        limits.max, limits.min, limits.smallest_subnormal, one, one + limits.eps, one - limits.epsneg)]


def exact(value: np.ndarray) -> Fraction | None:
    if value.dtype.kind in "iu":
        return Fraction(int(value))
    number = float(value)
    return Fraction(number) if math.isfinite(number) else None


def is_a(value: np.ndarray, name: str) -> bool:
    """Whether ``value`` is one of the type called ``name``."""
    number = exact(value)
    assert number is not None
    if integer(name):
        info = np.iinfo(dtype_of(name))
        return number.denominator == 1 and info.min <= number <= info.max
    with np.errstate(all="ignore"):
        return exact(value.astype(dtype_of(name))) == number


@pytest.mark.parametrize(("wide", "narrow"), list(itertools.permutations(NAMES, 2)))
def test_a_type_holds_another_if_it_holds_its_edges(wide: str, narrow: str) -> None:
    assert holds(wide, narrow) == all(is_a(value, wide) for value in edges(narrow))


def test_truth_values_and_other_types() -> None:
    assert holds("i8", "i1")
    assert holds("f16", "i1")
    assert not holds("i1", "i8")
    assert not holds("f32", "complex<f32>")
    assert holds("complex<f32>", "complex<f32>")


@pytest.mark.parametrize("name", ["f32", "f16", "bf16"])
def test_integers_are_exact_up_to_the_limit(name: str) -> None:
    limit = exact_integers(name)
    assert float(np.array(limit, dtype_of(name))) == limit
    assert float(np.array(limit + 1).astype(dtype_of(name))) != limit + 1


@pytest.mark.parametrize("name", sorted(FLOATS.keys() & NUMPY_NAMES.keys()))
def test_the_table_is_right(name: str) -> None:
    limits = ml_dtypes.finfo(dtype_of(name))
    assert FLOATS[name] == (limits.nmant + 1, float(limits.max), float(limits.smallest_subnormal))
