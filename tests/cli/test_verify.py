"""``shlo verify``: exit codes, where the side table is found, and what is printed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from passes.partition.side_table import Entry, SideTable
from passes.sharding.mesh import Mesh, Sharding

Shlo = Callable[..., Any]

SUM = """
func.func @main(%a: tensor<8xf32>) -> (tensor<f32> {jax.result_info = "total"}) {
  %z = stablehlo.constant dense<0.0> : tensor<f32>
  %s = stablehlo.reduce(%a init: %z) applies stablehlo.add across dimensions = [0]
    : (tensor<8xf32>, tensor<f32>) -> tensor<f32>
  return %s : tensor<f32>
}
"""
PER_DEVICE = """
func.func @main(%a: tensor<2xf32>) -> tensor<f32> {
  %z = stablehlo.constant dense<0.0> : tensor<f32>
  %s = stablehlo.reduce(%a init: %z) applies stablehlo.add across dimensions = [0]
    : (tensor<2xf32>, tensor<f32>) -> tensor<f32>
  %t = "stablehlo.all_reduce"(%s) <{channel_handle = #stablehlo.channel_handle<handle = 1, type = 1>,
      replica_groups = dense<[[0, 1, 2, 3]]> : tensor<1x4xi64>, use_global_device_ids}> ({
    ^bb0(%x: tensor<f32>, %y: tensor<f32>):
      %w = stablehlo.add %x, %y : tensor<f32>
      stablehlo.return %w : tensor<f32>
  }) : (tensor<f32>) -> tensor<f32>
  return %t : tensor<f32>
}
"""
MESH = Mesh((("x", 4),))
TABLE = SideTable(
    MESH,
    (Entry(0, "a", "f32", (8,), Sharding(MESH, ((MESH.axis("x"),),))),),
    (Entry(0, "total", "f32", (), Sharding(MESH, ())),),
)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "sum.mlir").write_text(SUM)
    (tmp_path / "local.mlir").write_text(PER_DEVICE)
    (tmp_path / "local.side.json").write_text(TABLE.to_json())
    (tmp_path / "wrong.mlir").write_text(PER_DEVICE.replace("return %t", "return %s"))
    return tmp_path


def test_equal_programs_exit_0_with_the_verdict_as_the_only_line(shlo: Shlo, files: Path) -> None:
    result = shlo("verify", files / "sum.mlir", files / "sum.mlir")
    assert (result.code, result.err) == (0, "")
    assert result.out == (
        "executed on one device (XLA CPU), inputs normal seed 0: 1 of 1 results equal (1 bit-equal)\n"
    )


def test_the_side_table_beside_a_per_device_program_is_found(shlo: Shlo, files: Path) -> None:
    result = shlo("verify", files / "sum.mlir", files / "local.mlir", "--inputs=exact")
    assert result.code == 0, result.err
    assert result.out.startswith("executed on 4 virtual devices (XLA CPU), inputs exact seed 0: 1 of 1 results equal")


def test_a_mismatch_exits_2_and_names_result_figures_element_and_device(shlo: Shlo, files: Path) -> None:
    result = shlo("verify", files / "sum.mlir", files / "wrong.mlir", "--side-table", files / "local.side.json")
    assert (result.code, result.err) == (2, "")
    first, second, last = result.out.splitlines()
    assert first.startswith("DIFFERS  total  tensor<f32>  1 of 1 elements differ")
    assert "on device 0: expected" in second
    assert last.endswith("0 of 1 results equal")


def test_without_its_table_a_per_device_program_is_an_error_that_says_so(shlo: Shlo, files: Path) -> None:
    result = shlo("verify", files / "sum.mlir", files / "wrong.mlir")
    assert result.code == 1
    assert "a per-device program needs its side table (--side-table)" in result.err


def test_all_lists_every_result_and_json_is_json(shlo: Shlo, files: Path) -> None:
    result = shlo("verify", files / "sum.mlir", files / "sum.mlir", "--all")
    assert result.out.splitlines()[0] == "equal  total  tensor<f32>  bit-equal"
    result = shlo("verify", files / "sum.mlir", files / "sum.mlir", "--json", "--seed=7")
    assert json.loads(result.out)["inputs"] == "inputs normal seed 7"


def test_inputs_of_the_user_decide(shlo: Shlo, files: Path) -> None:
    """These are wrong only where the sum is not that of the first two elements."""
    np.savez(files / "zeros.npz", arg0=np.zeros(8, np.float32))
    np.savez(files / "ones.npz", arg0=np.ones(8, np.float32))
    table = ("--side-table", files / "local.side.json")
    assert shlo("verify", files / "sum.mlir", files / "wrong.mlir", *table, "--inputs", files / "zeros.npz").code == 0
    assert shlo("verify", files / "sum.mlir", files / "wrong.mlir", *table, "--inputs", files / "ones.npz").code == 2


def test_the_level_decides(shlo: Shlo, files: Path) -> None:
    reverse = "%b = stablehlo.reverse %a, dims = [0] : tensor<8xf32>\n%s = stablehlo.reduce(%b "
    (files / "backwards.mlir").write_text(SUM.replace("%s = stablehlo.reduce(%a ", reverse))
    codes = {
        level: shlo("verify", files / "sum.mlir", files / "backwards.mlir", f"--level={level}", "--seed=1").code
        for level in ("bit-equal", "ulp:0", "ulp:64", "close")
    }
    assert codes == {"bit-equal": 2, "ulp:0": 2, "ulp:64": 0, "close": 0}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("sum.mlir", "missing.mlir"), "missing.mlir: error: cannot read the file: No such file or directory"),
        (("sum.mlir", "local.mlir", "--side-table=none.json"), "none.json: error: cannot read the side table: No such"),
        (("sum.mlir", "local.mlir", "--devices=2"), "shlo: error: the mesh has 4 devices (x=4), but there are only 2"),
        (("sum.mlir", "sum.mlir", "--level=same"), "shlo: error: 'same' is no level of equality; write bit-equal"),
        (("sum.mlir", "sum.mlir", "--inputs=odd"), "shlo: error: 'odd' is no kind of inputs; choose normal"),
        (("sum.mlir", "sum.mlir", "--xla-partition"), "error: the program has no mesh of several devices"),
        (("sum.mlir", "sum.mlir", "--entry=other"), "error: no function @other with a body"),
        (("sum.mlir", "local.mlir", "--xla-partition", "--side-table=local.side.json"), "wants a global program B"),
        (("sum.mlir", "sum.mlir", "--executor=magic"), "invalid choice: 'magic'"),
        (("sum.mlir",), "the following arguments are required: B"),
    ],
)
def test_what_cannot_be_verified_is_one_line(
    shlo: Shlo, files: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(files)
    result = shlo("verify", *arguments)
    assert result.code == 1 and result.out == ""
    assert message in result.err
    assert len(result.err.splitlines()) <= 3  # The headline, and the source line with a caret where there is one.


def test_a_damaged_side_table_is_an_error_about_its_file(shlo: Shlo, files: Path) -> None:
    (files / "local.side.json").write_text('{"version": 1')
    result = shlo("verify", files / "sum.mlir", files / "local.mlir")
    assert result.code == 1 and "local.side.json:1:" in result.err and "not JSON" in result.err
