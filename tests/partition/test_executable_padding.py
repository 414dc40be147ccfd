"""Every op program, sharded over axes that need not divide its dimensions, padded, executed and compared bit by bit.

Padding is NaN, or the largest number, in arguments and wherever the program pads, so none of it may reach a result.
"""

from __future__ import annotations

import pytest

from passes.execute.compare import BIT_EQUAL
from passes.execute.verify import verify
from passes.partition.pad_dimensions import Padding
from passes.partition.partition import Report, partition
from passes.program import read
from passes.sharding.mesh import Mesh
from tests.partition.op_programs import PROGRAMS
from tests.partition.random_shardings import annotate

# Dimensions are 4, 6, 8 and 12, so that each mesh divides some of them.
MESHES = (
    Mesh((("x", 3), ("y", 2))),
    Mesh((("x", 2), ("y", 4))),
    Mesh((("x", 8),), (7, 6, 5, 4, 3, 2, 1, 0)),
)
FIVE = Mesh((("x", 5),))


def padded_and_executed(name: str, mesh: Mesh, seed: int) -> Report:
    original, program = (read.parse(PROGRAMS[name], name) for _ in range(2))
    shardings = annotate(program, mesh, seed, indivisible=True)
    report = partition(program, padding=Padding(arguments=True, always=True, poison=True))
    found = verify(original, program, report.side_table, inputs="exact", seed=seed, level=BIT_EQUAL)
    assert found.ok, (shardings, found.lines())
    return report


@pytest.mark.parametrize("mesh", MESHES, ids=lambda m: "x".join(str(s) for _, s in m.axes))
@pytest.mark.parametrize("name", PROGRAMS)
def test_padded_op_equals_the_original(name: str, mesh: Mesh) -> None:
    padded_and_executed(name, mesh, 0)


def test_an_axis_that_divides_nothing_pads_everything() -> None:
    report = padded_and_executed("dot batched", FIVE, 1)
    assert {choice.padded for choice in report.padding} <= {5, 10, 15} and report.padding
