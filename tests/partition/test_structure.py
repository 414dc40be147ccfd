"""The structural check finds every kind of damage that it looks for, and nothing in what the lowering makes."""

from __future__ import annotations

from pathlib import Path

import pytest

from passes.partition.forms import keep_sdy, to_manual
from passes.partition.partition import partition
from passes.partition.side_table import SideTable
from passes.partition.structure import check_structure
from passes.program import read

GLOBAL = """
sdy.mesh @mesh = <["x"=2, "y"=2]>
func.func @main(%a: tensor<8x4xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {"y"}]>}, %b: tensor<4x8xf32>)
    -> (tensor<8x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"y"}, {"x"}]>}) {
  %0 = stablehlo.dot_general %a, %b, contracting_dims = [1] x [0] : (tensor<8x4xf32>, tensor<4x8xf32>)
      -> tensor<8x8xf32>
  %1 = stablehlo.tanh %0 : tensor<8x8xf32>
  return %1 : tensor<8x8xf32>
}"""


@pytest.fixture(scope="module")
def lowered() -> tuple[str, SideTable]:
    program = read.parse(GLOBAL)
    report = partition(program)
    return str(program.module), report.side_table


def test_what_the_lowering_makes_is_well_formed(lowered: tuple[str, SideTable]) -> None:
    text, table = lowered
    assert "collective" in text or "all_" in text
    assert check_structure(read.parse(text), table) == []


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("mhlo.num_partitions = 4", "mhlo.num_partitions = 8", "the mesh has 4 devices"),
        ("mhlo.num_partitions = 4 : i32, mhlo.num_replicas = 1", "mhlo.num_partitions = 1 : i32, mhlo.num_replicas = 4",
         "would not name replicas"),
        ("dense<[[0, 1], [2, 3]]> : tensor<2x2xi64>", "dense<[[0, 1]]> : tensor<1x2xi64>",
         "do not name each of 4 devices once"),
        ("handle = 2", "handle = 1", "channel 1 serves 2 collectives"),
        ("use_global_device_ids", "other", "would name replicas"),
        ("stablehlo.tanh %3 :", "stablehlo.tanh %3 {sdy.y = 1 : i32} :", "still has sdy.y"),
        ("%arg1: tensor<2x4xf32>", "%arg1: tensor<2x4xf32> {sdy.x = 1 : i32}", "argument 1 'arg1' still has sdy.x"),
    ],
)
def test_damage_is_found(lowered: tuple[str, SideTable], old: str, new: str, found: str) -> None:
    text, table = lowered
    assert old in text, text
    problems = check_structure(read.parse(text.replace(old, new, 1)), table)
    assert any(found in problem for problem in problems), problems


def test_another_signature_is_found(lowered: tuple[str, SideTable]) -> None:
    _, table = lowered
    plain = "func.func @main(%a: tensor<8x4xf32>) -> tensor<8x4xf32> { return %a : tensor<8x4xf32> }"
    problems = check_structure(read.parse(plain), table)
    assert any("the side table has 2 arguments, the program 1" in problem for problem in problems)
    assert any("result 0" in problem and "the side table says tensor<4x4xf32>" in problem for problem in problems)


def test_command_line(shlo: object, tmp_path: Path) -> None:
    original, device = tmp_path / "a.mlir", tmp_path / "b.mlir"
    original.write_text(GLOBAL)
    assert shlo("partition", original, "-o", device).code == 0  # type: ignore[operator]
    done = shlo("verify", original, device, "--structure")  # type: ignore[operator]
    assert (done.code, done.out.strip()) == (0, "the per-device program is well-formed for 4 devices")
    device.write_text(device.read_text().replace("handle = 2", "handle = 1"))
    done = shlo("verify", original, device, "--structure")  # type: ignore[operator]
    assert done.code == 2
    assert "channel 1 serves 2 collectives" in done.out


FORMS = """
sdy.mesh @mesh = <["x"=4]>
func.func private @f(%a: tensor<8x4xf32>) -> tensor<8x4xf32> {
  %0 = stablehlo.tanh %a : tensor<8x4xf32>
  return %0 : tensor<8x4xf32>
}
func.func @main(%a: tensor<7x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {}]>},
                %b: tensor<8x4xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x":(1)2}, {}]>}) -> tensor<7x4xf32> {
  %0 = func.call @f(%b) : (tensor<8x4xf32>) -> tensor<8x4xf32>
  %1 = func.call @f(%0) : (tensor<8x4xf32>) -> tensor<8x4xf32>
  %2 = stablehlo.dot_general %a, %1, contracting_dims = [1] x [0]
      : (tensor<7x8xf32>, tensor<8x4xf32>) -> tensor<7x4xf32>
  return %2 : tensor<7x4xf32>
}"""


@pytest.mark.parametrize("options", [(), ("--keep-sdy",), ("--device-id=replica",)])
def test_forms_of_padded_programs_with_functions(shlo: object, tmp_path: Path, options: tuple[str, ...]) -> None:
    original, device = tmp_path / "a.mlir", tmp_path / "b.mlir"
    original.write_text(FORMS)
    assert shlo("partition", original, "--pad-arguments", *options, "-o", device).code == 0  # type: ignore[operator]
    text = device.read_text()
    assert text.count("call @f") == 2 and "all_gather" in text
    done = shlo("verify", original, device, "--structure")  # type: ignore[operator]
    assert (done.code, done.out.strip()) == (0, "the per-device program is well-formed for 4 devices")
    assert shlo("verify", original, device).code == 0  # type: ignore[operator]


def test_kept_shardings_that_the_table_does_not_say() -> None:
    program = read.parse(GLOBAL)
    table = partition(program).side_table
    keep_sdy(program, table)
    text = str(program.module)
    assert check_structure(read.parse(text), table) == []
    (problem,) = check_structure(read.parse(text.replace('[{"x"}, {"y"}]', '[{"y"}, {"x"}]', 1)), table)
    assert problem == "argument 0 'arg0' is P('y', 'x'), the side table says P('x', 'y')"
    problems = check_structure(read.parse(text.replace('"x"=2, "y"=2', '"x"=2, "y"=4')), table)
    assert any("sdy.mesh" in problem and "is left" in problem for problem in problems)


PARTS_OF_AXES = """sdy.mesh @grid = <["x"=2, "y"=4]>
func.func @main(%a: tensor<8x8xf32> {sdy.sharding = #sdy.sharding<@grid, [{"y":(1)2}, {"x", "y":(2)2}]>},
                %b: tensor<8x8xf32> {sdy.sharding = #sdy.sharding<@grid, [{}, {"y":(2)2}]>}) -> tensor<8x8xf32> {
  %0 = stablehlo.dot_general %a, %b, contracting_dims = [1] x [0]
      : (tensor<8x8xf32>, tensor<8x8xf32>) -> tensor<8x8xf32>
  return %0 : tensor<8x8xf32>
}"""


@pytest.mark.parametrize("text", [GLOBAL, PARTS_OF_AXES], ids=["whole axes", "parts of axes"])
def test_manual_computations(shlo: object, tmp_path: Path, text: str) -> None:
    original, device = tmp_path / "a.mlir", tmp_path / "b.mlir"
    original.write_text(text)
    assert shlo("partition", original, "--style=manual", "-o", device).code == 0  # type: ignore[operator]
    assert "sdy.manual_computation" in device.read_text()
    done = shlo("verify", original, device, "--structure")  # type: ignore[operator]
    assert (done.code, done.out.startswith("the per-device program is well-formed")) == (0, True), done.out
    done = shlo("verify", original, device)  # type: ignore[operator]
    assert (done.code, done.out.startswith("partitioned by XLA")) == (0, True), done.out


@pytest.mark.parametrize(("old", "new", "found"), [
    ('in_shardings=[<@mesh, [{"x"}, {"y"}]>', 'in_shardings=[<@mesh, [{"y"}, {"x"}]>',
     "argument 0 'arg0' is P('y', 'x') in the computation, the side table says P('x', 'y')"),
    ('{sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {"y"}]>}', "", "argument 0 'arg0' does not say how it is sharded"),
    ("handle = 2", "handle = 1", "channel 1 serves 2 collectives"),
    ("  sdy.mesh @mesh", '  sdy.mesh @other = <["x"=8]>\n  sdy.mesh @mesh', "is left"),
])
def test_damage_in_manual_computations_is_found(old: str, new: str, found: str) -> None:
    program = read.parse(GLOBAL)
    table = partition(program).side_table
    to_manual(program, table)
    text = str(program.module)
    assert check_structure(read.parse(text), table) == []
    assert old in text
    problems = check_structure(read.parse(text.replace(old, new, 1)), table)
    assert any(found in problem for problem in problems), problems
