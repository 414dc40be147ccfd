"""``shlo partition``: turns an annotated program into the program of one device, and proves it on request."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from passes.cli.common import (
    add_entry,
    add_input,
    add_output,
    add_rules,
    annotated,
    check_output,
    read_input,
    read_rules,
    whole_number,
    write_module,
)
from passes.cli.execution import add_verify, copy_of, prove
from passes.cli.shard import add_propagation, propagation_options
from passes.errors import EXIT_OK, UserError

if TYPE_CHECKING:
    from passes.partition.report import Report
    from passes.partition.side_table import Entry
    from passes.program.read import Program
    from passes.sharding.rules import Rules


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's options."""
    add_input(parser)
    add_entry(parser)
    add_rules(parser, "a rules file to annotate the program with first")
    add_propagation(parser)
    add_output(parser)
    parser.add_argument("--side-table", metavar="FILE", help=(
        "where the side table goes; it says how arguments and results are cut (default: OUT.side.json for -o OUT.mlir)"
    ))
    parser.add_argument("--trace", metavar="FILE", help=(
        "keep on every op which op of the global program it stands for, and write that program, numbered, to FILE; "
        "for shlo bisect"
    ))
    parser.add_argument("--inline", action="store_true", help=(
        "inline all functions; otherwise calls are kept, of one function for each way in which it is planned, unless "
        "inlining them saves communication"
    ))
    parser.add_argument("--style", choices=("local", "manual"), default="local", help=(
        "local: the types of the program are those of one device (default); manual: they are global, and one "
        "sdy.manual_computation over all axes holds what each device does"
    ))
    parser.add_argument("--keep-sdy", action="store_true", help=(
        "keep the mesh, and on arguments and results, whose types are local, the shardings of the global tensors"
    ))
    parser.add_argument("--device-id", choices=("partition", "replica"), default="partition", help=(
        "how a device learns which one it is: devices are the partitions of one replica, or replicas of one partition, "
        "which XLA's CPU backend compiles as they stand (default: partition)"
    ))
    parser.add_argument("--keep-sum-order", action="store_true", help=(
        "add floating-point sums in the order of the program, even where adding them up before they are reduced over "
        "devices would save reductions"
    ))
    parser.add_argument("--combine-collectives", type=whole_number, metavar="BYTES", default=0, help=(
        "combine independent collectives of one kind and group into one of several operands, as long as a device puts "
        "no more than this into it (default: 0, none)"
    ))
    parser.add_argument("--pad-arguments", action="store_true", help=(
        "pad arguments and results whose sharding does not divide them; the side table has their padded shapes"
    ))
    parser.add_argument("--device-constants", action="store_true", help=(
        "constants of which each device reads another part become arguments that hold the part; the side table, which "
        "has to be written, has the constants and says who gets what; functions are inlined"
    ))
    parser.add_argument("--hoist-gathers", action="store_true", help=(
        "gather what a loop does not change once, before the loop, instead of in every turn; the summary says how much "
        "memory that takes"
    ))
    parser.add_argument("--devices", type=int, metavar="N", help="how many devices there are; the mesh must fit")
    parser.add_argument("--json", action="store_true", help="print the summary on stderr as JSON")
    add_verify(parser)


def run(args: argparse.Namespace) -> int:
    """Exit code 0: the per-device program and its side table are written; 2: it was executed and differs."""
    from passes.sharding.import_shardings import import_shardings

    manual = args.style == "manual"
    if manual and args.device_id == "replica":
        raise UserError("--style=manual is about partitions; it does not go with --device-id=replica")
    if manual and args.pad_arguments:
        raise UserError("--style=manual keeps global types, which must divide; it does not go with --pad-arguments")
    rules = read_rules(args)
    side_table = _side_table_path(args)
    _check_constants(args, side_table)
    check_output(args.trace or "-")
    program = read_input(args)
    original = copy_of(program) if args.verify else None
    import_shardings(program)
    report = _partition(args, program, rules)
    words = json.dumps(_to_json(report)) if args.json else "\n".join(report.lines())
    print(words, file=sys.stderr)
    if original is not None:
        # Nobody but a partitioner runs a manual computation.
        table = None if manual else report.side_table
        prove(args, original, program, table, entry=args.entry, xla_partition=manual)
    if report.numbered is not None:
        _write_numbered(args.trace, report.numbered)
    write_module(args, program)
    if side_table is not None:
        from passes.program.write import write_output

        write_output(side_table, report.side_table.to_json() + "\n")
    return EXIT_OK


def _partition(args: argparse.Namespace, program: Program, rules: Rules | None) -> Report:
    from passes.partition.forms import keep_sdy, to_manual
    from passes.partition.improve import Communication
    from passes.partition.pad_dimensions import Padding
    from passes.partition.partition import partition

    padding = Padding(arguments=args.pad_arguments)
    if rules is not None:
        _check_devices(args, rules.mesh.device_count)
        annotated(args, program, rules, padding.allowed)
    communication = Communication(not args.keep_sum_order, args.combine_collectives, args.hoist_gathers)
    report = partition(
        program, args.entry, trace=args.trace is not None, options=propagation_options(args),
        communication=communication, padding=padding,
        keep_functions=not args.inline and not args.device_constants,
    )
    _check_devices(args, report.side_table.mesh.device_count)
    if args.device_constants:
        from passes.partition.device_constants import take_out_constants

        report = replace(report, side_table=take_out_constants(program, report.side_table))
    if args.device_id == "replica":
        from passes.pipeline import runner

        runner.run(program, "builtin.module(partitions-to-replicas)")
    if args.style == "manual":
        to_manual(program, report.side_table)
    elif args.keep_sdy:
        keep_sdy(program, report.side_table)
    return report


def _check_devices(args: argparse.Namespace, needed: int) -> None:
    if args.devices is not None and needed > args.devices:
        raise UserError(f"the mesh needs {needed} devices and --devices says there are {args.devices}")


def _check_constants(args: argparse.Namespace, side_table: str | None) -> None:
    if not args.device_constants:
        return
    others = {"--style=manual": args.style == "manual", "--keep-sdy": args.keep_sdy, "--trace": args.trace is not None}
    for option, given in others.items():
        if given:
            raise UserError(f"--device-constants adds arguments of one device alone; it does not go with {option}")
    if side_table is None:
        raise UserError("--device-constants puts constants into the side table: say where it goes (-o or --side-table)")


def _side_table_path(args: argparse.Namespace) -> str | None:
    if args.side_table is not None:
        check_output(args.side_table)
        return str(args.side_table)
    return None if args.output == "-" else str(Path(args.output).with_suffix(".side.json"))


def _write_numbered(path: str, numbered: bytes) -> None:
    from passes.program import read, write

    text = write.to_text(read.parse(numbered).module, write.PrintOptions(debuginfo=True))
    write.write_output(path, text)


def _to_json(report: Report) -> dict[str, object]:
    return {
        "devices": report.side_table.mesh.device_count,
        "collectives": [t.to_json() for t in report.traffic],
        "arguments": [_shapes(e) for e in report.side_table.arguments],
        "results": [_shapes(e) for e in report.side_table.results],
        "reshards": [r.to_json() for r in report.reshards],
        "work": {"flops": report.work.whole, "device_flops": report.work.device, "replicated": report.work.replicated},
        "replicated_around": [{"op": r.op, "where": r.where, "reason": r.reason} for r in report.replicated],
        "without_rule": [{"where": str(where or ""), "message": m} for where, m in report.propagation.unruled],
        "padding": [asdict(choice) for choice in report.padding],
        "not_split": [str(dropped) for dropped in report.propagation.dropped],
        "flat_composites": [{"name": f.name, "where": str(f.where or ""), "reason": f.reason} for f in report.flat],
        "donations_dropped": report.unaliased,
        "collectives_changed": report.changes,
    }


def _shapes(found: Entry) -> dict[str, object]:
    return {
        "name": found.name, "dtype": found.dtype, "global_shape": found.global_shape, "local_shape": found.local_shape,
        "sharding": found.sharding.spec(),
    }
