"""Runs a pipeline on a program: in this process where that is safe, else in a worker process."""

from __future__ import annotations

import os
import sys
from dataclasses import replace

from passes import _mlir
from passes._mlir import Diagnostic
from passes.errors import UserError, Where
from passes.pipeline import native, registry, removals, statistics, textual
from passes.pipeline.diagnostics import placed, render
from passes.pipeline.execution import execute
from passes.pipeline.options import PassFailure, PassStatistics, RunOptions, RunResult
from passes.pipeline.textual import Pipeline
from passes.program.read import Program

__all__ = ["PassFailure", "PassStatistics", "RunOptions", "RunResult", "run"]


_DEFAULTS = RunOptions()


def run(program: Program, pipeline: Pipeline | str, options: RunOptions = _DEFAULTS) -> RunResult:
    """Transforms ``program.module`` by ``pipeline``; the module may be replaced, handles into the old one are dead.

    Warnings and remarks of MLIR, the IR, times, statistics and removals asked for go to standard error in MLIR's look.

    Raises:
      PassFailure: a pass failed, or left a module that does not verify; placed at the op MLIR complained about.
      NativeFailure: a native pass died; ``program`` is as before and the message names a reproducer file.
      UserError: the pipeline is malformed, or the program is none its passes can take.
    """
    if isinstance(pipeline, str):
        pipeline = textual.parse(pipeline)
    else:
        textual.check(pipeline)
    if options.tree_dir is not None:
        _make_folder(options.tree_dir)
    said: list[Diagnostic] = []

    def report(diagnostic: Diagnostic) -> None:
        said.append(placed(program, diagnostic))
        if not _mlir.recording():
            print(render(program, said[-1]), file=sys.stderr, flush=True)

    def replay(diagnostic: Diagnostic) -> None:
        _mlir.record(diagnostic)
        report(diagnostic)

    isolated = options.isolation and not _all_proven(pipeline)
    try:
        if isolated:
            from passes.pipeline.isolation import run_isolated

            counted = run_isolated(program, pipeline, _absolute(options), replay)
        else:
            counted = execute(program.module, pipeline, options, report=report)
    except UserError as error:
        if isolated and isinstance(error, PassFailure):
            for diagnostic in error.diagnostics:
                if diagnostic.severity == "error":
                    _mlir.record(diagnostic)
        _place(program, error)
        raise
    counted = tuple(_placed(program, found) for found in counted)
    if options.explain_removed is not None:
        print(removals.report(counted, options.explain_removed), end="", file=sys.stderr, flush=True)
    if options.statistics:
        print(statistics.report(counted), end="", file=sys.stderr, flush=True)
    return RunResult(counted, tuple(said), isolated)


def _all_proven(pipeline: Pipeline) -> bool:
    return all(
        use.name in registry.OWN_PASSES or native.is_proven(registry.native_name(use.name), use.options)
        for _, use in pipeline.uses()
    )


def _make_folder(path: str) -> None:
    """Makes the folder for printed IR now: the native printer only complains and goes on."""
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder for printed IR: {error.strerror or error}", Where(path)) from None


def _absolute(options: RunOptions) -> RunOptions:
    """The same options for a process whose current folder may be another."""

    def path(given: str | None) -> str | None:
        return None if given is None else os.path.abspath(given)

    return replace(options, tree_dir=path(options.tree_dir), crash_reproducer=path(options.crash_reproducer))


def _placed(program: Program, found: PassStatistics) -> PassStatistics:
    if found.removals is None and not found.remarks:
        return found
    removals = found.removals and tuple(replace(r, where=program.in_file(r.where)) for r in found.removals)
    remarks = tuple(replace(r, where=program.in_file(r.where)) for r in found.remarks)
    return replace(found, removals=removals, remarks=remarks)


def _place(program: Program, error: UserError) -> None:
    """Turns positions in the parsed text into positions in the program's file, and adds the source line."""
    error.where = program.in_file(error.where) or Where(program.source)
    error.snippet = error.snippet or program.line_at(error.where)
    error.notes = tuple((program.in_file(where), text) for where, text in error.notes)
    if isinstance(error, PassFailure):
        error.diagnostics = tuple(placed(program, d) for d in error.diagnostics)
