"""Normal forms of an op's operands and attributes: two ops with the same one compute the same value, bit for bit.

One entry per op; an op without one is its own normal form. The only bits left open are the payloads of NaN results
where both operands are NaN: IEEE 754 and StableHLO leave them to the implementation, and XLA merges the same ops.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable
from typing import Any

from passes import _mlir

Operands = tuple[Hashable, ...]
Attributes = tuple[Any, ...]
Form = tuple[Operands, Attributes]
Rule = Callable[[Operands, Attributes, Any], Form]

_MIRRORED = {"LT": "GT", "GT": "LT", "LE": "GE", "GE": "LE", "EQ": "EQ", "NE": "NE"}
_DIRECTION = re.compile(r"\b(?:LT|GT|LE|GE|EQ|NE)\b")
_CHANNEL_TYPE = re.compile(r"type = \d+")


def _commuted(operands: Operands, attributes: Attributes, result_type: Any) -> Form:
    """``a + b`` is ``b + a``; hashes order values the same way for as long as the program is in memory."""
    first, second = operands
    return (operands if hash(first) <= hash(second) else (second, first)), attributes


def _commuted_unless_complex(operands: Operands, attributes: Attributes, result_type: Any) -> Form:
    """A complex product is a sum of products, which a fused multiply-add rounds differently when commuted."""
    if isinstance(getattr(result_type, "element_type", result_type), _mlir.ir.ComplexType):
        return operands, attributes
    return _commuted(operands, attributes, result_type)


def _mirrored(operands: Operands, attributes: Attributes, result_type: Any) -> Form:
    """``a < b`` is ``b > a``, for NaN too."""
    first, second = operands
    if hash(first) <= hash(second):
        return operands, tuple((n, _direction(a) if n == "comparison_direction" else a) for n, a in attributes)
    return (second, first), tuple(
        (n, _MIRRORED[_direction(a)] if n == "comparison_direction" else a) for n, a in attributes
    )


def _direction(attribute: Any) -> str:
    found = _DIRECTION.search(str(attribute))
    assert found is not None
    return found[0]


def _without_channel_id(operands: Operands, attributes: Attributes, result_type: Any) -> Form:
    """A channel's id tells transfers apart, not values; its type says which devices a group names."""
    return operands, tuple(
        (n, tuple(_CHANNEL_TYPE.findall(str(a))) if n == "channel_handle" else a) for n, a in attributes
    )


_HLO: dict[str, Rule] = {
    "add": _commuted,
    "multiply": _commuted_unless_complex,
    "and": _commuted,
    "or": _commuted,
    "xor": _commuted,
    "maximum": _commuted,
    "minimum": _commuted,
    "compare": _mirrored,
    "all_gather": _without_channel_id,
    "all_reduce": _without_channel_id,
    "all_to_all": _without_channel_id,
    "collective_broadcast": _without_channel_id,
    "collective_permute": _without_channel_id,
    "reduce_scatter": _without_channel_id,
}

NORMAL_FORMS: dict[str, Rule] = {
    **{f"{dialect}.{op}": rule for dialect in ("stablehlo", "mhlo") for op, rule in _HLO.items()},
    **{f"arith.{op}": _commuted for op in ("addi", "muli", "andi", "ori", "xori", "addf", "mulf")},
}

# Ops whose normal form may have the operands in another order.
COMMUTED = frozenset(
    name for name, rule in NORMAL_FORMS.items() if rule in (_commuted, _commuted_unless_complex, _mirrored)
)
