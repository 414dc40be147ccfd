"""``shlo lint FILE``: reports what a program does and may not mean to; it changes nothing."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from typing import TYPE_CHECKING

from passes.cli import common
from passes.errors import EXIT_INPUT, EXIT_OK

if TYPE_CHECKING:
    from passes.optimize.lint.findings import Finding


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's options."""
    common.add_input(parser)
    common.add_entry(parser)
    parser.add_argument("--list", action="store_true", help="list the checks and exit")
    parser.add_argument("--only", metavar="CHECKS", help="run these checks only (comma-separated)")
    parser.add_argument("--skip", metavar="CHECKS", help="leave these checks out (comma-separated)")
    parser.add_argument("--accumulate-over", type=common.whole_number, metavar="N", help=(
        "low-precision-sum: report sums of more than N terms (default: what the type can count)"
    ))
    parser.add_argument("--constant-bytes", type=common.whole_number, metavar="N", default=1 << 20, help=(
        "large-constant: report constants of N bytes or more (default: 1048576)"
    ))
    parser.add_argument("--limit", type=common.whole_number, metavar="N", default=20, help=(
        "print at most N findings of each check; all are counted (default: 20)"
    ))
    parser.add_argument("--json", action="store_true", help="print all findings as JSON")
    parser.add_argument("--error", action="store_true", help="end with exit code 1 if there are findings")


def run(args: argparse.Namespace) -> int:
    """Prints a line per finding and a summary."""
    from passes.optimize.lint.findings import Settings
    from passes.optimize.lint.lint import CHECKS, lint

    if args.list:
        width = max(map(len, CHECKS))
        print("\n".join(f"{name:{width}}  {check.summary}" for name, check in CHECKS.items()))
        return EXIT_OK
    chosen = _chosen(args, list(CHECKS))
    settings = Settings(args.accumulate_over, args.constant_bytes)
    found = lint(common.read_input(args), settings, checks=chosen, entry=args.entry)
    if args.json:
        print(json.dumps([finding.to_json() for finding in found], indent=1))
    else:
        print("\n".join([*shown(found, args.limit), summary(found)]))
    return EXIT_INPUT if args.error and found else EXIT_OK


def _chosen(args: argparse.Namespace, known: list[str]) -> list[str]:
    only = _names(args.only, known) if args.only is not None else known
    skipped = _names(args.skip or "", known)
    return [name for name in known if name in only and name not in skipped]


def _names(text: str, known: list[str]) -> list[str]:
    names = [name for name in text.split(",") if name]
    for name in names:
        if name not in known:
            raise common.unknown("check", name, known, "shlo lint --list")
    return names


def shown(found: list[Finding], limit: int) -> list[str]:
    """A line per finding, those alike counted together, at most ``limit`` for each check."""
    lines = Counter((finding.check, finding.line()) for finding in found)
    printed: Counter[str] = Counter()
    result = []
    for (check, line), count in lines.items():
        printed[check] += 1
        if printed[check] <= limit:
            result.append(line if count == 1 else f"{line} ({count} times)")
    return result + [f"{check}: {count - limit:,} more lines (--limit)" for check, count in printed.items()
                     if count > limit]


def summary(found: list[Finding]) -> str:
    """How many findings there are, by check."""
    if not found:
        return "no findings"
    counts = Counter(finding.check for finding in found)
    parts = ", ".join(f"{count:,} {check}" for check, count in counts.items())
    return f"{len(found):,} finding{'s' * (len(found) > 1)}: {parts}"
