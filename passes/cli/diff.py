"""``shlo diff A B``: which tensors of one program lie differently in two annotated modules."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from passes.cli.common import add_entry
from passes.errors import EXIT_MISMATCH, EXIT_OK, UserError

if TYPE_CHECKING:
    from passes.program.read import Program
    from passes.sharding.difference import Difference, Pair

_KINDS = (("argument", "arguments"), ("result", "results"), ("value", "values"))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's options."""
    parser.add_argument("left", metavar="A", help="an annotated module; - is standard input")
    parser.add_argument("right", metavar="B", help="another one of the same program")
    add_entry(parser)
    parser.add_argument("--signature", action="store_true", help="compare arguments and results only")
    parser.add_argument("--json", action="store_true", help="print what differs as JSON")


def run(args: argparse.Namespace) -> int:
    """Exit code 0: every tensor lies alike; 2: some differ, and are on standard output."""
    from passes.program import read
    from passes.sharding.difference import compare
    from passes.sharding.import_shardings import import_shardings

    if args.left == "-" and args.right == "-":
        raise UserError("A and B cannot both come from standard input")
    left, right = read.read(args.left), read.read(args.right)
    for program in (left, right):
        import_shardings(program)
    found = compare(left, right, args.entry)
    kinds = _KINDS[:2] if args.signature else _KINDS
    differ = {kind: [pair for pair in found.of(kind) if pair.differs] for kind, _ in kinds}
    if args.json:
        print(json.dumps(_to_json(found, differ), indent=1))
    else:
        print("\n".join([*_mesh_lines(left, right), *_lines(args, found, differ, kinds)]))
    return EXIT_MISMATCH if any(differ.values()) else EXIT_OK


def _mesh_lines(left: Program, right: Program) -> list[str]:
    """The meshes of both, unless they are the same; specs alone do not tell them apart."""
    from passes.cli.show import mesh_lines

    ours, theirs = mesh_lines(left), mesh_lines(right)
    if ours == theirs:
        return []
    return [*(f"A: {line}" for line in ours), *(f"B: {line}" for line in theirs), ""]


def _lines(
    args: argparse.Namespace, found: Difference, differ: dict[str, list[Pair]], kinds: Sequence[tuple[str, str]]
) -> list[str]:
    from passes.sharding.difference import total

    lines: list[str] = []
    for kind, title in kinds:
        if differ[kind]:
            lines += [*_table(title, differ[kind]), ""]
    for kind, title in kinds:
        pairs = found.of(kind)
        left, right = total(p.left for p in pairs), total(p.right for p in pairs)
        change = "" if left == right else f" ({right - left:+,})"
        count = f"{title}: {len(differ[kind])} of {len(pairs)} differ"
        lines.append(f"{count}; bytes per device {left:,} -> {right:,}{change}")
    if found.apart and not args.signature:
        lines.append(f"not compared, because only one of the two has them: {', '.join(f'@{f}' for f in found.apart)}")
    return lines


def _table(title: str, pairs: Sequence[Pair]) -> list[str]:
    from passes.cli.show import place_text, type_text

    rows = [(title, "op", "global", "A", "B", "bytes in A", "bytes in B", "at")]
    rows += [
        (
            p.left.name, p.left.op.removeprefix("stablehlo."), type_text(p.left.dtype, p.left.shape), p.left.spec,
            p.right.spec, f"{p.left.local_bytes:,}", f"{p.right.local_bytes:,}", place_text(p.left),
        )
        for p in pairs
    ]
    columns = [c for c in range(len(rows[0])) if title == "values" or c not in (1, 7)]
    widths = {c: max(len(row[c]) for row in rows) for c in columns}
    return [
        "  ".join(row[c].rjust(widths[c]) if c in (5, 6) else row[c].ljust(widths[c]) for c in columns).rstrip()
        for row in rows
    ]


def _to_json(found: Difference, differ: dict[str, list[Pair]]) -> dict[str, Any]:
    from passes.sharding.difference import total

    return {
        "different": [
            {"left": p.left.to_json(), "right": p.right.to_json()} for pairs in differ.values() for p in pairs
        ],
        "bytes_per_device": {
            kind: [total(p.left for p in found.of(kind)), total(p.right for p in found.of(kind))] for kind in differ
        },
        "functions_apart": list(found.apart),
    }
