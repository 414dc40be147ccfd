"""Composites in per-device programs: kept where they stay on the device, flat and reported where they do not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from passes.execute.verify import verify
from passes.partition.partition import partition
from passes.partition.report import Report
from passes.program.read import parse, read
from passes.program.walk import operations
from passes.program.write import to_text

BLOCKS = Path(__file__).parents[1] / "sharding" / "inputs" / "composites.mlir"
MESH = 'sdy.mesh @mesh = <["x"=4, "y"=2]>\n'


def check(body: str) -> tuple[str, Report]:
    """The per-device program, proven to compute what ``body`` does, and the report."""
    program = parse(MESH + body, "here.mlir")
    report = partition(program)
    found = verify(parse(MESH + body), program, report.side_table)
    assert found.ok, "\n".join(found.lines())
    text = to_text(program.module)
    assert "shlo." not in text
    assert "optimization_barrier" not in text
    return text, report


def composites(text: str) -> list[str]:
    return re.findall(r'stablehlo\.composite "([^"]+)"', text)


def test_blocks_whose_sums_cross_devices_are_flat_and_what_is_in_them_is_kept() -> None:
    program = read(str(BLOCKS))
    report = partition(program)
    text = to_text(program.module)
    assert composites(text) == ["net.norm", "net.gelu", "net.norm", "net.gelu", "net.norm"]
    kept = "composite_attributes = {axes = [1], eps = 1.000000e+00 : f32}, decomposition = @norm, version = 2 : i32"
    assert text.count(kept) == 2
    assert "@norm_1(%arg0: tensor<8x16xf32>) -> tensor<8x16xf32>" in text
    assert "@gelu(%arg0: tensor<4x8xf32>) -> tensor<4x8xf32>" in text
    assert [(f.name, f.reason) for f in report.flat] == [("net.block", "the plan puts all_reduce into it")] * 2
    assert [f.where.line for f in report.flat if f.where] == [44, 46]
    assert f"{BLOCKS}:44:12: composite 'net.block' stays flat: the plan puts all_reduce into it" in report.lines()
    found = verify(read(str(BLOCKS)), program, report.side_table)
    assert found.ok, "\n".join(found.lines())


def test_with_a_trace_composites_are_flat() -> None:
    program = read(str(BLOCKS))
    partition(program, trace=True)
    assert not any(op.name == "stablehlo.composite" for op in operations(program.module))


NESTED = """
func.func private @inner(%a: tensor<8x8xf32>, %b: tensor<8x8xf32>) -> tensor<8x8xf32> {
  %zero = stablehlo.constant dense<0.0> : tensor<f32>
  %shift = stablehlo.constant dense<0.5> : tensor<8xf32>
  %0 = stablehlo.reduce(%a init: %zero) applies stablehlo.add across dimensions = [1]
    : (tensor<8x8xf32>, tensor<f32>) -> tensor<8xf32>
  %1 = stablehlo.add %0, %shift : tensor<8xf32>
  %2 = stablehlo.broadcast_in_dim %1, dims = [0] : (tensor<8xf32>) -> tensor<8x8xf32>
  %3 = stablehlo.subtract %2, %b : tensor<8x8xf32>
  return %3 : tensor<8x8xf32>
}
func.func private @outer(%a: tensor<8x8xf32>, %b: tensor<8x8xf32>) -> (tensor<8x8xf32>, tensor<8x8xf32>) {
  %shift = stablehlo.constant dense<0.5> : tensor<8x8xf32>
  %0 = stablehlo.composite "my.inner" %a, %b {decomposition = @inner, composite_attributes = {n = 1 : i64}}
    : (tensor<8x8xf32>, tensor<8x8xf32>) -> tensor<8x8xf32>
  %1 = stablehlo.composite "my.inner" %0, %shift {decomposition = @inner, composite_attributes = {n = 2 : i64}}
    : (tensor<8x8xf32>, tensor<8x8xf32>) -> tensor<8x8xf32>
  return %b, %1 : tensor<8x8xf32>, tensor<8x8xf32>
}
"""


def test_nested_composites_arguments_returned_and_shared_constants() -> None:
    text, report = check(NESTED + """
func.func @main(%a: tensor<8x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {}]>},
                %b: tensor<8x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {}]>})
    -> (tensor<8x8xf32>, tensor<8x8xf32>, tensor<8x8xf32>) {
  %shift = stablehlo.constant dense<0.5> : tensor<8x8xf32>
  %0:2 = stablehlo.composite "my.outer" %a, %b {decomposition = @outer, version = 5 : i32}
    : (tensor<8x8xf32>, tensor<8x8xf32>) -> (tensor<8x8xf32>, tensor<8x8xf32>)
  %1:2 = stablehlo.composite "my.outer" %0#1, %0#0 {decomposition = @outer, version = 5 : i32}
    : (tensor<8x8xf32>, tensor<8x8xf32>) -> (tensor<8x8xf32>, tensor<8x8xf32>)
  %2 = stablehlo.add %1#1, %shift : tensor<8x8xf32>
  return %0#0, %1#0, %2 : tensor<8x8xf32>, tensor<8x8xf32>, tensor<8x8xf32>
}""")
    assert not report.flat
    assert sorted(composites(text)) == ["my.inner"] * 2 + ["my.outer"] * 2
    assert text.count("func.func private") == 2
    assert "@outer(%arg0: tensor<2x8xf32>, %arg1: tensor<2x8xf32>) -> (tensor<2x8xf32>, tensor<2x8xf32>)" in text
    assert "return %arg1, %" in text
    assert "decomposition = @outer, version = 5 : i32" in text


def test_composites_in_a_loop() -> None:
    text, report = check(NESTED + """
func.func @main(%a: tensor<8x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {}]>},
                %b: tensor<8x8xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {}]>}) -> tensor<8x8xf32> {
  %zero = stablehlo.constant dense<0> : tensor<i32>
  %one = stablehlo.constant dense<1> : tensor<i32>
  %two = stablehlo.constant dense<2> : tensor<i32>
  %0:2 = stablehlo.while(%i = %zero, %x = %a) : tensor<i32>, tensor<8x8xf32>
  cond {
    %1 = stablehlo.compare LT, %i, %two : (tensor<i32>, tensor<i32>) -> tensor<i1>
    stablehlo.return %1 : tensor<i1>
  } do {
    %1 = stablehlo.add %i, %one : tensor<i32>
    %2 = stablehlo.composite "my.inner" %x, %b {decomposition = @inner}
      : (tensor<8x8xf32>, tensor<8x8xf32>) -> tensor<8x8xf32>
    stablehlo.return %1, %2 : tensor<i32>, tensor<8x8xf32>
  }
  return %0#1 : tensor<8x8xf32>
}""")
    assert not report.flat
    assert composites(text) == ["my.inner"]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("%v = stablehlo.iota dim = 0 : tensor<8x8xf32>", "each device computes something else in it"),
        ("%v = stablehlo.reverse %a, dims = [0] : tensor<8x8xf32>", "the plan puts collective_permute into it"),
    ],
)
def test_what_depends_on_the_device_stays_flat(value: str, reason: str) -> None:
    text, report = check(f"""
func.func private @shifted(%a: tensor<8x8xf32>) -> tensor<8x8xf32> {{
  {value}
  %0 = stablehlo.add %a, %v : tensor<8x8xf32>
  return %0 : tensor<8x8xf32>
}}
func.func @main(%a: tensor<8x8xf32> {{sdy.sharding = #sdy.sharding<@mesh, [{{"x"}}, {{}}]>}})
    -> (tensor<8x8xf32> {{sdy.sharding = #sdy.sharding<@mesh, [{{"x"}}, {{}}]>}}) {{
  %0 = stablehlo.composite "my.shifted" %a {{decomposition = @shifted}} : (tensor<8x8xf32>) -> tensor<8x8xf32>
  return %0 : tensor<8x8xf32>
}}""")
    assert not composites(text)
    assert [(f.name, f.reason) for f in report.flat] == [("my.shifted", reason)]
