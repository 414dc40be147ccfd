"""How much better than a plan any plan could be: branch and bound over plans, with bounds that no plan falls below.

A plan's price is a sum over parts of the program, each of which only some actions change (`model.Part`). What a part
costs at least, however a plan goes on, is found by trying all that can still happen to it alone; the sum over parts is
a bound for all plans that begin so. Plans are extended one action at a time, the one with the lowest bound first; when
that bound reaches the price of a plan, the plan is optimal. Where time runs out before, the lowest bound is certain.

A memory limit is in the bound in two ways. A beginning whose least memory is above it is given up. And memory has a
price: what is above the limit at one moment of the run, times any factor, may be added to the objective without raising
it for plans that fit, so that a part is looked at with its memory in the objective. The factor that lifts the bound
most is looked for at the start.
"""

from __future__ import annotations

import heapq
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from passes.autoshard.model import Model, Share
from passes.autoshard.plans import Action, Plan, Price, about
from passes.autoshard.search import Found, Goal

# How many states of one part are looked at; beyond these, only its work over all devices bounds it.
_STATES = 2000
# At how many moments memory is looked at; twice.
_MOMENTS = 24
# How often the price of memory is changed at the start.
_STEPS = 24


@dataclass(frozen=True)
class Certificate:
    """What is certain about the best plan there is, in the model's units.

    Attributes:
      bound: No plan within the limit has less of the objective.
      best: The best plan known, which may be a better one than that which was given.
      nodes: How many beginnings of plans were looked at.
    """

    bound: float
    best: Found
    nodes: int

    def gap(self, value: float) -> float:
        """By what part of the bound ``value`` is above it."""
        return max(0.0, value / self.bound - 1) if self.bound else math.inf if value else 0.0


def certify(model: Model, best: Found, goal: Goal, seconds: float = 10.0) -> Certificate:
    """How good ``best`` is for ``goal`` after ``seconds`` of CPU time in which others were looked at.

    All lists of the model's actions count, which are what the search knows.
    """
    return _Tree(model, best, goal).run(time.process_time() + seconds)


def value_of(goal: Goal, price: Price) -> float:
    """The objective of ``goal``."""
    return {"time": price.seconds, "bytes": price.sent, "memory": price.peak}[goal.objective]


# Figures of a part in one state: the objective (none for memory), then bytes at each of some moments.
_Figures = NDArray[np.float64]


class _States:
    """All states that one part can be in, what it costs there, and what follows.

    Attributes:
      complete: Whether these are all; else only ``floor`` is known.
      exact: For each state its figures.
      least: For each state the least of each figure in it and in all that can follow.
      after: For each state the one that an action leads to, for those that change it.
    """

    def __init__(self, model: Model, number: int, objective: str, moments: NDArray[np.int64]) -> None:
        self.model, self.number, self.objective, self.moments = model, number, objective, moments
        self.part = model.parts[number]
        self.actions = [a for a in model.actions if a[0] in self.part.colours]
        self.after: list[dict[Action, int]] = []
        self.plans: list[Plan] = []
        self.complete = self._explore()
        whole = self._figures(())
        self.floor = whole / math.prod(model.axis_sizes)
        self.floor[0] = self.part.floor if objective == "time" else 0.0
        self.exact = np.array([self._figures(plan) for plan in self.plans]) if self.complete else whole[None]
        self.least = self.lowest(self.exact) if self.complete else self.floor[None]

    def _explore(self) -> bool:
        numbers = {self.model.state(self.part, ()): 0}
        self.plans = [()]
        for plan in self.plans:
            following: dict[Action, int] = {}
            for action in self.actions:
                state = self.model.state(self.part, (*plan, action))
                if state not in numbers:
                    if len(numbers) >= _STATES:
                        return False
                    numbers[state] = len(numbers)
                    self.plans.append((*plan, action))
                if numbers[state] != numbers[self.model.state(self.part, plan)]:
                    following[action] = numbers[state]
            self.after.append(following)
        return True

    def _figures(self, plan: Plan) -> _Figures:
        share: Share = self.model.share(self.number, plan)
        value = {"time": share.seconds, "bytes": share.sent, "memory": 0.0}[self.objective]
        return np.concatenate([[value], share.arguments + share.alive[self.moments]])

    def lowest(self, exact: _Figures) -> _Figures:
        """For each state the least of ``exact`` there and in all that can follow."""
        found = exact.copy()
        # Most states are met before those that follow them, so from behind few rounds are needed.
        changed = True
        while changed:
            changed = False
            for state in range(len(found) - 1, -1, -1):
                if self.after[state]:
                    lower = np.minimum(found[state], found[list(self.after[state].values())].min(axis=0))
                    if (lower < found[state]).any():
                        found[state], changed = lower, True
        return found


@dataclass(frozen=True, order=True)
class _Node:
    """A beginning of plans: its bound, its actions, and the state of each part."""

    bound: float
    plan: Plan
    states: tuple[int, ...]


class _Tree:
    def __init__(self, model: Model, best: Found, goal: Goal) -> None:
        self.model, self.goal, self.best = model, goal, best
        self.limit = goal.limit if goal.objective != "memory" and goal.limit is not None else math.inf
        moments = _moments(model, best)
        self.parts = [_States(model, n, goal.objective, moments) for n in range(len(model.parts))]
        self.touched = {
            c: [i for i, s in enumerate(self.parts) if c in s.part.colours and s.complete]
            for c in {c for c, _ in model.actions}
        }
        self.weights = self._weights(len(moments)) if self.limit < math.inf else np.zeros(len(moments))
        weighted = np.concatenate([[1.0], self.weights])
        self.offset = self.limit * float(self.weights.sum()) if self.weights.any() else 0.0
        # The least of the objective with memory in it.
        self.priced = [
            s.lowest((s.exact @ weighted)[:, None])[:, 0] if s.complete else s.least @ weighted for s in self.parts
        ]

    def run(self, until: float) -> Certificate:
        root = tuple([0] * len(self.parts))
        self._consider((), root)
        waiting = [_Node(self._bound(root), (), root)]
        met = {root}
        nodes = 0
        while waiting and waiting[0].bound < self._value() * (1 - 1e-9):
            if time.process_time() > until:
                return Certificate(waiting[0].bound, self.best, nodes)
            node = heapq.heappop(waiting)
            nodes += 1
            for action, states in self._extensions(node):
                if states in met:
                    continue
                met.add(states)
                plan = (*node.plan, action)
                bound = self._bound(states)
                if bound < self._value():
                    self._consider(plan, states)
                    heapq.heappush(waiting, _Node(bound, plan, states))
        return Certificate(min(self._value(), waiting[0].bound) if waiting else self._value(), self.best, nodes)

    def _extensions(self, node: _Node) -> Iterator[tuple[Action, tuple[int, ...]]]:
        for action in self.model.actions:
            if action not in node.plan:
                states = list(node.states)
                for i in self.touched[action[0]]:
                    states[i] = self.parts[i].after[states[i]].get(action, states[i])
                yield action, tuple(states)

    def _bound(self, states: tuple[int, ...]) -> float:
        """What no plan that begins so falls below; infinite if none fits."""
        least = np.sum([part.least[state] for part, state in zip(self.parts, states, strict=True)], axis=0)
        memory = float(least[1:].max())
        if self.goal.objective == "memory":
            return memory
        if memory > self.limit * (1 + 1e-9):
            return math.inf
        priced = sum(float(found[state]) for found, state in zip(self.priced, states, strict=True))
        return max(float(least[0]), priced - self.offset)

    def _consider(self, plan: Plan, states: tuple[int, ...]) -> None:
        exact = sum(
            float((part.exact if part.complete else part.least)[state, 0])
            for part, state in zip(self.parts, states, strict=True)
        )
        if exact < self._value():
            price = self.model.price(plan)
            if value_of(self.goal, price) < self._value() and price.peak <= self.limit:
                self.best = Found(plan, price)

    def _value(self) -> float:
        return value_of(self.goal, self.best.price) if self.best.price.peak <= self.limit else math.inf

    def _weights(self, count: int) -> NDArray[np.float64]:
        """The price of a byte at each moment that lifts the bound at the start most: subgradient steps."""
        best, found = -math.inf, np.zeros(count)
        weights = np.zeros(count)
        target = self._value()
        for _ in range(_STEPS):
            bound, above = self._relaxed(weights)
            if bound > best:
                best, found = bound, weights
            length = float(above @ above)
            if not length or bound >= target:
                break
            goal = target if target < math.inf else 1.5 * bound + 1e-12
            weights = np.maximum(0.0, weights + (goal - bound) / length * above)
        return found

    def _relaxed(self, weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """The bound at the start if memory has a price, and by how much memory is above the limit then."""
        chosen = [
            (part.exact if part.complete else part.least)[
                int(np.argmin((part.exact if part.complete else part.least) @ np.concatenate([[1.0], weights])))
            ]
            for part in self.parts
        ]
        total = np.sum(chosen, axis=0)
        above = total[1:] - self.limit
        return float(total[0] + weights @ above), above


def _moments(model: Model, best: Found) -> NDArray[np.int64]:
    """Where most is in memory under ``best``, and under no plan."""
    found: set[int] = set()
    for plan in (best.plan, ()):
        shares = [model.share(n, about(plan, part.colours)) for n, part in enumerate(model.parts)]
        alive = np.sum([share.alive for share in shares], axis=0)
        found.update(np.argsort(-alive, kind="stable")[:_MOMENTS].tolist())
    return np.array(sorted(found), dtype=np.int64)
