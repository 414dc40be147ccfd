"""``shlo bisect A [B]``: finds the op, or the pass, at which a program starts to compute something else."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from passes.cli.common import add_entry, add_rules, annotated, read_rules
from passes.cli.execution import add_execution, make_executor
from passes.errors import EXIT_MISMATCH, EXIT_OK, UserError, Where

if TYPE_CHECKING:
    from collections.abc import Iterator

    from passes.execute.findings import Finding, Outcome
    from passes.execute.store import Store
    from passes.partition.side_table import SideTable
    from passes.program.read import Program

_FORMS = """\
shlo bisect A --rules R        partitions A (annotated by R, or as it is) and checks the per-device program op by op
shlo bisect A B                checks the global program B, a transformed A, values matched by content
shlo bisect A B --side-table T checks per-device program B; A and B as shlo partition --trace A -o B wrote them
shlo bisect A --pass-pipeline P  names the first pass of P that changes a result, and the op in what it left
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's options."""
    parser.epilog = _FORMS
    parser.add_argument("original", metavar="A", help="the program that is right; - is standard input")
    parser.add_argument("transformed", metavar="B", nargs="?", help="the program that should compute the same")
    add_entry(parser)
    add_rules(parser, "a rules file to annotate A with before it is partitioned")
    parser.add_argument("--side-table", metavar="FILE", help="B is a traced per-device program and FILE its side table")
    parser.add_argument("--pass-pipeline", metavar="PIPELINE", help="run these passes on A, one by one")
    parser.add_argument("--mode", choices=("isolated", "accumulated"), default="isolated", help=(
        "isolated: ops of a per-device program take golden values (the default); accumulated: what ops before them made"
    ))
    parser.add_argument("--golden", metavar="DIR", help="keep golden values in DIR for the next time")
    parser.add_argument("--extract", metavar="DIR", help="write the op found, its inputs and outputs as files into DIR")
    add_execution(parser)
    parser.add_argument("--level", metavar="LEVEL", help=(
        "how equal the results of global programs must be: bit-equal (the default), ulp:N or close"
    ))
    parser.add_argument("--json", action="store_true", help="print what was found as JSON")


def run(args: argparse.Namespace) -> int:
    """Exit code 0: no difference; 2: one was found."""
    form = _form(args)
    with _store(args) as store:
        outcome, report = form(args, store)
        if outcome.finding is not None:
            report |= _extracted(args, outcome.finding)
    if args.json:
        from passes.execute.report import finite

        print(json.dumps(finite({**report, **_to_json(outcome)}), indent=1))
    else:
        print("\n".join(_lines(outcome, report)))
    return EXIT_OK if outcome.finding is None and "pass" not in report else EXIT_MISMATCH


_Report = dict[str, Any]


def _form(args: argparse.Namespace) -> Any:
    """What the options ask for; they are checked before anything is read."""
    if args.pass_pipeline is not None:
        if args.transformed or args.rules or args.mesh or args.side_table:
            raise UserError("--pass-pipeline takes A alone: no B, --rules, --mesh or --side-table")
        return _pipeline
    if args.transformed is not None:
        if args.rules or args.mesh:
            raise UserError("--rules is for A alone, which is then partitioned; B is a program of its own")
        return _traced if args.side_table else _programs
    if args.side_table:
        raise UserError("--side-table describes a per-device program B; give that too")
    return _partitioned


@contextmanager
def _store(args: argparse.Namespace) -> Iterator[Store]:
    from passes.execute.store import Store

    if args.golden is not None:
        yield Store(Path(args.golden))
        return
    with tempfile.TemporaryDirectory(prefix="shlo-bisect-") as folder:
        yield Store(Path(folder))


def _partitioned(args: argparse.Namespace, store: Store) -> tuple[Outcome, _Report]:
    from passes.partition.pad_dimensions import Padding
    from passes.partition.partition import partition
    from passes.program.read import parse, read
    from passes.sharding.import_shardings import import_shardings

    rules = read_rules(args)
    program = read(args.original)
    import_shardings(program)
    if rules is not None:
        annotated(args, program, rules, Padding().allowed)
    report = partition(program, args.entry, trace=True)
    assert report.numbered is not None
    return _search(args, store, parse(report.numbered, args.original), program, report.side_table)


def _traced(args: argparse.Namespace, store: Store) -> tuple[Outcome, _Report]:
    from passes.partition.side_table import SideTable
    from passes.program.read import read

    numbered, traced = read(args.original), read(args.transformed)
    try:
        table = SideTable.from_json(Path(args.side_table).read_text(), args.side_table)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot read the side table: {reason}", Where(args.side_table)) from None
    return _search(args, store, numbered, traced, table)


def _search(
    args: argparse.Namespace, store: Store, numbered: Program, traced: Program, table: SideTable
) -> tuple[Outcome, _Report]:
    from passes.cli.progress import progress
    from passes.execute.bisect import search

    with progress("comparing ops") as report:
        found = search(
            numbered, traced, table, inputs=args.inputs, seed=args.seed, mode=args.mode,
            executor=make_executor(args), store=store, progress=report,
        )
    return found, {}


def _programs(args: argparse.Namespace, store: Store) -> tuple[Outcome, _Report]:
    from passes.program.read import read

    return _compared(args, store, read(args.original), read(args.transformed)), {}


def _compared(args: argparse.Namespace, store: Store, original: Program, transformed: Program) -> Outcome:
    from passes.cli.progress import progress
    from passes.execute.bisect_programs import search_programs
    from passes.execute.compare import BIT_EQUAL, parse_level

    with progress("executing ops") as report:
        return search_programs(
            original, transformed, store=store, entry=args.entry, inputs=args.inputs, seed=args.seed,
            level=parse_level(args.level) if args.level else BIT_EQUAL, executor=make_executor(args), progress=report,
        )


def _pipeline(args: argparse.Namespace, store: Store) -> tuple[Outcome, _Report]:
    from passes.execute.bisect_programs import search_pipeline
    from passes.execute.compare import BIT_EQUAL, parse_level
    from passes.execute.findings import Outcome
    from passes.program.read import read

    executor = make_executor(args)
    found = search_pipeline(
        read(args.original), args.pass_pipeline, entry=args.entry, inputs=args.inputs, seed=args.seed,
        level=parse_level(args.level) if args.level else BIT_EQUAL, executor=executor,
        say=lambda line: print(line, file=sys.stderr),
    )
    if found is None:
        return Outcome(None, 0, (), f"{executor.title}, every pass on its own"), {}
    named = {"pass": {"index": found.index, "text": found.text, "comparison": found.comparison.to_json()}}
    if not found.same_signature:
        return Outcome(None, 0, (), f"{executor.title}"), named
    return _compared(args, store, found.before, found.after), named


def _extracted(args: argparse.Namespace, finding: Finding) -> _Report:
    if args.extract is None:
        return {}
    from passes.execute.extract import extract

    if finding.reproduction is None:
        raise UserError(f"nothing to extract: {finding.op_name} is no op that runs by itself")
    return {"extracted": [str(path) for path in extract(finding.reproduction, Path(args.extract))]}


def _to_json(outcome: Outcome) -> _Report:
    return {
        "ok": outcome.finding is None,
        "how": outcome.how,
        "checked": outcome.checked,
        "drifted": [vars(place) for place in outcome.drifted],
        "finding": outcome.finding and outcome.finding.to_json(),
    }


def _lines(outcome: Outcome, report: _Report) -> list[str]:
    from passes.execute.report import describe

    found = outcome.finding
    lines: list[str] = []
    if "pass" in report:
        lines.append(f"first pass that changes a result: {report['pass']['text']}")
        if found is None:
            lines.append(f"    {report['pass']['comparison']['reason']}")
    if found is not None:
        compared = found.comparison
        lines += [found.headline(), *(describe(compared) if compared.first else [f"    {compared.reason}"])]
        lines += [f"also suspect, between it and the last right values: {place}" for place in found.suspects]
        lines += [f"note: {hint}" for hint in found.hints]
    if outcome.drifted:
        some = ", ".join(map(str, outcome.drifted[:3]))
        lines.append(f"note: {len(outcome.drifted)} ops amplify rounding and are right by themselves: {some}")
    lines += [f"wrote {path}" for path in report.get("extracted", ())]
    verdict = "no difference" if found is None and "pass" not in report else "a difference"
    counted = f" in {outcome.checked} values" if outcome.checked else ""
    return [*lines, f"{outcome.how}: {verdict}{counted}"]
