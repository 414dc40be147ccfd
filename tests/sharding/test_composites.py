"""Composites stay composites, shardings go through them, and the programs compute the same."""

from __future__ import annotations

import re
from pathlib import Path

from passes.execute.verify import verify
from passes.program.read import Program, parse, read
from passes.program.write import to_text
from passes.sharding.propagate import PropagateOptions, propagate

BLOCKS = Path(__file__).parent / "inputs" / "composites.mlir"
XLA = PropagateOptions(reshards=False)

# The first of two composites has a rule: its rows may be split, its columns may not.
RULED = """
sdy.mesh @mesh = <["x"=4, "y"=2]>
func.func private @inner(%a: tensor<8x8xf32>) -> tensor<8x8xf32> {
  %0 = stablehlo.sine %a : tensor<8x8xf32>
  return %0 : tensor<8x8xf32>
}
func.func private @outer(%a: tensor<8x8xf32>) -> tensor<8x8xf32> {
  %0 = stablehlo.composite "my.inner" %a {
    composite_attributes = {c = dense<(1.0, 2.0)> : tensor<complex<f32>>}, decomposition = @inner}
    : (tensor<8x8xf32>) -> tensor<8x8xf32>
  return %0 : tensor<8x8xf32>
}
func.func @main(%a: tensor<8x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {"y"}]>})
    -> (tensor<8x8xf32>, tensor<8x8xf32>) {
  %0 = stablehlo.composite "my.ruled" %a {decomposition = @outer, mhlo.frontend_attributes = {team = "mine"},
    sdy.sharding_rule = #sdy.op_sharding_rule<([i, j])->([i, k]) {i=8, j=8, k=8} need_replication={j, k}, custom>}
    : (tensor<8x8xf32>) -> tensor<8x8xf32>
  %1 = stablehlo.composite "my.plain" %a {decomposition = @outer, mhlo.frontend_attributes = {team = "mine"}}
    : (tensor<8x8xf32>) -> tensor<8x8xf32>
  return %0, %1 : tensor<8x8xf32>, tensor<8x8xf32>
}"""


def check(original: Program, sharded: Program) -> None:
    report = verify(original, sharded, xla_partition=True)
    assert report.ok, "\n".join(report.lines())


def composites(text: str) -> list[str]:
    return re.findall(r"stablehlo\.composite .*", text)


def test_the_blocks_compute_the_same_and_keep_every_composite() -> None:
    sharded = read(str(BLOCKS))
    report = propagate(sharded, XLA)
    assert not report.unruled
    check(read(str(BLOCKS)), sharded)
    names = [line.split('"')[1] for line in composites(to_text(sharded.module))]
    assert sorted(names) == ["net.block"] * 2 + ["net.gelu"] * 2 + ["net.norm"] * 3


def test_propagating_twice_changes_nothing() -> None:
    for reshards in (False, True):
        sharded = read(str(BLOCKS))
        propagate(sharded, PropagateOptions(reshards=reshards))
        once = to_text(sharded.module)
        propagate(sharded, PropagateOptions(reshards=reshards))
        assert to_text(sharded.module) == once


def test_without_shardings_the_program_is_as_it_was() -> None:
    bare = re.sub(r" \{sdy\.sharding = #sdy\.sharding<.*?>\}", "", BLOCKS.read_text())
    program = parse(bare)
    before = to_text(program.module)
    assert "sdy.sharding" not in before
    propagate(program, XLA)
    assert to_text(program.module) == before


def test_a_composite_with_a_rule_stays_whole_and_its_rule_holds() -> None:
    sharded = parse(RULED)
    assert not propagate(sharded, XLA).unruled
    ruled, plain = composites(to_text(sharded.module).split("@main")[1])
    assert 'need_replication={j, k}, custom>' in ruled
    assert 'sharding_per_value<[<@mesh, [{"x"}, {}]>]>' in ruled
    assert 'sharding_per_value<[<@mesh, [{"x"}, {"y"}]>]>' in plain
    assert 'frontend_attributes = {team = "mine"}' in ruled
    assert 'frontend_attributes = {team = "mine"}' in plain
    assert "c = dense<(1.000000e+00,2.000000e+00)>" in to_text(sharded.module)
    check(parse(RULED), sharded)


def test_a_composite_whose_result_is_its_argument_and_one_that_nothing_uses() -> None:
    text = """
sdy.mesh @mesh = <["x"=8]>
func.func private @same(%a: tensor<8xf32>, %b: tensor<8xf32>) -> (tensor<8xf32>, tensor<8xf32>) {
  return %b, %b : tensor<8xf32>, tensor<8xf32>
}
func.func @main(%a: tensor<8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}]>}, %b: tensor<8xf32>) -> tensor<8xf32> {
  %0:2 = stablehlo.composite "my.same" %b, %a {decomposition = @same, version = 3 : i32}
    : (tensor<8xf32>, tensor<8xf32>) -> (tensor<8xf32>, tensor<8xf32>)
  %1:2 = stablehlo.composite "my.unused" %b, %a {decomposition = @same}
    : (tensor<8xf32>, tensor<8xf32>) -> (tensor<8xf32>, tensor<8xf32>)
  return %0#1 : tensor<8xf32>
}"""
    sharded = parse(text)
    propagate(sharded, XLA)
    result = to_text(sharded.module)
    assert ['"my.same" %arg1, %arg0' in line for line in composites(result)] == [True, False]
    assert result.count("func.func private @same") == 1
    assert '-> (tensor<8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}]>}) {\n    %0:2' in result
    check(parse(text), sharded)
