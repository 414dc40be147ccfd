"""Indices that were computed in floats."""

from __future__ import annotations

from typing import Any

import pytest

from passes.errors import Where

SLICE = "%r = stablehlo.dynamic_slice %x, %0, sizes = [2] : (tensor<8xf32>, tensor<i32>) -> tensor<2xf32>"
UPDATE = ("%r = stablehlo.dynamic_update_slice %x, %u, %0 : (tensor<8xf32>, tensor<2xf32>, tensor<i32>) "
          "-> tensor<8xf32>")  # fmt: skip
WIDE = "%i = stablehlo.reshape %0 : (tensor<i32>) -> tensor<1xi32>\n  "
GATHER = (
    WIDE + '%r = "stablehlo.gather"(%x, %i) <{dimension_numbers = #stablehlo.gather<collapsed_slice_dims = [0], '
    "start_index_map = [0]>, slice_sizes = array<i64: 1>}> : (tensor<8xf32>, tensor<1xi32>) -> tensor<f32>"
)
SCATTER = (
    WIDE + '%r = "stablehlo.scatter"(%x, %i, %f) <{scatter_dimension_numbers = #stablehlo.scatter<'
    "inserted_window_dims = [0], scatter_dims_to_operand_dims = [0]>}> ({\n  ^bb0(%l: tensor<f32>, %q: tensor<f32>):\n"
    "    stablehlo.return %q : tensor<f32>\n  }) : (tensor<8xf32>, tensor<1xi32>, tensor<f32>) -> tensor<8xf32>"
)
CONVERTED = "%0 = stablehlo.convert %f : (tensor<f32>) -> tensor<i32>"


def program(*lines: str) -> str:
    body = "\n  ".join(lines)
    return f"""\
func.func @main(%x: tensor<8xf32>, %u: tensor<2xf32>, %f: tensor<f32>, %n: tensor<i32>, %p: tensor<i1>) {{
  {body}
  return
}}
"""


@pytest.mark.parametrize("use", [SLICE, UPDATE, GATHER, SCATTER])
def test_ops_that_index(lint: Any, use: str) -> None:
    [finding] = lint("float-index", program(CONVERTED, use))
    assert finding.where == Where("in.mlir", 4 if "reshape" in use else 3, 8)
    name = use.partition("stablehlo.")[2] if "reshape" not in use else use.partition('"stablehlo.')[2]
    shown = name.split()[0].split('"')[0]
    assert finding.message == (
        f"indices of {shown} come from f32 (line 2), which holds integers up to 16,777,216 only, and NaN")
    assert finding.todo == "compute them in integers"


@pytest.mark.parametrize("lines", [
    ["%c = stablehlo.convert %f : (tensor<f32>) -> tensor<i64>", "%0 = stablehlo.convert %c : (tensor<i64>) -> "
     "tensor<i32>"],
    ["%c = stablehlo.convert %f : (tensor<f32>) -> tensor<i32>", "%1 = stablehlo.add %c, %n : tensor<i32>",
     "%2 = stablehlo.add %n, %n : tensor<i32>", "%0 = stablehlo.select %p, %2, %1 : tensor<i1>, tensor<i32>"],
    ["%c = stablehlo.convert %f : (tensor<f32>) -> tensor<i32>", "%1 = stablehlo.multiply %c, %c : tensor<i32>",
     "%2 = stablehlo.multiply %1, %1 : tensor<i32>", "%3 = stablehlo.multiply %2, %2 : tensor<i32>",
     "%0 = stablehlo.clamp %n, %3, %n : tensor<i32>"],
])  # fmt: skip
def test_arithmetic_on_indices_is_looked_through(lint: Any, lines: list[str]) -> None:
    assert len(lint("float-index", program(*lines, SLICE))) == 1


@pytest.mark.parametrize("lines", [
    ["%0 = stablehlo.add %n, %n : tensor<i32>"],
    # A float that only chooses between indices.
    ["%1 = stablehlo.compare LT, %f, %f : (tensor<f32>, tensor<f32>) -> tensor<i1>",
     "%0 = stablehlo.select %1, %n, %n : tensor<i1>, tensor<i32>"],
    ["%0 = stablehlo.convert %p : (tensor<i1>) -> tensor<i32>"],
    # Bits are no conversion.
    ["%0 = stablehlo.bitcast_convert %f : (tensor<f32>) -> tensor<i32>"],
])  # fmt: skip
def test_integers_all_the_way(lint: Any, lines: list[str]) -> None:
    assert lint("float-index", program(*lines, SLICE)) == []


def test_the_values_of_a_gather_may_come_from_floats(lint: Any) -> None:
    text = program("%y = stablehlo.convert %x : (tensor<8xf32>) -> tensor<8xi32>",
                   "%r = stablehlo.dynamic_slice %y, %n, sizes = [2] : (tensor<8xi32>, tensor<i32>) -> tensor<2xi32>")
    assert lint("float-index", text) == []


def test_an_origin_is_named_once_for_each_op(lint: Any) -> None:
    text = """\
func.func @main(%x: tensor<8x8xf32>, %f: tensor<f32>, %g: tensor<f16>) {
  %0 = stablehlo.convert %f : (tensor<f32>) -> tensor<i32>
  %1 = stablehlo.negate %0 : tensor<i32>
  %2 = stablehlo.convert %g : (tensor<f16>) -> tensor<i32>
  %3 = stablehlo.add %0, %0 : tensor<i32>
  %4 = stablehlo.dynamic_slice %x, %0, %3, sizes = [2, 2]
    : (tensor<8x8xf32>, tensor<i32>, tensor<i32>) -> tensor<2x2xf32>
  %5 = stablehlo.dynamic_slice %x, %0, %2, sizes = [2, 2]
    : (tensor<8x8xf32>, tensor<i32>, tensor<i32>) -> tensor<2x2xf32>
  return
}
"""
    found = lint("float-index", text)
    assert [(f.where.line, f.message.split()[5]) for f in found] == [(6, "f32"), (8, "f32"), (8, "f16")]


def test_a_long_chain_is_no_recursion(lint: Any) -> None:
    links = [f"%{i + 1} = stablehlo.add %{i}, %n : tensor<i32>" for i in range(3000)]
    use = SLICE.replace("%0", "%3000")
    assert len(lint("float-index", program(CONVERTED, *links, use))) == 1
