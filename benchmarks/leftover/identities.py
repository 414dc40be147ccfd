"""Rows about single ops that compute something one of their operands already is, or a constant."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

from leftover.convert import is_lossless
from leftover.mirror import Op, Value, same_attribute

Check = Callable[[Op], Iterator[str]]
_FOLD_LIMIT = 64

_UNARY = """
  abs bitcast_convert cbrt ceil convert cosine count_leading_zeros exponential exponential_minus_one floor imag
  is_finite log log_plus_one logistic negate not popcnt real reduce_precision round_nearest_afz round_nearest_even
  rsqrt sign sine sqrt tan tanh
"""
_BINARY = """
  add and atan2 compare complex divide maximum minimum multiply or power remainder shift_left shift_right_arithmetic
  shift_right_logical subtract xor
"""
# Those whose result another machine may round otherwise, on floats.
_ROUNDED = """
  add atan2 cbrt cosine divide exponential exponential_minus_one log log_plus_one logistic multiply power remainder
  rsqrt sine sqrt subtract tan tanh
"""
_MOVING = """
  broadcast_in_dim concatenate dynamic_slice dynamic_update_slice gather pad reshape reverse slice transpose
"""


def _names(text: str) -> frozenset[str]:
    return frozenset(f"stablehlo.{name}" for name in text.split())


ELEMENTWISE = _names(_UNARY) | _names(_BINARY) | _names("select clamp")
ROUNDED = _names(_ROUNDED)
MOVING = _names(_MOVING)


def _is_zero(value: Value, sign: int = 1) -> bool:
    number = value.number
    return number is not None and number == 0 and math.copysign(1, number) == sign


def _one_of(op: Op, holds: Callable[[Value], bool]) -> Value | None:
    """The other operand if ``holds`` for one of two."""
    left, right = op.operands
    if holds(right):
        return left
    return right if holds(left) else None


def multiply(op: Op) -> Iterator[str]:
    if _one_of(op, lambda v: v.number == 1 and v.element != "i1") is not None:
        yield "mul-one"
    elif op.result.is_integer and _one_of(op, lambda v: v.number == 0) is not None:
        yield "mul-zero-int"


def divide(op: Op) -> Iterator[str]:
    if op.operands[1].number == 1:
        yield "div-one"


def add(op: Op) -> Iterator[str]:
    if op.result.is_integer:
        if _one_of(op, lambda v: v.number == 0) is not None:
            yield "add-zero-int"
        return
    if _one_of(op, lambda v: _is_zero(v, -1)) is not None:
        yield "add-negative-zero"
        return
    other = _one_of(op, _is_zero)
    if other is not None:
        yield "add-zero-float" if other.never_negative_zero else "add-zero-float-signed"


def subtract(op: Op) -> Iterator[str]:
    left, right = op.operands
    if _is_zero(right):
        yield "sub-zero"
    elif _is_zero(right, -1):
        yield "sub-negative-zero"
    elif left is right and op.result.is_integer:
        yield "sub-self-int"


def logic(op: Op) -> Iterator[str]:
    if op.operands[0] is op.operands[1] and op.short != "xor":
        yield "idempotent"
        return
    constants = (0,) if op.short == "xor" else (0, -1, (1 << _width(op.result)) - 1)
    if _one_of(op, lambda v: v.splat is not None and _as_int(v.number) in constants) is not None:
        yield "logic-identity"


def _as_int(number: Any) -> int | None:
    """A truth value's bits are its number."""
    return int(number) if isinstance(number, (int, bool)) else None


def _width(value: Value) -> int:
    digits = "".join(c for c in value.element if c.isdigit())
    return int(digits or 0)


def shift(op: Op) -> Iterator[str]:
    if op.operands[1].number == 0:
        yield "logic-identity"


def same_operands(op: Op) -> Iterator[str]:
    if op.operands[0] is op.operands[1]:
        yield "idempotent"


def negation(op: Op) -> Iterator[str]:
    inner = op.operands[0].op
    if inner is not None and inner.name == op.name:
        yield "double-negation"
    elif op.short == "not" and inner is not None and inner.name == "stablehlo.compare":
        direction = _direction(inner)
        # LT and GE are both false on NaN.
        if direction in ("EQ", "NE") or inner.operands[0].is_integer:
            yield "not-compare"


def _direction(op: Op) -> str:
    return str(op.attribute("comparison_direction")).rpartition(" ")[2].rstrip(">")


def compare(op: Op) -> Iterator[str]:
    left, right = op.operands
    # NaN makes EQ false, but LT and GT of a value and itself are false anyway.
    if left is right and (left.is_integer or _direction(op) in ("LT", "GT")):
        yield "compare-equal"


def select(op: Op) -> Iterator[str]:
    predicate, on_true, on_false = op.operands
    if on_true is on_false or same_attribute(on_true.splat, on_false.splat):
        yield "select-equal"
    elif predicate.splat is not None:
        yield "select-constant"


def convert(op: Op) -> Iterator[str]:
    source, result = op.operands[0], op.result
    if source.type == result.type:
        yield "noop-convert"
        return
    inner = source.defined_by("convert")
    if inner is None:
        return
    first = inner.operands[0]
    if is_lossless(first.element, source.element):
        yield "convert-round-trip" if first.element == result.element else "convert-convert"


def iota(op: Op) -> Iterator[str]:
    shape = op.result.shape or ()
    if shape and shape[op.attribute("iota_dimension").value] == 1:
        yield "iota-unit"


def branch(op: Op) -> Iterator[str]:
    if op.operands and op.operands[0].splat is not None:
        yield "case-constant"


def tuple_element(op: Op) -> Iterator[str]:
    if op.operands[0].defined_by("tuple") is not None:
        yield "tuple-element"


def fold(op: Op) -> Iterator[str]:
    """Any op of constants only; moved splats have rows of their own."""
    operands = op.operands
    if not operands or any(v.constant is None and v.splat is None for v in operands):
        return
    splats = all(v.splat is not None for v in operands)
    if op.name in ELEMENTWISE:
        if splats or op.result.size <= _FOLD_LIMIT:
            yield "fold-rounded" if op.name in ROUNDED and not op.result.is_integer else "fold"
    elif op.name in MOVING and op.result.splat is None and op.result.size <= _FOLD_LIMIT:
        yield "fold"


CHECKS: dict[str, tuple[Check, ...]] = {
    "multiply": (multiply,), "divide": (divide,), "add": (add,), "subtract": (subtract,),
    "and": (logic,), "or": (logic,), "xor": (logic,),
    "shift_left": (shift,), "shift_right_logical": (shift,), "shift_right_arithmetic": (shift,),
    "maximum": (same_operands,), "minimum": (same_operands,),
    "negate": (negation,), "not": (negation,), "compare": (compare,), "select": (select,), "convert": (convert,),
    "iota": (iota,), "case": (branch,), "if": (branch,), "get_tuple_element": (tuple_element,),
}  # fmt: skip
