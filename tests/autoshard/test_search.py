"""The search: the same answer every time, within the limit, and as good as looking at everything on small programs."""

from __future__ import annotations

import itertools
from random import Random

from passes.autoshard.autoshard import choose
from passes.autoshard.plans import Price
from passes.autoshard.search import _PER_AXIS, Goal, search
from passes.execute.verify import verify
from passes.partition.partition import partition
from passes.program import read
from passes.sharding import rules_file
from passes.sharding.annotate import annotate
from tests.autoshard.plans import MESH, V5E, example


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


def test_a_plan_priced_from_another_costs_the_same() -> None:
    model, random = example("decoder/train_step").model, Random(0)
    for _ in range(40):
        plan = tuple(random.sample(model.actions, 4))
        other = random.choice([action for action in model.actions if action not in plan])
        near, colours = (*plan[1:3], other, plan[3]), (plan[0][0], other[0])
        assert model.total(model.rows(plan, model.rows(near), colours)) == model.price(plan)


SIZES = [64 * n for n in range(8, 20)]


def _unlike_layers() -> str:
    """Layers of which no two have one size: each has dimensions of its own."""
    weights = [f"%w{i}: tensor<{rows}x{columns}xf32>" for i, (rows, columns) in enumerate(itertools.pairwise(SIZES))]
    lines = [
        f"%{i + 1} = stablehlo.dot %{i}, %w{i} : (tensor<64x{rows}xf32>, tensor<{rows}x{columns}xf32>) "
        f"-> tensor<64x{columns}xf32>"
        for i, (rows, columns) in enumerate(itertools.pairwise(SIZES))
    ]
    results = f"tensor<64x{SIZES[-1]}xf32>"
    head = f"func.func @main(%0: tensor<64x{SIZES[0]}xf32>, {', '.join(weights)}) -> {results} {{"
    return "\n".join([head, *lines, f"return %{len(lines)} : {results}", "}"]).replace("%", "%v")


def test_layers_that_have_nothing_in_common_are_all_split() -> None:
    text = _unlike_layers()
    weights = sum(4 * rows * columns for rows, columns in itertools.pairwise(SIZES))
    limit = 1.5 * weights / 8 + 2 * 64 * 4 * max(SIZES)
    outcome = choose(read.parse(text), MESH, V5E, Goal(limit), compare=False, certify_seconds=0)
    assert outcome.fits and outcome.goal.objective == "time"
    assert len(outcome.best.plan) > 2 * _PER_AXIS
    original, program = read.parse(text), read.parse(text)
    annotate(program, rules_file.parse(outcome.best.rules))
    report = partition(program)
    assert verify(original, program, report.side_table).ok


def test_what_changes_nothing_is_not_in_the_answer() -> None:
    model = example("decoder/train_step").model
    for goal in (Goal(), Goal(7e5)):
        plan = search(model, goal)[0].plan
        shorter = [(*plan[:at], *plan[at + 1 :]) for at in range(len(plan))]
        assert model.price(plan) not in [model.price(other) for other in shorter]


def test_the_limit_comes_before_the_objective() -> None:
    model = example("decoder/train_step").model
    free, tight = search(model, Goal()), search(model, Goal(7e5))
    assert free[0].price.peak > 7e5
    assert tight[0].price.peak <= 7e5
    assert tight[0].price.seconds >= free[0].price.seconds


def test_of_plans_that_take_the_same_time_that_of_fewest_bytes_is_preferred() -> None:
    prices = [_price(1.0, 9.0), _price(1.005, 5.0, peak=7.0), _price(1.009, 6.0), _price(1.02, 1.0)]
    for goal, chosen in (
        (Goal(), 1), (Goal(6.0), 2), (Goal(0.5), 0), (Goal(objective="bytes"), 0), (Goal(objective="memory"), 0),
    ):
        assert goal.sparing(prices, lambda price: price) == prices[chosen]


def _price(seconds: float, sent: float, peak: float = 1.0) -> Price:
    return Price(seconds, seconds, sent, peak, 0.0)


def test_objectives_are_met() -> None:
    model = example("decoder/train_step").model
    found = {objective: search(model, Goal(objective=objective))[0].price for objective in ("time", "bytes", "memory")}
    assert found["bytes"].sent == 0
    assert found["time"].seconds == min(p.seconds for p in found.values())
    assert found["memory"].peak == min(p.peak for p in found.values())
