"""Identities of arithmetic and logic, elementwise and exact for every element, NaN and infinities included."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from passes.optimize import elements
from passes.optimize.rewriting import Rule, Site
from passes.optimize.rules.signed_zero import is_never_negative_zero

Number = float | int | bool


def _either(neutral: Callable[[Site, Number, Any], bool]) -> Callable[[Site], Any | None]:
    """``x op c`` and ``c op x`` become ``x`` where ``neutral(site, c, x)``."""

    def apply(site: Site) -> Any | None:
        first, second = site.operands
        for x, c in ((first, second), (second, first)):
            value = site.splat(c)
            if value is not None and neutral(site, value, x):
                return x
        return None

    return apply


def _right(neutral: Callable[[Site, Number, Any], bool]) -> Callable[[Site], Any | None]:
    """``x op c`` becomes ``x`` where ``neutral(site, c, x)``."""

    def apply(site: Site) -> Any | None:
        x, c = site.operands
        value = site.splat(c)
        return x if value is not None and neutral(site, value, x) else None

    return apply


def _absorbing(absorbs: Callable[[Site, Number], bool]) -> Callable[[Site], Any | None]:
    """``x op c`` and ``c op x`` become ``c`` where ``absorbs(site, c)``."""

    def apply(site: Site) -> Any | None:
        for c in site.operands:
            value = site.splat(c)
            if value is not None and absorbs(site, value):
                return c
        return None

    return apply


def _is_one(site: Site, value: Number, x: Any) -> bool:
    return value == 1 and site.tensor.kind != "bool"


def _adds_nothing(site: Site, value: Number, x: Any) -> bool:
    return elements.is_negative_zero(value) or (value == 0 and site.tensor.is_integral)


def _adds_positive_zero(site: Site, value: Number, x: Any) -> bool:
    return elements.is_positive_zero(value) and is_never_negative_zero(site, x)


def _adds_any_zero(site: Site, value: Number, x: Any) -> bool:
    return value == 0


def _subtracts_nothing(site: Site, value: Number, x: Any) -> bool:
    if site.tensor.is_integral:
        return value == 0
    return elements.is_positive_zero(value) or (elements.is_negative_zero(value) and is_never_negative_zero(site, x))


def _same(site: Site) -> Any | None:
    first, second = site.operands
    return first if first == second else None


def _integer_difference_with_itself(site: Site) -> Any | None:
    first, second = site.operands
    return site.fill(site.type, 0) if first == second and site.tensor.is_integral else None


def _twice(site: Site) -> Any | None:
    """``f(f(x))`` is ``x``."""
    inner = site.maker(site.operands[0], site.name)
    return None if inner is None else inner.operands[0]


def _idempotent(site: Site) -> Any | None:
    """``f(f(x))`` is ``f(x)``."""
    x = site.operands[0]
    return None if site.maker(x, site.name) is None else x


def _magnitude_of_negation(site: Site) -> Any | None:
    inner = site.maker(site.operands[0], "negate")
    return None if inner is None else site.create("abs", [inner.operands[0]], site.type)


def _negated(site: Site, value: Any) -> Any | None:
    """``x`` if ``value`` is ``-x`` and nothing else uses ``value``."""
    op = site.maker(value, "negate")
    return op.operands[0] if op is not None and site.is_used_once(value) else None


def _minus_negation(site: Site) -> Any | None:
    first, second = site.operands
    x = _negated(site, second)
    return None if x is None else site.create("add", [first, x], site.type)


def _plus_negation(site: Site) -> Any | None:
    first, second = site.operands
    for kept, value in ((first, second), (second, first)):
        x = _negated(site, value)
        if x is not None:
            return site.create("subtract", [kept, x], site.type)
    return None


_REGROUPED: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda a, b: a + b,
    "multiply": lambda a, b: a * b,
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "xor": lambda a, b: a ^ b,
    "maximum": max,
    "minimum": min,
}


def _regroup(site: Site) -> Any | None:
    """``(x op c) op d`` is ``x op (c op d)`` for integers."""
    tensor = site.tensor
    if tensor.kind not in ("int", "unsigned"):
        return None
    inner_value, d = _with_splat(site, site.operands)
    if d is None:
        return None
    inner = site.maker(inner_value, site.name)
    if inner is None or not site.is_used_once(inner_value):
        return None
    x, c = _with_splat(site, list(inner.operands))
    if c is None:
        return None
    constant = site.fill(site.type, _wrapped(_REGROUPED[site.name](c, d), tensor))
    return site.create(site.name, [x, constant], site.type)


def _with_splat(site: Site, operands: list[Any]) -> tuple[Any, Any]:
    """The operand that is no splat and the value of the one that is; ``None`` for the value if there is none."""
    first, second = operands
    value = site.splat(second)
    if value is not None:
        return first, value
    return second, site.splat(first)


def _wrapped(value: int, tensor: elements.Tensor) -> int:
    value &= (1 << tensor.width) - 1
    signed = tensor.kind == "int" and value >> (tensor.width - 1)
    return value - (1 << tensor.width) if signed else value


_CONSTANT = frozenset(("constant",))
_IDEMPOTENT = ("abs", "ceil", "floor", "round_nearest_afz", "round_nearest_even", "sign")

RULES = (
    Rule("multiply-one", ("multiply",), "x * 1", "x", "IEEE 754 multiplies by one exactly", _either(_is_one),
         _CONSTANT),
    Rule("divide-one", ("divide",), "x / 1", "x", "IEEE 754 divides by one exactly", _right(_is_one), _CONSTANT),
    Rule("add-zero", ("add",), "x + (-0.0), integer x + 0", "x", "-0.0 is the neutral element of IEEE 754's addition",
         _either(_adds_nothing), _CONSTANT),
    Rule("add-positive-zero", ("add",), "x + 0.0 where x is never -0.0", "x",
         "only -0.0 + 0.0 differs from its first term; see `is_never_negative_zero`", _either(_adds_positive_zero),
         _CONSTANT),
    Rule("add-any-zero", ("add",), "x + 0.0", "x", "it turns -0.0 into 0.0, which this drops", _either(_adds_any_zero),
         _CONSTANT,
         needs="allow_signed_zero"),
    Rule("subtract-zero", ("subtract",), "x - 0.0, integer x - 0", "x",
         "-0.0 - 0.0 is -0.0; x - (-0.0) only where x is never -0.0", _right(_subtracts_nothing), _CONSTANT),
    Rule("subtract-itself", ("subtract", "xor"), "integer x - x", "0", "integers have no NaN",
         _integer_difference_with_itself),
    Rule("zero-product", ("multiply",), "integer x * 0", "0", "integers have neither NaN nor infinity",
         _absorbing(lambda site, c: c == 0 and site.tensor.is_integral), _CONSTANT),
    Rule("and-ones", ("and",), "x & ~0", "x", "bit by bit",
         _either(lambda site, c, x: int(c) == elements.all_ones(site.tensor)), _CONSTANT),
    Rule("and-zero", ("and",), "x & 0", "0", "bit by bit", _absorbing(lambda site, c: c == 0), _CONSTANT),
    Rule("or-zero", ("or", "xor"), "x | 0", "x", "bit by bit", _either(lambda site, c, x: c == 0), _CONSTANT),
    Rule("or-ones", ("or",), "x | ~0", "~0", "bit by bit",
         _absorbing(lambda site, c: int(c) == elements.all_ones(site.tensor)), _CONSTANT),
    Rule("bound-itself", ("and", "or", "maximum", "minimum"), "max(x, x)", "x", "one element on both sides", _same),
    Rule("maximum-least", ("maximum",), "max(x, -inf)", "x", "NaN stays NaN, everything else is no less than -inf",
         _either(lambda site, c, x: c == elements.least(site.tensor) and site.tensor.kind != "other"), _CONSTANT),
    Rule("minimum-greatest", ("minimum",), "min(x, inf)", "x", "NaN stays NaN, everything else is no more than inf",
         _either(lambda site, c, x: c == elements.greatest(site.tensor) and site.tensor.kind != "other"), _CONSTANT),
    Rule("shift-zero", ("shift_left", "shift_right_arithmetic", "shift_right_logical"), "x << 0", "x", "bit by bit",
         _right(lambda site, c, x: c == 0), _CONSTANT),
    Rule("twice", ("negate", "not"), "-(-x), !(!x)", "x", "both only flip bits, or negate modulo 2**width", _twice,
         frozenset(("negate", "not"))),
    Rule("idempotent", _IDEMPOTENT, "f(f(x))", "f(x)",
         "values of f are its fixed points", _idempotent, frozenset(_IDEMPOTENT)),
    Rule("abs-negation", ("abs",), "abs(-x)", "abs(x)", "negation flips the sign bit only, or negates modulo 2**width",
         _magnitude_of_negation, frozenset(("negate",))),
    Rule("minus-negation", ("subtract",), "x - (-y)", "x + y", "IEEE 754 defines x - y as x + (-y)", _minus_negation,
         frozenset(("negate",))),
    Rule("plus-negation", ("add",), "x + (-y)", "x - y", "IEEE 754 defines x - y as x + (-y)", _plus_negation,
         frozenset(("negate",))),
    Rule("regroup", tuple(_REGROUPED), "integer (x + c) + d", "x + (c + d)", "associative modulo 2**width", _regroup,
         _CONSTANT),
)
