"""Constants of which each device reads another part: out of the program, and every device gets its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from passes.cli.main import main
from passes.errors import UserError
from passes.execute.compare import BIT_EQUAL
from passes.execute.executor import Executor
from passes.execute.verify import verify
from passes.partition.device_constants import take_out_constants
from passes.partition.partition import partition
from passes.partition.side_table import SideTable
from passes.partition.structure import check_structure
from passes.program.read import Program, parse
from passes.program.write import to_text

MESH = 'sdy.mesh @mesh = <["x"=2, "y"=2], device_ids=[3, 1, 0, 2]>\n'
SPLIT = '{sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {"y"}]>}'
T = "tensor<4x4xELEMENT>"
TABLE = "dense<[[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12], [13, 14, 15, 16]]>"
LOOP = MESH + f"""
func.func private @shifted(%x: {T}) -> {T} {{
  %t = stablehlo.constant {TABLE} : {T}
  %0 = stablehlo.add %x, %t : {T}
  return %0 : {T}
}}
func.func @main(%a: {T} {SPLIT}) -> ({T} {SPLIT}, {T} {SPLIT}) {{
  %zero = stablehlo.constant dense<0> : tensor<i32>
  %one = stablehlo.constant dense<1> : tensor<i32>
  %two = stablehlo.constant dense<2> : tensor<i32>
  %0:2 = stablehlo.while(%i = %zero, %x = %a) : tensor<i32>, {T}
  cond {{
    %1 = stablehlo.compare LT, %i, %two : (tensor<i32>, tensor<i32>) -> tensor<i1>
    stablehlo.return %1 : tensor<i1>
  }} do {{
    %1 = stablehlo.add %i, %one : tensor<i32>
    %2 = func.call @shifted(%x) : ({T}) -> {T}
    stablehlo.return %1, %2 : tensor<i32>, {T}
  }}
  %t = stablehlo.constant {TABLE} : {T}
  %3 = stablehlo.multiply %t, %a : {T}
  return %0#1, %3 : {T}, {T}
}}
"""


def taken_out(text: str) -> tuple[Program, SideTable]:
    program = parse(text)
    table = partition(program, keep_functions=False).side_table
    return program, take_out_constants(program, table)


@pytest.mark.parametrize("element", ["i8", "ui16", "i32", "i64", "f16", "f32", "f64"])
@pytest.mark.parametrize("executor", ["xla", "interpreter"])
def test_in_a_loop_and_outside_of_it(element: str, executor: str) -> None:
    table = TABLE if "i" in element else TABLE.replace(",", ".0,").replace("]", ".0]").replace("].0", "]")
    text = LOOP.replace(TABLE, table).replace("ELEMENT", element)
    program, side_table = taken_out(text)
    assert "13" not in to_text(program.module)
    assert len(side_table.constants) == 1
    assert side_table.constants[0].local_shape == (2, 2)
    # The first device of the mesh is number 3.
    assert side_table.constants[0].starts == ((2, 0), (0, 2), (2, 2), (0, 0))
    assert not check_structure(program, side_table)
    again = SideTable.from_json(side_table.to_json())
    assert again == side_table
    found = verify(parse(text), program, again, inputs="exact", level=BIT_EQUAL, executor=Executor(executor))
    assert found.ok, "\n".join(found.lines())
    wrong = replace(side_table.constants[0], starts=tuple(reversed(side_table.constants[0].starts)))
    assert not verify(parse(text), program, replace(side_table, constants=(wrong,))).ok


@pytest.mark.parametrize(
    "table",
    ["stablehlo.constant dense<3> : T", "stablehlo.constant dense<[[1, 2, 1, 2], [3, 4, 3, 4], [1, 2, 1, 2], "
     "[3, 4, 3, 4]]> : T", "stablehlo.iota dim = 0 : T"],
)
def test_what_every_device_can_have_stays(table: str) -> None:
    text = MESH + f"""
func.func @main(%a: T {SPLIT}) -> (T {SPLIT}) {{
  %t = {table}
  %0 = stablehlo.add %t, %a : T
  return %0 : T
}}""".replace("T", T.replace("ELEMENT", "i32"))
    text = text.replace("SPLI" + T.replace("ELEMENT", "i32"), SPLIT)
    program, side_table = taken_out(text)
    assert not side_table.constants
    assert "main(%arg0: tensor<2x2xi32>) ->" in to_text(program.module)


def test_what_something_reads_whole_or_at_an_index_of_the_program_stays() -> None:
    whole = T.replace("ELEMENT", "i32")
    program, side_table = taken_out(MESH + f"""
func.func @main(%a: {whole} {SPLIT}, %i: tensor<i32>) -> ({whole} {SPLIT}, {whole}, tensor<2x2xi32>) {{
  %t = stablehlo.constant {TABLE} : {whole}
  %0 = stablehlo.add %t, %a : {whole}
  %1 = stablehlo.dynamic_slice %t, %i, %i, sizes = [2, 2] : ({whole}, tensor<i32>, tensor<i32>) -> tensor<2x2xi32>
  return %0, %t, %1 : {whole}, {whole}, tensor<2x2xi32>
}}""")
    assert not side_table.constants
    assert "13" in to_text(program.module)


def test_on_the_command_line_the_side_table_is_all_that_verifying_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "global.mlir", tmp_path / "device.mlir"
    source.write_text(LOOP.replace("ELEMENT", "i32"))
    assert main(["partition", str(source), "--device-constants", "--verify", "-o", str(out)]) == 0
    assert "2 of 2 results equal (2 bit-equal)" in capsys.readouterr().err
    assert main(["verify", str(source), str(out)]) == 0
    assert main(["verify", str(source), str(out), "--structure"]) == 0
    replicas = ["partition", str(source), "--device-constants", "--device-id=replica", "--verify", "-o", str(out)]
    assert main(replicas) == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "say where it goes"), (["--style=manual"], "does not go with --style=manual"),
        (["--keep-sdy"], "does not go with --keep-sdy"), (["--trace", "TRACE"], "does not go with --trace"),
    ],
)
def test_what_it_does_not_go_with(tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], words: str
                                  ) -> None:
    source = tmp_path / "global.mlir"
    source.write_text(LOOP.replace("ELEMENT", "i32"))
    given = [str(tmp_path / "trace.mlir") if option == "TRACE" else option for option in options]
    assert main(["partition", str(source), "--device-constants", *given]) == 1
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"starts": [\n    [\n     2,', '"starts": [\n    [\n     3,'),
        ('"starts": [', '"starts": [[0, 0],'),
        ('"data": "', '"data": "*'),
    ],
)
def test_damaged_constants_are_errors(before: str, after: str) -> None:
    _, side_table = taken_out(LOOP.replace("ELEMENT", "i32"))
    text = side_table.to_json()
    assert before in text
    with pytest.raises(UserError, match="damaged side table"):
        SideTable.from_json(text.replace(before, after))


def test_too_few_bytes_are_an_error() -> None:
    text = LOOP.replace("ELEMENT", "i32")
    program, side_table = taken_out(text)
    short = replace(side_table, constants=(replace(side_table.constants[0], data=b"123"),))
    with pytest.raises(UserError, match=r"damaged side table: it has 3 bytes for a constant of i32 \[4, 4\]"):
        verify(parse(text), program, short)
