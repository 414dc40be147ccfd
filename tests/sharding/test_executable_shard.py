"""What `shlo shard` writes, partitioned by XLA itself and run on 8 virtual devices, equals the program before."""

from __future__ import annotations

from pathlib import Path

import pytest

from passes.execute.verify import verify
from passes.program.read import Program, parse, read
from passes.sharding.annotate import annotate
from passes.sharding.propagate import PropagateOptions, propagate
from passes.sharding.rules_file import load

EXAMPLES = Path(__file__).parents[2] / "examples"

CASES = [
    ("decoder", "forward", "megatron"),
    ("decoder", "train_step", "fsdp"),
    ("lm_head", "train_step", "vocabulary"),
    ("moe", "forward", "expert_all"),
    ("scan_layers", "train_step", "layers"),
]

# Calls with two shardings, a constraint, a loop, a maximum and an indivisible slice.
MIXED = """
sdy.mesh @mesh = <["x"=4, "y"=2]>
func.func private @double(%a: tensor<8x8xf32>) -> tensor<8x8xf32> {
  %0 = stablehlo.add %a, %a : tensor<8x8xf32>
  return %0 : tensor<8x8xf32>
}
func.func @main(%a: tensor<8x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {}]>})
    -> (tensor<8xf32>, tensor<8x8xf32>, tensor<8x8xf32>, tensor<6x6xf32>) {
  %zero = stablehlo.constant dense<0.0> : tensor<f32>
  %one = stablehlo.constant dense<1> : tensor<i32>
  %three = stablehlo.constant dense<3> : tensor<i32>
  %0 = stablehlo.reduce(%a init: %zero) applies stablehlo.maximum across dimensions = [0]
    : (tensor<8x8xf32>, tensor<f32>) -> tensor<8xf32>
  %1 = sdy.sharding_constraint %a <@mesh, [{}, {"y"}]> : tensor<8x8xf32>
  %2 = func.call @double(%1) : (tensor<8x8xf32>) -> tensor<8x8xf32>
  %3 = func.call @double(%a) : (tensor<8x8xf32>) -> tensor<8x8xf32>
  %4:2 = stablehlo.while(%x = %a, %i = %one) : tensor<8x8xf32>, tensor<i32>
  cond {
    %6 = stablehlo.compare LT, %i, %three : (tensor<i32>, tensor<i32>) -> tensor<i1>
    stablehlo.return %6 : tensor<i1>
  } do {
    %6 = stablehlo.add %x, %3 : tensor<8x8xf32>
    %7 = stablehlo.add %i, %one : tensor<i32>
    stablehlo.return %6, %7 : tensor<8x8xf32>, tensor<i32>
  }
  %5 = stablehlo.slice %a [0:6, 0:6] : (tensor<8x8xf32>) -> tensor<6x6xf32>
  return %0, %2, %4#0, %5 : tensor<8xf32>, tensor<8x8xf32>, tensor<8x8xf32>, tensor<6x6xf32>
}"""


def check(original: Program, sharded: Program) -> None:
    report = verify(original, sharded, xla_partition=True)
    assert report.ok, "\n".join(report.lines())


@pytest.mark.parametrize(("example", "program", "rules"), CASES)
def test_examples(example: str, program: str, rules: str) -> None:
    path = str(EXAMPLES / example / f"{program}.mlir")
    sharded = read(path)
    annotate(sharded, load(str(EXAMPLES / example / f"{rules}.toml")))
    propagate(sharded, PropagateOptions(reshards=False))
    check(read(path), sharded)


def test_calls_constraints_and_loops() -> None:
    sharded = parse(MIXED)
    propagate(sharded, PropagateOptions(reshards=False))
    check(parse(MIXED), sharded)
