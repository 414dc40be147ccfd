"""Runs the command line inside the test process: the ``shlo`` fixture, and ``.mlir`` files with RUN lines as tests.

    // RUN: shlo-opt %s --cse | filecheck %s
    // RUN: not shlo-opt %s --split-input-file 2>&1 | filecheck %s --check-prefix=ERROR

RUN lines know pipes, ``&&``, ``not``, ``2>&1``, ``<``, ``>`` and ``2>``, the substitutions ``%s`` (the file), ``%S``
(its folder), ``%t`` (a temporary file) and a trailing backslash to go on in the next line. ``lit`` runs the same files
(lit.cfg.py).
"""

from __future__ import annotations

import io
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import pytest

_RUN = re.compile(r"^\s*(?://|#)\s*RUN:\s*(.*)$")
# What 2>&1 redirects to in a lexed line; the lexer would take it apart at the ampersand.
_MERGE = "\1"


class Result(NamedTuple):
    """What a command did: exit code, standard output, standard error (that of native code too)."""

    code: int
    stdout: bytes
    stderr: bytes

    @property
    def out(self) -> str:
        return self.stdout.decode()

    @property
    def err(self) -> str:
        return self.stderr.decode()


@contextmanager
def _standard_streams(stdin: bytes, stdout: IO[bytes], stderr: IO[bytes]) -> Iterator[None]:
    """Points Python's standard streams at the files, and file descriptor 2 as well, for what native code prints."""
    old = sys.stdin, sys.stdout, sys.stderr
    old[1].flush()
    old[2].flush()
    saved = os.dup(2)
    os.dup2(stderr.fileno(), 2)
    sys.stdin = io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8")
    sys.stdout = io.TextIOWrapper(stdout, encoding="utf-8")  # type: ignore[arg-type]
    # As in a process of its own, standard error is not buffered and standard output is.
    sys.stderr = io.TextIOWrapper(stderr, encoding="utf-8", write_through=True)  # type: ignore[arg-type]
    try:
        yield
    finally:
        for stream in (sys.stderr, sys.stdout):
            stream.flush()
            stream.detach()
        sys.stdin, sys.stdout, sys.stderr = old
        os.dup2(saved, 2)
        os.close(saved)


def _captured(body: Callable[[], int], stdin: bytes = b"", merge: bool = False) -> Result:
    """Runs ``body``, which returns an exit code, with captured streams; ``merge`` is ``2>&1``."""
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile(buffering=0) as own_stderr:
        stderr = os.fdopen(os.dup(stdout.fileno()), "wb", buffering=0) if merge else own_stderr
        with _standard_streams(stdin, stdout, stderr):
            code = body()
        if merge:
            stderr.close()
        stdout.seek(0)
        own_stderr.seek(0)
        return Result(code, stdout.read(), own_stderr.read())


def _filecheck(words: list[str]) -> int:
    from filecheck.matcher import Matcher
    from filecheck.options import parse_argv_options

    return Matcher.from_opts(parse_argv_options(["filecheck", *words])).run()


def _in_process(words: list[str]) -> Callable[[], int] | None:
    from passes.cli.main import main, main_opt

    inside: dict[str, Callable[[list[str]], int]] = {"shlo": main, "shlo-opt": main_opt, "filecheck": _filecheck}
    command = inside.get(words[0])
    return (lambda: command(words[1:])) if command else None


@pytest.fixture
def shlo() -> Callable[..., Result]:
    """``shlo("opt", "x.mlir", "--cse", stdin=...)`` runs the command line in this process and captures what it does."""

    def run(*words: str | Path, stdin: str | bytes = b"") -> Result:
        from passes.cli.main import main

        data = stdin.encode() if isinstance(stdin, str) else stdin
        return _captured(lambda: main([str(word) for word in words]), data)

    return run


class RunFailure(Exception):
    """A RUN line that failed: the command and what it printed."""


def run_lines(text: str) -> list[str]:
    """The RUN lines in ``text``, continued ones joined."""
    found: list[str] = []
    unfinished = False
    for match in filter(None, map(_RUN.match, text.splitlines())):
        line = match[1].strip()
        start = found.pop() if unfinished else ""
        unfinished = line.endswith("\\")
        found.append(f"{start} {line.removesuffix(chr(92))}".strip())
    return found


def execute(line: str, substitutions: dict[str, str]) -> None:
    """Runs one RUN line.

    Raises:
      RunFailure: a command ended with an exit code other than 0.
    """
    for name, value in substitutions.items():
        line = re.sub(rf"%{name}(?!\w)", lambda _, value=value: shlex.quote(value), line)
    lexer = shlex.shlex(line.replace("2>&1", f"2>{_MERGE}"), posix=True, punctuation_chars="|&;")
    lexer.whitespace_split = True
    lexer.commenters = ""
    command: list[str] = []
    data = b""
    for word in [*lexer, "&&"]:
        if word not in ("|", "&&"):
            command.append(word)
            continue
        data = _execute_command(command, data, line)
        command = []
        if word == "&&":
            data = b""


def _execute_command(words: list[str], stdin: bytes, line: str) -> bytes:
    inverted = words[0] == "not"
    words, files = _redirections(words[1:] if inverted else words)
    data = Path(files["<"]).read_bytes() if "<" in files else stdin
    body = _in_process(words)
    merge = files.get("2>") == _MERGE
    if body is not None:
        result = _captured(body, data, merge)
    else:
        stderr = subprocess.STDOUT if merge else subprocess.PIPE
        done = subprocess.run(words, input=data, stdout=subprocess.PIPE, stderr=stderr, check=False)
        result = Result(done.returncode, done.stdout, done.stderr or b"")
    # An internal error is no expected failure.
    if (result.code != 0) != inverted or result.code == 70:
        said = (result.stderr or result.stdout).decode(errors="replace")
        raise RunFailure(f"exit code {result.code} of: {shlex.join(words)}\nin RUN: {line}\n{said}")
    if "2>" in files and not merge:
        Path(files["2>"]).write_bytes(result.stderr)
    if ">" in files:
        Path(files[">"]).write_bytes(result.stdout)
        return b""
    return result.stdout


def _redirections(words: list[str]) -> tuple[list[str], dict[str, str]]:
    rest: list[str] = []
    files: dict[str, str] = {}
    stream = iter(words)
    for word in stream:
        operator = next((o for o in ("2>", ">", "<") if word.startswith(o)), None)
        if operator is None:
            rest.append(word)
        else:
            files[operator] = word.removeprefix(operator) or next(stream)
    return rest, files


class MlirFile(pytest.File):
    """A ``.mlir`` file, which must have RUN lines."""

    def collect(self) -> Iterator[pytest.Item]:
        yield MlirTest.from_parent(self, name="RUN")


class MlirTest(pytest.Item):
    """All RUN lines of a file, in order."""

    def runtest(self) -> None:
        lines = run_lines(self.path.read_text())
        if not lines:
            raise RunFailure("the file has no RUN line; a file that other tests read belongs into a folder 'inputs'")
        with tempfile.TemporaryDirectory() as folder:
            places = {"s": str(self.path), "S": str(self.path.parent), "t": str(Path(folder) / self.path.name)}
            for line in lines:
                execute(line, places)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        if isinstance(excinfo.value, RunFailure):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, 0, self.path.name


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Takes ``.mlir`` files as tests, except those in a folder ``inputs``, which other tests read."""
    if file_path.suffix == ".mlir" and "inputs" not in file_path.parts:
        return MlirFile.from_parent(parent, path=file_path)
    return None
