"""The cost model beside XLA: FLOPs, bytes of collectives, peak memory; and how long costing takes.

  python benchmarks/cost.py flops  [FILE ...]      FLOPs and transcendentals beside XLA's cost analysis
  python benchmarks/cost.py memory [SECONDS]       peak memory beside XLA's buffers, over (train step, plan) pairs
  python benchmarks/cost.py collectives            bytes put into collectives beside XLA's count, for the shipped plans
  python benchmarks/cost.py time   [FILE ...]      costing beside native parsing and printing, CPU seconds

XLA counts FLOPs before optimization and loops once, so loops count once here too. Buffers are those of its CPU backend,
which widens bf16 to f32: modules with bf16 are listed apart. Plans are every preset and rules file that fits a module,
and random ones: a random dimension of every argument over a random axis.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import collectives
from passes.cost import device
from passes.cost.estimate import estimate
from passes.cost.graph import read_graph, runs
from passes.cost.memory import memory
from passes.cost.program_cost import legalize
from passes.errors import UserError
from passes.execute import prepare, xla_analysis
from passes.partition.partition import partition
from passes.program import read, write
from passes.program.entry import arguments, find_entry
from passes.program.read import Program
from passes.sharding.annotate import annotate
from passes.sharding.mesh import Mesh, Sharding, mesh_to_attr, sharding_to_attr
from passes.sharding.rules_file import load

ROOT = Path(__file__).parents[1]
CORPUS = ROOT.parent / "shared" / "corpus"
MESHES = (Mesh((("data", 2), ("model", 4))), Mesh((("data", 8),)))
# XLA's compiler takes minutes beyond this.
MOST_OPS_BYTES = 600_000


def modules() -> list[Path]:
    return [*sorted(ROOT.glob("examples/*/*.mlir")), *sorted(CORPUS.glob("*.mlir"))]


# -- FLOPs -------------------------------------------------------------------------------------------------------------


def flops(paths: list[Path]) -> None:
    within, counted = 0, 0
    for path in paths:
        try:
            program = read.read(str(path))
            legalize(program)
            graph = read_graph(program)
            ours = graph.work_of(graph.entry, loops_once=True)
            theirs, their_functions = xla_analysis.work(program)
        except UserError as error:
            print(f"{path.stem:<36} {str(error).splitlines()[0][:80]}")
            continue
        difference = ours.flops / theirs - 1 if theirs else float(ours.flops > 0)
        counted += 1
        within += abs(difference) <= 0.01
        print(f"{path.stem:<36}{theirs:>18,.0f}{ours.flops:>20,}{difference:>+10.3%}"
              f"{their_functions:>16,.0f}{ours.transcendentals:>16,}", flush=True)
    print(f"within 1 %: {within} of {counted}")


# -- memory ------------------------------------------------------------------------------------------------------------


def plans(path: Path) -> Iterator[tuple[str, Program]]:
    """Annotated programs, with the plan's name."""
    rules = [*sorted(path.parent.glob("*.toml"))] if path.parent.parent.name == "examples" else []
    named = [str(r) for r in rules] + [f"preset:{n}" for n in ("data_parallel", "fsdp", "megatron", "megatron_fsdp")]
    for name in named:
        try:
            program = read.read(str(path))
            annotate(program, load(name))
        except UserError:
            continue
        yield Path(name).stem, program
    for seed in range(3):
        program = read.read(str(path))
        annotate_at_random(program, random.Random(seed))
        yield f"random {seed}", program


def annotate_at_random(program: Program, rng: random.Random) -> None:
    """Shards a dimension of each argument that divides over one axis of a mesh."""
    from passes import _mlir

    mesh = rng.choice(MESHES)
    ir, context = _mlir.ir, _mlir.context()
    with ir.InsertionPoint.at_block_begin(program.module.body), ir.Location.unknown(context):
        ir.Operation.create("sdy.mesh", attributes={
            "sym_name": ir.StringAttr.get("mesh", context), "mesh": mesh_to_attr(mesh)})
    function = find_entry(program)
    attributes = []
    for value in arguments(function):
        shape = list(ir.RankedTensorType(value.type).shape)
        name, size = rng.choice(mesh.axes)
        fitting = [d for d, n in enumerate(shape) if n % size == 0]
        kept = dict(value.attributes)
        if fitting and rng.random() < 0.7:
            chosen = rng.choice(fitting)
            dims = tuple((mesh.axis(name),) if d == chosen else () for d in range(len(shape)))
            kept["sdy.sharding"] = sharding_to_attr("mesh", Sharding(mesh, dims))
        attributes.append(ir.DictAttr.get(kept, context))
    function.attributes["arg_attrs"] = ir.ArrayAttr.get(attributes, context)


def peaks(seconds: float) -> None:
    found: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
    until = time.monotonic() + seconds
    for path in modules():
        if path.stat().st_size > MOST_OPS_BYTES or "bf16" in path.name or time.monotonic() > until:
            continue
        if path.parent.name != "corpus" and path.stem != "train_step":
            continue
        narrow = "bf16" in path.read_text()
        for plan, program in plans(path):
            try:
                devices = partition(program).side_table.mesh.device_count
                ours = memory(read_graph(program), find_entry(program))
                code = prepare.per_device_code(program, as_written=True)
                theirs = xla_analysis.buffers(code, "per-device", devices)
            except UserError as error:
                print(f"{_title(path):<36}{plan:<20}{str(error).splitlines()[0][:60]}", flush=True)
                continue
            found[narrow].append((ours.peak, theirs.peak))
            print(f"{_title(path):<36}{plan:<20}{ours.peak:>14,}{theirs.peak:>14,}{ours.peak / theirs.peak:>7.2f}"
                  f"{'  bf16' if narrow else ''}", flush=True)
            if time.monotonic() > until:
                break
    for narrow, pairs in found.items():
        if len(pairs) > 2:
            errors = [abs(ours / theirs - 1) for ours, theirs in pairs]
            print(f"{'bf16' if narrow else 'without bf16'}: {len(pairs)} pairs, rank correlation "
                  f"{rank_correlation(pairs):.3f}, median error {statistics.median(errors):.1%}")


def _title(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}" if path.stem == "train_step" else path.stem


def rank_correlation(pairs: list[tuple[float, float]]) -> float:
    """Spearman's: Pearson's of the ranks."""
    columns = [sorted(range(len(pairs)), key=lambda i, c=c: pairs[i][c]) for c in (0, 1)]
    ranks = [[0] * len(pairs) for _ in columns]
    for column, order in enumerate(columns):
        for rank, index in enumerate(order):
            ranks[column][index] = rank
    return statistics.correlation(*ranks)


# -- collectives -------------------------------------------------------------------------------------------------------


def exchanged() -> None:
    """The bytes one device puts in: by the cost model, and in the HLO that XLA makes of the same per-device program.

    XLA reads it as a program for replicas. What it reads still has bf16 and reduce_scatter. What its CPU backend makes
    of that is in the last column: it widens bf16 to f32 and has no reduce_scatter, so it reduces all and keeps a part,
    which says nothing about a backend that has both. Bodies of loops count once, as in the text.
    """
    for rules in sorted(ROOT.glob("examples/*/*.toml")):
        module = rules.parent / "train_step.mlir"
        try:
            program = collectives.annotated(module, str(rules))
        except UserError:
            continue
        devices = partition(program, keep_functions=False).side_table.mesh.device_count
        graph = read_graph(program)
        ours: dict[str, int] = {}
        for node, _ in runs(graph, loops_once=True):
            if node.exchange is not None:
                kind = node.name.removeprefix("stablehlo.")
                ours[kind] = ours.get(kind, 0) + sum(graph.bytes[v] for v in node.operands)
        read_so = collectives.as_xla_reads(program, devices, "*before_optimizations.txt")
        made = collectives.as_xla_reads(program, devices, "*after_optimizations.txt")
        total, theirs = sum(ours.values()), sum(t.bytes for t in read_so)
        by_kind = {kind: sum(t.bytes for t in read_so if t.kind == kind) for kind in {t.kind for t in read_so}}
        print(f"{rules.parent.name + '/' + rules.stem:<28}{total:>12,}{theirs:>12,}{total / theirs - 1:>+9.3%}  "
              f"{'each kind' if ours == by_kind else 'in all'}{sum(t.bytes for t in made):>14,}", flush=True)


# -- time --------------------------------------------------------------------------------------------------------------


def times(paths: list[Path]) -> None:
    v5e = device.load("tpu_v5e")
    for path in paths:
        start = time.process_time()
        program = read.read(str(path))
        parsed = time.process_time()
        write.to_text(program.module)
        printed = time.process_time()
        found = estimate(read_graph(program), v5e)
        done = time.process_time()
        native = printed - start
        print(f"{path.stem:<36}{len(found.ops):>8} ops  parse {parsed - start:.2f} s  print {printed - parsed:.2f} s  "
              f"cost {done - printed:.2f} s  {(done - printed) / native:.2f}x", flush=True)


def main() -> None:
    what, *rest = sys.argv[1:] or ["flops"]
    if what == "flops":
        flops(list(map(Path, rest)) or [p for p in modules() if p.stat().st_size < 20_000_000])
    elif what == "collectives":
        exchanged()
    elif what == "memory":
        peaks(float(rest[0]) if rest else 600)
    else:
        times(list(map(Path, rest)) or sorted(CORPUS.glob("*.mlir"), key=lambda p: -p.stat().st_size)[:6])


if __name__ == "__main__":
    main()
