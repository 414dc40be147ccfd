"""Sums over many terms in a short float type."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

from passes import _mlir
from passes.optimize.lint.findings import Check, Remark, Scope
from passes.optimize.lint.formats import FLOATS, exact_integers
from passes.optimize.lint.values import element
from passes.program.types import shape_of

# Significand bits of the shortest type that is one to sum in.
_WIDE = FLOATS["f32"].significand


def accumulation(op: Any, scope: Scope) -> Iterator[Remark]:
    """A sum of ``op`` that has more terms than its type can count."""
    kind = element(op.results[0])
    if not _is_short(kind):
        return
    terms = _TERMS[op.name](op)
    limit = scope.settings.accumulate_over
    if terms <= (exact_integers(kind) if limit is None else limit):
        return
    name = op.name.partition(".")[2]
    yield Remark(
        f"{name} sums {terms:,} terms in {kind}, in which a sum of equal terms stops to grow at "
        f"{exact_integers(kind):,} of them",
        "sum in f32 (preferred_element_type, or a convert before a reduce) and round once at the end",
    )


def _contracted(op: Any) -> int:
    if "algorithm" in op.attributes and _accumulates_widely(op.attributes["algorithm"]):
        return 0
    numbers = _mlir.stablehlo.DotDimensionNumbers(op.attributes["dot_dimension_numbers"])
    shape = shape_of(op.operands[0])
    return math.prod(shape[d] for d in numbers.lhs_contracting_dimensions)


def _accumulates_widely(algorithm: Any) -> bool:
    return not _is_short(str(_mlir.stablehlo.DotAlgorithm(algorithm).accumulation_type))


def _last_dimension(op: Any) -> int:
    return int(shape_of(op.operands[0])[-1])


def _kernel(op: Any) -> int:
    numbers = _mlir.stablehlo.ConvDimensionNumbers(op.attributes["dimension_numbers"])
    shape = shape_of(op.operands[1])
    return int(math.prod(shape) // max(1, shape[numbers.kernel_output_feature_dimension]))


def _reduced(op: Any) -> int:
    shape = shape_of(op.operands[0])
    return math.prod(shape[d] for d in op.attributes["dimensions"]) if _adds(op) else 0


def _window(op: Any) -> int:
    return math.prod(op.attributes["window_dimensions"]) if _adds(op) else 0


def _adds(op: Any) -> bool:
    """Whether the body adds; of several values reduced together, whether it adds any in a short type."""
    return any(
        inner.operation.name == "stablehlo.add" and _is_short(element(inner.operation.results[0]))
        for inner in op.regions[0].blocks[0]
    )


def _is_short(kind: str) -> bool:
    return kind in FLOATS and FLOATS[kind].significand < _WIDE


# Op -> how many terms each element of its result is a sum of; dynamic sizes count as few.
_TERMS: dict[str, Callable[[Any], int]] = {
    "stablehlo.dot_general": _contracted,
    "stablehlo.dot": _last_dimension,
    "stablehlo.convolution": _kernel,
    "stablehlo.reduce": _reduced,
    "stablehlo.reduce_window": _window,
}

LOW_PRECISION_SUM = Check(
    "low-precision-sum",
    "dots, convolutions and reductions that sum more terms in a short float type than the type can count "
    "(bf16: 256, f16: 2,048)",
    tuple(_TERMS),
    accumulation,
)
