"""Runs all pipelines of two revisions over the same modules and shows where the IR that comes out differs.

    python benchmarks/replay.py REV_A REV_B [--out DIR] [--max-bytes N] [--match TEXT] [--pipelines PATTERN]

Pipelines are each pass of ours by itself, -O, `shlo shard` and `shlo partition` with every rules file beside an example
and, for modules that bring shardings, with those. Modules are those of examples/ (of this checkout, for both) and
../shared/corpus up to ``--max-bytes``. A revision is checked out in a temporary worktree; ``.`` is this checkout as it
stands. A pipeline that ends in an error leaves the error's text, so that a changed message or a new
refusal is a difference too. Prints a line for each pipeline: how many modules came out alike, differ, or are in one
revision only; unified diffs lie in DIR/diff, the IR itself in DIR/a and DIR/b.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import fnmatch
import io
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Modules that bring shardings; these are partitioned as they come.
ANNOTATED = ("sdy_", "gspmd_", "xlasdy_")


def modules(largest: int) -> list[Path]:
    found = [*(ROOT / "examples").glob("*/*.mlir"), *(ROOT.parent / "shared" / "corpus").glob("*.mlir")]
    return sorted((path for path in found if path.stat().st_size <= largest), key=lambda path: path.stat().st_size)


def jobs(path: Path, passes: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Names of pipelines and their command lines, but for the file."""
    yield "-O", ["opt", "-O"]
    for name in passes:
        yield name, ["opt", f"--pass-pipeline=builtin.module({name})"]
    if path.is_relative_to(ROOT / "examples"):
        for rules in sorted(path.parent.glob("*.toml")):
            yield f"shard {rules.stem}", ["shard", "--rules", str(rules)]
            yield f"partition {rules.stem}", ["partition", "--rules", str(rules)]
    elif path.name.startswith(ANNOTATED):
        yield "shard own", ["shard"]
        yield "partition own", ["partition"]


def emit(folder: Path, largest: int, match: str, pattern: str) -> None:
    """Writes what each pipeline of the ``passes`` that can be imported here makes of each module."""
    from passes.cli.main import main
    from passes.pipeline.registry import OWN_PASSES

    for path in modules(largest):
        if match not in str(path):
            continue
        for pipeline, words in jobs(path, sorted(OWN_PASSES)):
            if not fnmatch.fnmatch(pipeline, pattern):
                continue
            target = folder / pipeline.replace(" ", "_") / f"{path.parent.name}_{path.name}"
            target.parent.mkdir(parents=True, exist_ok=True)
            said = io.StringIO()
            with contextlib.redirect_stderr(said):
                code = main([words[0], str(path), *words[1:], "-o", str(target)])
            if code:
                target.write_text(f"exit code {code}\n{said.getvalue()}")


def revision(name: str, checkout: Path) -> Path:
    """A folder with the code of a revision; worktrees are made at ``checkout``."""
    if name == ".":
        return ROOT
    subprocess.run(["git", "worktree", "add", "--quiet", "--detach", checkout, name], cwd=ROOT, check=True)
    return checkout


def compare(a: Path, b: Path, diffs: Path) -> dict[str, Counter[str]]:
    """Pipeline -> how many modules are alike, differ, or are in one only; writes the unified diffs."""
    found: dict[str, Counter[str]] = {}
    names = sorted({path.relative_to(side) for side in (a, b) for path in side.rglob("*.mlir")})
    for name in names:
        counts = found.setdefault(name.parent.name, Counter())
        if not ((a / name).is_file() and (b / name).is_file()):
            counts["only A" if (a / name).is_file() else "only B"] += 1
            continue
        texts = [(side / name).read_text().splitlines(keepends=True) for side in (a, b)]
        if texts[0] == texts[1]:
            counts["alike"] += 1
            continue
        counts["differ"] += 1
        target = diffs / name.with_suffix(".diff")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text("".join(difflib.unified_diff(*texts, f"a/{name}", f"b/{name}")))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("revisions", nargs="*", metavar="REV", help="two git revisions, or . for this checkout")
    parser.add_argument("--out", type=Path, default=Path("build/replay"), metavar="DIR", help="default: build/replay")
    parser.add_argument("--max-bytes", type=int, default=200_000, metavar="N", help="largest module (default: 200000)")
    parser.add_argument("--match", default="", metavar="TEXT", help="only modules whose path has TEXT")
    parser.add_argument("--pipelines", default="*", metavar="PATTERN", help="only these, such as 'partition *'")
    parser.add_argument("--emit", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.emit is not None:
        emit(args.emit, args.max_bytes, args.match, args.pipelines)
        return 0
    if len(args.revisions) != 2:
        parser.error("two revisions are needed")
    out = args.out.resolve()
    if out.exists():
        parser.error(f"{out} is there already; give another --out, or remove it")
    with tempfile.TemporaryDirectory() as folder:
        for side, name in zip("ab", args.revisions, strict=True):
            checkout = Path(folder) / side
            (out / side).mkdir(parents=True)
            try:
                code = revision(name, checkout)
                # -P: the folder of this script is not where the revision's code is.
                command = [sys.executable, "-P", __file__, "--emit", out / side, "--max-bytes", str(args.max_bytes),
                           "--match", args.match, "--pipelines", args.pipelines]
                subprocess.run(command, cwd=code, env={**os.environ, "PYTHONPATH": str(code)}, check=True)
            finally:
                if checkout.exists():
                    subprocess.run(["git", "worktree", "remove", "--force", checkout], cwd=ROOT, check=True)
    found = compare(out / "a", out / "b", out / "diff")
    print(f"{'pipeline':30} {'alike':>6} {'differ':>6} {'only A':>6} {'only B':>6}")
    for pipeline, counts in found.items():
        print(f"{pipeline:30} {' '.join(f'{counts[key]:6}' for key in ('alike', 'differ', 'only A', 'only B'))}")
    different = sum(counts.total() - counts["alike"] for counts in found.values())
    print(f"{different} differences; diffs in {out / 'diff'}" if different else "no difference")
    return int(different > 0)


if __name__ == "__main__":
    sys.exit(main())
