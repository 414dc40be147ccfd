"""What is made while nothing is collected is not looked at right afterwards either."""

from __future__ import annotations

import gc

from passes.pipeline.collection import uncollected


def test_what_the_body_made_counts_as_old_at_once() -> None:
    with uncollected():
        assert not gc.isenabled()
        made = [[] for _ in range(10_000)]
        collections = gc.get_stats()[0]["collections"]
    found = [[]]
    assert gc.isenabled()
    assert gc.get_stats()[0]["collections"] == collections and not gc.get_freeze_count()
    assert not any(young is made for young in gc.get_objects(generation=0)) and found


def test_a_collector_that_was_off_stays_off_and_what_is_frozen_stays_frozen() -> None:
    gc.disable()
    try:
        with uncollected():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
    gc.freeze()
    try:
        frozen = gc.get_freeze_count()
        with uncollected():
            pass
        assert gc.get_freeze_count() >= frozen > 0
    finally:
        gc.unfreeze()
