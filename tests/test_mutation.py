"""The table of injected bugs fits the source: each text is there once, and the tests that should notice exist."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.mutations import MUTATIONS, Mutation

ROOT = Path(__file__).resolve().parent.parent
LISTED = [mutation for listed in MUTATIONS.values() for mutation in listed]


@pytest.mark.parametrize("mutation", LISTED, ids=lambda m: m.name)
def test_fits_the_source(mutation: Mutation) -> None:
    text = (ROOT / "passes" / mutation.file).read_text()
    assert text.count(mutation.old) == 1
    compile(text.replace(mutation.old, mutation.new), mutation.file, "exec")
    assert mutation.tests and all((ROOT / "tests" / test).is_file() for test in mutation.tests)


def test_there_are_many_in_every_area() -> None:
    assert len({mutation.name for mutation in LISTED}) == len(LISTED) >= 60
    assert min(map(len, MUTATIONS.values())) >= 10
