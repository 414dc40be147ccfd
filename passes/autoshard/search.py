"""Finds the plan of least cost: a beam over lists of actions, then changes to the best ones until none helps.

In long plans, as of programs whose layers all differ, most actions have nothing to do with each other: only orders that
make a difference are looked at, and only what an action changes is priced anew.

Deterministic: the same program, mesh and limits give the same plan, unless the time runs out.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from passes.autoshard.model import Model, Rows
from passes.autoshard.plans import Action, Plan, Price
from passes.autoshard.stored import by_bytes, stored

T = TypeVar("T")

# Times that differ by no more than this part are equal, and the fewer bytes decide.
TIE = 0.01

_WIDTH = 6
# Actions of one axis: batch, weights, a colour that only some ops have, ...; more than these never paid.
_PER_AXIS = 4


@dataclass(frozen=True)
class Goal:
    """What to look for.

    Attributes:
      limit: Bytes of memory that a plan may take; ``None`` for any.
      objective: ``time``, ``bytes`` (sent) or ``memory``.
      seconds: When to stop, in CPU seconds: other processes do not change what is found.
    """

    limit: float | None = None
    objective: str = "time"
    seconds: float = 20.0

    def fits(self, price: Price) -> bool:
        """Whether it is within the limit."""
        return self.limit is None or price.peak <= self.limit

    def rank(self, price: Price) -> tuple[float, ...]:
        """What is compared: what does not fit first, then the objective, then the others."""
        excess = max(0.0, price.peak - self.limit) if self.limit is not None else 0.0
        values = {"time": price.seconds, "bytes": price.sent, "memory": price.peak}
        return (excess, values[self.objective], price.seconds, price.sent, price.peak)

    def sparing(self, ranked: Sequence[T], price: Callable[[T], Price]) -> T:
        """The first of ``ranked``, which is best first; for time, that of fewest bytes within `TIE` of the first.

        Times are estimates, and the network is shared with others.
        """
        first = price(ranked[0])
        if self.objective != "time" or not self.fits(first):
            return ranked[0]
        close = [one for one in ranked if self.fits(price(one)) and price(one).seconds <= (1 + TIE) * first.seconds]
        return min(close, key=lambda one: (price(one).sent, price(one).seconds))


@dataclass(frozen=True)
class Found:
    """A plan with its price."""

    plan: Plan
    price: Price


def search(model: Model, goal: Goal) -> list[Found]:
    """The plans found, best first; the first is the answer."""
    return _Search(model, goal).run()


# Plans that differ from another, with the colours of the actions in which they do.
_Changes = Iterator[tuple[Plan, tuple[int, ...]]]


class _Search:
    def __init__(self, model: Model, goal: Goal) -> None:
        self.model, self.goal = model, goal
        self.until = time.process_time() + goal.seconds
        self.known: dict[Plan, Price] = {plan: model.price(plan) for plan in ((), stored(model))}
        self.near: tuple[Plan, Rows] = (), model.rows(())
        meetings = {pair for part in model.parts for pair in itertools.combinations(sorted(part.colours), 2)}
        self.meetings = meetings | {(later, former) for former, later in meetings}
        self.by_bytes = by_bytes(model)

    def run(self) -> list[Found]:
        beam: list[Plan] = [()]
        for _ in range(_PER_AXIS * len(self.model.axis_sizes)):
            wider = {grown for plan in beam for grown in self.priced(plan, self.grown(plan))} | set(beam)
            chosen = self.best(wider, _WIDTH)
            # Those that take least memory stay too: what does not fit yet may after the next action.
            chosen += sorted(wider, key=lambda p: (self.known[p].peak, *self.key(p)))[:2]
            chosen = list(dict.fromkeys(chosen))
            if chosen == beam or self.is_late():
                break
            beam = chosen
            for plan in beam[:2]:
                self.completed(plan)
        for plan in self.best(self.known, 3):
            self.improved(plan)
        ranked = sorted(self.known, key=self.key)
        first = self.pruned(ranked[0])
        return [Found(plan, self.known[plan]) for plan in dict.fromkeys([first, *ranked])]

    def is_late(self) -> bool:
        return time.process_time() > self.until

    def key(self, plan: Plan) -> tuple[Any, ...]:
        """What plans are ordered by; of those with one price the shortest comes first."""
        return (*self.goal.rank(self.known[plan]), len(plan), plan)

    def best(self, plans: Iterable[Plan], count: int) -> list[Plan]:
        """The best plans of different prices."""
        chosen: dict[Price, Plan] = {}
        for plan in sorted(plans, key=self.key):
            if len(chosen) >= count:
                break
            chosen.setdefault(self.known[plan], plan)
        return list(chosen.values())

    def priced(self, plan: Plan, changes: _Changes) -> list[Plan]:
        """The plans of ``changes`` to ``plan``, all of which are known then."""
        if self.near[0] != plan:
            self.near = plan, self.model.rows(plan)
        rows, found = self.near[1], []
        for changed, colours in changes:
            if changed not in self.known:
                self.known[changed] = self.model.total(self.model.rows(changed, rows, colours))
            found.append(changed)
        return found

    def improved(self, plan: Plan) -> None:
        """Does with each action in turn what makes ``plan`` better, until nothing does."""
        before: Plan | None = None
        while plan != before:
            before = plan
            for action in self.by_bytes:
                if self.is_late():
                    return
                better = min(self.priced(plan, self.changed(plan, action)), key=self.key)
                if self.goal.rank(self.known[better]) < self.goal.rank(self.known[plan]):
                    plan = better

    def completed(self, plan: Plan) -> None:
        """Puts behind ``plan`` each action that makes it better: many layers that differ are split one by one."""
        for action in self.by_bytes:
            if action not in plan:
                [longer] = self.priced(plan, iter([((*plan, action), (action[0],))]))
                if self.goal.rank(self.known[longer]) < self.goal.rank(self.known[plan]):
                    plan = longer

    def pruned(self, plan: Plan) -> Plan:
        """``plan`` without the actions that change nothing."""
        for at in range(len(plan) - 1, -1, -1):
            [shorter] = self.priced(plan, iter([((*plan[:at], *plan[at + 1 :]), (plan[at][0],))]))
            if self.known[shorter] == self.known[plan]:
                plan = shorter
        return plan

    # -- changes -------------------------------------------------------------------------------------------------------

    def grown(self, plan: Plan) -> _Changes:
        """``plan`` with one action more, anywhere."""
        for action in self.model.actions:
            if action not in plan:
                yield from self.inserted(plan, action)

    def inserted(self, plan: Plan, action: Action) -> _Changes:
        """``action`` in each place of ``plan`` that makes a difference: before one that it can take something from."""
        for at, other in enumerate(plan):
            if self.are_rivals(action, other):
                yield (*plan[:at], action, *plan[at:]), (action[0],)
        yield (*plan, action), (action[0],)

    def are_rivals(self, one: Action, other: Action) -> bool:
        """Whether it matters which of two actions comes first."""
        if one[0] == other[0]:
            return True
        return one[1] == other[1] and (one[0], other[0]) in self.meetings

    def changed(self, plan: Plan, action: Action) -> _Changes:
        """``plan`` with ``action``, also in place of another of its colour or axis; or without it, or elsewhere."""
        if action in plan:
            at = plan.index(action)
            rest = (*plan[:at], *plan[at + 1 :])
            yield rest, (action[0],)
            yield from self.inserted(rest, action)
            return
        yield from self.inserted(plan, action)
        for at, other in enumerate(plan):
            if other[0] == action[0] or other[1] == action[1]:
                yield (*plan[:at], action, *plan[at + 1 :]), (action[0], other[0])
