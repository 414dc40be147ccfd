"""The cost model beside XLA: FLOPs, bytes of collectives, peak memory; and how long costing takes.

  python benchmarks/cost.py flops  [FILE ...]      FLOPs and transcendentals beside XLA's cost analysis
  python benchmarks/cost.py memory [SECONDS [FOLDER]]  peak memory beside XLA's buffers; goes on with what FOLDER has
  python benchmarks/cost.py collectives            bytes put into collectives beside XLA's count, for the shipped plans
  python benchmarks/cost.py time   [FILE ...]      costing beside native parsing and printing, CPU seconds

XLA counts FLOPs before optimization and loops once, so loops count once here too. Buffers are those of its CPU backend,
which widens bf16 to f32: modules with bf16 are listed apart, and the model's bf16 is widened for them. Plans are the
rules files of examples, presets and random ones; all modules get their first plan before one gets its second.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from itertools import zip_longest
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks import collectives  # noqa: E402
from passes.cost import device  # noqa: E402
from passes.cost.estimate import estimate  # noqa: E402
from passes.cost.graph import Graph, read_graph, runs  # noqa: E402
from passes.cost.memory import Memory, memory  # noqa: E402
from passes.cost.program_cost import inline, legalize  # noqa: E402
from passes.errors import UserError  # noqa: E402
from passes.execute import prepare, xla_analysis  # noqa: E402
from passes.partition.partition import partition  # noqa: E402
from passes.program import read, write  # noqa: E402
from passes.program.entry import find_entry  # noqa: E402
from passes.program.read import Program  # noqa: E402
from passes.sharding.annotate import annotate  # noqa: E402
from passes.sharding.mesh import Mesh  # noqa: E402
from passes.sharding.rules_file import load  # noqa: E402
from tests.partition.random_shardings import annotate as randomly  # noqa: E402

CORPUS = ROOT.parent / "shared" / "corpus"
MESHES = (Mesh((("data", 2), ("model", 4))), Mesh((("data", 8),)))
# Corpus modules whose memory is compared: beyond, XLA's compiler takes minutes, and below there is little to hold.
LEAST_BYTES, MOST_BYTES = 20_000, 500_000


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


@dataclass(frozen=True)
class Pair:
    """A module under a plan, and the bytes that XLA assigns on each device; all but the title 0 if it refuses."""

    title: str
    plan: str
    narrow: bool = False
    arguments: int = 0
    results: int = 0
    temporaries: int = 0
    aliased: int = 0
    error: str = ""

    @property
    def file(self) -> str:
        """The per-device program."""
        return f"{self.title.replace('/', '-')}.{self.plan}.mlirbc"


def plans(path: Path) -> list[tuple[str, Callable[[Program], None]]]:
    """What annotates the program, with the plan's name: rules files beside it, then presets and random shardings."""
    rules = sorted(path.parent.glob("*.toml")) if path.parent.parent.name == "examples" else []
    found = [(file.stem, lambda p, f=file: annotate(p, load(str(f)))) for file in rules]
    common: list[tuple[str, Callable[[Program], None]]] = []
    for name, mesh in (("fsdp", MESHES[1]), ("megatron_fsdp", MESHES[0]), ("data_parallel", MESHES[1]),
                       ("megatron", MESHES[0])):
        common.append((f"preset-{name}", lambda p, n=name, m=mesh: annotate(p, load(f"preset:{n}", m))))
    for seed in range(3):
        common.insert(2 * seed, (f"random-{seed}", lambda p, s=seed: randomly(p, MESHES[s % 2], s) and None))
    return found + common


def peaks(folder: Path, seconds: float) -> None:
    """Has XLA compile pairs that are not in ``folder`` yet for ``seconds``, then compares all that are."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = folder / "pairs.jsonl"
    known = [Pair(**json.loads(line)) for line in lines.read_text().splitlines()] if lines.exists() else []
    done = {(pair.title, pair.plan) for pair in known}
    until = time.monotonic() + seconds
    paths = [p for p in modules() if LEAST_BYTES < p.stat().st_size < MOST_BYTES or p.parent.name != "corpus"]
    rounds = zip_longest(*([(path, plan) for plan in plans(path)] for path in paths))
    for path, (plan, mark) in (case for cases in rounds for case in cases if case is not None):
        if time.monotonic() > until:
            break
        if (_title(path), plan) not in done:
            known.append(_compiled(path, plan, mark, folder))
            with lines.open("a") as file:
                file.write(json.dumps(asdict(known[-1])) + "\n")
    compare(folder, [pair for pair in known if not pair.error])


def _compiled(path: Path, plan: str, mark: Callable[[Program], None], folder: Path) -> Pair:
    pair = Pair(_title(path), plan, "bf16" in path.read_text())
    try:
        program = read.read(str(path))
        mark(program)
        devices = partition(program, keep_functions=False).side_table.mesh.device_count
        legalize(program)
        inline(program)
        code = prepare.per_device_code(program, as_written=True)
        theirs = xla_analysis.buffers(code, "per-device", devices)
    except (UserError, RuntimeError) as error:
        return replace(pair, error=str(error).splitlines()[0])
    (folder / pair.file).write_bytes(write.to_bytecode(program.module))
    return replace(pair, **asdict(theirs))


def compare(folder: Path, pairs: list[Pair]) -> None:
    """Prints ours beside XLA's for each pair, the furthest off first, and how they agree."""
    found: dict[bool, list[tuple[Pair, Memory]]] = {False: [], True: []}
    for pair in pairs:
        program = read.read(str(folder / pair.file))
        graph = read_graph(program)
        if pair.narrow:
            _widen(graph)
        found[pair.narrow].append((pair, memory(graph, find_entry(program))))
    print(f"{'':<58}{'arguments + temporaries':>33}{'temporaries':>33}")
    for narrow, rows in found.items():
        rows.sort(key=lambda row: -abs(math.log(_both(row[1]) / _both(row[0]))))
        for pair, ours in rows:
            columns = "".join(
                f"{a:>13,}{b:>13,}{a / b if b else 1.0:>7.2f}"
                for a, b in ((_both(ours), _both(pair)), (ours.temporaries, pair.temporaries))
            )
            print(f"{pair.title:<38}{pair.plan:<20}{columns}")
        for what, of in (("arguments + temporaries", _both), ("temporaries", lambda m: m.temporaries)):
            values = [(of(ours), of(pair)) for pair, ours in rows if of(pair)]
            if len(values) > 2:
                errors = [abs(a / b - 1) for a, b in values]
                print(f"{'bf16' if narrow else 'without bf16'}, {what}: {len(values)} pairs, rank correlation "
                      f"{rank_correlation(values):.3f}, median error {statistics.median(errors):.1%}")


def _widen(graph: Graph) -> None:
    """Has all bf16 values take the room of f32 but arguments and results, as XLA's CPU backend does."""
    outside = {*graph.entry.arguments, *graph.entry.returned}
    graph.bytes[:] = [
        size * (1 + (element == "bf16" and v not in outside))
        for v, (size, element) in enumerate(zip(graph.bytes, graph.elements, strict=True))
    ]


def _both(found: Pair | Memory) -> int:
    return found.arguments + found.temporaries


def _title(path: Path) -> str:
    return path.stem if path.parent.name == "corpus" else f"{path.parent.name}/{path.stem}"


def rank_correlation(pairs: list[tuple[float, float]]) -> float:
    """Spearman's: Pearson's of the ranks, which equal values share."""
    columns = [sorted(column) for column in zip(*pairs, strict=True)]
    ranks = [[bisect_left(c, v) + bisect_right(c, v) for c, v in zip(columns, pair, strict=True)] for pair in pairs]
    return statistics.correlation(*zip(*ranks, strict=True))


# -- collectives -------------------------------------------------------------------------------------------------------


def exchanged() -> None:
    """The bytes one device puts in: by the cost model, and in the HLO that XLA makes of the same per-device program.

    XLA reads it as a program for replicas. What it reads still has bf16 and reduce_scatter. What its CPU backend makes
    of that is in the last column: it widens bf16 to f32 and has no reduce_scatter, so it reduces all and keeps a part,
    which says nothing about a backend that has both. Bodies of loops count once, as in the text.
    """
    for rules in sorted(ROOT.glob("examples/*/*.toml")):
        for module in sorted(rules.parent.glob("*.mlir")):
            try:
                program = collectives.annotated(module, str(rules))
            except UserError:
                # A plan for the train step may name what the forward pass has not.
                continue
            _exchanged(program, f"{rules.parent.name}/{module.stem} {rules.stem}")


def _exchanged(program: Program, title: str) -> None:
    devices = partition(program, keep_functions=False).side_table.mesh.device_count
    graph = read_graph(program)
    ours: dict[str, int] = {}
    for node, _ in runs(graph, loops_once=True):
        if node.exchange is not None:
            kind = node.name.removeprefix("stablehlo.")
            ours[kind] = ours.get(kind, 0) + sum(graph.bytes[v] for v in node.operands)
    code = prepare.per_device_code(program, as_written=True)
    read_so, made = (
        collectives.count(code, "per-device", devices, files, (("xla_backend_optimization_level", 0),))
        for files in ("*before_optimizations.txt", "*cpu_after_optimizations.txt")
    )
    total, theirs = sum(ours.values()), sum(t.bytes for t in read_so)
    by_kind = {kind: sum(t.bytes for t in read_so if t.kind == kind) for kind in {t.kind for t in read_so}}
    print(f"{title:<36}{total:>13,}{theirs:>13,}{total / theirs - 1 if theirs else 0:>+9.3%}  "
          f"{'each kind' if ours == by_kind else 'in all'}{sum(t.bytes for t in made):>15,}", flush=True)


# -- time --------------------------------------------------------------------------------------------------------------


def times(paths: list[Path]) -> None:
    v5e = device.load("tpu_v5e")
    for path in paths:
        _time(path, v5e)


def _time(path: Path, on: device.Device) -> None:
    """In a function of its own, so that what it made is gone before the next one is timed."""
    start = time.process_time()
    program = read.read(str(path))
    parsed = time.process_time()
    write.to_text(program.module)
    printed = time.process_time()
    found = estimate(read_graph(program), on)
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
        peaks(Path(rest[1] if len(rest) > 1 else "build/memory"), float(rest[0]) if rest else 600)
    else:
        times(list(map(Path, rest)) or sorted(CORPUS.glob("*.mlir"), key=lambda p: -p.stat().st_size)[:6])


if __name__ == "__main__":
    main()
