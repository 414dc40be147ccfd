"""The table of what optimizers leave behind, by a counter that shares no code with the passes it counts for.

    python benchmarks/leftovers.py [FILE.mlir ...] [--passes 'builtin.module(cse,dead-ops)'] [--json FILE]
    python benchmarks/leftovers.py [FILE.mlir ...] --list broadcast-broadcast

For each row: its sites in the modules as they come, after MLIR's own cse, canonicalize and symbol-dce repeated until
they change nothing, and after ``--passes``; and the ops left. ``--list ROW`` prints every site that ``--passes`` left
instead, with its place. Without files the modules of ../shared/corpus are taken, or those of examples/ if there is no
such folder.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from leftover.count import count
from leftover.rows import ROWS

from passes import _mlir
from passes.errors import UserError
from passes.pipeline import runner
from passes.program.read import read
from passes.program.walk import operations
from passes.program.write import to_bytecode

ROOT = Path(__file__).resolve().parent.parent
NATIVE = "builtin.module(cse,canonicalize,symbol-dce)"
STAGES = ("before", "native", "after")
SHOWN_SITES = 200


@dataclass
class Counted:
    """One module: sites by row and number of ops, at each stage."""

    module: str
    sites: dict[str, dict[str, int]]
    ops: dict[str, int]
    seconds: float


def native_fixpoint(module: Any) -> None:
    """Runs MLIR's passes until the number of ops stays."""
    manager = _mlir.passmanager.PassManager.parse(NATIVE, context=_mlir.context())
    left, size = -1, 0
    while left != size:
        left = size
        manager.run(module.operation)
        size = len(operations(module.operation))


def measure(path: Path, passes: str, native: bool) -> Counted:
    """Counts in ``path`` before and after.

    Raises:
      UserError: it cannot be read, or the passes refuse it.
    """
    start = time.perf_counter()
    program = read(str(path))
    counted = Counted(path.stem, {}, {}, 0)
    _take(counted, "before", program.module)
    if native:
        other = _mlir.ir.Module.parse(to_bytecode(program.module), _mlir.context())
        native_fixpoint(other)
        _take(counted, "native", other)
        del other
    runner.run(program, passes)
    _take(counted, "after", program.module)
    counted.seconds = round(time.perf_counter() - start, 2)
    return counted


def _take(counted: Counted, stage: str, module: Any) -> None:
    mirrored, found = count(module.operation)
    counted.ops[stage] = len(mirrored.ops)
    counted.sites[stage] = {row: len(ops) for row, ops in found.items()}


def listed(path: Path, passes: str, rows: list[str], limit: int) -> Iterator[str]:
    """The sites left in ``path``: its name, the row, the place and the op."""
    program = read(str(path))
    if passes:
        runner.run(program, passes)
    _, found = count(program.module.operation)
    for row in rows:
        ops = found.get(row, ())
        for op in ops[:limit]:
            where = program.where(op.handle)
            place = f"{where.line}:{where.column}" if where else str(op.handle.location)[:80]
            yield f"{path.stem}:{place}: {row}: {op.line()}"
        if len(ops) > limit:
            yield f"{path.stem}: {row}: {len(ops) - limit} more (--limit)"


def table(found: list[Counted], stages: tuple[str, ...]) -> list[str]:
    """Sites and modules with sites, by row; then ops by module."""
    lines = [f"{'row':32}" + "".join(f" {stage:>9} {'in':>4}" for stage in stages) + "  what is counted"]
    for row, help in ROWS.items():
        cells = [[c.sites[stage].get(row, 0) for c in found] for stage in stages]
        if any(map(any, cells)):
            shown = "".join(f" {sum(counts):9,} {sum(map(bool, counts)):4}" for counts in cells)
            lines.append(f"{row:32}{shown}  {help}")
    lines += ["", f"{'ops of module':44}" + "".join(f" {stage:>9}" for stage in stages) + f" {'more':>7} {'s':>6}"]
    for c in sorted(found, key=lambda c: -c.ops["before"]):
        lines.append(_line(c.module, Counter(c.ops), c.seconds, stages))
    total: Counter[str] = Counter()
    for c in found:
        total.update(c.ops)
    lines.append(_line(f"{len(found)} modules", total, sum(c.seconds for c in found), stages))
    return lines


def _line(name: str, ops: Counter[str], seconds: float, stages: tuple[str, ...]) -> str:
    more = f"{ops['after'] - ops['native']:+7,}" if "native" in stages else f"{'':7}"
    return f"{name:44}" + "".join(f" {ops[stage]:9,}" for stage in stages) + f" {more} {seconds:6.1f}"


def modules(given: list[Path], limit: int | None) -> list[Path]:
    """The modules to count in, smallest first."""
    corpus = ROOT.parent / "shared" / "corpus"
    found = given or list(corpus.glob("*.mlir")) or list((ROOT / "examples").rglob("*.mlir"))
    return sorted(
        (p for p in found if limit is None or p.stat().st_size <= limit), key=lambda path: path.stat().st_size
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE.mlir")
    parser.add_argument("--passes", default="builtin.module(cse,dead-ops)", help="the pipeline; empty for none")
    parser.add_argument("--no-native", action="store_true", help="do not run MLIR's own passes for comparison")
    parser.add_argument("--max-bytes", type=int, metavar="N", help="leave out larger files")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the counts per module there")
    parser.add_argument("--list", action="append", metavar="ROW", help="print the sites of this row that are left")
    parser.add_argument("--limit", type=int, default=SHOWN_SITES, metavar="N", help="sites listed a module and row")
    args = parser.parse_args()
    for row in args.list or ():
        if row not in ROWS:
            parser.error(f"no row '{row}'; rows: {', '.join(ROWS)}")
    for path in args.files:
        if not path.is_file():
            parser.error(f"there is no file {path}")
    gc.disable()  # Nothing here is worth collecting before its module is done with.
    found: list[Counted] = []
    failed = 0
    for path in modules(args.files, args.max_bytes):
        try:
            if args.list:
                for line in listed(path, args.passes, args.list, args.limit):
                    print(line, flush=True)
            else:
                found.append(measure(path, args.passes, not args.no_native))
                print(f"{path.stem}: {found[-1].seconds} s", file=sys.stderr)
        except UserError as error:
            failed += 1
            print(error.render(), file=sys.stderr)
        gc.collect()
    if not args.list:
        stages = tuple(s for s in STAGES if s != "native" or not args.no_native)
        print("\n".join(table(found, stages)))
        if args.json:
            args.json.write_text(json.dumps([asdict(c) for c in found], indent=1) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
