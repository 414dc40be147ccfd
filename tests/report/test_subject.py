"""What a report is about has the figures of ``shlo cost``, and knows where its ops come from."""

from __future__ import annotations

from pathlib import Path

import pytest

from passes.cost.program_cost import cost
from passes.cost.tables import TOTALS, by_place
from passes.partition.summary import COLLECTIVES
from passes.program import read
from passes.program.read import Program
from passes.report.program_rows import rows
from passes.report.subject import Subject, subject
from passes.sharding.annotate import annotate
from passes.sharding.rules_file import load
from tests.report.conftest import PLAN, ROOT, STEP, V5E, annotated

PLANS = (("decoder", "megatron"), ("decoder", "fsdp"), ("scan_layers", "megatron"), ("gpt", "dp"), ("moe", "expert"))


def _files(example: str, plan: str) -> tuple[str, str]:
    folder = ROOT / "examples" / example
    return str(folder / "train_step.mlir"), str(folder / f"{plan}.toml")


def _program(file: str, plan: str) -> Program:
    program = read.read(file)
    annotate(program, load(plan))
    return program


@pytest.mark.parametrize(("example", "plan"), PLANS)
def test_figures_are_those_of_the_program_that_partitioning_makes(example: str, plan: str) -> None:
    files = _files(example, plan)
    found, expected = annotated(*files).cost, cost(_program(*files), V5E.device)
    assert {t.title: t.of(found) for t in TOTALS} == {t.title: pytest.approx(t.of(expected)) for t in TOTALS}
    places = [
        {row.name: row.seconds for row in by_place(c.estimate.ops, c.program)} for c in (found, expected)
    ]
    assert places[0] == pytest.approx(places[1])


def test_locations_and_attributes_are_as_they_were(decoder: Subject) -> None:
    text = decoder.cost.program.module.operation.get_asm(enable_debug_info=True)
    assert "shlo." not in text
    assert "jit(train_step)/" in text


@pytest.mark.parametrize(("example", "plan"), PLANS)
def test_every_collective_has_its_reason(example: str, plan: str) -> None:
    found = annotated(*_files(example, plan))
    collectives = [op for op in rows(found).ops if f"stablehlo.{op.name}" in COLLECTIVES]
    assert collectives
    for op in collectives:
        assert 0 < op.reason <= len(found.reasons)
        reason = found.reasons[op.reason - 1]
        # A move that partitioning cancelled in part, or sums it added up first, may be another kind in the end.
        assert op.name == reason.kind or op.name in ("all_reduce", "all_gather", "all_to_all", "reduce_scatter")


def test_ops_are_known_by_the_names_of_the_program_that_was_read(decoder: Subject) -> None:
    program = rows(decoder)
    by_name = {program.tensors[op.first].name: op for op in program.ops if op.name == "dot_general"}
    text = Path(STEP).read_text()
    assert len(by_name) > 20
    for name, op in by_name.items():
        assert f"{name} = stablehlo.dot_general" in text, op


def test_a_per_device_program_has_its_own_names_and_no_chains(tmp_path: Path) -> None:
    from passes.partition.partition import partition
    from passes.program.write import to_text

    program = _program(STEP, PLAN)
    table = partition(program).side_table
    local = read.parse(to_text(program.module))
    found = subject(local, V5E, table=table)
    assert found.cost.devices == 8 and found.teller is None
    program_rows = rows(found)
    assert program_rows.tensors[3].name == "params['attention']['wq']"
    assert program_rows.tensors[3].spec == "P(None, 'model')"
    assert program_rows.chains is None and program_rows.ops[0].reason == 0
    assert program_rows.tensors[program_rows.ops[0].first].name.startswith("%")


def test_loops_and_composites_are_nested() -> None:
    program = read.parse("""
      func.func @main(%a: tensor<4xf32>, %n: tensor<i32>) -> tensor<4xf32> {
        %zero = stablehlo.constant dense<0> : tensor<i32>
        %0:2 = stablehlo.while(%i = %zero, %x = %a) : tensor<i32>, tensor<4xf32> cond {
          %1 = stablehlo.compare LT, %i, %n : (tensor<i32>, tensor<i32>) -> tensor<i1>
          stablehlo.return %1 : tensor<i1>
        } do {
          %2 = stablehlo.composite "my.twice" %x {decomposition = @twice} : (tensor<4xf32>) -> tensor<4xf32>
          stablehlo.return %i, %2 : tensor<i32>, tensor<4xf32>
        }
        return %0#1 : tensor<4xf32>
      }
      func.func private @twice(%a: tensor<4xf32>) -> tensor<4xf32> {
        %0 = stablehlo.add %a, %a : tensor<4xf32>
        return %0 : tensor<4xf32>
      }""")
    found = rows(subject(program, V5E))
    names = [op.name for op in found.ops]
    assert names == ["constant", "while", "compare", "composite", "add"]
    loop, compare, call, add = (found.ops[names.index(n)] for n in ("while", "compare", "composite", "add"))
    assert (compare.parent, call.parent, loop.parent, add.parent) == (1, 1, -1, -1)
    assert add.function == "twice" and call.callee == "twice"
    # What the loop carries is what it returns; the callee's argument is that of the composite.
    assert call.reads == add.reads == (loop.first + 1,)
    assert compare.reads == (loop.first, 1)
    assert found.timeline == [0, 1]
    assert [t.type for t in found.tensors[:2]] == ["f32[4]", "i32[]"]


def test_calls_are_inlined_under_the_names_that_they_have() -> None:
    program = read.parse("""
      func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
        %first = func.call @twice(%x) : (tensor<4xf32>) -> tensor<4xf32>
        %last = stablehlo.negate %first : tensor<4xf32>
        return %last : tensor<4xf32>
      }
      func.func private @twice(%a: tensor<4xf32>) -> tensor<4xf32> {
        %sum = stablehlo.add %a, %a : tensor<4xf32>
        return %sum : tensor<4xf32>
      }""")
    found = rows(subject(program, V5E))
    assert [(op.name, found.tensors[op.first].name) for op in found.ops] == [("add", "%sum"), ("negate", "%last")]
