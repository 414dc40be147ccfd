"""Shardings go through ``stablehlo.if`` in both directions, and the program has its ifs back and computes the same."""

from __future__ import annotations

from passes.execute.verify import verify
from passes.partition.partition import partition
from passes.program.read import parse
from passes.program.walk import named, operations
from passes.program.write import to_text
from passes.sharding.explain import Explainer, lines
from passes.sharding.propagate import PropagateOptions, propagate

# One inside another and inside a function called twice; branches that want two layouts; a constant predicate.
NESTED = """
sdy.mesh @mesh = <["x"=2, "y"=2]>
func.func private @pick(%p: tensor<i1>, %a: tensor<8x4xf32>) -> tensor<8x4xf32> {
  %0 = "stablehlo.if"(%p) ({
    %1 = stablehlo.abs %a : tensor<8x4xf32>
    stablehlo.return %1 : tensor<8x4xf32>
  }, {
    stablehlo.return %a : tensor<8x4xf32>
  }) : (tensor<i1>) -> tensor<8x4xf32>
  return %0 : tensor<8x4xf32>
}
func.func @main(%a: tensor<8x4xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {}]>},
                %b: tensor<8x4xf32> {sdy.sharding = #sdy.sharding<@mesh, [{}, {"y"}]>}, %n: tensor<i32>)
    -> (tensor<8x4xf32>, tensor<8x4xf32>) {
  %true = stablehlo.constant dense<true> : tensor<i1>
  %zero = stablehlo.constant dense<0> : tensor<i32>
  %p = stablehlo.compare LT, %n, %zero : (tensor<i32>, tensor<i32>) -> tensor<i1>
  %0:2 = "stablehlo.if"(%p) ({
    %1 = func.call @pick(%p, %a) : (tensor<i1>, tensor<8x4xf32>) -> tensor<8x4xf32>
    stablehlo.return %1, %b : tensor<8x4xf32>, tensor<8x4xf32>
  }, {
    %2 = "stablehlo.if"(%true) ({
      stablehlo.return %b : tensor<8x4xf32>
    }, {
      stablehlo.return %a : tensor<8x4xf32>
    }) : (tensor<i1>) -> tensor<8x4xf32>
    %3 = func.call @pick(%true, %b) : (tensor<i1>, tensor<8x4xf32>) -> tensor<8x4xf32>
    stablehlo.return %2, %3 : tensor<8x4xf32>, tensor<8x4xf32>
  }) : (tensor<i1>) -> (tensor<8x4xf32>, tensor<8x4xf32>)
  return %0#0, %0#1 : tensor<8x4xf32>, tensor<8x4xf32>
}"""

BACK = """
sdy.mesh @mesh = <["x"=2]>
func.func @main(%p: tensor<i1>, %a: tensor<8xf32>)
    -> (tensor<8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}]>}) {
  %0 = "stablehlo.if"(%p) ({
    %1 = stablehlo.abs %a : tensor<8xf32>
    stablehlo.return %1 : tensor<8xf32>
  }, {
    stablehlo.return %a : tensor<8xf32>
  }) {note = 1 : i64} : (tensor<i1>) -> tensor<8xf32>
  return %0 : tensor<8xf32>
}"""


def test_nested_branches_that_disagree() -> None:
    original, sharded, device = parse(NESTED), parse(NESTED), parse(NESTED)
    propagate(sharded, PropagateOptions(reshards=False))
    names = [op.name for op in operations(sharded.module)]
    # A function that is called in two layouts is there twice.
    assert names.count("stablehlo.if") == 2 + names.count("func.func") - 1
    assert not {"stablehlo.case", "stablehlo.not", "stablehlo.convert"} & set(names)
    assert "shlo.if" not in to_text(sharded.module)
    found = verify(original, sharded, xla_partition=True)
    assert found.ok, found.lines()
    report = partition(device)
    for seed in range(4):
        found = verify(original, device, report.side_table, seed=seed)
        assert found.ok, found.lines()


def test_shardings_go_back_into_branches() -> None:
    program = parse(BACK)
    propagate(program, PropagateOptions(reshards=False))
    (branching,) = named(program.module, frozenset({"stablehlo.if"}))
    assert str(branching.attributes["sdy.sharding"]) == '#sdy.sharding_per_value<[<@mesh, [{"x"}]>]>'
    assert "note" in branching.attributes
    device = parse(BACK)
    report = partition(device)
    assert not report.traffic
    found = verify(parse(BACK), device, report.side_table)
    assert found.ok, found.lines()


def test_a_chain_goes_through_a_branch() -> None:
    explainer = Explainer(parse(BACK))
    explainer.ask_value("%1")
    told = lines(explainer.answer())
    assert told[0] == "%1 (abs): f32[8] P('x')"
    ways = [line.split("  ")[2].strip() for line in told[3:]]
    assert ways[-1] == "%1 (abs), dimension 0"
    assert "%0 (if), dimension 0" in ways
    assert any("from the result back to what is returned" in line for line in told)


def test_without_shardings_nothing_changes() -> None:
    text = BACK.replace(' {sdy.sharding = #sdy.sharding<@mesh, [{"x"}]>}', "").replace('sdy.mesh @mesh = <["x"=2]>', "")
    program, before = parse(text), to_text(parse(text).module)
    propagate(program)
    assert to_text(program.module) == before
