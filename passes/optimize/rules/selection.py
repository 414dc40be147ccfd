"""Comparisons, selections and what is taken apart right after it was put together."""

from __future__ import annotations

import re
from typing import Any

from passes import _mlir
from passes.optimize.rewriting import Rule, Site

_NEGATED = {"EQ": "NE", "NE": "EQ", "LT": "GE", "GE": "LT", "GT": "LE", "LE": "GT"}
_DIRECTION = re.compile(r"\b(EQ|NE|LT|GE|GT|LE)\b")


def direction_of(op: Any) -> str:
    """The direction of a comparison: ``EQ``, ``NE``, ``LT``, ..."""
    found = _DIRECTION.search(str(op.attributes["comparison_direction"]))
    assert found is not None
    return found[0]


def _compare_with_itself(site: Site) -> Any | None:
    first, second = site.operands
    if first != second:
        return None
    direction, tensor = direction_of(site.op), site.tensor_of(first)
    if tensor.is_integral:
        return site.fill(site.type, direction in ("EQ", "LE", "GE"))
    total = "TOTALORDER" in str(site.op.attributes["compare_type"]) if "compare_type" in site.op.attributes else False
    return site.fill(site.type, False) if direction in ("LT", "GT") and not total else None


def _truth_again(site: Site) -> Any | None:
    """``convert(p) != 0`` is ``p``, as front ends write it that keep truth values in integers."""
    x, zero = site.operands
    inner = site.maker(x, "convert")
    if inner is None or site.splat(zero) != 0 or direction_of(site.op) != "NE":
        return None
    p = inner.operands[0]
    return p if site.tensor_of(p).kind == "bool" else None


def _not_compare(site: Site) -> Any | None:
    x = site.operands[0]
    inner = site.maker(x, "compare")
    if inner is None:
        return None
    direction = direction_of(inner)
    if direction not in ("EQ", "NE") and not site.tensor_of(inner.operands[0]).is_integral:
        return None
    attributes = {key: inner.attributes[key] for key in inner.attributes}
    if any("." in key for key in attributes):
        return None
    attributes["comparison_direction"] = _mlir.ir.Attribute.parse(
        f"#stablehlo<comparison_direction {_NEGATED[direction]}>", site.op.context)
    return site.create("compare", list(inner.operands), site.type, **attributes)


def _select_equals(site: Site) -> Any | None:
    _, first, second = site.operands
    return first if first == second else None


def _select_known(site: Site) -> Any | None:
    p, first, second = site.operands
    value = site.splat(p)
    return None if value is None else first if value else second


def _select_not(site: Site) -> Any | None:
    p, first, second = site.operands
    inner = site.maker(p, "not")
    if inner is None or not site.is_used_once(p):
        return None
    return site.create("select", [inner.operands[0], second, first], site.type)


def _select_truth(site: Site) -> Any | None:
    p, first, second = site.operands
    if site.tensor.kind != "bool" or p.type != site.type:
        return None
    yes, no = site.splat(first), site.splat(second)
    if yes is None or no is None:
        return None
    return p if yes and not no else site.create("not", [p], site.type) if no and not yes else None


def _select_again(site: Site) -> Any | None:
    """A selection by the same predicate inside one: only one of its sides can be reached."""
    p, first, second = site.operands
    for index, value in ((1, first), (2, second)):
        inner = site.maker(value, "select")
        if inner is not None and inner.operands[0] == p:
            operands = list(site.operands)
            operands[index] = inner.operands[index]
            return site.create("select", operands, site.type)
    return None


def _part(name: str, index: int) -> Any:
    def apply(site: Site) -> Any | None:
        inner = site.maker(site.operands[0], name)
        return None if inner is None else inner.operands[index]

    return apply


def _whole(site: Site) -> Any | None:
    real, imaginary = site.maker(site.operands[0], "real"), site.maker(site.operands[1], "imag")
    if real is None or imaginary is None:
        return None
    z = real.operands[0]
    return z if z == imaginary.operands[0] else None


def _element(site: Site) -> Any | None:
    inner = site.maker(site.operands[0], "tuple")
    return None if inner is None else inner.operands[_mlir.ir.IntegerAttr(site.op.attributes["index"]).value]


_CONSTANT = frozenset(("constant",))

RULES = (
    Rule("compare-itself", ("compare",), "integer x == x; x < x", "true; false", "NaN is not less than NaN either",
         _compare_with_itself),
    Rule("truth-again", ("compare",), "convert(p) != 0 for a truth value p", "p", "convert makes it 1 or 0",
         _truth_again, _CONSTANT),
    Rule("not-compare", ("not",), "!(x == y); integer !(x < y)", "x != y; x >= y",
         "for floats only of (in)equality, as NaN makes every other comparison false", _not_compare,
         frozenset(("compare",))),
    Rule("select-equals", ("select",), "select(p, x, x)", "x", "both sides are the same", _select_equals),
    Rule("select-known", ("select",), "select(true, x, y)", "x", "the predicate is a constant", _select_known,
         _CONSTANT),
    Rule("select-not", ("select",), "select(!p, x, y)", "select(p, y, x)", "the same choice", _select_not,
         frozenset(("not",))),
    Rule("select-truth", ("select",), "select(p, true, false)", "p", "the predicate itself", _select_truth, _CONSTANT),
    Rule("select-again", ("select",), "select(p, select(p, x, y), z)", "select(p, x, z)", "y is never chosen",
         _select_again, frozenset(("select",))),
    Rule("real-part", ("real",), "real(complex(x, y))", "x", "taken apart again", _part("complex", 0),
         frozenset(("complex",))),
    Rule("imaginary-part", ("imag",), "imag(complex(x, y))", "y", "taken apart again", _part("complex", 1),
         frozenset(("complex",))),
    Rule("complex-again", ("complex",), "complex(real(z), imag(z))", "z", "put together again", _whole,
         frozenset(("real",))),
    Rule("tuple-element", ("get_tuple_element",), "get_tuple_element(tuple(x, y), 0)", "x", "taken apart again",
         _element, frozenset(("tuple",))),
)
