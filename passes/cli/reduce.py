"""``shlo reduce``: makes a program as small as it can be while it still shows what a test looks for."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from passes.cli.common import (
    add_entry,
    add_input,
    add_output,
    add_rules,
    annotated,
    read_input,
    read_rules,
    write_module,
)
from passes.cli.execution import add_execution, make_executor
from passes.errors import EXIT_OK, UserError

if TYPE_CHECKING:
    from passes.execute.reduction.search import Predicate, Search
    from passes.program.read import Program
    from passes.sharding.rules import Rules

_TIMEOUT = 300
# Options whose values say what a reduction looks for, for telling one reduction from another.
_TELLING = ("test", "mismatch", "mismatch_partition", "crash", "error", "entry", "inputs", "seed", "level", "executor")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's options."""
    add_input(parser)
    add_entry(parser)
    tests = parser.add_argument_group("what the program must keep showing").add_mutually_exclusive_group(required=True)
    tests.add_argument("--test", metavar="COMMAND", help=(
        "COMMAND ends with exit code 0; {} in it is the file to look at (MLIR text). No shell is involved"
    ))
    tests.add_argument("--mismatch", metavar="PIPELINE", help="PIPELINE changes a result")
    tests.add_argument("--mismatch-partition", action="store_true", help=(
        "the per-device program gives another result; with the program's annotations, or those of --rules"
    ))
    tests.add_argument("--crash", metavar="PIPELINE", help=(
        "native code dies in PIPELINE, or does not end, in the same way as with FILE"
    ))
    tests.add_argument("--error", nargs=2, metavar=("REGEX", "PIPELINE"), help=(
        "PIPELINE ends in an error whose text has a match for REGEX"
    ))
    add_rules(parser, "a rules file to annotate the program with first")
    parser.add_argument("--state", metavar="DIR", help=(
        "keep what was found in DIR after each step; the same command goes on from there"
    ))
    parser.add_argument("--level", metavar="LEVEL", help="how equal results must be, as for shlo verify")
    add_output(parser)
    add_execution(parser)
    parser.set_defaults(timeout=_TIMEOUT)


def run(args: argparse.Namespace) -> int:
    """Exit code 0: the reduced program is written; 1: the test does not hold for the input."""
    if (args.rules is not None or args.mesh is not None) and not args.mismatch_partition:
        raise UserError("--rules and --mesh go with --mismatch-partition only")
    rules = read_rules(args)
    program = read_input(args)
    interesting = _predicate(args, program)
    reduced = _reduce_annotated(args, program, rules, interesting) if args.mismatch_partition else _reduce(
        args, program, interesting
    )
    write_module(args, reduced)
    return EXIT_OK


def _predicate(args: argparse.Namespace, program: Program) -> Predicate:
    from passes.execute.compare import parse_level
    from passes.execute.reduction import predicates

    execution = predicates.Execution(
        args.entry, args.inputs, args.seed, parse_level(args.level) if args.level else None, make_executor(args)
    )
    if args.test is not None:
        return predicates.command(args.test, args.timeout)
    if args.mismatch is not None:
        return predicates.changed_by_pipeline(args.mismatch, execution, args.timeout)
    if args.crash is not None:
        return predicates.dies(args.crash, program, args.timeout)
    if args.error is not None:
        pattern, pipeline = args.error
        return predicates.fails(pattern, pipeline, args.timeout)
    return predicates.changed_by_partitioning(execution)


def _reduce_annotated(
    args: argparse.Namespace, program: Program, rules: Rules | None, interesting: Predicate
) -> Program:
    """Reduces the program with a sharding on each op, so that what is cut off lies where it did."""
    from passes.execute.reduction.search import copy
    from passes.sharding.propagate import PropagateOptions, propagate

    if rules is not None:
        annotated(args, program, rules)
    spread = copy(program)
    propagate(spread, PropagateOptions(reshards=False), entry=args.entry)
    try:
        holds = interesting(copy(spread))
    except UserError:
        holds = False
    # Shardings that are all given may hide what shows when partitioning finds them.
    return _reduce(args, spread if holds else program, interesting)


def _reduce(args: argparse.Namespace, program: Program, interesting: Predicate) -> Program:
    from passes.execute.reduction.reduce import reduce
    from passes.execute.reduction.state import open_state
    from passes.program.walk import operations
    from passes.program.write import to_bytecode

    words = repr([(name, getattr(args, name)) for name in _TELLING])
    state = open_state(args.state, to_bytecode(program.module), words) if args.state is not None else None
    before = len(operations(program.module))
    progress = _Progress(sys.stderr is not None and sys.stderr.isatty())
    try:
        reduced = reduce(program, interesting, entry=args.entry, state=state, report=progress.show)
    finally:
        progress.clear()
    after = len(operations(reduced.module))
    print(f"{program.source}: {before} ops reduced to {after}; {progress.tries} programs tested", file=sys.stderr)
    return reduced


class _Progress:
    """One line on a terminal that says how far the reduction is; elsewhere nothing."""

    def __init__(self, shown: bool) -> None:
        self.shown = shown
        self.tries = 0

    def show(self, search: Search) -> None:
        """Tells of a program that was judged."""
        self.tries = search.tries
        if self.shown:
            size = search.size
            sys.stderr.write(f"\r{size.ops + size.constants} ops, {search.tries} programs tested\033[K")
            sys.stderr.flush()

    def clear(self) -> None:
        """Leaves the terminal's line to others."""
        if self.shown:
            sys.stderr.write("\r\033[K")
