"""Measures the figures of docs/benchmarks.md and keeps them in docs/benchmarks.json, from which the page is written.

    python benchmarks/headlines.py [NAME ...] [--list]
    python benchmarks/headlines.py NAME --printed FILE

``counts`` is what the text of programs says: ops after -O and after MLIR's own passes repeated until they change
nothing, collectives and bytes of every plan of the examples. Those figures are the same on every machine, and
tests/test_counts.py holds them: they may fall, and may not rise. Each other name is a command under benchmarks/, whose
output is kept word for word with the date, the commit and the machine; ratios in it are against native passes in the
same run. Without names, ``counts`` and the short commands run. ``--printed`` keeps what the command printed before, in
a run that ended well and for which nobody wants to wait again.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "docs" / "benchmarks.json"
EXAMPLES = ROOT / "examples"
sys.path.insert(0, str(ROOT))


class Figure(NamedTuple):
    """A headline figure: what it says, the command after ``python``, and whether it takes a minute at most."""

    title: str
    command: str
    short: bool


TRAIN = "examples/decoder/train_step.mlir"
FIGURES = {
    "startup": Figure("A whole process on ten ops, against loading the bindings", "benchmarks/startup.py -n 5", True),
    "optimize": Figure("-O, cse and dead-ops against the native passes", f"benchmarks/optimize.py {TRAIN} -n 3", True),
    "shard": Figure("Annotating and propagating against Shardy's propagation", f"benchmarks/shard.py {TRAIN}", True),
    "partition": Figure("Lowering against Shardy's planning", f"benchmarks/partition.py {TRAIN}", True),
    "partition-largest": Figure("Lowering against Shardy's planning, on the largest modules of the corpus",
                                "benchmarks/partition.py", False),
    "optimize-largest": Figure("-O on the largest modules of the corpus", "benchmarks/optimize.py", False),
    "optimize-counts": Figure("Ops that -O leaves, whole corpus", "benchmarks/optimize.py --counts", False),
    "growth": Figure("Growth of time and memory to a million ops", "benchmarks/growth.py", False),
    "shard-growth": Figure("Growth of what other commands do with shardings",
                           "benchmarks/shard.py --growth 25000,50000,100000,200000", False),
    "fuzz-optimize": Figure("20,000 generated programs optimized",
                            "benchmarks/fuzz.py optimize --count 20000 --first 20000 --seconds 9000", False),
    "fuzz-partition": Figure("10,000 generated programs, meshes and annotations partitioned",
                             "benchmarks/fuzz.py partition --count 10000 --seconds 9000", False),
    "mutation": Figure("Injected bugs that the tests or the fuzzer notice",
                       "benchmarks/mutation.py --seconds 9000", False),
    "hostile": Figure("An hour of damaged input",
                      "benchmarks/hostile.py --count 100000 --first 200000 --seconds 3600", False),
    "leftovers": Figure("What optimizers leave behind", "benchmarks/leftovers.py", False),
    "memory": Figure("Memory of golden runs", "benchmarks/memory.py --megabytes 64", False),
    "cost-flops": Figure("FLOPs beside XLA's", "benchmarks/cost.py flops", False),
    "moe": Figure("Published mixture-of-experts models at full size", "benchmarks/moe.py", False),
    "moe_corpus": Figure(
        "`moe-sparsify` on the mixture-of-experts modules of the corpus", "benchmarks/moe_corpus.py", False
    ),
    "autoshard": Figure("Plans chosen for published models", "benchmarks/autoshard_rows.py autoshard_models", False),
    "matrix": Figure("Every op, every dimension split, executed",
                     "benchmarks/partition_matrix.py --processes 2 --seconds 3000", False),
    "sweep": Figure("Random annotations, executed", "benchmarks/partition_sweep.py --seconds 600", False),
    "corpus": Figure("The corpus partitioned and executed", "benchmarks/partition_corpus.py --seconds 3600", False),
}


def modules() -> list[Path]:
    return sorted(EXAMPLES.glob("*/*.mlir"))


def name_of(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def plans() -> Iterator[tuple[str, Path, Path]]:
    """Name, module and rules file of each plan of the examples."""
    from tests.test_examples import RULES

    for case in RULES:
        rules, module = case.values
        yield f"{name_of(module)} {rules.stem}", module, rules


def count_ops(path: Path) -> dict[str, int]:
    """Ops of a module as it comes, after -O, and after MLIR's cse, canonicalize and symbol-dce to the end."""
    from benchmarks.optimize import count

    found = count(path)
    return {"ops": found.before, "optimized": found.full, "native": found.native}


def count_collectives(module: Path, rules: Path) -> dict[str, int]:
    """Collectives of a plan by kind, how many bytes a device puts in, and the FLOPs of one device."""
    from passes.partition.partition import partition
    from passes.program.read import read
    from passes.sharding.annotate import annotate
    from passes.sharding.rules_file import load

    program = read(str(module))
    annotate(program, load(str(rules)))
    report = partition(program)
    kinds: Counter[str] = Counter()
    for traffic in report.traffic:
        kinds[traffic.kind] += traffic.count
        kinds["bytes"] += traffic.bytes
    return dict(sorted(kinds.items()))


def counts() -> dict[str, Any]:
    """Every count that tests/test_counts.py holds."""
    ops, collectives = {}, {}
    for path in modules():
        ops[name_of(path)] = count_ops(path)
        print(name_of(path), ops[name_of(path)], flush=True)
    for name, module, rules in plans():
        collectives[name] = count_collectives(module, rules)
        print(name, collectives[name], flush=True)
    return {"optimize": ops, "plans": collectives}


def environment() -> dict[str, str]:
    """Where and on what a figure was measured."""
    from passes import _mlir

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

    load = f", load {os.getloadavg()[0]:.0f}" if os.getloadavg()[0] > 2 else ""
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "commit": git("rev-parse", "--short", "HEAD"),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores{load}",
        "versions": f"Python {platform.python_version()}, jaxlib {_mlir.jaxlib_version()}",
    }


def measure(name: str) -> dict[str, Any]:
    """Runs the command of a figure; a command that misses its target still has its output kept."""
    print(f"$ python {FIGURES[name].command}", flush=True)
    done = subprocess.run(
        [sys.executable, *FIGURES[name].command.split()], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    print(done.stdout, flush=True)
    return _kept(name, done.stdout, done.returncode)


def _kept(name: str, output: str, code: int) -> dict[str, Any]:
    return {**environment(), "command": FIGURES[name].command, "code": code, "output": output.rstrip()}


def page() -> str:
    """docs/benchmarks.md."""
    results = json.loads(RESULTS.read_text())
    lines = [
        "# Benchmarks", "",
        "Every figure with the command that makes it. `python benchmarks/headlines.py NAME` measures one again and",
        "keeps it in `docs/benchmarks.json`; `python docs/generate.py` writes this page. Counts are the same on every",
        "machine, and a test holds them: they may fall, and may not rise. Times are those of the machine named beside",
        "them: look at the ratios, which are against native passes in the same run.", "",
        "## Ops after -O", "",
        "`native` is MLIR's cse, canonicalize and symbol-dce repeated until they change nothing.", "",
        "| module | ops | -O | native | -O is |", "|---|---|---|---|---|",
    ]
    counted = results["counts"]
    for name, found in counted["optimize"].items():
        ratio = found["optimized"] / found["native"] - 1
        lines.append(f"| {name} | {found['ops']} | {found['optimized']} | {found['native']} | {ratio:+.1%} |")
    lines += ["", "## Collectives of the examples' plans", "", "Of one device; bytes are what it puts in.", "",
              "| program and plan | collectives | bytes |", "|---|---|---|"]
    for name, found in counted["plans"].items():
        kinds = ", ".join(f"{n} {kind}" for kind, n in found.items() if kind != "bytes") or "none"
        lines.append(f"| {name} | {kinds} | {found.get('bytes', 0):,} |")
    lines += ["", f"Counted by `python benchmarks/headlines.py counts` ({_where(counted)}).", ""]
    for name, figure in FIGURES.items():
        if name in results:
            found = results[name]
            missed = "; it ended with its target missed" if found["code"] else ""
            lines += [f"## {figure.title}", "", f"`python {found['command']}` ({_where(found)}{missed}):", "", "```",
                      *found["output"].splitlines(), "```", ""]
    rest = [f"- {figure.title}: `python {figure.command}`" for name, figure in FIGURES.items() if name not in results]
    if rest:
        lines += ["## Commands whose output is not kept here", "", *rest, ""]
    return "\n".join(lines)


def _where(found: dict[str, Any]) -> str:
    return f"{found['date']}, commit {found['commit']}, {found['machine']}, {found['versions']}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="figures to measure (default: counts, the short ones)")
    parser.add_argument("--printed", type=Path, metavar="FILE", help="what the command of the one NAME printed")
    parser.add_argument("--list", action="store_true", help="only list the figures and their commands")
    args = parser.parse_args()
    if args.list:
        print("counts             what tests/test_counts.py holds")
        for name, figure in FIGURES.items():
            print(f"{name:18} python {figure.command}")
        return 0
    unknown = set(args.names) - {"counts", *FIGURES}
    if unknown:
        parser.error(f"there is no figure {', '.join(sorted(unknown))}; --list names them")
    if args.printed and (len(args.names) != 1 or args.names == ["counts"]):
        parser.error("--printed is about one figure that a command prints")
    for name in args.names or ["counts", *(name for name, figure in FIGURES.items() if figure.short)]:
        if args.printed:
            found = _kept(name, args.printed.read_text(), 0)
        else:
            found = {**environment(), **counts()} if name == "counts" else measure(name)
        results = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {}
        RESULTS.write_text(json.dumps({**results, name: found}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
