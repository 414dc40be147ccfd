"""Distances between arrays, of every float type, and the claims they support."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from passes.errors import UserError
from passes.execute.compare import BIT_EQUAL, CLOSE, Level, compare, parse_level, tolerance_of
from passes.execute.distance import measure, ulps

FLOATS = [np.float16, np.float32, np.float64, ml_dtypes.bfloat16]
EIGHT_BITS = [ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e5m2, ml_dtypes.float8_e3m4]


def normal(shape: tuple[int, ...] = (64, 64), dtype: object = np.float32, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def rounded(values: np.ndarray, count: int = 1) -> np.ndarray:
    """``values`` moved by up to ``count`` roundings of their type, each in a random direction."""
    epsilon = float(ml_dtypes.finfo(values.dtype).eps)
    noise = np.random.default_rng(1).uniform(-count, count, values.shape) * epsilon
    return (values.astype(np.float64) * (1 + noise)).astype(values.dtype)


@pytest.mark.parametrize("dtype", FLOATS + EIGHT_BITS)
def test_neighbours_are_one_ulp_apart_across_the_whole_type(dtype: object) -> None:
    name = {1: np.uint8, 2: np.uint16}.get(np.dtype(dtype).itemsize)
    if name is not None:
        bits = np.arange(np.iinfo(name).max + 1, dtype=name)
        with np.errstate(invalid="ignore"):
            values = bits.view(dtype).astype(np.float64)
        values = np.sort(values[~np.isnan(values)])
        values = np.unique(values).astype(dtype)
    else:
        values = np.array([-1.0, np.nextafter(dtype(-1), dtype(0)), -0.0, np.nextafter(dtype(0), dtype(1))], dtype)
        values = values[[0, 1]]
    np.testing.assert_array_equal(ulps(values[:-1], values[1:]), np.ones(len(values) - 1))


def test_zeros_of_both_signs_are_no_ulp_apart_but_differ_in_bits() -> None:
    figures = measure(np.array([0.0], np.float32), np.array([-0.0], np.float32))
    assert (figures.ulp, figures.differing) == (0, 1)


def test_ulps_across_zero_and_over_the_whole_range_of_f64() -> None:
    tiny = np.array([5e-324])
    np.testing.assert_array_equal(ulps(tiny, -tiny), [2])
    (found,) = ulps(np.array([-np.inf]), np.array([np.inf]))
    assert int(found) == 2 * 0x7FF0000000000000


@given(hnp.arrays(np.float32, 7, elements=st.floats(width=32)))
def test_an_array_equals_itself_whatever_it_holds(values: np.ndarray) -> None:
    assert compare("x", values, values.copy(), BIT_EQUAL).ok


def test_nan_payloads_do_not_count_and_nan_against_a_number_always_does() -> None:
    quiet, other = np.array([0x7FC00000, 0x7FC00001], np.uint32).view(np.float32)
    assert compare("x", np.array([quiet]), np.array([other]), BIT_EQUAL).ok
    for level in (BIT_EQUAL, Level("ulp", 10**9), CLOSE):
        assert not compare("x", np.array([quiet]), np.array([1.0], np.float32), level).ok


def test_complex_parts_are_compared_by_themselves() -> None:
    nan = float("nan")
    left = np.array([complex(nan, 1), complex(2, 3)], np.complex64)
    assert compare("x", left, left.copy(), BIT_EQUAL).ok
    right = np.array([complex(nan, 2), complex(2, 3)], np.complex64)
    assert not compare("x", left, right, BIT_EQUAL).ok


def test_an_infinity_of_the_other_sign_is_not_close() -> None:
    left = normal()
    left[0, 0] = np.inf
    right = left.copy()
    right[0, 0] = -np.inf
    found = compare("x", left, right, CLOSE)
    assert not found.ok
    assert found.first is not None and found.first.index == (0, 0)


@pytest.mark.parametrize("dtype", FLOATS)
def test_roundings_are_close_and_the_figures_are_numpy_s(dtype: object) -> None:
    left = normal(dtype=dtype)
    right = rounded(left, 4)
    found = compare("x", left, right, CLOSE)
    assert found.ok and not found.figures.bit_equal
    a, b = left.astype(np.float64), right.astype(np.float64)
    assert found.figures.relative_l2 == pytest.approx(np.linalg.norm(a - b) / np.linalg.norm(a))
    assert found.figures.max_abs == pytest.approx(np.abs(a - b).max())
    assert found.figures.pcc == pytest.approx(np.corrcoef(a.ravel(), b.ravel())[0, 1])


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("factor", [1.01, 0.99])
def test_a_factor_is_rejected_though_it_correlates_perfectly(dtype: object, factor: float) -> None:
    left = normal(dtype=dtype)
    right = (left.astype(np.float64) * factor).astype(dtype)
    found = compare("x", left, right, CLOSE)
    assert not found.ok
    assert found.figures.pcc is not None and found.figures.pcc > 0.99999


@pytest.mark.parametrize("dtype", FLOATS)
def test_one_wrong_element_in_many_is_found_and_named(dtype: object) -> None:
    left = normal((1000, 100), dtype)
    right = left.copy()
    right[77, 5] = left[77, 6]
    found = compare("x", left, right, CLOSE)
    assert not found.ok
    assert found.first is not None and found.first.index == (77, 5)


def test_an_offset_is_rejected() -> None:
    left = normal()
    assert not compare("x", left, left + np.float32(0.01), CLOSE).ok


def test_integers_and_booleans_must_be_equal_at_every_level() -> None:
    for left in (np.arange(5), np.array([True, False])):
        right = left.copy()
        right[1] = not right[1]
        for level in (BIT_EQUAL, Level("ulp", 5), CLOSE):
            assert not compare("x", left, right, level).ok


def test_huge_and_tiny_values_do_not_overflow_the_sums() -> None:
    left = normal(dtype=np.float64) * 1e300
    found = compare("x", left, rounded(left), CLOSE)
    assert found.ok and 0 < found.figures.relative_l2 < 1e-15
    tiny = normal(dtype=np.float64) * 1e-300
    assert compare("x", tiny, rounded(tiny), CLOSE).ok


def test_zero_against_something_is_not_close() -> None:
    left = np.zeros(4, np.float32)
    found = compare("x", left, left + np.float32(1e-9), CLOSE)
    assert not found.ok and math.isinf(found.figures.relative_l2)


def test_a_constant_has_no_correlation() -> None:
    left = np.full(1000, 0.1, np.float32)
    assert compare("x", left, rounded(left), CLOSE).figures.pcc is None


def test_ulp_claims() -> None:
    left = np.array([1.0, 2.0, 4.0], np.float32)
    right = left.copy()
    right[2] = np.nextafter(np.nextafter(right[2], np.float32(9)), np.float32(9))
    assert compare("x", left, right, Level("ulp", 2)).ok
    found = compare("x", left, right, Level("ulp", 1))
    assert found.reason == "2 ulp apart"
    assert found.first is not None and found.first.index == (2,)


def test_other_shapes_and_types_are_refused_with_their_type() -> None:
    found = compare("x", np.zeros((2, 3), np.float32), np.zeros((3, 2), np.float32), CLOSE)
    assert found.reason == "its type is tensor<3x2xf32>"


def test_empty_arrays_are_equal() -> None:
    empty = np.zeros((0, 3), np.float32)
    assert compare("x", empty, empty.copy(), BIT_EQUAL).ok


def test_figures_over_pieces_are_those_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    from passes.execute import distance

    left = normal((50, 7))
    right = rounded(left)
    whole = measure(left, right)
    monkeypatch.setattr(distance, "_CHUNK", 11)
    parts = measure(left, right)
    assert parts.differing == whole.differing and parts.ulp == whole.ulp
    assert parts.relative_l2 == pytest.approx(whole.relative_l2)
    assert parts.scale == pytest.approx(whole.scale)


def test_what_a_coarser_type_computes_is_held_to_that_type() -> None:
    left = normal()
    right = rounded(left.astype(ml_dtypes.bfloat16)).astype(np.float32)
    assert not compare("x", left, right, CLOSE).ok
    assert compare("x", left, right, CLOSE, computed_in=tolerance_of("bf16")).ok
    assert not compare("x", left, left * np.float32(1.01), CLOSE, computed_in=tolerance_of("bf16")).ok


def test_noise_excuses_what_it_explains_and_no_more() -> None:
    left = normal()
    off = (left + normal(seed=1) * np.float32(1e-4)).astype(np.float32)
    further = (left + normal(seed=1) * np.float32(1e-2)).astype(np.float32)
    noise = [measure(left, (left + normal(seed=2) * np.float32(1e-4)).astype(np.float32))]
    assert not compare("x", left, off, CLOSE).ok
    assert compare("x", left, off, CLOSE, noise=noise).ok
    assert not compare("x", left, further, CLOSE, noise=noise).ok


@pytest.mark.parametrize(("text", "level"), [("close", CLOSE), ("bit-equal", BIT_EQUAL), ("ulp:4", Level("ulp", 4))])
def test_levels_read_back(text: str, level: Level) -> None:
    assert parse_level(text) == level
    assert str(level) == text


@pytest.mark.parametrize("text", ["", "ulp", "ulp:", "ulp:-1", "ulp:x", "equal", "CLOSE"])
def test_unknown_levels_name_the_choices(text: str) -> None:
    with pytest.raises(UserError, match="bit-equal, close or ulp:N"):
        parse_level(text)
