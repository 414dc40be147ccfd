"""Lowers reduce_window and convolution along split dimensions: each device fetches what its windows reach into.

The window reads past the ends of a shard; what lies there comes from the neighbours (`halo`), and padding only from
the ends of the whole dimension, so the local op needs none:

  // 3 elements wide, one of padding on either side, 16 elements on 2 devices
  %0 = "stablehlo.reduce_window"(%own_and_two, %c) <{window_dimensions = array<i64: 3>}> : ... -> tensor<8xf32>
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from passes import _mlir
from passes.partition.geometry import Part, contracted, covered, windowed
from passes.partition.halo import Side
from passes.partition.planned import SUM
from passes.partition.shifts import side, split_dims, take, uneven
from passes.partition.trace import hand_over
from passes.program.types import shape_of
from passes.sharding.reducers import reducer
from passes.sharding.windows import Spatial, Window, of_convolution, of_reduction

if TYPE_CHECKING:
    from passes.partition.localize import Localizer

_MISALIGNED = "and its shards do not begin alike between dilated elements"

# -- reduce_window -----------------------------------------------------------------------------------------------------


def reduce_window_guard(localizer: Localizer, op: Any) -> str:
    """reduce_window: split dimensions divide before and after, and shards begin alike."""
    if problem := uneven(localizer, op):
        return problem
    windows = of_reduction(op)
    for dim in split_dims(localizer, op):
        results = shape_of(op.results[0])[dim] // side(localizer, op, dim).count
        if not windows[dim].moves_nothing and windowed(windows[dim], results) is None:
            return f"dimension {dim} is split {_MISALIGNED}"
    return ""


def reduce_window_lower(localizer: Localizer, op: Any) -> None:
    """reduce_window: each device fetches what its windows read, with the initial value around the whole dimension.

    Windows over everything up to an element, or from it on, are computed in the shard and completed by what the other
    shards come to.
    """
    windows, count, running = of_reduction(op), len(op.operands) // 2, []
    padding, sizes = [(w.low, w.high) for w in windows], [w.size for w in windows]
    for dim in split_dims(localizer, op):
        at, window = side(localizer, op, dim), windows[dim]
        if window.moves_nothing:
            continue
        local = shape_of(op.operands[0])[dim]
        if count == 1 and (runs := _runs(window, local * at.count)):
            running.append((at, runs))
            sizes[dim], padding[dim] = local, (local - 1, 0) if runs > 0 else (0, local - 1)
            continue
        part = windowed(window, shape_of(op.results[0])[dim] // at.count)
        assert part is not None
        for i in range(count):
            take(localizer, op, i, at.window(op.operands[i], part.need, op.operands[count + i]))
        padding[dim] = (part.low, part.high)
    op.attributes["window_dimensions"] = _mlir.ir.DenseI64ArrayAttr.get(sizes, _mlir.context())
    _set_padding(op, padding)
    localizer.in_place(op)
    for at, runs in running:
        _follow(localizer, op, partial(_complete, op, at, runs))


def _runs(window: Window, size: int) -> int:
    """1 if each window over ``size`` elements holds all up to one, -1 if all from it on, 0 if neither (or both)."""
    if window.size < size or size == 1 or (window.stride, window.base, window.dilation) != (1, 1, 1):
        return 0
    return {(window.size - 1, 0): 1, (0, window.size - 1): -1}.get((window.low, window.high), 0)


def _complete(op: Any, at: Side, runs: int, result: Any) -> Any:
    """Adds to each element of a running reduction what the shards before (``runs`` > 0) or behind come to."""
    at = replace(at, point=_mlir.ir.InsertionPoint.after(result.owner.operation))
    size = shape_of(result)[at.dim]
    total = at.slice(result, size - 1 if runs > 0 else 0, 1)
    return at.combine(str(reducer(op)), result, at.combined(str(reducer(op)), total, op.operands[1], before=runs > 0))


# -- select_and_scatter ------------------------------------------------------------------------------------------------


def select_and_scatter_guard(localizer: Localizer, op: Any) -> str:
    """select_and_scatter: windows need no padding along a split dimension, and leave no gaps."""
    windows, dims = of_reduction(op), split_dims(localizer, op)
    for dim in dims:
        size = shape_of(op.results[0])[dim] // side(localizer, op, dim).count
        if not windows[dim].moves_nothing and covered(windows[dim], size) is None:
            return f"dimension {dim} is split and its windows are padded, or do not fit the shards"
    return uneven(localizer, op)


def select_and_scatter_lower(localizer: Localizer, op: Any) -> None:
    """select_and_scatter: each device computes all windows that reach into its part, and keeps that."""
    windows, result = of_reduction(op), op.results[0]
    attr, kept = localizer.shardings.attr(result), []
    local = shape_of(result) if attr is None else localizer.shardings.local_type(result.type, attr).shape
    for dim in split_dims(localizer, op):
        if windows[dim].moves_nothing:
            continue
        at, part = side(localizer, op, dim), covered(windows[dim], local[dim])
        assert part is not None
        take(localizer, op, 0, at.window(op.operands[0], part.operand))
        take(localizer, op, 1, at.window(op.operands[1], part.source))
        kept.append((at, part.first, local[dim]))
    localizer.in_place(op)
    op.results[0].set_type(op.operands[0].type)

    def own(result: Any) -> Any:
        for at, first, size in kept:
            result = replace(at, point=_behind(result)).slice(result, first, size)
        return result

    _follow(localizer, op, own)


def _follow(localizer: Localizer, op: Any, make: Callable[[Any], Any]) -> None:
    """Lets what ``make`` puts behind ``op`` stand for its result."""
    result, uses = op.results[0], [(use.owner.operation, use.operand_number) for use in op.results[0].uses]
    made = make(result)
    if made == result:
        return
    for user, number in uses:
        user.operands[number] = made
    hand_over(result, made)
    localizer.shardings.record(made, localizer.shardings.attr(result))


def _behind(value: Any) -> Any:
    return _mlir.ir.InsertionPoint.after(value.owner.operation)


# -- convolution -------------------------------------------------------------------------------------------------------


def convolution_guard(localizer: Localizer, op: Any) -> str:
    """convolution: with groups no features are split and no grouped batch, for group counts are attributes."""
    numbers = _mlir.stablehlo.ConvDimensionNumbers(op.attributes["dimension_numbers"])
    groups = [_mlir.ir.IntegerAttr(op.attributes[key]).value for key in ("feature_group_count", "batch_group_count")]
    image, kernel, result = (localizer.shardings.dims(v) for v in (*op.operands, op.results[0]))
    features = (
        image[numbers.input_feature_dimension],
        kernel[numbers.kernel_input_feature_dimension],
        kernel[numbers.kernel_output_feature_dimension],
        result[numbers.output_feature_dimension],
    )
    if max(groups) > 1 and any(features):
        return "it is grouped and its features are split"
    if groups[1] > 1 and (image[numbers.input_batch_dimension] or result[numbers.output_batch_dimension]):
        return "its batch is grouped and split"
    if problem := uneven(localizer, op):
        return problem
    for spatial in of_convolution(op):
        if _is_split(localizer, op, spatial) and _part(localizer, op, spatial) is None:
            return f"spatial dimension {spatial.image} is split {_MISALIGNED}"
    return ""


def convolution_lower(localizer: Localizer, op: Any) -> None:
    """convolution: each device fetches what its windows read; sums over a split spatial dimension are completed."""
    if localizer.verdict(op).reduced:
        localizer.partial[op.results[0]] = SUM
    dims = [_with_whole_kernel(localizer, op, spatial) for spatial in of_convolution(op)]
    padding = [(s.window.low, s.window.high) for s in dims]
    for i, spatial in enumerate(dims):
        if not _is_split(localizer, op, spatial):
            continue
        part = _part(localizer, op, spatial)
        assert part is not None
        at = side(localizer, op, spatial.image, op.operands[0])
        take(localizer, op, 0, at.window(op.operands[0], part.need))
        padding[i] = (part.low, part.high)
    _set_padding(op, padding)
    localizer.in_place(op)


def _with_whole_kernel(localizer: Localizer, op: Any, spatial: Spatial) -> Spatial:
    """The spatial dimension as it was before the kernel became local."""
    shards = side(localizer, op, spatial.kernel, op.operands[1]).count
    return replace(spatial, window=replace(spatial.window, size=spatial.window.size * shards))


def _is_split(localizer: Localizer, op: Any, spatial: Spatial) -> bool:
    """Whether data has to move along a spatial dimension: it is split, and not simply multiplied element by element."""
    return bool(localizer.shardings.dims(op.operands[0])[spatial.image]) and not spatial.window.moves_nothing


def _part(localizer: Localizer, op: Any, spatial: Spatial) -> Part | None:
    """What a shard reads of the image, by windows of its own part of the result or by its own part of all windows."""
    results, taps = localizer.shardings.dims(op.results[0])[spatial.result], spatial.window.size
    size = shape_of(op.results[0])[spatial.result]
    if results:
        return windowed(spatial.window, size // side(localizer, op, spatial.result).count)
    if spatial.window.reversal:
        return None
    return contracted(spatial.window, size, taps // side(localizer, op, spatial.kernel, op.operands[1]).count)


def _set_padding(op: Any, padding: Sequence[tuple[int, int]]) -> None:
    if padding:
        pairs = np.array(padding, dtype=np.int64)
        op.attributes["padding"] = _mlir.ir.DenseElementsAttr.get(pairs, context=_mlir.context())
