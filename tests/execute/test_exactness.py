"""Which programs round on which inputs; and where none does, every order of summation gives the same bits."""

from __future__ import annotations

import numpy as np
import pytest

from passes.execute.arrays import dtype_of
from passes.execute.exactness import rounds_nowhere
from passes.program.read import Program, parse


def unary(body: str, type: str = "tensor<4x8xf32>", result: str = "tensor<4x8xf32>") -> Program:
    return parse(f"func.func @main(%a: {type}) -> {result} {{ {body}\nreturn %r : {result} }}")


INTEGERS = np.full((4, 8), 3, np.float32)
FRACTIONS = np.full((4, 8), 0.1, np.float32)
SQUARE = """%r = stablehlo.dot_general %a, %b, contracting_dims = [1] x [0]
  : (tensor<4x8x{t}>, tensor<8x4x{t}>) -> tensor<4x4x{t}>"""
PLUS = """%c = stablehlo.constant dense<{}> : tensor<4x8xf32>
  %r = stablehlo.add %a, %c : tensor<4x8xf32>"""
TRANSPOSE = "%b = stablehlo.transpose %a, dims = [1, 0] : (tensor<4x8x{t}>) -> tensor<8x4x{t}>\n"


@pytest.mark.parametrize(
    ("body", "integers", "fractions"),
    [
        ("%r = stablehlo.reverse %a, dims = [0] : tensor<4x8xf32>", True, True),
        ("%r = stablehlo.maximum %a, %a : tensor<4x8xf32>", True, True),
        ("%r = stablehlo.add %a, %a : tensor<4x8xf32>", True, False),
        ("%r = stablehlo.multiply %a, %a : tensor<4x8xf32>", True, False),
        ("%r = stablehlo.divide %a, %a : tensor<4x8xf32>", False, False),
        ("%r = stablehlo.exponential %a : tensor<4x8xf32>", False, False),
        (PLUS.format(0.5), False, False),
        (PLUS.format(2.0), True, False),
    ],
)
def test_ops_round_or_do_not(body: str, integers: bool, fractions: bool) -> None:
    assert rounds_nowhere(unary(body), [INTEGERS]) is integers
    assert rounds_nowhere(unary(body), [FRACTIONS]) is fractions


@pytest.mark.parametrize(
    ("element", "value", "exact"), [("f32", 3, True), ("f32", 2**11, False), ("bf16", 5, True), ("bf16", 6, False)]
)
def test_a_sum_of_products_is_exact_while_the_type_holds_it(element: str, value: int, exact: bool) -> None:
    """8 products of 6 * 6 are 288, which is more than the 256 that bf16 holds to the unit."""
    program = unary((TRANSPOSE + SQUARE).format(t=element), f"tensor<4x8x{element}>", f"tensor<4x4x{element}>")
    assert rounds_nowhere(program, [np.full((4, 8), value).astype(dtype_of(element))]) is exact


@pytest.mark.parametrize(
    ("element", "value", "exact"),
    [
        ("bf16", "2.0", True), ("bf16", "0.5", False), ("bf16", "[1.0, 2.0]", False),
        ("complex<f32>", "(1.0, 2.0)", False), ("complex<f32>", "[(1.0, 2.0), (3.0, 4.0)]", False),
    ],
)
def test_constants_whose_elements_are_not_known_round(element: str, value: str, exact: bool) -> None:
    type = f"tensor<2x{element}>"
    body = f"%c = stablehlo.constant dense<{value}> : {type}\n%r = stablehlo.add %a, %c : {type}"
    assert rounds_nowhere(unary(body, type, type), [np.ones(2).astype(dtype_of(element))]) is exact


def test_partial_results_count_not_only_the_last() -> None:
    body = """%k = stablehlo.constant dense<1.0e7> : tensor<4x8xf32>
      %b = stablehlo.multiply %a, %k : tensor<4x8xf32>
      %r = stablehlo.subtract %b, %b : tensor<4x8xf32>"""
    assert not rounds_nowhere(unary(body), [INTEGERS])


def test_what_nothing_is_known_about_rounds() -> None:
    assert not rounds_nowhere(unary("%r = stablehlo.cosine %a : tensor<4x8xf32>"), [INTEGERS])
    nan = INTEGERS.copy()
    nan[0, 0] = np.nan
    assert not rounds_nowhere(unary("%r = stablehlo.add %a, %a : tensor<4x8xf32>"), [nan])
    assert rounds_nowhere(unary("%r = stablehlo.reverse %a, dims = [1] : tensor<4x8xf32>"), [nan])


def test_integers_never_round_but_as_floats_their_size_is_unknown() -> None:
    type = "tensor<4xi32>"
    xor = f"%x = stablehlo.xor %a, %a : {type}\n"
    assert rounds_nowhere(unary(xor + f"%r = stablehlo.add %x, %x : {type}", type, type), [np.ones(4, np.int32)])
    convert = f"%r = stablehlo.convert %x : ({type}) -> tensor<4xf32>"
    assert not rounds_nowhere(unary(xor + convert, type, "tensor<4xf32>"), [np.ones(4, np.int32)])


def test_reductions() -> None:
    body = """%z = stablehlo.constant dense<{init}> : tensor<f32>
      %r = stablehlo.reduce(%a init: %z) applies stablehlo.{op} across dimensions = [1]
        : (tensor<4x8xf32>, tensor<f32>) -> tensor<4xf32>"""

    def exact(op: str, init: str, value: float) -> bool:
        program = unary(body.format(op=op, init=init), result="tensor<4xf32>")
        return rounds_nowhere(program, [np.full((4, 8), value, np.float32)])

    assert exact("add", "0.0", 2**20) and not exact("add", "0.0", 2**22)
    assert exact("maximum", "0xFF800000", 0.1)
    assert not exact("multiply", "1.0", 2)
