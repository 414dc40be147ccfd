"""Runs the commands that pages of docs/ show, and compares what they print with what the page shows.

    python docs/transcript.py PAGE.md [...]      fills in the output of commands under which nothing is shown

A block fenced with ``console`` is a shell session: ``$ `` starts a command, ``> `` goes on with it, other lines are
what it prints, on both streams. Commands of a page run in order in one temporary folder, in which `examples` and `docs`
are those of the project. The lines shown must be printed, in that order; ``...`` stands for any lines. A command must
succeed; one that must not says so: ``COMMAND; echo "exit code $?"``.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass
class Step:
    """A command and the lines shown under it."""

    command: list[str]
    shown: list[str] = field(default_factory=list)


def steps(block: str) -> list[Step]:
    """The commands of a block.

    Raises:
      ValueError: the block does not start with a command.
    """
    found: list[Step] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append(Step([line[2:]]))
        elif not found:
            raise ValueError(f"a block starts with {line!r}, which is no command")
        elif (line == ">" or line.startswith("> ")) and not found[-1].shown:
            found[-1].command.append(line[2:])
        else:
            found[-1].shown.append(line)
    return found


def missing(shown: list[str], printed: list[str]) -> str | None:
    """The first line of ``shown`` that is not printed behind those before it, or ``None``."""
    rest: Iterator[str] = iter([line.rstrip() for line in printed])
    return next((line for line in shown if line != "..." and line.rstrip() not in rest), None)


def run(step: Step, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs a command in ``folder``, with the commands of the environment that runs this one."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        ["bash", "-c", "\n".join(step.command)], cwd=folder, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**os.environ, "PATH": path, "COLUMNS": "120", "PYTHONPATH": str(ROOT)}, check=False,
    )


def workplace(folder: Path) -> Path:
    """Makes ``folder`` what the pages start from."""
    for name in ("examples", "docs"):
        (folder / name).symlink_to(ROOT / name)
    return folder


def pages() -> list[Path]:
    """The pages with sessions."""
    return [ROOT / "docs" / "upstream.md", *sorted((ROOT / "docs" / "tutorials").glob("[a-z]*.md"))]


def sessions(page: Path) -> list[Step]:
    """All commands of a page."""
    return [step for block in _BLOCK.findall(page.read_text()) for step in steps(block)]


def fill(page: Path) -> None:
    """Writes what is printed under the commands that show nothing."""
    with tempfile.TemporaryDirectory() as name:
        folder = workplace(Path(name))

        def filled(block: re.Match[str]) -> str:
            lines = []
            for step in steps(block[1]):
                done = run(step, folder)
                print(f"{page.name}: {step.command[0]}: exit code {done.returncode}", flush=True)
                lines += [f"$ {step.command[0]}", *(f"> {line}".rstrip() for line in step.command[1:])]
                lines += step.shown or done.stdout.splitlines()
            return "\n".join(["```console", *lines, "```"])

        page.write_text(_BLOCK.sub(filled, page.read_text()))


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        fill(Path(argument))
