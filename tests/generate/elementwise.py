"""Ops on each element: one table for names, element types and, for exact programs, bounds."""

from __future__ import annotations

import math
from collections.abc import Callable

from tests.generate.builder import FLOATS, INTEGERS, LIMITS, MOST_ELEMENTS, Builder, Value, tensor

SIGNED = ("i32", "i64")

# Name -> the elements it takes, and the bound of its result from those of its operands; None if it rounds.
BINARY: dict[str, tuple[tuple[str, ...], Callable[[float, float], float] | None]] = {
    "add": ((*FLOATS, *INTEGERS, "i1"), lambda a, b: a + b),
    "subtract": ((*FLOATS, *INTEGERS), lambda a, b: a + b),
    "multiply": ((*FLOATS, *INTEGERS, "i1"), lambda a, b: a * b),
    "maximum": ((*FLOATS, *INTEGERS, "i1"), max),
    "minimum": ((*FLOATS, *INTEGERS, "i1"), max),
    "and": ((*INTEGERS, "i1"), max),
    "or": ((*INTEGERS, "i1"), max),
    "xor": ((*INTEGERS, "i1"), max),
    "shift_left": (INTEGERS, max),
    "shift_right_logical": (INTEGERS, max),
    "shift_right_arithmetic": (INTEGERS, max),
    "divide": (FLOATS, None),
    "power": (FLOATS, None),
    "atan2": (FLOATS, None),
}
UNARY: dict[str, tuple[tuple[str, ...], Callable[[float], float] | None]] = {
    "negate": ((*FLOATS, *INTEGERS), lambda a: a),
    "abs": ((*FLOATS, *SIGNED), lambda a: a),
    "sign": ((*FLOATS, *SIGNED), lambda a: 1.0),
    "floor": (FLOATS, lambda a: a),
    "ceil": (FLOATS, lambda a: a),
    "round_nearest_even": (FLOATS, lambda a: a),
    "round_nearest_afz": (FLOATS, lambda a: a),
    "not": ((*INTEGERS, "i1"), lambda a: a),
    "popcnt": (INTEGERS, lambda a: a),
    "count_leading_zeros": (INTEGERS, lambda a: a),
    "tanh": (FLOATS, None),
    "exponential": (FLOATS, None),
    "exponential_minus_one": (FLOATS, None),
    "log": (FLOATS, None),
    "logistic": (FLOATS, None),
    "sqrt": (FLOATS, None),
    "cbrt": (FLOATS, None),
    "rsqrt": (FLOATS, None),
    "log_plus_one": (FLOATS, None),
    "cosine": (FLOATS, None),
    "sine": (FLOATS, None),
    "tan": (FLOATS, None),
}
DIRECTIONS = ("EQ", "NE", "LT", "LE", "GT", "GE")


def bounded(build: Builder, value: Value) -> Value:
    """``value``, small enough that a product of two fits."""
    return build.tame(value, math.sqrt(LIMITS.get(value.element, math.inf)) / 2)


def binary(build: Builder) -> None:
    left = build.some()
    fitting = [n for n, (elements, rule) in BINARY.items() if left.element in elements and (rule or not exact(build))]
    name = build.choose.choice(fitting)
    left = bounded(build, left)
    right = build.constant(left.shape, left.element) if build.chance(0.3) else build.need(left.shape, left.element)
    right = bounded(build, right)
    if build.chance(0.5):
        left, right = right, left
    rule = BINARY[name][1]
    build.define(f"{name} {left.name}, {right.name} : {left.type}", left.shape, left.element,
                 rule(left.bound, right.bound) if rule else math.inf)


def exact(build: Builder) -> bool:
    return build.unit.exact


def unary(build: Builder) -> None:
    value = build.some()
    fitting = [n for n, (elements, rule) in UNARY.items() if value.element in elements and (rule or not exact(build))]
    name = build.choose.choice(fitting)
    rule = UNARY[name][1]
    build.define(f"{name} {value.name}{_rule(build, value)} : {value.type}", value.shape, value.element,
                 rule(value.bound) if rule else math.inf)


def _rule(build: Builder, value: Value) -> str:
    """Seldom a sharding rule of the user's, which may ask for whole dimensions."""
    if build.unit.mesh is None or not value.shape or not build.chance(0.1):
        return ""
    build.unit.features.add("rules")
    factors = "ijklmnop"[: len(value.shape)]
    dims = ", ".join(factors)
    sizes = ", ".join(f"{f}={size}" for f, size in zip(factors, value.shape, strict=True))
    whole = [f for f, size in zip(factors, value.shape, strict=True) if size > 1 and build.chance(0.3)]
    more = f" need_replication={{{', '.join(whole)}}}" if whole else ""
    return f" {{sdy.sharding_rule = #sdy.op_sharding_rule<([{dims}])->([{dims}]) {{{sizes}}}{more}>}}"


def compare(build: Builder) -> None:
    left = build.some()
    right = build.need(left.shape, left.element)
    direction = build.choose.choice(DIRECTIONS)
    build.define(f"compare {direction}, {left.name}, {right.name} : ({left.type}, {right.type}) -> "
                 f"{left.type.replace(left.element, 'i1')}", left.shape, "i1")


def select(build: Builder) -> None:
    one = build.some()
    other = build.need(one.shape, one.element)
    predicate = build.need((() if build.chance(0.2) else one.shape), "i1")
    build.define(f"select {predicate.name}, {one.name}, {other.name} : {predicate.type}, {one.type}", one.shape,
                 one.element, max(one.bound, other.bound))


def clamp(build: Builder) -> None:
    value = build.some((*FLOATS, *INTEGERS))
    shape = () if build.chance(0.5) else value.shape
    low, high = build.need(shape, value.element), build.need(shape, value.element)
    build.define(f"clamp {low.name}, {value.name}, {high.name} : ({low.type}, {value.type}, {high.type}) -> "
                 f"{value.type}", value.shape, value.element, max(low.bound, value.bound, high.bound))


def convert(build: Builder) -> None:
    """Of floats with specials to integers is left out: what comes of a NaN is not defined."""
    value = build.some()
    targets = [*FLOATS, "i1"]
    if not value.is_float or (exact(build) and value.bound <= 2**20):
        targets += ["i32", "i64", *(["ui8"] if not value.is_float else [])]
    element = build.choose.choice(targets)
    bound = value.bound
    if element in FLOATS and exact(build):
        if value.is_float:
            value = build.tame(value, LIMITS[element] / 2)
            bound = value.bound
        elif value.element in SIGNED:
            value, bound = _low_bits(build, value), SMALL_INTEGER
        else:
            bound = 255.0 if element != "bf16" else math.inf
            if value.element == "i1":
                bound = 1.0
    result = value.type.replace(value.element, element)
    build.define(f"convert {value.name} : ({value.type}) -> {result}", value.shape, element, bound)


SMALL_INTEGER = 7.0


def _low_bits(build: Builder, value: Value) -> Value:
    """``value`` and 7, so that floats have it too."""
    seven = build.spread("7", value.shape, value.element)
    return build.define(f"and {value.name}, {seven.name} : {value.type}", value.shape, value.element)


def quotient(build: Builder) -> None:
    """Of integers, and what is left; the divisor is odd, so that it is not zero."""
    left = build.some(INTEGERS)
    right = build.need(left.shape, left.element)
    one = build.spread("1", left.shape, left.element)
    odd = build.define(f"or {right.name}, {one.name} : {left.type}", left.shape, left.element)
    build.define(f"{build.choose.choice(('divide', 'remainder'))} {left.name}, {odd.name} : {left.type}", left.shape,
                 left.element)


def is_finite(build: Builder) -> None:
    value = build.some(FLOATS)
    result = value.type.replace(value.element, "i1")
    build.define(f"is_finite {value.name} : ({value.type}) -> {result}", value.shape, "i1")


def bits(build: Builder) -> None:
    """A number's bits as another type: of integers as bytes; of floats only if none is a NaN, whose sign is open."""
    value = build.some(("i32", "f32") if exact(build) else ("i32",))
    element, shape = build.choose.choice((("i32", value.shape), ("ui8", (*value.shape, 4))))
    if math.prod(shape) <= MOST_ELEMENTS:
        build.define(f"bitcast_convert {value.name} : ({value.type}) -> {tensor(shape, element)}", shape, element)


def precision(build: Builder) -> None:
    """As many bits as an exact program's numbers have, or fewer."""
    value = build.some(("f32",))
    exponent, mantissa = (8, 23) if exact(build) else build.choose.choice(((8, 23), (8, 7), (5, 10)))
    build.define(f"reduce_precision {value.name}, format = e{exponent}m{mantissa} : {value.type}", value.shape, "f32",
                 value.bound)


def map_(build: Builder) -> None:
    """An op with a region of scalars."""
    value = build.some(("f32", "i32"), rank=1)
    other = build.need(value.shape, value.element)
    name = build.choose.choice(("maximum", "minimum"))
    scalar = tensor((), value.element)
    build.several(f"""\"stablehlo.map"({value.name}, {other.name}) <{{dimensions = array<i64:
      {", ".join(map(str, range(len(value.shape))))}>}}> ({{
      ^bb0(%x: {scalar}, %y: {scalar}):
        %r = stablehlo.{name} %x, %y : {scalar}
        stablehlo.return %r : {scalar}
      }}) : ({value.type}, {value.type}) -> {value.type}""",
                  [Value("", value.shape, value.element, max(value.bound, other.bound))])


def complex_(build: Builder) -> None:
    """Complex numbers made of two floats, combined, and taken apart again."""
    real = bounded(build, build.some(("f32", "f64")))
    imaginary = bounded(build, build.need(real.shape, real.element))
    element = f"complex<{real.element}>"
    type, bound = tensor(real.shape, element), max(real.bound, imaginary.bound)
    value = build.define(f"complex {real.name}, {imaginary.name} : {type}", real.shape, element, bound)
    other = build.value(lambda v: (v.shape, v.element) == (value.shape, element) and v.bound <= bound) or value
    op = build.choose.choice(("add", "subtract", "multiply", "negate"))
    operands = value.name if op == "negate" else f"{value.name}, {other.name}"
    combined = build.define(f"{op} {operands} : {type}", real.shape, element,
                            2 * bound * other.bound if op == "multiply" else bound + other.bound)
    build.define(f"{build.choose.choice(('real', 'imag'))} {combined.name} : ({type}) -> {real.type}", real.shape,
                 real.element, combined.bound)


KINDS = {binary: 6, unary: 4, compare: 2, select: 2, clamp: 1, convert: 2, quotient: 1, is_finite: 0.3, bits: 0.7,
         precision: 0.3, map_: 0.3, complex_: 0.5}
