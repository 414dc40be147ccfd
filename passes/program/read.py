"""Reads a module from text, MLIR bytecode or a StableHLO portable artifact, whichever the bytes turn out to be.

The format is sniffed from the content, never from the file name. Every failure is a `UserError` placed at
``file:line:col`` with the source line.
"""

from __future__ import annotations

import codecs
import re
import sys
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from passes import _mlir
from passes.errors import UserError, Where

Format = Literal["text", "bytecode", "portable"]

BYTECODE_MAGIC = b"ML\xefR"
# A portable artifact is bytecode whose producer string (right behind the magic and the version) names StableHLO.
_PORTABLE_PRODUCER = b"StableHLO_v"
STDIN = "<stdin>"

# Notes that bury the error they belong to: a list of every dialect, and the op (a whole function at times) in full.
_NOISE = ("Available dialects", "see current operation")

# The native parser recurses and overflows the stack on regions nested some thousands deep; no front end nests a tenth
# of this. Braces in strings do not count.
_MAX_NESTING = 200
_BRACES = re.compile(r'"(?:[^"\\]|\\.)*"|[{}]')


@dataclass
class Program:
    """A module with what is needed to talk about it: where it came from.

    Attributes:
      module: ``ir.Module``, verified.
      source: The file name for messages (``<stdin>`` for standard input).
      text: The source text, for showing lines in errors; ``None`` for binary formats.
      has_debug_info: Whether the input carried locations of its own (``loc(...)``), which are worth writing out again.
    """

    module: Any
    source: str
    text: str | None = None
    has_debug_info: bool = False

    def error(self, message: str, op: Any = None) -> UserError:
        """A `UserError` about this program, placed at ``op``'s position in the input where that is known."""
        where = self.where(op) if op is not None else None
        return UserError(message, where or Where(self.source), snippet=self.line_at(where))

    def where(self, op: Any) -> Where | None:
        """The position of ``op`` in this program's input, or in the model source its location names."""
        return self.in_file(_mlir.where_of(op.location))

    def in_file(self, where: Where | None) -> Where | None:
        """``where`` with the name of this program's input in place of ``-``, MLIR's name for what it parsed.

        The column counts characters then; MLIR's counts bytes.
        """
        if where is None or where.file != "-":
            return where
        found = replace(where, file=self.source)
        line = self.line_at(found)
        if line is None or line.isascii():
            return found
        return replace(found, column=len(line.encode()[: where.column - 1].decode(errors="ignore")) + 1)

    def line_at(self, where: Where | None) -> str | None:
        """The source line at ``where``; ``None`` if that is not in this program's text."""
        if self.text is None or where is None or where.file != self.source:
            return None
        lines = self._lines
        return lines[where.line - 1].rstrip("\r") if 0 < where.line <= len(lines) else None

    @cached_property
    def _lines(self) -> list[str]:
        # Not splitlines(), which ends lines at characters that MLIR does not count. Kept, because a report may place
        # thousands of ops.
        return (self.text or "").split("\n")


def read_bytes(path: str) -> tuple[bytes, str]:
    """The content of ``path`` (``-`` is standard input) and its name for messages; of a binary module, its bytecode.

    Raises:
      UserError: the file cannot be read, or is a binary module that is damaged.
    """
    data, source = _read(path)
    if sniff(data) != "text":
        # Loaded only when there is need: it starts a process.
        from passes.program.trial import rewritten

        data = rewritten(data, source)
    return data, source


def _read(path: str) -> tuple[bytes, str]:
    if path == "-":
        if sys.stdin is None:
            raise UserError("cannot read the program: standard input is closed", Where(STDIN))
        return sys.stdin.buffer.read(), STDIN
    try:
        return Path(path).read_bytes(), path
    except OSError as error:
        raise UserError(f"cannot read the file: {error.strerror or error}", Where(path)) from None


def read(path: str, *, allow_unregistered: bool = False) -> Program:
    """Reads and verifies the module in ``path`` (``-`` is standard input).

    Raises:
      UserError: the file cannot be read, is empty, is no MLIR, or does not parse or verify.
    """
    data, source = read_bytes(path)
    return parse(data, source, allow_unregistered=allow_unregistered)


def sniff(data: bytes) -> Format:
    """Which of the three formats ``data`` is in, judged by its first bytes."""
    if not data.startswith(BYTECODE_MAGIC):
        return "text"
    return "portable" if _PORTABLE_PRODUCER in data[:32] else "bytecode"


def parse(data: bytes | str, source: str = "-", *, allow_unregistered: bool = False, first_line: int = 1) -> Program:
    """Parses and verifies a module held in memory; ``first_line`` is where ``data`` starts in its file.

    Raises:
      UserError: see `read`.
    """
    if isinstance(data, str):
        data = data.encode()
    if not data.strip():
        raise UserError("the input is empty; expected a module as text, bytecode or portable artifact", Where(source))
    format = sniff(data)
    context = _mlir.context()
    context.allow_unregistered_dialects = allow_unregistered
    if format != "text":
        return Program(_parse_binary(data, format, source), source, has_debug_info=True)
    text = _decode(data, source)
    _check_nesting(text, source)
    program = Program(None, source, "\n" * (first_line - 1) + text, "loc(" in text)
    with _mlir.collect_diagnostics() as diagnostics:
        try:
            # Leading newlines keep line numbers right for a part of a split file at no cost.
            program.module = _mlir.ir.Module.parse(program.text, context)
        except _mlir.ir.MLIRError:
            raise _parse_error(program, diagnostics) from None
    return program


def _parse_binary(data: bytes, format: Format, source: str) -> Any:
    context = _mlir.context()
    with _mlir.collect_diagnostics() as diagnostics:
        try:
            if format == "portable":
                module = _mlir.stablehlo.deserialize_portable_artifact(context, data)
            else:
                module = _mlir.ir.Module.parse(data, context)
            _check_names(module)
            return module
        except (_mlir.ir.MLIRError, ValueError) as error:
            reason = diagnostics[0].message if diagnostics else str(error)
            kind = "StableHLO portable artifact" if format == "portable" else "MLIR bytecode"
            raise UserError(f"damaged or unsupported {kind}: {reason}", Where(source)) from None


def _check_names(module: Any) -> None:
    """Bytecode holds any bytes for a name; the bindings hand out only text.

    Raises:
      ValueError: the name of a symbol is none.
    """
    for view in module.body.operations:
        attributes = view.operation.attributes
        if "sym_name" in attributes:
            try:
                _ = _mlir.ir.StringAttr(attributes["sym_name"]).value
            except RuntimeError:
                raise ValueError("the name of a function or mesh is not UTF-8") from None


def _decode(data: bytes, source: str) -> str:
    try:
        text = data.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(
            "the input is neither MLIR text (UTF-8) nor MLIR bytecode nor a StableHLO portable artifact",
            Where(source, line),
        ) from None
    if "\0" in text:
        raise UserError(
            "the input contains NUL bytes: neither MLIR text nor MLIR bytecode nor a StableHLO portable artifact",
            Where(source, text.count("\n", 0, text.index("\0")) + 1),
        )
    return text


def _check_nesting(text: str, source: str) -> None:
    depth = deepest = 0
    for piece in text.split("{"):
        depth += 1 - piece.count("}")
        if depth > deepest:
            deepest = depth
    if deepest <= _MAX_NESTING:
        return
    # Strings cost time to skip, so that is done only where it may matter.
    depth = 0
    for match in _BRACES.finditer(text):
        depth += {"{": 1, "}": -1}.get(match[0], 0)
        if depth > _MAX_NESTING:
            raise UserError(
                f"regions are nested more than {_MAX_NESTING} deep, which is more than the parser is safe for",
                Where(source, text.count("\n", 0, match.start()) + 1),
            )


def _parse_error(program: Program, diagnostics: list[_mlir.Diagnostic]) -> UserError:
    errors = [d for d in diagnostics if d.severity == "error"] or diagnostics
    if not errors:
        return UserError("the input does not parse as an MLIR module", Where(program.source))

    first = errors[0]
    where = program.in_file(first.where) or Where(program.source)
    telling = (n for n in first.notes if not n.message.startswith(_NOISE))
    notes = tuple((program.in_file(n.where), n.message) for n in telling)
    return UserError(_one_line(first.message), where, snippet=program.line_at(where), notes=notes)


def _one_line(message: str) -> str:
    return " ".join(message.split())
