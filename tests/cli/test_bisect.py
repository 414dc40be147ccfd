"""shlo bisect: its four forms, what it writes, and its exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Shlo = Callable[..., Any]

GLOBAL = """
sdy.mesh @mesh = <["x"=2, "y"=2]>
func.func @main(
  %a: tensor<4x4xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {"y"}]>},
  %b: tensor<4x4xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"y"}, {}]>}
) -> tensor<4x4xf32> {
  %0 = stablehlo.dot_general %a, %b, contracting_dims = [1] x [0]
    : (tensor<4x4xf32>, tensor<4x4xf32>) -> tensor<4x4xf32>
  %1 = stablehlo.negate %0 : tensor<4x4xf32>
  return %1 : tensor<4x4xf32>
}
"""
RULES = """
mesh = { x = 2 }
[[arguments]]
index = 0
dims = ["x"]
"""
PLAIN = """
func.func @main(%a: tensor<4xbf16>) -> tensor<4xbf16> {
  %0 = stablehlo.sine %a : tensor<4xbf16>
  return %0 : tensor<4xbf16>
}
"""


@pytest.fixture
def traced(tmp_path: Path, shlo: Shlo) -> tuple[Path, Path, Path]:
    """The numbered program, the per-device program with a wrong sum, and the side table."""
    source, numbered, local = (tmp_path / name for name in ("a.mlir", "numbered.mlir", "local.mlir"))
    source.write_text(GLOBAL)
    assert shlo("partition", source, "--trace", numbered, "-o", local).code == 0
    before, collective, after = local.read_text().partition('"stablehlo.all_reduce"')
    assert collective
    local.write_text(before + collective + after.replace("stablehlo.add", "stablehlo.maximum", 1))
    return numbered, local, local.with_suffix(".side.json")


def test_a_right_partition_has_no_difference(tmp_path: Path, shlo: Shlo) -> None:
    source = tmp_path / "a.mlir"
    source.write_text(GLOBAL)
    found = shlo("bisect", source)
    assert (found.code, found.err) == (0, "")
    assert found.out == "4 virtual devices (XLA CPU), inputs normal seed 0, isolated: no difference in 3 values\n"


def test_rules_annotate_first(tmp_path: Path, shlo: Shlo) -> None:
    source, rules = tmp_path / "a.mlir", tmp_path / "r.toml"
    source.write_text(PLAIN)
    rules.write_text(RULES)
    found = shlo("bisect", source, "--rules", rules, "--mode", "accumulated")
    assert (found.code, found.err) == (0, "")
    assert found.out.startswith("2 virtual devices")


@pytest.mark.parametrize("mode", ["isolated", "accumulated"])
def test_the_wrong_collective_is_named(traced: tuple[Path, Path, Path], shlo: Shlo, mode: str) -> None:
    numbered, local, table = traced
    found = shlo("bisect", numbered, local, "--side-table", table, "--mode", mode, "--inputs", "exact")
    assert found.code == 2
    first = found.out.splitlines()[0]
    assert first.startswith("first difference: stablehlo.all_reduce (op 1) at ")
    assert "which stands for op 3 of the original (stablehlo.dot_general)" in first
    assert "which are right" in found.out


def test_json_says_it_too(traced: tuple[Path, Path, Path], shlo: Shlo) -> None:
    numbered, local, table = traced
    data = json.loads(shlo("bisect", numbered, local, "--side-table", table, "--json").out)
    assert (data["ok"], data["finding"]["op_name"], data["finding"]["index"]) == (False, "stablehlo.all_reduce", 1)


def test_the_op_found_runs_by_itself(traced: tuple[Path, Path, Path], tmp_path: Path, shlo: Shlo) -> None:
    numbered, local, table = traced
    folder, saved = tmp_path / "op", tmp_path / "saved.npz"
    assert shlo("bisect", numbered, local, "--side-table", table, "--extract", folder).code == 2
    assert {p.name for p in folder.iterdir()} == {"op.mlir", "inputs.npz", "expected.npz", "got.npz"}
    found = shlo("run", folder / "op.mlir", "--inputs", folder / "inputs.npz", "--save", saved)
    assert found.code == 0
    again, got, expected = np.load(saved), np.load(folder / "got.npz"), np.load(folder / "expected.npz")
    assert sorted(got.files) == sorted(again.files) == [f"result{device}" for device in range(4)]
    for name in got.files:
        assert np.array_equal(got[name], again[name])
        assert not np.array_equal(expected[name], again[name])


def test_an_op_of_another_global_program(tmp_path: Path, shlo: Shlo) -> None:
    right, wrong, folder = tmp_path / "a.mlir", tmp_path / "b.mlir", tmp_path / "op"
    right.write_text(PLAIN)
    wrong.write_text(PLAIN.replace("sine", "cosine"))
    golden = tmp_path / "golden"
    for _ in range(2):
        found = shlo("bisect", right, wrong, "--golden", golden, "--extract", folder)
        assert found.code == 2
        assert found.out.startswith(f"first difference: stablehlo.cosine (op 0) at {wrong}:3:8")
    # bf16 is no type of numpy's files, and is read back all the same.
    assert shlo("run", folder / "op.mlir", "--inputs", folder / "inputs.npz").code == 0


def test_a_pipeline_without_a_wrong_pass(tmp_path: Path, shlo: Shlo) -> None:
    source = tmp_path / "a.mlir"
    source.write_text(PLAIN)
    found = shlo("bisect", source, "--pass-pipeline", "builtin.module(cse,dead-ops)")
    assert (found.code, found.err) == (0, "cse: changes nothing\ndead-ops: changes nothing\n")
    assert found.out == "XLA CPU, every pass on its own: no difference\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["b.mlir", "--rules", "r.toml"], "--rules is for A alone"),
        (["--side-table", "t.json"], "--side-table describes a per-device program B"),
        (["b.mlir", "--pass-pipeline", "builtin.module(cse)"], "--pass-pipeline takes A alone"),
        ([], "the module has no mesh"),
        (["--mode", "both"], "invalid choice: 'both'"),
    ],
)
def test_wrong_usage(options: list[str], message: str, tmp_path: Path, shlo: Shlo) -> None:
    source = tmp_path / "a.mlir"
    source.write_text(PLAIN)
    found = shlo("bisect", source, *options)
    assert found.code == 1
    assert message in found.err


def test_a_program_without_marks_is_told_how_to_get_them(traced: tuple[Path, Path, Path], shlo: Shlo) -> None:
    numbered, local, table = traced
    assert shlo("partition", numbered, "-o", local).code == 0
    found = shlo("bisect", numbered, local, "--side-table", table)
    assert found.code == 1
    assert "shlo partition --trace" in found.err


def test_intermediate_values_are_kept(tmp_path: Path, shlo: Shlo) -> None:
    source, folder = tmp_path / "a.mlir", tmp_path / "golden"
    source.write_text(PLAIN)
    first, second = (shlo("run", source, "--save-intermediates", folder) for _ in range(2))
    assert "1 of 1 ops executed op by op" in first.out
    assert "0 of 1 ops executed op by op" in second.out
    assert first.out.splitlines()[1] == second.out.splitlines()[1] == shlo("run", source).out.splitlines()[1]
    index = json.loads(next(folder.glob("index-*.json")).read_text())
    assert [(v["op"], v["results"][0]["type"]) for v in index["values"]] == [("stablehlo.sine", "tensor<4xbf16>")]
    assert (folder / index["values"][0]["results"][0]["file"]).is_file()


def test_match_needs_a_folder(tmp_path: Path, shlo: Shlo) -> None:
    source = tmp_path / "a.mlir"
    source.write_text(PLAIN)
    found = shlo("run", source, "--match", "sine")
    assert found.code == 1
    assert "--save-intermediates" in found.err


INPUTS = Path(__file__).parents[1] / "sharding" / "inputs"


@pytest.mark.parametrize("name", ["multi", "partial2", "scan", "nested"])
def test_programs_with_manual_computations(shlo: Shlo, name: str) -> None:
    """Shardings are stated as reshards in them, which XLA does not read; no op inside has a number of its own."""
    result = shlo("bisect", INPUTS / f"gspmd_shard_map_{name}.mlir")
    assert (result.code, result.err) == (0, "")
    assert "8 virtual devices (XLA CPU), inputs normal seed 0, isolated: no difference in" in result.out


def test_a_fault_in_a_manual_computation(shlo: Shlo, tmp_path: Path) -> None:
    numbered, local = tmp_path / "numbered.mlir", tmp_path / "local.mlir"
    assert shlo("partition", INPUTS / "gspmd_shard_map_multi.mlir", "--trace", numbered, "-o", local).code == 0
    text = local.read_text()
    before, op, after = text.partition("stablehlo.add ")
    assert op
    local.write_text(f"{before}stablehlo.subtract {after}")
    result = shlo("bisect", numbered, local, "--side-table", local.with_suffix(".side.json"))
    assert result.code == 2
    assert "a difference" in result.out


def test_another_mesh(shlo: Shlo, tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_text(RULES)
    source = GLOBAL.replace('{sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {"y"}]>}', "").replace(
        '{sdy.sharding = #sdy.sharding<@mesh, [{"y"}, {}]>}', ""
    ).replace('sdy.mesh @mesh = <["x"=2, "y"=2]>', "")
    words = ("bisect", "-", "--rules", tmp_path / "rules.toml")
    rules = (tmp_path / "rules.toml").read_text().replace('["x"]', '["x", ""]')
    (tmp_path / "rules.toml").write_text(rules)
    assert "2 virtual devices" in shlo(*words, stdin=source).out
    assert "4 virtual devices" in shlo(*words, "--mesh", "x=4", stdin=source).out
    refused = shlo("bisect", "-", "--mesh", "x=4", stdin=source)
    assert (refused.code, refused.err) == (1, "shlo: error: --mesh goes with --rules, whose mesh it replaces\n")
