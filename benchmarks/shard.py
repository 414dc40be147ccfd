"""Time of annotating and propagating against Shardy's own propagation pipeline, and how all of sharding grows.

  python benchmarks/shard.py ../shared/corpus/big_hf_llama3_70b_train.mlir
  python benchmarks/shard.py --growth 25000,50000,100000,200000

The first dimension of every argument is put over a mesh of 4 x 2. All is CPU time, that of the worker process included.
`native` is what a process spends that does nothing of ours: it parses the text, runs `sdy-propagation-pipeline` in
place and prints. `ours` is what `annotate` and `propagate` (rules, correction, checks, the trip to the worker) take
beyond that pipeline. With ``--growth`` the same is measured on programs of the given numbers of ops, with what other
commands take: linear work keeps its microseconds for an op.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.verify import rows
from passes import _mlir
from passes.pipeline import runner, worker_process
from passes.pipeline.options import RunOptions
from passes.program import read, write
from passes.program.read import Program
from passes.program.walk import operations
from passes.sharding.annotate import annotate
from passes.sharding.explain import Explainer
from passes.sharding.mesh import meshes
from passes.sharding.propagate import propagate
from passes.sharding.rules import Rules
from passes.sharding.tensors import intermediates, signature

_ROUNDS = 3
_NATIVE = "builtin.module(sdy-propagation-pipeline)"
_IN_PLACE = RunOptions(verify_each=False, isolation=False)


def measure(title: str, text: bytes) -> None:
    """Prints one row for the program in ``text``: the best of a few rounds, in turns."""
    given = read.parse(text)
    rules = None if meshes(given.module) else rows(given)
    ops = len(operations(given.module))
    best: dict[str, float] = {}

    def spend(part: str, work: Callable[[], Any]) -> None:
        start = _cpu()
        work()
        best[part] = min(best.get(part, math.inf), _cpu() - start)

    worker_process.current()
    with _mlir.record_diagnostics():
        for _ in range(_ROUNDS):
            spend("parse", lambda: read.parse(text))
            program = _annotated(read.parse(text), rules)
            spend("native", lambda p=program: runner.run(p, _NATIVE, _IN_PLACE))
            spend("print", lambda p=program: write.to_text(p.module))
            program = read.parse(text)
            spend("annotate", lambda p=program: _annotated(p, rules))
            spend("propagate", lambda p=program: propagate(p))
    native = best["parse"] + best["native"] + best["print"]
    ours = best["annotate"] + best["propagate"] - best["native"]
    parts = "  ".join(f"{part} {seconds / ops * 1e6:5.1f}" for part, seconds in best.items())
    print(
        f"{title:<32}{ops:>8} ops  native {native:6.2f} s  ours {ours:6.2f} s  {ours / native:+6.1%}  "
        f"us for an op: {parts}", flush=True
    )


def _cpu() -> float:
    """The CPU seconds this process and the worker have spent."""
    tasks = Path(f"/proc/{worker_process.current().pid}/task").iterdir()
    return time.process_time() + sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def _annotated(program: Program, rules: Rules | None) -> Program:
    if rules is not None:
        annotate(program, rules)
    return program


def grow(count: int) -> None:
    """Prints microseconds for an op of each command on a program of ``count`` ops."""
    text = _layers(count)
    measure(f"{count}", text.encode())
    work: dict[str, Callable[[Program], Any]] = {
        "show --all": lambda p: (signature(p), intermediates(p)),
        "explain one value": _explain_last,
    }
    cells = []
    for name, run in work.items():
        program = read.parse(text)
        annotate(program, rows(program))
        cells.append(f"{name} {_seconds(lambda r=run, p=program: r(p)) / count * 1e6:7.1f}")
    print(f"{count:>8} ops, us for an op: {'  '.join(cells)}", flush=True)


def _explain_last(program: Program) -> list[str]:
    explainer = Explainer(program)
    explainer.ask_named("result", "0")
    return explainer.answer()


def _layers(count: int) -> str:
    """A program of about ``count`` ops: matrix products with elementwise ops between them, a weight for every 40."""
    weights = max(1, count // 200)
    lines, last = [], "%x"
    for number in range(count):
        name, type = f"%v{number}", "tensor<64x64xf32>"
        if number % 5 == 0:
            weight = f"%w{number // 5 % weights}"
            body = f"stablehlo.dot_general {last}, {weight}, contracting_dims = [1] x [0] : ({type}, {type}) -> {type}"
        else:
            body = f"stablehlo.{('tanh', 'negate', 'sine', 'abs')[number % 5 - 1]} {last} : {type}"
        lines.append(f"  {name} = {body}")
        last = name
    arguments = ", ".join(f"%w{i}: tensor<64x64xf32>" for i in range(weights))
    body = "\n".join(lines)
    signature = f"func.func @main(%x: tensor<64x64xf32>, {arguments}) -> tensor<64x64xf32>"
    return f"{signature} {{\n{body}\n  return {last} : tensor<64x64xf32>\n}}"


def _seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*")
    parser.add_argument("--growth", metavar="N,N,...", default="")
    args = parser.parse_args()
    for path in args.modules:
        measure(Path(path).stem, Path(path).read_bytes())
    for count in filter(None, args.growth.split(",")):
        grow(int(count))


if __name__ == "__main__":
    main()
