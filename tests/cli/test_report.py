"""``shlo report``: which file it writes, what goes in, and what it refuses."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

STEP = "examples/decoder/train_step.mlir"
PLAN = ("--rules", "examples/decoder/megatron.toml")


def _data(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    return data


def test_one_page_with_all_in_it(shlo: Callable[..., Any], tmp_path: Path) -> None:
    out = tmp_path / "out.html"
    result = shlo("report", STEP, *PLAN, "-o", str(out))
    assert (result.code, result.out) == (0, "")
    page = out.read_text()
    assert result.err == f"{out}: {len(page.encode()):,} bytes\n"
    assert not re.search(r"(src|href)=[\"']?(https?:|//|file:)", page) and "@@" not in page
    data = _data(page)
    assert data["title"] == "train_step.mlir megatron" and data["devices"] == 8
    costs = json.loads(shlo("cost", STEP, *PLAN, "--json").out)["megatron"]
    totals = {title: values[0] for title, _, values in data["totals"]["rows"]}
    assert totals["FLOPs"] == costs["flops"] and totals["peak memory"] == costs["memory"]["peak"]
    assert sum(data["ops"]["time"]) * 1e-9 == pytest.approx(costs["seconds"], rel=1e-3)
    assert data["comparison"] is None and data["difference"] is None


def test_standard_output_and_plans_side_by_side(shlo: Callable[..., Any]) -> None:
    result = shlo("report", STEP, *PLAN, "--rules", "examples/decoder/fsdp.toml", "-o", "-")
    assert result.code == 0 and result.err == ""
    data = _data(result.out)
    assert data["comparison"]["titles"] == ["train_step.mlir megatron", "train_step.mlir fsdp"]
    fsdp = json.loads(shlo("cost", STEP, "--rules", "examples/decoder/fsdp.toml", "--json").out)["fsdp"]
    rows = {title: values for title, _, values in data["comparison"]["rows"]}
    assert rows["FLOPs"][1] == fsdp["flops"]


def test_passes_and_what_they_took_out(shlo: Callable[..., Any]) -> None:
    data = _data(shlo("report", STEP, *PLAN, "-O", "-o", "-").out)
    assert data["difference"]["title"] == "builtin.module(optimize)"
    assert data["difference"]["removals"]


def test_what_was_before(shlo: Callable[..., Any], tmp_path: Path) -> None:
    after = tmp_path / "after.mlir"
    assert shlo("opt", STEP, "-O", "-o", str(after)).code == 0
    data = _data(shlo("report", str(after), "--before", STEP, "-o", "-").out)
    before = sum(row[1] for row in data["difference"]["kinds"])
    assert before > sum(row[2] for row in data["difference"]["kinds"]) > 0


def test_a_per_device_program_takes_its_side_table_along(shlo: Callable[..., Any], tmp_path: Path) -> None:
    local = tmp_path / "local.mlir"
    assert shlo("partition", STEP, *PLAN, "-o", str(local)).code == 0
    data = _data(shlo("report", str(local), "-o", "-").out)
    assert data["mesh"]["axes"] == [["data", 2], ["model", 4]] and data["chains"] is None
    named = shlo("report", str(local), "--side-table", str(local.with_suffix(".side.json")), "-o", "-")
    assert _data(named.out) == data


def test_graphs_for_model_explorer(shlo: Callable[..., Any], tmp_path: Path) -> None:
    out = tmp_path / "graphs.json"
    result = shlo("report", STEP, *PLAN, "--model-explorer", str(out))
    assert (result.code, result.out) == (0, "")
    kinds = ("bytes", "seconds", "flops", "sent", "sharding", "origin")
    names = ["graphs.json", *(f"graphs.{kind}.json" for kind in kinds)]
    assert [line.split(":")[0].split("/")[-1] for line in result.err.splitlines()] == names
    assert all((tmp_path / name).is_file() for name in names)


@pytest.mark.parametrize(("options", "words"), [
    (("--model-explorer", "a.json", "-o", "b.html"), "-o and --model-explorer exclude each other"),
    (("--before", STEP, "-O"), "--before and passes to run exclude each other"),
    (("--mesh", "x=2"), "--mesh goes with --rules"),
    (("--device", "abacus"), "there is no device 'abacus'"),
    (("--topology", "knot"), "there is no topology 'knot'"),
    (("-o", "/nowhere/out.html"), "there is no directory"),
])
def test_refusals(shlo: Callable[..., Any], options: tuple[str, ...], words: str) -> None:
    result = shlo("report", STEP, *options)
    assert result.code == 1 and words in result.err and result.out == ""
