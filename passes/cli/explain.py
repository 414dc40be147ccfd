"""``shlo explain FILE``: why a tensor is split as it is, and why there is a collective (docs/explain.md)."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from passes.cli.common import add_entry, add_input, add_rules, annotated, read_input, read_rules, whole_number
from passes.cli.shard import add_propagation, propagation_options
from passes.errors import EXIT_OK, UserError

if TYPE_CHECKING:
    from passes.partition.reasons import Fate, Reason, Source
    from passes.program.read import Program
    from passes.sharding.answers import Answer
    from passes.sharding.explain import Explainer
    from passes.sharding.mesh import Sharding


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's options."""
    add_input(parser)
    add_entry(parser)
    add_rules(parser, "a rules file to annotate the program with first")
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
        "list the collectives of the per-device program as planned, and which of them shlo partition then merges"
    ))
    parser.add_argument("--json", action="store_true", help="print the answers as JSON (docs/explain.md)")


def run(args: argparse.Namespace) -> int:
    """Exit code 0: the answer is on standard output."""
    of_values = args.value or args.arg or args.result or args.location
    if not (of_values or args.collective or args.collectives):
        raise UserError(
            "nothing to explain; name it with --value, --arg, --result or --location, or see --collectives"
        )
    from passes.sharding.explain import Explainer, lines
    from passes.sharding.import_shardings import import_shardings

    rules = read_rules(args)
    program = read_input(args)
    import_shardings(program)
    explainer = Explainer(program, args.entry)
    _ask(args, explainer)
    if rules is not None:
        explainer.annotated(annotated(args, program, rules))
    wanted = bool(args.collective or args.collectives)
    collectives, fate = _collectives(args, program) if wanted else ([], None)
    asked = [_numbered(collectives, number) for number in args.collective]
    for reason in asked:
        _ask_around(reason, explainer)
    answers = explainer.answer(propagation_options(args)) if of_values or asked else []
    if args.json:
        print(json.dumps(_to_json(args, collectives, fate, answers, explainer), indent=1))
        return EXIT_OK
    told = [*_listing(collectives), *_fate_lines(fate)] if args.collectives else []
    for reason in asked:
        told += [*([""] if told else []), *_detail(reason, explainer)]
    print("\n".join([*told, *([""] if told and answers else []), *lines(answers, full=args.full)]))
    return EXIT_OK


def _ask(args: argparse.Namespace, explainer: Explainer) -> None:
    for text in args.value:
        explainer.ask_value(text)
    for kind, names in (("argument", args.arg), ("result", args.result)):
        for text in names:
            explainer.ask_named(kind, text)
    for text in args.location:
        explainer.ask_location(text)


def _to_json(
    args: argparse.Namespace, collectives: list[Reason], fate: Fate | None, answers: list[list[Answer]],
    explainer: Explainer,
) -> dict[str, Any]:
    found: dict[str, Any] = {"tensors": [copy.to_json() for copies in answers for copy in copies]}
    if fate is not None:
        chosen = collectives if args.collectives else [_numbered(collectives, n) for n in args.collective]
        found["collectives"] = [_reason_to_json(reason, fate, explainer) for reason in chosen]
        found["emitted"] = fate.emitted
    return found


# -- collectives -------------------------------------------------------------------------------------------------------


def _collectives(args: argparse.Namespace, program: Program) -> tuple[list[Reason], Fate]:
    from passes.cli.execution import copy_of
    from passes.partition.partition import partition
    from passes.partition.reasons import fate, reasons

    per_device = copy_of(program)
    report = partition(per_device, args.entry, trace=True, options=propagation_options(args))
    found = reasons(per_device, report)
    return found, fate(per_device)


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
        (str(r.number), r.kind, _over(r), f"{r.bytes:,}", _before(r), _after(r), _name(r.needed_by), _place(r))
        for r in collectives
    )]
    widths = [max(len(row[c]) for row in rows) for c in range(len(head))]
    right = {0, 3}
    return [
        "  ".join(t.rjust(w) if c in right else t.ljust(w) for c, (t, w) in enumerate(zip(row, widths, strict=True)))
        .rstrip()
        for row in rows
    ]


def _fate_lines(fate: Fate | None) -> list[str]:
    """What `shlo partition` makes of the planned collectives, if that is another set of them."""
    if fate is None or not fate.taken_out:
        return []
    made = ", ".join(f"{count} {kind}" for kind, count in fate.emitted.items())
    lines = ["", f"shlo partition emits {made or 'none'}, for it takes out"]
    reasons = dict.fromkeys(fate.taken_out.values())
    for why in reasons:
        numbers = ", ".join(str(n) for n, reason in fate.taken_out.items() if reason == why)
        lines.append(f"  {numbers}: {why}")
    return lines


def _reason_to_json(reason: Reason, fate: Fate, explainer: Explainer) -> dict[str, Any]:
    def source(found: Source | None) -> dict[str, str] | None:
        if found is None:
            return None
        return {"tensor": explainer.describe(found.op, found.index, found.mark), "where": _where(found)}

    return {
        "number": reason.number, "kind": reason.kind, "axes": list(reason.axes), "group_size": reason.group,
        "bytes_per_device": reason.bytes, "value": source(reason.value),
        "before": None if reason.reduced else _spec(reason.before), "after": _after(reason),
        "reduced": list(reason.reduced), "operands": list(reason.summands), "needed_by": source(reason.needed_by),
        "taken_out": fate.taken_out.get(reason.number),
    }


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
        lines.append(f"  after   {_after(reason)}")
        return lines
    lines += [f"  before  {_spec(reason.before)}", f"  after   {_after(reason)}"]
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


def _after(reason: Reason) -> str:
    return "what it reads" if reason.is_fetched else _spec(reason.after)


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
