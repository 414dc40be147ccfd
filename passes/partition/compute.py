"""Counts what matrix products and convolutions compute, to tell how much of it several devices compute alike."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from passes import _mlir
from passes.partition.summary import with_calls
from passes.program.types import shape_of


@dataclass(frozen=True)
class Work:
    """The floating-point operations of matrix products and convolutions.

    Attributes:
      whole: Of the global program.
      device: Of the per-device program.
      devices: How many devices run that.
    """

    whole: int
    device: int
    devices: int

    @property
    def replicated(self) -> float:
        """The share of all work that is done for another time: what one device does that another does as well."""
        done = self.device * self.devices
        return max(0.0, 1 - self.whole / done) if done else 0.0

    def __str__(self) -> str:
        return (
            f"each device does {self.device:,} of {self.whole:,} FLOPs in matrix products and convolutions; "
            f"{self.replicated:.1%} of the work is done more than once"
        )


def flops(module: Any) -> int:
    """The floating-point operations of matrix products and convolutions: a multiplication and an addition per term.

    What stands in a loop counts once, what stands in a function for each call.
    """
    return sum(times * _FLOPS[op.name](op) for op, times in with_calls(module, frozenset(_FLOPS)))


def _dot_general(op: Any) -> int:
    left = shape_of(op.operands[0])
    numbers = _mlir.stablehlo.DotDimensionNumbers(op.attributes["dot_dimension_numbers"])
    return _terms(op, math.prod(left[dim] for dim in numbers.lhs_contracting_dimensions))


def _dot(op: Any) -> int:
    return _terms(op, shape_of(op.operands[0])[-1])


def _convolution(op: Any) -> int:
    kernel = shape_of(op.operands[1])
    numbers = _mlir.stablehlo.ConvDimensionNumbers(op.attributes["dimension_numbers"])
    del kernel[numbers.kernel_output_feature_dimension]
    return _terms(op, math.prod(kernel))


def _terms(op: Any, each: int) -> int:
    return 2 * each * math.prod(shape_of(op.results[0]))


# Op -> what it computes.
_FLOPS: dict[str, Callable[[Any], int]] = {
    "stablehlo.convolution": _convolution,
    "stablehlo.dot": _dot,
    "stablehlo.dot_general": _dot_general,
}
