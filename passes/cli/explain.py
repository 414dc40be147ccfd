"""``shlo explain FILE``: why a tensor is split as it is, and why there is a collective."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from passes.cli.common import add_entry, add_input, read_input
from passes.cli.shard import add_propagation, propagation_options
from passes.errors import EXIT_OK, UserError

if TYPE_CHECKING:
    from passes.errors import Where
    from passes.program.read import Program


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's options."""
    add_input(parser)
    add_entry(parser)
    parser.add_argument("--rules", metavar="FILE", help="a rules file to annotate the program with first")
    add_propagation(parser)
    what = parser.add_argument_group("what to explain", "each may be given several times")
    what.add_argument("--value", metavar="VALUE", action="append", default=[], help=(
        "a value as the text calls it: %%12, %%12#1, or @f%%12 for one of function @f"
    ))
    what.add_argument("--arg", metavar="NAME", action="append", default=[], help="an argument, by name or position")
    what.add_argument("--result", metavar="NAME", action="append", default=[], help="a result, by name or position")
    what.add_argument("--location", metavar="PLACE", action="append", default=[], help=(
        "what is computed at FILE:LINE, FILE:LINE:COLUMN or :LINE, or under the name a location carries"
    ))


def run(args: argparse.Namespace) -> int:
    """Exit code 0: the answer is on standard output."""
    if not (args.value or args.arg or args.result or args.location):
        raise UserError("nothing to explain; name it with --value, --arg, --result or --location")
    program, given_at = _annotated(args)
    from passes.sharding.explain import Explainer

    explainer = Explainer(program, propagation_options(args), args.entry, given_at)
    for text in args.value:
        explainer.ask_value(text)
    for kind, names in (("argument", args.arg), ("result", args.result)):
        for text in names:
            explainer.ask_named(kind, text)
    for text in args.location:
        explainer.ask_location(text)
    print("\n".join(explainer.answer()))
    return EXIT_OK


def _annotated(args: argparse.Namespace) -> tuple[Program, dict[tuple[str, int], Where]]:
    """The program, and the places in the rules file that say how its arguments and results lie."""
    if args.rules is None:
        return read_input(args), {}
    from passes.sharding.annotate import annotate
    from passes.sharding.rules_file import load

    rules = load(args.rules)
    program = read_input(args)
    report = annotate(program, rules, args.entry)
    groups = (("argument", report.arguments), ("result", report.results))
    return program, {(kind, a.index): a.where for kind, found in groups for a in found if a.where is not None}
