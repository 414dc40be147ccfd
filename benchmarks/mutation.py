"""Puts bugs into a copy of the source, one at a time, and reports which the tests or the fuzzer notice, and how soon.

    python benchmarks/mutation.py [--seconds N] [--processes N] [--resume FILE.jsonl] [--again] [--match TEXT]
    python benchmarks/mutation.py --baseline

The bugs are listed in ``benchmarks/mutations.py``. For each, its test files run until the first failure; if none fails,
the fuzzer runs over the first seeds. Nothing here is changed: each worker has a copy of its own.

  right     noticed (killed): by a test or by the fuzzer
  survived  by neither
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from itertools import chain, zip_longest
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.case_pool import Case, add_options, run, serve  # noqa: E402
from benchmarks.mutations import MUTATIONS, Mutation  # noqa: E402

SEEDS = 80
# Ten minutes are the goal for a kill.
SECONDS = 600


def cases() -> Iterator[list[Case]]:
    """One bug of each area in turn, so that a part of a run says something of all."""
    columns = zip_longest(*([(area, m) for m in listed] for area, listed in MUTATIONS.items()))
    for area, mutation in filter(None, chain.from_iterable(columns)):
        yield [{"case": mutation.name, "area": area}]


def copied(folder: Path) -> Path:
    """A copy of what may be changed, beside links to what may not."""
    tree = folder / "tree"
    tree.mkdir()
    ignore = shutil.ignore_patterns("__pycache__", ".*_cache", ".hypothesis")
    for name in ("passes", "tests", "benchmarks"):
        shutil.copytree(ROOT / name, tree / name, ignore=ignore)
    shutil.copy(ROOT / "pyproject.toml", tree)
    for name in ("examples", "docs", "README.md"):
        (tree / name).symlink_to(ROOT / name)
    (folder / "shared").symlink_to(ROOT.parent / "shared")
    return tree


def judge(case: Case) -> Case:
    """Puts the bug in, asks, and forgets the copy."""
    mutation = next(m for listed in MUTATIONS.values() for m in listed if m.name == case["case"])
    with tempfile.TemporaryDirectory(prefix="shlo-mutation-") as name:
        tree = copied(Path(name))
        path = tree / "passes" / mutation.file
        text = path.read_text()
        if text.count(mutation.old) != 1:
            return {"verdict": "error", "reason": "the text to change is not there, or more than once"}
        path.write_text(text.replace(mutation.old, mutation.new))
        return noticed(mutation, tree, time.monotonic())


def noticed(mutation: Mutation, tree: Path, start: float) -> Case:
    """Which test, or which seed, fails first."""
    for test in mutation.tests:
        found = _failure(["-m", "pytest", "-x", "-q", "--no-header", f"tests/{test}"], tree, r"(?:FAILED|ERROR) (\S+)")
        if found:
            return {"verdict": "right", "by": found, "after": round(time.monotonic() - start, 1)}
    if mutation.stage:
        log = str(tree / "fuzz.jsonl")
        words = ["benchmarks/fuzz.py", mutation.stage, "--count", str(SEEDS), "--seconds", "200", "--resume", log]
        found = _failure(words, tree, r"(?:wrong|error|dead|late) +(\S+):")
        if found:
            return {"verdict": "right", "by": found, "after": round(time.monotonic() - start, 1)}
    return {"verdict": "survived", "reason": f"{', '.join(mutation.tests)} pass"}


def _failure(words: list[str], tree: Path, name: str) -> str:
    """What the command says failed; empty if nothing did."""
    environment = {**os.environ, "PYTHONPATH": str(tree), "TF_CPP_MIN_LOG_LEVEL": "2"}
    try:
        done = subprocess.run([sys.executable, *words], cwd=tree, env=environment, capture_output=True, text=True,
                              timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return "no end"
    if not done.returncode:
        return ""
    found = re.search(name, done.stdout)
    return found[1] if found else f"exit code {done.returncode}"


def baseline() -> int:
    """Whether all that may notice a bug is quiet without one; a bug is noticed by nothing else."""
    listed = [m for of in MUTATIONS.values() for m in of]
    tests = list(dict.fromkeys(f"tests/{test}" for m in listed for test in m.tests))
    with tempfile.TemporaryDirectory(prefix="shlo-mutation-") as name:
        tree = copied(Path(name))
        loud = [test for test in tests if _failure(["-m", "pytest", "-q", test], tree, r"(?:FAILED|ERROR) (\S+)")]
        for stage in sorted({m.stage for m in listed if m.stage}):
            words = ["benchmarks/fuzz.py", stage, "--count", str(SEEDS), "--resume", str(tree / "fuzz.jsonl")]
            loud += [found] if (found := _failure(words, tree, r"(?:wrong|error|dead|late) +(\S+):")) else []
    print(f"{len(tests)} test files and the fuzzer's first {SEEDS} seeds without a bug; not quiet: {loud or 'none'}")
    return 1 if loud else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, "mutation.jsonl", case_seconds=3 * SECONDS)
    parser.add_argument("--baseline", action="store_true", help="run everything once with no bug in it")
    args = parser.parse_args()
    if args.baseline:
        return baseline()
    if args.worker:
        serve(judge)
        return 0
    found = run(cases(), args)
    for area in MUTATIONS:
        of = [record for record in found if record["area"] == area]
        killed = [record["after"] for record in of if record["verdict"] == "right"]
        times = f"; {median(killed):.0f} s in the median, {max(killed):.0f} s at most" if killed else ""
        print(f"{area}: {len(killed)} of {len(of)} noticed{times}")
    verdicts = Counter(record["verdict"] for record in found)
    fuzzed = sum(record["verdict"] == "right" and ":" in record["by"] and "::" not in record["by"] for record in found)
    print(f"{verdicts['right']} of {len(found)} bugs were noticed, {fuzzed} of these by the fuzzer only")
    return 0 if verdicts["right"] == len(found) else 1


if __name__ == "__main__":
    sys.exit(main())
