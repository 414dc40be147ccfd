"""How much better than a plan any plan could be: branch and bound over plans, with bounds that no plan falls below.

A plan's price is a sum over classes of ops and values, each of which only some actions change. What a class costs at
least, however a plan goes on, is found by trying all that can still happen to it alone; the sum over classes is a bound
for all plans that begin so. Plans are extended one action at a time, the one with the lowest bound first; when that
bound reaches the price of a plan, the plan is optimal. Where time runs out before, the lowest bound is what is certain.

Bounds know nothing of memory: with a limit that forbids the fastest plans, they are further below.
"""

from __future__ import annotations

import heapq
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

from passes.autoshard.model import Action, Model, Part, Plan, Price
from passes.autoshard.search import Found, Goal, candidates

# How many states of one class are looked at; beyond these, only its work over all devices bounds it.
_STATES = 100


@dataclass(frozen=True)
class Certificate:
    """What is certain about the best plan there is, in the model's units.

    Attributes:
      bound: No plan has less of the objective.
      best: The best plan known, which may be a better one than that which was given.
      nodes: How many beginnings of plans were looked at.
    """

    bound: float
    best: Found
    nodes: int

    def gap(self, value: float) -> float:
        """By what part of the bound ``value`` is above it."""
        return max(0.0, value / self.bound - 1) if self.bound else math.inf if value else 0.0


def certify(model: Model, best: Found, goal: Goal, seconds: float = 10.0) -> Certificate | None:
    """How good ``best`` is for ``goal`` after ``seconds`` of looking at others; ``None`` for an objective of memory.

    All plans of `candidates` count, which are those that the search knows.
    """
    if goal.objective == "memory":
        return None
    return _Tree(model, best, goal).run(time.monotonic() + seconds)


class _Bound:
    """What one part of the price is at least."""

    def __init__(self, part: Part, which: int, actions: list[Action]) -> None:
        self.part, self.which = part, which
        self.actions = [a for a in actions if a[0] in part.colours]
        self.least: dict[object, float] = {}
        self.known: dict[Plan, tuple[float, float]] = {}

    def of(self, own: Plan) -> tuple[float, float]:
        """The price of ``own``, the actions of a plan that matter here, and of whatever follows it the least."""
        if own not in self.known:
            price = self.part.price(own)[self.which]
            self.known[own] = price, min(price, self._least(own))
        return self.known[own]

    def _least(self, own: Plan) -> float:
        """The least price of all states that can be reached from that of ``own``; the floor once they are too many."""
        state = self.part.state(own)
        if state not in self.least:
            if len(self.least) > _STATES:
                return self.part.floor[self.which]
            self.least[state] = self.part.price(own)[self.which]
            further = [(*own, action) for action in self.actions if action not in own]
            changed = [plan for plan in further if self.part.state(plan) != state]
            self.least[state] = min([self.least[state], *map(self._least, changed)])
        return self.least[state]


class _Tree:
    def __init__(self, model: Model, best: Found, goal: Goal) -> None:
        self.model, self.goal, self.best = model, goal, best
        self.which = 0 if goal.objective == "time" else 1
        self.actions = candidates(model)
        self.bounds = [_Bound(part, self.which, self.actions) for part in model.parts()]
        self.touched = {
            c: [i for i, b in enumerate(self.bounds) if c in b.part.colours] for c in {c for c, _ in self.actions}
        }
        self.meeting = {
            (c, other) for b in self.bounds for c in b.part.colours for other in b.part.colours if c in self.touched
        }

    def run(self, until: float) -> Certificate:
        at = [bound.of(()) for bound in self.bounds]
        prices, leasts = [price for price, _ in at], [least for _, least in at]
        waiting: list[tuple[float, Plan, list[float], list[float]]] = [(sum(leasts), (), prices, leasts)]
        nodes = 0
        while waiting and waiting[0][0] < self._value() * (1 - 1e-9):
            if time.monotonic() > until:
                return Certificate(waiting[0][0], self.best, nodes)
            _, plan, prices, leasts = heapq.heappop(waiting)
            nodes += 1
            for longer in self._extensions(plan):
                grown, floor = list(prices), list(leasts)
                for i in self.touched[longer[-1][0]]:
                    own = tuple([a for a in longer if a[0] in self.bounds[i].part.colours])
                    grown[i], floor[i] = self.bounds[i].of(own)
                self._consider(longer, sum(grown))
                if (least := sum(floor)) < self._value():
                    heapq.heappush(waiting, (least, longer, grown, floor))
        return Certificate(self._value(), self.best, nodes)

    def _extensions(self, plan: Plan) -> Iterator[Plan]:
        """``plan`` and one action more; of plans that differ in the order of actions that ignore each other one."""
        for action in self.actions:
            if action not in plan and self._ordered(plan, action):
                yield (*plan, action)

    def _ordered(self, plan: Plan, action: Action) -> bool:
        for before in reversed(plan):
            if before[0] == action[0] or (before[1] == action[1] and (before[0], action[0]) in self.meeting):
                return True
            if before > action:
                return False
        return True

    def _consider(self, plan: Plan, value: float) -> None:
        if value < self._value():
            price = self.model.price(plan)
            if self.goal.limit is None or price.peak <= self.goal.limit:
                self.best = Found(plan, price)

    def _value(self) -> float:
        return value_of(self.goal, self.best.price) if self._fits() else math.inf

    def _fits(self) -> bool:
        return self.goal.limit is None or self.best.price.peak <= self.goal.limit


def value_of(goal: Goal, price: Price) -> float:
    """The objective of ``goal``, time or bytes."""
    return price.seconds if goal.objective == "time" else price.sent
