"""Takes off what ties values together that have nothing to do with each other, before shardings propagate.

- ops of `arith` on tensors become the StableHLO ops they are, so that Shardy's rules and its splitting of constants
  apply to them;
- copies of one value joined along a dimension of size one, as PyTorch's exports repeat heads, become a broadcast. The
  joined dimension of a concatenate has to be whole; one that a broadcast makes may be sharded:

  %1 = stablehlo.concatenate %0, %0, %0, dim = 1 : (tensor<8x1x4xf32>, ...) -> tensor<8x3x4xf32>
  %1 = stablehlo.broadcast_in_dim %0, dims = [0, 1, 2] : (tensor<8x1x4xf32>) -> tensor<8x3x4xf32>

- operands that a `chlo` op broadcasts to one shape are broadcast before it, so that the op is elementwise.

Shardy itself gives each reader of a constant, or of what is computed from constants alone, one of its own, but merges
only the constants afterwards; `merge` does the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from passes import _mlir
from passes.program.purity import PLAIN
from passes.sharding.op_rule_table import MISSING
from passes.sharding.op_rules import RULE


def decouple(ops: list[Any]) -> None:
    """Rewrites those of ``ops`` that have an entry in `REWRITES` in place; every value keeps its bits."""
    for op in ops:
        rewrite = REWRITES.get(op.name)
        if rewrite is not None:
            rewrite(op)


# -- before ------------------------------------------------------------------------------------------------------------


def _named(name: str, on_truth: bool = False) -> Callable[[Any], None]:
    """Renames the op; where it works on single bits, which arith takes for the numbers 0 and -1, only ``on_truth``."""

    def rewrite(op: Any) -> None:
        types = [value.type for value in (*op.operands, *op.results)]
        if all(map(_is_tensor, types)) and (on_truth or not any(map(_is_truth, types))):
            _replace(op, f"stablehlo.{name}", op.operands, _said(op))

    return rewrite


def _constant(op: Any) -> None:
    type = op.results[0].type
    # The bindings cannot hand out an attribute of complex numbers.
    if _is_tensor(type) and not isinstance(type.element_type, _mlir.ir.ComplexType):
        _replace(op, "stablehlo.constant", (), _said(op) | {"value": op.attributes["value"]})


def _compare(directions: dict[int, str]) -> Callable[[Any], None]:
    def rewrite(op: Any) -> None:
        direction = directions.get(_mlir.ir.IntegerAttr(op.attributes["predicate"]).value)
        type = op.operands[0].type
        if direction is not None and _is_tensor(type) and (direction in ("EQ", "NE") or not _is_truth(type)):
            own = _mlir.stablehlo.ComparisonDirectionAttr.get(direction, _mlir.context())
            _replace(op, "stablehlo.compare", op.operands, _said(op) | {"comparison_direction": own})

    return rewrite


def _concatenate(op: Any) -> None:
    attributes = op.attributes
    dimension = _mlir.ir.IntegerAttr(attributes["dimension"]).value
    first, *others = op.operands
    if not others or RULE in attributes or first.type.shape[dimension] != 1:
        return
    if all(_is_copy(first, other) for other in others):
        said = {key: attributes[key] for key in attributes if key != "dimension"}
        dims = _mlir.ir.DenseI64ArrayAttr.get(range(first.type.rank), _mlir.context())
        _replace(op, "stablehlo.broadcast_in_dim", (first,), said | {"broadcast_dimensions": dims})


def _equal_shapes(op: Any) -> None:
    """Broadcasts the operands of a chlo op that broadcasts them itself: with equal shapes it is elementwise."""
    ir, attributes = _mlir.ir, op.attributes
    types = [value.type for value in (*op.operands, *op.results)]
    if not all(_is_tensor(type) and type.has_static_shape for type in types):
        return
    shape = list(op.results[0].type.shape)
    given = attributes.get("broadcast_dimensions")
    # Other dimensions than the last ones are in chlo's definition, but nothing upstream carries them out.
    if given is not None and list(given) != list(range(len(shape) - len(given), len(shape))):
        return
    for i, value in enumerate(op.operands):
        rank = value.type.rank
        if list(value.type.shape) == shape:
            continue
        target = ir.RankedTensorType.get(shape, value.type.element_type, loc=op.location)
        dims = ir.DenseI64ArrayAttr.get(range(len(shape) - rank, len(shape)), _mlir.context())
        op.operands[i] = ir.Operation.create(
            "stablehlo.broadcast_in_dim", [target], [value], {"broadcast_dimensions": dims},
            loc=op.location, ip=ir.InsertionPoint(op),
        ).results[0]
    if given is not None:
        del attributes["broadcast_dimensions"]


# What front ends write once for each copy.
_RESHAPING = frozenset({"stablehlo.reshape", "stablehlo.broadcast_in_dim"})


def _is_copy(value: Any, other: Any) -> bool:
    """Whether the two hold the same elements for certain: they are one value, or reshaped from one in the same way."""
    if value == other:
        return True
    makers = (value.owner, other.owner)
    if value.type != other.type or not all(isinstance(m, _mlir.ir.Operation | _mlir.ir.OpView) for m in makers):
        return False
    one, two = (m.operation for m in makers)
    return one.name == two.name and one.name in _RESHAPING and one.operands[0] == two.operands[0] and (
        _attributes(one) == _attributes(two)
    )


REWRITES: dict[str, Callable[[Any], None]] = {
    "arith.constant": _constant,
    # Comparisons that are false with NaN, and the one that is true then; StableHLO has no others. By number, as arith
    # writes them.
    "arith.cmpf": _compare({1: "EQ", 2: "GT", 3: "GE", 4: "LT", 5: "LE", 13: "NE"}),
    "arith.cmpi": _compare({0: "EQ", 1: "NE", 2: "LT", 3: "LE", 4: "GT", 5: "GE"}),
    **{f"arith.{op}i": _named(op, on_truth=True) for op in ("and", "or", "xor")},
    "arith.select": _named("select", on_truth=True),
    **{
        f"arith.{theirs}": _named(ours)
        for ours, names in {
            "add": "addf addi",
            "subtract": "subf subi",
            "multiply": "mulf muli",
            "divide": "divf",
            "remainder": "remf",
            "negate": "negf",
            "maximum": "maximumf maxsi",
            "minimum": "minimumf minsi",
            "convert": "extf extsi truncf trunci sitofp",
        }.items()
        for theirs in names.split()
    },
    "stablehlo.concatenate": _concatenate,
    **{name: _equal_shapes for name in MISSING if name.startswith("chlo.broadcast_")},
}

# Attributes of arith that say how exact an op has to be, or which values it will not meet.
_ARITH = frozenset({"fastmath", "overflowFlags", "roundingmode", "predicate", "value"})


def _said(op: Any) -> dict[str, Any]:
    """What an op of arith carries besides its own attributes: shardings, notes of front ends."""
    return {key: op.attributes[key] for key in op.attributes if key not in _ARITH}


def _is_tensor(type: Any) -> bool:
    return isinstance(type, _mlir.ir.RankedTensorType)


def _is_truth(type: Any) -> bool:
    element = type.element_type
    return isinstance(element, _mlir.ir.IntegerType) and element.width == 1


def _replace(op: Any, name: str, operands: Iterable[Any], attributes: dict[str, Any]) -> None:
    types, before = [op.results[0].type], _mlir.ir.InsertionPoint(op)
    new = _mlir.ir.Operation.create(name, types, list(operands), attributes, loc=op.location, ip=before)
    op.results[0].replace_all_uses_with(new.results[0])
    op.erase()


# -- after -------------------------------------------------------------------------------------------------------------

# Where all that is computed without any input begins.
ROOTS = frozenset({"stablehlo.constant", "stablehlo.iota"})


def merge(roots: list[Any]) -> None:
    """Merges the copies Shardy made of iotas and of ops on constants alone, where they turned out sharded alike.

    Copies stand in one block and have the place they come from in common. Constants are merged already.

    Args:
      roots: All constants and iotas of the program.
    """
    pending = list(roots)
    known: dict[tuple[Any, ...], Any] = {}
    counts: dict[Any, int] = {}
    # Level by level: copies are equally far from constants, so those of an op are one before its readers are looked at.
    for op in pending:
        pending += _readers(op, counts)
        if op.name != "stablehlo.constant":
            _merge(op, known)


def _readers(op: Any, counts: dict[Any, int]) -> list[Any]:
    """The ops all of whose operands come from constants now that ``op`` does; ``counts`` has those that came so far."""
    ready = []
    for use in op.results[0].uses:
        reader = use.owner.operation
        if reader.name not in PLAIN or len(reader.results) != 1 or len(reader.regions):
            continue
        # By its result: handles of one op differ in their hash.
        result = reader.results[0]
        count = counts.pop(result, 0) + 1
        if count == len(reader.operands):
            ready.append(reader)
        else:
            counts[result] = count
    return ready


def _merge(op: Any, known: dict[tuple[Any, ...], Any]) -> None:
    key = (op.block, op.name, op.location.attr, op.results[0].type, tuple(op.operands), _attributes(op))
    other = known.get(key)
    if other is not None and op.is_before_in_block(other):
        op, other = other, op
    known[key] = other or op
    if other is not None:
        op.results[0].replace_all_uses_with(other.results[0])
        op.erase()


def _attributes(op: Any) -> tuple[tuple[str, Any], ...]:
    return tuple((key, op.attributes[key]) for key in op.attributes)
