"""The answer is no worse than the usual plans, computes the same on 8 devices, and survives its rules file."""

from __future__ import annotations

from functools import cache

import pytest

from passes.autoshard.autoshard import Outcome, choose
from passes.autoshard.lowering import Lowering, text_of
from passes.autoshard.search import TIE, Found, Goal, search
from passes.errors import UserError
from passes.execute.verify import verify
from passes.partition.partition import partition
from passes.program import read, write
from passes.program.entry import arguments, find_entry, results
from passes.sharding import rules_file
from passes.sharding.annotate import annotate
from tests.autoshard.plans import MESH, V5E, example
from tests.autoshard.test_model import GIVEN

# Limits under which something has to be split.
PROGRAMS = [
    ("decoder/train_step", 1e6), ("gpt/train_step", 6e5), ("lm_head/train_step", 1e6), ("moe/train_step", 2e6),
    ("scan_layers/train_step", 2e6),
]


@cache
def _chosen(name: str, limit: float) -> Outcome:
    return choose(example(name).program(), MESH, V5E, Goal(limit), lowered=2)


@pytest.mark.parametrize(("name", "limit"), PROGRAMS)
def test_the_answer_fits_and_is_no_slower_than_any_usual_plan_that_does(name: str, limit: float) -> None:
    outcome = _chosen(name, limit)
    best = outcome.best.real.estimate
    assert best.memory.peak <= limit
    fitting = [p.real.estimate.seconds for p in outcome.presets if p.real.estimate.memory.peak <= limit]
    assert all(best.seconds <= seconds for seconds in fitting)


@pytest.mark.parametrize(("name", "limit"), PROGRAMS)
def test_the_answer_computes_the_same_on_8_devices(name: str, limit: float) -> None:
    original, program = example(name).program(), example(name).program()
    annotate(program, rules_file.parse(_chosen(name, limit).best.rules))
    report = partition(program)
    assert verify(original, program, report.side_table).ok
    assert report.traffic


# Lowered programs take more than the model says of what it finds first, or less than it says any plan takes.
@pytest.mark.parametrize(("name", "limit"), [
    ("gpt/train_step", 6e5), ("scan_layers/train_step", 1e6), ("scan_layers/train_step", 2e6),
    ("decoder/train_step", 5.2e5),
])
def test_what_counts_for_the_limit_is_what_the_lowered_program_takes(name: str, limit: float) -> None:
    found, goal = example(name), Goal(limit)
    program = found.program()
    said = search(found.model, goal)
    [first] = Lowering(found.model, write.to_bytecode(program.module), program, 1).lower(said, 1, goal)
    assert (said[0].price.peak <= limit) != (first.lowered.peak <= limit)
    outcome = choose(program, MESH, V5E, goal, lowered=1, compare=False, certify_seconds=0)
    assert outcome.fits and outcome.goal == goal
    assert outcome.best.lowered.peak <= limit


def test_nothing_is_certain_where_the_model_says_that_nothing_fits() -> None:
    outcome = choose(
        example("decoder/train_step").program(), MESH, V5E, Goal(5.2e5), lowered=1, compare=False, certify_seconds=1
    )
    assert outcome.fits and outcome.certificate is None


@pytest.mark.parametrize(("name", "limit"), PROGRAMS[:3])
def test_of_plans_that_are_equal_the_sparing_and_the_simple_one_are_lowered(name: str, limit: float) -> None:
    found, goal = search(example(name).model, Goal(limit)), Goal(limit)
    equal = [f for f in found if goal.fits(f.price) and f.price.seconds <= (1 + TIE) * found[0].price.seconds]
    outcome = choose(
        example(name).program(), MESH, V5E, goal, lowered=2, alternatives=True, compare=False, certify_seconds=0
    )
    lowered = [outcome.best, *outcome.others]
    assert min(f.price.sent for f in equal) in [c.price.sent for c in lowered if c.price]
    assert min(len(f.plan) for f in equal) in [len(c.plan) for c in lowered]


def test_weights_stored_in_shards_compute_the_same_on_8_devices() -> None:
    found = example("decoder/train_step")
    plan = found.plan("x.0 data", "x.0 model", "x.2 data", "x.2 model")
    original, program = found.program(), found.program()
    text = text_of(found.model, Found(plan, found.model.price(plan)), program)
    assert ':p1"' in text
    annotate(program, rules_file.parse(text))
    report = partition(program)
    assert {"all_gather", "reduce_scatter"} <= {t.kind for t in report.traffic}
    assert verify(original, program, report.side_table).ok


def test_the_rules_file_says_how_everything_lies() -> None:
    outcome = _chosen("decoder/train_step", 1e6)
    program = example("decoder/train_step").program()
    report = annotate(program, rules_file.parse(outcome.best.rules))
    function = find_entry(program)
    assert len(report.arguments) == len(arguments(function))
    assert len(report.results) == len(results(function))
    model, plan = outcome.model, outcome.best.plan
    for annotated, number in zip(report.arguments, model.dimensions.graph.entry.arguments, strict=True):
        layout = model.layout(model.class_of[number], plan)
        assert [[a.name for a in axes] for axes in annotated.sharding.dims] == [
            [MESH.axes[a][0] for a in axes] for axes in layout
        ]


def test_annotations_of_the_user_stay() -> None:
    outcome = choose(read.parse(GIVEN), None, V5E, Goal(), lowered=1)
    assert not outcome.presets and not outcome.refused
    program = read.parse(GIVEN)
    annotate(program, rules_file.parse(outcome.best.rules))
    _, w = arguments(find_entry(program))
    assert str(w.attributes["sdy.sharding"]) == '#sdy.sharding<@mesh, [{}, {"model"}]>'


@pytest.mark.parametrize(("text", "mesh", "message"), [
    (GIVEN, "data=8", "annotated for the mesh"),
    (GIVEN.replace('{"model"}', '{"model":(1)2}'), "data=2,model=4", "part of an axis"),
    (GIVEN.replace("sdy.mesh", 'sdy.mesh @other = <["x"=8]>\nsdy.mesh', 1), "data=2,model=4", "several meshes"),
])
def test_annotations_that_cannot_be_kept_are_refused(text: str, mesh: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        choose(read.parse(text), rules_file.parse_mesh(mesh), V5E, Goal(), lowered=1)
