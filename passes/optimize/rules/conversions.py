"""Conversions between element types: those that do nothing, and chains whose first link loses nothing."""

from __future__ import annotations

from typing import Any

from passes.optimize.elements import FLOATS, Tensor
from passes.optimize.rewriting import Rule, Site


def is_lossless(source: Tensor, target: Tensor) -> bool:
    """Whether every number of ``source``'s element type is a number of ``target``'s, with its sign of zero."""
    if source.element == target.element:
        return True
    if source.kind == "float":
        return target.kind == "float" and _holds_float(source.element, target.element)
    if not source.is_integral:
        return False
    bits = source.width - (source.kind == "int")
    if target.kind == "float":
        return target.element in FLOATS and bits <= FLOATS[target.element][0] and bits <= FLOATS[target.element][1]
    if target.kind == "int":
        return bits <= target.width - 1
    return target.kind == "unsigned" and source.kind != "int" and bits <= target.width


def _holds_float(source: str, target: str) -> bool:
    """More bits of significand and no smaller range of exponents; numbers below the normal ones fit then too."""
    if source not in FLOATS or target not in FLOATS:
        return False
    (bits, greatest, least), (more, higher, lower) = FLOATS[source], FLOATS[target]
    return more >= bits and higher >= greatest and lower <= least


def _no_op(site: Site) -> Any | None:
    x = site.operands[0]
    return x if x.type == site.type else None


def _chain(site: Site) -> Any | None:
    """``C(B(x))`` is ``C(x)``, and ``x`` itself if that is its type."""
    inner = site.maker(site.operands[0], "convert")
    if inner is None:
        return None
    x = inner.operands[0]
    source, middle, target = site.tensor_of(x), site.tensor_of(site.operands[0]), site.tensor
    if not is_lossless(source, middle) or not _is_direct(source, middle, target):
        return None
    return x if x.type == site.type else site.create("convert", [x], site.type)


def _is_direct(source: Tensor, middle: Tensor, target: Tensor) -> bool:
    """Whether conversion from ``source`` means the same for ``target`` as conversion from the ``middle`` type.

    Integers that do not fit wrap around, floats that do not fit an integer type are the implementation's business; so
    a chain from integers through floats to integers is direct only where everything fits.
    """
    if target.kind == "bool" or source.element == target.element:
        return True
    if source.is_integral and middle.kind == "float" and target.is_integral:
        return is_lossless(source, target)
    return "other" not in (source.kind, middle.kind, target.kind)


def _bits_and_back(site: Site) -> Any | None:
    x = site.operands[0]
    if x.type == site.type:
        return x
    inner = site.maker(x, "bitcast_convert")
    return inner.operands[0] if inner is not None and inner.operands[0].type == site.type else None


RULES = (
    Rule("convert-nothing", ("convert",), "convert x to its own type", "x", "the identity", _no_op),
    Rule("convert-chain", ("convert",), "convert (convert x) with a lossless first step", "convert x",
         "the value in the middle is the value at the start; the last step rounds both alike", _chain,
         frozenset(("convert",))),
    Rule("bitcast-back", ("bitcast_convert",), "bitcast_convert to the type the bits came from", "x", "the same bits",
         _bits_and_back),
)
