"""``shlo show FILE``: how the tensors of an annotated program lie on the devices, as a table, a picture or JSON."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from passes.cli.common import add_entry, add_input, read_input
from passes.errors import EXIT_OK, UserError

if TYPE_CHECKING:
    from passes.program.read import Program
    from passes.sharding.picture import Grid
    from passes.sharding.tensors import Tensor

# Colours of boxes for rich, by the first device in them.
_COLOURS = ("blue", "green", "magenta", "cyan", "yellow", "red", "bright_blue", "bright_green")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the command's options."""
    add_input(parser)
    add_entry(parser)
    parser.add_argument("--all", action="store_true", help="list what every op makes too, not only the signature")
    parser.add_argument("--match", metavar="GLOB", action="append", default=[], help=(
        "list only tensors whose name, op, location's name or FILE:LINE:COLUMN is like GLOB (* any text, ? one "
        "character), those inside included; may be given several times"
    ))
    parser.add_argument("--names", action="store_true", help=(
        "print the names of arguments and results with their types, for a rules file, and nothing else"
    ))
    parser.add_argument("--visualize", metavar="NAME", help=(
        "draw which devices hold which part of the argument, result or value (%%12) called NAME"
    ))
    parser.add_argument("--json", action="store_true", help="print the list as JSON")


def run(args: argparse.Namespace) -> int:
    """Exit code 0: the program is described on standard output."""
    from passes.sharding.import_shardings import import_shardings
    from passes.sharding.mesh import meshes
    from passes.sharding.tensors import signature
    from passes.sharding.tuples import dissolve_named

    program = read_input(args)
    import_shardings(program)
    dissolve_named(program, args.entry)
    tensors = signature(program, args.entry)
    if args.names:
        _print_names(tensors)
    elif args.visualize is not None:
        _visualize(_named(args, program, tensors))
    else:
        chosen = _chosen(args, program, tensors)
        if args.json:
            axes = {name: dict(mesh.axes) for name, mesh in meshes(program.module).items()}
            print(json.dumps({"meshes": axes, "tensors": [t.to_json() for t in chosen]}, indent=1))
        else:
            print("\n".join([*mesh_lines(program), *lines(chosen)]))
    return EXIT_OK


def _print_names(tensors: Iterable[Tensor]) -> None:
    for tensor in tensors:
        print(f"{tensor.kind:8}  {type_text(tensor.dtype, tensor.shape):18}  {tensor.name}")


def _chosen(args: argparse.Namespace, program: Program, tensors: list[Tensor]) -> list[Tensor]:
    from passes.sharding.tensors import intermediates

    if not args.match:
        return [*tensors, *intermediates(program)] if args.all else tensors
    every = [*tensors, *intermediates(program)]
    chosen = [t for t in every if any(t.matches(pattern) for pattern in args.match)]
    if not chosen:
        raise UserError(f"no tensor is like {' or '.join(args.match)}{_close(args.match[0], every)}")
    return chosen


def _named(args: argparse.Namespace, program: Program, tensors: list[Tensor]) -> list[Tensor]:
    """The tensors called ``--visualize``'s name; several if an argument and a result share it."""
    from passes.sharding.tensors import intermediates

    wanted = args.visualize
    found = [t for t in tensors if wanted in (t.name, t.value)]
    if not found:
        inside = intermediates(program)
        found = [t for t in inside if t.name in (wanted, f"{wanted}#0")][:1]
        tensors = [*tensors, *inside]
    if not found:
        raise UserError(f"no tensor is called {wanted}{_close(wanted, tensors)}")
    return found


def _close(wanted: str, tensors: Iterable[Tensor]) -> str:
    import difflib  # Only for this message: it costs start-up time.

    names = dict.fromkeys(text for t in tensors for text in (t.name, t.value, t.op) if text)
    close = difflib.get_close_matches(wanted, names, n=3, cutoff=0.5)
    return f"; close names are {', '.join(close)}" if close else "; shlo show --all lists all"


def mesh_lines(program: Program) -> list[str]:
    """The meshes of a program, one a line."""
    from passes.sharding.mesh import meshes

    found = meshes(program.module).items()
    return [
        f"mesh @{name}: {', '.join(f'{axis}={size}' for axis, size in mesh.axes)} ({mesh.device_count} devices)"
        for name, mesh in found
    ] or ["no mesh: every tensor is whole on every device"]


def type_text(dtype: str, shape: Sequence[int]) -> str:
    """A tensor's type as short as it gets: ``f32[8x16]``."""
    return f"{dtype}[{'x'.join(map(str, shape))}]"


def lines(tensors: Sequence[Tensor]) -> list[str]:
    """The tensors as tables, one for each kind, with totals."""
    found: list[str] = []
    for kind, title in (("argument", "arguments"), ("result", "results"), ("value", "values")):
        rows = [t for t in tensors if t.kind == kind]
        if rows:
            found += ["", *_table(title, rows)]
    return found


def _table(title: str, tensors: Sequence[Tensor]) -> list[str]:
    inside = tensors[0].kind == "value"
    head = [title, "op", "global", "on each device", "sharding", "bytes per device", "at" if inside else ""]
    cells = [head, *([
        t.name, t.op.removeprefix("stablehlo."), type_text(t.dtype, t.shape),
        type_text(t.dtype, t.local_shape) if t.divides else "does not divide", t.spec, f"{t.local_bytes:,}",
        place_text(t),
    ] for t in tensors)]
    total = f"{sum(t.local_bytes for t in tensors):,}"
    cells.append(["total", "", "", "", "", total, f"of {sum(t.global_bytes for t in tensors):,}"])
    columns = [c for c in range(len(head)) if inside or c != 1]
    widths = {c: max(len(row[c]) for row in cells) for c in columns}
    return [
        "  ".join(row[c].rjust(widths[c]) if c == 5 else row[c].ljust(widths[c]) for c in columns).rstrip()
        for row in cells
    ]


def place_text(tensor: Tensor) -> str:
    """Where a value is made, and under which name; empty for arguments and results."""
    if tensor.kind != "value":
        return ""
    return " ".join(part for part in (str(tensor.where or ""), tensor.label) if part)


# -- pictures ----------------------------------------------------------------------------------------------------------


def _visualize(tensors: list[Tensor]) -> None:
    from passes.sharding.picture import grids

    for tensor in tensors:
        print(f"{tensor.kind} {tensor.name}: {type_text(tensor.dtype, tensor.shape)} {tensor.spec}")
        if tensor.sharding is None:
            print("every device holds all of it")
        elif not tensor.divides:
            print("its axes do not divide its dimensions, so it cannot be cut this way")
        else:
            for grid in grids(tensor.sharding, tensor.shape):
                _draw(grid)


def _draw(grid: Grid) -> None:
    if not (sys.stdout.isatty() and _draw_in_colour(grid)):
        print("\n".join(grid.lines()))


def _draw_in_colour(grid: Grid) -> bool:
    """Draws with rich; false if that is not installed."""
    try:
        import rich.box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        return False
    devices = sorted({device for row in grid.first for device in row})
    colours = {device: _COLOURS[i % len(_COLOURS)] for i, device in enumerate(devices)}
    table = Table(show_header=False, show_lines=True, box=rich.box.SQUARE, title=grid.title or None)
    for texts, holders in zip(grid.boxes, grid.first, strict=True):
        styles = (colours[d] if d >= 0 else "" for d in holders)
        table.add_row(*(Text(text, style=style, justify="center") for text, style in zip(texts, styles, strict=True)))
    # As wide as it is: what does not fit would be cut off.
    Console(width=max(map(len, grid.lines()))).print(table)
    return True
