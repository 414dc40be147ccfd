"""Which values cannot hold -0.0: what decides whether adding 0.0 to them does anything."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from passes.optimize import elements
from passes.optimize.rewriting import Site
from passes.optimize.rules.conversions import is_lossless
from passes.optimize.rules.reducers import reducer

# How many ops back the question is followed; beyond it the answer is "perhaps".
_DEPTH = 12


def is_never_negative_zero(site: Site, value: Any, depth: int = _DEPTH) -> bool:
    """Whether no element of ``value`` can be -0.0 (in the default rounding mode, to nearest)."""
    maker = site.maker_of(value)
    if maker is None or depth == 0:
        return False
    name, op = maker
    if name in _NEVER:
        return True
    rule = _BY_OP.get(name)
    return rule is not None and rule(site, op, depth - 1)


# exp(x) > 0, |x| clears the sign, sigmoid(x) is in [0, 1] and computed from exp, counts and iotas start at +0.0.
_NEVER = frozenset({"abs", "exponential", "iota", "logistic"})


def _all(*indices: int) -> Callable[[Site, Any, int], bool]:
    """-0.0 comes out only where it goes in at one of the operands ``indices``; all of them without any."""

    def rule(site: Site, op: Any, depth: int) -> bool:
        operands = op.operands
        return all(
            is_never_negative_zero(site, operands[i], depth) for i in (indices or range(len(operands)))
        )

    return rule


def _constant(site: Site, op: Any, depth: int) -> bool:
    value = site.sweep.splat(op)
    return value is not None and not elements.is_negative_zero(value)


def _conversion(site: Site, op: Any, depth: int) -> bool:
    """Integers have one zero; a narrower float may round what is below zero to -0.0."""
    operand = op.operands[0]
    source, target = site.tensor_of(operand), site.tensor_of(op.results[0])
    return source.is_integral or (is_lossless(source, target) and is_never_negative_zero(site, operand, depth))


def _sum(site: Site, op: Any, depth: int) -> bool:
    """A sum is -0.0 only if both terms are: x + (-x) rounds to +0.0."""
    return any(is_never_negative_zero(site, operand, depth) for operand in op.operands)


def _difference(site: Site, op: Any, depth: int) -> bool:
    """-0.0 - y is -0.0 only for y = +0.0, and x - x is +0.0."""
    return is_never_negative_zero(site, op.operands[0], depth)


def _reduction(site: Site, op: Any, depth: int) -> bool:
    """A sum that starts from something other than -0.0, as every implementation starts from the initial value."""
    return len(op.operands) == 2 and reducer(op) == "add" and is_never_negative_zero(site, op.operands[1], depth)


def _square(site: Site, op: Any, depth: int) -> bool:
    first, second = op.operands
    return bool(first == second)


_BY_OP: dict[str, Callable[[Site, Any, int], bool]] = {
    "constant": _constant,
    "convert": _conversion,
    "add": _sum,
    "subtract": _difference,
    "multiply": _square,
    "reduce": _reduction,
    "maximum": _all(),
    "minimum": _all(),
    "concatenate": _all(),
    "select": _all(1, 2),
    "pad": _all(),
    **dict.fromkeys(
        ("broadcast_in_dim", "reshape", "transpose", "slice", "reverse", "dynamic_slice", "gather", "sqrt"), _all(0)),
    "dynamic_update_slice": _all(0, 1),
}
