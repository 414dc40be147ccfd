"""``shlo autoshard``: finds how to split a program over a mesh, and writes it annotated or as a rules file."""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import TYPE_CHECKING, Any

from passes.cli.common import add_entry, add_input, add_output, check_output, read_input, whole_number, write_module
from passes.errors import EXIT_OK, UserError

if TYPE_CHECKING:
    from passes.autoshard.autoshard import Outcome
    from passes.autoshard.lowering import Choice
    from passes.autoshard.model import Model
    from passes.autoshard.search import Goal
    from passes.cost.device import Device
    from passes.cost.memory import Held
    from passes.program.read import Program
    from passes.sharding.mesh import Mesh


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's options."""
    add_input(parser)
    add_entry(parser)
    parser.add_argument("--mesh", metavar="AXES", help=(
        "the mesh, major to minor: data=2,model=4 (default: the one that the program has)"
    ))
    parser.add_argument("--devices", type=whole_number, metavar="N", help=(
        "choose the mesh too: N devices in one or two axes, data and model"
    ))
    parser.add_argument("--device", metavar="NAME", default="tpu_v5e", help=(
        "a preset (shlo cost --list-devices), or a .toml file with the figures of a device (default: tpu_v5e)"
    ))
    parser.add_argument("--topology", metavar="NAME", help=(
        "how devices are joined, in place of what the device says: ring, line, torus, switch, all_to_all"
    ))
    parser.add_argument("--memory", metavar="BYTES", help=(
        "what a plan may take of a device's memory, as in 12e9 (default: what the device has; none: any amount)"
    ))
    parser.add_argument("--objective", choices=("time", "bytes", "memory"), default="time", help=(
        "what to have least of: seconds, bytes sent, or bytes of memory (default: time)"
    ))
    parser.add_argument("--time-limit", type=float, metavar="SECONDS", default=20.0, help=(
        "when to stop searching, in CPU seconds (default: 20)"
    ))
    parser.add_argument("--certify", type=float, metavar="SECONDS", default=5.0, help=(
        "look for so many CPU seconds for a better plan, and a proof that none is much better (default: 5; 0: do not)"
    ))
    parser.add_argument("--lower", type=whole_number, metavar="N", default=4, help=(
        "how many of the plans that look best are lowered at most, to choose by what they really cost (default: 4)"
    ))
    parser.add_argument("--alternatives", type=whole_number, metavar="N", default=1, help=(
        "show the N best plans that differ, lowered; --rules-out plan.toml writes plan.2.toml, ... too (default: 1)"
    ))
    parser.add_argument("--loop-runs", type=whole_number, metavar="N", default=1, help=(
        "how often a loop runs whose text does not tell (default: 1)"
    ))
    parser.add_argument("--no-presets", action="store_true", help="do not lower the usual plans for comparison")
    parser.add_argument("--show-dimensions", action="store_true", help=(
        "print the dimensions that go together, on standard output, and choose nothing"
    ))
    parser.add_argument("--rules-out", metavar="FILE", help="where the plan goes as a rules file")
    parser.add_argument("--json", action="store_true", help="print the comparison on stderr as JSON")
    add_output(parser)


def run(args: argparse.Namespace) -> int:
    """Exit code 0: the annotated program is written."""
    from passes.autoshard.given import the_mesh
    from passes.cost import device as devices
    from passes.sharding.import_shardings import import_shardings
    from passes.sharding.rules_file import parse_mesh

    wanted, device = parse_mesh(args.mesh) if args.mesh else None, devices.load(args.device)
    goal = _goal(args, device.memory)
    check_output(args.rules_out or "-")
    program = read_input(args)
    import_shardings(program)
    if args.devices is not None:
        wanted = _best_mesh(args, program, device, goal)
    mesh = the_mesh(program, wanted)
    if args.show_dimensions:
        from passes.autoshard.autoshard import prepare

        print("\n".join(_dimension_lines(prepare(program, mesh, device, args.topology, args.loop_runs))))
        return EXIT_OK
    from passes.autoshard.autoshard import choose
    from passes.sharding.annotate import annotate
    from passes.sharding.rules_file import parse

    start = time.monotonic()
    outcome = choose(
        program, mesh, device, goal, topology=args.topology, lowered=max(1, args.lower, args.alternatives),
        alternatives=args.alternatives > 1, unknown_runs=args.loop_runs,
        compare=not args.no_presets, certify_seconds=args.certify,
    )
    seconds = time.monotonic() - start
    words = json.dumps(_to_json(outcome, goal, seconds)) if args.json else "\n".join(_lines(outcome, goal, seconds))
    print(words, file=sys.stderr)
    _refuse_unfit(outcome)
    annotate(program, parse(outcome.best.rules, outcome.best.title, mesh), args.entry)
    write_module(args, program)
    if args.rules_out is not None:
        from passes.program.write import write_output

        write_output(args.rules_out, outcome.best.rules)
        for number, other in enumerate(outcome.others if args.alternatives > 1 else [], 2):
            write_output(_numbered(args.rules_out, number), other.rules)
    return EXIT_OK


def _numbered(path: str, number: int) -> str:
    """Where an alternative goes: ``plan.2.toml`` beside ``plan.toml``."""
    stem, dot, ending = path.rpartition(".")
    return f"{stem}.{number}.{ending}" if dot else f"{path}.{number}"


def _best_mesh(args: argparse.Namespace, program: Program, device: Device, goal: Goal) -> Mesh:
    from passes.autoshard.autoshard import mesh_shapes, ranked_meshes
    from passes.autoshard.given import mesh_text
    from passes.cli.cost import duration, quantity
    from passes.cli.tables import align
    from passes.sharding.mesh import meshes

    if args.mesh is not None or meshes(program.module):
        raise UserError("--devices chooses the mesh, but there is one: leave out --devices")
    if args.devices < 2:
        raise UserError(f"--devices takes 2 or more, not {args.devices}")
    ranked = ranked_meshes(
        program, mesh_shapes(args.devices), device, goal, topology=args.topology, unknown_runs=args.loop_runs
    )
    cells = [["mesh", "time", "sent", "memory"]]
    cells += [
        [mesh_text(mesh), duration(p.seconds), f"{quantity(p.sent)}B", f"{quantity(p.peak)}B"]
        for mesh, p in ((mesh, found.price) for mesh, found in ranked)
    ]
    print("\n".join(align(cells)), file=sys.stderr)
    return ranked[0][0]


def _goal(args: argparse.Namespace, memory: float | None) -> Goal:
    from passes.autoshard.search import Goal

    limit = memory
    if args.memory == "none":
        limit = None
    elif args.memory is not None:
        try:
            limit = float(args.memory)
        except ValueError:
            raise UserError(f"--memory takes bytes, as in 12e9, or none, not '{args.memory}'") from None
    return Goal(limit, args.objective, args.time_limit)


def _refuse_unfit(outcome: Outcome) -> None:
    """Says what the least memory is that any plan takes, and what takes it."""
    if outcome.fits:
        return
    from passes.cli.cost import quantity

    memory, limit = outcome.best.real.estimate.memory, outcome.goal.limit
    what = "arguments" if memory.arguments > memory.peak / 2 else "temporaries"
    by_title: dict[str, list[int]] = {}
    for held in memory.held:
        by_title.setdefault(_title(held, outcome), []).append(held.bytes)
    most = sorted(by_title.items(), key=lambda item: -sum(item[1]))[:3]
    named = ", ".join(
        f"{quantity(sum(sizes))}B of {title}" + (f" ({len(sizes)} values)" if len(sizes) > 1 else "")
        for title, sizes in most
    )
    raise UserError(
        f"no plan was found that fits into {quantity(limit or 0)}B: the least memory is {quantity(memory.peak)}B, "
        f"{quantity(memory.arguments)}B of arguments and {quantity(memory.temporaries)}B of temporaries; most are "
        f"{what}: {named}"
    )


def _title(held: Held, outcome: Outcome) -> str:
    """A value in memory by its argument, or by the op that made it."""
    from passes.program import entry

    if held.node is not None:
        return str(held.node.name).removeprefix("stablehlo.")
    graph = outcome.best.real.estimate.graph
    return entry.arguments(entry.find_entry(graph.program))[graph.entry.arguments.index(held.value)].name


def _dimension_lines(model: Model) -> list[str]:
    dimensions = model.dimensions
    axes: dict[int, list[str]] = {}
    for colour, axis in model.actions:
        axes.setdefault(colour, []).append(model.mesh.axes[axis][0])
    factors: dict[int, int] = {}
    for use in dimensions.uses:
        for colour in use.factors:
            factors[colour] = factors.get(colour, 0) + 1
    cells = [["size", "in ops", "axes that divide it", "where"]]
    ranked = sorted(
        (c for c in range(len(dimensions.sizes)) if dimensions.titles[c]), key=lambda c: (-factors.get(c, 0), c)
    )
    for c in ranked:
        where = dimensions.titles[c]
        more = f" and {len(where) - 4} more" if len(where) > 4 else ""
        cells.append([
            str(dimensions.sizes[c]), f"{factors.get(c, 0):,}", ", ".join(axes.get(c, [])), ", ".join(where[:4]) + more,
        ])
    widths = [max(len(row[i]) for row in cells) for i in range(3)]
    return [
        "  ".join([row[0].rjust(widths[0]), row[1].rjust(widths[1]), row[2].ljust(widths[2]), row[3]]) for row in cells
    ]


def _lines(outcome: Outcome, goal: Goal, seconds: float) -> list[str]:
    from passes.autoshard.lowering import describe
    from passes.cli.cost import duration, quantity
    from passes.cli.tables import align

    best = outcome.best
    lines = [f"{outcome.considered:,} plans in {seconds:.1f} s; {best.title}:"]
    lines += [f"  {line}" for line in describe(outcome.model, best.plan)] if best.price is not None else []
    cells = [["plan", "time", "computing", "collectives", "sent", "memory", "arguments", ""]]
    for choice in sorted([best, *outcome.others, *(p for p in outcome.presets if p is not best)],
                         key=lambda c: c.real.estimate.seconds):
        e = choice.real.estimate
        fits = goal.limit is None or e.memory.peak <= goal.limit
        mark = ("chosen" if choice is best else "") if fits else "does not fit"
        cells.append([
            choice.title, duration(e.seconds), duration(e.local), duration(e.communication), f"{quantity(e.sent)}B",
            f"{quantity(e.memory.peak)}B", f"{quantity(e.memory.arguments)}B", mark,
        ])
    lines += align(cells)
    lines += _certainty(outcome)
    together: dict[str, list[str]] = {}
    for name, reason in outcome.refused.items():
        together.setdefault(reason, []).append(f"preset:{name}")
    lines += [f"not compared: {', '.join(names)}: {reason}" for reason, names in together.items()]
    return lines


def _certainty(outcome: Outcome) -> list[str]:
    from passes.autoshard.certificate import value_of
    from passes.cli.cost import duration, quantity

    certificate, objective = outcome.certificate, outcome.goal.objective
    if certificate is None:
        return []
    least = duration(certificate.bound) if objective == "time" else f"{quantity(certificate.bound)}B"
    takes = {"time": "takes less than", "bytes": "sends less than", "memory": "takes less memory than"}[objective]
    within = f" within {quantity(outcome.goal.limit)}B" if outcome.goal.limit and objective != "memory" else ""
    gap = certificate.gap(value_of(outcome.goal, certificate.best.price))
    said = "is optimal" if gap < 1e-6 else f"is within {gap:.1%} of optimal"
    return [
        f"by the model, no plan{within} {takes} {least}: the best one it knows {said} "
        f"({certificate.nodes:,} beginnings of plans looked at)"
    ]


def _to_json(outcome: Outcome, goal: Goal, seconds: float) -> dict[str, Any]:
    from passes.autoshard.lowering import describe

    def plan(choice: Choice) -> dict[str, Any]:
        e = choice.real.estimate
        return {
            "title": choice.title, "seconds": e.seconds, "local": e.local, "collectives": e.communication,
            "sent": e.sent, "peak": e.memory.peak, "arguments": e.memory.arguments,
            "predicted": None if choice.price is None else {
                "seconds": choice.price.seconds, "sent": choice.price.sent, "peak": choice.price.peak,
            },
            "actions": describe(outcome.model, choice.plan) if choice.price is not None else [], "rules": choice.rules,
        }

    return {
        "search_seconds": seconds, "considered": outcome.considered, "limit": goal.limit,
        "best": plan(outcome.best), "others": [plan(c) for c in outcome.others],
        "presets": [plan(c) for c in outcome.presets], "refused": outcome.refused,
        "objective": outcome.goal.objective,
        "bound": None if outcome.certificate is None else outcome.certificate.bound,
    }
