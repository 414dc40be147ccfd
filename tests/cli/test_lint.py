"""``shlo lint``: lines, JSON, the choice of checks, exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from passes.optimize.lint.lint import CHECKS
from tests.optimize.lint.test_lint import BAD

Shlo = Callable[..., Any]


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    path = tmp_path / "bad.mlir"
    path.write_text(BAD)
    return path


def test_a_line_per_finding_and_a_summary(shlo: Shlo, bad: Path) -> None:
    done = shlo("lint", bad)
    assert done.code == 0
    assert done.out == f"""\
{bad}:1:36: warning: argument 1 'arg1' (tensor<4xf32>) is never used; leave it out (jax.jit does so unless keep_unused \
is set) [dead-argument]
{bad}:1:17: warning: argument 0 'arg0' (tensor<4xf32>) is only used as bf16; store it in that type, which takes \
8 bytes less [narrow-argument]
{bad}:3:8: warning: f32 -> bf16 (line 2) -> f32 keeps 8 significant bits; keep the f32 value, or stay in bf16 if that \
is meant [lossy-convert]
3 findings: 1 dead-argument, 1 narrow-argument, 1 lossy-convert
"""
    assert bad.read_text() == BAD


def test_findings_can_be_an_error(shlo: Shlo, bad: Path) -> None:
    assert shlo("lint", bad, "--error").code == 1
    done = shlo("lint", bad, "--error", "--only=float-index")
    assert (done.code, done.out) == (0, "no findings\n")


def test_json(shlo: Shlo, bad: Path) -> None:
    found = json.loads(shlo("lint", bad, "--json", "--only", "lossy-convert").out)
    assert found == [{
        "check": "lossy-convert", "file": str(bad), "line": 3, "column": 8,
        "message": "f32 -> bf16 (line 2) -> f32 keeps 8 significant bits",
        "todo": "keep the f32 value, or stay in bf16 if that is meant",
    }]  # fmt: skip


def test_checks_are_chosen_by_name(shlo: Shlo, bad: Path) -> None:
    assert shlo("lint", bad, "--skip=dead-argument,narrow-argument").out.endswith("1 finding: 1 lossy-convert\n")
    assert shlo("lint", bad, "--only=dead-argument,lossy-convert", "--skip=lossy-convert").out.endswith(
        "1 finding: 1 dead-argument\n")
    done = shlo("lint", bad, "--only=dead-arguments")
    assert done.code == 1
    assert "unknown check 'dead-arguments'; did you mean 'dead-argument'?" in done.err


def test_the_checks_are_listed(shlo: Shlo) -> None:
    lines = shlo("lint", "--list").out.splitlines()
    assert [line.split()[0] for line in lines] == list(CHECKS)


def test_many_findings_are_cut_short_and_counted(shlo: Shlo) -> None:
    converts = "".join(
        f"  %a{i} = stablehlo.convert %x : (tensor<4xf32>) -> tensor<4xbf16>\n"
        f"  %b{i} = stablehlo.convert %a{i} : (tensor<4xbf16>) -> tensor<4xf32>\n" for i in range(30))
    text = f"func.func @main(%x: tensor<4xf32>) {{\n{converts}  return\n}}\n"
    out = shlo("lint", "--only=lossy-convert", stdin=text).out.splitlines()
    assert len(out) == 22
    assert out[-2:] == ["lossy-convert: 10 more lines (--limit)", "30 findings: 30 lossy-convert"]
    assert len(shlo("lint", "--only=lossy-convert", "--limit=100", stdin=text).out.splitlines()) == 31


def test_findings_at_one_place_are_one_line(shlo: Shlo) -> None:
    pair = """\
  %a{0} = stablehlo.convert %x : (tensor<4xf32>) -> tensor<4xbf16> loc("m.py":2:1)
  %b{0} = stablehlo.convert %a{0} : (tensor<4xbf16>) -> tensor<4xf32> loc("m.py":3:1)
"""
    text = f"func.func @main(%x: tensor<4xf32>) {{\n{pair.format(0)}{pair.format(1)}  return\n}}\n"
    out = shlo("lint", "--only=lossy-convert", stdin=text).out
    assert out.startswith("m.py:3:1: warning: f32 -> bf16 (m.py:2) -> f32 keeps 8")
    assert "[lossy-convert] (2 times)\n2 findings" in out


def test_settings_reach_the_checks(shlo: Shlo) -> None:
    text = "func.func @main() -> tensor<2xf32> {\n  %0 = stablehlo.constant dense<[1.0, 2.0]> : tensor<2xf32>\n" \
        "  return %0 : tensor<2xf32>\n}\n"
    assert shlo("lint", stdin=text).out == "no findings\n"
    assert "a constant of 8 bytes" in shlo("lint", "--constant-bytes=8", stdin=text).out


def test_bad_input_is_an_error(shlo: Shlo) -> None:
    done = shlo("lint", stdin="func.func @main(")
    assert done.code == 1
    assert "<stdin>:1:" in done.err
