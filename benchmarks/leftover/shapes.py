"""Rows about ops that move elements around."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

from leftover import identities
from leftover.identities import ELEMENTWISE, MOVING, Check
from leftover.mirror import MOVES, Op, Value

# Reduction body -> (float initial values that change nothing, exactly; whether +0.0 nearly does).
_NEUTRAL = {"maximum": -math.inf, "minimum": math.inf, "multiply": 1.0}


def _squeezed(shape: Sequence[int] | None) -> tuple[int, ...]:
    """The dimensions that are not 1."""
    return tuple(size for size in shape or () if size != 1)


def _moves_units(op: Op) -> bool:
    """Whether a reshape only inserts or removes dimensions of 1."""
    return _squeezed(op.operands[0].shape) == _squeezed(op.result.shape)


def splat(op: Op) -> Iterator[str]:
    if op.result.splat is not None:
        yield "splat-broadcast" if op.short == "broadcast_in_dim" else "splat-moved"


def broadcast(op: Op) -> Iterator[str]:
    source, result = op.operands[0], op.result
    if result.splat is not None:
        return
    dims = op.ints("broadcast_dimensions")
    if source.type == result.type and dims == tuple(sorted(dims)):
        yield "noop-broadcast"
    elif source.size == result.size and dims == tuple(sorted(dims)):
        yield "broadcast-unit"
    if source.defined_by("broadcast_in_dim"):
        yield "broadcast-broadcast"
    inner = source.defined_by("reshape")
    if inner is not None:
        yield "broadcast-reshape" if _moves_units(inner) else "broadcast-reshape-other"


def reshape(op: Op) -> Iterator[str]:
    source = op.operands[0]
    if op.result.splat is not None:
        return
    if source.type == op.result.type:
        yield "noop-reshape"
    if source.defined_by("reshape"):
        yield "reshape-reshape"
    if source.defined_by("broadcast_in_dim"):
        yield "reshape-broadcast" if _moves_units(op) else "reshape-broadcast-other"


def transpose(op: Op) -> Iterator[str]:
    if op.result.splat is not None:
        return
    order = op.ints("permutation")
    shape = op.operands[0].shape or ()
    if order == tuple(range(len(order))):
        yield "noop-transpose"
    else:
        kept = [d for d in order if shape[d] != 1]
        if kept == sorted(kept):
            yield "transpose-reshape"
    if op.operands[0].defined_by("transpose"):
        yield "transpose-transpose"


def slice_(op: Op) -> Iterator[str]:
    source = op.operands[0]
    if op.result.splat is not None:
        return
    if source.type == op.result.type:
        yield "noop-slice"
    if source.defined_by("slice"):
        yield "slice-slice"
    inner = source.defined_by("concatenate")
    if inner is not None and _in_one_operand(op, inner):
        yield "slice-concatenate"


def _in_one_operand(op: Op, inner: Op) -> bool:
    dim = inner.attribute("dimension").value
    start, limit = op.ints("start_indices")[dim], op.ints("limit_indices")[dim]
    offset = 0
    for operand in inner.operands:
        size = (operand.shape or ())[dim]
        if offset <= start and limit <= offset + size:
            return True
        offset += size
    return False


def pad(op: Op) -> Iterator[str]:
    if not any((*op.ints("edge_padding_low"), *op.ints("edge_padding_high"), *op.ints("interior_padding"))):
        yield "noop-pad"


def reverse(op: Op) -> Iterator[str]:
    shape = op.operands[0].shape or ()
    if all(shape[d] == 1 for d in op.ints("dimensions")):
        yield "noop-reverse"
    inner = op.operands[0].defined_by("reverse")
    if inner is not None:
        yield "reverse-reverse"


def concatenate(op: Op) -> Iterator[str]:
    parts = [v for v in op.operands if v.size]
    if len(parts) <= 1:
        yield "noop-concatenate"
        return
    dim = op.attribute("dimension").value
    if any(_adjacent(a, b, dim) for a, b in pairwise(parts)):
        yield "concatenate-slices"


def _adjacent(left: Value, right: Value, dim: int) -> bool:
    """Whether two values are slices, without strides, of one value, the second going on where the first ends."""
    first, second = left.defined_by("slice"), right.defined_by("slice")
    if first is None or second is None or first.operands[0] is not second.operands[0]:
        return False
    if any(stride != 1 for op in (first, second) for stride in op.ints("strides")):
        return False
    starts, limits = first.ints("start_indices"), first.ints("limit_indices")
    other_starts, other_limits = second.ints("start_indices"), second.ints("limit_indices")
    return all(
        limits[d] == other_starts[d] if d == dim else (starts[d], limits[d]) == (other_starts[d], other_limits[d])
        for d in range(len(starts))
    )


def dynamic_slice(op: Op) -> Iterator[str]:
    if op.operands[0].type == op.result.type:
        yield "noop-dynamic-slice"
    elif all(v.splat is not None for v in op.operands[1:]):
        yield "dynamic-slice-constant"


def dynamic_update_slice(op: Op) -> Iterator[str]:
    if op.operands[1].type == op.result.type:
        yield "noop-dynamic-update-slice"
    elif all(v.splat is not None for v in op.operands[2:]):
        yield "dynamic-update-slice-constant"


def gather(op: Op) -> Iterator[str]:
    indices = op.operands[1]
    if indices.constant is not None or indices.splat is not None:
        yield "gather-constant"


def dot(op: Op) -> Iterator[str]:
    numbers = str(op.attribute("dot_dimension_numbers"))
    dims = _after(numbers, "lhs_contracting_dimensions")
    shape = op.operands[0].shape or ()
    if all(shape[d] == 1 for d in dims):
        yield "dot-unit"


def _after(text: str, key: str) -> list[int]:
    """The list behind ``key =`` in a printed attribute."""
    _, found, rest = text.partition(f"{key} = [")
    return [int(word) for word in rest.partition("]")[0].split(",") if word.strip()] if found else []


def reduce(op: Op) -> Iterator[str]:
    shape = op.operands[0].shape or ()
    if any(shape[d] != 1 for d in op.ints("dimensions")):
        return
    body = op.regions[0][0].ops
    count = len(op.results)
    if count > 1 or len(body) != 2 or len(body[0].operands) != 2 or set(body[0].operands) != set(
        body[0].block.arguments
    ):
        yield "reduce-unit-other"
        return
    yield f"reduce-unit-{_reduction(body[0].short, op.operands[0], op.operands[1])}"


def _reduction(kind: str, source: Value, initial: Value) -> str:
    number = initial.number
    if number is None:
        return "other"
    if kind == "add" and number == 0:
        exact = source.is_integer or math.copysign(1, number) < 0 or source.never_negative_zero
        return "exact" if exact else "add-zero"
    if kind in ("and", "or"):
        neutral = number in (-1, True) if kind == "and" else number == 0
        return "exact" if neutral else "other"
    if source.is_integer and kind in ("maximum", "minimum"):
        return "exact" if number in _extremes(kind, source.element) else "other"
    return "exact" if _NEUTRAL.get(kind) == number else "other"


def _extremes(kind: str, element: str) -> tuple[int, ...]:
    """The integers that ``kind`` never chooses over another one."""
    bits = int("".join(c for c in element if c.isdigit()))
    if element.startswith("u") or bits == 1:
        return (0,) if kind == "maximum" else ((1 << bits) - 1, -1)
    return (-(1 << (bits - 1)),) if kind == "maximum" else ((1 << (bits - 1)) - 1,)


def elementwise(op: Op) -> Iterator[str]:
    """All operands are broadcasts of values of one shape along the same dimensions, or splats."""
    sources = [v for v in op.operands if v.splat is None]
    if not sources:
        return
    broadcasts = [v.defined_by("broadcast_in_dim") for v in sources]
    kinds = set()
    for value, found in zip(sources, broadcasts, strict=True):
        if found is None or found.operands[0].size >= value.size:
            return
        kinds.add((found.ints("broadcast_dimensions"), found.operands[0].shape))
    if len(kinds) == 1:
        yield "elementwise-broadcasts"
        if any(len(v.uses) == 1 for v in sources):
            yield "elementwise-broadcasts-only-use"


CHECKS: dict[str, tuple[Check, ...]] = {
    "broadcast_in_dim": (broadcast,), "reshape": (reshape,), "transpose": (transpose,), "slice": (slice_,),
    "pad": (pad,), "reverse": (reverse,), "concatenate": (concatenate,), "dynamic_slice": (dynamic_slice,),
    "dynamic_update_slice": (dynamic_update_slice,), "gather": (gather,), "dot_general": (dot,), "reduce": (reduce,),
}  # fmt: skip


def by_name() -> dict[str, tuple[Check, ...]]:
    """All checks for ops of each name, those of `identities` too."""
    found: dict[str, list[Check]] = {}
    for table in (identities.CHECKS, CHECKS):
        for name, checks in table.items():
            found.setdefault(f"stablehlo.{name}", []).extend(checks)
    for name in MOVES:
        found.setdefault(name, []).append(splat)
    for name in ELEMENTWISE:
        found.setdefault(name, []).append(elementwise)
    for name in (*ELEMENTWISE, *MOVING):
        found.setdefault(name, []).append(identities.fold)
    return {name: tuple(checks) for name, checks in found.items()}
