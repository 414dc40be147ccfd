"""Values are called what the text calls them, whether a person or MLIR wrote it, and are found by these names."""

from __future__ import annotations

import pytest

from passes.errors import UserError
from passes.program.entry import find_entry
from passes.program.read import parse
from passes.program.value_names import ValueNames, find_value
from passes.program.walk import operations
from passes.program.write import PrintOptions, to_text

TEXT = """func.func @main(%in: tensor<4xf32>) -> tensor<4xf32> {
  %twice = stablehlo.add %in, %in : tensor<4xf32> // é
  %pair:2 = call @f(%twice) : (tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>)
  return %pair#1 : tensor<4xf32>
}
func.func private @f(%in: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
  %inner = stablehlo.tanh %in : tensor<4xf32>
  return %in, %inner : tensor<4xf32>, tensor<4xf32>
}
"""


def test_a_persons_names() -> None:
    program = parse(TEXT)
    names = ValueNames(program)
    found = [names.of_results(op) for op in operations(program.module) if len(op.results)]
    assert found == [["%twice"], ["%pair#0", "%pair#1"], ["%inner"]]
    assert names.of_argument(find_entry(program).regions[0].blocks[0].arguments[0]) == "%in"


def test_results_with_a_name_each() -> None:
    program = parse(TEXT.replace("%pair:2 =", "%one, %two =").replace("%pair#1", "%two"))
    names = ValueNames(program)
    assert [names.of_results(op) for op in operations(program.module) if op.name == "func.call"] == [["%one", "%two"]]
    assert find_value(program, "%two", find_entry(program)).result_number == 1


def test_mlirs_names_when_locations_are_the_models() -> None:
    program = parse(TEXT.replace("// é", 'loc("model.py":1:1)'))
    program = parse(to_text(program.module, PrintOptions(debuginfo=True)))
    names = ValueNames(program)
    assert [names.of_results(op) for op in operations(program.module) if op.name == "stablehlo.add"] == [["%0"]]


def test_values_are_found() -> None:
    program = parse(TEXT)
    main = find_entry(program)
    assert find_value(program, "%twice", main).owner.name == "stablehlo.add"
    assert find_value(program, "%pair", main).result_number == 0
    assert find_value(program, "%pair#1", main).result_number == 1
    assert find_value(program, "%inner", main).owner.name == "stablehlo.tanh"
    assert find_value(program, "%in", main) == main.regions[0].blocks[0].arguments[0]
    assert find_value(program, "@f%in", main) != main.regions[0].blocks[0].arguments[0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("%twic", "no value is called %twic; close ones are %twice"),
        ("twice", "'twice' is no value; write it as the program does"),
        ("@g%in", "there is no function @g; the program has @main, @f"),
        ("%pair#2", "no value is called %pair#2; close ones are %pair#"),
    ],
)
def test_unknown_values_are_errors(text: str, message: str) -> None:
    program = parse(TEXT)
    with pytest.raises(UserError) as caught:
        find_value(program, text, find_entry(program))
    assert message in str(caught.value)
