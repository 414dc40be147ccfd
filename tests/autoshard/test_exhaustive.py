"""On small programs the answer costs no more than any plan there is, every one lowered."""

from __future__ import annotations

import functools
import itertools
import math

import pytest

from passes.autoshard.autoshard import choose, prepare
from passes.autoshard.lowering import text_of
from passes.autoshard.model import Model
from passes.autoshard.plans import Plan, about
from passes.autoshard.search import TIE, Found, Goal
from passes.cost.estimate import Estimate
from passes.cost.program_cost import cost
from passes.program import read
from passes.sharding import rules_file
from passes.sharding.annotate import annotate
from tests.autoshard.plans import V5E
from tests.autoshard.test_certificate import LARGE

ATTENTION = """
func.func @main(%x: tensor<4x1024x1024xf32>, %wq: tensor<1024x512xf32>, %wo: tensor<512x1024xf32>)
    -> tensor<4x1024x1024xf32> {
  %q = stablehlo.dot_general %x, %wq, contracting_dims = [2] x [0]
    : (tensor<4x1024x1024xf32>, tensor<1024x512xf32>) -> tensor<4x1024x512xf32>
  %scores = stablehlo.dot_general %q, %q, batching_dims = [0] x [0], contracting_dims = [2] x [2]
    : (tensor<4x1024x512xf32>, tensor<4x1024x512xf32>) -> tensor<4x1024x1024xf32>
  %weights = stablehlo.tanh %scores : tensor<4x1024x1024xf32>
  %out = stablehlo.dot_general %weights, %q, batching_dims = [0] x [0], contracting_dims = [2] x [1]
    : (tensor<4x1024x1024xf32>, tensor<4x1024x512xf32>) -> tensor<4x1024x512xf32>
  %y = stablehlo.dot_general %out, %wo, contracting_dims = [2] x [0]
    : (tensor<4x1024x512xf32>, tensor<512x1024xf32>) -> tensor<4x1024x1024xf32>
  return %y : tensor<4x1024x1024xf32>
}"""

EXPERTS = """
func.func @main(%x: tensor<1024x512xf32>, %route: tensor<512x8xf32>, %up: tensor<8x512x1024xf32>)
    -> tensor<1024x1024xf32> {
  %0 = stablehlo.dot %x, %route : (tensor<1024x512xf32>, tensor<512x8xf32>) -> tensor<1024x8xf32>
  %1 = stablehlo.logistic %0 : tensor<1024x8xf32>
  %2 = stablehlo.dot_general %x, %up, contracting_dims = [1] x [1]
    : (tensor<1024x512xf32>, tensor<8x512x1024xf32>) -> tensor<1024x8x1024xf32>
  %3 = stablehlo.dot_general %1, %2, batching_dims = [0] x [0], contracting_dims = [1] x [1]
    : (tensor<1024x8xf32>, tensor<1024x8x1024xf32>) -> tensor<1024x1024xf32>
  return %3 : tensor<1024x1024xf32>
}"""

CONVOLUTION = """
func.func @main(%x: tensor<8x64x64x64xf32>, %k: tensor<3x3x64x256xf32>, %head: tensor<256x64xf32>)
    -> tensor<8x64x64x64xf32> {
  %0 = stablehlo.convolution(%x, %k) dim_numbers = [b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f],
    window = {pad = [[1, 1], [1, 1]]} {batch_group_count = 1 : i64, feature_group_count = 1 : i64}
    : (tensor<8x64x64x64xf32>, tensor<3x3x64x256xf32>) -> tensor<8x64x64x256xf32>
  %1 = stablehlo.tanh %0 : tensor<8x64x64x256xf32>
  %2 = stablehlo.dot_general %1, %head, contracting_dims = [3] x [0]
    : (tensor<8x64x64x256xf32>, tensor<256x64xf32>) -> tensor<8x64x64x64xf32>
  return %2 : tensor<8x64x64x64xf32>
}"""

MESH = rules_file.parse_mesh("x=4")
PROGRAMS = {"mlp": LARGE, "attention": ATTENTION, "experts": EXPERTS, "convolution": CONVOLUTION}


def _every_plan(model: Model) -> list[Plan]:
    """One plan for each way in which the program can be split."""
    found = {}
    for n in range(len(model.actions) + 1):
        for plan in itertools.permutations(model.actions, n):
            found.setdefault(tuple([model.state(p, about(plan, p.colours)) for p in model.parts]), plan)
    return list(found.values())


@functools.cache
def _lowered(name: str) -> list[Estimate]:
    """What every plan costs when it is lowered."""
    text = PROGRAMS[name]
    model, found = prepare(read.parse(text), MESH, V5E), []
    assert len(model.actions) <= 12
    for plan in _every_plan(model):
        program = read.parse(text)
        annotate(program, rules_file.parse(text_of(model, Found(plan, model.price(plan)), program)))
        found.append(cost(program, V5E).estimate)
    return found


@pytest.mark.parametrize("limited", [False, True])
@pytest.mark.parametrize("name", PROGRAMS)
def test_the_answer_costs_no_more_than_any_plan_lowered(name: str, limited: bool) -> None:
    lowered = _lowered(name)
    assert len(lowered) > 4
    # Between what the fastest takes and the least that any takes.
    fastest, least = min(lowered, key=lambda e: e.seconds), min(e.memory.peak for e in lowered)
    limit = (fastest.memory.peak + least) / 2 if limited else math.inf
    outcome = choose(read.parse(PROGRAMS[name]), MESH, V5E, Goal(limit), compare=False, certify_seconds=600)
    assert outcome.fits and outcome.certificate is not None
    within = min(e.seconds for e in lowered if e.memory.peak <= limit)
    assert outcome.best.real.estimate.seconds <= within * (1 + TIE)
    no_slower = [e.sent for e in lowered if e.memory.peak <= limit and e.seconds <= within * (1 + 1e-9)]
    assert outcome.best.real.estimate.sent <= min(no_slower)
