"""What the region of a reduction computes, and whether running it shard by shard and then across shards is the same."""

from __future__ import annotations

import re
from typing import Any

from passes import _mlir

# Operations that may be applied to partial results in any grouping -> the initial value that changes nothing, or `None`
# where it does not matter how often the initial value enters (x op x = x).
NEUTRAL: dict[str, complex | None] = {
    "stablehlo.add": 0,
    "stablehlo.multiply": 1,
    "stablehlo.xor": 0,
    "stablehlo.maximum": None,
    "stablehlo.minimum": None,
    "stablehlo.and": None,
    "stablehlo.or": None,
}

# Operations that keep zeros zeros and ones ones when they read a constant.
_KEEP_VALUE = frozenset({"stablehlo.broadcast_in_dim", "stablehlo.convert", "stablehlo.reshape", "sdy.reshard"})
_CONSTANTS = frozenset({"stablehlo.constant", "sdy.constant", "arith.constant"})
_BOOLEANS = {"true": 1, "false": 0}
_SPLAT = re.compile(r"dense<(?P<re>[^(),<>]+|\((?P<pair>[^()]+)\))> : ")


def reducer(op: Any) -> str | None:
    """The name of the one operation ``op``'s region applies to its two block arguments.

    ``None`` if the region does anything else, or reduces several values at once (argmax).
    """
    block = op.regions[0].blocks[0]
    body = list(block.operations)
    if len(body) != 2 or len(block.arguments) != 2:
        return None
    inner, terminator = body[0].operation, body[1].operation
    if list(terminator.operands) != list(inner.results) or set(inner.operands) != set(block.arguments):
        return None
    return str(inner.name)


def combines_across_shards(op: Any, initial: Any) -> bool:
    """Whether ``op``'s reducer also combines partial results that were each started from ``initial``."""
    name = reducer(op)
    if name not in NEUTRAL:
        return False
    neutral = NEUTRAL[name]
    return neutral is None or constant_value(initial) == neutral


def constant_value(value: Any) -> complex | None:
    """The number that every element of ``value`` is, if that is known to be 0, 1 or the value of a splat constant."""
    owner = value.owner
    through = False
    while isinstance(owner, _mlir.ir.Operation | _mlir.ir.OpView) and owner.operation.name in _KEEP_VALUE:
        through = True
        owner = owner.operation.operands[0].owner
    if isinstance(owner, _mlir.ir.Block) or owner.operation.name not in _CONSTANTS:
        return None
    found = _splat(_value_text(owner.operation))
    return found if not through or found in (0, 1) else None


def _value_text(constant: Any) -> str:
    """A splat constant's value as printed, else the empty string.

    Through text, because the bindings read no bf16, no small integers and no complex numbers.
    """
    try:
        value = constant.attributes["value"]
    except TypeError:  # complex
        small = not _mlir.ir.RankedTensorType(constant.results[0].type).shape
        return str(constant.clone()) if small else ""
    return str(value) if isinstance(value, _mlir.ir.DenseElementsAttr) and value.is_splat else ""


def _splat(text: str) -> complex | None:
    match = _SPLAT.search(text)
    if match is None:
        return None
    try:
        if match["pair"]:
            real, imaginary = (float(part) for part in match["pair"].split(","))
            return complex(real, imaginary)
        return _BOOLEANS[match["re"]] if match["re"] in _BOOLEANS else float(match["re"])
    except ValueError:
        return None
