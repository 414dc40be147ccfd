"""Our cse and dead-ops against MLIR's cse, canonicalize and symbol-dce: time, memory and ops left, per module.

    python benchmarks/optimize.py [FILE.mlir ...] [--largest 10] [-n ROUNDS] [--counts]

Without files the modules of ../shared/corpus are taken, or those of examples/ if there is no such folder. Each round
runs both commands once, in turn, as whole processes through the same parse and print; times are the least of all
rounds, because load only adds to them, memory is the peak. ``--counts`` only counts ops, for all modules, against the
native passes repeated until they change nothing. The targets are ratios of at most 1.5 (time) and 1.3 (memory).
"""

from __future__ import annotations

import argparse
import os
import sys
import sysconfig
import time
from pathlib import Path
from typing import NamedTuple

TIME_TARGET, MEMORY_TARGET = 1.5, 1.3
NATIVE = "native-cse,canonicalize,symbol-dce"
ROOT = Path(__file__).resolve().parent.parent


class Cost(NamedTuple):
    """What one process took: seconds from start to end, and its peak resident set in megabytes."""

    seconds: float
    megabytes: float


def cost(words: list[str]) -> Cost:
    """Runs a command to its end.

    Raises:
      RuntimeError: it failed.
    """
    start = time.perf_counter()
    process = os.posix_spawn(words[0], words, os.environ)
    _, status, usage = os.wait4(process, 0)
    if status:
        raise RuntimeError(f"wait status {status} of {' '.join(words)}")
    return Cost(time.perf_counter() - start, usage.ru_maxrss / 1024)


def compare(path: Path, rounds: int) -> tuple[Cost, Cost]:
    """The cost of our passes and of the native ones on ``path``."""
    opt = str(Path(sysconfig.get_path("scripts")) / "shlo-opt")
    ours = [opt, str(path), "--cse", "--dead-ops", "-o", "/dev/null"]
    native = [opt, str(path), "-p", f"builtin.module({NATIVE})", "-o", "/dev/null"]
    found: list[tuple[Cost, Cost]] = [(cost(ours), cost(native)) for _ in range(rounds)]
    return tuple(  # type: ignore[return-value]
        Cost(min(c.seconds for c in costs), max(c.megabytes for c in costs))
        for costs in zip(*found, strict=True)
    )


class Counts(NamedTuple):
    """Ops in a module before, after our passes, after the native fixpoint; microseconds an op of each of our passes."""

    before: int
    ours: int
    native: int
    cse: float
    dead_ops: float


def count(path: Path) -> Counts:
    """Optimizes ``path`` in this process both ways and verifies the results."""
    from passes import _mlir
    from passes.optimize.cse import Cse
    from passes.optimize.dead_ops import DeadOps
    from passes.pipeline.base import Counters, Pass
    from passes.program.read import read
    from passes.program.walk import operations

    module, other = read(str(path)).module, read(str(path)).module

    def timed(own: Pass) -> float:
        ops = len(operations(module.operation))
        start = time.perf_counter()
        own.run(module.operation, Counters(own.statistics))
        return (time.perf_counter() - start) / ops * 1e6

    before = len(operations(module.operation))
    cse, dead_ops = timed(Cse()), timed(DeadOps())
    if not module.operation.verify():
        raise RuntimeError(f"{path} does not verify afterwards")
    native = 0
    manager = _mlir.passmanager.PassManager.parse(
        f"builtin.module({NATIVE.removeprefix('native-')})", context=_mlir.context())
    while native != (size := len(operations(other.operation))):
        native = size
        manager.run(other.operation)
    return Counts(before, len(operations(module.operation)), native, cse, dead_ops)


def modules(given: list[Path]) -> list[Path]:
    """The modules to measure, largest first."""
    corpus = ROOT.parent / "shared" / "corpus"
    found = given or list(corpus.glob("*.mlir")) or list((ROOT / "examples").rglob("*.mlir"))
    return sorted(found, key=lambda path: path.stat().st_size, reverse=True)


def print_counts(paths: list[Path]) -> None:
    print(f"{'module':34} {'ops':>7} {'ours':>7} {'native':>7} {'more':>5}  {'cse':>5} {'dead-ops':>8} us/op")
    totals = [0, 0, 0]
    for path in paths:
        found = count(path)
        totals = [total + size for total, size in zip(totals, found[:3], strict=True)]
        print(f"{path.stem:34} {found.before:7} {found.ours:7} {found.native:7} {found.ours - found.native:+5}"
              f"  {found.cse:5.1f} {found.dead_ops:8.1f}")
    print(f"{f'{len(paths)} modules':34} {totals[0]:7} {totals[1]:7} {totals[2]:7} {totals[1] - totals[2]:+5}")


def print_costs(paths: list[Path], rounds: int) -> bool:
    """Prints one line per module; returns whether all are within the targets."""
    print(f"{'module':34} {'ours':>8} {'native':>8} {'ratio':>6}   {'ours':>7} {'native':>7} {'ratio':>6}")
    within = True
    for path in paths:
        ours, native = compare(path, rounds)
        time_ratio, memory_ratio = ours.seconds / native.seconds, ours.megabytes / native.megabytes
        within = within and time_ratio <= TIME_TARGET and memory_ratio <= MEMORY_TARGET
        print(f"{path.stem:34} {ours.seconds:7.2f}s {native.seconds:7.2f}s {time_ratio:6.2f}"
              f"   {ours.megabytes:5.0f}MB {native.megabytes:5.0f}MB {memory_ratio:6.2f}")
    return within


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE.mlir")
    parser.add_argument("--largest", type=int, default=10, metavar="N", help="time the N largest modules (default: 10)")
    parser.add_argument("-n", "--rounds", type=int, default=5, help="runs of each command (default: 5)")
    parser.add_argument("--counts", action="store_true", help="count ops in all modules instead")
    args = parser.parse_args()
    paths = modules(args.files)
    if args.counts:
        print_counts(paths)
        return 0
    return 0 if print_costs(paths[: args.largest], args.rounds) else 1


if __name__ == "__main__":
    sys.exit(main())
