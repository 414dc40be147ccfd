"""Conversions that lose what the next one cannot bring back, and arguments that are wider than their use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from passes.optimize.lint.findings import Check, Remark, Scope
from passes.optimize.lint.formats import FLOATS, holds, integer
from passes.optimize.lint.values import MOVES, definition, element, place, resolve
from passes.program.entry import arguments
from passes.program.types import byte_size, element_bytes

# Between two converts these change nothing about what got lost.
_EXACT = MOVES | {"stablehlo.negate", "stablehlo.abs"}
_ELEMENTWISE = _EXACT | frozenset(f"stablehlo.{name}" for name in (
    "add", "atan2", "cbrt", "cosine", "divide", "exponential", "exponential_minus_one", "log", "log_plus_one",
    "logistic", "maximum", "minimum", "multiply", "power", "rsqrt", "sine", "sqrt", "subtract", "tan", "tanh"))


def lossy_chain(op: Any, _: Scope) -> Iterator[Remark]:
    """``op`` widens what an earlier convert has narrowed."""
    narrowed = op.operands[0]
    first = definition(narrowed)
    while first is not None and first.name in _EXACT:
        first = definition(first.operands[0])
    if first is None or first.name != "stablehlo.convert":
        return
    source, middle, target = element(first.operands[0]), element(first.results[0]), element(op.results[0])
    loss = _loss(source, middle, target)
    if loss:
        yield Remark(
            f"{source} -> {middle}{place(first)} -> {target} {loss}",
            f"keep the {source} value, or stay in {middle} if that is meant",
        )


def _loss(source: str, middle: str, target: str) -> str | None:
    """What values lose on the way from ``source`` over ``middle`` to a ``target`` that could hold more of them."""
    if middle == "i1" or holds(middle, source):
        return None
    if source in FLOATS and target in FLOATS:
        if integer(middle):
            return "rounds to whole numbers"
        if target == middle or not holds(target, middle):
            return None
        kept = FLOATS[middle].significand
        return f"keeps {kept} significant bits" if kept < FLOATS[source].significand else f"has the range of {middle}"
    if integer(source) and integer(target):
        if middle in FLOATS:
            return f"rounds integers above 2^{FLOATS[middle].significand}"
        return f"wraps what {middle} does not hold" if target != middle and holds(target, middle) else None
    return None


def narrow_island(op: Any, scope: Scope) -> Iterator[Remark]:
    """``op`` widens the outcome of elementwise ops in a short type all of whose inputs are wider values made short."""
    short, wide = element(op.operands[0]), element(op.results[0])
    if short not in FLOATS or wide not in FLOATS or holds(short, wide):
        return
    known = scope.memory.setdefault("narrow_island", {})
    island: _Island = resolve(op.operands[0], known, _island_inputs, _island)
    if island.source == wide and island.ops:
        yield Remark(
            f"the elementwise ops before this convert run in {short}, but their inputs are {wide} values and so is "
            f"their outcome",
            f"compute them in {wide}: they round to {FLOATS[short].significand} bits for nothing",
        )


def _has_elements(value: Any) -> bool:
    """Whether there is anything to save: several elements, and a known number of them."""
    return len(value.type.shape) > 0 and bool(value.type.has_static_shape)


class _Island(NamedTuple):
    """What a value is made of: values of the element type ``source`` (``None``: of others), by this many ``ops``.

    A constant is made of any type.
    """

    source: str | None
    ops: int = 0


_ANY = "any"


def _island_inputs(value: Any) -> list[Any]:
    op = definition(value)
    return list(op.operands) if op is not None and op.name in _ELEMENTWISE and element(value) in FLOATS else []


def _island(value: Any, inputs: list[_Island]) -> _Island:
    op = definition(value)
    if op is None:
        return _Island(None)
    if op.name == "stablehlo.convert":
        return _Island(element(op.operands[0]))
    if op.name == "stablehlo.constant":
        return _Island(_ANY)
    kinds = {i.source for i in inputs} - {_ANY}
    if len(kinds) > 1 or not inputs:
        return _Island(None)
    return _Island(kinds.pop() if kinds else _ANY, max(i.ops for i in inputs) + (op.name not in _EXACT))


def narrow_argument(function: Any, scope: Scope) -> Iterator[Remark]:
    """Arguments of the entry all of whose uses convert them to one type of fewer bytes."""
    if not scope.is_entry(function):
        return
    values = list(function.regions[0].blocks[0].arguments)
    for described, value in zip(arguments(function), values, strict=True):
        users = [use.owner.operation for use in value.uses]
        if not users or any(user.name != "stablehlo.convert" for user in users) or not _has_elements(value):
            continue
        targets = {user.results[0].type for user in users}
        target = users[0].results[0]
        if len(targets) > 1 or element_bytes(target.type.element_type) >= element_bytes(value.type.element_type):
            continue
        saved = byte_size(value.type) - byte_size(target.type)
        yield Remark(
            f"argument {described.index} '{described.name}' ({value.type}) is only used as {element(target)}",
            f"store it in that type, which takes {saved:,} bytes less",
            value.location,
        )


LOSSY_CONVERT = Check(
    "lossy-convert",
    "values converted to a type that cannot hold them and back to one that can: f32 -> bf16 -> f32, i64 -> i32 -> i64",
    ("stablehlo.convert",),
    lossy_chain,
)
NARROW_ISLAND = Check(
    "narrow-island",
    "elementwise ops that run in a short float type between converts from a wider one and back to it",
    ("stablehlo.convert",),
    narrow_island,
)
NARROW_ARGUMENT = Check(
    "narrow-argument",
    "arguments of the entry function that are only used after conversion to a narrower type",
    ("func.func",),
    narrow_argument,
)
