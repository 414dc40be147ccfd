"""The pool of benchmarks/case_pool.py: records, resuming, deaths and late cases."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import pytest

from benchmarks import case_pool

WORKER = """
import os, sys, time
sys.path.insert(0, {root!r})
from benchmarks.case_pool import serve
from passes.errors import UserError

def judge(case):
    name = case["case"]
    if name == "dies":
        os._exit(9)
    if name == "sleeps":
        time.sleep(60)
    if name == "odd":
        raise UserError("argument 0 'x' of @main has shape 5: dimension 0 of 5 does not divide by axis 'x' of size 2")
    if name == "bad":
        raise KeyError(name)
    return {{"verdict": "right"}}

serve(judge)
"""


def _args(resume: Path, again: bool = False) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    case_pool.add_options(parser, str(resume), case_seconds=20)
    return parser.parse_args(["--processes", "2", "--case-seconds", "3", *(["--again"] if again else [])])


def test_every_case_has_a_verdict_and_is_run_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "worker.py"
    script.write_text(WORKER.format(root=str(Path(__file__).parent.parent)))
    monkeypatch.setattr(sys, "argv", [str(script)])
    chunks = [[{"case": "good"}, {"case": "dies"}], [{"case": "odd"}, {"case": "bad"}, {"case": "sleeps"}]]
    args = _args(tmp_path / "records.jsonl")
    found = {r["case"]: r["verdict"] for r in case_pool.run(chunks, args)}
    assert found == {"good": "right", "dies": "dead", "odd": "refused", "bad": "error", "sleeps": "late"}

    lines = args.resume.read_text().splitlines()
    assert len(lines) == 5
    # A killed run may leave half a line; what is in the file is not run again unless it is asked for.
    args.resume.write_text("\n".join([*lines, '{"case": "go']))
    assert len(case_pool.run(chunks, args)) == 5
    assert len(args.resume.read_text().splitlines()) == 6
    with args.resume.open("a") as file:
        file.write("\n" + json.dumps({"case": "dies", "verdict": "right"}) + "\n")
    assert case_pool.records(args.resume)["dies"]["verdict"] == "right"


def test_bad_ones_run_again_on_demand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "worker.py"
    script.write_text(WORKER.format(root=str(Path(__file__).parent.parent)))
    monkeypatch.setattr(sys, "argv", [str(script)])
    args = _args(tmp_path / "records.jsonl", again=True)
    old = [{"case": "good", "verdict": "wrong"}, {"case": "other", "verdict": "right"}]
    args.resume.write_text("".join(json.dumps(r) + "\n" for r in old))
    found = {r["case"]: r["verdict"] for r in case_pool.run([[{"case": "good"}, {"case": "other"}]], args)}
    assert found == {"good": "right", "other": "right"}
    assert len(args.resume.read_text().splitlines()) == 3
