"""The counter of ``benchmarks/leftovers.py``: every row counts what it says, and nothing that only looks like it."""

from __future__ import annotations

from typing import Any

import pytest
from leftover.count import count
from leftover.rows import ROWS

from passes import _mlir

# Row -> ops of a function of %x, %y: tensor<4xf32>, %i, %j: tensor<4xi32>, %p: tensor<4xi1>, %u: tensor<1x4xf32>,
# %m: tensor<2x3xf32>, %s: tensor<f32>, %n: tensor<i32>; the op named %r is the only site.
SITES = {
    "mul-one": "%c = stablehlo.constant dense<1.0> : tensor<4xf32>\n%r = stablehlo.multiply %c, %x : tensor<4xf32>",
    "div-one": "%c = stablehlo.constant dense<1.0> : tensor<4xf32>\n%r = stablehlo.divide %x, %c : tensor<4xf32>",
    "add-zero-float": "%c = stablehlo.constant dense<0.0> : tensor<4xf32>\n"
                      "%a = stablehlo.abs %x : tensor<4xf32>\n%r = stablehlo.add %a, %c : tensor<4xf32>",
    "add-zero-float-signed": "%c = stablehlo.constant dense<0.0> : tensor<4xf32>\n"
                             "%r = stablehlo.add %x, %c : tensor<4xf32>",
    "add-negative-zero": "%c = stablehlo.constant dense<-0.0> : tensor<4xf32>\n"
                         "%r = stablehlo.add %x, %c : tensor<4xf32>",
    "add-zero-int": "%c = stablehlo.constant dense<0> : tensor<4xi32>\n%r = stablehlo.add %c, %i : tensor<4xi32>",
    "sub-zero": "%c = stablehlo.constant dense<0.0> : tensor<4xf32>\n%r = stablehlo.subtract %x, %c : tensor<4xf32>",
    "sub-negative-zero": "%c = stablehlo.constant dense<-0.0> : tensor<4xf32>\n"
                         "%r = stablehlo.subtract %x, %c : tensor<4xf32>",
    "splat-broadcast": "%c = stablehlo.constant dense<2.0> : tensor<f32>\n"
                       "%r = stablehlo.broadcast_in_dim %c, dims = [] : (tensor<f32>) -> tensor<4xf32>",
    "splat-moved": "%c = stablehlo.constant dense<2.0> : tensor<2x3xf32>\n"
                   "%r = stablehlo.transpose %c, dims = [1, 0] : (tensor<2x3xf32>) -> tensor<3x2xf32>",
    "broadcast-unit": "%r = stablehlo.broadcast_in_dim %x, dims = [1] : (tensor<4xf32>) -> tensor<1x4xf32>",
    "broadcast-broadcast": "%a = stablehlo.broadcast_in_dim %s, dims = [] : (tensor<f32>) -> tensor<4xf32>\n"
                           "%r = stablehlo.broadcast_in_dim %a, dims = [1] : (tensor<4xf32>) -> tensor<2x4xf32>",
    "broadcast-reshape": "%a = stablehlo.reshape %u : (tensor<1x4xf32>) -> tensor<4xf32>\n"
                         "%r = stablehlo.broadcast_in_dim %a, dims = [1] : (tensor<4xf32>) -> tensor<2x4xf32>",
    "broadcast-reshape-other": "%a = stablehlo.reshape %m : (tensor<2x3xf32>) -> tensor<6xf32>\n"
                               "%r = stablehlo.broadcast_in_dim %a, dims = [1] : (tensor<6xf32>) -> tensor<2x6xf32>",
    "reshape-broadcast": "%a = stablehlo.broadcast_in_dim %x, dims = [0] : (tensor<4xf32>) -> tensor<4x3xf32>\n"
                         "%r = stablehlo.reshape %a : (tensor<4x3xf32>) -> tensor<4x1x3xf32>",
    "reshape-broadcast-other": "%a = stablehlo.broadcast_in_dim %x, dims = [0] : (tensor<4xf32>) -> tensor<4x3xf32>\n"
                               "%r = stablehlo.reshape %a : (tensor<4x3xf32>) -> tensor<12xf32>",
    "reshape-reshape": "%a = stablehlo.reshape %m : (tensor<2x3xf32>) -> tensor<6xf32>\n"
                       "%r = stablehlo.reshape %a : (tensor<6xf32>) -> tensor<3x2xf32>",
    "transpose-reshape": "%r = stablehlo.transpose %u, dims = [1, 0] : (tensor<1x4xf32>) -> tensor<4x1xf32>",
    "reduce-unit-exact": "%c = stablehlo.constant dense<0xFF800000> : tensor<f32>\n"
                         "%r = stablehlo.reduce(%u init: %c) applies stablehlo.maximum across dimensions = [0]"
                         " : (tensor<1x4xf32>, tensor<f32>) -> tensor<4xf32>",
    "reduce-unit-add-zero": "%c = stablehlo.constant dense<0.0> : tensor<f32>\n"
                            "%r = stablehlo.reduce(%u init: %c) applies stablehlo.add across dimensions = [0]"
                            " : (tensor<1x4xf32>, tensor<f32>) -> tensor<4xf32>",
    "reduce-unit-other": "%r = stablehlo.reduce(%u init: %s) applies stablehlo.maximum across dimensions = [0]"
                         " : (tensor<1x4xf32>, tensor<f32>) -> tensor<4xf32>",
    "equal-block": "%a = stablehlo.sine %x : tensor<4xf32>\n%r = stablehlo.sine %x : tensor<4xf32>",
    "equal-commuted": "%a = stablehlo.add %x, %y : tensor<4xf32>\n%r = stablehlo.add %y, %x : tensor<4xf32>",
    "constant-block": "%a = stablehlo.constant dense<3> : tensor<i32>\n%r = stablehlo.constant dense<3> : tensor<i32>",
    "noop-convert": "%r = stablehlo.convert %x : tensor<4xf32>",
    "noop-reshape": "%r = stablehlo.reshape %x : (tensor<4xf32>) -> tensor<4xf32>",
    "noop-slice": "%r = stablehlo.slice %x [0:4] : (tensor<4xf32>) -> tensor<4xf32>",
    "noop-pad": "%r = stablehlo.pad %x, %s, low = [0], high = [0], interior = [0]"
                " : (tensor<4xf32>, tensor<f32>) -> tensor<4xf32>",
    "noop-broadcast": "%r = stablehlo.broadcast_in_dim %x, dims = [0] : (tensor<4xf32>) -> tensor<4xf32>",
    "noop-transpose": "%r = stablehlo.transpose %m, dims = [0, 1] : (tensor<2x3xf32>) -> tensor<2x3xf32>",
    "noop-reverse": "%r = stablehlo.reverse %u, dims = [0] : tensor<1x4xf32>",
    "noop-concatenate": "%r = stablehlo.concatenate %x, dim = 0 : (tensor<4xf32>) -> tensor<4xf32>",
    "noop-dynamic-slice": "%r = stablehlo.dynamic_slice %x, %n, sizes = [4] : (tensor<4xf32>, tensor<i32>)"
                          " -> tensor<4xf32>",
    "noop-dynamic-update-slice": "%r = stablehlo.dynamic_update_slice %x, %y, %n"
                                 " : (tensor<4xf32>, tensor<4xf32>, tensor<i32>) -> tensor<4xf32>",
    "transpose-transpose": "%a = stablehlo.transpose %m, dims = [1, 0] : (tensor<2x3xf32>) -> tensor<3x2xf32>\n"
                           "%r = stablehlo.transpose %a, dims = [1, 0] : (tensor<3x2xf32>) -> tensor<2x3xf32>",
    "slice-slice": "%a = stablehlo.slice %x [0:3] : (tensor<4xf32>) -> tensor<3xf32>\n"
                   "%r = stablehlo.slice %a [1:2] : (tensor<3xf32>) -> tensor<1xf32>",
    "slice-concatenate": "%a = stablehlo.concatenate %x, %y, dim = 0 : (tensor<4xf32>, tensor<4xf32>)"
                         " -> tensor<8xf32>\n%r = stablehlo.slice %a [5:8] : (tensor<8xf32>) -> tensor<3xf32>",
    "concatenate-slices": "%a = stablehlo.slice %x [0:1] : (tensor<4xf32>) -> tensor<1xf32>\n"
                          "%b = stablehlo.slice %x [1:3] : (tensor<4xf32>) -> tensor<2xf32>\n"
                          "%r = stablehlo.concatenate %a, %b, dim = 0 : (tensor<1xf32>, tensor<2xf32>)"
                          " -> tensor<3xf32>",
    "reverse-reverse": "%a = stablehlo.reverse %x, dims = [0] : tensor<4xf32>\n"
                       "%r = stablehlo.reverse %a, dims = [0] : tensor<4xf32>",
    "double-negation": "%a = stablehlo.negate %x : tensor<4xf32>\n%r = stablehlo.negate %a : tensor<4xf32>",
    "idempotent": "%r = stablehlo.maximum %x, %x : tensor<4xf32>",
    "logic-identity": "%c = stablehlo.constant dense<true> : tensor<4xi1>\n%r = stablehlo.and %p, %c : tensor<4xi1>",
    "mul-zero-int": "%c = stablehlo.constant dense<0> : tensor<4xi32>\n%r = stablehlo.multiply %i, %c : tensor<4xi32>",
    "sub-self-int": "%r = stablehlo.subtract %i, %i : tensor<4xi32>",
    "select-equal": "%r = stablehlo.select %p, %x, %x : tensor<4xi1>, tensor<4xf32>",
    "select-constant": "%c = stablehlo.constant dense<true> : tensor<4xi1>\n"
                       "%r = stablehlo.select %c, %x, %y : tensor<4xi1>, tensor<4xf32>",
    "compare-equal": "%r = stablehlo.compare EQ, %i, %i : (tensor<4xi32>, tensor<4xi32>) -> tensor<4xi1>",
    "not-compare": "%a = stablehlo.compare LT, %i, %j : (tensor<4xi32>, tensor<4xi32>) -> tensor<4xi1>\n"
                   "%r = stablehlo.not %a : tensor<4xi1>",
    "convert-round-trip": "%a = stablehlo.convert %x : (tensor<4xf32>) -> tensor<4xf64>\n"
                          "%r = stablehlo.convert %a : (tensor<4xf64>) -> tensor<4xf32>",
    "convert-convert": "%a = stablehlo.convert %x : (tensor<4xf32>) -> tensor<4xf64>\n"
                       "%r = stablehlo.convert %a : (tensor<4xf64>) -> tensor<4xbf16>",
    "fold": "%c = stablehlo.constant dense<[1, 2]> : tensor<2xi32>\n%r = stablehlo.multiply %c, %c : tensor<2xi32>",
    "fold-rounded": "%c = stablehlo.constant dense<3.0> : tensor<4xf32>\n"
                    "%r = stablehlo.exponential %c : tensor<4xf32>",
    "iota-unit": "%r = stablehlo.iota dim = 0 : tensor<1x4xi32>",
    "dynamic-slice-constant": "%c = stablehlo.constant dense<1> : tensor<i32>\n"
                              "%r = stablehlo.dynamic_slice %x, %c, sizes = [2] : (tensor<4xf32>, tensor<i32>)"
                              " -> tensor<2xf32>",
    "dynamic-update-slice-constant": "%c = stablehlo.constant dense<1> : tensor<i32>\n"
                                     "%b = stablehlo.reshape %s : (tensor<f32>) -> tensor<1xf32>\n"
                                     "%r = stablehlo.dynamic_update_slice %x, %b, %c"
                                     " : (tensor<4xf32>, tensor<1xf32>, tensor<i32>) -> tensor<4xf32>",
    "gather-constant": '%c = stablehlo.constant dense<[[0], [2]]> : tensor<2x1xi32>\n%r = "stablehlo.gather"(%x, %c) '
                       "<{dimension_numbers = #stablehlo.gather<collapsed_slice_dims = [0], start_index_map = [0], "
                       "index_vector_dim = 1>, slice_sizes = array<i64: 1>}> : (tensor<4xf32>, tensor<2x1xi32>)"
                       " -> tensor<2xf32>",
    "dot-unit": "%a = stablehlo.reshape %x : (tensor<4xf32>) -> tensor<4x1xf32>\n"
                "%r = stablehlo.dot_general %a, %u, contracting_dims = [1] x [0]"
                " : (tensor<4x1xf32>, tensor<1x4xf32>) -> tensor<4x4xf32>",
    "tuple-element": "%a = stablehlo.tuple %x, %y : tuple<tensor<4xf32>, tensor<4xf32>>\n"
                     "%r = stablehlo.get_tuple_element %a[0] : (tuple<tensor<4xf32>, tensor<4xf32>>) -> tensor<4xf32>",
    "call-duplicate": "%a = func.call @pure(%x) : (tensor<4xf32>) -> tensor<4xf32>\n"
                      "%r = func.call @pure(%x) : (tensor<4xf32>) -> tensor<4xf32>",
}  # fmt: skip
# Rows with more than one site, or whose site brings sites of other rows: IR -> its rows.
TOGETHER = [
    ("%c = stablehlo.constant dense<2.0> : tensor<f32>\n%d = stablehlo.constant dense<2.0> : tensor<4xf32>\n"
     "%r = stablehlo.broadcast_in_dim %c, dims = [] : (tensor<f32>) -> tensor<4xf32>",
     {"splat-broadcast": 1, "splat-twice": 1}),
    ("%c = stablehlo.constant dense<2.0> : tensor<4xf32>\n"
     "%b = stablehlo.broadcast_in_dim %s, dims = [] : (tensor<f32>) -> tensor<4xf32>\n"
     "%r = stablehlo.divide %b, %c : tensor<4xf32>",
     {"elementwise-broadcasts": 1, "elementwise-broadcasts-only-use": 1}),
    ("%c = stablehlo.constant dense<2> : tensor<i32>\n%r = \"stablehlo.case\"(%c) ({\n"
     "  %a = stablehlo.sine %x : tensor<4xf32>\n  stablehlo.return %a : tensor<4xf32>\n}, {\n"
     "  %k = stablehlo.constant dense<2> : tensor<i32>\n"
     "  %a = stablehlo.sine %x : tensor<4xf32>\n  %b = stablehlo.sine %x : tensor<4xf32>\n"
     "  %q = func.call @use(%a, %b, %k) : (tensor<4xf32>, tensor<4xf32>, tensor<i32>) -> tensor<4xf32>\n"
     "  stablehlo.return %q : tensor<4xf32>\n}) : (tensor<i32>) -> tensor<4xf32>",
     {"case-constant": 1, "equal-block": 1, "constant-nested": 1, "function-once": 1, "argument-constant": 1,
      "elementwise-broadcasts": 1, "elementwise-broadcasts-only-use": 1}),
    ("%q = stablehlo.sine %x : tensor<4xf32>\n%c = stablehlo.constant dense<0> : tensor<i32>\n"
     "%r:6 = stablehlo.while(%k = %c, %v = %x, %w = %x, %a = %y, %d = %y, %e = %x) : tensor<i32>, tensor<4xf32>,"
     " tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>\n"
     "cond {\n  %5 = stablehlo.compare LT, %k, %n : (tensor<i32>, tensor<i32>) -> tensor<i1>\n"
     "  stablehlo.return %5 : tensor<i1>\n} do {\n"
     "  %5 = stablehlo.constant dense<1> : tensor<i32>\n  %6 = stablehlo.add %k, %5 : tensor<i32>\n"
     "  %7 = stablehlo.negate %v : tensor<4xf32>\n  %8 = stablehlo.negate %w : tensor<4xf32>\n"
     "  %9 = stablehlo.add %d, %a : tensor<4xf32>\n  %z = stablehlo.sine %x : tensor<4xf32>\n"
     "  %y1 = stablehlo.add %e, %z : tensor<4xf32>\n"
     "  stablehlo.return %6, %7, %8, %a, %9, %y1 : tensor<i32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>,"
     " tensor<4xf32>, tensor<4xf32>\n}\n"
     "%t = stablehlo.add %r#1, %r#2 : tensor<4xf32>\n%t1 = stablehlo.add %t, %q : tensor<4xf32>\n"
     "%t2 = stablehlo.add %t1, %r#5 : tensor<4xf32>",
     {"while-duplicate": 1, "while-dead": 2, "equal-nested": 1}),
    ("%c = stablehlo.constant dense<9> : tensor<i32>\n%r = stablehlo.while(%k = %c) : tensor<i32>\n"
     "cond {\n  %5 = stablehlo.constant dense<8> : tensor<i32>\n"
     "  %6 = stablehlo.compare LT, %k, %5 : (tensor<i32>, tensor<i32>) -> tensor<i1>\n"
     "  stablehlo.return %6 : tensor<i1>\n} do {\n  stablehlo.return %k : tensor<i32>\n}",
     {"while-false": 1, "while-invariant": 1}),
    ("%a = func.call @pure(%x) : (tensor<4xf32>) -> tensor<4xf32>\n"
     "%r = func.call @same(%x) : (tensor<4xf32>) -> tensor<4xf32>",
     {"function-once": 2, "function-duplicate": 1, "function-duplicate-ops": 3}),
    ("%r:2 = func.call @wide(%x, %y) : (tensor<4xf32>, tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>)\n"
     "%a = func.call @pure(%r#0) : (tensor<4xf32>) -> tensor<4xf32>\n"
     "%b = func.call @pure(%r#0) {x = 1 : i32} : (tensor<4xf32>) -> tensor<4xf32>",
     {"function-once": 1, "argument-dead": 1, "result-argument": 1, "result-dead": 1}),
]  # fmt: skip
# What looks like a site and is none.
NO_SITES = [
    "%c = stablehlo.constant dense<1.0> : tensor<4xf32>\n%r = stablehlo.divide %c, %x : tensor<4xf32>",
    "%c = stablehlo.constant dense<0> : tensor<4xi32>\n%r = stablehlo.subtract %c, %i : tensor<4xi32>",
    "%r = stablehlo.subtract %x, %x : tensor<4xf32>",
    "%r = stablehlo.compare EQ, %x, %x : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xi1>",
    "%a = stablehlo.compare LT, %x, %y : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xi1>\n"
    "%r = stablehlo.not %a : tensor<4xi1>",
    "%a = stablehlo.convert %x : (tensor<4xf32>) -> tensor<4xbf16>\n"
    "%r = stablehlo.convert %a : (tensor<4xbf16>) -> tensor<4xf32>",
    "%a = stablehlo.convert %i : (tensor<4xi32>) -> tensor<4xf32>\n"
    "%r = stablehlo.convert %a : (tensor<4xf32>) -> tensor<4xi32>",
    "%r = stablehlo.transpose %m, dims = [1, 0] : (tensor<2x3xf32>) -> tensor<3x2xf32>",
    "%a = stablehlo.concatenate %x, %y, dim = 0 : (tensor<4xf32>, tensor<4xf32>) -> tensor<8xf32>\n"
    "%r = stablehlo.slice %a [3:5] : (tensor<8xf32>) -> tensor<2xf32>",
    "%a = stablehlo.slice %x [0:1] : (tensor<4xf32>) -> tensor<1xf32>\n"
    "%b = stablehlo.slice %y [1:3] : (tensor<4xf32>) -> tensor<2xf32>\n"
    "%r = stablehlo.concatenate %a, %b, dim = 0 : (tensor<1xf32>, tensor<2xf32>) -> tensor<3xf32>",
    "%a = stablehlo.subtract %x, %y : tensor<4xf32>\n%r = stablehlo.subtract %y, %x : tensor<4xf32>",
    "%lo = stablehlo.constant dense<0.0> : tensor<f32>\n%hi = stablehlo.constant dense<1.0> : tensor<f32>\n"
    "%shape = stablehlo.constant dense<4> : tensor<1xi64>\n"
    "%a = stablehlo.rng %lo, %hi, %shape, distribution = UNIFORM : (tensor<f32>, tensor<f32>, tensor<1xi64>)"
    " -> tensor<4xf32>\n"
    "%r = stablehlo.rng %lo, %hi, %shape, distribution = UNIFORM : (tensor<f32>, tensor<f32>, tensor<1xi64>)"
    " -> tensor<4xf32>",
    "%a = stablehlo.optimization_barrier %x : tensor<4xf32>\n%r = stablehlo.optimization_barrier %x : tensor<4xf32>",
]  # fmt: skip

FUNCTIONS = {
    "pure": "(%a: tensor<4xf32>) -> tensor<4xf32> {\n  %0 = stablehlo.sine %a : tensor<4xf32>\n"
            "  %1 = stablehlo.cosine %0 : tensor<4xf32>\n  return %1 : tensor<4xf32>\n}",
    "use": "(%a: tensor<4xf32>, %b: tensor<4xf32>, %n: tensor<i32>) -> tensor<4xf32> {\n"
           "  %2 = stablehlo.broadcast_in_dim %n, dims = [] : (tensor<i32>) -> tensor<4xi32>\n"
           "  %3 = stablehlo.convert %2 : (tensor<4xi32>) -> tensor<4xf32>\n"
           "  %0 = stablehlo.add %a, %b : tensor<4xf32>\n  %1 = stablehlo.add %3, %0 : tensor<4xf32>\n"
           "  return %1 : tensor<4xf32>\n}",
    "wide": "(%a: tensor<4xf32>, %b: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {\n"
            "  %0 = stablehlo.sine %a : tensor<4xf32>\n  %1 = stablehlo.cosine %0 : tensor<4xf32>\n"
            "  return %a, %1 : tensor<4xf32>, tensor<4xf32>\n}",
}  # fmt: skip
FUNCTIONS["same"] = FUNCTIONS["pure"]


def rows(body: str) -> dict[str, int]:
    """The rows with sites in a program around ``body``, whose unused values are passed to an op with an effect."""
    called = "".join(
        f"func.func private @{name}{text}\n" for name, text in FUNCTIONS.items() if f"@{name}(" in body
    )
    text = f"""func.func @main(%x: tensor<4xf32>, %y: tensor<4xf32>, %i: tensor<4xi32>, %j: tensor<4xi32>,
      %p: tensor<4xi1>, %u: tensor<1x4xf32>, %m: tensor<2x3xf32>, %s: tensor<f32>, %n: tensor<i32>) {{
      {body}
      return
    }}
    {called}"""
    module = _mlir.ir.Module.parse(text, _mlir.context())
    _keep(module)
    return {row: len(ops) for row, ops in count(module.operation)[1].items()}


def _keep(module: Any) -> None:
    """Uses the first result of each op of @main that is unused, but for loops of several values."""
    ir = _mlir.ir
    *before, end = [op.operation for op in module.body.operations[0].operation.regions[0].blocks[0]]
    unused = [op.results[0] for op in before if len(op.results) and next(op.results[0].uses, None) is None
              and (op.name != "stablehlo.while" or len(op.results) == 1)]
    with _mlir.context(), ir.Location.unknown(), ir.InsertionPoint(end):
        ir.Operation.create("stablehlo.custom_call", operands=unused, attributes={
            "call_target_name": ir.StringAttr.get("keep"), "has_side_effect": ir.BoolAttr.get(True)})


@pytest.mark.parametrize("row", SITES)
def test_a_row_counts_its_site_and_no_other_row_does(row: str) -> None:
    assert rows(SITES[row]) == {row: 1}


@pytest.mark.parametrize(("body", "expected"), TOGETHER)
def test_rows_that_come_together(body: str, expected: dict[str, int]) -> None:
    assert rows(body) == expected


@pytest.mark.parametrize("body", NO_SITES)
def test_no_site(body: str) -> None:
    assert rows(body) == {}


def test_every_row_is_tested() -> None:
    tested = {*SITES, *(row for _, expected in TOGETHER for row in expected)}
    assert set(ROWS) - tested == {"call-unused", "call-trivial", "dead"}  # test_calls


def test_calls() -> None:
    module = _mlir.ir.Module.parse("""
    func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
      %0 = call @one(%x) : (tensor<4xf32>) -> tensor<4xf32>
      %1 = call @one(%0) : (tensor<4xf32>) -> tensor<4xf32>
      return %0 : tensor<4xf32>
    }
    func.func private @one(%x: tensor<4xf32>) -> tensor<4xf32> {
      %0 = stablehlo.negate %x : tensor<4xf32>
      return %0 : tensor<4xf32>
    }
    """, _mlir.context())  # fmt: skip
    found = {row: len(ops) for row, ops in count(module.operation)[1].items()}
    assert found == {"call-trivial": 2, "call-unused": 1, "dead": 1}
