"""Partitions programs under random partial annotations on random meshes, executes them and compares.

    python benchmarks/partition_sweep.py [--seconds N] [--processes N] [--resume FILE.jsonl] [--again] [--rounds N]

Programs are the op programs of the tests, the examples and the small modules of ../shared/corpus (if there is that
folder); models run in double precision where their text allows it, so that rounding hides nothing. A mesh has one to
three axes of 2, 3 or 4, at times with its devices renumbered. Arguments, results and values in between get open and
closed shardings, whole axes and parts, some with priorities. Every case is partitioned, executed on virtual devices and
compared with the original in a child process:

  right    equal, bit by bit where the program rounds nowhere on its inputs, else within its rounding
  refused  an argument or result was asked to lie on axes that do not divide it
  wrong, dead, error, late

A case is named PROGRAM:SEED, and `python benchmarks/partition_sweep.py --print PROGRAM:SEED` prints its annotated
module, for `shlo partition`, `shlo bisect` and `shlo reduce`.
"""

from __future__ import annotations

import argparse
import functools
import random
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.case_pool import Case, add_options, run, serve  # noqa: E402
from benchmarks.remembering import Remembering  # noqa: E402
from passes.errors import UserError  # noqa: E402
from passes.execute.compare import BIT_EQUAL  # noqa: E402
from passes.execute.verify import verify  # noqa: E402
from passes.partition.partition import partition  # noqa: E402
from passes.program import read  # noqa: E402
from passes.program.read import Program  # noqa: E402
from passes.sharding.mesh import Mesh  # noqa: E402
from tests.doubled import doubled  # noqa: E402
from tests.generate.program import random_mesh  # noqa: E402
from tests.partition.random_shardings import annotate_anything  # noqa: E402
from tests.partition.variant_programs import ALL_PROGRAMS  # noqa: E402

CORPUS = ROOT.parent / "shared" / "corpus"
# Larger modules take minutes a case; benchmarks/partition_corpus.py has them.
MAX_BYTES = 130_000
# Modules up to this size, and the examples named here, take about a second a case and have as many as op programs.
SMALL_BYTES = 55_000
SMALL_EXAMPLES = frozenset({"lm_head", "moe", "scan_layers"})
# Slow to execute for their size.
SLOW = frozenset({"hk_mobilenetv1_fwd", "hk_resnet18_fwd", "jax_eigh_svd_tpu_qdwh", "keras_mobilenet_fwd",
                  "kh_vit_4l_fwd"})
# Slower still; of dynamic shapes; and solvers that diverge on random inputs until the order of a sum decides when it
# overflows.
LEFT_OUT = frozenset({"hk_resnet50_fwd", "jax_cg_gmres_bicgstab", "jax_symbolic_attn", "keras_mobilenetv3s_fwd",
                      "keras_resnet50_fwd", "resnet50"})
EXECUTOR = Remembering()


def models() -> dict[str, Path]:
    """The models by name, as cases have it."""
    found = {}
    for path in sorted((ROOT / "examples").glob("*/*.mlir")):
        if path.parent.name not in LEFT_OUT:
            found[f"{path.parent.name}/{path.stem}"] = path
    for path in sorted(CORPUS.glob("*.mlir")):
        if path.stat().st_size <= MAX_BYTES and path.stem not in LEFT_OUT and not _has_mesh(path):
            found[f"corpus/{path.stem}"] = path
    return found


def _has_mesh(path: Path) -> bool:
    """Whether the program brings shardings of its own; partition_corpus.py takes those as they are."""
    return path.stem.startswith(("sdy_", "gspmd_", "xlasdy_"))


def _is_small(name: str, path: Path) -> bool:
    if not name.startswith("corpus/"):
        return path.parent.name in SMALL_EXAMPLES
    return path.stat().st_size <= SMALL_BYTES and path.stem not in SLOW


def cases(rounds: int) -> Iterator[list[Case]]:
    """Chunks of cases, each about one program, the same in every run. Op programs come first, large models last."""
    listed = models()
    small = [name for name, path in listed.items() if _is_small(name, path)]
    for names in ([f"op/{name}" for name in ALL_PROGRAMS], small):
        for number in range(rounds):
            for name in names:
                yield _chunk(name, range(4 * number, 4 * number + 4))
    for name, path in listed.items():
        if not _is_small(name, path):
            yield _chunk(name, range(2))


def _chunk(name: str, seeds: Iterable[int]) -> list[Case]:
    return [{"case": f"{name}:{seed}", "program": name, "seed": seed} for seed in seeds]


@functools.lru_cache(maxsize=2)
def _text(name: str) -> str:
    """The program's text; a model's in double precision if that is a program too."""
    if name.startswith("op/"):
        return ALL_PROGRAMS[name.removeprefix("op/")]
    text = models()[name].read_text()
    if "lapack_" in text:  # these kernels exist in the precision that the program names
        return text
    try:
        read.parse(doubled(text), name)
    except UserError:
        return text
    return doubled(text)


def annotated(case: Case) -> tuple[Program, Mesh]:
    """The case's program with its mesh and annotations."""
    program = read.parse(_text(case["program"]), case["program"])
    choose = random.Random(case["case"])
    mesh = random_mesh(choose, 16 if case["program"].startswith("op/") else 12, sizes=(2, 3, 4))
    annotate_anything(program, mesh, choose.randrange(1 << 30))
    return program, mesh


def judge(case: Case) -> Case:
    program, mesh = annotated(case)
    about = {"mesh": "x".join(str(size) for _, size in mesh.axes)}
    is_op = case["program"].startswith("op/")
    report = partition(program)
    original = read.parse(_text(case["program"]), case["program"])
    found = verify(original, program, report.side_table, inputs="exact" if is_op else "normal",
                   seed=case["seed"] % 3, level=BIT_EQUAL if is_op else None, executor=EXECUTOR)
    about |= {"replicated": len(report.replicated), "collectives": sum(t.count for t in report.traffic)}
    if found.ok:
        return {**about, "verdict": "right"}
    return {**about, "verdict": "wrong", "reason": " | ".join(found.lines())[:600]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, "partition_sweep.jsonl")
    parser.add_argument("--rounds", type=int, default=3, help="four cases of every small program each (default: 3)")
    parser.add_argument("--print", metavar="CASE", help="print the annotated module of this case")
    args = parser.parse_args()
    if args.print:
        name, _, seed = args.print.rpartition(":")
        print(annotated({"case": args.print, "program": name, "seed": int(seed)})[0].module)
        return 0
    if args.worker:
        serve(judge)
        return 0
    found = run(cases(args.rounds), args)
    verdicts = Counter(record["verdict"] for record in found)
    programs = {record["program"] for record in found}
    around = sum(bool(record.get("replicated")) for record in found)
    print(f"{len(found)} cases of {len(programs)} programs: "
          + ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items()))
          + f"; {around} with ops replicated around; {sum(r['seconds'] for r in found if 'seconds' in r):,.0f} s")
    return 1 if any(record["verdict"] not in ("right", "refused") for record in found) else 0


if __name__ == "__main__":
    sys.exit(main())
