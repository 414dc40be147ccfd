"""What `shlo autoshard` finds: against expert plans and the usual ones, against XLA's partitioner, and how surely.

  python benchmarks/reference_step.py FOLDER                   once; needs jax
  python benchmarks/autoshard.py reference FOLDER [LAYERS]     the Llama-like train step and the MLP on 2x4
  python benchmarks/autoshard.py rank FILE [COUNT] [--xla]     random plans: what the model says against the lowering,
                                                               and against XLA's partitioner (no loops in FILE)
  python benchmarks/autoshard.py corpus FILE ... [--mesh AXES] [--memory BYTES]

``sent`` is what one device sends by the ring algorithms; XLA's is that of its module right after partitioning what
propagation left.
"""

from __future__ import annotations

import argparse
import random
import time
from pathlib import Path

from collectives import xla

from passes.autoshard.autoshard import Outcome, choose, prepare
from passes.autoshard.lowering import pinned_text
from passes.autoshard.plans import Plan
from passes.autoshard.search import Found, Goal
from passes.cost import device
from passes.cost.laws import sent
from passes.cost.program_cost import ProgramCost, cost
from passes.errors import UserError
from passes.program import read, write
from passes.program.read import Program
from passes.sharding import rules_file
from passes.sharding.annotate import annotate
from passes.sharding.propagate import PropagateOptions, propagate

DEVICE = device.load("tpu_v5e")
MESH = rules_file.parse_mesh("data=2,model=4")

# Expert plans of the reference step: which axis splits what of weights that read the hidden dimension, that write it,
# of the embedding, of the head, of norms, and of tokens.
EXPERTS = {
    "Megatron + FSDP": ('"data", "model"', '"model", "data"', '"model", "data"', '"data", "model"', '"data"', '"data"'),
    "Megatron + DP": ('"", "model"', '"model", ""', '"model", ""', '"", "model"', '""', '"data"'),
    "FSDP over all": ('["data", "model"], ""', '"", ["data", "model"]', '"", ["data", "model"]',
                      '["data", "model"], ""', '["data", "model"]', '["data", "model"]'),
    "DP over all": ('"", ""', '"", ""', '"", ""', '"", ""', '""', '["data", "model"]'),
}


def expert(name: str) -> str:
    """An expert plan as a rules file."""
    reads, writes, embedding, head, norm, batch = EXPERTS[name]
    chosen = [
        (r"\['(wq|wk|wv|gate|up)'\]$", reads), (r"\['(wo|down)'\]$", writes), (r"\['embedding'\]$", embedding),
        (r"\['head'\]$", head), (r"norm'\]$", norm), ("^(tokens|targets)$", f'{batch}, ""'),
    ]
    lines = ["mesh = { data = 2, model = 4 }"]
    for pattern, dims in chosen:
        sections = ("arguments",) if pattern.startswith("^") else ("arguments", "results")
        for section in sections:
            lines += [f"[[{section}]]", f"regex = '''{pattern}'''", f"dims = [{dims}]"]
    return "\n".join(lines)


def lowered(path: str, rules: str) -> ProgramCost:
    program = read.read(path)
    annotate(program, rules_file.parse(rules))
    return cost(program, DEVICE)


def by_xla(path: str, rules: str) -> float:
    """Bytes that one device sends in XLA's module."""
    program = read.read(path)
    annotate(program, rules_file.parse(rules))
    propagate(program, PropagateOptions(reshards=False))
    # A permutation sends what it puts in.
    return sum((sent(t.kind, t.group_size) or 1.0) * t.bytes for t in xla(program))


def row(title: str, path: str, rules: str) -> None:
    e = lowered(path, rules).estimate
    wire = by_xla(path, rules)
    print(f"  {title:<24}{e.sent / 1e6:9.1f}{wire / 1e6:9.1f}{e.memory.arguments / 1e6:11.1f}"
          f"{e.memory.peak / 1e6:9.1f}{e.seconds * 1e3:9.2f}", flush=True)


HEAD = f"  {'plan':<24}{'sent MB':>9}{'XLA MB':>9}{'arguments':>11}{'peak':>9}{'ms':>9}"


def reference(folder: Path, layers: list[int]) -> None:
    for n in layers:
        path = str(folder / f"llama_{n}.mlir")
        print(f"{n} layers\n{HEAD}", flush=True)
        for name in EXPERTS:
            row(name, path, expert(name))
        tightest = lowered(path, expert("Megatron + FSDP")).estimate.memory.peak
        for objective, limit in (("time", None), ("bytes", tightest)):
            outcome, seconds = _choose(read.read(path), Goal(limit, objective))
            row(f"autoshard ({objective})", path, outcome.best.rules)
            print(f"    {outcome.considered} plans in {seconds:.1f} CPU s")
    path = str(folder / "mlp.mlir")
    outcome, seconds = _choose(read.read(path), Goal(1e8))
    print(f"MLP, at most 100 MB a device\n{HEAD}")
    row("autoshard (time)", path, outcome.best.rules)
    print(f"    computed again {outcome.best.real.redundancy:.2f}x, {seconds:.1f} CPU s")


def _choose(program: Program, goal: Goal, mesh: str | None = None) -> tuple[Outcome, float]:
    start = time.process_time()
    chosen = rules_file.parse_mesh(mesh) if mesh else MESH
    outcome = choose(program, chosen, DEVICE, goal, lowered=2, compare=mesh is not None)
    return outcome, time.process_time() - start


def rank(path: str, count: int, with_xla: bool) -> None:
    """Random plans, with the model's figures and those of the lowered program, and the bytes in XLA's."""
    model = prepare(read.read(path), MESH, DEVICE)
    program, choices = read.read(path), random.Random(0)
    source = write.to_bytecode(program.module)
    actions = model.actions
    pairs: list[tuple[tuple[float, ...], tuple[float, ...]]] = []
    tried: set[Plan] = set()
    start = time.process_time()
    while len(pairs) < count:
        plan = tuple(choices.sample(actions, choices.randint(1, min(6, len(actions)))))
        if plan in tried:
            continue
        tried.add(plan)
        said = model.price(plan)
        try:
            text = pinned_text(source, program, model, Found(plan, said))
            real = lowered(path, text).estimate
        except UserError as error:
            print("  cannot be lowered:", str(error).splitlines()[0])
            continue
        wire = (by_xla(path, text),) if with_xla else ()
        pairs.append((
            (said.sent, said.peak, said.seconds, said.sent), (real.sent, real.memory.peak, real.seconds, *wire)
        ))
    print(f"{path}: {len(pairs)} random plans, {time.process_time() - start:.0f} CPU s")
    for i, title in enumerate(("bytes sent", "peak memory", "time", "XLA's bytes")[: len(pairs[0][1])]):
        said_ranks, real_ranks = (_ranks([p[side][i] for p in pairs]) for side in (0, 1))
        ratios = sorted(p[1][i] / p[0][i] for p in pairs if p[0][i])
        print(f"  {title:<12} rank correlation {_correlation(said_ranks, real_ranks):.3f}; real over said: "
              + ", ".join(f"{ratios[int(q * (len(ratios) - 1))]:.2f}" for q in (0.05, 0.25, 0.5, 0.75, 0.95)))


def _ranks(values: list[float]) -> list[float]:
    """Positions in order; equal values share the mean of theirs."""
    ordered = sorted(values)
    first = {v: ordered.index(v) for v in set(values)}
    return [first[v] + (ordered.count(v) - 1) / 2 for v in values]


def _correlation(one: list[float], other: list[float]) -> float:
    mean = (len(one) - 1) / 2
    shared = sum((a - mean) * (b - mean) for a, b in zip(one, other, strict=True))
    return shared / (sum((a - mean) ** 2 for a in one) * sum((b - mean) ** 2 for b in other)) ** 0.5


def corpus(files: list[str], mesh: str, memory: float | None) -> None:
    print(f"{'program':<28}{'ms':>9}{'sent MB':>9}{'peak MB':>9}   best preset {'ms':>9}{'sent MB':>9}{'peak MB':>9}"
          f"{'CPU s':>8}")
    for path in files:
        outcome, seconds = _choose(read.read(path), Goal(memory), mesh)
        cells = [_figures(outcome.best.real)]
        fitting = [p for p in outcome.presets if memory is None or p.real.estimate.memory.peak <= memory]
        cells += [_figures(fitting[0].real)] if fitting else [f"{'none fits':>27}"]
        title = outcome.best.title if outcome.best.price is None else ""
        print(f"{Path(path).stem:<28}{cells[0]}               {cells[1]}{seconds:8.1f} {title}", flush=True)


def _figures(found: ProgramCost) -> str:
    e = found.estimate
    return f"{e.seconds * 1e3:9.3f}{e.sent / 1e6:9.1f}{e.memory.peak / 1e6:9.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("reference", "rank", "corpus"))
    parser.add_argument("rest", nargs="+")
    parser.add_argument("--mesh", default="data=2,model=4")
    parser.add_argument("--memory", type=float)
    parser.add_argument("--xla", action="store_true", help="with rank: count bytes in XLA's module too")
    args = parser.parse_args()
    if args.what == "reference":
        reference(Path(args.rest[0]), [int(n) for n in args.rest[1:]] or [1, 2, 8])
    elif args.what == "rank":
        rank(args.rest[0], int(args.rest[1]) if len(args.rest) > 1 else 100, args.xla)
    else:
        corpus(args.rest, args.mesh, args.memory)


if __name__ == "__main__":
    main()
