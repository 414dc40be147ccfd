"""Every op of the lowering table, randomly sharded on several meshes, executed and compared bit by bit.

Inputs are small integers held in floats, so that sums are exact in any order and bit-equality is the right claim.
"""

from __future__ import annotations

import pytest

from passes.execute.compare import BIT_EQUAL
from passes.execute.verify import verify
from passes.partition.partition import partition
from passes.program import read
from passes.sharding.mesh import Mesh
from tests.partition.op_programs import PROGRAMS
from tests.partition.random_shardings import annotate

MESHES = (
    Mesh((("x", 2), ("y", 2))),
    Mesh((("x", 2), ("y", 4))),
    Mesh((("x", 3), ("y", 2))),
    Mesh((("x", 2), ("y", 2), ("z", 2)), (7, 6, 5, 4, 3, 2, 1, 0)),
)


@pytest.mark.parametrize("mesh", MESHES, ids=lambda m: "x".join(str(s) for _, s in m.axes))
@pytest.mark.parametrize("name", PROGRAMS)
def test_partitioned_op_equals_the_original(name: str, mesh: Mesh) -> None:
    original = read.parse(PROGRAMS[name], name)
    for seed in range(2):
        program = read.parse(PROGRAMS[name], name)
        shardings = annotate(program, mesh, seed)
        report = partition(program)
        found = verify(original, program, report.side_table, inputs="exact", seed=seed, level=BIT_EQUAL)
        assert found.ok, (shardings, found.lines())
