"""Other forms of per-device programs: both are executed; a manual computation comes back through the partitioner."""

from __future__ import annotations

import pytest

from passes.errors import UserError
from passes.execute.executor import Executor
from passes.execute.verify import verify
from passes.partition.forms import keep_sdy, to_manual
from passes.partition.partition import partition
from passes.partition.report import Report
from passes.program.read import Program, parse, read
from passes.program.write import to_text
from passes.sharding.annotate import annotate
from passes.sharding.rules_file import load
from tests.test_examples import EXAMPLES

T = "tensor<8x8xf32>"
PROGRAMS = {
    "whole axes": """sdy.mesh @grid = <["x"=2, "y"=4]>
func.func @main(%a: T {jax.buffer_donor = true, sdy.sharding = #sdy.sharding<@grid, [{"x"}, {"y"}]>},
                %b: T {sdy.sharding = #sdy.sharding<@grid, [{"y"}, {}]>}) -> (T, T) {""",
    "parts of axes": """sdy.mesh @grid = <["x"=2, "y"=4]>
func.func @main(%a: T {sdy.sharding = #sdy.sharding<@grid, [{"y":(1)2}, {"x", "y":(2)2}]>},
                %b: T {sdy.sharding = #sdy.sharding<@grid, [{}, {"y":(2)2}]>}) -> (T, T) {""",
    "devices in another order": """sdy.mesh @grid = <["x"=2, "y"=4], device_ids=[7, 2, 4, 0, 1, 3, 6, 5]>
func.func @main(%a: T {sdy.sharding = #sdy.sharding<@grid, [{"y"}, {}]>},
                %b: T {sdy.sharding = #sdy.sharding<@grid, [{"x"}, {"y"}]>}) -> (T, T) {""",
}
BODY = """
  %0 = stablehlo.dot_general %a, %b, contracting_dims = [1] x [0] : (T, T) -> T
  %1 = stablehlo.iota dim = 0 : T
  %2 = stablehlo.add %0, %1 : T
  %3 = func.call @layer(%2) : (T) -> T
  return %2, %3 : T, T
}
func.func private @mesh(%a: T) -> T {
  %0 = stablehlo.tanh %a : T
  return %0 : T
}
func.func private @layer(%a: T) -> T {
  %0 = func.call @mesh(%a) : (T) -> T
  %1 = stablehlo.reverse %0, dims = [0] : T
  return %1 : T
}
"""


def partitioned(name: str) -> tuple[str, Program, Report]:
    text = f"{PROGRAMS[name]}{BODY}".replace("T", T)
    program = parse(text)
    return text, program, partition(program)


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_manual_computation_is_the_program_again(name: str) -> None:
    text, program, report = partitioned(name)
    to_manual(program, report.side_table)
    assert program.module.operation.verify()
    manual = to_text(program.module)
    assert manual.count("sdy.manual_computation") == 1
    assert "call @layer" in manual
    found = verify(parse(text), parse(manual), xla_partition=True)
    assert found.ok, "\n".join(found.lines())
    again = parse(manual)
    side_table = partition(again).side_table
    found = verify(parse(text), again, side_table)
    assert found.ok, "\n".join(found.lines())
    local = [[e.local_shape for e in (*t.arguments, *t.results)] for t in (side_table, report.side_table)]
    assert local[0] == local[1]


@pytest.mark.parametrize("name", PROGRAMS)
def test_kept_shardings_are_those_of_the_side_table(name: str) -> None:
    text, program, report = partitioned(name)
    keep_sdy(program, report.side_table)
    assert program.module.operation.verify()
    kept = to_text(program.module)
    assert kept.count("sdy.mesh") == 1
    assert kept.count("sdy.sharding =") == 4
    found = verify(parse(text), parse(kept), report.side_table)
    assert found.ok, "\n".join(found.lines())


def test_local_types_are_not_partitioned_again() -> None:
    _, program, report = partitioned("whole axes")
    keep_sdy(program, report.side_table)
    with pytest.raises(UserError, match=r"a per-device program already: .* partition the global program instead"):
        partition(parse(to_text(program.module)))


def test_what_else_arguments_carry_stays() -> None:
    _, program, report = partitioned("whole axes")
    keep_sdy(program, report.side_table)
    assert "jax.buffer_donor = true" in to_text(program.module)


@pytest.mark.parametrize("plan", ["decoder/megatron", "scan_layers/megatron_fsdp", "moe/expert_all"])
def test_examples(plan: str) -> None:
    rules = EXAMPLES / f"{plan}.toml"
    source = str(rules.parent / "forward.mlir")
    program = read(source)
    annotate(program, load(str(rules)))
    to_manual(program, partition(program).side_table)
    found = verify(read(source), program, xla_partition=True, executor=Executor())
    assert found.ok, "\n".join(found.lines())
    side_table = partition(program).side_table
    found = verify(read(source), program, side_table)
    assert found.ok, "\n".join(found.lines())
