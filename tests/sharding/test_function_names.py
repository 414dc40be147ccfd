"""Functions keep their names and places, however often Shardy copies them."""

from __future__ import annotations

import pytest

from passes.program.entry import functions, symbol_name
from passes.program.read import Program, parse
from passes.sharding import function_names

TEXT = """
func.func private @f(%a: tensor<4xf32>) -> tensor<4xf32> {
  return %a : tensor<4xf32>
}
func.func private @f_1(%a: tensor<4xf32>) -> tensor<4xf32> {
  return %a : tensor<4xf32>
}
func.func @main(%a: tensor<4xf32>) -> tensor<4xf32> {
  %0 = call @f(%a) : (tensor<4xf32>) -> tensor<4xf32>
  %1 = call @f(%0) : (tensor<4xf32>) -> tensor<4xf32>
  %2 = call @f_1(%1) : (tensor<4xf32>) -> tensor<4xf32>
  %3 = stablehlo.composite "my.c" %2 {decomposition = @f_1} : (tensor<4xf32>) -> tensor<4xf32>
  %4 = stablehlo.composite "my.d" %3 {decomposition = @g} : (tensor<4xf32>) -> tensor<4xf32>
  return %4 : tensor<4xf32>
}
func.func private @g(%a: tensor<4xf32>) -> tensor<4xf32> {
  return %a : tensor<4xf32>
}
"""


def names(program: Program) -> list[str]:
    return [symbol_name(f) for f in functions(program.module)]


def calls(program: Program) -> list[str]:
    text = str(program.module)
    return [line.split("@")[1].split("(")[0] for line in text.splitlines() if "call @" in line]


def test_a_body_that_does_nothing_changes_nothing() -> None:
    program = parse(TEXT)
    before = str(program.module)
    with function_names.kept(program):
        assert names(program) == ["f#0", "f_1#1", "main", "g"]
    assert str(program.module) == before


def test_copies_stand_by_their_original_under_names_nothing_else_has() -> None:
    program = parse(TEXT)
    with function_names.kept(program):
        program.module = parse(
            str(program.module)
            .replace('%1 = call @"f#0"', '%1 = call @"f#0_17"')
            .replace("func.func private @g(", 'func.func private @"f#0_17"(%a: tensor<4xf32>) -> tensor<4xf32> {\n'
                     "  return %a : tensor<4xf32>\n}\nfunc.func private @g(")
        ).module
    assert names(program) == ["f", "f_2", "f_1", "main", "g"]
    assert calls(program) == ["f", "f_2", "f_1"]
    assert "decomposition = @f_1" in str(program.module)
    assert program.module.operation.verify()


def test_names_come_back_after_a_failure() -> None:
    program = parse(TEXT)
    before = str(program.module)
    with pytest.raises(RuntimeError), function_names.kept(program):
        raise RuntimeError
    assert str(program.module) == before


def test_a_name_that_looks_marked_is_left_alone() -> None:
    text = TEXT.replace("@g", '@"g#1"')
    program = parse(text)
    with function_names.kept(program):
        pass
    assert names(program) == ["f", "f_1", "main", "g#1"]
