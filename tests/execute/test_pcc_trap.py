"""Pearson's correlation is blind to factors and offsets: a result one percent too large correlates perfectly."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from passes.errors import EXIT_MISMATCH

Shlo = Callable[..., Any]

RIGHT = """
func.func @main(%x: tensor<16x32xf32>, %w: tensor<32x8xf32>) -> (tensor<16x8xf32> {jax.result_info = "logits"}) {
  %0 = stablehlo.dot %x, %w : (tensor<16x32xf32>, tensor<32x8xf32>) -> tensor<16x8xf32>
  %1 = stablehlo.tanh %0 : tensor<16x8xf32>
  return %1 : tensor<16x8xf32>
}
"""


def changed(op: str, number: float) -> str:
    constant = f"  %c = stablehlo.constant dense<{number}> : tensor<16x8xf32>\n"
    extra = f"{constant}  %2 = stablehlo.{op} %1, %c : tensor<16x8xf32>\n"
    return RIGHT.replace("  return %1", f"{extra}  return %2")


@pytest.fixture
def files(tmp_path: Path) -> Callable[[str], tuple[Path, Path]]:
    def write(wrong: str) -> tuple[Path, Path]:
        (tmp_path / "right.mlir").write_text(RIGHT)
        (tmp_path / "wrong.mlir").write_text(wrong)
        return tmp_path / "right.mlir", tmp_path / "wrong.mlir"

    return write


@pytest.mark.parametrize("level", [[], ["--level", "close"], ["--level", "ulp:1000"]])
def test_scaled_result_is_refused_and_the_report_says_what_correlation_misses(
    shlo: Shlo, files: Callable[[str], tuple[Path, Path]], level: list[str]
) -> None:
    result = shlo("verify", *files(changed("multiply", 1.01)), *level)
    assert result.code == EXIT_MISMATCH
    assert "DIFFERS  logits" in result.out and "PCC 1.000000000" in result.out
    assert (
        "PCC >= 0.99 alone would have passed this: correlation is blind to a factor (here 1.01) and to an offset"
        in result.out
    )


def test_figures_of_a_scaled_result(shlo: Shlo, files: Callable[[str], tuple[Path, Path]]) -> None:
    data = json.loads(shlo("verify", *files(changed("multiply", 1.01)), "--json").out)
    figures = data["results"][0]["figures"]
    assert not data["ok"]
    assert figures["pcc"] == pytest.approx(1, abs=1e-9)
    assert figures["scale"] == pytest.approx(1.01, rel=1e-6)
    assert figures["relative_l2"] == pytest.approx(0.01, rel=1e-4)


def test_offset_is_refused_and_explained(shlo: Shlo, files: Callable[[str], tuple[Path, Path]]) -> None:
    result = shlo("verify", *files(changed("add", 0.25)), "--level", "close")
    assert result.code == EXIT_MISMATCH and "PCC >= 0.99 alone would have passed this" in result.out


def test_nothing_is_said_where_correlation_sees_it(shlo: Shlo, files: Callable[[str], tuple[Path, Path]]) -> None:
    result = shlo("verify", *files(RIGHT.replace("stablehlo.tanh", "stablehlo.cosine")))
    assert result.code == EXIT_MISMATCH and "alone would have passed" not in result.out


def test_nothing_is_said_about_roundings(shlo: Shlo, files: Callable[[str], tuple[Path, Path]]) -> None:
    result = shlo("verify", *files(changed("multiply", 1.0000002)), "--level", "bit-equal")
    assert result.code == EXIT_MISMATCH and "alone would have passed" not in result.out
