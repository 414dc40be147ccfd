"""``shlo autoshard``: the annotated program, the rules file, the comparison, dimensions, errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

STEP = "examples/decoder/train_step.mlir"
MESH = ("--mesh", "data=2,model=4")


def test_the_rules_file_gives_the_same_annotation(shlo: Callable[..., Any], tmp_path: Path) -> None:
    rules, chosen, again = (tmp_path / name for name in ("plan.toml", "chosen.mlir", "again.mlir"))
    written = shlo(
        "autoshard", STEP, *MESH, "--memory", "1e6", "--lower", "1", "--no-presets", "--rules-out", rules, "-o", chosen
    )
    assert written.code == 0, written.err
    assert shlo("shard", STEP, "--rules", rules, "-o", again).code == 0
    propagated = shlo("shard", chosen)
    assert propagated.code == 0
    assert propagated.out == again.read_text()
    assert "sdy.sharding" in chosen.read_text()


def test_the_comparison_names_every_plan_and_what_was_chosen(shlo: Callable[..., Any], tmp_path: Path) -> None:
    result = shlo("autoshard", STEP, *MESH, "--memory", "1e6", "--lower", "1", "-o", tmp_path / "o.mlir")
    assert result.code == 0
    titles = [line.split()[0] for line in result.err.splitlines() if line.startswith(("autoshard", "preset:"))]
    assert titles.count("autoshard") == 1
    assert {"preset:data_parallel", "preset:fsdp", "preset:megatron"} <= set(titles)
    assert sum("chosen" in line for line in result.err.splitlines()) == 1
    assert "not compared: preset:expert_parallel: the mesh has no axis 'expert'" in result.err


def test_json_has_the_same(shlo: Callable[..., Any], tmp_path: Path) -> None:
    result = shlo(
        "autoshard", STEP, *MESH, "--memory", "1e6", "--lower", "2", "--no-presets", "--json", "-o", tmp_path / "o.mlir"
    )
    data = json.loads(result.err)
    assert data["limit"] == 1e6 and data["presets"] == []
    assert data["best"]["peak"] <= 1e6
    assert data["best"]["actions"] and all(" splits size " in action for action in data["best"]["actions"])


def test_alternatives_are_listed_and_written_beside_the_best(shlo: Callable[..., Any], tmp_path: Path) -> None:
    rules, again = tmp_path / "plan.toml", tmp_path / "again.mlir"
    result = shlo(
        "autoshard", STEP, *MESH, "--memory", "1e6", "--alternatives", "2", "--lower", "1", "--no-presets", "--json",
        "--rules-out", rules, "-o", tmp_path / "o.mlir",
    )
    assert result.code == 0, result.err
    data = json.loads(result.err)
    [other] = data["others"]
    assert other["rules"] == (tmp_path / "plan.2.toml").read_text()
    assert data["best"]["rules"] == rules.read_text() != other["rules"]
    assert shlo("shard", STEP, "--rules", tmp_path / "plan.2.toml", "-o", again).code == 0


def test_dimensions_are_shown_by_name(shlo: Callable[..., Any]) -> None:
    result = shlo("autoshard", STEP, *MESH, "--show-dimensions")
    head, *rows = result.out.splitlines()
    assert head.split() == ["size", "in", "ops", "axes", "that", "divide", "it", "where"]
    [heads] = [row for row in rows if "['wq'].1" in row]
    assert heads.split()[0] == "4" and "data, model" in heads and "['wo'].0" in heads


def test_a_limit_that_nothing_meets_is_told_with_the_least_there_is(shlo: Callable[..., Any], tmp_path: Path) -> None:
    out = tmp_path / "o.mlir"
    result = shlo("autoshard", STEP, *MESH, "--memory", "1e5", "--lower", "2", "--no-presets", "-o", out)
    assert result.code == 1
    last = result.err.splitlines()[-1]
    assert "no plan was found that fits into 100 kB: the least memory is " in last
    assert "temporaries; most are temporaries: " in last
    assert "by the model, no plan takes less memory than " in result.err
    assert not out.exists()


def test_a_certificate_says_how_far_from_optimal_the_plan_can_be(shlo: Callable[..., Any], tmp_path: Path) -> None:
    arguments = (STEP, *MESH, "--certify", "1", "--lower", "1", "--no-presets", "-o", tmp_path / "o.mlir")
    result = shlo("autoshard", *arguments)
    assert result.code == 0
    [said] = [line for line in result.err.splitlines() if line.startswith("by the model, no plan within 16.0 GB ")]
    assert "of optimal" in said or "is optimal" in said
    assert json.loads(shlo("autoshard", *arguments, "--json").err)["bound"] > 0


def test_the_mesh_is_chosen_too(shlo: Callable[..., Any], tmp_path: Path) -> None:
    chosen = tmp_path / "chosen.mlir"
    result = shlo("autoshard", STEP, "--devices", "4", "--memory", "1e6", "--lower", "1", "--no-presets", "-o", chosen)
    assert result.code == 0, result.err
    head, first, second, *_ = result.err.splitlines()
    assert head.split() == ["mesh", "time", "sent", "memory"]
    assert {first.split()[0], second.split()[0]} == {"data=4", "data=2,model=2"}
    axes = first.split()[0].split(",")
    assert "[" + ", ".join('"{}"={}'.format(*axis.split("=")) for axis in axes) + "]" in chosen.read_text()


@pytest.mark.parametrize(("arguments", "message"), [
    ((*MESH, "--devices", "8"), "--devices chooses the mesh, but there is one"),
    (("--devices", "1"), "--devices takes 2 or more, not 1"),
    ((), "the program has no mesh: give it one with --mesh"),
    ((*MESH, "--memory", "lots"), "--memory takes bytes, as in 12e9, or none, not 'lots'"),
    ((*MESH, "--device", "tpu_v99"), "there is no device 'tpu_v99'"),
    ((*MESH, "--objective", "beauty"), "invalid choice: 'beauty'"),
])
def test_errors_are_one_line(shlo: Callable[..., Any], arguments: tuple[str, ...], message: str) -> None:
    result = shlo("autoshard", STEP, *arguments)
    assert (result.code, result.out) == (1, "")
    assert message in result.err and len(result.err.splitlines()) == 1
