"""Regions of loops and branches, run by themselves on golden values."""

from __future__ import annotations

import numpy as np

from passes.execute import golden as golden_values
from passes.execute.executor import Executor
from passes.execute.golden import Golden
from passes.execute.stepwise import Step, Steps

# The regions of a loop.
CONDITION, BODY = 0, 1


def runnable(steps: Steps) -> bool:
    """Whether all that a region takes and returns can be handed over."""
    return all(steps.type(v) is not None for v in (*range(steps.arguments), *steps.returned))


def evaluate(
    golden: Golden, steps: Steps, outside: tuple[int, ...], carry: list[np.ndarray], executor: Executor,
    *, whole: bool = True,
) -> Golden:
    """The values of a region of what ``golden`` ran.

    Args:
      outside: The values around it that are its last arguments.
      carry: Its first arguments.
      whole: Keep all its values, not only what it returns.
    """
    inputs = [*carry, *(golden.load(v) for v in outside)]
    # No op has an empty name.
    return golden_values.evaluate(steps, inputs, golden.store, executor, match=None if whole else "")


def branch(step: Step, chosen: np.ndarray) -> int:
    """The region that a branch runs when its first operand is ``chosen``."""
    if step.name == "stablehlo.if":
        return int(not chosen)
    last = len(step.op.regions) - 1
    return int(chosen) if 0 <= chosen <= last else last
