"""Sums over many terms in short float types."""

from __future__ import annotations

from typing import Any

import pytest

ALGORITHM = (
    ", algorithm = <lhs_precision_type = bf16, rhs_precision_type = bf16, accumulation_type = {}, "
    "lhs_component_count = 1, rhs_component_count = 1, num_primitive_operations = 1, "
    "allow_imprecise_accumulation = false>"
)


def dot(terms: int, kind: str = "bf16", result: str = "", algorithm: str = "") -> str:
    left, right, out = f"tensor<4x{terms}x{kind}>", f"tensor<{terms}x4x{kind}>", f"tensor<4x4x{result or kind}>"
    extra = ALGORITHM.format(algorithm) if algorithm else ""
    return f"""\
func.func @main(%a: {left}, %b: {right}) -> {out} {{
  %0 = stablehlo.dot_general %a, %b, contracting_dims = [1] x [0]{extra} : ({left}, {right}) -> {out}
  return %0 : {out}
}}
"""


def convolution(channels: int) -> str:
    return f"""\
func.func @main(%x: tensor<1x8x8x{channels}xf16>, %w: tensor<3x3x{channels}x5xf16>) {{
  %0 = stablehlo.convolution(%x, %w) dim_numbers = [b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f], window = {{}}
    {{batch_group_count = 1 : i64, feature_group_count = 1 : i64}}
    : (tensor<1x8x8x{channels}xf16>, tensor<3x3x{channels}x5xf16>) -> tensor<1x6x6x5xf16>
  return
}}
"""


def reduce(rows: int, body: str = "add", kind: str = "bf16") -> str:
    return f"""\
func.func @main(%x: tensor<{rows}x128x2x{kind}>, %c: tensor<{kind}>) {{
  %0 = stablehlo.reduce(%x init: %c) applies stablehlo.{body} across dimensions = [0, 1]
    : (tensor<{rows}x128x2x{kind}>, tensor<{kind}>) -> tensor<2x{kind}>
  return
}}
"""


def pool(size: int) -> str:
    return f"""\
func.func @main(%x: tensor<512xbf16>, %c: tensor<bf16>) {{
  %0 = "stablehlo.reduce_window"(%x, %c) <{{window_dimensions = array<i64: {size}>}}> ({{
  ^bb0(%a: tensor<bf16>, %b: tensor<bf16>):
    %s = stablehlo.add %a, %b : tensor<bf16>
    stablehlo.return %s : tensor<bf16>
  }}) : (tensor<512xbf16>, tensor<bf16>) -> tensor<{513 - size}xbf16>
  return
}}
"""


@pytest.mark.parametrize(("text", "message"), [
    (dot(257), "dot_general sums 257 terms in bf16, in which a sum of equal terms stops to grow at 256 of them"),
    (dot(3000, "f16"), "dot_general sums 3,000 terms in f16, in which a sum of equal terms stops to grow at 2,048 of"),
    (dot(300, algorithm="bf16"), "dot_general sums 300 terms in bf16"),
    (dot(300, "f8E5M2"), "dot_general sums 300 terms in f8E5M2, in which a sum of equal terms stops to grow at 8 of"),
    (convolution(256), "convolution sums 2,304 terms in f16"),
    (reduce(3), "reduce sums 384 terms in bf16"),
    (pool(300), "reduce_window sums 300 terms in bf16"),
])  # fmt: skip
def test_reported(lint: Any, text: str, message: str) -> None:
    [finding] = lint("low-precision-sum", text)
    assert finding.message.startswith(message)
    assert finding.todo.startswith("sum in f32")


@pytest.mark.parametrize("text", [
    dot(256), dot(4096, "f32"), dot(4096, result="f32"), dot(2048, "f16"), dot(4096, algorithm="f32"), convolution(128),
    reduce(2), reduce(64, "maximum"), reduce(64, kind="f32"), pool(256), dot(4096, "i8"),
])  # fmt: skip
def test_not_reported(lint: Any, text: str) -> None:
    assert lint("low-precision-sum", text) == []


def test_the_limit_can_be_set(lint: Any) -> None:
    assert len(lint("low-precision-sum", dot(100), accumulate_over=99)) == 1
    assert lint("low-precision-sum", dot(100), accumulate_over=100) == []
    assert lint("low-precision-sum", dot(4096), accumulate_over=4096) == []


def test_the_limit_of_a_type_is_where_its_sums_stop_to_grow() -> None:
    import ml_dtypes
    import numpy as np

    for dtype, limit in ((ml_dtypes.bfloat16, 256), (np.float16, 2048), (ml_dtypes.float8_e5m2, 8)):
        total = np.array(0, dtype)
        for _ in range(3 * limit):
            total = (total + np.array(1, dtype)).astype(dtype)
        assert float(total) == limit
