"""Time of annotating and propagating against Shardy's own propagation pipeline, and how all of sharding grows.

  python benchmarks/shard.py ../shared/corpus/big_hf_llama3_70b_train.mlir
  python benchmarks/shard.py --growth 25000,50000,100000,200000

The first dimension of every argument is put over a mesh of 4 x 2. `native` is `sdy-propagation-pipeline` alone, run the
same way (in the worker process); `ours` is what `annotate` and `propagate` take beyond that. With ``--growth`` each
command's work is timed on programs of the given numbers of ops: a linear one keeps its microseconds for an op.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.verify import rows
from passes.pipeline import runner
from passes.pipeline.options import RunOptions
from passes.program import read
from passes.program.read import Program
from passes.program.walk import operations
from passes.sharding.annotate import annotate
from passes.sharding.explain import Explainer
from passes.sharding.mesh import meshes
from passes.sharding.propagate import propagate
from passes.sharding.tensors import intermediates, signature

_ROUNDS = 3
_NATIVE = "builtin.module(sdy-propagation-pipeline)"
_UNVERIFIED = RunOptions(verify_each=False)


def measure(path: str) -> None:
    """Prints one row for ``path``: the best of a few rounds, in turns."""
    text = Path(path).read_bytes()
    natives, ours = [], []
    for _ in range(_ROUNDS):
        program = _annotated(read.parse(text, path))
        natives.append(_seconds(lambda p=program: runner.run(p, _NATIVE, _UNVERIFIED)))
        program = read.parse(text, path)
        ours.append(_seconds(lambda p=program: propagate(_annotated(p))))
    ops, native, total = len(operations(program.module)), min(natives), min(ours)
    print(
        f"{Path(path).stem:<32}{ops:>8} ops  native {native:6.2f} s  annotate + propagate {total:6.2f} s  "
        f"ours on top {(total - native) / native:+6.1%}"
    )


def _annotated(program: Program) -> Program:
    if not meshes(program.module):
        annotate(program, rows(program))
    return program


def grow(count: int) -> None:
    """Prints microseconds for an op of each command on a program of ``count`` ops."""
    work: dict[str, Callable[[Program], Any]] = {
        "propagate": propagate,
        "show --all": lambda p: (signature(p), intermediates(p)),
        "explain one value": _explain_last,
    }
    cells = []
    for name, run in work.items():
        program = _annotated(read.parse(_layers(count)))
        cells.append(f"{name} {_seconds(lambda r=run, p=program: r(p)) / count * 1e6:7.1f}")
    print(f"{count:>8} ops, us for an op: {'  '.join(cells)}")


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
        measure(path)
    for count in filter(None, args.growth.split(",")):
        grow(int(count))


if __name__ == "__main__":
    main()
