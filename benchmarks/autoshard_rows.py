"""`shlo autoshard` on published models, meshes and memory limits: one record a row, beside what experts would write.

  python benchmarks/autoshard_models/write.py FOLDER            once; needs jax
  python benchmarks/autoshard_rows.py FOLDER [--seconds N] [--resume FILE.jsonl] [--match TEXT] [--again]
  python benchmarks/autoshard_rows.py --write                   the table of docs/autoshard.md, from the records
  python benchmarks/autoshard_rows.py --plan 'CASE'             prints the rules file that was found for a row
  python benchmarks/autoshard_rows.py --plan 'CASE' --expert TITLE     one that it is compared with

A row is a model on a mesh of TPU v5e under a limit: what a device has, or little more than fully sharded data
parallelism takes (its arguments and 1.1 times its temporaries). The answer is compared with the presets of the package
and with the plans of expert_plans.py that fit, by their cost as lowered. Then the same plan is laid on the model's
small size and a mesh of 8 devices with as many axes, executed, and compared with the original.

  right    as the package compares plans, in which times within 1 % are equal, none that fits is better: none is faster
           by more, and none that is not slower by more sends fewer bytes; equal when executed
  worse    one is faster by more than 1 %, or sends fewer bytes in time that is equal
  unfit    no plan fits, ours or an expert's
  refused  even in shards over all devices the arguments alone exceed the limit, or they do not divide
  wrong    not equal when executed
"""

from __future__ import annotations

import argparse
import functools
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.case_pool import Case, add_options, records, run, serve  # noqa: E402
from benchmarks.expert_plans import plans  # noqa: E402
from passes.autoshard.autoshard import Outcome, choose, prepare  # noqa: E402
from passes.autoshard.certificate import certify, value_of  # noqa: E402
from passes.autoshard.lowering import copy_of, describe, pinned_text  # noqa: E402
from passes.autoshard.plans import Plan  # noqa: E402
from passes.autoshard.search import TIE, Found, Goal  # noqa: E402
from passes.cost import device  # noqa: E402
from passes.cost.program_cost import ProgramCost, cost  # noqa: E402
from passes.errors import UserError  # noqa: E402
from passes.execute.verify import verify  # noqa: E402
from passes.partition.partition import partition  # noqa: E402
from passes.program import read, write  # noqa: E402
from passes.sharding import rules_file  # noqa: E402
from passes.sharding.annotate import annotate  # noqa: E402
from passes.sharding.mesh import Mesh  # noqa: E402

SMALL = Path(__file__).parent / "autoshard_models" / "small"
DEVICE = device.load("tpu_v5e")
# CPU seconds; the first are more than any search here takes.
SEARCH_SECONDS, CERTIFY_SECONDS = 180.0, 3.0
# Figures are equal up to this factor.
SAME = 1.0005
# Model -> which expert plans there are for it, and its small size; those of many ops last.
FAMILIES = {
    "llama3_8b": ("dense", "llama3"), "mixtral_8x7b": ("mixture", "mixtral"),
    "graph_network": ("graph", "graph_network"), "llama2_7b_decode": ("decode", "decode"), "vit_h": ("vision", "vit"),
    "gpt_6_7b": ("dense", "gpt"), "deepseek_v3": ("mixture", "deepseek"), "llama2_7b": ("dense", "llama2"),
    "llama3_70b": ("dense", "llama3"), "gpt_1_3b": ("dense", "gpt"), "gpt_39b": ("dense", "gpt"),
    "unet": ("vision", "unet"), "wide_resnet": ("vision", "wide_resnet"), "t32": ("dense", "t32"),
    "llama3_70b_unrolled": ("dense", "llama3_unrolled"),
}
MESHES = {
    "2x4": "data=2,model=4", "16x16": "data=16,model=16", "4x8": "data=4,model=8", "2x4x8": "pod=2,data=4,model=8",
    "8x8": "data=8,model=8",
}
# Hours a row, or nothing to see: eighty unrolled layers are for the largest mesh.
ONLY = {"llama3_70b_unrolled": ("16x16",)}
LIMITS = ("tight", "device")
# The smaller mesh of 8 devices for a mesh of so many axes.
REDUCED = {2: (2, 4), 3: (2, 2, 2)}
# What the tight limit is taken from, the first there is.
STORED = ("FSDP", "edges + FSDP", "expert + FSDP")


def cases(folder: str) -> Iterator[list[Case]]:
    """Chunks of rows, each about one model on one mesh; every model on a mesh before the next mesh."""
    for mesh in MESHES:
        for model in FAMILIES:
            if mesh in ONLY.get(model, MESHES):
                yield [
                    {"case": f"{model} {mesh} {limit}", "model": model, "mesh": mesh, "limit": limit, "folder": folder}
                    for limit in LIMITS
                ]


def text_path(folder: str, model: str, mesh: Mesh) -> str:
    return str(Path(folder) / f"{model}_{mesh.device_count}.mlir")


@functools.lru_cache(maxsize=1)
def competitors(folder: str, model: str, mesh: Mesh) -> tuple[dict[str, ProgramCost], dict[str, str], float]:
    """The plans of experts as lowered, why others are none for this program, and the CPU seconds that took."""
    start = time.process_time()
    listed = list(plans(FAMILIES[model][0], mesh))
    listed += [(f"preset:{name}", text) for name, text in rules_file.presets().items()]
    found, refused = {}, {}
    for title, text in listed:
        program = read.read(text_path(folder, model, mesh))
        try:
            annotate(program, rules_file.parse(text, title, mesh))
            found[title] = cost(program, DEVICE)
        except UserError as error:
            refused[title] = error.message.splitlines()[0]
    return found, refused, time.process_time() - start


def judge(case: Case) -> Case:
    mesh = rules_file.parse_mesh(MESHES[case["mesh"]])
    experts, refused, seconds = competitors(case["folder"], case["model"], mesh)
    stored = next((experts[title] for title in STORED if title in experts), None)
    if stored is None:
        return {"verdict": "refused", "reason": f"no plan that stores all in shards divides: {refused}"}
    memory = stored.estimate.memory
    limit = float(memory.arguments + memory.results + 1.1 * memory.temporaries)
    if case["limit"] == "device":
        limit = DEVICE.memory
        if memory.arguments > limit:
            return {"verdict": "refused", "reason": f"arguments in shards take {memory.arguments / 1e9:.1f} GB"}
    goal = Goal(limit, seconds=SEARCH_SECONDS)
    _forget_peak()
    program = read.read(text_path(case["folder"], case["model"], mesh))
    cpu, wall = time.process_time(), time.monotonic()
    outcome = choose(program, mesh, DEVICE, goal, certify_seconds=0.0)
    cpu, wall = time.process_time() - cpu, time.monotonic() - wall
    about = {
        "bytes_limit": limit, "search_cpu": round(cpu, 1), "search_wall": round(wall, 1), "peak_rss": _peak(),
        "experts_cpu": round(seconds, 1), "considered": outcome.considered, "ours": _figures(outcome.best.real),
        "title": outcome.best.title, "actions": describe(outcome.model, outcome.best.plan),
        "rules": outcome.best.rules,
        "experts": {title: _figures(real) for title, real in experts.items()}, "refused": refused,
        **_certainty(outcome, goal), **_executed(case, outcome, mesh),
    }
    return {**about, **_verdict(about)}


def _figures(real: ProgramCost) -> dict[str, Any]:
    e = real.estimate
    return {"seconds": e.seconds, "local": e.local, "sent": e.sent, "peak": e.memory.peak,
            "arguments": e.memory.arguments, "redundancy": real.redundancy}


def _certainty(outcome: Outcome, goal: Goal) -> dict[str, Any]:
    """How good the best plan can be that the model knows, and whether looking for that found a better one."""
    if not any(choice.price for choice in (outcome.best, *outcome.others)):
        return {}
    [said, plan] = min(
        ((choice.price, choice.plan) for choice in (outcome.best, *outcome.others) if choice.price is not None),
        key=lambda found: goal.rank(found[0]),
    )
    certificate = certify(outcome.model, Found(plan, said), goal, CERTIFY_SECONDS)
    if not goal.fits(certificate.best.price):
        return {}
    best = value_of(goal, certificate.best.price)
    own = outcome.best.price
    return {"gap": certificate.gap(best), "bound": certificate.bound, "nodes": certificate.nodes,
            "said": None if own is None else {"seconds": own.seconds, "sent": own.sent, "peak": own.peak},
            "found_better": max(0.0, value_of(goal, said) / best - 1)}


def _executed(case: Case, outcome: Outcome, mesh: Mesh) -> dict[str, Any]:
    """What the plan says of the small model on 8 devices."""
    path = str(SMALL / f"{FAMILIES[case['model']][1]}.mlir")
    sizes = REDUCED[len(mesh.axes)]
    small = Mesh(tuple((name, size) for (name, _), size in zip(mesh.axes, sizes, strict=True)))
    try:
        report, how = _laid(path, outcome.best.rules, small), "same rules"
    except UserError:
        # Constraints name ops by their sizes and positions, so they are made anew; what does not divide is left out.
        plan, rules = _translated(outcome, path, small)
        report, how = _laid(path, rules, small), f"{len(plan)} of {len(outcome.best.plan)} actions"
    return {"equal": report.ok, "executed": report.summary(), "laid": how}


def _translated(outcome: Outcome, path: str, mesh: Mesh) -> tuple[Plan, str]:
    """The plan for the program at ``path``, whose arguments have the same names, and its rules file."""
    program = read.read(path)
    source = write.to_bytecode(program.module)
    model = prepare(copy_of(source, program), mesh, DEVICE)
    titles = [set(names) for names in model.dimensions.titles]
    plan: Plan = ()
    for colour, axis in outcome.best.plan:
        names = outcome.model.dimensions.titles[colour]
        same = max(range(len(titles)), key=lambda c: len(titles[c].intersection(names)))
        if (same, axis) in model.actions and (same, axis) not in plan:
            plan = (*plan, (same, axis))
    return plan, pinned_text(source, program, model, Found(plan, model.price(plan)))


def _laid(path: str, rules: str, mesh: Mesh) -> Any:
    program = read.read(path)
    annotate(program, rules_file.parse(rules, "<found>", mesh))
    report = partition(program)
    return verify(read.read(path), program, report.side_table)


def _verdict(about: dict[str, Any]) -> dict[str, Any]:
    limit, ours = about["bytes_limit"], about["ours"]
    fitting = {title: e for title, e in about["experts"].items() if e["peak"] <= limit}
    best = min(fitting, key=lambda title: fitting[title]["seconds"], default=None)
    found = {"best": best, "fits": ours["peak"] <= limit}
    if not about["equal"]:
        return {**found, "verdict": "wrong", "reason": about["executed"]}
    if not found["fits"]:
        return {**found, "verdict": "unfit" if best is None else "worse",
                "reason": f"{ours['peak'] / 1e9:.2f} GB of {limit / 1e9:.2f}; of experts fits {best}"}
    # Time by the fastest, bytes by the one that sends least of those that are not slower by more than what is equal.
    near = [title for title, e in fitting.items() if e["seconds"] <= (1 + TIE) * ours["seconds"]]
    sparing = min(near, key=lambda title: fitting[title]["sent"], default=None)
    rivals = {"seconds": (best, 1 + TIE), "sent": (sparing, SAME)}
    worse = {key: title for key, (title, same) in rivals.items() if title and ours[key] > same * fitting[title][key]}
    reason = ", ".join(f"{ours[key] / fitting[title][key]:.3f}x the {key} of {title}" for key, title in worse.items())
    return {**found, "best": next(iter(worse.values()), best), "verdict": "worse" if worse else "right",
            "reason": reason}


def _forget_peak() -> None:
    """The peak of this process's memory is counted anew from here."""
    Path("/proc/self/clear_refs").write_text("5")


def _peak() -> int:
    """Bytes that this process occupied at its peak."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


# -- the table ---------------------------------------------------------------------------------------------------------

PAGE = ROOT / "docs" / "autoshard.md"
BEGIN, END = "<!-- Written by benchmarks/autoshard_rows.py --write. -->", "<!-- End of what it writes. -->"
HEAD = """\
| model | mesh | limit GB | ms | sent GB | peak GB | best expert plan | ms | sent GB | of optimal | search CPU s |
|---|---|---|---|---|---|---|---|---|---|---|"""


def table(found: list[Case]) -> str:
    """The rows as a table, with a summary in front."""
    rows = [r for r in found if "ours" in r]
    counts = Counter(r["verdict"] for r in rows)
    ways = Counter(_way(r["ours"], r["experts"][r["best"]]) for r in rows if r["verdict"] == "right")
    lines = [
        f"{len(rows)} rows: {counts['right']} where no expert plan is better ({ways['both']} with no more time and no "
        f"more bytes than the fastest, {ways['faster']}",
        f"faster by more than 1 % with more bytes, {ways['sparing']} with fewer bytes in time within 1 %), "
        f"{counts['worse']} where one is better, {counts['unfit']} where",
        f"no plan fits; {sum(r['equal'] for r in rows)} are equal when executed.",
        "", HEAD, *map(_row, rows),
    ]
    return "\n".join(lines)


def _way(ours: dict[str, Any], best: dict[str, Any]) -> str:
    """In which way a plan is no worse than the fastest of an expert."""
    if ours["seconds"] > SAME * best["seconds"]:
        return "sparing"
    return "faster" if ours["sent"] > SAME * best["sent"] else "both"


def _row(r: Case) -> str:
    ours, best = r["ours"], r["best"]
    expert = r["experts"][best] if best else None
    cells = [
        r["model"] + ("" if r["title"] == "autoshard" else f" ({r['title']})"), r["mesh"],
        f"{r['bytes_limit'] / 1e9:.2f} {r['limit']}", *_cells(ours, expert),
        f"{ours['peak'] / 1e9:.2f}" + ("" if r["fits"] else " (does not fit)"), best or "none fits",
        *(_cells(expert, None) if expert else ("", "")),
        f"{r['gap']:.1%}" if r["fits"] and "gap" in r else "", f"{r['search_cpu']:.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def _cells(figures: dict[str, Any], against: dict[str, Any] | None) -> list[str]:
    """Milliseconds and GB sent; bold where there is more than ``against`` has."""
    found = []
    for key, scale in (("seconds", 1e3), ("sent", 1e-9)):
        text = f"{figures[key] * scale:,.4g}" if figures[key] * scale < 1000 else f"{figures[key] * scale:,.0f}"
        found.append(f"**{text}**" if against and figures[key] > SAME * against[key] else text)
    return found


def write_table(found: list[Case]) -> None:
    """Puts the table into docs/autoshard.md, in place of the one there."""
    page = PAGE.read_text()
    before, _, rest = page.partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n\n{table(found)}\n\n{END}{rest.partition(END)[2]}")


def print_plan(args: argparse.Namespace) -> None:
    """The rules file of a row, or an expert's for it."""
    if args.expert is None:
        print(records(args.resume)[args.plan]["rules"])
        return
    model, mesh, *_ = args.plan.split()
    print(dict(plans(FAMILIES[model][0], rules_file.parse_mesh(MESHES[mesh])))[args.expert])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", default="autoshard_models", help="where autoshard_models/write.py wrote")
    parser.add_argument("--write", action="store_true", help="write the table of docs/autoshard.md and run nothing")
    parser.add_argument("--plan", metavar="CASE", help="print the rules file of a row")
    parser.add_argument("--expert", metavar="TITLE", help="with --plan: that of an expert plan")
    add_options(parser, "autoshard_rows.jsonl", case_seconds=1800)
    args = parser.parse_args()
    if args.plan:
        print_plan(args)
        return 0
    if args.worker:
        serve(judge)
        return 0
    order = [case for chunk in cases(args.folder) for case in chunk]
    if args.write:
        known = records(args.resume)
        write_table([known[case["case"]] for case in order if case["case"] in known])
        return 0
    found = run(cases(args.folder), args)
    verdicts = Counter(r["verdict"] for r in found)
    print(f"{len(found)} rows: " + ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items())))
    return 1 if set(verdicts) - {"right", "unfit", "refused"} else 0


if __name__ == "__main__":
    sys.exit(main())
