"""``shlo run``: what it prints and saves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

Shlo = Callable[..., Any]

PROGRAM = """
func.func @main(%a: tensor<4xf32>, %b: tensor<2xbf16>)
    -> (tensor<4xf32> {jax.result_info = "double"}, tensor<2xbf16> {jax.result_info = "same"}, tensor<0xi1>) {
  %c = stablehlo.add %a, %a : tensor<4xf32>
  %e = stablehlo.constant dense<> : tensor<0xi1>
  return %c, %b, %e : tensor<4xf32>, tensor<2xbf16>, tensor<0xi1>
}
"""


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    path = tmp_path / "in.npz"
    np.savez(path, arg0=np.array([1, -2, 3, 4], np.float32), arg1=np.array([1, 2], ml_dtypes.bfloat16))
    return path


@pytest.mark.parametrize("executor", ["xla", "interpreter"])
def test_a_line_for_each_result(shlo: Shlo, inputs: Path, executor: str) -> None:
    result = shlo("run", "-", "--inputs", inputs, f"--executor={executor}", stdin=PROGRAM)
    assert (result.code, result.err) == (0, "")
    heading, double, same, empty, last = (line.split() for line in result.out.splitlines())
    assert heading == ["result", "type", "min", "max", "mean", "hash"]
    assert double[:5] == ["double", "tensor<4xf32>", "-4", "8", "3"]
    assert same[:5] == ["same", "tensor<2xbf16>", "1", "2", "1.5"]
    assert empty[:5] == ["result2", "tensor<0xi1>", "-", "-", "-"]
    assert last[:2] == ["executed", "on"]


def test_the_hash_follows_the_bits(shlo: Shlo) -> None:
    def digests(*options: str) -> list[str]:
        out = shlo("run", "-", *options, stdin=PROGRAM).out
        return [line.split()[-1] for line in out.splitlines()[1:3]]

    assert digests("--seed=1") == digests("--seed=1", "--executor=interpreter")
    assert digests("--seed=1")[0] != digests("--seed=2")[0]


def test_saved_results_are_inputs_again(shlo: Shlo, inputs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.npz"
    assert shlo("run", "-", "--inputs", inputs, "--save", out, stdin=PROGRAM).code == 0
    with np.load(out) as saved:
        assert saved.files == ["double", "same", "result2"]
        np.testing.assert_array_equal(saved["double"], [2, -4, 6, 8])
        np.testing.assert_array_equal(saved["same"].view(ml_dtypes.bfloat16), [1, 2])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--save", "no/where.npz"), "no/where.npz: error: cannot write the output: there is no directory 'no'"),
        (("--inputs", "none.npz"), "none.npz: error: there is no such file"),
        (("--entry", "f"), "<stdin>: error: no function @f with a body"),
    ],
)
def test_what_cannot_be_run_is_one_line(shlo: Shlo, arguments: tuple[str, ...], message: str) -> None:
    result = shlo("run", "-", *arguments, stdin=PROGRAM)
    assert (result.code, result.out) == (1, "")
    assert result.err.strip() == message.strip() or result.err.startswith(message)


def test_a_dead_engine_is_exit_code_3(shlo: Shlo) -> None:
    endless = """
      func.func @main(%x: tensor<f32>) -> tensor<f32> {
        %r = stablehlo.while(%y = %x) : tensor<f32>
        cond {
          %c = stablehlo.compare EQ, %y, %y : (tensor<f32>, tensor<f32>) -> tensor<i1>
          stablehlo.return %c : tensor<i1>
        } do {
          %s = stablehlo.sine %y : tensor<f32>
          stablehlo.return %s : tensor<f32>
        }
        return %r : tensor<f32>
      }"""
    result = shlo("run", "-", "--timeout=1", stdin=endless)
    assert (result.code, result.out) == (3, "")
    assert result.err == "shlo: error: xla did not finish within 1 s\n"
