"""What a reduction can look for: a command's exit code, a changed result, a native death, an error's text.

Each function returns a predicate for `reduce.reduce`. Native code runs in other processes, so none of its deaths is
ours; a program that cannot be judged (it is refused, or takes too long) raises `UserError` and is not of interest.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from passes.errors import NativeFailure, UserError
from passes.execute.compare import Level
from passes.execute.executor import Executor
from passes.execute.reduction.search import Predicate, copy
from passes.execute.report import Report
from passes.execute.verify import verify
from passes.partition.partition import partition
from passes.partition.side_table import SideTable
from passes.pipeline import isolation, textual
from passes.pipeline.options import RunOptions
from passes.program.read import Program
from passes.program.write import PrintOptions, to_text

# Where in the native source a check failed.
_PLACE = re.compile(r"\(\w+\.\w+:\d+\)")


@dataclass(frozen=True)
class Execution:
    """How programs are executed and compared; the fields are those of `verify.verify`."""

    entry: str | None = None
    inputs: str = "normal"
    seed: int = 0
    level: Level | None = None
    executor: Executor | None = None

    def verify(self, original: Program, transformed: Program, table: SideTable | None = None) -> Report:
        """What `verify.verify` finds."""
        return verify(
            original, transformed, table,
            entry=self.entry, inputs=self.inputs, seed=self.seed, level=self.level, executor=self.executor,
        )


def command(line: str, timeout: float | None) -> Predicate:
    """Holds if ``line``, a command with ``{}`` for the file the program is in, ends with exit code 0.

    No shell reads the line. Without ``{}`` the file is the last argument.

    Raises:
      UserError: the line cannot be split into words, or is empty.
    """
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise UserError(f"cannot read the command '{line}': {error}") from None
    if not words:
        raise UserError("the command is empty; give one that ends with exit code 0 if the program in {} is of interest")
    if not any("{}" in word for word in words):
        words.append("{}")

    def interesting(program: Program) -> bool:
        with tempfile.TemporaryDirectory(prefix="shlo-reduce-") as folder:
            file = str(Path(folder) / "candidate.mlir")
            Path(file).write_text(to_text(program.module, PrintOptions(debuginfo=program.has_debug_info)))
            return _exit_code([word.replace("{}", file) for word in words], timeout) == 0

    return interesting


def _exit_code(words: list[str], timeout: float | None) -> int:
    quiet = subprocess.DEVNULL
    try:
        # A group of its own, so that what the command starts ends with it.
        process = subprocess.Popen(words, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)
    except OSError as error:
        raise UserError(f"cannot run '{words[0]}': {error.strerror or error}") from None
    try:
        return process.wait(timeout)
    except subprocess.TimeoutExpired:
        raise UserError(f"'{words[0]}' did not finish within {timeout:g} s") from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def changed_by_pipeline(pipeline: str, execution: Execution, timeout: float | None) -> Predicate:
    """Holds if the program after ``pipeline`` gives other results than before.

    Raises:
      UserError: the pipeline is malformed.
    """
    parsed = textual.parse(pipeline)

    def interesting(program: Program) -> bool:
        original = copy(program)
        _run(program, parsed, timeout)
        return not execution.verify(original, program).ok

    return interesting


def changed_by_partitioning(execution: Execution) -> Predicate:
    """Holds if the per-device program made of an annotated one gives other results."""

    def interesting(program: Program) -> bool:
        original = copy(program)
        report = partition(program, execution.entry)
        return not execution.verify(original, program, report.side_table).ok

    return interesting


def dies(pipeline: str, original: Program, timeout: float | None) -> Predicate:
    """Holds if native code dies when ``pipeline`` runs, in the same way as on ``original``.

    The same way is the same pass, the same signal or time limit, and the same check of the native source where one
    failed: what is left of a program easily dies of something else.

    Raises:
      UserError: the pipeline is malformed, or survives ``original``.
    """
    parsed = textual.parse(pipeline)
    wanted = _death(copy(original), parsed, timeout)
    if wanted is None:
        raise UserError(f"there is nothing to reduce: no native code dies in {pipeline} on {original.source}")
    return lambda program: _death(program, parsed, timeout) == wanted


def _death(program: Program, pipeline: textual.Pipeline, timeout: float | None) -> tuple[str, str] | None:
    """What tells deaths apart; ``None`` if the program survives ``pipeline``."""
    try:
        _run(program, pipeline, timeout)
    except NativeFailure as error:
        how = error.message.partition(":")[0]
        check = _PLACE.search(error.message)
        return how, check[0] if check else ""
    return None


def fails(pattern: str, pipeline: str, timeout: float | None) -> Predicate:
    """Holds if ``pipeline`` ends in an error whose text has a match for the regular expression ``pattern``.

    Raises:
      UserError: the pattern or the pipeline is malformed.
    """
    parsed = textual.parse(pipeline)
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UserError(f"'{pattern}' is no regular expression: {error}") from None

    def interesting(program: Program) -> bool:
        try:
            _run(program, parsed, timeout)
        except UserError as error:
            return compiled.search(error.render()) is not None
        return False

    return interesting


def _run(program: Program, pipeline: textual.Pipeline, timeout: float | None) -> None:
    """Runs a pipeline in the worker always: a pass that is safe on all we know may not be on what is reduced."""
    options = RunOptions(timeout=timeout, crash_reproducer=os.devnull)
    isolation.run_isolated(program, pipeline, options, lambda diagnostic: None)
