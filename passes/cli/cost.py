"""``shlo cost``: what a program costs on each device, by op and by place, and two programs or plans side by side."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from passes.cli.common import add_entry, annotated, whole_number
from passes.errors import EXIT_OK, UserError

if TYPE_CHECKING:
    from passes.cli.tables import Cells, Part
    from passes.cost.device import Device
    from passes.cost.program_cost import ProgramCost
    from passes.cost.tables import Row, Total
    from passes.program.read import Program

_PREFIXES = ("", "k", "M", "G", "T", "P", "E")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's options."""
    parser.add_argument("files", metavar="FILE", nargs="*", default=["-"], help=(
        "a per-device program, an annotated one (it is partitioned first), or one for a single device; several are "
        "compared, side by side"
    ))
    add_entry(parser)
    parser.add_argument("--rules", metavar="FILE", action="append", default=[], help=(
        "a rules file, or preset:NAME, to annotate the program with first; several are compared, side by side"
    ))
    parser.add_argument("--mesh", metavar="AXES", help="the mesh in place of that of the rules file: data=2,model=4")
    parser.add_argument("--device", metavar="NAME", default="tpu_v5e", help=(
        "a preset (--list-devices), or a .toml file with the figures of a device (default: tpu_v5e)"
    ))
    parser.add_argument("--list-devices", action="store_true", help="print the device presets and nothing else")
    parser.add_argument("--topology", metavar="NAME", help=(
        "how devices are joined, in place of what the device says: ring, line, torus, switch, all_to_all"
    ))
    parser.add_argument("--loop-runs", type=whole_number, metavar="N", default=1, help=(
        "how often a loop runs whose text does not tell (default: 1)"
    ))
    parser.add_argument("--by", choices=("op", "place", "collective", "memory"), action="append", default=[], help=(
        "which tables to print: ops by kind, by the place they come from, collectives, what is held at the peak of "
        "memory; may be given several times (default: all; none where programs are compared, which otherwise show the "
        "time in each, what differs most first)"
    ))
    parser.add_argument("--top", type=whole_number, metavar="N", default=12, help="lines of each table (default: 12)")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")


def run(args: argparse.Namespace) -> int:
    """Exit code 0: the cost is printed on standard output."""
    from passes.cli import tables
    from passes.cost import device as devices
    from passes.cost.laws import check_topology

    if args.list_devices:
        print("\n".join(_device_lines()))
        return EXIT_OK
    device = devices.load(args.device)
    check_topology(args.topology)
    found = {title: _cost(args, program, device) for title, program in _programs(args)}
    if args.json:
        print(json.dumps({title: _to_json(args, c) for title, c in found.items()}, indent=1))
    elif len(found) == 1:
        tables.show(_lines(args, *found.values()))
    else:
        tables.show([_comparison(found, device), *_differences(args, found)])
    return EXIT_OK


def _device_lines() -> list[str]:
    from passes.cost import device as devices

    lines = []
    for name, text in devices.presets().items():
        d = devices.parse(text, name)
        memory = f"{quantity(d.memory)}B" if d.memory else ""
        lines.append(
            f"{name:<16}{d.title:<32}{quantity(d.flops['bf16'])}FLOP/s bf16  {memory:>8}  "
            f"{quantity(d.memory_bandwidth)}B/s  {d.topology} {quantity(d.link.bandwidth)}B/s"
        )
    return lines


def _programs(args: argparse.Namespace) -> list[tuple[str, Program]]:
    """What to cost: every file, under every rules file if there are any, with what tells them apart."""
    from passes.program import read
    from passes.sharding.import_shardings import import_shardings
    from passes.sharding.rules_file import load, parse_mesh

    if args.mesh is not None and not args.rules:
        raise UserError("--mesh goes with --rules, whose mesh it replaces")
    mesh = parse_mesh(args.mesh) if args.mesh else None
    plans: list[tuple[str, Any]] = [
        (title, load(name, mesh)) for title, name in zip(_short(args.rules), args.rules, strict=True)
    ] or [("", None)]
    files = _short(args.files)
    found = []
    for file, name in zip(args.files, files, strict=True):
        for title, rules in plans:
            program = read.read(file)
            import_shardings(program)
            if rules is not None:
                annotated(args, program, rules)
            parts = [name if len(files) > 1 else "", title]
            found.append((" ".join(p for p in parts if p) or name, program))
    return found


def _short(names: Sequence[str]) -> list[str]:
    """What files and presets are called: without folders where that tells them apart."""
    stems = [name if name.startswith("preset:") else Path(name).stem for name in names]
    if len(set(stems)) == len(stems):
        return stems
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UserError(f"{twice} is given twice; there is nothing to compare")
    return list(names)


def _cost(args: argparse.Namespace, program: Program, device: Device) -> ProgramCost:
    from passes.cost.program_cost import cost

    return cost(program, device, topology=args.topology, entry_name=args.entry, unknown_runs=args.loop_runs)


# -- one program -------------------------------------------------------------------------------------------------------


def _lines(args: argparse.Namespace, found: ProgramCost) -> list[Part]:
    shown = args.by or ["op", "place", "collective", "memory"]
    device = found.device
    lines: list[Part] = [f"{found.devices} x {device.title} ({device.source})", *_totals(found), *_remarks(args, found)]
    for kind in ("op", "place", "collective"):
        if kind in shown and (rows := _rows(kind, found)):
            lines += _table(kind, rows, args.top)
    if "memory" in shown:
        lines += _held(found, args.top)
    return lines


def _totals(found: ProgramCost) -> list[str]:
    from passes.cost.tables import TOTALS

    shown = [total for total in TOTALS if found.devices > 1 or total.alone]
    return [f"  {total.title:<28}{text:>12}" for total in shown if (text := amount_text(total, found))]


def amount_text(total: Total, found: ProgramCost) -> str:
    """A figure of a program with its unit; empty if it is not known."""
    amount = total.of(found)
    if amount is None:
        return ""
    if total.unit == "s":
        return duration(amount)
    return f"{amount:.2f}x" if total.unit == "x" else f"{quantity(amount)}{total.unit}"


def _remarks(args: argparse.Namespace, found: ProgramCost) -> list[str]:
    lines = []
    memory, limit = found.estimate.memory, found.device.memory
    if limit is not None and memory.peak > limit:
        lines.append(f"does not fit: {quantity(memory.peak)}B of {quantity(limit)}B")
    if memory.constants:
        lines.append(f"constants in the executable: {quantity(memory.constants)}B")
    if unknown := len(found.estimate.graph.unknown_loops):
        loops = "1 loop" if unknown == 1 else f"{unknown} loops"
        lines.append(f"how often {loops} will run is not in the text: counted {args.loop_runs}x (--loop-runs)")
    return lines


def _table(title: str, rows: Sequence[Row], top: int) -> list[Part]:
    total = sum(row.seconds for row in rows) or 1.0
    sends = any(row.sent for row in rows)
    cells = [[title, "ops", "runs", "FLOPs", "memory", *(["sent"] if sends else []), "time", ""]]
    cells += [[
        row.name, f"{row.ops:,}", f"{row.runs:,}", quantity(row.flops), f"{quantity(row.traffic)}B",
        *([f"{quantity(row.sent)}B" if row.sent else ""] if sends else []), duration(row.seconds),
        f"{row.seconds / total:.1%}",
    ] for row in rows[:top]]
    return ["", cells, *([f"... and {len(rows) - top} more"] if len(rows) > top else [])]


def _held(found: ProgramCost, top: int) -> list[Part]:
    from passes import _mlir
    from passes.program.entry import arguments, find_entry

    memory = found.estimate.memory
    names = {
        number: value.name
        for number, value in zip(
            found.estimate.graph.entry.arguments, arguments(find_entry(found.program)), strict=True
        )
    }
    at = " in ".join(node.name.removeprefix("stablehlo.") for node in reversed(memory.at)) or "the start"
    cells = [[f"held at the peak, at {at}", "bytes", "from"]]
    for held in memory.held[:top]:
        name = names.get(held.value, "") if held.node is None else held.node.name.removeprefix("stablehlo.")
        where = "argument" if held.node is None else _mlir.name_of(held.node.op.location)
        cells.append([name, f"{held.bytes:,}", where])
    more = [f"... and {len(memory.held) - top} more"] if len(memory.held) > top else []
    return ["", cells, *more]


# -- several programs --------------------------------------------------------------------------------------------------


def _comparison(found: dict[str, ProgramCost], device: Device) -> Cells:
    from passes.cost.tables import TOTALS

    cells = [[f"one {device.title}", *found]]
    cells += [["devices", *(str(c.devices) for c in found.values())]]
    cells += [[total.title, *(amount_text(total, c) for c in found.values())] for total in TOTALS]
    fits = ["yes" if device.memory is None or c.estimate.memory.peak <= device.memory else "no" for c in found.values()]
    cells += [["fits", *fits]]
    best = min(c.estimate.seconds for c in found.values()) or 1.0
    cells += [["times the fastest", *(f"{c.estimate.seconds / best:.2f}" for c in found.values())]]
    return cells


def _differences(args: argparse.Namespace, found: dict[str, ProgramCost]) -> list[Part]:
    """The tables that were asked for: the time of each row in each program, what differs most first."""
    from passes.cost import tables

    lines: list[Part] = []
    for kind in args.by:
        if kind == "memory":
            for title, cost in found.items():
                lines += ["", title, *_held(cost, args.top)[1:]]
            continue
        rows = tables.side_by_side([_rows(kind, cost) for cost in found.values()])
        cells = [[kind, *found]]
        cells += [[name, *(duration(row.seconds) if row else "" for row in each)] for name, each in rows[: args.top]]
        lines += ["", cells, *([f"... and {len(rows) - args.top} more"] if len(rows) > args.top else [])]
    return lines


def _rows(kind: str, found: ProgramCost) -> list[Row]:
    from passes.cost import tables

    ops = found.estimate.ops
    if kind == "place":
        return tables.by_place(ops, found.program)
    return tables.by_op(ops) if kind == "op" else tables.collectives(ops)


# -- as data -----------------------------------------------------------------------------------------------------------


def _to_json(args: argparse.Namespace, found: ProgramCost) -> dict[str, Any]:
    from passes.cost import tables

    e = found.estimate
    held = [{"op": h.node.name if h.node else "argument", "bytes": h.bytes} for h in e.memory.held[: args.top]]
    return {
        "device": found.device.title,
        "devices": found.devices,
        "flops": e.flops,
        "transcendentals": e.transcendentals,
        "memory_traffic_bytes": e.traffic,
        "sent_bytes": e.sent,
        "seconds": e.seconds,
        "seconds_local": e.local,
        "seconds_collectives": e.communication,
        "seconds_overlapped": e.overlapped,
        "redundancy": found.redundancy,
        "memory": {
            "peak": e.memory.peak, "arguments": e.memory.arguments, "results": e.memory.results,
            "temporaries": e.memory.temporaries, "constants": e.memory.constants,
            "fits": found.device.memory is None or e.memory.peak <= found.device.memory,
            "held": held,
        },
        "unknown_loops": len(e.graph.unknown_loops),
        "by_op": [row.to_json() for row in tables.by_op(e.ops)],
        "by_place": [row.to_json() for row in tables.by_place(e.ops, found.program)[: args.top]],
        "collectives": [row.to_json() for row in tables.collectives(e.ops)],
    }


# -- units -------------------------------------------------------------------------------------------------------------


def quantity(amount: float) -> str:
    """An amount to three digits with the prefix of its power of a thousand: ``12.3 M``."""
    power = 0
    while abs(amount) >= 999.5 and power < len(_PREFIXES) - 1:
        amount, power = amount / 1000, power + 1
    digits = 0 if power == 0 and amount == int(amount) else max(0, 3 - len(str(int(abs(amount)))))
    return f"{amount:.{digits}f} {_PREFIXES[power]}"


def duration(seconds: float) -> str:
    """A time to three digits: ``12.3 ms``."""
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.{max(0, 3 - len(str(int(seconds / size))))}f} {unit}"
    return f"{seconds * 1e9:.0f} ns" if seconds else "0 s"
