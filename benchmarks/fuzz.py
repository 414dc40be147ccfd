"""Random programs through every property: what optimize, propagate and partition must never do, seed by seed.

    python benchmarks/fuzz.py [optimize|partition|all] [--count N] [--first SEED] [--seconds N] [--processes N]
                              [--resume FILE.jsonl] [--again]
    python benchmarks/fuzz.py --print partition:17

Programs come from ``tests/generate``; the properties are those of ``tests/generate/properties.py``. A case is named
STAGE:SEED, and the seed alone makes its program, mesh, annotations and inputs again. Cases run in worker processes with
a time limit each; a run repeated with the same file goes on where the last one ended.

  right    all properties hold
  refused  an argument or result was asked to lie on axes that do not divide it
  wrong, dead, error, late
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.case_pool import Case, add_options, pace, run, serve  # noqa: E402
from passes.program.read import parse  # noqa: E402
from passes.program.write import to_text  # noqa: E402
from tests.generate.program import Generated, seeded  # noqa: E402
from tests.generate.properties import Broken, optimizes, partitions, round_trips  # noqa: E402
from tests.partition.random_shardings import annotate_values  # noqa: E402

STAGES = ("optimize", "partition")
_CHUNK = 50


def cases(stages: tuple[str, ...], first: int, count: int) -> Iterator[list[Case]]:
    """The same cases in every run; stages take turns."""
    for start in range(first, first + count, _CHUNK):
        for stage in stages:
            seeds = range(start, min(start + _CHUNK, first + count))
            yield [{"case": f"{stage}:{seed}", "stage": stage, "seed": seed} for seed in seeds]


def program(stage: str, seed: int) -> Generated:
    return seeded(seed) if stage == "optimize" else seeded(seed, exact=True, on_mesh=True)


def judge(case: Case) -> Case:
    generated = program(case["stage"], case["seed"])
    about = {"ops": generated.text.count(" = "), "features": sorted(generated.features)}
    try:
        if case["stage"] == "optimize":
            round_trips(generated.text)
            optimizes(generated, case["seed"])
        else:
            partitions(generated, case["seed"])
    except Broken as error:
        return {**about, "verdict": "wrong", "reason": str(error)[:3000]}
    return {**about, "verdict": "right"}


def text(name: str) -> str:
    """The module of a case, annotated where it is partitioned."""
    stage, _, seed = name.partition(":")
    generated = program(stage, int(seed))
    module = parse(generated.text)
    if generated.mesh is not None:
        annotate_values(module, generated.mesh, random.Random(f"partition {seed}").randrange(1 << 30))
    return to_text(module.module)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", nargs="?", default="all", choices=(*STAGES, "all"))
    add_options(parser, "fuzz.jsonl", case_seconds=60)
    parser.add_argument("--count", type=int, default=1000, help="how many seeds (default: 1000)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (default: 0)")
    parser.add_argument("--print", metavar="CASE", help="print the module of this case")
    args = parser.parse_args()
    if args.print:
        print(text(args.print), end="")
        return 0
    if args.worker:
        serve(judge)
        return 0
    found = run(cases(STAGES if args.stage == "all" else (args.stage,), args.first, args.count), args)
    for stage in STAGES:
        of = [record for record in found if record["stage"] == stage]
        verdicts = Counter(record["verdict"] for record in of)
        if verdicts:
            listed = ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items()))
            print(f"{stage}: {len(of)} programs: {listed}; {pace(of)}")
    return 1 if any(record["verdict"] not in ("right", "refused") for record in found) else 0


if __name__ == "__main__":
    sys.exit(main())
