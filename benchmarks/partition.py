"""Time and memory of partitioning: our lowering against Shardy's own planning of the same module, in one process.

  python benchmarks/partition.py examples/decoder/train_step.mlir ../shared/corpus/big_hf_llama3_70b_train.mlir

The module is annotated (first dimension of every argument over a mesh of 4 x 2), normalised and factored once. `native`
is what Shardy spends (propagation, reshards, collectives), `ours` everything that `partition` adds to it: rules, the
audit, the lowering, the clean-up. The figure to look at is their ratio.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.verify import rows
from passes.partition.partition import partition
from passes.pipeline import runner
from passes.program import read
from passes.program.walk import operations
from passes.sharding.annotate import annotate
from passes.sharding.mesh import meshes


def measure(path: str) -> None:
    """Prints one row for ``path``."""
    program = read.read(path)
    if not meshes(program.module):
        annotate(program, rows(program))
    ops = len(operations(program.module))
    native = _timed(runner, "run", lambda words: "sdy-" in words[1])
    start = time.perf_counter()
    report = partition(program)
    total = time.perf_counter() - start
    spent = native()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    count = sum(t.count for t in report.traffic)
    print(
        f"{Path(path).stem:<32}{ops:>8} ops  native {spent:7.2f} s  ours {total - spent:7.2f} s  "
        f"ratio {(total - spent) / spent:5.2f}  peak {peak:7.0f} MB  {count} collectives"
    )


def _timed(module: Any, name: str, wanted: Callable[[tuple[Any, ...]], bool]) -> Callable[[], float]:
    """Wraps a function so that the time of its wanted calls adds up; returns a function that unwraps and tells."""
    original, spent = getattr(module, name), [0.0]

    def wrapped(*words: Any) -> Any:
        start = time.perf_counter()
        try:
            return original(*words)
        finally:
            spent[0] += (time.perf_counter() - start) * wanted(words)

    def finish() -> float:
        setattr(module, name, original)
        return spent[0]

    setattr(module, name, wrapped)
    return finish


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="+")
    for path in parser.parse_args().modules:
        measure(path)


if __name__ == "__main__":
    main()
