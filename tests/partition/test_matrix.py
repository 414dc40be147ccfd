"""A sample of the partition matrix: of every program a few cells, the same in every run.

`python benchmarks/partition_matrix.py` runs all of it.
"""

from __future__ import annotations

import random

import pytest

from passes.execute.compare import BIT_EQUAL
from passes.execute.executor import Executor
from passes.execute.verify import verify
from passes.program import read
from tests.partition.matrix import MESHES, Cell, cells, only_zeros_differ, partitioned
from tests.partition.variant_programs import ALL_PROGRAMS, VARIANTS

# `test_executable_ops.py` and `test_manual_ops.py` run the others on several meshes.
PER_PROGRAM = 2
EXECUTOR = Executor()


@pytest.mark.parametrize("name", VARIANTS)
def test_a_few_cells(name: str) -> None:
    original = read.parse(ALL_PROGRAMS[name], name)
    listed = list(cells(name))
    for cell in random.Random(name).sample(listed, min(PER_PROGRAM, len(listed))):
        program, report = partitioned(cell)
        found = verify(original, program, report.side_table, inputs="exact", level=BIT_EQUAL, executor=EXECUTOR)
        assert found.ok or only_zeros_differ(found), (cell.name, found.lines())


def test_cells_are_those_asked_for() -> None:
    found = list(cells("dot plain"))
    assert len({cell.name for cell in found}) == len(found)
    assert {cell.mesh for cell in found} == set(MESHES)
    # Two dimensions of each of two arguments and the result; one axis choice on the first mesh, three on the others.
    assert len(found) == 6 * (1 + 4 * 3)


@pytest.mark.parametrize("side", ["argument", "result"])
def test_what_does_not_divide_is_padded(side: str) -> None:
    cell = Cell("add", side, 0, 1, 6, "2x4", ("y",))
    assert not cell.divides
    program, report = partitioned(cell)
    (entry, *_) = report.side_table.arguments if side == "argument" else report.side_table.results
    assert entry.padded_shape == (8, 8)
    original = read.parse(ALL_PROGRAMS["add"], "add")
    assert verify(original, program, report.side_table, inputs="exact", level=BIT_EQUAL, executor=EXECUTOR).ok
