"""FLOPs and transcendentals equal those of XLA's cost analysis, op by op and on whole programs."""

from __future__ import annotations

from pathlib import Path

import pytest

from passes.cost.graph import read_graph
from passes.cost.program_cost import legalize
from passes.execute import xla_analysis
from passes.program import read
from passes.program.read import Program
from tests.partition.op_programs import PROGRAMS

EXAMPLES = Path(__file__).parents[2] / "examples"
# XLA says that it does not know these, or counts its own expansion of them.
UNKNOWN_TO_XLA = ("custom_call", "composite", "chlo", "manual")


def _ours(program: Program) -> tuple[int, int]:
    graph = read_graph(program)
    found = graph.work_of(graph.entry, loops_once=True)
    return found.flops, found.transcendentals


@pytest.mark.parametrize("name", [n for n in PROGRAMS if not any(word in n for word in UNKNOWN_TO_XLA)])
def test_op_is_counted_as_xla_counts_it(name: str) -> None:
    program = read.parse(PROGRAMS[name], name)
    legalize(program)
    assert _ours(program) == xla_analysis.work(program)


@pytest.mark.parametrize("name", ["decoder", "gpt", "lm_head", "moe", "resnet50", "scan_layers"])
def test_train_step_is_within_a_percent_of_xla(name: str) -> None:
    program = read.read(str(EXAMPLES / name / "train_step.mlir"))
    legalize(program)
    flops, transcendentals = _ours(program)
    of_xla = xla_analysis.work(program)
    assert flops == pytest.approx(of_xla[0], rel=0.01)
    assert transcendentals == pytest.approx(of_xla[1], rel=0.01)
