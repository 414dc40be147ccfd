"""What a reduction knows, kept in a folder so that an interrupted one goes on where it was.

``input`` names what is reduced and by what, ``best.mlirbc`` is the smallest interesting program so far and ``answers``
lists digests of programs with whether they were of interest. Whatever moment the process ends at, the folder stays
good: the program is replaced by rename, and a line that was cut short counts for nothing.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from passes.errors import UserError, Where
from passes.program.read import read_bytes
from passes.program.write import write_output

_ANSWER = re.compile(r"^([0-9a-f]{64}) ([01])$", re.MULTILINE)


@dataclass(frozen=True)
class State:
    """The folder of one reduction."""

    folder: Path

    def best(self) -> bytes | None:
        """The smallest interesting program of an earlier run, as bytecode."""
        path = self.folder / "best.mlirbc"
        return read_bytes(str(path))[0] if path.is_file() else None

    def keep(self, program: bytes) -> None:
        """Replaces the best program."""
        write_output(str(self.folder / "best.mlirbc"), program)

    def answers(self) -> dict[str, bool]:
        """What is known of programs, by digest."""
        path = self.folder / "answers"
        text = path.read_text(errors="replace") if path.is_file() else ""
        return {match[1]: match[2] == "1" for match in _ANSWER.finditer(text)}

    def answer(self, digest: str, interesting: bool) -> None:
        """Adds what is known of a program."""
        # The newline comes first: what an interrupted run left of a line must not run into this one.
        with open(self.folder / "answers", "a") as file:
            file.write(f"\n{digest} {int(interesting)}")


def open_state(folder: str, program: bytes, predicate: str) -> State:
    """The state in ``folder`` of reducing ``program`` (its bytecode) by ``predicate`` (its words); made if need be.

    Raises:
      UserError: the folder cannot be written, or belongs to another reduction.
    """
    key = hashlib.sha256(program + b"\0" + predicate.encode()).hexdigest() + "\n"
    state = State(Path(folder))
    path = state.folder / "input"
    try:
        os.makedirs(folder, exist_ok=True)
        if not path.exists():
            if any(state.folder.iterdir()):
                raise UserError("the folder is not empty and holds no reduction; name another", Where(folder))
            write_output(str(path), key)
        elif path.read_text(errors="replace") != key:
            raise UserError(
                "this folder holds the reduction of another program or by another test; remove it or name another",
                Where(folder),
            )
    except OSError as error:
        raise UserError(f"cannot use the folder: {error.strerror or error}", Where(folder)) from None
    return state
