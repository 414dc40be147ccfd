"""Elementwise ops on repeated values: computed once on the small side, then repeated."""

from __future__ import annotations

from typing import Any

from passes.optimize.rewriting import Rule, Site
from passes.optimize.rules.shapes import broadcast

# Ops that compute each element of the result from the same element of every operand.
ELEMENTWISE = (
    "abs", "add", "and", "atan2", "cbrt", "ceil", "clamp", "compare", "complex", "convert", "cosine",
    "count_leading_zeros", "divide", "exponential", "exponential_minus_one", "floor", "imag", "is_finite", "log",
    "log_plus_one", "logistic", "maximum", "minimum", "multiply", "negate", "not", "or", "popcnt", "power", "real",
    "remainder", "round_nearest_afz", "round_nearest_even", "rsqrt", "select", "shift_left", "shift_right_arithmetic",
    "shift_right_logical", "sign", "sine", "sqrt", "subtract", "tan", "tanh", "xor",
)


def _of_broadcasts(site: Site) -> Any | None:
    """Applies only where a broadcast goes with it, so that the program does not grow."""
    shape = site.tensor.shape
    if shape is None:
        return None
    # What each operand is on the small side: a value, or the number a constant repeats.
    small: list[Any] = []
    source, dims, freed = None, None, False
    for value in site.operands:
        op = site.maker(value, "broadcast_in_dim")
        if op is None:
            number = site.splat(value)
            if number is None or site.tensor_of(value).shape != shape:
                return None
            small.append(number)
            continue
        x, its_dims = op.operands[0], op.attributes["broadcast_dimensions"]
        its_shape = site.tensor_of(x).shape
        if its_shape is None or site.tensor_of(value).shape != shape:
            return None
        if dims is None:
            source, dims = its_shape, its_dims
        if its_shape != source or its_dims != dims:
            return None
        freed = freed or all(use.owner == site.op for use in value.uses)
        small.append(op)
    if source is None or dims is None or not freed:
        return None
    operands = [
        site.fill(site.shaped(source, value.type), part) if isinstance(part, (bool, int, float)) else part.operands[0]
        for value, part in zip(site.operands, small, strict=True)
    ]
    return broadcast(site, site.copy(site.op, operands, site.shaped(source)), list(dims))


RULES = (
    Rule("broadcast-last", ELEMENTWISE, "f(broadcast x, broadcast y)", "broadcast f(x, y)",
         "equal elements give equal results; where a broadcast is used by nothing else", _of_broadcasts,
         frozenset(("broadcast_in_dim",))),
)
