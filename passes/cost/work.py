"""How many operations an op computes: a table, and what holds for every op that is not in it.

Counted as XLA's ``HloCostAnalysis`` counts, so that the figures can be compared: two for a multiply-add, one for every
other element computed, nothing for what only moves data; functions such as ``exponential`` apart. Counts are of one run
of the op alone: what the regions of loops, branches and calls do is added by `graph`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from passes import _mlir
from passes.program.attributes import integer, integers, pairs


@dataclass(frozen=True)
class Work:
    """What one run of an op computes.

    Attributes:
      flops: Additions, multiplications, comparisons, ...; a multiply-add is two.
      transcendentals: Elements of exponentials, roots, sines and the like.
    """

    flops: int = 0
    transcendentals: int = 0

    def times(self, count: int) -> Work:
        """The work of ``count`` runs."""
        return Work(self.flops * count, self.transcendentals * count)


NOTHING = Work()

_TRANSCENDENTAL = (
    "atan2 cbrt cosine exponential exponential_minus_one log log_plus_one logistic power rsqrt sine sqrt tan tanh"
)
_ELEMENTWISE = (
    "abs add and ceil clamp compare convert count_leading_zeros divide floor is_finite maximum minimum "
    "multiply negate not or popcnt reduce_precision remainder rng round_nearest_afz round_nearest_even select "
    "shift_left shift_right_arithmetic shift_right_logical sign subtract xor"
)
TRANSCENDENTAL = frozenset(f"stablehlo.{name}" for name in _TRANSCENDENTAL.split())
ELEMENTWISE = frozenset(f"stablehlo.{name}" for name in _ELEMENTWISE.split())


def work(op: Any) -> Work:
    """What one run of ``op`` computes; the regions of control flow are not counted, those of reductions are."""
    name = op.name
    if name in ELEMENTWISE:
        return Work(elements(op.results[0]))
    if name in TRANSCENDENTAL:
        return Work(0, elements(op.results[0]))
    rule = RULES.get(name)
    return rule(op) if rule is not None else NOTHING


def elements(value: Any) -> int:
    """The number of elements of a value; one for a token."""
    return _count(value.type)


@functools.cache
def _count(type: Any) -> int:
    return math.prod(type.shape) if isinstance(type, _mlir.ir.RankedTensorType) else 1


def dot_general(op: Any) -> Work:
    """Two for each element of the result and each element contracted for it."""
    contracted = _contracted(op.operands[0].type, op.attributes["dot_dimension_numbers"])
    return Work(2 * elements(op.results[0]) * contracted)


@functools.cache
def _contracted(lhs: Any, numbers: Any) -> int:
    """How many elements are contracted for each of the result."""
    shape = lhs.shape
    return math.prod(shape[d] for d in _mlir.stablehlo.DotDimensionNumbers(numbers).lhs_contracting_dimensions)


def dot(op: Any) -> Work:
    """As dot_general; the last dimension of the left side is contracted."""
    return Work(2 * elements(op.results[0]) * op.operands[0].type.shape[-1])


def convolution(op: Any) -> Work:
    """Two for each kernel element that meets an element of the image, none in padding or between dilated ones."""
    attributes = op.attributes
    numbers = _mlir.stablehlo.ConvDimensionNumbers(attributes["dimension_numbers"])
    image, kernel, result = (v.type.shape for v in (op.operands[0], op.operands[1], op.results[0]))
    groups = integer(op, "feature_group_count") * integer(op, "batch_group_count")
    rank = len(numbers.input_spatial_dimensions)
    strides, lhs, rhs = (integers(op, k) or [1] * rank for k in ("window_strides", "lhs_dilation", "rhs_dilation"))
    padding = pairs(op, "padding", rank)
    spatial = zip(
        numbers.input_spatial_dimensions, numbers.kernel_spatial_dimensions, numbers.output_spatial_dimensions,
        strict=True,
    )
    met = math.prod(
        _met(image[i], kernel[k], result[o], strides[d], padding[d][0], lhs[d], rhs[d])
        for d, (i, k, o) in enumerate(spatial)
    )
    features = image[numbers.input_feature_dimension] * result[numbers.output_feature_dimension]
    return Work(2 * image[numbers.input_batch_dimension] * features * met // groups)


def _met(image: int, kernel: int, result: int, stride: int, low: int, lhs: int, rhs: int) -> int:
    """How many (result position, kernel position) pairs of one dimension meet an element of the image."""
    if lhs == 1:  # The usual case without a loop over the result: kernel position k meets where 0 <= s*o+k*rhs-low < n.
        found = 0
        for k in range(kernel):
            offset = k * rhs - low
            first = max(0, -(offset // stride))
            last = min(result - 1, (image - 1 - offset) // stride)
            found += max(0, last - first + 1)
        return found
    dilated = (image - 1) * lhs + 1
    found = 0
    for k in range(kernel):
        for o in range(result):
            at = o * stride + k * rhs - low
            found += 0 <= at < dilated and at % lhs == 0
    return found


def reduce(op: Any) -> Work:
    """The region, for every element that is not the first of its result."""
    return region_work(op.regions[0]).times(max(0, elements(op.operands[0]) - elements(op.results[0])))


def reduce_window(op: Any) -> Work:
    """The region, for every element of a window but its first."""
    window = math.prod(integers(op, "window_dimensions"))
    return region_work(op.regions[0]).times(elements(op.results[0]) * (window - 1))


def select_and_scatter(op: Any) -> Work:
    """The selection for every element of a window but its first, the other region once for a window."""
    window = math.prod(integers(op, "window_dimensions"))
    windows = elements(op.operands[1])
    select, scatter = (region_work(region) for region in op.regions)
    return _sum(select.times(windows * (window - 1)), scatter.times(windows))


def scatter(op: Any) -> Work:
    """The region, for every element of an update."""
    return region_work(op.regions[0]).times(elements(op.operands[-1]))


def over_elements(op: Any) -> Work:
    """The region, for every element of the result."""
    return region_work(op.regions[0]).times(elements(op.results[0]))


def rng_bit_generator(op: Any) -> Work:
    """One transcendental for each element it makes, its state included."""
    return Work(0, sum(elements(v) for v in op.results))


def sort(op: Any) -> Work:
    """n log n comparisons."""
    count = elements(op.operands[0])
    return Work(count * max(0, count - 1).bit_length())


def fft(op: Any) -> Work:
    """Eight for each element of the result and each halving of the transformed lengths."""
    return Work(8 * elements(op.results[0]) * math.prod(n.bit_length() - 1 for n in integers(op, "fft_length")))


def triangular_solve(op: Any) -> Work:
    """Two for each element of the right side and each row."""
    return Work(2 * elements(op.operands[1]) * op.operands[0].type.shape[-1])


def cholesky(op: Any) -> Work:
    """A third of the cube of the size, for each matrix."""
    return Work(elements(op.operands[0]) * op.operands[0].type.shape[-1] // 3)


def region_work(region: Any) -> Work:
    """The work of a region over scalars."""
    return _sum(*(work(view.operation) for view in region.blocks[0].operations))


def _sum(*parts: Work) -> Work:
    return Work(sum(p.flops for p in parts), sum(p.transcendentals for p in parts))


RULES: dict[str, Callable[[Any], Work]] = {
    "stablehlo.all_reduce": over_elements,
    "stablehlo.cholesky": cholesky,
    "stablehlo.convolution": convolution,
    "stablehlo.dot": dot,
    "stablehlo.dot_general": dot_general,
    "stablehlo.fft": fft,
    "stablehlo.map": over_elements,
    "stablehlo.reduce": reduce,
    "stablehlo.reduce_scatter": over_elements,
    "stablehlo.reduce_window": reduce_window,
    "stablehlo.rng_bit_generator": rng_bit_generator,
    "stablehlo.scatter": scatter,
    "stablehlo.select_and_scatter": select_and_scatter,
    "stablehlo.sort": sort,
    "stablehlo.triangular_solve": triangular_solve,
}
