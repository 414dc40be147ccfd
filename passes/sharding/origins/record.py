"""Why a tensor lies as it does: from whom it got each axis, step by step, and what it might have got and did not.

`record` propagates with Shardy's own notes switched on: for every op, at which step which axis went from which operand
or result to which others. A chain follows them back from a tensor to an annotation.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from passes.program.entry import find_entry
from passes.program.read import Program
from passes.program.walk import operations
from passes.sharding.origins.chains import Chains
from passes.sharding.origins.layouts import Layouts
from passes.sharding.origins.marks import keep_given, mark_of, put_marks
from passes.sharding.origins.notes import Notes
from passes.sharding.propagate import PropagateOptions, propagate_noting


def record(
    program: Program,
    options: PropagateOptions | None = None,
    entry: str | None = None,
    *,
    annotated: frozenset[int] | None = None,
) -> Origins:
    """Propagates over ``program``, whose module is used up, and keeps what is needed to say why.

    Args:
      annotated: What `put_marks` returned if the ops bear marks already; what was added since bears none.

    Raises:
      UserError: see `propagate.propagate`.
    """
    function = find_entry(program, entry)
    marked = put_marks(program.module) if annotated is None else annotated
    propagate_noting(program, function, options or PropagateOptions(), keep_given)
    return Origins(program, marked)


@dataclass
class Origins:
    """A propagated module with Shardy's notes, asked for one tensor at a time.

    Attributes:
      annotated: The numbers (`marks.MARK`) of the ops that were annotated.
    """

    program: Program
    annotated: frozenset[int]

    @cached_property
    def layouts(self) -> Layouts:
        """How tensors lie."""
        return Layouts(self.program)

    @cached_property
    def notes(self) -> Notes:
        """Which step brought what where."""
        return Notes(self.layouts)

    @cached_property
    def chains(self) -> Chains:
        """How axes came to tensors."""
        return Chains(self.layouts, self.notes)

    @cached_property
    def copies(self) -> dict[int, list[Any]]:
        """For each op of the original program, the ops it became."""
        found: dict[int, list[Any]] = {}
        for op in operations(self.program.module):
            number = mark_of(op)
            if number is not None:
                found.setdefault(number, []).append(op)
        return found
