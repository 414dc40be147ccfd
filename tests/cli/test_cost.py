"""``shlo cost``: totals and tables, JSON, comparison, errors."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

STEP = "examples/decoder/train_step.mlir"
PLAN = ("--rules", "examples/decoder/megatron.toml")


def test_totals_and_tables(shlo: Callable[..., Any]) -> None:
    result = shlo("cost", STEP, *PLAN, "--top", "3")
    assert result.code == 0
    lines = result.out.splitlines()
    assert lines[0].startswith("8 x TPU v5e")
    heads = [line.split("  ")[0] for line in lines if line and not line.startswith(" ")]
    assert [h for h in heads if h in ("op", "place", "collective") or h.startswith("held")] == [
        "op", "place", "collective", heads[-5]]
    assert heads[-5].startswith("held at the peak, at ")
    assert any(line.startswith("dot_general") for line in lines)
    assert any("jit(train_step)/" in line for line in lines)


def test_only_the_tables_asked_for(shlo: Callable[..., Any]) -> None:
    result = shlo("cost", STEP, "--by", "op")
    assert "\nop " in result.out and "\nplace" not in result.out and "held" not in result.out
    assert "bytes sent" not in result.out


def test_json_has_the_same(shlo: Callable[..., Any]) -> None:
    data = json.loads(shlo("cost", STEP, *PLAN, "--json").out)["megatron"]
    assert data["devices"] == 8
    memory = data["memory"]
    assert memory["peak"] == memory["arguments"] + memory["results"] + memory["temporaries"]
    assert sum(row["flops"] for row in data["by_op"]) == data["flops"]
    assert sum(row["sent"] for row in data["collectives"]) == pytest.approx(data["sent_bytes"])
    assert data["seconds"] == pytest.approx(data["seconds_local"] + data["seconds_collectives"])


def test_plans_side_by_side(shlo: Callable[..., Any]) -> None:
    result = shlo(
        "cost", STEP, "--rules", "preset:megatron", "--rules", "preset:data_parallel", "--mesh", "data=2,model=4"
    )
    head, *rows = result.out.splitlines()
    assert head.split()[-2:] == ["preset:megatron", "preset:data_parallel"]
    fastest = rows[-1].split()
    assert fastest[:3] == ["times", "the", "fastest"] and min(map(float, fastest[3:])) == 1.0


def test_tables_side_by_side_have_what_differs_most_first(shlo: Callable[..., Any]) -> None:
    plans = ("--rules", "examples/decoder/dp.toml", "--rules", "examples/decoder/megatron.toml")
    result = shlo("cost", STEP, *plans, "--by", "op", "--by", "memory", "--top", "2")
    lines = result.out.splitlines()
    at = lines.index(next(line for line in lines if line.startswith("op ")))
    assert lines[at].split() == ["op", "dp", "megatron"]
    # Data parallelism reduces all gradients.
    name, first, unit, second, other = lines[at + 1].split()
    assert (name, unit, other) == ("all_reduce", "us", "us") and float(first) > float(second)
    assert lines[at + 3].startswith("... and ")
    assert [line for line in lines if line in ("dp", "megatron")] == ["dp", "megatron"]
    assert sum(line.startswith("held at the peak") for line in lines) == 2


def test_files_of_one_name_are_told_apart(shlo: Callable[..., Any]) -> None:
    files = [f"examples/{example}/forward.mlir" for example in ("decoder", "moe")]
    assert shlo("cost", *files).out.splitlines()[0].split()[-2:] == files
    result = shlo("cost", files[0], files[0])
    assert (result.code, result.out) == (1, "") and "is given twice" in result.err


def test_one_device_sends_nothing_and_waits_for_nobody(shlo: Callable[..., Any]) -> None:
    out = shlo("cost", "examples/lm_head/forward.mlir").out
    assert "sent" not in out and "collectives" not in out and "overlaps" in out


def test_a_per_device_program_costs_what_its_plan_does(shlo: Callable[..., Any], tmp_path: Any) -> None:
    local = tmp_path / "local.mlir"
    assert shlo("partition", STEP, *PLAN, "-o", str(local)).code == 0
    from_plan = json.loads(shlo("cost", STEP, *PLAN, "--json").out)["megatron"]
    from_file = json.loads(shlo("cost", str(local), "--json").out)["local"]
    same = ("flops", "sent_bytes", "devices", "seconds")
    assert [from_file[key] for key in same] == pytest.approx([from_plan[key] for key in same])


@pytest.mark.parametrize(("arguments", "message"), [
    (("--device", "tpu_v99"), "there is no device 'tpu_v99'; there are a100_80"),
    (("--topology", "star"), "there is no topology 'star'; there are ring, line, torus, switch, all_to_all"),
    (("--mesh", "a=2"), "--mesh goes with --rules"),
    (("--by", "colour"), "invalid choice: 'colour'"),
])
def test_errors_are_one_line(shlo: Callable[..., Any], arguments: tuple[str, ...], message: str) -> None:
    result = shlo("cost", STEP, *arguments)
    assert (result.code, result.out) == (1, "")
    assert message in result.err and len(result.err.splitlines()) == 1


def test_devices_are_listed(shlo: Callable[..., Any]) -> None:
    result = shlo("cost", "--list-devices")
    assert result.code == 0 and len(result.out.splitlines()) >= 11
    assert "wormhole_t3000" in result.out
