"""Our cse and dead-ops, and our -O, against MLIR's cse, canonicalize and symbol-dce: time, memory and ops left.

    python benchmarks/optimize.py [FILE.mlir ...] [--largest 10] [-n ROUNDS] [--counts]

Without files the modules of ../shared/corpus are taken, or those of examples/ if there is no such folder. Each round
runs the three commands once, in turn, as whole processes through the same parse and print. Times are the processor's
(user and system), of which load takes less than of the clock's, the least of all rounds; memory is the peak. The
targets are ratios of at most 1.5 in time for cse and dead-ops and 3 for -O, and 1.3 in memory. ``--counts`` only counts
ops, for all modules, against the native passes repeated until they change nothing.
"""

from __future__ import annotations

import argparse
import os
import sys
import sysconfig
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from passes.pipeline.base import Pass

TIME_TARGETS, MEMORY_TARGET = {"--cse --dead-ops": 1.5, "-O": 3.0}, 1.3
NATIVE = "native-cse,canonicalize,symbol-dce"
ROOT = Path(__file__).resolve().parent.parent


class Cost(NamedTuple):
    """What one process took: seconds of the processor, and its peak resident set in megabytes."""

    seconds: float
    megabytes: float


def cost(words: list[str]) -> Cost:
    """Runs a command to its end.

    Raises:
      RuntimeError: it failed.
    """
    process = os.posix_spawn(words[0], words, os.environ)
    _, status, usage = os.wait4(process, 0)
    if status:
        raise RuntimeError(f"wait status {status} of {' '.join(words)}")
    return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def compare(path: Path, rounds: int) -> list[Cost]:
    """The cost on ``path`` of each of our commands, and last of the native passes."""
    opt = str(Path(sysconfig.get_path("scripts")) / "shlo-opt")
    flags = [*(words.split() for words in TIME_TARGETS), ["-p", f"builtin.module({NATIVE})"]]
    commands = [[opt, str(path), *words, "-o", "/dev/null"] for words in flags]
    found = [[cost(words) for words in commands] for _ in range(rounds)]
    return [
        Cost(min(c.seconds for c in costs), max(c.megabytes for c in costs)) for costs in zip(*found, strict=True)
    ]


class Counts(NamedTuple):
    """Ops in a module before, after cse and dead-ops, after -O, after the native fixpoint; microseconds an op of -O."""

    before: int
    ours: int
    full: int
    native: int
    microseconds: float


def count(path: Path) -> Counts:
    """Optimizes ``path`` in this process and verifies the results."""
    from passes import _mlir
    from passes.optimize.cse import Cse
    from passes.optimize.dead_ops import DeadOps
    from passes.optimize.optimize import Optimize
    from passes.program.read import read
    from passes.program.walk import operations

    def optimized(*passes: Pass) -> tuple[int, float]:
        module = read(str(path)).module
        seconds = sum(run(own, module.operation) for own in passes)
        if not module.operation.verify():
            raise RuntimeError(f"{path} does not verify afterwards")
        return len(operations(module.operation)), seconds

    other = read(str(path)).module
    before = len(operations(other.operation))
    ours, _ = optimized(Cse(), DeadOps())
    full, seconds = optimized(Optimize())
    native = 0
    manager = _mlir.passmanager.PassManager.parse(
        f"builtin.module({NATIVE.removeprefix('native-')})", context=_mlir.context())
    while native != (size := len(operations(other.operation))):
        native = size
        manager.run(other.operation)
    return Counts(before, ours, full, native, seconds / before * 1e6)


def run(own: Pass, module: Any) -> float:
    """Runs a pass; returns the seconds of the processor it took."""
    from passes.pipeline.base import Counters

    start = time.process_time()
    own.run(module, Counters(own.statistics))
    return time.process_time() - start


def modules(given: list[Path]) -> list[Path]:
    """The modules to measure, largest first."""
    corpus = ROOT.parent / "shared" / "corpus"
    found = given or list(corpus.glob("*.mlir")) or list((ROOT / "examples").rglob("*.mlir"))
    return sorted(found, key=lambda path: path.stat().st_size, reverse=True)


def print_counts(paths: list[Path]) -> None:
    print(f"{'module':34} {'ops':>7} {'cse,dead':>8} {'-O':>7} {'native':>7} {'-O is':>7}  us/op")
    totals = [0, 0, 0, 0]
    for path in paths:
        found = count(path)
        totals = [total + size for total, size in zip(totals, found[:4], strict=True)]
        print_row(path.stem, *found[:4], f"{found.microseconds:6.1f}")
    print_row(f"{len(paths)} modules", *totals, "")


def print_row(name: str, before: int, ours: int, full: int, native: int, more: str) -> None:
    print(f"{name:34} {before:7} {ours:8} {full:7} {native:7} {(full - native) / native:+7.1%} {more}", flush=True)


def print_costs(paths: list[Path], rounds: int) -> bool:
    """Prints one line per module; returns whether all are within the targets."""
    titles = " ".join(f"{words:>17} {'ratio':>6} {'memory':>7}" for words in TIME_TARGETS)
    print(f"{'module':34} {'native':>8} {titles}")
    within = True
    for path in paths:
        *ours, native = compare(path, rounds)
        columns = []
        for mine, target in zip(ours, TIME_TARGETS.values(), strict=True):
            time_ratio, memory_ratio = mine.seconds / native.seconds, mine.megabytes / native.megabytes
            within = within and time_ratio <= target and memory_ratio <= MEMORY_TARGET
            columns.append(f"{mine.seconds:16.2f}s {time_ratio:6.2f} {memory_ratio:7.2f}")
        print(f"{path.stem:34} {native.seconds:7.2f}s {' '.join(columns)}", flush=True)
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
