"""Manual computations, executed: against XLA's partitioner on the same module, and against plain programs.

The modules are JAX's (`inputs/manual/generate.py`). Inputs are small integers held in floats, so that bit-equality is
the right claim.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from passes import _mlir
from passes.errors import UserError
from passes.execute.compare import BIT_EQUAL
from passes.execute.executor import Executor
from passes.execute.verify import verify
from passes.partition.partition import Report, partition
from passes.partition.summary import COLLECTIVES
from passes.partition.trace import MARKS, NUMBER
from passes.program import read, write
from passes.program.walk import operations
from passes.sharding.mesh import Mesh, meshes
from tests.partition.op_programs import PROGRAMS
from tests.partition.random_shardings import annotate_arguments

INPUTS = Path(__file__).parent / "inputs" / "manual"
REFERENCES = sorted(INPUTS.glob("*.reference.mlir"))
MODULES = sorted(set(INPUTS.glob("*.mlir")) - set(REFERENCES))
SEEDS = range(3)


def _channels(program: read.Program) -> list[int]:
    return [
        _mlir.stablehlo.ChannelHandle(op.attributes["channel_handle"]).handle
        for op in operations(program.module)
        if op.name in COLLECTIVES
    ]


def _partitioned(path: Path) -> tuple[read.Program, Report]:
    program = read.read(str(path))
    report = partition(program)
    assert not [op.name for op in operations(program.module) if op.name.startswith("sdy.")]
    channels = _channels(program)
    assert len(set(channels)) == len(channels)
    return program, report


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_it_computes_what_xlas_partitioner_does(path: Path) -> None:
    original = read.read(str(path))
    program, report = _partitioned(path)
    found = verify(original, program, report.side_table, inputs="exact", level=BIT_EQUAL)
    assert found.ok, found.lines()


@pytest.mark.parametrize("path", REFERENCES, ids=lambda path: path.name.removesuffix(".reference.mlir"))
def test_it_computes_what_the_plain_program_does(path: Path) -> None:
    plain = read.read(str(path))
    program, report = _partitioned(path.with_name(path.name.replace(".reference", "")))
    found = verify(plain, program, report.side_table, inputs="exact", seed=1, level=BIT_EQUAL)
    assert found.ok, found.lines()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_operands_may_lie_anyhow(path: Path) -> None:
    original = read.read(str(path))
    (mesh,) = meshes(original.module).values()
    for seed in SEEDS:
        program = read.read(str(path))
        shardings = annotate_arguments(program, mesh, seed)
        report = partition(program)
        found = verify(original, program, report.side_table, inputs="exact", seed=seed, level=BIT_EQUAL)
        assert found.ok, (shardings, found.lines())
