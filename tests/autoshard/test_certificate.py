"""Certificates: what looking at every plan gives on small programs; bounds are never above the best plan."""

from __future__ import annotations

import itertools

import pytest

from passes.autoshard.autoshard import prepare, text_of
from passes.autoshard.certificate import certify, value_of
from passes.autoshard.model import Model, Plan
from passes.autoshard.search import Found, Goal, candidates, search
from passes.cost.program_cost import cost
from passes.program import read
from passes.sharding import rules_file
from passes.sharding.annotate import annotate
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
    actions = candidates(model)
    return [p for n in range(len(actions) + 1) for p in itertools.permutations(actions, n)]


@pytest.mark.parametrize("objective", ["time", "bytes"])
@pytest.mark.parametrize("limit", [None, 3e8])
def test_small_programs_are_proven_and_equal_to_looking_at_every_plan(objective: str, limit: float | None) -> None:
    model = prepare(read.parse(LARGE), rules_file.parse_mesh("x=4"), V5E)
    goal = Goal(limit, objective)
    found = certify(model, search(model, goal)[0], goal, 600)
    assert found is not None
    prices = [model.price(p) for p in _every_plan(model)]
    least = min(value_of(goal, p) for p in prices if limit is None or p.peak <= limit)
    assert found.bound == pytest.approx(least)
    assert value_of(goal, found.best.price) == pytest.approx(least)
    assert found.gap(value_of(goal, found.best.price)) == pytest.approx(0)


def test_the_proven_plan_is_the_best_of_all_when_every_plan_is_lowered() -> None:
    model, goal = prepare(read.parse(LARGE), rules_file.parse_mesh("x=4"), V5E), Goal()
    found = certify(model, search(model, goal)[0], goal, 600)
    assert found is not None

    def lowered(plan: Plan) -> float:
        program = read.parse(LARGE)
        annotate(program, rules_file.parse(text_of(model, Found(plan, model.price(plan)), program)))
        return cost(program, V5E).estimate.seconds

    by_layout = {text_of(model, Found(p, model.price(p)), read.parse(LARGE)): p for p in _every_plan(model)}
    assert lowered(found.best.plan) == pytest.approx(min(map(lowered, by_layout.values())))


def test_a_bound_is_never_above_the_best_plan_known() -> None:
    model = example("decoder/train_step").model
    goal = Goal(1e6)
    worst = Found((), model.price(()))
    found = certify(model, worst, goal, 1.0)
    assert found is not None
    assert 0 < found.bound <= search(model, goal)[0].price.seconds * (1 + 1e-9)


def test_memory_has_no_certificate() -> None:
    model = example("decoder/train_step").model
    goal = Goal(objective="memory")
    assert certify(model, search(model, goal)[0], goal) is None
