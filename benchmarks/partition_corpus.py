"""Partitions the corpus and the examples under several plans, executes what fits and compares it with the original.

    python benchmarks/partition_corpus.py [--seconds N] [--processes N] [--resume FILE.jsonl] [--again] [--match TEXT]
        [--single] [--large] [--compile] [--gigabytes N]

Plans, on a mesh of 2 x 2 devices:

  data    the first dimension of every argument over both axes, as far as it divides
  fsdp    the largest dimension of every argument that both axes divide
  mixed   whole axes, parts and open dimensions, drawn at random, on arguments, results and values between
  own     the shardings that the module brings, on its own mesh (then the only plan)
  NAME    a preset, for those examples whose argument names it matches, on its own mesh

Modules run in double precision where their text allows it, or with `--single` as they are, which tells less and, with
convolutions, takes seconds for minutes. Every per-device program is checked for its structure first. `--large` takes
the modules that no machine here can run (70B and the like) instead, on 8 devices: planned and checked, and with
`--compile` compiled by XLA's CPU backend, which allocates no argument. Each case has a child process and at most
`--gigabytes` of memory.
"""

from __future__ import annotations

import argparse
import atexit
import functools
import math
import resource
import shutil
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.case_pool import GOOD, Case, add_options, run, serve  # noqa: E402
from benchmarks.remembering import Remembering  # noqa: E402
from passes.errors import UserError  # noqa: E402
from passes.execute import prepare  # noqa: E402
from passes.execute.verify import verify  # noqa: E402
from passes.execute.xla_analysis import buffers  # noqa: E402
from passes.partition.partition import partition  # noqa: E402
from passes.partition.report import Report  # noqa: E402
from passes.partition.structure import check_structure  # noqa: E402
from passes.program import read  # noqa: E402
from passes.program.entry import arguments, find_entry  # noqa: E402
from passes.program.read import Program  # noqa: E402
from passes.program.walk import operations  # noqa: E402
from passes.sharding.annotate import annotate  # noqa: E402
from passes.sharding.import_shardings import import_shardings  # noqa: E402
from passes.sharding.mesh import Mesh  # noqa: E402
from passes.sharding.rules_file import load, parse  # noqa: E402
from tests.doubled import doubled  # noqa: E402
from tests.partition.random_shardings import annotate_anything  # noqa: E402

CORPUS = ROOT.parent / "shared" / "corpus"
EXECUTOR = Remembering()
GIGABYTE = 1 << 30
# Arguments of more bytes than this are not executed.
LARGE_BYTES = 4 * GIGABYTE
MESH = Mesh((("x", 2), ("y", 2)))
LARGE_MESH = Mesh((("x", 2), ("y", 4)))
GENERIC = ("data", "fsdp", "mixed")
PRESETS = ("megatron", "megatron_fsdp", "fsdp", "expert_parallel")
# The modules that name their arguments as presets expect; those of the corpus came without names.
NAMED = ("decoder/", "gpt/", "moe/", "scan_layers/")


@functools.cache
def modules() -> dict[str, Path]:
    """Name -> file, smallest first; those with convolutions, which take minutes each in double precision, last."""
    found = [*(ROOT / "examples").glob("*/*.mlir"), *CORPUS.glob("*.mlir")]
    names = {f"{path.parent.name}/{path.stem}": path for path in found}
    slow = {name for name, path in names.items() if "stablehlo.convolution" in path.read_text()}
    return dict(sorted(names.items(), key=lambda item: (item[0] in slow, item[1].stat().st_size)))


def cases(large: bool, compiled: bool, single: bool) -> Iterator[list[Case]]:
    """A chunk for each module."""
    for name, path in modules().items():
        if _is_large(path) != large:
            continue
        own = path.stem.startswith(("sdy_", "gspmd_", "xlasdy_"))
        plans = ["own"] if own else list(GENERIC)
        if name.startswith(NAMED):
            plans += [f"preset {preset}" for preset in PRESETS]
        yield [
            {"case": f"{name}:{plan}{' compiled' if compiled else ''}", "module": name, "plan": plan, "large": large,
             "compile": compiled, "single": single}
            for plan in plans
        ]


def _is_large(path: Path) -> bool:
    return path.stem.startswith(("big_", "gm_gemma2_2b"))


@functools.lru_cache(maxsize=1)
def _text(name: str, single: bool) -> str:
    text = modules()[name].read_text()
    if single or _is_large(modules()[name]) or "lapack_" in text:
        return text
    try:
        read.parse(doubled(text), name)
    except UserError:
        return text
    return doubled(text)


def planned(name: str, plan: str, large: bool, single: bool) -> Program:
    """The module annotated by ``plan``."""
    program = read.parse(_text(name, single), name)
    mesh = LARGE_MESH if large else MESH
    if plan == "own":
        import_shardings(program)
    elif plan == "mixed":
        annotate_anything(program, mesh, seed=1)
    elif plan.startswith("preset "):
        preset = plan.removeprefix("preset ")
        rules = load(str(ROOT / "passes" / "sharding" / "presets" / f"{preset}.toml"))
        annotate(program, rules)
    else:
        annotate(program, parse(_rules(program, plan, mesh), f"{plan}.toml"))
    return program


def _rules(program: Program, plan: str, mesh: Mesh) -> str:
    """A rules file that splits one dimension of each argument over as many devices as divide it."""
    lines = ["mesh = { " + ", ".join(f"{name} = {size}" for name, size in mesh.axes) + " }"]
    choices = [(mesh.device_count, '["x", "y"]'), *((size, f'"{name}"') for name, size in reversed(mesh.axes))]
    for value in arguments(find_entry(program)):
        shape = list(value.type.shape) if hasattr(value.type, "shape") else []
        order = [0] if plan == "data" else sorted(range(len(shape)), key=lambda d: -shape[d])
        fits = (
            (axes, d) for size, axes in choices for d in order if d < len(shape) and shape[d] and shape[d] % size == 0
        )
        found = next(fits, None)
        if found is not None:
            dims = [found[0] if d == found[1] else '""' for d in range(len(shape))]
            lines.append(f"[[arguments]]\nindex = {value.index}\ndims = [{', '.join(dims)}]")
    return "\n".join(lines) + "\n"


def judge(case: Case) -> Case:
    try:
        program = planned(case["module"], case["plan"], case["large"], case["single"])
    except UserError as error:
        return {"verdict": "refused", "reason": f"the plan does not fit: {error.message}"[:300]}
    start = time.perf_counter()
    report = partition(program)
    original = read.parse(_text(case["module"], case["single"]), case["module"])
    about = _about(program, report, time.perf_counter() - start)
    problems = check_structure(program, report.side_table)
    if problems:
        return {**about, "verdict": "wrong", "reason": " | ".join(problems[:5])[:600]}
    if case["compile"]:
        return {**about, **_compiled(program, report)}
    if case["large"]:
        return {**about, "verdict": "right", "proof": "structure"}
    if _bytes(original) > LARGE_BYTES:
        return {**about, "verdict": "right", "proof": "structure, too large to run"}
    try:
        found = verify(original, program, report.side_table, inputs=_inputs(case["module"]), executor=EXECUTOR)
    except UserError as error:
        if "calls back into the Python process" in error.message:
            return {**about, "verdict": "right", "proof": "structure, calls into Python"}
        raise
    if found.ok:
        worst = max((r.figures.relative_l2 for r in found.results), default=0.0)
        proof = "executed as it is" if case["single"] else "executed"
        return {**about, "verdict": "right", "proof": proof, "worst": worst}
    return {**about, "verdict": "wrong", "reason": " | ".join(found.lines())[:600]}


@functools.cache
def _inputs(name: str) -> str:
    """The kind of inputs, or a file of them for solvers, which on any but well-conditioned matrices diverge until the
    order of a sum decides when they overflow."""
    if name != "corpus/jax_cg_gmres_bicgstab":
        return "normal"
    choose = np.random.default_rng(0)
    matrix = choose.standard_normal((64, 64)) / 64
    path = Path(tempfile.mkdtemp(prefix="shlo-")) / "inputs.npz"
    atexit.register(shutil.rmtree, path.parent)
    given = (matrix @ matrix.T + 4 * np.eye(64), choose.standard_normal(64))
    np.savez(path, *(array.astype(np.float32) for array in given))
    return str(path)


def _about(program: Program, report: Report, seconds: float) -> Case:
    return {
        "devices": report.side_table.mesh.device_count,
        "ops": len(list(operations(program.module))),
        "partition_seconds": round(seconds, 2),
        "replicated": len(report.replicated),
        "collectives": sum(t.count for t in report.traffic),
        "megabytes": round(sum(t.bytes for t in report.traffic) / 1e6, 1),
        "peak_gigabytes": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20), 2),
    }


def _compiled(program: Program, report: Report) -> Case:
    start, count = time.perf_counter(), report.side_table.mesh.device_count
    found = buffers(prepare.per_device_code(program, as_written=True), "per-device", count)
    seconds, peak = round(time.perf_counter() - start, 1), round(found.peak / GIGABYTE, 1)
    return {"verdict": "right", "proof": "structure, compiled", "compile_seconds": seconds, "buffer_gigabytes": peak}


def _bytes(program: Program) -> int:
    return sum(8 * math.prod(v.type.shape) for v in arguments(find_entry(program)))


def show(found: list[Case]) -> None:
    per_module: dict[str, list[Case]] = defaultdict(list)
    for record in found:
        per_module[record["module"]].append(record)
    for name, records in per_module.items():
        plans = (f"{r['plan']} {r['verdict']}{' (' + r['proof'] + ')' if 'proof' in r else ''}" for r in records)
        print(f"{name}: {', '.join(plans)}")
    verdicts = Counter(f"{r['verdict']} {r.get('proof', '')}".strip() for r in found)
    counts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items()))
    print(f"{len(per_module)} modules, {len(found)} plans: {counts}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, "partition_corpus.jsonl", case_seconds=600)
    parser.add_argument("--single", action="store_true", help="run modules in the precision that they have")
    parser.add_argument("--large", action="store_true", help="the modules that are too large to run")
    parser.add_argument("--compile", action="store_true", help="compile the large ones, allocating nothing")
    parser.add_argument("--gigabytes", type=int, default=12, help="of address space for a worker (default: 12)")
    args = parser.parse_args()
    if args.worker:
        resource.setrlimit(resource.RLIMIT_AS, (args.gigabytes * GIGABYTE, resource.RLIM_INFINITY))
        serve(judge)
        return 0
    found = run(cases(args.large, args.compile, args.single), args)
    show(found)
    return 1 if any(record["verdict"] not in GOOD for record in found) else 0


if __name__ == "__main__":
    sys.exit(main())
