"""``shlo explain FILE``: why a tensor is split as it is, and why there is a collective (docs/explain.md)."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from passes.cli.common import add_entry, add_input, read_input, whole_number
from passes.cli.shard import add_propagation, propagation_options
from passes.errors import EXIT_OK, UserError

if TYPE_CHECKING:
    from passes.errors import Where
    from passes.partition.reasons import Reason, Source
    from passes.program.read import Program
    from passes.sharding.explain import Explainer
    from passes.sharding.mesh import Sharding


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's options."""
    add_input(parser)
    add_entry(parser)
    parser.add_argument("--rules", metavar="FILE", help="a rules file to annotate the program with first")
    add_propagation(parser)
    parser.add_argument("--full", action="store_true", help="print chains of many steps whole, not their ends only")
    what = parser.add_argument_group("what to explain", "each may be given several times")
    what.add_argument("--value", metavar="VALUE", action="append", default=[], help=(
        "a value as the text calls it: %%12, %%12#1, or @f%%12 for one of function @f"
    ))
    what.add_argument("--arg", metavar="NAME", action="append", default=[], help="an argument, by name or position")
    what.add_argument("--result", metavar="NAME", action="append", default=[], help="a result, by name or position")
    what.add_argument("--location", metavar="PLACE", action="append", default=[], help=(
        "what is computed at FILE:LINE, FILE:LINE:COLUMN or :LINE, or under the name a location carries"
    ))
    what.add_argument("--collective", metavar="N", type=whole_number, action="append", default=[], help=(
        "collective N of the per-device program, as --collectives numbers them"
    ))
    what.add_argument("--collectives", action="store_true", help=(
        "list the collectives of the per-device program, as planned: before sums that meet are reduced together"
    ))


def run(args: argparse.Namespace) -> int:
    """Exit code 0: the answer is on standard output."""
    of_values = args.value or args.arg or args.result or args.location
    if not (of_values or args.collective or args.collectives):
        raise UserError(
            "nothing to explain; name it with --value, --arg, --result or --location, or see --collectives"
        )
    program, given_at = _annotated(args)
    collectives = _collectives(args, program) if args.collective or args.collectives else []
    lines = _listing(collectives) if args.collectives else []
    asked = [_numbered(collectives, number) for number in args.collective]
    if not of_values and not asked:
        print("\n".join(lines))
        return EXIT_OK
    from passes.sharding.explain import Explainer

    explainer = Explainer(program, propagation_options(args), args.entry, given_at)
    for text in args.value:
        explainer.ask_value(text)
    for kind, names in (("argument", args.arg), ("result", args.result)):
        for text in names:
            explainer.ask_named(kind, text)
    for text in args.location:
        explainer.ask_location(text)
    for reason in asked:
        lines += [*([""] if lines else []), *_detail(reason, explainer)]
        _ask_around(reason, explainer)
    print("\n".join([*lines, *([""] if lines else []), *explainer.answer(full=args.full)]))
    return EXIT_OK


# -- collectives -------------------------------------------------------------------------------------------------------


def _collectives(args: argparse.Namespace, program: Program) -> list[Reason]:
    from passes.cli.execution import copy_of
    from passes.partition.partition import partition
    from passes.partition.reasons import reasons
    from passes.sharding.origins.marks import put_marks

    per_device = copy_of(program)
    put_marks(per_device.module)
    report = partition(per_device, args.entry, trace=True, options=propagation_options(args))
    return reasons(per_device, report)


def _numbered(collectives: list[Reason], number: int) -> Reason:
    if not 0 < number <= len(collectives):
        having = f"has {len(collectives)}, numbered from 1" if collectives else "has none"
        raise UserError(f"there is no collective {number}; the per-device program {having}")
    return collectives[number - 1]


def _listing(collectives: list[Reason]) -> list[str]:
    if not collectives:
        return ["the per-device program has no collectives"]
    head = ("", "collective", "over", "bytes per device", "from", "to", "for", "at")
    rows = [head, *(
        (str(r.number), r.kind, _over(r), f"{r.bytes:,}", _before(r), _spec(r.after), _name(r.needed_by), _place(r))
        for r in collectives
    )]
    widths = [max(len(row[c]) for row in rows) for c in range(len(head))]
    right = {0, 3}
    return [
        "  ".join(t.rjust(w) if c in right else t.ljust(w) for c, (t, w) in enumerate(zip(row, widths, strict=True)))
        .rstrip()
        for row in rows
    ]


def _detail(reason: Reason, explainer: Explainer) -> list[str]:
    """Everything about one collective: what moves, the two shardings that disagree, and who needs it so."""
    value = reason.value
    lines = [
        f"collective {reason.number}: {reason.kind} over {_over(reason)}, groups of {reason.group} devices, "
        f"{reason.bytes:,} bytes from each device"
    ]
    if value is not None:
        lines.append(f"  value   {explainer.describe(value.op, value.index, value.mark)}{_at(value)}")
    if reason.reduced:
        summed = ", ".join(f"'{axis}'" for axis in reason.reduced)
        lines.append(f"  before  each device holds a summand: the operands lie as {', '.join(reason.summands)},")
        lines.append(f"          which splits over {summed} a dimension that the result does not have")
        lines.append(f"  after   {_spec(reason.after)}")
        return lines
    lines += [f"  before  {_spec(reason.before)}", f"  after   {_spec(reason.after)}"]
    if reason.needed_by is not None:
        need = reason.needed_by
        lines.append(f"  for     {explainer.describe(need.op, need.index, need.mark)}{_at(need)}")
    return lines


def _ask_around(reason: Reason, explainer: Explainer) -> None:
    """Asks why what a collective moves lies as it does, and why what is made from it does."""
    for source in (reason.value, reason.needed_by):
        if source is not None:
            explainer.ask_source(source.op, source.index, source.mark)


def _over(reason: Reason) -> str:
    return ",".join(reason.axes) or f"{reason.group} devices"


def _spec(sharding: Sharding | None) -> str:
    return sharding.spec() if sharding is not None else "?"


def _before(reason: Reason) -> str:
    return "summands" if reason.reduced else _spec(reason.before)


def _name(source: Source | None) -> str:
    if source is None:
        return ""
    return source.op.removeprefix("stablehlo.") if source.mark is not None or source.where else source.op


def _place(reason: Reason) -> str:
    return _where(reason.needed_by) if reason.needed_by is not None else ""


def _at(source: Source) -> str:
    where = _where(source)
    return f" at {where}" if where else ""


def _where(source: Source) -> str:
    return " ".join(part for part in (str(source.where or ""), source.label) if part)


def _annotated(args: argparse.Namespace) -> tuple[Program, dict[tuple[str, int], Where]]:
    """The program, and the places in the rules file that say how its arguments and results lie."""
    from passes.sharding.import_shardings import import_shardings

    if args.rules is None:
        program = read_input(args)
        import_shardings(program)
        return program, {}
    from passes.sharding.annotate import annotate
    from passes.sharding.rules_file import load

    rules = load(args.rules)
    program = read_input(args)
    import_shardings(program)
    report = annotate(program, rules, args.entry)
    groups = (("argument", report.arguments), ("result", report.results))
    return program, {(kind, a.index): a.where for kind, found in groups for a in found if a.where is not None}
