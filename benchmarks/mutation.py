"""Puts bugs into a copy of the source, one at a time, and reports which the tests or the fuzzer notice, and how soon.

    python benchmarks/mutation.py [--seconds N] [--processes N] [--resume FILE.jsonl] [--again] [--match TEXT]
    python benchmarks/mutation.py --baseline

The bugs are listed in ``benchmarks/mutations.py``. For each, the likeliest test file runs until its first failure, then
the fuzzer's first seeds, then the other test files. Nothing here is changed: each bug is in a copy of its own.

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
import threading
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
    """What fails first: a seed of the fuzzer or the likeliest test file, whichever takes less time, then the others."""
    tests = [["-m", "pytest", "-x", "-q", "--no-header", "-rfE", f"tests/{test}"] for test in mutation.tests]
    fuzz = [_fuzzer(mutation.stage, tree)] if mutation.stage else []
    first = [*tests[:1], *fuzz] if mutation.stage == "optimize" else [*fuzz, *tests[:1]]
    for words in [*first, *tests[1:]]:
        found = _failure(words, tree)
        if found:
            return {"verdict": "right", "by": found, "after": round(time.monotonic() - start, 1)}
    return {"verdict": "survived", "reason": f"{', '.join(mutation.tests)} pass"}


def _fuzzer(stage: str, tree: Path) -> list[str]:
    log = str(tree / f"{stage}.jsonl")
    return ["-u", "benchmarks/fuzz.py", stage, "--count", str(SEEDS), "--seconds", "300", "--resume", log]


_FAILURE = re.compile(r"(?:FAILED|ERROR) (tests\S+)|(?:wrong|error|dead|late) +(\w+:\d+)")


def _failure(words: list[str], tree: Path) -> str:
    """The first thing that the command says failed, on which it is ended; empty if nothing did."""
    environment = {**os.environ, "PYTHONPATH": str(tree), "TF_CPP_MIN_LOG_LEVEL": "2"}
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen([sys.executable, *words], cwd=tree, env=environment, stdout=subprocess.PIPE,
                                   stderr=errors, text=True)
        timer = threading.Timer(SECONDS, process.kill)
        timer.start()
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if found := _FAILURE.match(line):
                    return found[1] or found[2]
            code = process.wait()
            return f"exit code {code}" if code else ""
        finally:
            timer.cancel()
            process.kill()
            process.wait()


def baseline() -> int:
    """Whether all that may notice a bug is quiet without one; a bug is noticed by nothing else."""
    listed = [m for of in MUTATIONS.values() for m in of]
    tests = list(dict.fromkeys(f"tests/{test}" for m in listed for test in m.tests))
    with tempfile.TemporaryDirectory(prefix="shlo-mutation-") as name:
        tree = copied(Path(name))
        loud = [test for test in tests if _failure(["-m", "pytest", "-q", "-rfE", test], tree)]
        for stage in sorted({m.stage for m in listed if m.stage}):
            loud += [found] if (found := _failure(_fuzzer(stage, tree), tree)) else []
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
