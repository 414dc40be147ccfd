"""``shlo diff``: what lies differently, with bytes, and programs that are not the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"

LEFT = """sdy.mesh @mesh = <["x"=2, "y"=2]>
func.func @main(%a: tensor<8x4xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {}]>},
                %b: tensor<4xf32>) -> (tensor<8x4xf32> {sdy.sharding = #sdy.sharding<@mesh, [{"x"}, {}]>}) {
  %0 = stablehlo.abs %a {sdy.sharding = #sdy.sharding_per_value<[<@mesh, [{"x"}, {}]>]>} : tensor<8x4xf32>
  %1 = stablehlo.sine %0 {sdy.sharding = #sdy.sharding_per_value<[<@mesh, [{}, {}]>]>} : tensor<8x4xf32>
  return %1 : tensor<8x4xf32>
}
"""
# One op more of sdy, %0 cut further, and the replication of %1 not said.
RIGHT = LEFT.replace(
    '%0 = stablehlo.abs %a {sdy.sharding = #sdy.sharding_per_value<[<@mesh, [{"x"}, {}]>]>}',
    '%c = sdy.sharding_constraint %a <@mesh, [{"x"}, {"y"}]> : tensor<8x4xf32>\n'
    '  %0 = stablehlo.abs %c {sdy.sharding = #sdy.sharding_per_value<[<@mesh, [{"x"}, {"y"}]>]>}',
).replace(" {sdy.sharding = #sdy.sharding_per_value<[<@mesh, [{}, {}]>]>}", "")


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    paths = tmp_path / "a.mlir", tmp_path / "b.mlir"
    for path, text in zip(paths, (LEFT, RIGHT), strict=True):
        path.write_text(text)
    return paths


def test_what_differs_with_bytes(shlo: Callable[..., Any], files: tuple[Path, Path]) -> None:
    result = shlo("diff", *files)
    assert result.code == 2
    lines = [" ".join(line.split()) for line in result.out.splitlines()]
    assert lines == [
        "values op global A B bytes in A bytes in B at",
        f"%0 abs f32[8x4] P('x', None) P('x', 'y') 64 32 {files[0]}:4:8",
        "",
        "arguments: 0 of 2 differ; bytes per device 80 -> 80",
        "results: 0 of 1 differ; bytes per device 64 -> 64",
        "values: 1 of 2 differ; bytes per device 192 -> 160 (-32)",
    ]


def test_alike(shlo: Callable[..., Any], files: tuple[Path, Path]) -> None:
    assert shlo("diff", files[0], files[0]).code == 0
    assert shlo("diff", *files, "--signature").code == 0


def test_json(shlo: Callable[..., Any], files: tuple[Path, Path]) -> None:
    data = json.loads(shlo("diff", *files, "--json").out)
    assert [(d["left"]["value"], d["right"]["spec"]) for d in data["different"]] == [("%0", "P('x', 'y')")]
    assert data["bytes_per_device"] == {"argument": [80, 80], "result": [64, 64], "value": [192, 160]}


def test_two_plans_of_the_decoder(shlo: Callable[..., Any], tmp_path: Path) -> None:
    decoder = EXAMPLES / "decoder"
    for plan in ("megatron", "dp"):
        rules = decoder / f"{plan}.toml"
        assert shlo("shard", decoder / "forward.mlir", "--rules", rules, "-o", tmp_path / f"{plan}.mlir").code == 0
    result = shlo("diff", tmp_path / "megatron.mlir", tmp_path / "dp.mlir", "--signature")
    assert result.code == 2
    assert "params['mlp']['up']" in result.out
    assert result.out.startswith("A: mesh @mesh: data=2, model=4 (8 devices)\nB: mesh @mesh: data=8 (8 devices)\n\n")
    assert "arguments: " in result.out


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("stablehlo.sine", "stablehlo.cosine", "stablehlo.sine %1 f32[8x4] stands where stablehlo.cosine %1 f32[8x4]"),
        ("%b: tensor<4xf32>", "%b: tensor<5xf32>", "argument arg1 f32[4] stands where argument arg1 f32[5] does"),
        ("  return", "  %2 = stablehlo.abs %a : tensor<8x4xf32>\n  return", "only {1} has stablehlo.abs %2 f32[8x4]"),
    ],
)
def test_other_programs_are_errors(
    shlo: Callable[..., Any], files: tuple[Path, Path], old: str, new: str, message: str
) -> None:
    files[1].write_text(LEFT.replace(old, new))
    result = shlo("diff", *files)
    assert (result.code, result.out) == (1, "")
    assert "are not the same program" in result.err
    assert message.format(*files) in result.err


def test_standard_input_once(shlo: Callable[..., Any], files: tuple[Path, Path]) -> None:
    assert shlo("diff", "-", files[0], stdin=LEFT).code == 0
    assert "cannot both come from standard input" in shlo("diff", "-", "-").err
