"""How much rounding alone moves a program's results: what it computes in, and how it answers to perturbed inputs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np

from passes import _mlir
from passes.execute.arrays import dtype_of
from passes.execute.compare import Tolerance, coarsest, tolerance_of
from passes.execute.distance import Figures, is_float, measure
from passes.execute.executor import Executor
from passes.program.read import Program
from passes.program.walk import operations

# Perturbations in units of the coarsest type's rounding, one run each: sums add up many roundings, and a single run may
# by chance miss the element that a rounding tips over.
_STEPS = (1, 4, 16, 16, 16, 16, 16, 16)
# Coarse types are not perturbed further: a step this large already shows in every sum.
_LARGEST_STEP = 1e-3


def float_types(program: Program) -> set[str]:
    """The float element types of all values that the program computes."""
    ir = _mlir.ir
    types = {result.type for op in operations(program.module) for result in op.results}
    shaped = (ir.RankedTensorType(t) for t in types if isinstance(t, ir.RankedTensorType))
    return {name for name in {str(t.element_type) for t in shaped} if tolerance_of(name) is not None}


def computed_in(program: Program) -> Tolerance | None:
    """The tolerance of the coarsest float type that the program computes in."""
    return coarsest(float_types(program))


def rounding_noise(
    program: Program, inputs: list[np.ndarray], expected: list[np.ndarray], executor: Executor, entry: str | None
) -> Iterator[list[Figures]]:
    """How far each result moves when every input moves by a few roundings of the coarsest type, run by run.

    Summing in another order is as good as moving the summands by a rounding each, so a correct transformation moves
    results by about as much; a program that amplifies rounding errors, such as a long recurrence, shows it here.
    """
    # Inputs of a finer type move by as much, as the program will round them anyway.
    epsilon = max((_epsilon(name) for name in float_types(program)), default=0.0)
    for run, step in enumerate(_STEPS):
        random = np.random.default_rng(run)
        size = min(step * epsilon, max(epsilon, _LARGEST_STEP))
        shaken = [_perturbed(array, size, random) for array in inputs]
        moved = executor.run_global(program, shaken, entry=entry)
        yield [measure(before, after) for before, after in zip(expected, moved, strict=True)]


def _epsilon(name: str) -> float:
    dtype = dtype_of(name)
    part: Any = np.dtype(f"f{dtype.itemsize // 2}") if dtype.kind == "c" else dtype
    return float(ml_dtypes.finfo(part).eps)


def _perturbed(array: np.ndarray, step: float, random: np.random.Generator) -> np.ndarray:
    if not is_float(array.dtype):
        return array
    signs = random.choice((-1.0, 1.0), array.shape)
    with np.errstate(all="ignore"):
        wide = array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)
        return (wide * (1 + step * signs)).astype(array.dtype)
