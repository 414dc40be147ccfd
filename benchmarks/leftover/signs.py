"""Which float values can't be -0.0, by rules on how a value is made (IEEE 754 arithmetic, rounding to nearest).

A sum is -0.0 only if both terms are, a difference ``a - b`` only if ``a`` is; a square is no negative zero. Where
denormals are flushed, a sum may become -0.0 too; this does not look at that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from leftover.convert import is_lossless

if TYPE_CHECKING:
    from leftover.mirror import Op, Value

# Never -0.0, whatever the operands are.
_NEVER = frozenset(f"stablehlo.{name}" for name in ("abs", "exponential", "logistic", "iota"))
# Never -0.0 if none of these operands is (None: all of them).
_KEEPS: dict[str, tuple[int, ...] | None] = {
    **{f"stablehlo.{name}": (0,) for name in (
        "broadcast_in_dim", "reshape", "transpose", "slice", "reverse", "gather", "dynamic_slice", "subtract")},
    **{f"stablehlo.{name}": None for name in (
        "concatenate", "pad", "maximum", "minimum", "clamp", "reduce")},
    "stablehlo.select": (1, 2),
    "stablehlo.dynamic_update_slice": (0, 1),
}
_KEEPING_REDUCTIONS = frozenset(f"stablehlo.{name}" for name in ("add", "maximum", "minimum"))


def never_negative_zero(op: Op, value: Value) -> bool:
    """Whether ``value``, a result of ``op``, can't hold -0.0."""
    name = op.name
    if name == "stablehlo.constant":
        return _holds_none(value)
    if name in _NEVER:
        return True
    if name == "stablehlo.add":
        return any(v.never_negative_zero for v in op.operands)
    if name == "stablehlo.multiply":
        return op.operands[0] is op.operands[1]
    if name == "stablehlo.convert":
        return _converted(op.operands[0], value)
    if name not in _KEEPS:
        return False
    if name == "stablehlo.reduce" and (len(op.results) > 1 or op.regions[0][0].ops[0].name not in _KEEPING_REDUCTIONS):
        return False
    chosen = _KEEPS[name]
    operands = op.operands if chosen is None else [op.operands[i] for i in chosen]
    return all(v.never_negative_zero for v in operands)


def _holds_none(value: Value) -> bool:
    if value.splat is not None:
        return bool(value.number != 0 or not str(value.number).startswith("-"))
    return False


def _converted(source: Value, value: Value) -> bool:
    """Integers have one zero; a narrower float may turn a small negative number into -0.0."""
    if source.is_integer:
        return True
    return source.never_negative_zero and is_lossless(source.element, value.element)
