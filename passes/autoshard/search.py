"""Finds the plan of least cost: a beam over lists of actions, then changes to the best ones until none helps.

Deterministic: the same program, mesh and limits give the same plan, unless the time runs out.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from passes.autoshard.model import Model
from passes.autoshard.plans import Action, Plan, Price

_WIDTH = 6
# Actions of one axis: batch, weights, a colour that only some ops have, ...; more than these never paid.
_PER_AXIS = 4


@dataclass(frozen=True)
class Goal:
    """What to look for.

    Attributes:
      limit: Bytes of memory that a plan may take; ``None`` for any.
      objective: ``time``, ``bytes`` (sent) or ``memory``.
      seconds: When to stop.
    """

    limit: float | None = None
    objective: str = "time"
    seconds: float = 20.0

    def rank(self, price: Price) -> tuple[float, ...]:
        """What is compared: what does not fit first, then the objective, then the others."""
        excess = max(0.0, price.peak - self.limit) if self.limit is not None else 0.0
        values = {"time": price.seconds, "bytes": price.sent, "memory": price.peak}
        return (excess, values[self.objective], price.seconds, price.sent, price.peak)


@dataclass(frozen=True)
class Found:
    """A plan with its price."""

    plan: Plan
    price: Price


def search(model: Model, goal: Goal) -> list[Found]:
    """The plans found, best first; the first is the answer."""
    until = time.monotonic() + goal.seconds
    actions = model.actions
    known: dict[Plan, Price] = {}

    def price(plan: Plan) -> Price:
        if plan not in known:
            known[plan] = model.price(plan)
        return known[plan]

    def best(plans: Iterator[Plan] | set[Plan], count: int) -> list[Plan]:
        return sorted(plans, key=lambda p: (*goal.rank(price(p)), p))[:count]

    beam: list[Plan] = [()]
    price(())
    for _ in range(_PER_AXIS * len(model.axis_sizes)):
        wider = {grown for plan in beam for grown in _grown(plan, actions)} | set(beam)
        # Those that take least memory stay too: what does not fit yet may after the next action.
        chosen = best(wider, _WIDTH)
        chosen += sorted(wider, key=lambda p: (price(p).peak, *goal.rank(price(p)), p))[:2]
        chosen = list(dict.fromkeys(chosen))
        if chosen == beam or time.monotonic() > until:
            break
        beam = chosen
    for plan in best(set(known), 3):
        current = plan
        while time.monotonic() < until:
            better = best(set(_changed(current, actions)), 1)
            if not better or goal.rank(price(better[0])) >= goal.rank(price(current)):
                break
            current = better[0]
    ranked = best(set(known), len(known))
    return [Found(plan, known[plan]) for plan in ranked]


def _grown(plan: Plan, actions: list[Action]) -> Iterator[Plan]:
    """``plan`` with one action more, anywhere."""
    for action in actions:
        if action not in plan:
            for at in range(len(plan) + 1):
                yield (*plan[:at], action, *plan[at:])


def _changed(plan: Plan, actions: list[Action]) -> Iterator[Plan]:
    """``plan`` with an action less, more, exchanged, or two swapped."""
    yield from _grown(plan, actions)
    for at in range(len(plan)):
        rest = (*plan[:at], *plan[at + 1 :])
        yield rest
        for action in actions:
            if action not in plan:
                yield (*plan[:at], action, *plan[at + 1 :])
        for to in range(len(rest) + 1):
            if to != at:
                yield (*rest[:to], plan[at], *rest[to:])
