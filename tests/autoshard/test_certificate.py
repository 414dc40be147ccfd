"""Certificates: what looking at every plan gives on small programs; bounds are never above the best plan."""

from __future__ import annotations

import itertools

import pytest

from passes.autoshard.autoshard import prepare
from passes.autoshard.certificate import certify, value_of
from passes.autoshard.model import Model
from passes.autoshard.plans import Plan
from passes.autoshard.search import Found, Goal, search
from passes.program import read
from passes.sharding import rules_file
from tests.autoshard.plans import V5E, example

# Large enough that splitting pays.
LARGE = """
func.func @main(%x: tensor<4096x2048xf32>, %up: tensor<2048x8192xf32>, %down: tensor<8192x2048xf32>)
    -> tensor<4096x2048xf32> {
  %0 = stablehlo.dot %x, %up : (tensor<4096x2048xf32>, tensor<2048x8192xf32>) -> tensor<4096x8192xf32>
  %1 = stablehlo.tanh %0 : tensor<4096x8192xf32>
  %2 = stablehlo.dot %1, %down : (tensor<4096x8192xf32>, tensor<8192x2048xf32>) -> tensor<4096x2048xf32>
  return %2 : tensor<4096x2048xf32>
}"""


def _every_plan(model: Model) -> list[Plan]:
    actions = model.actions
    return [p for n in range(len(actions) + 1) for p in itertools.permutations(actions, n)]


@pytest.mark.parametrize("objective", ["time", "bytes"])
@pytest.mark.parametrize("limit", [None, 3e8])
def test_small_programs_are_proven_and_equal_to_looking_at_every_plan(objective: str, limit: float | None) -> None:
    model = prepare(read.parse(LARGE), rules_file.parse_mesh("x=4"), V5E)
    goal = Goal(limit, objective)
    found = certify(model, search(model, goal)[0], goal, 600)
    prices = [model.price(p) for p in _every_plan(model)]
    least = min(value_of(goal, p) for p in prices if limit is None or p.peak <= limit)
    assert found.bound == pytest.approx(least)
    assert value_of(goal, found.best.price) == pytest.approx(least)
    assert found.gap(value_of(goal, found.best.price)) == pytest.approx(0)


def test_a_bound_is_never_above_the_best_plan_known() -> None:
    model = example("decoder/train_step").model
    goal = Goal(1e6)
    worst = Found((), model.price(()))
    found = certify(model, worst, goal, 1.0)
    assert 0 < found.bound <= search(model, goal)[0].price.seconds * (1 + 1e-9)


@pytest.mark.parametrize("objective", ["time", "bytes", "memory"])
def test_a_train_step_is_proven(objective: str) -> None:
    model = example("decoder/train_step").model
    goal = Goal(1e6, objective)
    found = certify(model, Found((), model.price(())), goal, 600)
    assert found.gap(value_of(goal, found.best.price)) == pytest.approx(0)
    assert goal.rank(found.best.price)[:2] <= goal.rank(search(model, goal)[0].price)[:2]
    # Lists of three actions, all of them, are no better.
    tried = [model.price(p) for p in itertools.permutations(model.actions, 3)]
    assert found.bound <= min(value_of(goal, p) for p in tried if objective == "memory" or p.peak <= 1e6) * (1 + 1e-9)


def test_a_limit_that_forbids_the_fastest_plans_is_in_the_bound() -> None:
    model = example("decoder/train_step").model
    bounds = [certify(model, Found((), model.price(())), Goal(limit), 600).bound for limit in (None, 1e6, 6e5)]
    assert bounds == sorted(bounds) and bounds[0] < bounds[2]


def test_nothing_is_proven_of_a_part_with_too_many_states(monkeypatch: pytest.MonkeyPatch) -> None:
    model, goal = example("decoder/train_step").model, Goal(1e6)
    proven = certify(model, search(model, goal)[0], goal, 600)
    monkeypatch.setattr("passes.autoshard.certificate._STATES", 20)
    partly = certify(model, proven.best, goal, 1.0)
    assert 0 < partly.bound <= proven.bound * (1 + 1e-9)
