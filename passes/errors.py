"""Errors a user sees, and the exit code each one ends the process with.

Anything raised on purpose for the user derives from `UserError`; the command line prints it as one line
``file:line:col: error: message`` (plus the source line where there is one) and never as a traceback.
"""

from __future__ import annotations

from dataclasses import dataclass

# Characters of a source line that are shown.
_SNIPPET = 160

EXIT_OK = 0
EXIT_INPUT = 1
EXIT_MISMATCH = 2
EXIT_NATIVE = 3


@dataclass(frozen=True)
class Where:
    """A place in an input file; ``line`` and ``column`` count from 1, 0 means unknown."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        if not self.line:
            return self.file
        return f"{self.file}:{self.line}:{self.column}" if self.column else f"{self.file}:{self.line}"


def _pointed_at(line: str, column: int) -> list[str]:
    """``line`` and under it a caret at ``column``; of a long line (a large constant) only the part around that."""
    start = max(0, column - 1 - _SNIPPET // 2) if len(line) > _SNIPPET else 0
    before, shown = line[start : column - 1], line[start : start + _SNIPPET]
    # A tab is as wide under the line as in it.
    return [shown, "".join("\t" if char == "\t" else " " for char in before.ljust(column - 1 - start)) + "^"]


class UserError(Exception):
    """Bad input or usage: what is wrong, naming the op, value, option or key, and what to do about it.

    Args:
      message: One sentence without a trailing newline.
      where: The place it is about; ``None`` for errors about the command line.
      snippet: The source line, shown with a caret under ``where.column``.
      notes: Further diagnostics, each with its own place or ``None``.
    """

    exit_code = EXIT_INPUT

    def __init__(
        self,
        message: str,
        where: Where | None = None,
        *,
        snippet: str | None = None,
        notes: tuple[tuple[Where | None, str], ...] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.snippet = snippet
        self.notes = notes

    def render(self) -> str:
        """The text for the terminal: the headline first, then the source line with its caret, then the notes."""
        prefix = f"{self.where}: " if self.where else "shlo: "
        lines = [f"{prefix}error: {self.message}"]
        if self.snippet is not None and self.where is not None and self.where.column:
            lines += _pointed_at(self.snippet, self.where.column)
        lines += [f"{where}: note: {text}" if where else f"note: {text}" for where, text in self.notes]
        return "\n".join(lines)


class Mismatch(UserError):
    """Two programs that were claimed to be equal gave different results."""

    exit_code = EXIT_MISMATCH


class NativeFailure(UserError):
    """Native code died (signal, abort, time limit) in its worker; the message names the pass and the reproducer."""

    exit_code = EXIT_NATIVE
