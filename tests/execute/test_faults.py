"""Faults in partitioned and optimized programs: each is caught, found at the right op, and shrunk."""

from __future__ import annotations

from pathlib import Path

import pytest

from passes.errors import Mismatch
from passes.execute.bisect import search
from passes.execute.bisect_programs import search_programs
from passes.execute.executor import Executor
from passes.execute.reduction.reduce import reduce
from passes.execute.store import Store
from passes.execute.verify import verify
from passes.program.read import Program
from passes.program.walk import operations
from passes.program.write import to_text
from passes.sharding.propagate import PropagateOptions, propagate
from tests.execute.faults import OPTIMIZE, PARTITION, Fault, optimized, partitioned

ALL = PARTITION + OPTIMIZE
# It compiles nothing, which is what tiny programs spend their time on.
QUICK = Executor("interpreter")

partition_faults = pytest.mark.parametrize("fault", PARTITION, ids=lambda f: f.name)
optimizer_faults = pytest.mark.parametrize("fault", OPTIMIZE, ids=lambda f: f.name)


def test_there_are_ten() -> None:
    assert len({fault.name for fault in ALL}) == 10


@pytest.mark.parametrize("source", sorted({fault.source for fault in PARTITION}))
def test_without_a_fault_nothing_is_found(source: str) -> None:
    program = next(fault for fault in PARTITION if fault.source == source).program()
    right = partitioned(program, None)
    verify(program, right.traced, right.table).require()
    assert search(right.numbered, right.traced, right.table, inputs="normal").finding is None


@partition_faults
def test_partition_fault_is_caught(fault: Fault) -> None:
    program = fault.program()
    faulty = partitioned(program, fault)
    with pytest.raises(Mismatch):
        verify(program, faulty.traced, faulty.table).require()


@partition_faults
@pytest.mark.parametrize("mode", ["isolated", "accumulated"])
def test_partition_fault_is_located(fault: Fault, mode: str) -> None:
    faulty = partitioned(fault.program(), fault)
    found = search(faulty.numbered, faulty.traced, faulty.table, inputs="normal", mode=mode).finding  # type: ignore[arg-type]
    assert found is not None
    assert found.op_name == fault.located
    assert found.number == faulty.number
    assert not found.excused
    told = " ".join([*map(str, found.suspects), *found.hints])
    assert all(name in told for name in fault.beside), told


@partition_faults
def test_partition_fault_is_reduced(fault: Fault) -> None:
    program = fault.program()
    propagate(program, PropagateOptions(reshards=False))

    def interesting(candidate: Program) -> bool:
        faulty = partitioned(candidate, fault)
        return not verify(candidate, faulty.traced, faulty.table, executor=QUICK).ok

    reduced = reduce(program, interesting)
    assert len(operations(reduced.module)) < 15 < len(operations(program.module)), to_text(reduced.module)
    assert interesting(reduced)


@optimizer_faults
def test_optimizer_fault_is_caught(fault: Fault) -> None:
    program = fault.program()
    with pytest.raises(Mismatch):
        verify(program, optimized(program, fault)).require()


@optimizer_faults
def test_optimizer_fault_is_located(fault: Fault, tmp_path: Path) -> None:
    program = fault.program()
    found = search_programs(program, optimized(program, fault), store=Store(tmp_path)).finding
    assert found is not None
    assert found.op_name == fault.located


@optimizer_faults
def test_optimizer_fault_is_reduced(fault: Fault) -> None:
    program = fault.program()

    def interesting(candidate: Program) -> bool:
        return not verify(candidate, optimized(candidate, fault), executor=QUICK).ok

    reduced = reduce(program, interesting)
    assert len(operations(reduced.module)) < 15 < len(operations(program.module)), to_text(reduced.module)
    assert interesting(reduced)
