"""The rewrite rules of ``simplify``, by subject; one entry a rule, with the reason why it keeps every bit."""

from __future__ import annotations

from passes.optimize.rewriting import Rule
from passes.optimize.rules import (
    arithmetic,
    control_flow,
    conversions,
    elementwise,
    folding,
    reductions,
    selection,
    shapes,
    slices,
)

# In the order in which they are tried on an op.
RULES: tuple[Rule, ...] = (
    *control_flow.RULES,
    *folding.RULES,
    *arithmetic.RULES,
    *conversions.RULES,
    *selection.RULES,
    *shapes.RULES,
    *slices.RULES,
    *reductions.RULES,
    *elementwise.RULES,
)
