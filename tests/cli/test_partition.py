"""``shlo partition``: files it writes, what it says, and bad input in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
MODEL = str(EXAMPLES / "decoder" / "forward.mlir")
RULES = str(EXAMPLES / "decoder" / "megatron.toml")


def test_module_and_side_table_are_written(shlo, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    out = tmp_path / "device.mlir"
    result = shlo("partition", MODEL, "--rules", RULES, "-o", str(out))
    assert (result.code, result.out) == (0, "")
    assert "mhlo.num_partitions = 8" in out.read_text()
    assert "sdy." not in out.read_text()
    table = json.loads((tmp_path / "device.side.json").read_text())
    assert table["mesh"]["axes"] == [["data", 2], ["model", 4]]
    assert "all_reduce         model               2 x" in result.err


def test_ir_alone_on_stdout_and_summary_as_json(shlo) -> None:  # type: ignore[no-untyped-def]
    result = shlo("partition", MODEL, "--rules", RULES, "--json")
    assert result.code == 0
    summary = json.loads(result.err)
    assert summary["devices"] == 8
    assert [(c["kind"], c["axes"], c["count"]) for c in summary["collectives"]] == [("all_reduce", ["model"], 2)]
    assert shlo("opt", "-", stdin=result.stdout).code == 0


def test_verify_says_what_was_executed(shlo, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    result = shlo("partition", MODEL, "--rules", RULES, "--verify", "-o", str(tmp_path / "out.mlir"))
    assert result.code == 0
    assert "executed on 8 virtual devices (XLA CPU), inputs normal seed 0: 1 of 1 results equal" in result.err


MESH = 'sdy.mesh @mesh = <["x"=4]>\n'
SPLIT = '{sdy.sharding = #sdy.sharding<@mesh, [{"x"}]>}'
CALL = "  %0 = func.call @f(%a) : (tensor<8xf32>) -> tensor<8xf32>\n  return %0 : tensor<8xf32>\n}\n"
MAIN = f"func.func @main(%a: tensor<8xf32> {SPLIT}) -> tensor<8xf32> {{\n"

RETURN = f"{MESH}{MAIN}  return %a : tensor<8xf32>\n}}"

BAD = {
    "no mesh": ("func.func @main(%a: tensor<8xf32>) -> tensor<8xf32> { return %a : tensor<8xf32> }", "--rules"),
    "an empty module": ("module {}", "the module is empty"),
    "recursion": (
        f"{MESH}func.func private @f(%a: tensor<8xf32>) -> tensor<8xf32> {{\n{CALL}{MAIN}{CALL}", "recursion: @f"
    ),
    "a called declaration": (
        f"{MESH}func.func private @f(tensor<8xf32>) -> tensor<8xf32>\n{MAIN}{CALL}", "@f, which has no body"
    ),
    "a dimension that does not divide": (
        RETURN.replace("8xf32", "10xf32"),
        "does not divide by axis 'x' of size 4; a size of 8 or 12 would do, or 2 or 5 shards; or pad it with "
        "--pad-arguments",
    ),
    "a dynamic shape": (RETURN.replace("8xf32", "?xf32"), "needs static shapes"),
    "an unknown mesh": (f"{MAIN}  return %a : tensor<8xf32>\n}}", "unknown mesh"),
    "several meshes": (
        f'{MESH}sdy.mesh @other = <["z"=2]>\n{MAIN}  return %a : tensor<8xf32>\n}}', "several different meshes"
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_leaves_the_output_alone(shlo, tmp_path: Path, case: str) -> None:  # type: ignore[no-untyped-def]
    text, words = BAD[case]
    source, out = tmp_path / "in.mlir", tmp_path / "out.mlir"
    source.write_text(text)
    out.write_text("as it was")
    result = shlo("partition", str(source), "-o", str(out))
    assert result.code == 1
    headline = result.err.splitlines()[0]
    assert headline.startswith(f"{source}:")
    assert "error: " in headline
    assert words in headline
    assert "Traceback" not in result.err
    assert out.read_text() == "as it was"
    assert not (tmp_path / "out.side.json").exists()


def test_a_mesh_larger_than_the_devices(shlo) -> None:  # type: ignore[no-untyped-def]
    result = shlo("partition", MODEL, "--rules", RULES, "--devices", "4")
    assert (result.code, result.out) == (1, "")
    assert result.err == "shlo: error: the mesh needs 8 devices and --devices says there are 4\n"


def test_arguments_that_do_not_divide_are_padded_on_request(shlo, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    rules, out = tmp_path / "three.toml", tmp_path / "out.mlir"
    rules.write_text((EXAMPLES / "decoder" / "dp.toml").read_text().replace("data = 8", "data = 3"))
    refused = shlo("partition", MODEL, "--rules", rules, "-o", out)
    assert refused.code == 1 and refused.err.endswith("; or pad it with --pad-arguments\n") and not out.exists()
    assert "does not divide by axis 'data' of size 3" in refused.err
    result = shlo("partition", MODEL, "--rules", rules, "--pad-arguments", "--verify", "-o", out)
    assert result.code == 0, result.err
    assert "padded: dimension of 8 to 9 for 3 shards" in result.err and "1 of 1 results equal" in result.err
    table = json.loads((tmp_path / "out.side.json").read_text())
    assert [(e["global_shape"][0], e["padded_shape"][0], e["local_shape"][0]) for e in table["results"]] == [(8, 9, 3)]
    # The files say everything that a later check needs.
    assert shlo("verify", MODEL, out).code == 0


def test_a_constraint_that_does_not_divide_is_padded(shlo, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    rules = tmp_path / "logits.toml"
    rules.write_text(
        'mesh = { model = 3 }\n[[constraints]]\nop = "dot_general"\ntype = "*512*"\ndims = ["", "", "model"]\n'
    )
    head = EXAMPLES / "lm_head" / "forward.mlir"
    result = shlo("partition", head, "--rules", rules, "--verify", "--json", "-o", tmp_path / "out.mlir")
    assert result.code == 0, result.err
    summary = json.loads(result.err.splitlines()[0])
    assert [(c["size"], c["padded"], c["shards"], c["reason"]) for c in summary["padding"]] == [(512, 513, 3, "")]
    # Arguments and results stay what they are.
    assert len(summary["not_split"]) == 2


@pytest.mark.parametrize("mode", ["partition", "replica"])
def test_devices_are_partitions_or_replicas_and_both_are_executed(shlo, tmp_path: Path, mode: str) -> None:  # type: ignore[no-untyped-def]
    out = tmp_path / "out.mlir"
    model, rules = (str(EXAMPLES / "moe" / name) for name in ("train_step.mlir", "expert_all.toml"))
    words = ("--device-id", mode, "--inputs", "exact", "--verify", "-o", str(out))
    result = shlo("partition", model, "--rules", rules, *words)
    assert result.code == 0
    assert "executed on 8 virtual devices (XLA CPU)" in result.err
    text, replicas = out.read_text(), mode == "replica"
    assert f"mhlo.num_replicas = {8 if replicas else 1}" in text
    assert f"mhlo.num_partitions = {1 if replicas else 8}" in text
    assert ("channel_handle" in text) != replicas
    assert ("use_global_device_ids" in text) != replicas


def test_one_manual_computation_is_executed_and_partitioned_again(shlo, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    manual, out = str(tmp_path / "manual.mlir"), str(tmp_path / "out.mlir")
    result = shlo("partition", MODEL, "--rules", RULES, "--style", "manual", "--verify", "-o", manual)
    assert result.code == 0
    assert "partitioned by XLA and executed on 8 virtual devices" in result.err
    assert shlo("partition", manual, "-o", out).code == 0
    assert "1 of 1 results equal" in shlo("verify", MODEL, out).out
    assert shlo("partition", MODEL, "--rules", RULES, "--style", "manual", "--device-id", "replica").code == 1
    padded = shlo("partition", MODEL, "--rules", RULES, "--style", "manual", "--pad-arguments")
    assert padded.code == 1
    assert "--style=manual keeps global types, which must divide" in padded.err


def test_kept_shardings_are_executed(shlo, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    out = tmp_path / "out.mlir"
    result = shlo("partition", MODEL, "--rules", RULES, "--keep-sdy", "--verify", "-o", str(out))
    assert (result.code, "1 of 1 results equal" in result.err) == (0, True)
    assert "sdy.mesh @mesh" in out.read_text()
