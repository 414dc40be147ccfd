"""Every op of the lowering table, each dimension of each operand and result split, on five meshes, executed.

    python benchmarks/partition_matrix.py [--seconds N] [--processes N] [--resume FILE.jsonl] [--again] [--match TEXT]
        [--every N]

Prints a line per op: its cells, how many of them compute in parts without moving anything but sums (local), move parts
(moved: gathers, all_to_alls, permutes), have the op replicated around by the plan (around), were refused (refused), and
those that are wrong, dead or in error. Where axes do not divide an argument or result, it is padded, as
`--pad-arguments` has it. Every cell that is not refused is executed on virtual devices and compared with the original
bit by bit, on inputs on which nothing rounds. XLA's products of a single row make other zeros: where only the sign of
zeros differs, the cell is right and counted as such. A cell counts for each op that its program has.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.case_pool import GOOD, Case, add_options, run, serve  # noqa: E402
from benchmarks.remembering import Remembering  # noqa: E402
from passes.execute.compare import BIT_EQUAL  # noqa: E402
from passes.execute.verify import verify  # noqa: E402
from passes.partition.rows import ROWS  # noqa: E402
from passes.program import read  # noqa: E402
from tests.partition.matrix import Cell, cells, only_zeros_differ, partitioned  # noqa: E402
from tests.partition.variant_programs import ALL_PROGRAMS, ops_of  # noqa: E402

EXECUTOR = Remembering()
MOVES = ("all_gather", "all_to_all", "collective_permute")


def chunks(every: int) -> Iterator[list[Case]]:
    for program in ALL_PROGRAMS:
        yield [{"case": cell.name, **asdict(cell)} for cell in list(cells(program))[::every]]


def judge(case: Case) -> Case:
    cell = Cell(case["program"], case["side"], case["index"], case["dim"], case["size"], case["mesh"],
                tuple(case["axes"]))
    program, report = partitioned(cell)
    kinds = {t.kind for t in report.traffic}
    how = "around" if report.replicated else "moved" if kinds & set(MOVES) else "local"
    original = read.parse(ALL_PROGRAMS[cell.program], cell.program)
    found = verify(original, program, report.side_table, inputs="exact", level=BIT_EQUAL, executor=EXECUTOR)
    if found.ok:
        return {"verdict": "right", "how": how, "padded": not cell.divides}
    if only_zeros_differ(found):
        return {"verdict": "right", "how": how, "padded": not cell.divides, "zeros": True}
    return {"verdict": "wrong", "how": how, "padded": not cell.divides, "reason": " | ".join(found.lines())}


def show(found: list[Case]) -> None:
    per_op: dict[str, Counter[str]] = defaultdict(Counter)
    for record in found:
        column = record["how"] if record["verdict"] == "right" else record["verdict"]
        for op in ops_of(ALL_PROGRAMS[record["program"]]):
            per_op[op][column] += 1
    columns = ["local", "moved", "around", "refused", "wrong", "dead", "error", "late"]
    print(f"{'op':<36}{'cells':>7}" + "".join(f"{c:>9}" for c in columns))
    for op, counts in sorted(per_op.items()):
        print(f"{op:<36}{counts.total():>7}" + "".join(f"{counts[c]:>9}" for c in columns))
    totals = Counter(r["how"] if r["verdict"] == "right" else r["verdict"] for r in found)
    print(f"{len(ROWS)} rows, {len(per_op)} ops in {len({r['program'] for r in found})} programs, {len(found)} cells: "
          + ", ".join(f"{totals[c]} {c}" for c in columns)
          + f"; {sum(r.get('padded', False) for r in found)} with a padded argument or result; "
          + f"in {sum('zeros' in r for r in found)} of the right ones the sign of a zero differs")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, "partition_matrix.jsonl")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only each Nth cell of a program")
    args = parser.parse_args()
    if args.worker:
        serve(judge)
        return 0
    found = run(chunks(args.every), args)
    show(found)
    return 1 if any(record["verdict"] not in GOOD for record in found) else 0


if __name__ == "__main__":
    sys.exit(main())
