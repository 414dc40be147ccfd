"""`passes.autoshard.choose`: what a Python program calls."""

from __future__ import annotations

import math

import pytest

import passes.autoshard
from passes.errors import UserError
from passes.program import read
from tests.autoshard.plans import EXAMPLES

STEP = str(EXAMPLES / "decoder" / "train_step.mlir")


def test_the_same_call_gives_the_same_plan() -> None:
    one, other = (
        passes.autoshard.choose(program, mesh="data=2,model=4", memory=1e6, compare=False, seconds=600)
        for program in (STEP, read.read(STEP))
    )
    assert one.best.rules == other.best.rules
    assert one.fits and one.certificate == other.certificate


def test_alternatives_differ_and_come_best_first() -> None:
    found = passes.autoshard.choose(STEP, mesh="data=8", memory=math.inf, alternatives=3, compare=False)
    seconds = [c.real.estimate.seconds for c in (found.best, *found.others)]
    assert len(seconds) >= 3 and seconds == sorted(seconds)
    assert len({c.rules for c in (found.best, *found.others)}) == len(seconds)


@pytest.mark.parametrize(("said", "message"), [
    ({"objective": "beauty"}, "the objective is time, bytes or memory"),
    ({"mesh": "data"}, "--mesh takes axes with sizes"),
    ({"device": "abacus"}, "there is no device 'abacus'"),
    ({"mesh": None}, "the program has no mesh"),
])
def test_what_cannot_be_is_refused(said: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        passes.autoshard.choose(STEP, **{"mesh": "data=8", **said})  # type: ignore[arg-type]
