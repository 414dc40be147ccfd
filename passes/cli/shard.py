"""``shlo shard FILE --rules rules.toml``: annotates the entry function and propagates shardings over the program."""

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
from passes.cli.execution import add_verify, copy_of, prove
from passes.errors import EXIT_OK, UserError

if TYPE_CHECKING:
    from passes.program.read import Program
    from passes.sharding.propagate import PropagateOptions, PropagateReport

# How many warnings of one kind are printed in full.
_LISTED = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's options."""
    add_input(parser)
    add_entry(parser)
    add_rules(parser, (
        "the mesh, the shardings of arguments, results and intermediates, and rules of custom calls and composites, as "
        "TOML; without it the module's own annotations are propagated, in whichever spelling"
    ))
    parser.add_argument("--names", nargs="?", const="signature", choices=("signature", "all"), metavar="WHICH", help=(
        "only list arguments and results the way a rules file selects them; =all lists intermediates too"
    ))
    parser.add_argument("--no-propagate", action="store_true", help="write the annotations of the rules file only")
    add_propagation(parser)
    parser.add_argument("--keep-sharding-rules", action="store_true", help="leave sdy.sharding_rule on the operations")
    parser.add_argument("--summary", action="store_true", help=(
        "print arguments, results, their shardings and bytes per device on standard error"
    ))
    add_output(parser)
    add_verify(parser)


def add_propagation(parser: argparse.ArgumentParser) -> None:
    """Adds how to propagate; `propagation_options` reads it."""
    parser.add_argument("--conservative", action="store_true", help="propagate nothing that would split an axis")
    parser.add_argument("--strategy", choices=("aggressive", "basic", "basic-then-aggressive"), default="aggressive",
                        help=("where two dimensions want an axis, basic stops it at the whole op and aggressive (the "
                              "default) only at tensors that have both"))


def propagation_options(args: argparse.Namespace, **more: bool) -> PropagateOptions:
    """How the options say to propagate; ``more`` are further fields of `PropagateOptions`."""
    from passes.sharding.propagate import PropagateOptions

    return PropagateOptions(conservative=args.conservative, strategy=args.strategy, **more)


def run(args: argparse.Namespace) -> int:
    """Exit code 0: the program is written, with warnings on standard error where something was not as asked."""
    if args.names is not None:
        from passes.sharding.names import listing

        print("\n".join(listing(read_input(args), args.entry, inside=args.names == "all")))
        return EXIT_OK
    if args.no_propagate and args.rules is None:
        raise UserError("--no-propagate without --rules would change nothing; give one of them")
    if args.file == "-" and args.rules == "-":
        raise UserError("the module and the rules file cannot both come from standard input")
    original, program = _annotated(args)
    if not args.no_propagate:
        from passes.sharding.propagate import propagate

        options = propagation_options(args, keep_sharding_rules=args.keep_sharding_rules, reshards=False)
        _warn(propagate(program, options, entry=args.entry))
    if original is not None:
        # XLA partitions what was annotated, which shares nothing with our own partitioner.
        prove(args, original, program, entry=args.entry, xla_partition=True)
    write_module(args, program)
    if args.summary:
        from passes.sharding.summary import summarize

        print("\n".join(summarize(program, args.entry).lines()), file=sys.stderr)
    return EXIT_OK


def _annotated(args: argparse.Namespace) -> tuple[Program | None, Program]:
    """The program as it was, if it is to be verified, and with the annotations of the rules file.

    The rules file is read first: it is small and most often wrong.
    """
    rules = read_rules(args)
    original, program = _read(args)
    if rules is not None:
        annotated(args, program, rules)
    return original, program


def _read(args: argparse.Namespace) -> tuple[Program | None, Program]:
    """The program as it was, if it is to be verified, and with its annotations in plain ``sdy``."""
    program = read_input(args)
    original = copy_of(program) if args.verify else None
    from passes.sharding.import_shardings import import_shardings

    import_shardings(program)
    return original, program


def _warn(report: PropagateReport) -> None:
    unruled = [f"{where}: warning: {text}" if where else f"warning: {text}" for where, text in report.unruled]
    dropped = [
        f"{d.where}: warning: {d}; replicated there" if d.where else f"warning: {d}; replicated there"
        for d in report.dropped
    ]
    for warnings in (unruled, dropped):
        for line in warnings[:_LISTED]:
            print(line, file=sys.stderr)
        if len(warnings) > _LISTED:
            print(f"warning: and {len(warnings) - _LISTED} more like the last", file=sys.stderr)
    for line in report.advice():
        print(line, file=sys.stderr)
