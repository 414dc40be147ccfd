"""Every shipped model under every rules file beside it: partitioned, executed on virtual devices, compared.

Once in double precision, where a difference cannot hide behind rounding, and for some as they are shipped. The larger
runs of ResNet-50 are marked ``long``.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from passes.execute.verify import verify
from passes.partition.partition import partition
from passes.program import read
from passes.program.walk import operations
from passes.sharding.annotate import annotate
from passes.sharding.rules_file import load
from tests.doubled import doubled
from tests.test_examples import EXAMPLES, RULES

LONG = {f"resnet50/{case}" for case in (
    "classes-forward", "classes-train_step", "dp-train_step", "rows-forward", "rows-train_step",
)}
CASES = [
    pytest.param(*case.values, id=case.id, marks=[pytest.mark.long] if case.id in LONG else []) for case in RULES
]
# f64 keeps relative errors of a train step below this; a mistake shows in the leading digits.
WORST = 1e-12


def _partition_and_compare(text: str, source: str, rules: Path) -> list[float]:
    """The relative L2 error of each result."""
    original, program = read.parse(text, source), read.parse(text, source)
    annotate(program, load(str(rules)))
    report = partition(program)
    assert not [op.name for op in operations(program.module) if op.name.startswith("sdy.")]
    assert not report.replicated
    found = verify(original, program, report.side_table)
    assert found.ok, found.lines()
    return [result.figures.relative_l2 for result in found.results]


@pytest.mark.parametrize(("rules", "model"), CASES)
def test_partitioned_model_equals_the_original(rules: Path, model: Path) -> None:
    errors = _partition_and_compare(doubled(model.read_text()), str(model), rules)
    assert max(errors) < WORST, errors


@pytest.mark.parametrize(
    ("rules", "model"),
    [("decoder/megatron", "decoder/train_step"), ("gpt/megatron_fsdp", "gpt/forward"), ("moe/expert", "moe/forward")],
)
def test_as_it_is_shipped(rules: str, model: str) -> None:
    path = EXAMPLES / f"{model}.mlir"
    _partition_and_compare(path.read_text(), str(path), EXAMPLES / f"{rules}.toml")
