"""MLIR's diagnostics for the terminal: placed in the user's file, in MLIR's look, without pages of IR."""

from __future__ import annotations

from dataclasses import replace

from passes._mlir import Diagnostic
from passes.errors import Where
from passes.program.read import Program


def one_line(message: str) -> str:
    """A message without line breaks; of an op printed with its regions only the first line stays."""
    head, separator, rest = message.strip().partition(":")
    lines = rest.strip().splitlines()
    return f"{head}: {lines[0]} ..." if separator and len(lines) > 1 else " ".join(message.split())


def placed(program: Program, diagnostic: Diagnostic) -> Diagnostic:
    """The diagnostic with positions in ``program``'s file instead of the text MLIR was given."""
    notes = tuple(placed(program, note) for note in diagnostic.notes)
    return replace(diagnostic, where=program.in_file(diagnostic.where), notes=notes)


def render(program: Program, diagnostic: Diagnostic) -> str:
    """A placed diagnostic as MLIR prints it, with the source line and the notes."""
    lines = [*_lines(program, diagnostic, None)]
    for note in diagnostic.notes:
        lines += _lines(program, note, diagnostic.where)
    return "\n".join(lines)


def _lines(program: Program, diagnostic: Diagnostic, shown: Where | None) -> list[str]:
    where = diagnostic.where or Where(program.source)
    headline = f"{where}: {diagnostic.severity}: {one_line(diagnostic.message)}"
    source = program.line_at(where) if where.column and where != shown else None
    return [headline] if source is None else [headline, source, " " * (where.column - 1) + "^"]
