"""How windows move in reduce_window, select_and_scatter and convolution, dimension by dimension."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from passes import _mlir
from passes.program.attributes import booleans, integers, pairs


@dataclass(frozen=True)
class Window:
    """How a window moves along one dimension, in StableHLO's terms.

    Attributes:
      size: The elements in a window.
      stride: How far apart windows are.
      low, high: Padding before the first and behind the last element; may be negative.
      base: How far apart elements are (``base_dilations``, ``lhs_dilation``).
      dilation: How far apart the elements of a window are.
      reversal: Whether a convolution reads its kernel backwards.
    """

    size: int
    stride: int = 1
    low: int = 0
    high: int = 0
    base: int = 1
    dilation: int = 1
    reversal: bool = False

    @property
    def moves_nothing(self) -> bool:
        """Whether each result depends on the element in its place, and on no other."""
        return (self.size, self.stride, self.base, self.low, self.high) == (1, 1, 1, 0, 0)


def of_reduction(op: Any) -> list[Window]:
    """The window of a reduce_window or select_and_scatter along each dimension."""
    sizes = integers(op, "window_dimensions")
    rank = len(sizes)
    ones = [1] * rank
    strides, bases, dilations = (
        integers(op, key) or ones for key in ("window_strides", "base_dilations", "window_dilations")
    )
    padding = pairs(op, "padding", rank)
    return [Window(sizes[d], strides[d], *padding[d], bases[d], dilations[d]) for d in range(rank)]


@dataclass(frozen=True)
class Spatial:
    """One spatial dimension of a convolution: where it stands in image, kernel and result, and its window."""

    image: int
    kernel: int
    result: int
    window: Window


def of_convolution(op: Any) -> list[Spatial]:
    """The spatial dimensions of a convolution, in the order of its attributes."""
    numbers = _mlir.stablehlo.ConvDimensionNumbers(op.attributes["dimension_numbers"])
    places = list(
        zip(
            numbers.input_spatial_dimensions,
            numbers.kernel_spatial_dimensions,
            numbers.output_spatial_dimensions,
            strict=True,
        )
    )
    rank, sizes = len(places), tuple(op.operands[1].type.shape)
    ones = [1] * rank
    keys = ("window_strides", "lhs_dilation", "rhs_dilation")
    strides, bases, dilations = (integers(op, key) or ones for key in keys)
    reversal = booleans(op, "window_reversal") or [False] * rank
    padding = pairs(op, "padding", rank)
    return [
        Spatial(*place, Window(sizes[place[1]], strides[d], *padding[d], bases[d], dilations[d], reversal[d]))
        for d, place in enumerate(places)
    ]
