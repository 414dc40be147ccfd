"""The listing of a program's values, which selects them when put into a rules file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from passes.program.read import parse, read
from passes.sharding.annotate import annotate
from passes.sharding.names import listing
from passes.sharding.rules_file import parse as parse_rules
from tests.sharding.test_constraints import MODULE

TRAIN_STEP = str(Path(__file__).parents[2] / "examples" / "decoder" / "train_step.mlir")


def test_arguments_and_results() -> None:
    assert listing(parse(MODULE)) == [
        "# [[arguments]]",
        'match = "a"  # index 0: 8x4xf32',
        'match = "b"  # index 1: 4x8xf32',
        'match = "c"  # index 2: 8x4xf32',
        "# [[results]]",
        'match = "result0"  # index 0: 8x8xf32',
        'match = "result1"  # index 1: 8x4xf32',
    ]


def test_intermediates() -> None:
    lines = listing(parse(MODULE, "m.mlir"), inside=True)
    assert [line.partition("  #")[0].rstrip() for line in lines[lines.index("# [[constraints]]") + 1 :]] == [
        'op = "stablehlo.tanh", location = "act/tanh"',
        'op = "stablehlo.abs", location = "m.mlir:7"',
        'op = "stablehlo.add", location = "jit(f)/layer_0/add"',
        'op = "func.call", location = "jit(f)/layer_1/call"',
        'op = "stablehlo.add", location = "jit(f)/layer_1/add"',
        'composite = "my.norm", location = "m.mlir:15"',
        'op = "stablehlo.reduce", location = "m.mlir:17"',
        'op = "stablehlo.dot_general", location = "mlp/dot"',
    ]


def test_every_line_selects_what_it_lists() -> None:
    lines = listing(read(TRAIN_STEP), inside=True)
    section = ""
    entries = []
    for line in lines:
        if line.startswith("# "):
            section = line.removeprefix("# ")
            continue
        selects, _, comment = line.partition("  # ")
        type = comment.partition(": ")[2] or comment.partition(",")[0]
        dims = ", ".join(['""'] * type.count("x"))
        keys = "\n".join(selects.strip().split(", location")).replace("\n =", "\nlocation =")
        extra = "" if section != "[[constraints]]" else f'\ntype = "{type}"'
        entries.append(f"{section}\n{keys}{extra}\ndims = [{dims}]")
    program = read(TRAIN_STEP)
    report = annotate(program, parse_rules("mesh = { x = 2 }\n" + "\n".join(entries)))
    assert len(report.arguments) == 20
    assert len(report.results) == 19
    counts = [line.partition("  # ")[2].partition(", ")[2].removesuffix(" times") for line in lines if line[:2] == "op"]
    assert len(report.constraints) == sum(int(count or 1) for count in counts)


def test_on_the_command_line(shlo: Callable[..., Any]) -> None:
    result = shlo("shard", TRAIN_STEP, "--names")
    assert result.code == 0
    assert "match = \"params['mlp']['up']\"" in result.out
    assert "[[constraints]]" not in result.out
    assert 'op = "stablehlo.dot_general"' in shlo("shard", TRAIN_STEP, "--names=all").out
