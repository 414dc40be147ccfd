"""The table of native passes against the installed bindings, and the promise of the proven list."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from passes import _mlir
from passes.errors import NativeFailure, UserError
from passes.pipeline import native, registry, runner, textual
from passes.pipeline.native_passes import NEEDS_REGISTERED_OPS, PIPELINES, PROVEN, SUMMARIES
from passes.program import read

INPUTS = Path(__file__).parent / "inputs"
# What other supported releases lack of the table; 0.10.2, which it was made from, lacks nothing.
ABSENT = {name for name in SUMMARIES if native.anchor(name) is None}


def test_every_listed_pass_is_in_the_bindings_or_reported_as_absent() -> None:
    assert not ABSENT or _mlir.jaxlib_version() != "0.10.2"
    for name in ABSENT:
        with pytest.raises(UserError, match="has no pass"):
            textual.parse(f"builtin.module({name})")


@pytest.mark.parametrize("name", sorted(set(SUMMARIES) - ABSENT))
def test_a_flag_puts_each_pass_where_it_can_run(name: str) -> None:
    shown = registry.NATIVE_PREFIX + name if name in registry.OWN_PASSES else name
    pipeline = textual.from_flags([(shown, "")])
    assert textual.parse(str(pipeline)) == pipeline


def test_pipelines_are_told_from_passes() -> None:
    assert {name for name in SUMMARIES if name not in ABSENT and native.expansion(name) is not None} == PIPELINES


def test_the_table_is_consistent() -> None:
    assert SUMMARIES.keys() >= PROVEN
    assert NEEDS_REGISTERED_OPS <= PROVEN
    assert not PIPELINES & PROVEN
    assert all(summary and not summary.endswith(".") for summary in SUMMARIES.values())
    assert [p.name for p in native.catalog()] == sorted(SUMMARIES)


@pytest.mark.parametrize(("name", "options", "proven"), [
    ("cse", "", True),
    ("inline", "max-iterations=2", True),
    ("inline", "default-pipeline=canonicalize", False),
    ("inline", "op-pipelines=func.func(cse)", False),
    ("sdy-propagation-pipeline", "", False),
    ("composite-fixed-point-pass", "pipeline=cse", False),
])
def test_a_pass_that_runs_others_is_not_proven(name: str, options: str, proven: bool) -> None:
    assert native.is_proven(name, options) == proven


def modules() -> list[str]:
    return re.split(r"(?m)^// -----$", (INPUTS / "adversarial.mlir").read_text())


def test_proven_passes_survive_adversarial_modules() -> None:
    # All in one process: one that died would take this list with it.
    script = (
        "import sys\n"
        "from passes.errors import UserError\n"
        "from passes.pipeline import native, textual, runner\n"
        "from passes.program import read\n"
        "options = runner.RunOptions(isolation=False)\n"
        "for number, text in enumerate(sys.stdin.read().split('// -----\\n')):\n"
        "    for p in native.catalog():\n"
        "        program = read.parse(text, 'in', allow_unregistered=True)\n"
        "        if not native.is_proven(p.name) or native.anchor(p.name) is None: continue\n"
        "        print(number, p.name, flush=True)\n"
        "        flag = ('native-' if p.name in ('cse', 'inline') else '') + p.name\n"
        "        try: runner.run(program, textual.from_flags([(flag, '')]), options)\n"
        "        except UserError: pass\n"
        "print('survived')\n"
    )
    text = (INPUTS / "adversarial.mlir").read_text()
    done = subprocess.run([sys.executable, "-c", script], input=text, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "survived", done.stdout.splitlines()[-1]


def test_inline_is_isolated_from_unregistered_ops() -> None:
    text = next(m for m in modules() if "foo.bar" in m)
    program = read.parse(text, "in.mlir", allow_unregistered=True)
    try:
        with pytest.raises(NativeFailure, match="pass 'native-inline' died in native code"):
            runner.run(program, "builtin.module(native-inline)")
    finally:
        _mlir.context().allow_unregistered_dialects = False
