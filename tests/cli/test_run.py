"""``shlo run``: what it prints and saves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from tests.endless import ENDLESS

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
    result = shlo("run", "-", "--timeout=1", stdin=ENDLESS)
    assert (result.code, result.out) == (3, "")
    assert result.err == "shlo: error: xla did not finish within 1 s\n"


TABLED = """
sdy.mesh @mesh = <["x"=2, "y"=2]>
func.func @main(%a: tensor<4x3xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x", "y"}, {}]>})
    -> (tensor<4x3xf32> {jax.result_info = "scaled"}, tensor<f32> {jax.result_info = "total"}) {
  %t = stablehlo.constant dense<[[1., 2., 3.], [4., 5., 6.], [7., 8., 9.], [10., 11., 12.5]]> : tensor<4x3xf32>
  %z = stablehlo.constant dense<0.0> : tensor<f32>
  %s = stablehlo.multiply %a, %t : tensor<4x3xf32>
  %r = stablehlo.reduce(%s init: %z) applies stablehlo.add across dimensions = [0, 1]
    : (tensor<4x3xf32>, tensor<f32>) -> tensor<f32>
  return %s, %r : tensor<4x3xf32>, tensor<f32>
}
"""


@pytest.fixture
def device(shlo: Shlo, tmp_path: Path) -> Path:
    """A per-device program with constants in its side table, which lies beside it."""
    (tmp_path / "global.mlir").write_text(TABLED)
    path = tmp_path / "device.mlir"
    assert shlo("partition", tmp_path / "global.mlir", "--device-constants", "-o", path).code == 0
    assert '"starts"' in path.with_suffix(".side.json").read_text()
    return path


@pytest.mark.parametrize("executor", ["xla", "interpreter"])
def test_a_per_device_program_takes_and_returns_what_is_global(
    shlo: Shlo, device: Path, tmp_path: Path, executor: str
) -> None:
    np.savez(tmp_path / "in.npz", arg0=np.arange(12, dtype=np.float32).reshape(4, 3))
    given = ("--inputs", tmp_path / "in.npz", f"--executor={executor}")
    table = ("--side-table", device.with_suffix(".side.json"))
    whole = shlo("run", device.with_name("global.mlir"), *given, "--save", tmp_path / "whole.npz")
    parts = shlo("run", device, *table, *given, "--save", tmp_path / "parts.npz")
    assert (whole.code, parts.code, parts.err) == (0, 0, "")
    assert parts.out.splitlines()[:3] == whole.out.splitlines()[:3]
    assert "executed on 4 virtual devices" in parts.out
    with np.load(tmp_path / "whole.npz") as expected, np.load(tmp_path / "parts.npz") as got:
        assert got.files == expected.files == ["scaled", "total"]
        assert all((got[key] == expected[key]).all() for key in got.files)


def test_generated_inputs_are_those_of_the_global_program(shlo: Shlo, device: Path) -> None:
    table = ("--side-table", device.with_suffix(".side.json"))
    first = [line.split() for line in shlo("run", device, *table, "--seed=3").out.splitlines()]
    other = [line.split() for line in shlo("run", device.with_name("global.mlir"), "--seed=3").out.splitlines()]
    assert first[1] == other[1]
    assert first[1] != shlo("run", device, *table, "--seed=4").out.splitlines()[1].split()


def test_padding_is_no_part_of_what_is_returned(shlo: Shlo, tmp_path: Path) -> None:
    text = TABLED.replace("4x3", "3x3").replace(", [10., 11., 12.5]", "")
    (tmp_path / "odd.mlir").write_text(text)
    out = tmp_path / "padded.mlir"
    assert shlo("partition", tmp_path / "odd.mlir", "--pad-arguments", "-o", out).code == 0
    np.save(tmp_path / "ones.npy", np.ones((3, 3), np.float32))
    table = ("--side-table", tmp_path / "padded.side.json")
    result = shlo("run", out, *table, "--inputs", tmp_path / "ones.npy")
    assert (result.code, result.err) == (0, "")
    scaled, total = (line.split() for line in result.out.splitlines()[1:3])
    assert scaled[:5] == ["scaled", "tensor<3x3xf32>", "1", "9", "5"]
    assert total[:3] == ["total", "tensor<f32>", "45"]


@pytest.mark.parametrize(
    ("program", "options", "words"),
    [
        ("device.mlir", ["--inputs=exact"], "exact inputs follow the sums of one device"),
        ("device.mlir", ["--save-intermediates=kept"], "does not go with --side-table"),
        ("global.mlir", [], "the side table does not belong to this program: it lists 2 arguments, the program has 1"),
    ],
)
def test_what_a_side_table_cannot_help_to_run(
    shlo: Shlo, device: Path, program: str, options: list[str], words: str
) -> None:
    table = ("--side-table", device.with_suffix(".side.json"))
    result = shlo("run", device.with_name(program), *table, *options)
    assert (result.code, result.out) == (1, "")
    assert words in result.err
