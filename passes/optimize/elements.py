"""Tensor types and constants as plain data, read once each: asking the bindings again costs microseconds again."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from passes import _mlir

# Element type -> the bits of its significand (with the hidden one), and its greatest and smallest exponent of two
# (of a normal number). IEEE 754 and the table of bfloat16; narrower formats differ in their special values.
FLOATS = {"bf16": (8, 127, -126), "f16": (11, 15, -14), "f32": (24, 127, -126), "f64": (53, 1023, -1022)}


@dataclass(frozen=True, eq=False)
class Tensor:
    """A ranked tensor type.

    Attributes:
      type: ``ir.Type``.
      shape: Its static shape; ``None`` if a dimension is dynamic or it is no tensor.
      element: The element type's text, e.g. ``"f32"``, ``"ui8"``; ``""`` if it is no tensor.
      kind: ``"float"``, ``"int"`` (signless: StableHLO reads it as signed), ``"unsigned"``, ``"bool"`` or ``"other"``.
      width: Bits of an element; 0 for ``"other"``.
      size: Number of elements; 0 if unknown.
    """

    type: Any
    shape: tuple[int, ...] | None
    element: str
    kind: str
    width: int
    size: int

    @property
    def is_integral(self) -> bool:
        """Whether the elements are integers or truth values, for which all arithmetic is exact modulo 2**width."""
        return self.kind in ("int", "unsigned", "bool")


def describe(type: Any) -> Tensor:
    """The facts about ``type``."""
    ir = _mlir.ir
    if not isinstance(type, ir.RankedTensorType):
        return Tensor(type, None, "", "other", 0, 0)
    element = type.element_type
    kind, width = _element(element)
    shape = tuple(type.shape) if type.has_static_shape and type.encoding is None else None
    return Tensor(type, shape, str(element), kind, width, 0 if shape is None else math.prod(shape))


def _element(element: Any) -> tuple[str, int]:
    ir = _mlir.ir
    if isinstance(element, ir.IntegerType):
        if element.width == 1:
            return "bool", 1
        return ("unsigned" if element.is_unsigned else "int"), element.width
    if isinstance(element, ir.FloatType):
        return "float", element.width
    return "other", 0


def splat_of(attribute: Any) -> float | int | bool | None:
    """The one value all elements have; ``None`` for complex numbers, resources and constants of several values."""
    ir = _mlir.ir
    if not isinstance(attribute, (ir.DenseFPElementsAttr, ir.DenseIntElementsAttr)) or not attribute.is_splat:
        return None
    value: float | int | bool = attribute.get_splat_value().value
    return value


def splat_attribute(type: Any, value: float | int | bool) -> Any:
    """A constant of ``type`` whose elements are all ``value``; floats are rounded to the element type."""
    ir = _mlir.ir
    element = type.element_type
    if isinstance(element, ir.FloatType):
        scalar = ir.FloatAttr.get(element, float(value), loc=ir.Location.unknown(type.context))
    elif element.width == 1:
        scalar = ir.BoolAttr.get(bool(value), context=type.context)
    else:
        scalar = ir.IntegerAttr.get(element, int(value))
    return ir.DenseElementsAttr.get_splat(type, scalar)


def is_negative_zero(value: float | int | bool) -> bool:
    """Whether ``value`` is the floating-point number -0.0."""
    return isinstance(value, float) and value == 0.0 and math.copysign(1.0, value) < 0.0


def is_positive_zero(value: float | int | bool) -> bool:
    """Whether ``value`` is the floating-point number +0.0."""
    return isinstance(value, float) and value == 0.0 and math.copysign(1.0, value) > 0.0


def all_ones(tensor: Tensor) -> int:
    """The integer with every bit set, as attributes of ``tensor``'s element type spell it."""
    return 1 if tensor.kind == "bool" else -1 if tensor.kind == "int" else (1 << tensor.width) - 1


def greatest(tensor: Tensor) -> float | int:
    """The greatest value an element can have, infinity for floats."""
    if tensor.kind == "float":
        return math.inf
    if tensor.kind == "int":
        return int((1 << (tensor.width - 1)) - 1)
    return int((1 << tensor.width) - 1)


def least(tensor: Tensor) -> float | int:
    """The least value an element can have, minus infinity for floats."""
    if tensor.kind == "float":
        return -math.inf
    return -(1 << (tensor.width - 1)) if tensor.kind == "int" else 0
