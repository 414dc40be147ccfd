"""Constraints inside of a program: what is emitted is what was priced, where propagation alone would do otherwise."""

from __future__ import annotations

import pytest

from passes.autoshard.lowering import pinned_text, text_of
from passes.autoshard.plans import Plan
from passes.autoshard.search import Found
from passes.cost.program_cost import cost
from passes.execute.verify import verify
from passes.partition.partition import partition
from passes.program import write
from passes.sharding import rules_file
from passes.sharding.annotate import annotate
from tests.autoshard.plans import V5E, example

BATCH = "x.0 data"
HIDDEN = "params['mlp']['up'].1"
HEADS = "params['attention']['wk'].1"

# Plans that arguments and results alone do not say: more would be sent, and be in memory.
HARD = [
    (f"{HEADS} model", "x.2 model", f"{HIDDEN} model", "x.2 data", BATCH),
    (f"{HIDDEN} data", "x.2 model", f"{HIDDEN} model", "x.0 model"),
]


def _text(actions: tuple[str, ...], pinned: bool) -> tuple[str, Plan]:
    found = example("decoder/train_step")
    plan, program = found.plan(*actions), found.program()
    said = Found(plan, found.model.price(plan))
    if not pinned:
        return text_of(found.model, said, program), plan
    return pinned_text(write.to_bytecode(program.module), program, found.model, said), plan


@pytest.mark.parametrize("actions", HARD)
def test_constraints_bring_the_lowered_program_to_what_was_said(actions: tuple[str, ...]) -> None:
    found, real = example("decoder/train_step"), []
    for pinned in (False, True):
        text, plan = _text(actions, pinned)
        program = found.program()
        annotate(program, rules_file.parse(text))
        real.append(cost(program, V5E).estimate)
    assert "[[constraints]]" in text
    plain, exact = real
    said = found.model.price(plan)
    assert exact.sent <= said.sent < plain.sent
    assert exact.memory.peak <= said.peak < plain.memory.peak


@pytest.mark.parametrize("actions", HARD)
def test_a_program_with_constraints_computes_the_same_on_8_devices(actions: tuple[str, ...]) -> None:
    original, program = (example("decoder/train_step").program() for _ in range(2))
    annotate(program, rules_file.parse(_text(actions, True)[0]))
    report = partition(program)
    assert verify(original, program, report.side_table).ok


def test_what_propagation_does_by_itself_is_not_constrained() -> None:
    plans = [(BATCH,), ("params['attention']['wk'].1 model", f"{HIDDEN} model"), (BATCH, "x.2 data")]
    assert all("[[constraints]]" not in _text(actions, True)[0] for actions in plans)
