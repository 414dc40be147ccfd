"""Verifies real modules: the identity, the optimized form, a partitioned form, and one executor against another.

  python benchmarks/verify.py examples ../shared/corpus --seconds 120 --max-bytes 400000

Prints one line a module and check, then counts. Each module runs in a process of its own, so that a large one leaves
no memory behind and a slow one can be given up.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from passes.errors import NativeFailure, UserError
from passes.execute import inputs as input_kinds
from passes.execute.compare import BIT_EQUAL, CLOSE, compare
from passes.execute.distance import Figures
from passes.execute.executor import Executor
from passes.execute.noise import computed_in, rounding_noise
from passes.execute.verify import verify
from passes.partition.partition import partition
from passes.pipeline import runner
from passes.program import read
from passes.program.entry import arguments, find_entry
from passes.program.read import Program
from passes.sharding.annotate import annotate
from passes.sharding.mesh import meshes
from passes.sharding.rules_file import Rules, parse

EXECUTOR = Executor(timeout=300)
INTERPRETER_SECONDS = 30
# A plan any program takes: the first dimension of every argument over whatever of 4 x 2 devices divides it.
MESH = "mesh = { x = 4, y = 2 }\n"
_CHOICES = ((8, '["x", "y"]'), (4, '"x"'), (2, '"y"'), (1, '""'))


def identity(source: str) -> str:
    return _verified(read.read(source), read.read(source))


def optimized(source: str) -> str:
    program = read.read(source)
    runner.run(program, "builtin.module(cse,dead-ops)")
    return _verified(read.read(source), program)


def special(source: str) -> str:
    program = read.read(source)
    runner.run(program, "builtin.module(cse,dead-ops)")
    return _verified(read.read(source), program, inputs="special")


def partitioned(source: str) -> str:
    original, program = read.read(source), read.read(source)
    if not meshes(program.module):
        annotate(program, rows(program))
    report = partition(program)
    found = verify(original, program, report.side_table, executor=EXECUTOR)
    return "equal" if found.ok else "DIFFERS " + " ".join(found.lines()[:2])


def executors(source: str) -> str:
    """XLA against the StableHLO interpreter, on the same inputs; what differs by more than rounding is no agreement."""
    program = read.read(source)
    given = input_kinds.make(program, "normal", 0).arrays
    expected = EXECUTOR.run_global(program, given)
    try:
        got = Executor("interpreter", timeout=INTERPRETER_SECONDS).run_global(program, given)
    except NativeFailure as error:
        # The interpreter computes a few million elements a second.
        return "slow" if "did not finish" in error.message else f"died: {error.message}"
    noise: list[list[Figures]] = [[] for _ in expected]
    runs = rounding_noise(program, given, expected, EXECUTOR, None)
    while True:
        compared = [
            compare(str(i), a, b, CLOSE, computed_in=computed_in(program), noise=n)
            for i, (a, b, n) in enumerate(zip(expected, got, noise, strict=True))
        ]
        refused = [c for c in compared if not c.ok]
        moved = next(runs, None) if refused else None
        if moved is None:
            break
        for figures, one in zip(noise, moved, strict=True):
            figures.append(one)
    if refused:
        return f"DIFFERS {len(refused)} of {len(expected)}, result {refused[0].name}: {refused[0].reason}"
    return f"equal ({sum(c.figures.bit_equal for c in compared)} of {len(compared)} bit-equal)"


CHECKS: dict[str, Callable[[str], str]] = {
    f.__name__: f for f in (identity, optimized, special, partitioned, executors)
}


def _verified(original: Program, transformed: Program, inputs: str = "normal") -> str:
    found = verify(original, transformed, inputs=inputs, level=BIT_EQUAL, executor=EXECUTOR)
    return "equal" if found.ok else "DIFFERS " + " ".join(found.lines()[:2])


def rows(program: Program) -> Rules:
    """Rules that split the first dimension of every argument as far as 4 x 2 devices divide it."""
    lines = [MESH]
    function = find_entry(program)
    for value in arguments(function):
        shape = tuple(value.type.shape)
        if not shape or not shape[0]:
            continue
        axes = next(text for size, text in _CHOICES if shape[0] % size == 0)
        dims = ", ".join([axes, *['""'] * (len(shape) - 1)])
        lines.append(f"[[arguments]]\nindex = {value.index}\ndims = [{dims}]\n")
    return parse("".join(lines))


def one(source: str, names: list[str]) -> None:
    """Runs the checks on one module and prints a line for each."""
    for name in names:
        try:
            verdict = CHECKS[name](source)
        except NativeFailure as error:
            verdict = f"died: {error.message}"
        except UserError as error:
            verdict = f"refused: {error.message}"
        print(f"{name}\t{Path(source).parent.name}/{Path(source).stem}\t{' '.join(verdict.split())[:300]}", flush=True)


def modules(places: list[str], limit: int) -> Iterator[Path]:
    """The modules ``places`` name, or that lie under them, of at most ``limit`` bytes, smallest first."""
    found = {p for place in map(Path, places) for p in ([place] if place.is_file() else place.rglob("*.mlir"))}
    return iter(sorted((p for p in found if p.stat().st_size <= limit), key=lambda p: (p.stat().st_size, p)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("places", nargs="*", default=["examples"])
    parser.add_argument("--checks", default=",".join(CHECKS))
    parser.add_argument("--seconds", type=int, default=300, help="for all checks of one module")
    parser.add_argument("--max-bytes", type=int, default=1 << 20)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    names = arguments.checks.split(",")
    if arguments.one:
        one(arguments.one, names)
        return
    totals: Counter[tuple[str, str]] = Counter()
    for path in modules(arguments.places, arguments.max_bytes):
        command = [sys.executable, __file__, "--one", str(path), "--checks", arguments.checks]
        try:
            output = subprocess.run(command, capture_output=True, text=True, timeout=arguments.seconds).stdout
        except subprocess.TimeoutExpired as late:
            output = (late.stdout or b"").decode() + f"time\t{path.stem}\tgiven up after {arguments.seconds} s\n"
        print(output, end="", flush=True)
        for line in output.splitlines():
            check, _, verdict = line.split("\t", 2)
            totals[check, verdict.split(":")[0].split()[0]] += 1
    for (check, verdict), count in sorted(totals.items()):
        print(f"{check}: {count} {verdict}")


if __name__ == "__main__":
    main()
