"""Every shipped model under every rules file beside it: partitioned, executed on virtual devices, compared."""

from __future__ import annotations

from pathlib import Path

import pytest

from passes.execute.verify import verify
from passes.partition.partition import partition
from passes.program import read
from passes.program.walk import operations
from passes.sharding.annotate import annotate
from passes.sharding.rules_file import load
from tests.test_examples import RULES


@pytest.mark.parametrize(("rules", "model"), RULES)
def test_partitioned_model_equals_the_original(rules: Path, model: Path) -> None:
    original, program = read.read(str(model)), read.read(str(model))
    annotate(program, load(str(rules)))
    report = partition(program)
    assert not [op.name for op in operations(program.module) if op.name.startswith("sdy.")]
    assert not report.replicated
    found = verify(original, program, report.side_table)
    assert found.ok, found.lines()
