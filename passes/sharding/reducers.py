"""What the region of a reduction computes, and whether running it shard by shard and then across shards is the same."""

from __future__ import annotations

import re
from typing import Any

from passes import _mlir
from passes.program.walk import terminator

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


def reducer(op: Any, region: int = 0) -> str | None:
    """The name of the one operation that a region of ``op`` applies to its two block arguments.

    ``None`` if the region does anything else, or reduces several values at once (argmax).
    """
    block = op.regions[region].blocks[0]
    body = list(block.operations)
    if len(body) != 2 or len(block.arguments) != 2:
        return None
    inner, terminator = body[0].operation, body[1].operation
    if list(terminator.operands) != list(inner.results) or set(inner.operands) != set(block.arguments):
        return None
    return str(inner.name)


def reducers(op: Any) -> list[str] | None:
    """For each result of ``op``, the one operation its region applies to the two values of that result.

    ``None`` if the region does anything else with any of them.
    """
    block = op.regions[0].blocks[0]
    arguments, body = list(block.arguments), [view.operation for view in block.operations]
    count = len(arguments) // 2
    if len(arguments) != 2 * count or len(body) != count + 1:
        return None
    found = []
    for value, pair in zip(body[-1].operands, zip(arguments[:count], arguments[count:], strict=True), strict=True):
        if isinstance(value.owner, _mlir.ir.Block) or set(value.owner.operation.operands) != set(pair):
            return None
        found.append(str(value.owner.operation.name))
    return found


def chooses(op: Any) -> bool:
    """Whether a ``stablehlo.reduce`` chooses among its values (argmax), so that chosen ones can be chosen among again.

    Its region returns, for each result, one of the two values it got for that result. What it compares first starts
    from the end of the number line: any other initial value, entering again with every shard, could come between equals
    where the later one wins.
    """
    block = op.regions[0].blocks[0]
    arguments, end = list(block.arguments), terminator(block)
    count = len(arguments) // 2
    compare = next((view.operation for view in block.operations if view.operation.name == "stablehlo.compare"), None)
    if compare is None or compare.operands[0] not in arguments:
        return False
    if not _is_extreme(op.operands[count + arguments.index(compare.operands[0]) % count]):
        return False
    return all(
        _is_one_of(value, (arguments[i], arguments[count + i]))
        for i, value in enumerate(end.operands)
    )


def _is_extreme(value: Any) -> bool:
    """Whether ``value`` is a constant that no number of its type lies beyond: an infinity, an extreme integer."""
    owner = value.owner
    if isinstance(owner, _mlir.ir.Block) or owner.operation.name not in _CONSTANTS:
        return False
    element = _mlir.ir.RankedTensorType(value.type).element_type
    match = _LITERAL.search(_value_text(owner.operation))
    if match is None:
        return False
    if isinstance(element, _mlir.ir.FloatType):
        return match[1] in _INFINITIES.get(str(element), ())
    bits = element.width if element.is_unsigned else element.width - 1
    ends = {0 if element.is_unsigned else -(2**bits), 2**bits - 1}
    return element.width == 1 or (match[1].lstrip("-").isdecimal() and int(match[1]) in ends)


# How MLIR prints infinities.
_INFINITIES = {
    "f16": ("0x7C00", "0xFC00"),
    "bf16": ("0x7F80", "0xFF80"),
    "f32": ("0x7F800000", "0xFF800000"),
    "f64": ("0x7FF0000000000000", "0xFFF0000000000000"),
}
_LITERAL = re.compile(r"dense<([^<>]+)> : ")


def _is_one_of(value: Any, pair: tuple[Any, Any]) -> bool:
    pending, seen = [value], set[Any]()
    while pending:
        value = pending.pop()
        if value in seen or value in pair:
            continue
        seen.add(value)
        if isinstance(value.owner, _mlir.ir.Block) or value.owner.operation.name not in _CHOICES:
            return False
        pending += list(value.owner.operation.operands)[_CHOICES[value.owner.operation.name] :]
    return True


# Ops that yield one of their operands -> where these operands start.
_CHOICES = {"stablehlo.select": 1, "stablehlo.maximum": 0, "stablehlo.minimum": 0}


def selection(element: Any) -> str | None:
    """The operation that, among values all but one of which are its neutral element, yields that one to the bit.

    ``None`` for types of 8 bits and fewer that have no such zero, or for which nobody adds numbers over devices.
    """
    ir = _mlir.ir
    if isinstance(element, ir.IntegerType):
        return "stablehlo.or" if element.width == 1 else "stablehlo.add" if element.width >= 8 else None
    if isinstance(element, ir.ComplexType):
        return "stablehlo.add"
    return "stablehlo.add" if isinstance(element, ir.FloatType) and element.width >= 16 else None


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
        # Unverified, because verifying a sharding looks for its mesh in the module, and the clone stands in none.
        return str(constant.clone().get_asm(assume_verified=True)) if small else ""
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
