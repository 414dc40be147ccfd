"""``shlo report``: what a program costs, where and why, as one HTML page or as graphs for Model Explorer."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from passes.cli.common import (
    add_entry,
    annotated,
    check_output,
    whole_number,
)
from passes.cli.shard import add_propagation, propagation_options
from passes.errors import EXIT_OK, UserError

if TYPE_CHECKING:
    from passes.cost.program_cost import ProgramCost
    from passes.partition.side_table import SideTable
    from passes.program.read import Program
    from passes.report.difference import Difference
    from passes.report.subject import Settings, Subject
    from passes.sharding.rules import Rules


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's options."""
    parser.add_argument("files", metavar="FILE", nargs="*", default=["-"], help=(
        "an annotated program (it is partitioned first), a per-device one, or one for a single device; others are "
        "compared with the first, side by side"
    ))
    add_entry(parser)
    parser.add_argument("-o", dest="output", metavar="OUT.html", help=(
        "where the page goes (default: FILE with the ending .html; - is standard output)"
    ))
    parser.add_argument("--model-explorer", metavar="OUT.json", help=(
        "write graphs for Model Explorer instead, and what each op costs beside them as OUT.NAME.json"
    ))
    parser.add_argument("--rules", metavar="FILE", action="append", default=[], help=(
        "a rules file, or preset:NAME, to annotate the program with first; others are compared with the first"
    ))
    parser.add_argument("--mesh", metavar="AXES", help="the mesh in place of that of the rules file: data=2,model=4")
    parser.add_argument("--before", metavar="FILE", help="the program before it was transformed: show what changed")
    parser.add_argument("--pass-pipeline", "-p", metavar="TEXT", help=(
        "run these passes first, and show which ops they took out and why"
    ))
    parser.add_argument("-O", dest="optimize", action="store_true", help="the same with all optimizations")
    parser.add_argument("--side-table", metavar="FILE", help=(
        "of a per-device program: how its arguments and results lie (default: FILE.side.json if there is one)"
    ))
    parser.add_argument("--device", metavar="NAME", default="tpu_v5e", help=(
        "a preset (shlo cost --list-devices), or a .toml file with the figures of a device (default: tpu_v5e)"
    ))
    parser.add_argument("--topology", metavar="NAME", help=(
        "how devices are joined, in place of what the device says: ring, line, torus, switch, all_to_all"
    ))
    parser.add_argument("--loop-runs", type=whole_number, metavar="N", default=1, help=(
        "how often a loop runs whose text does not tell (default: 1)"
    ))
    add_propagation(parser)


def run(args: argparse.Namespace) -> int:
    """Exit code 0: the page or the graphs are written."""
    settings, plans = _settings(args), _plans(args)
    output = _output(args)
    check_output(output)
    title, rules = plans[0]
    found, difference = _subject(args, settings, args.files[0], rules)
    if args.model_explorer is not None:
        return _export(args.model_explorer, found)
    from passes.program.write import write_output
    from passes.report.data import page_data
    from passes.report.page import render

    others = {
        _title(args, file, name): _cost(args, settings, file, more)
        for number, file in enumerate(args.files) for name, more in plans if number or name != title
    }
    page = render(page_data(found, _title(args, args.files[0], title), others, difference))
    write_output(output, page)
    if output != "-":
        print(f"{output}: {len(page.encode()):,} bytes", file=sys.stderr)
    return EXIT_OK


def _output(args: argparse.Namespace) -> str:
    if args.model_explorer is not None:
        if args.output is not None:
            raise UserError("-o and --model-explorer exclude each other; each names what is written")
        return str(args.model_explorer)
    if args.output is not None:
        return str(args.output)
    return "-" if args.files[0] == "-" else str(Path(args.files[0]).with_suffix(".html").name)


def _settings(args: argparse.Namespace) -> Settings:
    from passes.cost import device
    from passes.cost.laws import check_topology
    from passes.report.subject import Settings

    check_topology(args.topology)
    return Settings(
        device.load(args.device), args.topology, args.loop_runs, args.entry, propagation_options(args)
    )


def _plans(args: argparse.Namespace) -> list[tuple[str, Rules | None]]:
    """The rules files with what they are called; one without rules if there are none."""
    from passes.sharding.rules_file import load, parse_mesh

    if args.mesh is not None and not args.rules:
        raise UserError("--mesh goes with --rules, whose mesh it replaces")
    mesh = parse_mesh(args.mesh) if args.mesh else None
    return [(name, load(name, mesh)) for name in args.rules] or [("", None)]


def _title(args: argparse.Namespace, file: str, rules: str) -> str:
    short = rules if rules.startswith("preset:") else Path(rules).stem
    return " ".join(part for part in (Path(file).name, short) if part)


def _subject(
    args: argparse.Namespace, settings: Settings, file: str, rules: Rules | None
) -> tuple[Subject, Difference | None]:
    from passes.program import read
    from passes.report.subject import subject
    from passes.sharding.explain import Explainer
    from passes.sharding.import_shardings import import_shardings

    program = read.read(file)
    difference = _changed(args, program)
    import_shardings(program)
    explainer = Explainer(program, args.entry)
    if rules is not None:
        explainer.annotated(annotated(args, program, rules))
    return subject(program, settings, explainer, _side_table(args, file)), difference


def _changed(args: argparse.Namespace, program: Program) -> Difference | None:
    """Runs the passes that are asked for; what they, or what came before, changed."""
    pipeline = "builtin.module(optimize)" if args.optimize else args.pass_pipeline
    if pipeline is None and args.before is None:
        return None
    from passes.pipeline import runner, textual
    from passes.program import read
    from passes.report.difference import Difference, counts

    if pipeline is None:
        return Difference(f"from {args.before}", counts(read.read(args.before)), counts(program))
    if args.before is not None:
        raise UserError("--before and passes to run exclude each other; each says what was before")
    before = counts(program)
    told = runner.run(program, textual.parse(pipeline), runner.RunOptions(note_removals=True))
    return Difference(pipeline, before, counts(program), told.statistics)


def _side_table(args: argparse.Namespace, file: str) -> SideTable | None:
    from passes.partition.side_table import SideTable
    from passes.program.read import read_bytes

    beside = Path(file).with_suffix(".side.json")
    if args.side_table is None and (file == "-" or not beside.is_file()):
        return None
    data, source = read_bytes(args.side_table or str(beside))
    return SideTable.from_json(data.decode(errors="replace"), source)


def _cost(args: argparse.Namespace, settings: Settings, file: str, rules: Rules | None) -> ProgramCost:
    from passes.cost.program_cost import cost
    from passes.program import read
    from passes.sharding.import_shardings import import_shardings

    program = read.read(file)
    import_shardings(program)
    if rules is not None:
        annotated(args, program, rules)
    return cost(
        program, settings.device, topology=settings.topology, entry_name=args.entry,
        unknown_runs=settings.unknown_runs,
    )


def _export(path: str, found: Subject) -> int:
    from passes.program.write import write_output
    from passes.report.model_explorer import files

    for name, text in files(found, Path(path)).items():
        write_output(name, text)
        print(f"{name}: {len(text.encode()):,} bytes", file=sys.stderr)
    return EXIT_OK
