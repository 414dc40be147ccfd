"""Executes every runnable module before and after a pipeline and compares the results bit by bit.

    python benchmarks/optimize_verify.py [PLACE ...] [--passes 'builtin.module(cse,dead-ops)'] [--out FILE.jsonl]

Places are files or folders; without any, the modules of ../shared/corpus (if there is that folder) and examples/ are
taken, smallest first. Each module has a process of its own with a time limit, and leaves one JSON line in FILE for each
kind of inputs:

  equal       bit by bit
  differs     which result, the first index, both values
  denormals   it differs, but not with zeros for denormals in the inputs; XLA's CPU backend flushes them in some ops
              only, ``--engine interpreter`` in none
  cannot run  why

A line stands as long as the module and what the pipeline makes of it stay the same, so a run that is repeated executes
only what changed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

from passes.errors import UserError
from passes.execute.compare import BIT_EQUAL, Comparison
from passes.execute.distance import is_float
from passes.execute.executor import Executor, signature
from passes.execute.inputs import make
from passes.execute.report import Report
from passes.execute.verify import verify
from passes.pipeline import runner
from passes.program import read, write
from passes.program.read import Program

ROOT = Path(__file__).resolve().parent.parent
GIGABYTE = 1 << 30
# Inputs, results of both programs and what the programs hold on the way, at least.
COPIES = 4

Record = dict[str, Any]


def one(path: Path, args: argparse.Namespace) -> None:
    """Verifies one module on all kinds of inputs and prints a record for each."""
    resource.setrlimit(resource.RLIMIT_AS, (args.gigabytes * GIGABYTE, resource.RLIM_INFINITY))
    known = {(r["kind"], r["programs"]): r for r in records(args.out)
             if r["module"] == name(path) and r["engine"] == args.engine}
    try:
        original, program = read.read(str(path)), read.read(str(path))
        runner.run(program, args.passes)
        programs = _hash(path.read_bytes() + str(write.to_text(program.module)).encode())
        _require_room(original, args.gigabytes)
    except UserError as error:
        for kind in args.kinds.split(","):
            _print(path, kind, args, {"verdict": "cannot run", "reason": error.message, "programs": ""})
        return
    # In this process it keeps what it compiled for the next kind of inputs, and a death ends this module only.
    executor = Executor(args.engine, isolated=False)
    for kind in args.kinds.split(","):
        last = known.get((kind, programs))
        if last is not None and last["verdict"] in ("equal", "cannot run"):
            _print(path, kind, args, {**last, "again": False})
            continue
        start = time.perf_counter()
        found = _compared(original, program, kind, executor)
        _print(path, kind, args, {**found, "programs": programs, "seconds": round(time.perf_counter() - start, 2)})


def _hash(data: bytes) -> str:
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()


def _require_room(program: Program, gigabytes: int) -> None:
    needed = COPIES * sum(math.prod(t.shape) * t.dtype.itemsize for types in signature(program) for t in types)
    if needed > gigabytes * GIGABYTE:
        raise program.error(f"its arguments and results need {needed / GIGABYTE:,.0f} GB of {gigabytes} GB")


def _compared(original: Program, program: Program, kind: str, executor: Executor) -> Record:
    check = partial(verify, level=BIT_EQUAL, executor=executor)
    try:
        report = check(original, program, inputs=kind)
        differing = [(i, r) for i, r in enumerate(report.results) if not r.ok]
        if differing and not check(original, original, inputs=kind).ok:
            return {"verdict": "cannot run", "reason": "it gives other results each time"}
        flushed = bool(differing) and _equal_without_denormals(original, program, kind, check)
    except UserError as error:
        return {"verdict": "cannot run", "reason": " ".join(error.message.split())[:300]}
    count = {"results": len(report.results), "notes": list(report.notes)}
    if not differing:
        return {"verdict": "equal", **count}
    verdict = "denormals" if flushed else "differs"
    return {"verdict": verdict, **count, "differing": [_described(i, r) for i, r in differing[:20]]}


def _equal_without_denormals(original: Program, program: Program, kind: str, check: Callable[..., Report]) -> bool:
    """Whether the programs agree on the same inputs with zeros in place of denormals.

    XLA's CPU backend takes denormals for zeros in some ops (multiply, convert) and not in others (negate, reshape), so
    there an op less may mean a denormal more.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "inputs.npz"
        given = make(original, kind).arrays
        np.savez(path, **{str(i): _without_denormals(array) for i, array in enumerate(given)})
        return check(original, program, inputs=str(path)).ok


def _without_denormals(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind in "biuc" or not is_float(array.dtype):
        return array
    tiny = np.abs(array.astype(np.float64)) < float(ml_dtypes.finfo(array.dtype).smallest_normal)
    return np.where(tiny, np.copysign(0, array.astype(np.float64)).astype(array.dtype), array)


def _described(index: int, found: Comparison) -> Record:
    first = found.first
    place = {} if first is None else {"index": first.index, "expected": first.expected, "got": first.got}
    return {"result": index, "name": found.name, "type": found.type, "reason": found.reason, **place}


def _print(path: Path, kind: str, args: argparse.Namespace, found: Record) -> None:
    about = {"module": name(path), "kind": kind, "passes": args.passes, "engine": args.engine}
    print(json.dumps({**about, **found}), flush=True)


def name(path: Path) -> str:
    """The module's name: its folder's too, because examples share file names."""
    return f"{path.resolve().parent.name}/{path.stem}"


def records(path: Path) -> list[Record]:
    """The records in a file; a line that a killed run left unfinished is no record."""
    found = []
    if path.is_file():
        for line in path.read_text().splitlines():
            try:
                found.append(json.loads(line))
            except json.JSONDecodeError:
                continue
    return found


def run_one(path: Path, args: argparse.Namespace) -> list[Record]:
    """The records of one module, from a process of its own; those it could not make itself say why."""
    command = [sys.executable, __file__, str(path), "--one", "--passes", args.passes, "--out", str(args.out),
               "--kinds", args.kinds, "--gigabytes", str(args.gigabytes), "--engine", args.engine]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=args.seconds)
        output, reason = done.stdout, _death(done)
    except subprocess.TimeoutExpired as late:
        output, reason = (late.stdout or b"").decode(), f"not done after {args.seconds} s"
    found = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    missing = [k for k in args.kinds.split(",") if k not in {r["kind"] for r in found}]
    plain = {"module": name(path), "passes": args.passes, "engine": args.engine, "verdict": "cannot run",
             "reason": reason, "programs": ""}
    return [*found, *({**plain, "kind": kind} for kind in missing)]


def _death(done: subprocess.CompletedProcess[str]) -> str:
    how = signal.Signals(-done.returncode).name if done.returncode < 0 else f"exit code {done.returncode}"
    last = [line for line in done.stderr.splitlines() if line.strip()]
    return f"its process died ({how}): {last[-1][:200] if last else 'it said nothing'}"


def shown(record: Record) -> str:
    """A record in a line."""
    text = f"{record['verdict']:10} {record['module']} {record['kind']}"
    if record["verdict"] == "equal":
        return f"{text}: {record['results']} results{'' if record.get('again', True) else ' (as before)'}"
    if record["verdict"] == "cannot run":
        return f"{text}: {record['reason']}"
    first = record["differing"][0]  # Of "denormals" too.
    place = f" at {first['index']}: {first['expected']} became {first['got']}" if "index" in first else ""
    return f"{text}: result {first['result']} {first['name']} {first['type']} {first['reason']}{place}"


def modules(places: list[Path], limit: int | None) -> list[Path]:
    """The modules at ``places``, smallest first."""
    corpus = ROOT.parent / "shared" / "corpus"
    places = places or [p for p in (corpus, ROOT / "examples") if p.is_dir()]
    found = {p for place in places for p in ([place] if place.is_file() else place.rglob("*.mlir"))}
    return sorted((p for p in found if limit is None or p.stat().st_size <= limit), key=lambda p: p.stat().st_size)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("places", nargs="*", type=Path, metavar="PLACE")
    parser.add_argument("--passes", default="builtin.module(cse,dead-ops)", help="the pipeline")
    parser.add_argument("--out", type=Path, default=Path("optimize_verify.jsonl"), help="where records are added")
    parser.add_argument("--kinds", default="normal,special", help="kinds of inputs (see shlo verify --help)")
    parser.add_argument("--engine", default="xla", choices=("xla", "interpreter"), help="what executes")
    parser.add_argument("--seconds", type=int, default=300, help="for one module")
    parser.add_argument("--gigabytes", type=int, default=10, help="of memory for one module")
    parser.add_argument("--max-bytes", type=int, metavar="N", help="leave out larger files")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        one(args.places[0], args)
        return 0
    totals: Counter[tuple[str, str]] = Counter()
    for path in modules(args.places, args.max_bytes):
        for record in run_one(path, args):
            if record.get("again", True):
                with args.out.open("a") as file:
                    file.write(json.dumps(record) + "\n")
            totals[record["kind"], record["verdict"]] += 1
            print(shown(record), flush=True)
    for (kind, verdict), count in sorted(totals.items()):
        print(f"{kind}: {count} {verdict}")
    return 1 if any(verdict == "differs" for _, verdict in totals) else 0


if __name__ == "__main__":
    sys.exit(main())
