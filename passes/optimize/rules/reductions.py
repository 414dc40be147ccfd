"""Reductions over nothing: dimensions of size one leave each element alone with the initial value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from passes.optimize import elements
from passes.optimize.rewriting import Rule, Site
from passes.optimize.rules.reducers import reducer
from passes.optimize.rules.signed_zero import is_never_negative_zero


def _over_units(site: Site) -> Any | None:
    if len(site.operands) != 2:
        return None
    x, initial = site.operands
    value = site.splat(initial)
    shape = site.tensor_of(x).shape
    if value is None or shape is None or any(shape[d] != 1 for d in site.integers("dimensions")):
        return None
    name = reducer(site.op)
    neutral = None if name is None else _NEUTRAL.get(name)
    if neutral is None or not neutral(site, value, x):
        return None
    return x if x.type == site.type else site.create("reshape", [x], site.type)


def _sum(site: Site, value: float | int | bool, x: Any) -> bool:
    if site.tensor.is_integral:
        return value == 0
    return elements.is_negative_zero(value) or (elements.is_positive_zero(value) and is_never_negative_zero(site, x))


# Reducer -> whether an initial value changes nothing.
_NEUTRAL: dict[str, Callable[[Site, float | int | bool, Any], bool]] = {
    "add": _sum,
    "multiply": lambda site, value, x: value == 1 and site.tensor.kind != "other",
    "maximum": lambda site, value, x: site.tensor.kind != "other" and value == elements.least(site.tensor),
    "minimum": lambda site, value, x: site.tensor.kind != "other" and value == elements.greatest(site.tensor),
    "and": lambda site, value, x: int(value) == elements.all_ones(site.tensor),
    "or": lambda site, value, x: value == 0,
}


def _sort_units(site: Site) -> Any | None:
    shape = site.tensor.shape
    if shape is None or shape[site.op.attributes["dimension"].value] > 1:
        return None
    return list(site.operands)


_CONSTANT = frozenset(("constant",))

RULES = (
    Rule("reduce-units", ("reduce",), "reduce x over units, from the neutral value", "reshape x",
         "one element and the neutral value; a sum from 0.0 only where x is never -0.0", _over_units, _CONSTANT),
    Rule("sort-units", ("sort",), "sort x along a unit", "x", "one element is in order", _sort_units),
)
