"""How far a program made sparse is from the dense one, as it is written and in double precision."""

from __future__ import annotations

import numpy as np

from passes.execute import inputs
from passes.execute.distance import measure
from passes.execute.executor import Executor
from passes.program.read import Program

# Sums in another order, in 64 bits.
IN_DOUBLE = 1e-12
_RUN = Executor(isolated=False)


def furthest_result(dense: Program, sparse: Program, seed: int = 0) -> float:
    """The relative L2 distance of the result that differs most; infinite if one is NaN where the other is not."""
    given = inputs.make(dense, "normal", seed).arrays
    pairs = zip(_RUN.run_global(dense, given), _RUN.run_global(sparse, given), strict=True)
    return max((_distance(want, got) for want, got in pairs), default=0.0)


def _distance(want: np.ndarray, got: np.ndarray) -> float:
    if want.dtype.kind not in "fV":
        return 0.0 if np.array_equal(want, got) else float("inf")
    found = measure(want, got).relative_l2
    return found if np.isfinite(found) else float("inf")
