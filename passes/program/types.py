"""Tensor types: making them and measuring them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from passes import _mlir


def tensor_type(shape: Sequence[int], element: Any, encoding: Any = None) -> Any:
    """``tensor<shape x element>`` for an element ``ir.Type`` or its text (``"i64"``)."""
    ir, context = _mlir.ir, _mlir.context()
    if isinstance(element, str):
        element = ir.Type.parse(element, context)
    return ir.RankedTensorType.get(list(shape), element, encoding, loc=ir.Location.unknown(context))


def shape_of(value: Any) -> list[int]:
    """The shape of a ranked tensor value."""
    return list(_mlir.ir.RankedTensorType(value.type).shape)


def i64_attr(value: int) -> Any:
    """``value`` as a 64-bit integer attribute, the form of most StableHLO dimension numbers."""
    return _mlir.ir.IntegerAttr.get(_mlir.ir.IntegerType.get_signless(64, _mlir.context()), value)


def splat(text: str, type: Any) -> Any:
    """The attribute ``dense<text>`` of a tensor type; ``text`` is an element, or both parts of a complex one."""
    ir, context = _mlir.ir, _mlir.context()
    ranked = ir.RankedTensorType(type)
    element = ranked.element_type
    if not isinstance(element, ir.ComplexType):
        return ir.Attribute.parse(f"dense<{text}> : {type}", context)
    # The bindings hand out no parsed attribute of complex numbers, but one made from an array of one.
    scalar = tensor_type([], ir.ComplexType(element).element_type)
    import numpy as np  # Only here: pass listings load none.

    parts = [np.array(ir.Attribute.parse(f"dense<{part}> : {scalar}", context)) for part in text.strip("()").split(",")]
    value = np.empty((), np.result_type(parts[0], np.complex64))
    value.real, value.imag = parts[0], parts[-1]
    return ir.DenseElementsAttr.get(value, type=element, shape=list(ranked.shape), context=context)


def byte_size(type: Any) -> int:
    """The bytes of a statically shaped tensor; elements narrower than a byte count as one."""
    ranked = _mlir.ir.RankedTensorType(type)
    return int(math.prod(ranked.shape)) * element_bytes(ranked.element_type)


def element_bytes(element: Any) -> int:
    """The bytes of one element of an integer, float or complex type."""
    if isinstance(element, _mlir.ir.ComplexType):
        return 2 * element_bytes(_mlir.ir.ComplexType(element).element_type)
    width: int = element.width
    return max(1, (width + 7) // 8)
