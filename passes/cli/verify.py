"""``shlo verify A B``: executes two programs on the same inputs and compares their results."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from passes.cli.common import add_entry, whole_number
from passes.cli.execution import add_execution, executable, make_executor, read_side_table
from passes.errors import EXIT_MISMATCH, EXIT_OK, UserError

if TYPE_CHECKING:
    from passes.partition.side_table import SideTable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's options."""
    parser.add_argument("original", metavar="A", help="the program that is right; - is standard input")
    parser.add_argument("transformed", metavar="B", help="the program that should compute the same")
    add_entry(parser)
    parser.add_argument("--side-table", metavar="FILE", help=(
        "B is a per-device program and FILE its side table (default: B with .side.json for .mlir, if there is one)"
    ))
    add_execution(parser)
    parser.add_argument("--level", metavar="LEVEL", help=(
        "what must hold: bit-equal, ulp:N or close (default: bit-equal, but close where several devices run a program "
        "that rounds on these inputs)"
    ))
    parser.add_argument("--devices", type=whole_number, metavar="N", help="how many devices there are; a mesh must fit")
    parser.add_argument("--xla-partition", action="store_true", help=(
        "let XLA partition B by its sharding annotations and run the outcome"
    ))
    parser.add_argument("--structure", action="store_true", help=(
        "execute nothing; check that the per-device program B is well-formed: local types, groups, channels, signature"
    ))
    parser.add_argument("--all", action="store_true", help="list all results, not only those that differ")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def run(args: argparse.Namespace) -> int:
    """Exit code 0: all results equal, or the structure is right; 2: not."""
    from passes.execute.compare import parse_level
    from passes.execute.prepare import annotated_devices
    from passes.execute.verify import verify
    from passes.program.read import read
    from passes.sharding.import_shardings import import_shardings

    if args.structure:
        return _structure(args)
    original, transformed = executable(read(args.original)), executable(read(args.transformed))
    if args.xla_partition and annotated_devices(transformed) == 1:
        # XLA's own readers want the number of devices on the module.
        import_shardings(transformed)
    report = verify(
        original,
        transformed,
        _side_table(args),
        entry=args.entry,
        inputs=args.inputs,
        seed=args.seed,
        level=parse_level(args.level) if args.level else None,
        devices=args.devices,
        xla_partition=args.xla_partition,
        executor=make_executor(args),
    )
    print(report.to_json() if args.json else "\n".join(report.lines(every=args.all)))
    return EXIT_OK if report.ok else EXIT_MISMATCH


def _structure(args: argparse.Namespace) -> int:
    from passes.execute.verify import check_table
    from passes.partition.structure import check_structure
    from passes.program.read import read

    original, transformed = read(args.original), read(args.transformed)
    table = _side_table(args)
    if table is None:
        raise UserError("--structure looks at a per-device program B with its side table; give it with --side-table")
    check_table(original, transformed, table, args.entry, args.devices)
    found = check_structure(transformed, table, args.entry)
    print("\n".join(found) or f"the per-device program is well-formed for {table.mesh.device_count} devices")
    return EXIT_MISMATCH if found else EXIT_OK


def _side_table(args: argparse.Namespace) -> SideTable | None:
    if args.side_table is not None:
        if args.xla_partition:
            raise UserError("--xla-partition wants a global program B; a side table says that B is per-device")
        path = Path(args.side_table)
    else:
        path = Path(args.transformed).with_suffix(".side.json")
        if args.xla_partition or args.transformed == "-" or not path.is_file():
            return None
    return read_side_table(path)
