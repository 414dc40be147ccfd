"""The search: the same answer every time, within the limit, and as good as looking at everything on small programs."""

from __future__ import annotations

import itertools

from passes.autoshard.search import Goal, search
from tests.autoshard.plans import example


def test_the_same_search_finds_the_same() -> None:
    model = example("decoder/train_step").model
    one, other = (search(model, Goal(1e6, seconds=600)) for _ in range(2))
    assert one == other


def test_every_plan_of_up_to_two_actions_is_no_better() -> None:
    model = example("decoder/train_step").model
    for goal in (Goal(), Goal(1e6), Goal(objective="memory"), Goal(objective="bytes")):
        best = goal.rank(search(model, goal)[0].price)
        plans = [p for n in range(3) for p in itertools.permutations(model.actions, n)]
        assert best <= min(goal.rank(model.price(p)) for p in plans)


def test_the_limit_comes_before_the_objective() -> None:
    model = example("decoder/train_step").model
    free, tight = search(model, Goal()), search(model, Goal(7e5))
    assert free[0].price.peak > 7e5
    assert tight[0].price.peak <= 7e5
    assert tight[0].price.seconds >= free[0].price.seconds


def test_objectives_are_met() -> None:
    model = example("decoder/train_step").model
    found = {objective: search(model, Goal(objective=objective))[0].price for objective in ("time", "bytes", "memory")}
    assert found["bytes"].sent == 0
    assert found["time"].seconds == min(p.seconds for p in found.values())
    assert found["memory"].peak == min(p.peak for p in found.values())
