"""Estimates add up: loops by their count, calls by call, the heaviest branch; bytes sent of whole plans."""

from __future__ import annotations

from pathlib import Path

import pytest

from passes.cost import device
from passes.cost.estimate import Estimate, estimate
from passes.cost.graph import read_graph
from passes.cost.program_cost import cost
from passes.errors import UserError
from passes.program import read
from passes.program.entry import arguments, find_entry
from passes.program.types import byte_size
from passes.sharding.annotate import annotate
from passes.sharding.rules_file import load

EXAMPLES = Path(__file__).parents[2] / "examples"
V5E = device.load("tpu_v5e")
DOT = 2 * 16 * 16 * 16


def _estimate(text: str, unknown_runs: int = 1) -> Estimate:
    return estimate(read_graph(read.parse(text), unknown_runs=unknown_runs), V5E)


LOOP = """func.func @main(%a: tensor<16x16xf32>, %n: tensor<i32>) -> tensor<16x16xf32> {{
  %zero = stablehlo.constant dense<0> : tensor<i32>
  %one = stablehlo.constant dense<1> : tensor<i32>
  %twelve = stablehlo.constant dense<12> : tensor<i32>
  %0:2 = stablehlo.while(%i = %zero, %x = %a) : tensor<i32>, tensor<16x16xf32>
  cond {{
    %more = stablehlo.compare LT, %i, {end} : (tensor<i32>, tensor<i32>) -> tensor<i1>
    stablehlo.return %more : tensor<i1>
  }} do {{
    %y = func.call @layer(%x) : (tensor<16x16xf32>) -> tensor<16x16xf32>
    %j = stablehlo.add %i, %one : tensor<i32>
    stablehlo.return %j, %y : tensor<i32>, tensor<16x16xf32>
  }}
  return %0#1 : tensor<16x16xf32>
}}
func.func private @layer(%x: tensor<16x16xf32>) -> tensor<16x16xf32> {{
  %y = stablehlo.dot %x, %x : (tensor<16x16xf32>, tensor<16x16xf32>) -> tensor<16x16xf32>
  return %y : tensor<16x16xf32>
}}"""


def _dots(found: Estimate) -> int:
    return sum(op.flops for op in found.ops if op.node.name == "stablehlo.dot")


def test_loops_count_by_how_often_they_run() -> None:
    found = _estimate(LOOP.format(end="%twelve"))
    assert _dots(found) == 12 * DOT
    assert not found.graph.unknown_loops


def test_loops_of_unknown_length_count_as_often_as_one_says() -> None:
    found = _estimate(LOOP.format(end="%n"), unknown_runs=5)
    assert _dots(found) == 5 * DOT
    assert len(found.graph.unknown_loops) == 1


def test_of_branches_the_heaviest_counts() -> None:
    found = _estimate("""func.func @main(%i: tensor<i32>, %a: tensor<16x16xf32>) -> tensor<16x16xf32> {
  %0 = "stablehlo.case"(%i) ({
    %t = stablehlo.dot %a, %a : (tensor<16x16xf32>, tensor<16x16xf32>) -> tensor<16x16xf32>
    stablehlo.return %t : tensor<16x16xf32>
  }, {
    %s = stablehlo.add %a, %a : tensor<16x16xf32>
    stablehlo.return %s : tensor<16x16xf32>
  }) : (tensor<i32>) -> tensor<16x16xf32>
  return %0 : tensor<16x16xf32>
}""")
    assert found.flops == DOT


def test_dynamic_shapes_are_refused_by_name() -> None:
    with pytest.raises(UserError, match=r"tensor<\?xf32> has no static shape"):
        _estimate("func.func @main(%a: tensor<?xf32>) -> tensor<?xf32> {\n  return %a : tensor<?xf32>\n}")


def test_data_parallel_sends_its_gradients_once() -> None:
    rules = str(EXAMPLES / "decoder/dp.toml")
    program = read.read(str(EXAMPLES / "decoder/train_step.mlir"))
    weights = [v for v in arguments(find_entry(program)) if v.name.startswith("params")]
    annotate(program, load(rules))
    found = cost(program, V5E)
    gradients = sum(byte_size(v.type) for v in weights)
    loss = 4
    n = found.devices
    assert found.estimate.sent == pytest.approx(2 * (n - 1) / n * (gradients + loss))
    # Every device updates all weights.
    assert found.redundancy is not None and 1.0 < found.redundancy < 1.05


def test_megatron_reduces_four_activations_a_layer() -> None:
    """Forward and backward, attention and mlp: 4 all_reduces of [batch, sequence, hidden] over ``model``."""
    program = read.read(str(EXAMPLES / "decoder/train_step.mlir"))
    annotate(program, load(str(EXAMPLES / "decoder/megatron.toml")))
    found = cost(program, V5E)
    reduces = [op for op in found.estimate.ops if op.node.exchange and len(op.node.exchange.group) == 4]
    x = next(v for v in arguments(find_entry(program)) if v.name == "x")
    assert [op.node.name for op in reduces] == ["stablehlo.all_reduce"] * 4
    assert sum(op.sent for op in reduces) == pytest.approx(4 * 2 * 3 / 4 * byte_size(x.type))
