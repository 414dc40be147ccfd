"""What is told of the way from one program to another."""

from __future__ import annotations

from passes.pipeline import runner, textual
from passes.program import read
from passes.report.difference import Difference, counts

TEXT = """func.func @main(%a: tensor<4xf32>) -> tensor<4xf32> {
  %0 = stablehlo.add %a, %a : tensor<4xf32> loc("f/add")
  %1 = stablehlo.add %a, %a : tensor<4xf32> loc("f/add")
  %2 = stablehlo.negate %a : tensor<4xf32> loc("f/neg")
  %3 = stablehlo.multiply %0, %1 : tensor<4xf32> loc("m.py":3:1)
  return %3 : tensor<4xf32>
}"""


def test_counts_are_by_kind_and_place() -> None:
    found = counts(read.parse(TEXT))
    assert found["add", "f/add"] == 2 and found["negate", "f/neg"] == 1 and found["multiply", "m.py:3"] == 1


def test_passes_say_why_ops_went() -> None:
    program = read.parse(TEXT)
    before = counts(program)
    ran = runner.run(program, textual.parse("builtin.module(cse,dead-ops)"), runner.RunOptions(note_removals=True))
    data = Difference("cse,dead-ops", before, counts(program), ran.statistics).to_json()
    assert ["add", 2, 1] in data["kinds"] and ["negate", 1, 0] in data["kinds"] and ["multiply", 1, 1] in data["kinds"]
    assert ["negate", "f/neg", 1, 0] in data["places"]
    assert not [place for place in data["places"] if place[0] == "multiply"]
    gone = {(name, op, place): (why, count) for name, why, op, place, count in data["removals"]}
    assert gone["cse", "add", "f/add"] == ("merged into an equal op", 1)
    assert gone["dead-ops", "negate", "f/neg"][1] == 1
    assert data["silent"] == []


def test_native_passes_are_silent() -> None:
    program = read.parse(TEXT)
    before = counts(program)
    ran = runner.run(program, textual.parse("builtin.module(native-cse)"), runner.RunOptions(note_removals=True))
    data = Difference("native-cse", before, counts(program), ran.statistics).to_json()
    assert data["silent"] == [ran.statistics[0].name] and data["removals"] == []
    assert ["negate", 1, 0] in data["kinds"]
