"""Runs many small cases in a few worker processes: resumable, limited in time, and a death is a finding.

A benchmark lists cases in chunks (a chunk shares what is costly to make) and has a function that judges one case in a
worker. Each case leaves one JSON line; a run that is repeated with the same file goes on where the last one ended.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from passes.errors import NativeFailure, UserError
from passes.pipeline.lifetime import die_with_parent

# A case must have a unique "case"; a record is the case with its "verdict" and more.
Case = dict[str, Any]
GOOD = ("right", "refused")


def add_options(parser: argparse.ArgumentParser, log: str, case_seconds: int = 120) -> None:
    """The options that all benchmarks made of cases have."""
    parser.add_argument("--seconds", type=float, default=600, help="start no case after this long (default: 600)")
    parser.add_argument("--processes", type=int, default=1, help="how many worker processes (default: 1)")
    parser.add_argument("--resume", type=Path, default=Path("build") / log, metavar="FILE",
                        help=f"the records, added to; cases in it are not run again (default: build/{log})")
    parser.add_argument("--again", action="store_true", help="run the cases again that are not right in the file")
    parser.add_argument("--case-seconds", type=float, default=case_seconds, help="until a case is given up")
    parser.add_argument("--match", default="", help="only cases with this in their name")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)


def records(path: Path) -> dict[str, Case]:
    """The last record of each case in a file; a line that a killed run left unfinished is no record."""
    found = {}
    if path.is_file():
        for line in path.read_text().splitlines():
            try:
                record = json.loads(line)
            except json.JSONDecodeError:
                continue
            found[record["case"]] = record
    return found


def judged(judge: Callable[[Case], Case], case: Case) -> Case:
    """The record that ``judge`` makes of ``case``; what it raises is a verdict too."""
    start = time.perf_counter()
    try:
        found = judge(case)
    except NativeFailure as error:
        found = {"verdict": "dead", "reason": _one_line(error.message)}
    except UserError as error:
        refused = any(words in error.message for words in _REFUSALS) and "cannot partition" not in error.message
        found = {"verdict": "refused" if refused else "error", "reason": _one_line(error.message)}
    except Exception as error:  # a traceback is a defect, and the other cases go on
        place = error.__traceback__
        while place is not None and place.tb_next is not None:
            place = place.tb_next
        line = f"{place.tb_frame.f_code.co_filename}:{place.tb_lineno}" if place else "?"
        found = {"verdict": "error", "reason": _one_line(f"{type(error).__name__} at {line}: {error}")}
    return {**case, **found, "seconds": round(time.perf_counter() - start, 3)}


# What arguments and results are refused for: dimensions that do not divide, shapes that are not known.
_REFUSALS = ("does not divide", "sharding needs static shapes")


def _one_line(text: str) -> str:
    return " ".join(text.split())[:500]


def serve(judge: Callable[[Case], Case]) -> None:
    """The worker's side: one case a line on stdin, one record a line on stdout."""
    die_with_parent()
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    for line in sys.stdin:
        answers.write(json.dumps(judged(judge, json.loads(line))) + "\n")


@dataclass
class _Worker:
    """A worker process, started anew after a death, a time limit, or many cases."""

    command: list[str]
    process: subprocess.Popen[bytes] | None = None
    log: IO[bytes] | None = None
    cases: int = 0

    def judge(self, case: Case, seconds: float) -> Case:
        if self.process is None or self.cases >= _CASES_PER_PROCESS:
            self.stop()
            self.log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by stop()
            self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                            stderr=self.log, env={**os.environ, **_ENVIRONMENT})
        process, self.cases = self.process, self.cases + 1
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(json.dumps(case).encode() + b"\n")
            process.stdin.flush()
            ready = select.select([process.stdout], [], [], seconds)[0]
            line = process.stdout.readline() if ready else None
        except BrokenPipeError:
            line = b""
        if line:
            record: Case = json.loads(line)
            return record
        found = {**case, **self._lost(seconds if line is None else None)}
        self.stop()
        return found

    def _lost(self, seconds: float | None) -> Case:
        if seconds is not None:
            return {"verdict": "late", "reason": f"not done after {seconds:g} s"}
        assert self.process is not None and self.log is not None
        code = self.process.wait()
        self.log.seek(0)
        words = [w for w in self.log.read().decode(errors="replace").splitlines() if w.strip() and w[0] != "I"]
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return {"verdict": "dead", "reason": _one_line(f"{how}: {' '.join(words[-3:])}")}

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            for stream in (self.process.stdin, self.process.stdout, self.log):
                if stream is not None:
                    try:
                        stream.close()
                    except BrokenPipeError:
                        continue
        self.process, self.cases = None, 0


_CASES_PER_PROCESS = 250
_ENVIRONMENT = {"TF_CPP_MIN_LOG_LEVEL": "2", "XLA_FLAGS": "--xla_cpu_collective_call_terminate_timeout_seconds=100"}


@dataclass
class _Run:
    """One run of a pool; threads share it."""

    chunks: Iterator[list[Case]]
    args: argparse.Namespace
    known: dict[str, Case]
    end: float
    show: Callable[[Case], None]
    lock: threading.Lock = field(default_factory=threading.Lock)

    def work(self) -> None:
        worker = _Worker([sys.executable, *sys.argv, "--worker"])
        try:
            while chunk := self._next():
                for case in chunk:
                    if self._due(case):
                        self._keep(worker.judge(case, self.args.case_seconds))
        finally:
            worker.stop()

    def _next(self) -> list[Case] | None:
        with self.lock:
            return next(self.chunks, None)

    def _due(self, case: Case) -> bool:
        known = self.known.get(case["case"])
        fresh = known is None or (self.args.again and known["verdict"] not in GOOD)
        return fresh and self.args.match in case["case"] and time.monotonic() < self.end

    def _keep(self, record: Case) -> None:
        with self.lock:
            self.known[record["case"]] = record
            with self.args.resume.open("a") as file:
                file.write(json.dumps(record) + "\n")
            self.show(record)


def pace(found: list[Case]) -> str:
    """How fast one process did these cases."""
    seconds = sum(record.get("seconds", 0.0) for record in found)
    return f"{len(found) / max(seconds, 1e-9):.1f} a second of one process"


def run(chunks: Iterable[list[Case]], args: argparse.Namespace) -> list[Case]:
    """Runs what is not in the file yet; returns the records of all cases of ``chunks`` that have one."""
    listed = list(chunks)
    names = [case["case"] for chunk in listed for case in chunk if args.match in case["case"]]

    def show(record: Case) -> None:
        if record["verdict"] not in GOOD:
            print(f"{record['verdict']:6} {record['case']}: {record.get('reason', '')[:300]}", flush=True)

    args.resume.parent.mkdir(parents=True, exist_ok=True)
    going = _Run(iter(listed), args, records(args.resume), time.monotonic() + args.seconds, show)
    threads = [threading.Thread(target=going.work) for _ in range(args.processes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = [going.known[name] for name in names if name in going.known]
    if len(found) < len(names):
        print(f"{len(names) - len(found)} of {len(names)} cases are left for the next run with --resume {args.resume}")
    return found
