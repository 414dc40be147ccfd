"""Partitions large modules: the time and memory it takes beside Shardy's own planning of the same module.

    python benchmarks/partition.py [FILE.mlir ...]

Without files, on the train steps of the corpus that are largest. A module without shardings gets its arguments split
along their first dimension over 8 devices. What is annotated goes to processes that start from the bytecode. One
partitions: `planning` is the CPU time of that in Shardy's passes and on the way to the worker that runs them and back,
`lowering` all else: the audit, the lowering, the clean-up, the report. Others run Shardy's passes through the bindings
and nothing else, once without and once with verifying after each pass, which is what a pass manager does unless told
otherwise. Peaks of memory are of whole processes, of ours both that it has, but pages of the libraries, which these
share, count once.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.verify import rows
from passes import _mlir
from passes.partition.partition import partition
from passes.pipeline import runner, worker_process
from passes.program import read, write
from passes.program.walk import operations
from passes.sharding.annotate import annotate
from passes.sharding.import_shardings import import_shardings
from passes.sharding.mesh import meshes

CORPUS = Path(__file__).resolve().parent.parent.parent / "shared" / "corpus"
LARGEST = [str(CORPUS / f"big_hf_{name}_train.mlir") for name in ("llama3_70b", "deepseekv3_671b", "mixtral_8x7b")]

UPSTREAM = (
    "builtin.module(sdy-propagation-pipeline,"
    "func.func(sdy-insert-explicit-reshards{enable-full-version=true},sdy-reshard-to-collectives))"
)


def measure(path: str) -> None:
    """Prints one row for ``path``."""
    program = read.read(path)
    import_shardings(program)
    if not meshes(program.module):
        annotate(program, rows(program))
    ops = len(operations(program.module))
    with tempfile.TemporaryDirectory() as folder:
        annotated = Path(folder) / "annotated.mlirbc"
        annotated.write_bytes(write.to_bytecode(program.module))
        ours, bare, verified = (_child(part, str(annotated)) for part in PARTS)
    lowering = ours["seconds"] - ours["planning"]
    print(
        f"{Path(path).stem:<32}{ops:>8} ops  planning {ours['planning']:6.2f} s  lowering {lowering:6.2f} s  "
        f"ratio {lowering / ours['planning']:5.2f}  (upstream alone {bare['seconds']:.2f} s, verifying "
        f"{verified['seconds']:.2f} s)  peak {ours['megabytes']:5.0f} MB, upstream {bare['megabytes']:5.0f} MB, ratio "
        f"{ours['megabytes'] / bare['megabytes']:4.2f}  {ours['collectives']:.0f} collectives"
    )


def _child(part: str, path: str) -> dict[str, float]:
    words = [sys.executable, __file__, "--part", part, path]
    found: dict[str, float] = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    return found


def upstream(path: str, verify: bool) -> dict[str, float]:
    """Plans with Shardy alone."""
    module = _mlir.ir.Module.parse(Path(path).read_bytes(), _mlir.context())
    manager = _mlir.passmanager.PassManager.parse(UPSTREAM, _mlir.context())
    manager.enable_verifier(verify)
    start = time.process_time()
    with _mlir.record_diagnostics():
        manager.run(module.operation)
    return {"seconds": time.process_time() - start, "megabytes": _megabytes(os.getpid(), "VmHWM")}


def ours(path: str) -> dict[str, float]:
    """Partitions; the time for the worker process to start is not counted, its memory is."""
    worker, program = worker_process.current(), read.read(path)
    while (waiting := _seconds(worker.pid)) < 0.1 or _seconds(worker.pid) != waiting:
        time.sleep(0.2)

    def now() -> float:
        return time.process_time() + _seconds(worker.pid)

    run, planning, start = runner.run, [0.0], now()

    def timed(*words: Any) -> Any:
        begin = now()
        result = run(*words)
        planning[0] += (now() - begin) * ("sdy-" in words[1])
        return result

    with mock.patch.object(runner, "run", timed):
        report = partition(program)
    seconds = now() - start
    # The file pages of the worker are the libraries, which this process has mapped, too.
    peak = _megabytes(os.getpid(), "VmHWM") + _megabytes(worker.pid, "VmHWM") - _megabytes(worker.pid, "RssFile")
    collectives = sum(t.count for t in report.traffic)
    return {"seconds": seconds, "planning": planning[0], "megabytes": peak, "collectives": collectives}


PARTS: dict[str, Callable[[str], dict[str, float]]] = {
    "ours": ours, "upstream": lambda path: upstream(path, False), "verified": lambda path: upstream(path, True),
}


def _seconds(process: int) -> float:
    """The CPU time that ``process`` has used."""
    after_name = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, after_name[11:13])) / os.sysconf("SC_CLK_TCK")


def _megabytes(process: int, key: str) -> float:
    """Of the memory of ``process``, what the system lists as ``key``: VmHWM is the most it ever held."""
    kilobytes = re.search(rf"{key}:\s+(\d+)", Path(f"/proc/{process}/status").read_text())
    assert kilobytes is not None
    return int(kilobytes[1]) / 1e3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", default=LARGEST)
    parser.add_argument("--part", choices=tuple(PARTS), help="what a process of its own does")
    args = parser.parse_args()
    if args.part:
        print(json.dumps(PARTS[args.part](args.modules[0])))
        return
    for path in args.modules:
        measure(path)


if __name__ == "__main__":
    main()
